//! The vocabulary of an agent session's life: where it can stand, what can be asked of it, what can
//! be seen to happen, and what may have to be done. The rules are in [`super::lifecycle`].

use crate::event::{AgentStatus, Outcome, Wait};
use crate::id::{Generation, TaskId, TurnId};
use crate::ports::TurnName;

pub use super::job::{Ending, Job, Unsent};

/// Whether a backend process may exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// There is none.
    Down,
    /// One is being started; `died` if it is known to have ended again.
    Starting {
        /// Its end was seen before its start was.
        died: bool,
    },
    /// One is ready.
    Up,
    /// One is being ended in order.
    Stopping {
        /// Another is to be started when it is gone.
        again: bool,
    },
}

/// Why the agent session is let go for good (of this actor).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// Its chat was closed.
    Closed,
    /// The daemon stops; a waiting job stays queued.
    DaemonStops,
    /// The pool, or a person, lets its backend go; a waiting job stays queued.
    Evicted,
}

/// Both machines, and whether they are on their way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// The backend.
    pub backend: Backend,
    /// Which one is up, or was up last.
    pub generation: Generation,
    /// The job.
    pub job: Job,
    /// Set once; the actor ends when nothing is left to wait for.
    pub leaving: Option<Leave>,
}

/// What somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Run this task.
    Run {
        /// The task.
        task: TaskId,
        /// The live backend was started with another configuration.
        recycle: bool,
        /// A start has to wait, if one is needed.
        wait: Option<Wait>,
        /// Why it is not to wait for that, but to fail.
        refusal: Option<String>,
    },
    /// Cancel this task, if it is the job.
    Cancel(TaskId),
    /// The turn makes no progress: end it.
    GiveUp {
        /// The turn.
        turn: TurnId,
        /// What is wrong with it, in words.
        why: String,
    },
    /// Start the backend again.
    Restart {
        /// Also if it has a job, which ends as interrupted.
        interrupt: bool,
        /// Also if there is none.
        revive: bool,
        /// Why, in words.
        why: String,
    },
    /// Let the backend go if it has nothing to do.
    Evict {
        /// Whatever it has to do.
        force: bool,
        /// Why, in words.
        why: String,
    },
    /// End everything. `now` skips every grace.
    Leave {
        /// Why.
        why: Leave,
        /// Without grace.
        now: bool,
    },
}

/// What was seen to happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    /// The backend of this generation is ready.
    Launched(Generation),
    /// It was ready, and its end was seen before.
    LaunchedDead(Generation, After),
    /// It could not be started.
    LaunchFailed {
        /// Why, in words.
        message: String,
        /// Another start with this configuration will fail the same way.
        permanent: bool,
        /// What follows.
        after: After,
    },
    /// `dispatched` is committed, or was refused because the task was not queued any more.
    Dispatched(bool),
    /// The turn is committed, and its files were looked at.
    Opened(TurnId),
    /// The turn is committed, and the place in which it was to work is not what it was.
    Refused {
        /// The turn.
        turn: TurnId,
        /// What is wrong, and what brings it back.
        why: String,
    },
    /// No turn was opened: the task had ended by then, because its chat was closed.
    NotOpened,
    /// The agent answered the prompt: its stop reason, or an error.
    Settled(Result<String, String>),
    /// The process ended by itself. `produced`: the open turn had output.
    Exited {
        /// Whether the open turn had output.
        produced: bool,
        /// How, in words.
        how: String,
        /// What follows.
        after: After,
    },
    /// The agent closed its output but may live on.
    Hung {
        /// Whether the open turn had output.
        produced: bool,
        /// What was seen, in words.
        how: String,
        /// What follows.
        after: After,
    },
    /// The agent did not take the prompt, and takes none before a person has logged in.
    LoggedOut {
        /// What it said, in words.
        why: String,
    },
    /// The agent did not take the prompt, because it lost the conversation: nothing ran.
    Lost {
        /// What it said, in words.
        why: String,
    },
    /// The turn is taken back, and its task is queued again.
    Retracted,
    /// The cancel was not answered in time.
    CancelGraceOver,
    /// The ordered stop is complete.
    Gone,
    /// The end of the job is committed.
    Ended,
}

