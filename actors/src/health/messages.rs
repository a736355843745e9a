//! What the health actor is told of server processes, and what it shares with who runs them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use ractor::{ActorRef, RpcReplyPort};
use tokio::time::Instant;

use crate::event::{Exit, HealthState};
use crate::id::{AgentKey, ChatId, Generation, HostId};
use crate::ports::{Agent, FailureClass, ProbeFailed};
use crate::session::actor::SessionMsg;

/// Counts what an agent says in running turns. Shared rather than told: it changes with every
/// piece of output, and is looked at a few times a minute.
#[derive(Debug, Default)]
pub struct Pulse(AtomicU64);

impl Pulse {
    /// It said something.
    pub fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it did.
    pub fn beats(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A server process to be watched.
#[derive(Clone)]
pub struct Patient {
    /// Whose it is.
    pub key: AgentKey,
    /// Which one of those it had.
    pub generation: Generation,
    /// The agent's own process.
    pub pid: Option<u32>,
    /// The process by name, if others may live in it, too.
    pub host: Option<HostId>,
    /// Its handle. Weak: who watches must not keep alive what its owner let go.
    pub agent: Weak<dyn Agent>,
    /// What it says.
    pub pulse: Arc<Pulse>,
    /// Whether a turn is in flight.
    pub busy: bool,
    /// Who is told when it must be started again.
    pub session: ActorRef<SessionMsg>,
}

/// Why a server process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndCause {
    /// On purpose: evicted, closed, recycled, or the daemon stops.
    Ordered,
    /// By itself.
    Crashed,
    /// It was ended because it was ill or stuck, to be started again.
    Ill,
}

/// What came of a probe.
pub enum Sign {
    /// It answered.
    Alive,
    /// It did not.
    Failed(ProbeFailed),
    /// There is nobody to ask any more.
    Gone,
}

/// The last probe that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastFailure {
    /// What kind of failure.
    pub class: FailureClass,
    /// What was seen, in words.
    pub message: String,
    /// When.
    pub at: Instant,
}

/// The last end of a process, or of a start, that was not on purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastEnd {
    /// Why it ended.
    pub cause: EndCause,
    /// How, if there was a process.
    pub exit: Option<Exit>,
    /// In words.
    pub why: String,
    /// When.
    pub at: Instant,
}

/// How one server process is, for lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthView {
    /// Whose it is.
    pub key: AgentKey,
    /// Which one of those it had.
    pub generation: Generation,
    /// The agent's own process.
    pub pid: Option<u32>,
    /// How it is; `None` if there is none.
    pub state: Option<HealthState>,
    /// Since when.
    pub since: Instant,
    /// Failed probes in a row.
    pub failures: u32,
    /// The last probe that failed, of this process or one before it.
    pub last_failure: Option<LastFailure>,
    /// How often it was ended because it was ill, since the daemon started.
    pub restarts: u64,
    /// The last end that was not on purpose.
    pub last_end: Option<LastEnd>,
    /// The end of what it complained; of the one before it, if it did not.
    pub stderr_tail: String,
}

/// What the health actor is told.
pub enum HealthMsg {
    /// A server process is up.
    Began(Patient),
    /// A turn began or ended on it.
    Busy {
        /// Whose it is.
        key: AgentKey,
        /// Which one.
        generation: Generation,
        /// Whether a turn is in flight.
        busy: bool,
    },
    /// It is gone.
    Ended {
        /// Whose it was.
        key: AgentKey,
        /// Which one.
        generation: Generation,
        /// How it ended.
        exit: Exit,
        /// Why.
        cause: EndCause,
        /// In words.
        why: String,
    },
    /// A start failed.
    StartFailed {
        /// Whose.
        key: AgentKey,
        /// What happened, in words.
        message: String,
        /// How the process ended, if there was one.
        exit: Option<Exit>,
    },
    /// The chat was closed: there is nothing to tell of it any more.
    Forget(ChatId),
    /// A probe came through, or did not.
    Probed {
        /// Whose process was asked.
        key: AgentKey,
        /// Which one.
        generation: Generation,
        /// When it was asked.
        asked: Instant,
        /// What came of it.
        sign: Sign,
    },
    /// How is everybody?
    List(RpcReplyPort<Vec<HealthView>>),
    /// An effect panicked.
    EffectPanicked,
}
