//! What agents changed: looked at around every turn, listed with whose it is, applied to the user's
//! checkout or given up on request. Where the store and the worktrees meet; knows neither SQL nor git.
//!
//! ```text
//! turn begins ─ look ─┐            ┌─ look ─ turn ends ─▶ `changes`
//!                     ▼            ▼
//!   baseline ── segment ── segment ── segment ── present        (each with its writers)
//!      │                                            │
//!      └────────────── pending changes ─────────────┘
//! ```
//!
//! **Invariants:** looks at one worktree are made and recorded one after the other, so that each
//! segment begins where the one before ended; nothing is written to a worktree while a turn works in
//! it; a failed look is told and fails no turn.

mod acts;
mod apply;
mod looks;
mod place;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use hob_actors::event::{Event, Level, NewEvent, Scope};
use hob_actors::ports::{Permit, Store as _};
use tokio::sync::OwnedMutexGuard;

pub use acts::Shown;
pub use place::{followed, take_up};

use crate::store::{SessionWorktree, Store, StoreError};
use crate::sync::lock;
use crate::worktree::{BYTES_KEPT, TURNS_KEPT, WorktreeError, Worktrees};

/// Worktrees whose line is remembered before those that nobody stands in are forgotten.
const LINES_MAX: usize = 256;

/// Why a change could not be listed, applied or given up.
#[derive(Debug, thiserror::Error)]
pub enum PendingError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The worktree, or the user's checkout.
    #[error(transparent)]
    Worktree(#[from] WorktreeError),
    /// There is no such thing.
    #[error("no {what} `{id}`")]
    NotFound {
        /// A `session`, a `turn`, …
        what: &'static str,
        /// What was asked for.
        id: String,
    },
    /// Its worktree is not where it was.
    #[error("the worktree of session `{session}` is {state}")]
    Gone {
        /// The session.
        session: String,
        /// `archived` or `purged`.
        state: String,
        /// The worktree.
        worktree: String,
    },
    /// An agent works in the worktree.
    #[error("a turn is under way in the worktree: {0}")]
    AtWork(String),
    /// The checkout has the changes, and the store does not know it.
    #[error(
        "the changes are in `{top}`, and that could not be recorded: {error}; they are listed as pending \
         still, and applying them again changes nothing"
    )]
    Unrecorded {
        /// The checkout.
        top: String,
        /// What the store said.
        error: StoreError,
    },
    /// It did not come to its end.
    #[error("it did not end as it should; `hob log` may say why")]
    Lost,
    /// The look at the files took too long.
    #[error("the files of the worktree could not be read within {0} s")]
    TooSlow(u64),
    /// The files around a turn were known, and are not kept any more.
    #[error(
        "the files around turn `{turn}` are not kept any more: those of the last {TURNS_KEPT} turns of a \
         worktree are, and {} MiB of them at most",
        BYTES_KEPT >> 20
    )]
    Dropped {
        /// The turn.
        turn: String,
    },
    /// The files before or after a turn are not known.
    #[error("the files {when} turn `{turn}` are not known")]
    Unseen {
        /// `before` or `after`.
        when: &'static str,
        /// The turn.
        turn: String,
    },
}

/// Looks at worktrees, and does with what changed what a person asks for. Cheap to clone.
#[derive(Clone)]
pub struct Pending(Arc<Inner>);

struct Inner {
    store: Store,
    worktrees: Worktrees,
    lines: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    /// What was said of which worktree: the same every turn says nothing new.
    told: Mutex<HashSet<(String, String)>>,
}

impl Pending {
    /// Over the store and the worktrees of a daemon.
    pub fn new(store: Store, worktrees: Worktrees) -> Self {
        Self(Arc::new(Inner { store, worktrees, lines: Mutex::default(), told: Mutex::default() }))
    }

    /// Waits for those who look at the worktree already.
    async fn line(&self, worktree: &str) -> OwnedMutexGuard<()> {
        let line = {
            let mut lines = lock(&self.0.lines);
            if lines.len() >= LINES_MAX {
                lines.retain(|_, line| Arc::strong_count(line) > 1);
            }
            Arc::clone(lines.entry(worktree.to_owned()).or_default())
        };
        line.lock_owned().await
    }

    /// The worktree of a session, which must be on the disk.
    async fn of_session(&self, session: &str) -> Result<SessionWorktree, PendingError> {
        let found = self.0.store.worktree_of_session(session).await?;
        let found =
            found.ok_or_else(|| PendingError::NotFound { what: "session", id: session.to_owned() })?;
        if matches!(found.state.as_str(), "archived" | "purged") {
            let (state, worktree) = (found.state, found.known.id);
            return Err(PendingError::Gone { session: session.to_owned(), state, worktree });
        }
        Ok(followed(&self.0.store, &self.0.worktrees, found).await)
    }

    /// Puts a notice about a session into the journal.
    fn tell(&self, scope: Scope, level: Level, text: String) {
        let event = NewEvent { scope: Arc::new(scope), event: Event::Notice { level, text } };
        self.0.store.append(event, Permit::free());
    }
}
