//! Results that are no row of anything: what `daemon/*`, `events/*` and `task/hold` answer.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Moment;

/// A result that says nothing more than that it was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// The answer to `daemon/hello`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelloReply {
    /// `hob`.
    pub server: String,
    /// The version of the program.
    pub version: String,
    /// The protocol that is spoken.
    pub protocol: u32,
    /// The daemon's process.
    pub pid: u32,
    /// Where its state lies.
    pub home: String,
    /// When it was started.
    pub started_at: Moment,
    /// What it can: the methods that it has.
    pub capabilities: Vec<String>,
    /// What the asking process may do: `full`, or `agent` for a process of one of hob's agents.
    #[serde(default)]
    pub scope: String,
}

/// The answer to `daemon/status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReply {
    /// The version of the program.
    pub version: String,
    /// The daemon's process.
    pub pid: u32,
    /// How long it has been running.
    pub uptime_s: u64,
    /// Where its state lies.
    pub home: String,
    /// Where it listens.
    pub socket: String,
    /// How well the processes of agents are held: `strong` or `weak`.
    pub containment: String,
    /// Whether it takes no new work any more.
    pub stopping: bool,
    /// Why nothing can be accepted at present, if so.
    #[serde(default)]
    pub degraded: Option<String>,
    /// What was configured and does not do what its writer may expect.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// How much there is.
    pub counts: Counts,
    /// The database.
    pub database: DatabaseRow,
    /// The limits.
    pub limits: LimitsRow,
}

/// How much there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Open sessions.
    pub sessions: u64,
    /// Open chats.
    pub chats: u64,
    /// Agent sessions with a process.
    pub live: u64,
    /// Agent sessions with a turn in flight.
    pub busy: u64,
    /// Tasks that wait.
    pub queued: u64,
    /// Connected clients, the asking one included.
    pub clients: u64,
}

/// The database, as `daemon/status` tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseRow {
    /// Where it lies.
    pub path: String,
    /// How much it takes on disk.
    pub size_bytes: u64,
    /// The number of its newest migration.
    pub schema: u64,
}

/// The limits that are in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitsRow {
    /// Agent sessions with a live backend.
    pub max_live: u64,
    /// Turns at once.
    pub max_running: u64,
    /// Turns at once of one agent; 0 is no limit.
    pub max_running_per_agent: u64,
    /// Connected clients.
    pub max_clients: u64,
    /// The longest line, in bytes.
    pub max_frame: u64,
    /// Answers that may wait for a client, in bytes.
    pub max_backlog: u64,
}

/// The answer to `daemon/reload`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadReply {
    /// The keys whose value changed.
    pub changed: Vec<String>,
    /// As in `daemon/status`.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// The answer to `session/resolve`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolveReply {
    /// The session that is meant.
    pub session: String,
    /// `open` or `closed`.
    pub state: String,
    /// The checkout that it was started from.
    pub repo: String,
    /// Its worktree.
    pub worktree: Option<String>,
    /// The branch of that.
    pub branch: Option<String>,
    /// Where that lies.
    pub path: Option<String>,
}

/// The answer to `task/hold` and `task/release`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldReply {
    /// Whether the chat is held now.
    pub held: bool,
}

/// The answer to `events/subscribe`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscribeReply {
    /// The name of the subscription on this connection.
    pub subscription: String,
    /// The newest event at the time: where the replay meets the present.
    pub head: i64,
}

/// The answer to `events/list`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EventsReply {
    /// The events, as the journal has them.
    pub events: Vec<Box<RawValue>>,
    /// The cursor to pass as `after`; null when nothing was left.
    pub next: Option<i64>,
}
