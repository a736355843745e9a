//! Where tasks, turns and agent sessions can stand: the words of the state machines.

/// What an agent is remembered to know when a turn begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Context {
    /// A new conversation, and none was lost.
    Fresh,
    /// The process of the turn before is still there.
    Warm,
    /// A new process took the old conversation up again, without replay.
    Resumed,
    /// A new process read the old conversation back.
    Loaded,
    /// The old conversation is lost; a `context_reset` event said so.
    Reset,
}

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The agent said that it was done.
    Completed,
    /// The agent said that it could not.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
    /// The agent or the daemon went away in the middle.
    Interrupted,
}

/// Where a task stands. The last four are terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TaskState {
    /// Accepted and waiting.
    Queued,
    /// Put aside until its chat is released.
    Held,
    /// Committed to be sent; the prompt may or may not have left.
    Dispatched,
    /// The prompt was sent and a turn is open.
    Running,
    /// Done.
    Completed,
    /// Could not be done.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
    /// The agent or the daemon went away in the middle.
    Interrupted,
}

impl TaskState {
    /// Nothing will change it any more.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled | Self::Interrupted)
    }
}

impl From<Outcome> for TaskState {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Completed => Self::Completed,
            Outcome::Failed => Self::Failed,
            Outcome::Cancelled => Self::Cancelled,
            Outcome::Interrupted => Self::Interrupted,
        }
    }
}

/// Where an agent session stands (`status` in the contract).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AgentStatus {
    /// Its backend is being started.
    Starting,
    /// Warm, and nothing to do.
    Idle,
    /// A turn is in flight.
    Busy,
    /// Let go on purpose; the next prompt brings it back.
    Evicted,
    /// Its process ended by itself; the next prompt brings it back.
    Crashed,
    /// Waiting before the next start.
    Backoff,
    /// Crashed too often; waits for the cool-down or a person.
    CircuitOpen,
    /// Its chat was closed.
    Closed,
}

/// How a server process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HealthState {
    /// It answers.
    Healthy,
    /// It failed to answer, not often enough to be unhealthy.
    Suspect,
    /// Unhealthy, and spared for a while because a turn is in flight.
    StaleBusy,
    /// It is being started again.
    Restarting,
}

/// What a task waits for besides its turn and the limits of the dispatcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wait {
    /// A place among the live backends.
    Slot,
    /// Memory.
    Memory,
    /// The wait after a failure.
    Backoff,
    /// The cool-down after too many of them.
    Circuit,
}

impl Wait {
    /// The contract's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Slot => "slot",
            Self::Memory => "memory",
            Self::Backoff => "backoff",
            Self::Circuit => "circuit",
        }
    }
}
