//! How many descriptors a process may have: the daemon as many as it can get, agents what whoever
//! started the daemon gave.
//!
//! An agent costs the daemon five descriptors, a client one, and the usual limit is 1024. But a
//! program that uses `select(2)`, or closes every descriptor that it could have, is not well with
//! more.

use std::sync::OnceLock;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// What this process was started with. Of the whole process, as the limit is.
static GIVEN: OnceLock<u64> = OnceLock::new();

/// Raises the limit of this process to the highest that it may have. Call it once, at the start.
pub fn raise() {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    GIVEN.get_or_init(|| soft);
    if let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        tracing::warn!(%error, soft, hard, "the limit of descriptors could not be raised");
    }
}

/// The limit that agents get; `None` where it was never raised.
pub(super) fn for_agents() -> Option<u64> {
    GIVEN.get().copied()
}

/// Sets the limit of this process, for what it starts to inherit. Never above what it may be.
pub(super) fn limit(descriptors: u64) {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // Lowering is always allowed, and so is raising up to the hard limit.
        setrlimit(Resource::RLIMIT_NOFILE, descriptors.min(hard), hard).ok();
    }
}
