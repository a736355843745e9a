//! How server processes are, on the wire.

use serde::{Deserialize, Serialize};

use super::{ExitRow, Moment};

/// How the server process of an agent session is, and what went wrong with those before it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HealthRow {
    /// The chat.
    pub chat: String,
    /// The agent.
    pub agent: String,
    /// The session of the chat.
    pub session: String,
    /// `starting idle busy evicted crashed backoff circuit_open closed`: of the agent session.
    pub status: String,
    /// The backends that it had.
    pub generation: u64,
    /// The agent's own process.
    pub pid: Option<u32>,
    /// `healthy suspect stale_busy restarting`; null where there is no process to judge.
    pub state: Option<String>,
    /// Since when it is in that state.
    pub since: Option<Moment>,
    /// Failed probes in a row.
    pub failures: u32,
    /// The last probe that failed, of this process or one before it.
    pub last_failure: Option<FailureRow>,
    /// How often a process was ended because it was ill, since the daemon started.
    pub restarts: u64,
    /// Why the last process, or start, ended that did not end on purpose; what it waits for where
    /// it may not be started.
    pub reason: Option<String>,
    /// Until it may be started again.
    pub retry_in_ms: Option<u64>,
    /// How that process ended.
    pub last_exit: Option<ExitRow>,
    /// The end of what the process complained; of the one before it, if it did not.
    pub stderr_tail: String,
}

/// A probe that failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FailureRow {
    /// `timed_out` or `refused`.
    pub class: String,
    /// What was seen, in words.
    pub message: String,
    /// When.
    pub at: Moment,
}
