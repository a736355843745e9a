//! What crosses the control socket: the shapes of docs/contract.md, and nothing else.
//!
//! Other programs are written against these names. Adding an optional field is welcome; renaming
//! or removing one breaks them.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

mod agents;
mod arena;
mod changes;
mod health;
mod moment;
mod offers;
mod reply;
mod task;

pub use agents::{AgentCheckReply, AgentRow, Effect, OwnRuleRow, OwnRules, UnreadRow};
pub use arena::{ArenaEntryRow, ArenaRow, CheckRow};
pub use changes::{
    ApplyReply, ChangeRow, ChangedFileRow, ConflictRow, DeleteReply, DeletionRow, DiffReply, HunkRow,
    ReapRow, ReasonRow, RiskRow, StashReply, UndoReply, UnstashReply,
};
pub use health::{FailureRow, HealthRow};
pub use moment::Moment;
pub use offers::{OfferRow, OffersRow, ValueRow, offered_values};
pub use reply::{
    Counts, DatabaseRow, Empty, EventsReply, HeldReply, HelloReply, LimitsRow, ReloadReply, ResolveReply,
    StatusReply, SubscribeReply,
};
pub use task::{Fault, fault, is_terminal};

/// Either the id of a thing (in lists) or the whole thing (in `show`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum IdOr<T> {
    /// The id.
    Id(String),
    /// The whole.
    Whole(Box<T>),
}

/// What was spent. Absent is null, not zero.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UsageRow {
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
    /// Tokens in the context window.
    pub context_used: Option<u64>,
    /// Size of the context window.
    pub context_size: Option<u64>,
    /// Cost in `currency`.
    pub cost: Option<f64>,
    /// ISO 4217.
    pub currency: Option<String>,
}

/// A session: one line of work on a repository.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionRow {
    /// Its id.
    pub id: String,
    /// The user's repository: the top of its working tree.
    pub repo: String,
    /// What a person calls it.
    pub title: Option<String>,
    /// What it was started from, as given.
    pub base: Option<String>,
    /// `open` or `closed`.
    pub state: String,
    /// When it was made.
    pub created_at: Moment,
    /// When it was closed.
    pub closed_at: Option<Moment>,
    /// Its worktree.
    pub worktree: Option<IdOr<WorktreeRow>>,
    /// Its chats.
    pub chats: Vec<IdOr<ChatRow>>,
    /// What was spent in it.
    pub usage: UsageRow,
}

/// A chat: a tab, the unit of context.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChatRow {
    /// Its id.
    pub id: String,
    /// Its session.
    pub session: String,
    /// What a person calls it.
    pub title: Option<String>,
    /// `open` or `closed`.
    pub state: String,
    /// When it was made.
    pub created_at: Moment,
    /// Whether its queued tasks wait for a release.
    pub held: bool,
    /// The agents that were used in it.
    pub agents: Vec<AgentSessionRow>,
}

/// A managed worktree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorktreeRow {
    /// Its id.
    pub id: String,
    /// Its session; null when that is gone.
    pub session: Option<String>,
    /// The user's repository.
    pub repo: String,
    /// Where it is.
    pub path: String,
    /// Its branch.
    pub branch: String,
    /// The commit that it was started from.
    pub base_commit: String,
    /// `active`, `orphaned`, `archived` or `purged`.
    pub state: String,
    /// When it was made.
    pub created_at: Moment,
    /// The newest write inside that hob knows of.
    pub last_write: Option<Moment>,
    /// How much it takes on disk, if that was asked for.
    pub size_bytes: Option<u64>,
    /// The ref that keeps what it held.
    pub salvage_ref: Option<String>,
    /// Why it was not retired.
    #[serde(default)]
    pub kept_because: Vec<String>,
}

/// An agent session: the pair (chat, agent).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentSessionRow {
    /// The chat.
    pub chat: String,
    /// The agent.
    pub agent: String,
    /// The session of the chat.
    pub session: String,
    /// `acp`, `opencode` or `oneshot`.
    pub backend: String,
    /// `starting idle busy evicted crashed backoff circuit_open closed`.
    pub status: String,
    /// The backends that it had.
    pub generation: u64,
    /// The agent's own process.
    pub pid: Option<u32>,
    /// How many other agent sessions live in the same process.
    pub shared_with: u32,
    /// The agent's own id of the conversation.
    pub backend_session: Option<String>,
    /// SHA-256 of the configuration that it runs with.
    pub config_hash: Option<String>,
    /// The id of its worktree.
    pub worktree: Option<String>,
    /// How long nothing has happened.
    pub idle_ms: Option<u64>,
    /// Tasks that wait for it.
    pub queued: u64,
    /// The turn in flight.
    pub turn: Option<String>,
    /// How often its process was started again.
    pub restarts: u64,
    /// `fresh`, `warm`, `resumed`, `loaded` or `reset`.
    pub context: Option<String>,
    /// Memory of its process tree.
    pub rss_bytes: Option<u64>,
    /// The same with what processes share counted in parts, in bytes: what it really costs.
    #[serde(default)]
    pub pss_bytes: Option<u64>,
    /// Processes below its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub descendants: Option<usize>,
    /// Why it stands where it stands, where there is more to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why no prompt reaches it: what is wrong with the worktree that it works in, and what brings it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub misplaced: Option<String>,
    /// Until it may be started again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_in_ms: Option<u64>,
    /// Crashes since its actor began.
    #[serde(default)]
    pub crashes: u64,
    /// Failed starts since its actor began.
    #[serde(default)]
    pub start_failures: u64,
    /// What keeps it from being evicted: `turn dispatched permission pinned starting background`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub busy: Vec<String>,
    /// How its last process ended.
    pub last_exit: Option<ExitRow>,
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExitRow {
    /// Exit code.
    pub code: Option<i32>,
    /// Signal number.
    pub signal: Option<i32>,
    /// In words: `killed by SIGKILL`.
    pub detail: String,
    /// The end of its stderr.
    pub stderr_tail: String,
    /// When.
    pub at: Option<Moment>,
}

