//! The collaborators of the tree, by the names of what they do for it, and the plain data that
//! crosses. Production wires them once, in hob's composition root; tests put fakes in their place.
//!
//! **Invariant:** a call takes its place in line when the method is *called*, not when its future
//! is first polled. So an actor may call [`Store::append`] and then [`Store::end_turn`], and the
//! end is written behind everything before it, whatever the runtime does with the futures.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

pub use crate::backend_ports::{
    AUTH_REQUIRED, Agent, Backend, Choice, Launch, Launched, News, NewsSink, NotChosen, Settled, StartFailed,
};
pub use crate::dispatch::route::Route;
use crate::event::{AgentStatus, Context, Exit, Json, NewEvent, Outcome, PermissionOption, TaskState, Usage};
use crate::id::{AgentKey, BackendSessionId, ChatId, Generation, PermissionId, SessionId, TaskId, TurnId};
pub use crate::machine::{Machine, ProcessTree};
pub use crate::port_error::{PortError, chain};
pub use crate::probe::{FailureClass, ProbeFailed};
pub use crate::reaper::policy::{Candidate, ReaperRules, Stand};
pub use crate::settings::{
    AgentSettings, Audience, HealthRules, Limits, PermissionPolicy, PermissionRules, RestartRules, Settings,
    Tells, Unattended, WatchdogRules,
};
pub use crate::worktree::{Preflight, Reason};
pub use crate::worktree_ports::{Snapshots, Worktrees};

/// Everything that the tree asks of the world.
#[derive(Clone)]
pub struct Ports {
    /// What is remembered.
    pub store: Arc<dyn Store>,
    /// What runs agents.
    pub backend: Arc<dyn Backend>,
    /// What the person configured.
    pub settings: Arc<dyn Settings>,
    /// Who is looking.
    pub audience: Arc<dyn Audience>,
    /// How much memory there is, and who holds it.
    pub machine: Arc<dyn Machine>,
    /// What remembers the files of a session around its turns.
    pub snapshots: Arc<dyn Snapshots>,
    /// What becomes of worktrees when nobody needs them.
    pub worktrees: Arc<dyn Worktrees>,
}

/// An answer that comes later. The request is already in line when this is returned.
pub type Answer<T> = Pin<Box<dyn Future<Output = Result<T, PortError>> + Send + 'static>>;

/// Room in a bounded pipe, held while a message of an agent is on its way to the disk. Dropped, the agent writes on.
#[derive(Debug, Default)]
pub struct Permit {
    // Held, never looked at.
    _room: Option<OwnedSemaphorePermit>,
}

impl Permit {
    /// Holds `permit` until dropped.
    pub fn holding(permit: OwnedSemaphorePermit) -> Self {
        Self { _room: Some(permit) }
    }

    /// Holds nothing: for news that no agent can flood us with.
    pub fn free() -> Self {
        Self { _room: None }
    }
}

// ---------------------------------------------------------------------------------------------
// Store

/// A task as the dispatcher and the session actor need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskCard {
    /// Its id.
    pub task: TaskId,
    /// Whom it is for.
    pub key: AgentKey,
    /// The session of the chat.
    pub session: SessionId,
    /// Strictly increasing in the order of acceptance.
    pub order: i64,
    /// Where it stands.
    pub state: TaskState,
    /// The prompt.
    pub prompt: Arc<str>,
    /// What answers permission requests of this task, if not the configuration.
    pub permissions: Option<PermissionPolicy>,
    /// Refused rather than kept waiting (`no_wait`).
    pub no_wait: bool,
    /// Failed rather than kept waiting for another start, where the first one failed (`no_retry`).
    pub no_retry: bool,
    /// An agent, an arena or a tool made it: no person sits in front of it.
    pub is_delegated: bool,
    /// The directory that the agent is to work in.
    pub cwd: PathBuf,
    /// Which kind of backend is to run it.
    pub route: Route,
    /// When it was read, by the number of the newest event of the journal: what bears a greater number
    /// is news to it.
    pub as_of: i64,
}

