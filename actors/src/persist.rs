//! Insisting on a write: a state that could not be recorded is tried again until it can, because
//! everything that follows from it waits (record, then act).

use std::time::Duration;

use crate::ports::Answer;

/// Between two tries. A disk that was full for a minute then costs at most this much more.
const AGAIN: Duration = Duration::from_millis(500);

/// Waits for `first`; where it fails, calls again until it is written.
pub async fn insist<T>(first: Answer<T>, call: impl Fn() -> Answer<T>) -> T {
    let mut answer = first;
    loop {
        match answer.await {
            Ok(value) => return value,
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, cause, "state could not be recorded, trying again");
            }
        }
        tokio::time::sleep(AGAIN).await;
        answer = call();
    }
}