/// What follows a failure of the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct After {
    /// What the next start waits for.
    pub wait: Wait,
    /// It is started again though nothing waits for it.
    pub keep_warm: bool,
}

/// Something for the actor to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Begin a generation and launch a backend.
    Start,
    /// Give up a start that is under way.
    AbortStart,
    /// Commit `dispatched`, to this backend.
    Dispatch(TaskId, Generation),
    /// Commit the turn, of this backend.
    OpenTurn(TaskId, Generation),
    /// Send the prompt.
    SendPrompt,
    /// Settle its permissions and send cancels until the prompt is answered or the grace is over.
    SendCancel,
    /// Commit the end of the turn and of its task.
    EndTurn {
        /// Its task.
        task: TaskId,
        /// The turn.
        turn: TurnId,
        /// The backend that it was opened for.
        generation: Generation,
        /// How it ended.
        outcome: Outcome,
        /// The agent's word.
        stop_reason: Option<String>,
        /// What went wrong.
        error: Option<String>,
    },
    /// Commit that nothing ran in this turn, and that its task is queued again.
    RetractTurn {
        /// The turn, its task and its backend.
        of: TurnName,
        /// Why.
        why: String,
    },
    /// Commit the end of a task without a turn.
    EndTask {
        /// The task.
        task: TaskId,
        /// How it ended.
        outcome: Outcome,
        /// Why.
        reason: String,
    },
    /// Hand the job back unrun, with what it has to wait for; it is for the dispatcher to see what
    /// became of it.
    ReturnJob(TaskId, Option<Wait>),
    /// Record that the next start waits, and tell when it may be made.
    Rest(Wait),
    /// End the backend in order.
    StopBackend {
        /// Without grace.
        now: bool,
        /// Where the agent session stands then: let go, or as good as crashed.
        to: AgentStatus,
        /// Why, in words.
        why: String,
    },
    /// The backend ended by itself: forget it and record how.
    RecordCrash {
        /// How, in words.
        how: String,
    },
    /// Tell the dispatcher that the job is over.
    ReportDone(TaskId),
    /// Nothing is left: record the last state and end the actor.
    Finish(Leave),
}

/// Why a request was denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// It has a job already, or a start under way.
    #[error("the agent session already has a task")]
    Busy,
    /// It is being let go.
    #[error("the agent session is closing")]
    Leaving,
}

/// Where to go, and what to do on the way, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a decision that is not applied is lost"]
pub struct Decision {
    /// The next state.
    pub next: Machine,
    /// What to do.
    pub effects: Vec<Effect>,
}

impl Default for Machine {
    fn default() -> Self {
        Self { backend: Backend::Down, generation: Generation::default(), job: Job::None, leaving: None }
    }
}

impl Machine {
    pub(super) fn go(&self, backend: Backend, job: Job, effects: Vec<Effect>) -> Decision {
        let next = Self { backend, job, ..self.clone() };
        Decision { next, effects }.finished()
    }

    pub(super) fn stay(&self) -> Decision {
        self.go(self.backend, self.job.clone(), Vec::new())
    }

    /// A backend process may exist.
    pub fn may_own_process(&self) -> bool {
        self.backend != Backend::Down
    }
}

impl Leave {
    /// In words, for the journal.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Closed => "the chat was closed",
            Self::DaemonStops => "the daemon is stopping",
            Self::Evicted => "evicted",
        }
    }
}

impl Decision {
    /// Adds the end of the actor once it is leaving and nothing is left to wait for.
    fn finished(mut self) -> Self {
        if let (Some(why), Backend::Down, Job::None) = (self.next.leaving, self.next.backend, &self.next.job)
            && !self.effects.contains(&Effect::Finish(why))
        {
            self.effects.push(Effect::Finish(why));
        }
        self
    }
}
