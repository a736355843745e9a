//! What the pool is told, and how it tells what it keeps.

use ractor::{ActorId, ActorRef, RpcReplyPort};

use super::policy::{Claim, Refusal};
use crate::event::{AgentStatus, Context};
use crate::id::{AgentKey, ChatId, Generation, TurnId};
use crate::session::actor::{SessionMsg, View};
use crate::session::busy::Busy;

/// How one live agent session looks, for lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveView {
    /// Which one.
    pub key: AgentKey,
    /// Where it stands.
    pub status: AgentStatus,
    /// Its backend.
    pub generation: Generation,
    /// The agent's own process.
    pub pid: Option<u32>,
    /// How long it has been idle, in milliseconds.
    pub idle_ms: Option<u64>,
    /// The turn in flight.
    pub turn: Option<TurnId>,
    /// Backends begun since the daemon started, after the first.
    pub restarts: u64,
    /// What the agent remembers.
    pub context: Option<Context>,
    /// What keeps it from being evicted.
    pub busy: Busy,
    /// Why it stands where it stands, after a failure.
    pub reason: Option<String>,
    /// Until the next start may be made, in milliseconds, where it waits.
    pub retry_in_ms: Option<u64>,
    /// Crashes and failed starts since its actor lives.
    pub failures: (u64, u64),
}

/// A session actor, given to somebody who has something for it; its place is kept until then. Dropped,
/// it lets the actor say that nothing more comes by this.
pub struct HandedOut {
    actor: ActorRef<SessionMsg>,
    number: u64,
}

impl HandedOut {
    /// The n-th that is given away.
    pub(super) fn new(actor: ActorRef<SessionMsg>, number: u64) -> Self {
        Self { actor, number }
    }

    /// The actor.
    pub fn actor(&self) -> &ActorRef<SessionMsg> {
        &self.actor
    }
}

impl Drop for HandedOut {
    fn drop(&mut self) {
        // Behind whatever was sent to it. One that is gone has left its place, too.
        self.actor.cast(SessionMsg::Taken(self.number)).ok();
    }
}

/// What became of a request for an actor.
pub type Acquired = Result<HandedOut, Refusal>;

/// What the pool is told.
pub enum PoolMsg {
    /// A task for this key is about to be accepted; with `no_wait`, only if it need not wait.
    Admit {
        /// Whose.
        key: AgentKey,
        /// It is to be refused rather than kept waiting.
        no_wait: bool,
        /// The answer.
        reply: RpcReplyPort<Result<(), Refusal>>,
    },
    /// The dispatcher wants the actor of a key, and a place for it.
    Acquire {
        /// Whose.
        key: AgentKey,
        /// What it has to say for itself.
        claim: Claim,
        /// The answer.
        reply: RpcReplyPort<Acquired>,
    },
    /// The actor of a key, if there is one.
    Find(AgentKey, RpcReplyPort<Option<ActorRef<SessionMsg>>>),
    /// The configuration was read again.
    Configured,
    /// A person uses a key: it goes last now.
    Touch(AgentKey),
    /// An actor was started.
    Created(AgentKey, Result<ActorRef<SessionMsg>, String>),
    /// A session actor moved.
    Moved(AgentKey, View),
    /// A session actor has heard what it was handed out for, and has told what became of it.
    Taken(AgentKey, u64),
    /// A session actor was asked to let go, and is willing or not.
    Judged(AgentKey, ActorId, bool),
    /// These have been idle for long enough, and nothing is queued for them.
    Expired(Vec<AgentKey>),
    /// What the process trees hold, in bytes.
    Weighed(Vec<(AgentKey, Option<u64>)>),
    /// Time to look at who is idle, and at the memory that is left.
    Tick,
    /// A session actor ended; `failure` says how, unless it ended in order.
    Passed {
        /// Whose it was.
        key: AgentKey,
        /// Which one it was.
        actor: ActorId,
        /// How it failed.
        failure: Option<String>,
    },
    /// The supervisor of the session actors was replaced: ask again who lives.
    Readopt,
    /// What lives, now that this pool, or that supervisor, is new.
    Adopted(Vec<(AgentKey, ActorRef<SessionMsg>, Option<View>)>),
    /// How everybody looks, the least recently used first.
    Live(RpcReplyPort<Vec<LiveView>>),
    /// Lets every agent session of a chat go; answered when they are gone.
    CloseChat(ChatId, RpcReplyPort<()>),
    /// The last connection that answers permissions has left the chat.
    AudienceLeft(ChatId),
    /// Lets everybody go, and starts nobody any more.
    StopAll(bool, RpcReplyPort<()>),
}
