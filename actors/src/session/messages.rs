//! What a session actor is told, and how it looks from outside.

use std::collections::BTreeSet;

use ractor::RpcReplyPort;
use tokio::time::Instant;

use super::busy::Busy;
use super::choice::{Came, Chosen, Unchanged};
use super::comeback::EvictRequest;
use super::permission::{Answered, PermissionReply};
use super::state::{Denied, Leave, Observation};
use super::turn::Question;
use super::wish::Wish;
use crate::event::{AgentStatus, Context, Exit};
use crate::id::{AgentKey, Generation, HostId, PermissionId, TaskId, TurnId};
use crate::links::Links;
use crate::ports::{
    AgentRecord, Asked, Choice, Launched, News, Permit, PortError, Ports, StartFailed, TaskCard,
};

/// What a session actor is started with.
#[derive(Clone)]
pub struct SessionArgs {
    /// Which agent session.
    pub key: AgentKey,
    /// The world.
    pub ports: Ports,
    /// The tree.
    pub links: Links,
}

/// How an agent session looks from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Where it stands.
    pub status: AgentStatus,
    /// A backend process may exist.
    pub live: bool,
    /// Its backend.
    pub generation: Generation,
    /// The agent's own process.
    pub pid: Option<u32>,
    /// The process by name, if others may live in it, too.
    pub host: Option<HostId>,
    /// The task that it was given.
    pub task: Option<TaskId>,
    /// The turn in flight.
    pub turn: Option<TurnId>,
    /// What the agent remembers.
    pub context: Option<Context>,
    /// Backends begun by this actor after its first.
    pub restarts: u64,
    /// It is on its way out: nothing can be handed to it any more.
    pub leaving: bool,
    /// What keeps it from being evicted.
    pub busy: Busy,
    /// Why it stands where it stands, after a failure.
    pub reason: Option<String>,
    /// When the next start may be made, where it waits.
    pub retry_at: Option<Instant>,
    /// Crashes and failed starts of this actor's backends.
    pub failures: (u64, u64),
}

/// Everything that a session actor is told, by sender.
pub enum SessionMsg {
    /// The dispatcher hands over a task.
    Run(TaskCard, RpcReplyPort<Result<(), Denied>>),
    /// What the pool handed it out for, by number, has come before this, or comes no more.
    Taken(u64),
    /// Somebody cancels a task.
    Cancel(TaskId),
    /// The pool lets it go; answered when its backend is gone.
    Leave(Leave, bool, RpcReplyPort<()>),
    /// Somebody wants the backend to be let go, or to be started again.
    Wish(Wish),
    /// Wishes that wait for the record of an end have waited long enough.
    Impatient,
    /// The backend is to be let go, now that it is known what runs below it.
    Looked(BTreeSet<u32>, EvictRequest),
    /// The processes that the agent of a generation always has.
    Helpers(Generation, BTreeSet<u32>),
    /// A person wants another mode or model.
    Choose(Chosen, RpcReplyPort<Result<(), Unchanged>>),
    /// That came to this.
    Chosen(Choice, Came),
    /// The health actor wants the backend of a generation started again.
    Ill {
        /// Which one.
        generation: Generation,
        /// Why, in words.
        why: String,
        /// Also if it is busy.
        interrupt: bool,
    },
    /// The health actor is new: tell it what runs here.
    Present,
    /// The configuration was read again: what could not work may work now.
    Configured,
    /// There is a place for what is kept warm.
    Warm,
    /// The wait after a failure is over.
    Rested,
    /// Time to look whether the turn makes progress.
    Watch(TurnId),
    /// Somebody answers a question.
    Answer(PermissionReply, RpcReplyPort<Answered>),
    /// The last connection that answers permissions has left the chat.
    AudienceLeft,
    /// A new pool wants to know.
    Inspect(RpcReplyPort<View>),
    /// The backend tells.
    Heard(Generation, News, Permit),
    /// A generation was begun, with a configuration of this fingerprint.
    Begun(Generation, Box<AgentRecord>, String),
    /// A start came through, or did not.
    Started(Generation, Result<Launched, StartFailed>),
    /// The turn is committed, or was not because its task had ended by then.
    TurnOpened(Option<TurnId>),
    /// The store knows of no such turn that could end: its task must not stay open for that.
    EndRefused(TaskId, PortError),
    /// The files were looked at after the turn.
    LookedAfter(TurnId),
    /// An effect came through.
    Seen(Observation),
    /// The ordered stop of a backend is complete.
    Stopped(Generation, Exit),
    /// A question was recorded.
    Recorded(TurnId, Asked, Question, String),
    /// A question of the agent could not be recorded.
    NotRecorded(u64),
    /// A question has waited long enough.
    Due(PermissionId),
    /// A state can never be recorded.
    Unrecorded(PortError),
    /// An effect panicked.
    EffectPanicked,
    /// Everything is recorded: the actor ends.
    Finished,
}
