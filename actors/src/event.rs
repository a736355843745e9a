//! The event union: everything that the journal can say, whichever agent said it.
//!
//! Plain data. How an event is written down is the business of the journal; values of an agent
//! that have no meaning to hob are carried as [`Json`], exactly as they came.

use std::fmt;
use std::sync::Arc;

use crate::id::{AgentName, ChatId, Generation, PermissionId, SessionId, TaskId, TurnId, WorktreeId};
pub use crate::states::{AgentStatus, Context, HealthState, Outcome, TaskState, Wait};

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
    /// Where it works now: a JSON array.
    pub locations: Option<Json>,
    /// The arguments, as the agent sent them: some (opencode) announce a call before it has any.
    pub input: Option<Json>,
    /// What it shows now: a JSON array of content blocks.
    pub content: Option<Json>,
    /// What the tool returned, as the agent sent it.
    pub output: Option<Json>,
}

/// A file that a turn changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedFile {
    /// Where it is, relative to the worktree.
    pub path: String,
    /// Where it was, if it was renamed.
    pub old_path: Option<String>,
    /// `added modified deleted renamed type mode`.
    pub kind: &'static str,
    /// Another turn was under way: it may be that one's change.
    pub shared: bool,
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
    /// A turn began.
    TurnStarted {
        /// The how-manieth of its task, from 1.
        attempt: u32,
        /// What the agent remembers.
        context: Context,
        /// Why what it remembered is lost, where it is.
        lost: Option<String>,
    },
    /// A piece of the agent's answer.
    Text {
        /// The piece.
        text: String,
        /// The message that it belongs to, where the agent tells.
        message: Option<String>,
    },
    /// A piece of the agent's reasoning.
    Reasoning {
        /// The piece.
        text: String,
        /// The message that it belongs to, where the agent tells.
        message: Option<String>,
    },
    /// The agent began to do something.
    ToolCall(ToolCall),
    /// News of something it does.
    ToolUpdate(ToolUpdate),
    /// The agent's whole plan, replacing the one before.
    Plan {
        /// Its lines.
        entries: Vec<PlanEntry>,
    },
    /// The commands that the agent offers now.
    Commands {
        /// A JSON array, as the agent sent it.
        commands: Json,
    },
    /// The mode that the agent is in now.
    Mode {
        /// Its id.
        current: Option<String>,
        /// A JSON array, as the agent sent it.
        available: Option<Json>,
    },
    /// The models that the agent offers now.
    Models {
        /// The id of the one in use.
        current: Option<String>,
        /// A JSON array, as the agent sent it.
        available: Option<Json>,
    },
    /// What the agent told of its spending so far.
    Usage(Usage),
    /// The agent asks.
    PermissionRequested {
        /// The question in the inbox.
        permission: PermissionId,
        /// What the tool is about to do, for a person.
        title: String,
        /// The tool kind.
        kind: String,
        /// The answers that the agent offers.
        options: Vec<PermissionOption>,
        /// The tool call it is about.
        call: Option<String>,
        /// The arguments of that call, as the agent sent them.
        input: Option<Json>,
        /// What the call shows, as the agent sent it.
        content: Option<Json>,
    },
    /// The question is settled: by a person, a policy, or because it became moot.
    PermissionResolved {
        /// The question in the inbox.
        permission: PermissionId,
        /// The chosen answer; `None` where it became moot.
        option: Option<String>,
        /// Who or what answered.
        by: String,
    },
    /// The turn ended; this is its only terminal event.
    TurnEnded {
        /// How it ended.
        outcome: Outcome,
        /// The agent's word.
        stop_reason: Option<String>,
        /// What went wrong.
        error: Option<String>,
        /// What it cost.
        usage: Usage,
        /// From the prompt to the end, in milliseconds.
        duration_ms: u64,
        /// From the prompt to the first output, in milliseconds.
        first_token_ms: Option<u64>,
    },
    /// A task moved.
    TaskState {
        /// From where; `None` when it was accepted.
        from: Option<TaskState>,
        /// To where.
        to: TaskState,
        /// Why.
        reason: Option<String>,
    },
    /// An agent session moved.
    AgentState {
        /// From where; `None` at its very first start.
        from: Option<AgentStatus>,
        /// To where.
        to: AgentStatus,
        /// Why.
        reason: Option<String>,
        /// The agent's own process.
        pid: Option<u32>,
        /// How that process ended.
        exit: Option<Exit>,
    },
    /// The health of a server process changed.
    Health {
        /// From what.
        from: HealthState,
        /// To what.
        to: HealthState,
        /// What was seen, where that was bad.
        failure: Option<String>,
    },
    /// The agent forgot what was said before.
    ContextReset {
        /// Why.
        reason: String,
    },
    /// A worktree moved, by the contract's words.
    WorktreeState {
        /// Which one.
        worktree: WorktreeId,
        /// From where.
        from: Option<&'static str>,
        /// To where.
        to: &'static str,
        /// Why it was kept, if it was.
        reasons: Vec<String>,
    },
    /// What a turn changed in its worktree.
    Changes {
        /// The files, in order of their paths.
        files: Vec<ChangedFile>,
        /// How many more there are.
        n_omitted: usize,
    },
    /// Something a person should know.
    Notice {
        /// How loud.
        level: Level,
        /// What, in words.
        text: String,
    },
    /// An update of an agent that hob does not know.
    Raw {
        /// As it came.
        update: Json,
    },
}
