//! How a daemon that failed ends: the exit code, and what it says.

use std::path::PathBuf;

use super::{Held, wait};
use crate::config::{ConfigError, ConfigFault};
use crate::control;
use crate::paths::PathsError;
use crate::retire::RetireError;
use crate::store::{OpenError, StoreError};
use crate::trust::PlaceError;

/// Exit codes of docs/contract.md that a daemon can end with.
const FAILED: u8 = 1;
const REFUSED: u8 = 4;
const CONFLICT: u8 = 6;
const BAD_CONFIG: u8 = 78;

/// The database is there, and of no use.
#[derive(Debug, thiserror::Error)]
#[error("cannot open {}", database.display())]
pub(super) struct NotOpened {
    /// Its file.
    pub(super) database: PathBuf,
    /// Why.
    #[source]
    pub(super) error: OpenError,
}

/// A process of an agent wants to be a daemon. It would be in the place of the person there, with
/// everything allowed to it that is forbidden to an agent.
#[derive(Debug, thiserror::Error)]
#[error("an agent may not start a daemon")]
pub struct StartedByAgent;

impl StartedByAgent {
    /// What the person can do.
    pub const HINT: &str = "start it from a shell that no agent runs: hob up";
}

/// The exit code of a failure, and what the person can do about it.
pub(super) fn judge(error: &anyhow::Error) -> (u8, Option<String>) {
    if let Some(error) = error.downcast_ref::<PathsError>() {
        return (BAD_CONFIG, Some(error.hint.clone()));
    }
    if let Some(error) = error.downcast_ref::<ConfigError>() {
        let code = match error.fault {
            ConfigFault::Bad => BAD_CONFIG,
            ConfigFault::Untrusted => REFUSED,
        };
        return (code, error.hint.clone());
    }
    if let Some(PlaceError::Untrusted { hint, .. }) = error.downcast_ref() {
        return (REFUSED, Some(hint.clone()));
    }
    if error.downcast_ref::<StartedByAgent>().is_some() {
        return (REFUSED, Some(StartedByAgent::HINT.to_owned()));
    }
    if error.downcast_ref::<Held>().is_some() {
        return (CONFLICT, Some("`hob status` shows it, `hob down` stops it".into()));
    }
    if let Some(error) = error.downcast_ref::<control::BindError>() {
        return (FAILED, error.hint());
    }
    if let Some(NotOpened { database, error }) = error.downcast_ref() {
        return (FAILED, error.hint(database));
    }
    if error.chain().any(is_full) {
        return (FAILED, Some("df -h".into()));
    }
    if let Some(failure) = error.downcast_ref::<wait::Failure>() {
        return (FAILED, failure.hint());
    }
    (FAILED, None)
}

/// Whether that is what a failure comes from: no room on a disk.
fn is_full(cause: &(dyn std::error::Error + 'static)) -> bool {
    let io = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error);
    // One that is passed on as it is does not stand in the chain by itself.
    let passed_on = cause.downcast_ref::<RetireError>().and_then(|error| match error {
        RetireError::Store(error) => Some(error),
        _ => None,
    });
    let store = cause.downcast_ref::<StoreError>().or(passed_on);
    matches!(io, Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG))
        || matches!(store, Some(StoreError::Full(_)))
}

/// What is said of it, without the hint.
pub(super) fn spoken(error: &anyhow::Error) -> String {
    // These carry their hint in their own words; it is printed on a line of its own.
    if let Some(error) = error.downcast_ref::<PathsError>() {
        return error.message.clone();
    }
    if let Some(error) = error.downcast_ref::<ConfigError>() {
        return ConfigError { hint: None, ..error.clone() }.to_string();
    }
    format!("{error:#}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_known_however_the_error_was_passed_on() {
        let full = || StoreError::Full("less than 1 byte is free".to_owned());
        let errors = [
            anyhow::Error::from(full()).context("cannot settle"),
            anyhow::Error::from(RetireError::Store(full())).context("cannot finish"),
        ];
        for error in errors {
            assert_eq!(judge(&error), (FAILED, Some("df -h".to_owned())), "{error:#}");
        }
        assert_eq!(judge(&anyhow::Error::from(RetireError::Conflict("other".to_owned()))), (FAILED, None));
    }
}
