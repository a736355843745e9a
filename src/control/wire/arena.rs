//! Arenas, and how their entries compare.

use serde::{Deserialize, Serialize};

use super::{Moment, OutcomeRow, UsageRow};

/// An arena: one prompt, asked of several agents who start from the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArenaRow {
    /// Its id.
    pub id: String,
    /// The checkout that it starts from, and that the winner's changes go to.
    pub repo: String,
    /// The commit that every entry starts from.
    pub base_commit: Option<String>,
    /// What every agent is asked.
    pub prompt: String,
    /// Whether uncommitted changes were carried along.
    pub carry_changes: bool,
    /// The line for the shell that judges each worktree.
    pub check: Option<String>,
    /// `open` or `adopted`.
    pub state: String,
    /// The agent whose changes were adopted.
    pub winner: Option<String>,
    /// The client's own id of the request.
    pub request_id: Option<String>,
    /// The task whose agent started it.
    pub parent: Option<String>,
    /// When it was started.
    pub created_at: Moment,
    /// When it was decided.
    pub closed_at: Option<Moment>,
    /// Who takes part, in the order in which they were named.
    pub entries: Vec<ArenaEntryRow>,
}

/// One entry of an arena.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArenaEntryRow {
    /// Its agent, which names it.
    pub agent: String,
    /// Its session; null once that was deleted.
    pub session: Option<String>,
    /// Its chat.
    pub chat: Option<String>,
    /// Its task.
    pub task: Option<String>,
    /// Its worktree.
    pub worktree: Option<String>,
    /// The state of its task; `gone` once that was deleted.
    pub state: String,
    /// What its task waits for.
    pub waiting: Option<String>,
    /// How its task ended.
    pub outcome: Option<OutcomeRow>,
    /// The agent's final message.
    pub text: Option<String>,
    /// From the start of its turn to its end, or until now.
    pub duration_ms: Option<u64>,
    /// What it cost.
    pub usage: UsageRow,
    /// How many files it changed: now, or when the arena was decided. Null in lists of what is not decided.
    pub files: Option<u64>,
    /// Lines that came.
    pub insertions: Option<u64>,
    /// Lines that went.
    pub deletions: Option<u64>,
    /// What its check came to; null where there is none.
    pub check: Option<CheckRow>,
}

/// The check of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckRow {
    /// `waiting running passed failed timed_out skipped`.
    pub state: String,
    /// The exit code, where there was one.
    pub exit_code: Option<i32>,
    /// The end of what it said.
    pub output: Option<String>,
    /// How long it took.
    pub duration_ms: Option<u64>,
}
