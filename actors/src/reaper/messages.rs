//! What the reaper is told, and what it tells.

use std::collections::BTreeSet;

use ractor::RpcReplyPort;

use crate::id::WorktreeId;
use crate::ports::PortError;
use crate::worktree::Reason;

/// What became of a worktree in a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It is where it was.
    Kept,
    /// It is in the trash (or would be, where nothing was to be done).
    Archived,
    /// The trash has been emptied of it.
    Purged,
}

impl Action {
    /// The contract's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Archived => "archived",
            Self::Purged => "purged",
        }
    }
}

/// A worktree that a pass had something to say of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reaped {
    /// Which one.
    pub worktree: WorktreeId,
    /// What became of it.
    pub action: Action,
    /// Why it was kept.
    pub reasons: Vec<Reason>,
    /// The ref that keeps what it held.
    pub salvage: Option<String>,
}

/// What a person asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ByHand {
    /// This one alone.
    pub worktree: Option<WorktreeId>,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// What became of each worktree in a pass, or why there was none.
pub type PassResult = Result<Vec<Reaped>, PortError>;

/// Everything that the reaper is told.
pub enum ReaperMsg {
    /// Time for a pass.
    Due,
    /// A person asks for one now, and hears why there can be none.
    Reap(ByHand, RpcReplyPort<PassResult>),
    /// The pass is done; these were found clean in it.
    Done(BTreeSet<WorktreeId>),
    /// The pass panicked.
    Failed,
}
