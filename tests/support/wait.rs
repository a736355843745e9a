//! Waiting for a condition, under a deadline.

use std::time::{Duration, Instant};

/// Long enough for anything that is not stuck, on a machine that builds beside it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How often a condition that cannot be told of is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Waits until `look` has something to show; `what` is what the test hangs on if it never has.
#[track_caller]
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, look)
}

/// Like [`until`], with a limit of its own: for promises that name one.
#[track_caller]
pub fn within<T>(limit: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < limit, "waited {limit:?} for {what}");
        std::thread::sleep(LOOK_EVERY);
    }
}
