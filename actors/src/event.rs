//! The event union: everything that the journal can say, whichever agent said it.
//!
//! Plain data. How an event is written down is the business of the journal; values of an agent
//! that have no meaning to hob are carried as [`Json`], exactly as they came.

use std::fmt;
use std::sync::Arc;

use crate::id::{AgentName, ChatId, Generation, PermissionId, SessionId, TaskId, TurnId, WorktreeId};

/// One JSON value as text, as an agent sent it; never looked into here.
#[derive(Clone, PartialEq, Eq)]
pub struct Json(Box<str>);

impl Json {
    /// Wraps text that the caller knows to be one valid JSON value on one line.
    pub fn from_valid(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The value as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an event is about. Shared by all events of a turn, hence the `Arc` in [`NewEvent`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// The session.
    pub session: Option<SessionId>,
    /// The chat.
    pub chat: Option<ChatId>,
    /// The agent.
    pub agent: Option<AgentName>,
    /// The backend generation of the agent session.
    pub generation: Option<Generation>,
    /// The task.
    pub task: Option<TaskId>,
    /// The turn.
    pub turn: Option<TurnId>,
}

/// An event before the journal gave it a number and a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// What it is about.
    pub scope: Arc<Scope>,
    /// What happened.
    pub event: Event,
}

/// How much a turn, or a chat, or a day cost. `None` means that the agent did not tell.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Usage {
    /// Input tokens.
    pub input: Option<u64>,
    /// Output tokens.
    pub output: Option<u64>,
    /// Reasoning tokens.
    pub reasoning: Option<u64>,
    /// Input tokens read from a cache.
    pub cached_read: Option<u64>,
    /// Input tokens written to a cache.
    pub cached_write: Option<u64>,
    /// Tokens in the context window now.
    pub context_used: Option<u64>,
    /// Size of the context window, in tokens.
    pub context_size: Option<u64>,
    /// Cost, in `currency`.
    pub cost: Option<f64>,
    /// ISO 4217 code of `cost`.
    pub currency: Option<String>,
}

// A cost is never NaN: it comes from JSON, which cannot say NaN.
impl Eq for Usage {}

impl Usage {
    /// Adds `more` to the spent amounts and takes its context figures where it has them.
    pub fn add(&mut self, more: &Self) {
        fn sum<T: Copy + std::ops::Add<Output = T>>(into: &mut Option<T>, more: Option<T>) {
            *into = match (*into, more) {
                (Some(a), Some(b)) => Some(a + b),
                (a, b) => a.or(b),
            };
        }
        sum(&mut self.input, more.input);
        sum(&mut self.output, more.output);
        sum(&mut self.reasoning, more.reasoning);
        sum(&mut self.cached_read, more.cached_read);
        sum(&mut self.cached_write, more.cached_write);
        sum(&mut self.cost, more.cost);
        self.take_context(more);
        if more.currency.is_some() {
            self.currency.clone_from(&more.currency);
        }
    }

    /// Takes the context figures of `more` where it has them.
    pub fn take_context(&mut self, more: &Self) {
        self.context_used = more.context_used.or(self.context_used);
        self.context_size = more.context_size.or(self.context_size);
    }

    /// Whether the agent told anything at all.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

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

/// How a process ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exit {
    /// Exit code, if it exited.
    pub code: Option<i32>,
    /// Signal number, if a signal ended it.
    pub signal: Option<i32>,
    /// The end of what it wrote to stderr, secrets redacted.
    pub stderr_tail: String,
}

/// One line of an agent's plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanEntry {
    /// What is to be done.
    pub content: String,
    /// `pending`, `in_progress`, `completed`, or what the agent said.
    pub status: String,
    /// `high`, `medium`, `low`, or what the agent said.
    pub priority: String,
}

/// An answer that an agent offers with a permission request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermissionOption {
    /// The agent's id for it.
    pub id: String,
    /// What a person reads.
    pub name: String,
    /// `allow_once`, `allow_always`, `reject_once`, `reject_always`, or what the agent said.
    pub kind: String,
}

/// What an agent began to do. Kinds and status are the protocol's words, or the agent's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolCall {
    /// The agent's id for the call.
    pub call: String,
    /// What a person reads.
    pub title: String,
    /// `read edit delete move search execute think fetch other`, or what the agent said.
    pub kind: String,
    /// `pending in_progress completed failed`, or what the agent said.
    pub status: String,
    /// Where it works: a JSON array.
    pub locations: Option<Json>,
    /// The arguments, as the agent sent them.
    pub input: Option<Json>,
    /// What it shows: a JSON array of content blocks.
    pub content: Option<Json>,
}

/// News of a tool call. What is `None` did not change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolUpdate {
    /// The agent's id for the call.
    pub call: String,
    /// The new status.
    pub status: Option<String>,
    /// The new title.
    pub title: Option<String>,
    /// What it shows now: a JSON array of content blocks.
    pub content: Option<Json>,
    /// What the tool returned, as the agent sent it.
    pub output: Option<Json>,
}

/// How loud a notice is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Good to know.
    Info,
    /// Something was off, and hob went on.
    Warning,
    /// Something failed.
    Error,
}

/// Everything that the journal can say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A turn began: the `attempt`-th for its task.
    TurnStarted { attempt: u32, context: Context },
    /// A piece of the agent's answer.
    Text { text: String, message: Option<String> },
    /// A piece of the agent's reasoning.
    Reasoning { text: String, message: Option<String> },
    /// The agent began to do something.
    ToolCall(ToolCall),
    /// News of something it does.
    ToolUpdate(ToolUpdate),
    /// The agent's whole plan, replacing the one before.
    Plan { entries: Vec<PlanEntry> },
    /// The commands that the agent offers now, as it sent them.
    Commands { commands: Json },
    /// The mode that the agent is in now; `available` as it sent them.
    Mode { current: Option<String>, available: Option<Json> },
    /// The models that the agent offers now; `available` as it sent them.
    Models { current: Option<String>, available: Option<Json> },
    /// What the agent told of its spending so far.
    Usage(Usage),
    /// The agent asks.
    PermissionRequested {
        permission: PermissionId,
        title: String,
        kind: String,
        options: Vec<PermissionOption>,
        call: Option<String>,
        input: Option<Json>,
        content: Option<Json>,
    },
    /// The question is settled: by a person, a policy, or because it became moot.
    PermissionResolved { permission: PermissionId, option: Option<String>, by: String },
    /// The turn ended; this is its only terminal event.
    TurnEnded {
        outcome: Outcome,
        stop_reason: Option<String>,
        error: Option<String>,
        usage: Usage,
        duration_ms: u64,
        first_token_ms: Option<u64>,
    },
    /// A task moved; `from` is `None` when it was accepted.
    TaskState { from: Option<TaskState>, to: TaskState, reason: Option<String> },
    /// An agent session moved; `from` is `None` at its very first start.
    AgentState {
        from: Option<AgentStatus>,
        to: AgentStatus,
        reason: Option<String>,
        pid: Option<u32>,
        exit: Option<Exit>,
    },
    /// The agent forgot what was said before.
    ContextReset { reason: String },
    /// A worktree moved, by the contract's words.
    WorktreeState { worktree: WorktreeId, from: Option<&'static str>, to: &'static str, reasons: Vec<String> },
    /// Something a person should know.
    Notice { level: Level, text: String },
    /// An update of an agent that hob does not know, as it came.
    Raw { update: Json },
}
