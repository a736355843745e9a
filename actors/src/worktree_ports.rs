//! What the tree asks of the world about worktrees: looks at their files around turns, and what becomes
//! of them when nobody needs them. [`crate::ports`] has the other ports.

use std::future::Future;
use std::pin::Pin;

use crate::id::{AgentKey, WorktreeId};
use crate::ports::{Answer, TurnRef};
use crate::reaper::policy::Candidate;
use crate::worktree::{Preflight, Reason};

/// Remembers what the files of a session look like before and after its turns, so that it is known
/// who changed what. A failure is told where the person sees it, and is never that of a turn; a look
/// takes its place in line when it is called for, bounds its own time, and goes on if its future is
/// dropped.
pub trait Snapshots: Send + Sync + 'static {
    /// Whether the place of work of an agent session is still the one that was made, before anything is
    /// started in it. An error says why not, and what brings it back.
    fn place(&self, key: AgentKey) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

    /// Makes sure of the place in which a turn is to work, and remembers the files as they are before its
    /// prompt is sent. An error refuses the turn: it says what is wrong with the place, and what brings it
    /// back. A look that fails is none.
    fn before_turn(&self, turn: TurnRef) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

    /// Remembers the files as they are after a turn, and emits `changes` if it changed any.
    fn after_turn(&self, turn: TurnRef) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// What becomes of worktrees when nobody needs them any more.
pub trait Worktrees: Send + Sync + 'static {
    /// Every worktree there is, also those that nobody has written down.
    fn survey(&self) -> Answer<Vec<Candidate>>;

    /// Judges one. Never fails: what cannot be looked at is a reason to keep it.
    fn preflight(&self, worktree: WorktreeId) -> Pin<Box<dyn Future<Output = Preflight> + Send>>;

    /// Records why one is kept, for whoever lists it.
    fn kept(&self, worktree: WorktreeId, reasons: Vec<Reason>) -> Answer<()>;

    /// Salvages one and moves it into the trash; says where its salvage is, or why it was kept after
    /// all.
    fn retire(&self, worktree: WorktreeId) -> Answer<Result<Option<String>, Vec<Reason>>>;

    /// Empties the trash of one.
    fn purge(&self, worktree: WorktreeId) -> Answer<()>;

    /// Lets go of the salvage of one.
    fn drop_salvage(&self, worktree: WorktreeId) -> Answer<()>;
}
