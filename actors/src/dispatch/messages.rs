//! What the dispatcher is told.

use std::collections::{BTreeMap, BTreeSet};

use ractor::RpcReplyPort;

use super::loans::{Loan, LoanId};
use super::queue::{Errand, Word};
use crate::event::Wait;
use crate::id::{AgentKey, ChatId, TaskId};
use crate::pool::actor::Acquired;
use crate::ports::TaskCard;
use crate::session::state::Denied;

/// What the dispatcher is told.
pub enum DispatchMsg {
    /// The open tasks of the store, and which of them live session actors hold.
    Loaded(Vec<TaskCard>, Vec<TaskId>),
    /// A durable task has come.
    Submitted(TaskCard),
    /// Somebody cancels a task; answered when that has begun.
    Cancel(TaskId, RpcReplyPort<()>),
    /// The chat was held, or released, in the store.
    Held(ChatId, Word),
    /// A turn waits for a task of its own making: its slot is lent to that one.
    Lend(LoanId, Loan),
    /// That wait is over.
    GiveBack(LoanId),
    /// A turn waits for an answer of a person, or no longer: its slot is free meanwhile.
    Asking(TaskId, bool),
    /// The pool answered to an errand.
    Acquired(Errand, Acquired),
    /// The session actor took the task, or not.
    Handed(Errand, Result<(), Denied>),
    /// The session actor is through with a task.
    Back {
        /// Which.
        task: TaskId,
        /// How.
        back: Back,
    },
    /// The store's word on a task that came back, and what it has to wait for.
    Reread(Errand, Option<TaskCard>, Option<Wait>),
    /// The wait of an agent session after a failure is over.
    Ready(AgentKey),
    /// Which agent sessions have something to run.
    Wanted(RpcReplyPort<BTreeSet<AgentKey>>),
    /// The session actor of a key ended.
    Lost {
        /// Whose.
        key: AgentKey,
    },
    /// Which session actors live, told by a new pool: what others had in flight is lost.
    Living(BTreeSet<AgentKey>),
    /// A backend ended: there may be a place now.
    PlaceFreed,
    /// The configuration has changed, and with it what may be tried.
    Configured,
    /// What each queued task waits for.
    Waiting(RpcReplyPort<BTreeMap<TaskId, (AgentKey, &'static str)>>),
    /// How many tasks are in flight.
    InFlight(RpcReplyPort<usize>),
    /// Start nothing any more.
    Quiesce(RpcReplyPort<()>),
    /// The end of a task was recorded.
    Ended(TaskId),
}

impl DispatchMsg {
    /// Whether it says something of tasks that a queue which is still being read may have or lack.
    pub(super) fn is_news_of_tasks(&self) -> bool {
        match self {
            Self::Submitted(_)
            | Self::Cancel(..)
            | Self::Held(..)
            | Self::Acquired(..)
            | Self::Handed(..)
            | Self::Back { .. }
            | Self::Reread(..)
            | Self::Lost { .. }
            | Self::Living(_)
            | Self::Ended(_) => true,
            Self::Loaded(..)
            | Self::Lend(..)
            | Self::GiveBack(_)
            | Self::Asking(..)
            | Self::Ready(_)
            | Self::Wanted(_)
            | Self::PlaceFreed
            | Self::Configured
            | Self::Waiting(_)
            | Self::InFlight(_)
            | Self::Quiesce(_) => false,
        }
    }
}

/// How a session actor is through with a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Back {
    /// Its end is recorded.
    Ended,
    /// It comes back as it was, and may have to wait.
    Unrun(Option<Wait>),
}