/// A task: one prompt that somebody asked to be run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskRow {
    /// Its id.
    pub id: String,
    /// Its chat.
    pub chat: String,
    /// Its session.
    pub session: String,
    /// Its agent.
    pub agent: String,
    /// `queued held dispatched running completed failed cancelled interrupted`.
    pub state: String,
    /// What it waits for: `starting backoff slot memory circuit dispatch_limit turn`.
    pub waiting: Option<String>,
    /// `warm` or `oneshot`, once known.
    pub backend: Option<String>,
    /// `chat new_task mcp arena api`.
    pub source: String,
    /// The prompt.
    pub prompt: String,
    /// The client's own id of the request.
    pub request_id: Option<String>,
    /// The task that it was made by, or is a retry of.
    pub parent: Option<String>,
    /// When it was accepted.
    pub created_at: Moment,
    /// When its turn began.
    pub started_at: Option<Moment>,
    /// When it became terminal.
    pub ended_at: Option<Moment>,
    /// Its newest turn.
    pub turn: Option<String>,
    /// Why its agent had forgotten what was said in the chat before, if it had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_lost: Option<String>,
    /// Questions of its agent that a rule said no to, without a person.
    #[serde(default)]
    pub rejected: u64,
    /// How it ended.
    pub outcome: Option<OutcomeRow>,
    /// The agent's final message, once terminal.
    pub text: Option<String>,
    /// What it cost.
    pub usage: UsageRow,
    /// Its turns, in `task/show` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turns: Option<Vec<TurnRow>>,
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutcomeRow {
    /// The agent's word.
    pub stop_reason: Option<String>,
    /// What went wrong.
    pub error: Option<String>,
    /// Why no agent worked on it, if none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
}

/// A turn: one attempt at a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TurnRow {
    /// Its id.
    pub id: String,
    /// Its task.
    pub task: String,
    /// The backend generation that ran it.
    pub generation: u64,
    /// When the prompt was sent.
    pub started_at: Moment,
    /// When it ended.
    pub ended_at: Option<Moment>,
    /// To the first output.
    pub first_token_ms: Option<u64>,
    /// To the end.
    pub duration_ms: Option<u64>,
    /// `completed failed cancelled interrupted`.
    pub outcome: Option<String>,
    /// The agent's word.
    pub stop_reason: Option<String>,
    /// What went wrong.
    pub error: Option<String>,
    /// What the agent remembered when it began.
    pub context: Option<String>,
    /// Why what it remembered was lost, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_lost: Option<String>,
    /// What it cost.
    pub usage: UsageRow,
    /// The files that it changed, once that is known.
    pub files: Option<Vec<String>>,
}

/// A permission request in the inbox.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PermissionRow {
    /// Its id.
    pub id: String,
    /// The chat.
    pub chat: String,
    /// The agent that asks.
    pub agent: String,
    /// The task.
    pub task: String,
    /// The turn.
    pub turn: String,
    /// `pending`, `answered`, `expired` or `stale`.
    pub state: String,
    /// What it is about.
    pub title: String,
    /// The tool kind.
    pub kind: String,
    /// The tool call.
    pub call: Option<String>,
    /// The arguments of the call, as the agent sent them.
    pub input: Option<Box<RawJson>>,
    /// The offered answers.
    pub options: Vec<OptionRow>,
    /// The chosen answer.
    pub option: Option<String>,
    /// Who answered.
    pub by: Option<String>,
    /// When it was asked.
    pub created_at: Moment,
    /// When it was settled.
    pub resolved_at: Option<Moment>,
}

/// What a person said once of all questions of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RememberedRow {
    /// The chat.
    pub chat: String,
    /// The agent there.
    pub agent: String,
    /// The tool kind.
    pub kind: String,
    /// `allow` or `reject`.
    pub answer: String,
    /// Since when.
    pub at: Moment,
}

/// An answer that an agent offers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OptionRow {
    /// The agent's id for it.
    pub id: String,
    /// What a person reads.
    pub name: String,
    /// `allow_once allow_always reject_once reject_always`.
    pub kind: String,
}

/// One JSON value, kept as it came.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RawJson(pub Box<RawValue>);

impl PartialEq for RawJson {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}