/// What is remembered of an agent session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentRecord {
    /// The session of its chat.
    pub session: SessionId,
    /// The backends it had; 0 before the first.
    pub generation: Generation,
    /// The agent's own id of the conversation, if one was ever opened and not definitely lost.
    pub backend_session: Option<BackendSessionId>,
    /// Whether a turn was ever completed in that conversation, so that an empty one is a loss.
    pub has_history: bool,
    /// Whether a start of this agent ever came through in this installation, for whatever chat.
    pub ever_started: bool,
    /// The directory that the agent works in.
    pub cwd: PathBuf,
    /// Where it stood.
    pub status: Option<AgentStatus>,
    /// SHA-256, in hex, of the configuration that the last backend was started with.
    pub config_hash: Option<String>,
    /// The mode and model that a person chose.
    pub choice: Choice,
}

/// An agent session moves: the row and its `agent_state` event, in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentMove {
    /// Which one.
    pub key: AgentKey,
    /// The backend it is about.
    pub generation: Generation,
    /// Where it stands now.
    pub to: AgentStatus,
    /// Why, in words.
    pub reason: Option<String>,
    /// The agent's own process, if it has one.
    pub pid: Option<u32>,
    /// How the process ended, if it did.
    pub exit: Option<Exit>,
}

/// A backend was started for an agent session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendOpened {
    /// Which one.
    pub key: AgentKey,
    /// The backend.
    pub generation: Generation,
    /// The word for how it is driven.
    pub backend: &'static str,
    /// The agent's own id of the conversation; `None` leaves the recorded one as it is.
    pub backend_session: Option<BackendSessionId>,
    /// What the agent remembers.
    pub context: Context,
    /// Why the context was lost, if it was: the text of a `context_reset` event.
    pub reset: Option<String>,
    /// The agent's own process.
    pub pid: Option<u32>,
    /// SHA-256, in hex, of the configuration that it was started with.
    pub config_hash: String,
}

/// A turn ends: the turn row, the task, their events and the expiry of its open permissions, in
/// one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnEnd {
    /// The task.
    pub task: TaskId,
    /// The turn.
    pub turn: TurnId,
    /// The backend that ran it.
    pub generation: Generation,
    /// How it ended.
    pub outcome: Outcome,
    /// The agent's word for it, as it came.
    pub stop_reason: Option<String>,
    /// What went wrong, in words.
    pub error: Option<String>,
    /// What it cost.
    pub usage: Usage,
    /// From the prompt to the end, in milliseconds.
    pub duration_ms: u64,
    /// From the prompt to the first output, in milliseconds.
    pub first_token_ms: Option<u64>,
    /// The agent's final message.
    pub text: String,
}

impl TurnEnd {
    /// An end of which nothing is known but how it came out.
    pub fn new(of: TurnName, outcome: Outcome) -> Self {
        Self {
            task: of.task,
            turn: of.turn,
            generation: of.generation,
            outcome,
            stop_reason: None,
            error: None,
            usage: Usage::default(),
            duration_ms: 0,
            first_token_ms: None,
            text: String::new(),
        }
    }
}

/// A turn, and the backend that it was opened for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnName {
    /// Its task.
    pub task: TaskId,
    /// The turn.
    pub turn: TurnId,
    /// The backend.
    pub generation: Generation,
}

/// What the store made of an end: both leave a task that is over. Where neither holds, it refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was written.
    Now,
    /// It had ended before: nothing was written.
    Before,
}

/// Which turn of whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnRef {
    /// The turn.
    pub turn: TurnId,
    /// Its task.
    pub task: TaskId,
    /// The agent session.
    pub key: AgentKey,
    /// The backend that runs it.
    pub generation: Generation,
}

/// A question of an agent, to be remembered before anyone is shown it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermissionAsk {
    /// What the tool is about to do, for a person.
    pub title: String,
    /// The tool kind: `edit`, `execute`, …
    pub kind: String,
    /// The answers that the agent offers.
    pub options: Vec<PermissionOption>,
    /// The tool call it is about.
    pub call: Option<String>,
    /// The arguments of that call, as the agent sent them.
    pub input: Option<Json>,
    /// What the call shows, as the agent sent it.
    pub content: Option<Json>,
}

impl PermissionAsk {
    /// What is the like of it, to whoever says that something holds from now on: its kind. Where
    /// that says nothing (goose tells none), the tool by name, as in `write · a.txt`, else the very
    /// same title.
    pub fn like(&self) -> String {
        match self.kind.as_str() {
            "" | "other" => format!("other: {}", self.title.split(" · ").next().unwrap_or_default()),
            kind => kind.to_owned(),
        }
    }
}

