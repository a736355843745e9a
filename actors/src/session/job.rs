//! The one job of an agent session, and how far it has come.

use crate::id::{Generation, TaskId, TurnId};

/// Why the open turn was told to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// Somebody cancelled it.
    Cancelled,
    /// The watchdog gave it up, for this reason.
    Stuck(String),
}

/// Why a job ends before its prompt has left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unsent {
    /// Somebody cancelled it.
    Cancelled,
    /// The agent session is let go for this reason.
    LetGo(String),
    /// Its backend was started again for this reason.
    Interrupted(String),
    /// Its backend was lost in this way.
    Lost(String),
}

/// How far the one job has come. From `dispatched` on it belongs to one backend: whatever becomes of
/// that one, the job is ended under its generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Job {
    /// There is none.
    None,
    /// It waits for the backend.
    Waiting(TaskId),
    /// Its `dispatched` is being committed.
    Dispatching {
        /// The task.
        task: TaskId,
        /// The backend that it is dispatched to.
        generation: Generation,
        /// What happened meanwhile.
        unsent: Option<Unsent>,
    },
    /// Its turn is being committed.
    Opening {
        /// The task.
        task: TaskId,
        /// The backend that its turn is opened for.
        generation: Generation,
        /// What happened meanwhile.
        unsent: Option<Unsent>,
    },
    /// The agent has the prompt.
    Running {
        /// The task.
        task: TaskId,
        /// Its turn.
        turn: TurnId,
        /// The backend that has the prompt.
        generation: Generation,
        /// A cancel was sent, and why.
        ending: Option<Ending>,
    },
    /// Its end is being committed.
    Ending(TaskId),
}

impl Job {
    /// The task, if there is a job.
    pub fn task(&self) -> Option<&TaskId> {
        match self {
            Self::None => None,
            Self::Waiting(task) | Self::Ending(task) => Some(task),
            Self::Dispatching { task, .. } | Self::Opening { task, .. } | Self::Running { task, .. } => {
                Some(task)
            }
        }
    }

    /// The backend that the turn of the job was, or is being, opened for.
    pub fn turn_generation(&self) -> Option<Generation> {
        match self {
            Self::Opening { generation, .. } | Self::Running { generation, .. } => Some(*generation),
            Self::None | Self::Waiting(_) | Self::Dispatching { .. } | Self::Ending(_) => None,
        }
    }

    /// Whether its prompt will never leave, though it is on its way.
    pub fn is_unsent(&self) -> bool {
        match self {
            Self::Dispatching { unsent, .. } | Self::Opening { unsent, .. } => unsent.is_some(),
            Self::None | Self::Waiting(_) | Self::Running { .. } | Self::Ending(_) => false,
        }
    }

    /// The turn that the agent works on now.
    pub fn running_turn(&self) -> Option<&TurnId> {
        match self {
            Self::Running { turn, .. } => Some(turn),
            _ => None,
        }
    }
}
