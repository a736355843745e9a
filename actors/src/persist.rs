//! Insisting on a write: a state that could not be recorded for a passing reason is tried again
//! until it can, because everything that follows from it waits (record, then act).

use std::time::Duration;

use crate::ports::{Answer, PortError};

/// Between two tries. A disk that was full for a minute then costs at most this much more.
const AGAIN: Duration = Duration::from_millis(500);

/// Waits for `first`; where that fails for a passing reason, calls again until it is written.
///
/// # Errors
/// Where trying again cannot help.
pub(crate) async fn insist<T>(first: Answer<T>, call: impl Fn() -> Answer<T>) -> Result<T, PortError> {
    let mut answer = first;
    loop {
        match answer.await {
            Err(error) if error.passing => {
                tracing::warn!(error = error.chain(), "state could not be recorded, trying again");
            }
            settled => return settled,
        }
        tokio::time::sleep(AGAIN).await;
        answer = call();
    }
}