/// What a person said once of all questions of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StandingAnswer {
    /// Yes.
    Allow,
    /// No.
    Reject,
}

impl StandingAnswer {
    /// The rule that says the same.
    pub fn policy(self) -> PermissionPolicy {
        match self {
            Self::Allow => PermissionPolicy::Allow,
            Self::Reject => PermissionPolicy::Reject,
        }
    }
}

/// A question that is in the inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Its id.
    pub id: PermissionId,
    /// What a person said in this chat of the like of it.
    pub standing: Option<StandingAnswer>,
}

/// The memory of the daemon.
pub trait Store: Send + Sync + 'static {
    /// Every task that is not terminal, in order of acceptance.
    fn open_tasks(&self) -> Answer<Vec<TaskCard>>;

    /// One task, or `None`.
    fn task(&self, task: TaskId) -> Answer<Option<TaskCard>>;

    /// The record of an agent session, made if it does not exist.
    fn agent_record(&self, key: AgentKey) -> Answer<AgentRecord>;

    /// Begins the next generation: counts it up and moves the agent session to `starting`.
    fn begin_generation(&self, key: AgentKey) -> Answer<Generation>;

    /// Records an opened backend, moves the agent session to `idle` and emits `context_reset` if
    /// the context was lost.
    fn backend_opened(&self, opened: BackendOpened) -> Answer<()>;

    /// Remembers which mode and model a person chose, and tells of them in `mode` and `models` events.
    fn choose(&self, key: AgentKey, choice: Choice) -> Answer<()>;

    /// Forgets the agent's id of the conversation: it is definitely gone.
    fn forget_backend_session(&self, key: AgentKey) -> Answer<()>;

    /// Moves an agent session. A move of an older generation than the recorded one is dropped.
    fn move_agent(&self, step: AgentMove) -> Answer<()>;

    /// `queued` to `dispatched`. False if the task was not `queued` any more.
    fn dispatch_task(&self, task: TaskId, generation: Generation) -> Answer<bool>;

    /// `dispatched` to `running`: the turn row, `turn_started` and `task_state` in one transaction,
    /// and of the task which kind of backend runs it. `None` if the task had ended by then; refused
    /// where it is not dispatched to that backend.
    fn start_turn(
        &self,
        task: TaskId,
        of: Generation,
        context: Context,
        route: Route,
    ) -> Answer<Option<TurnId>>;

    /// Ends a turn and its task. Refused if another turn is open, or this one under another generation:
    /// a task that is not over is never left as it was without a word.
    fn end_turn(&self, end: TurnEnd) -> Answer<Ended>;

    /// Takes a turn back in which nothing ran: it ends as failed, and its task is queued again, in one
    /// transaction. Refused as the end of a turn is.
    fn retract_turn(&self, of: TurnName, why: String) -> Answer<()>;

    /// Ends a task that has no open turn. A task with an open turn has that turn ended too, with the
    /// same outcome.
    fn end_task(&self, task: TaskId, outcome: Outcome, reason: String) -> Answer<Ended>;

    /// Moves the queued tasks of a chat to `held`, or back, and remembers it of the chat. Says as of
    /// which event of the journal that is so.
    fn set_held(&self, chat: ChatId, held: bool) -> Answer<i64>;

    /// Appends a streamed event. Never waits: the permit bounds what is on the way, and is
    /// released when the event is in the database.
    fn append(&self, event: NewEvent, permit: Permit);

    /// Remembers a question and emits `permission_requested`.
    fn ask_permission(&self, of: TurnRef, ask: PermissionAsk) -> Answer<Asked>;

    /// Remembers what a person said of all questions of a kind, for an agent in a chat.
    fn remember_answer(&self, key: AgentKey, kind: String, said: StandingAnswer) -> Answer<()>;

    /// Settles a question and emits `permission_resolved`. False if it was settled before.
    /// `option` is `None` where the question became moot; `by` says who or what answered.
    fn resolve_permission(
        &self,
        permission: PermissionId,
        option: Option<String>,
        by: String,
    ) -> Answer<bool>;
}
