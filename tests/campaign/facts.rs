//! What is known of a run once it is over: what the clients were told, what the store says, what
//! the agents heard, and what is left. Judged in `check.rs`.

use serde_json::Value;

/// Everything that is judged.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// What the clients asked for.
    pub submits: Vec<Submit>,
    /// `task/list`, oldest first.
    pub tasks: Vec<Task>,
    /// `events/list`, all of it.
    pub journal: Vec<Entry>,
    /// What each follower saw.
    pub followers: Vec<Followed>,
    /// Every prompt that reached an agent, in the agents' own words.
    pub reached: Vec<String>,
    /// What clients were told of tasks: task, terminal state.
    pub told_ends: Vec<(String, String)>,
    /// Answers to questions that clients were told are recorded: permission, option.
    pub told_answers: Vec<(String, String)>,
    /// `permission/list`: permission, state, chosen option.
    pub permissions: Vec<(String, String, Option<String>)>,
    /// Processes that should be gone, with the moment at which they were found.
    pub left: Vec<String>,
    /// What SQLite says of the database: `ok`.
    pub integrity: String,
    /// What was refused although there was no reason to, and what did not come in time.
    pub complaints: Vec<String>,
    /// Sessions that were, or were to be, deleted.
    pub deleted: Vec<String>,
    /// What was done to the daemons.
    pub done: Done,
}

impl Facts {
    /// Whether an event tells of a task that went with its session.
    pub fn is_deleted(&self, entry: &Entry) -> bool {
        let is_there = self.tasks.iter().any(|task| task.id == entry.text("task"));
        !is_there && self.deleted.iter().any(|session| session == entry.text("session"))
    }
}

/// What was done to the daemons of a run, which excuses some ends of tasks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Done {
    /// One was killed.
    pub killed: bool,
    /// Keepers were killed with it: one that died a moment later may have seen it.
    pub keepers_killed: bool,
    /// One was told to stop, which cancels what runs.
    pub stopped: bool,
    /// Agents were let go and started again by force.
    pub meddled: bool,
}

/// A task that a client asked for, however often.
#[derive(Debug, Clone, Default)]
pub struct Submit {
    /// Its request id, which its prompt holds too.
    pub request: String,
    /// The tasks that the answers named.
    pub answers: Vec<String>,
    /// Its agent was asked to end badly.
    pub breaks: bool,
    /// It was, or was to be, cancelled.
    pub cancelled: bool,
    /// Its session was, or was to be, deleted, and its task with it.
    pub deleted: bool,
}

/// A task as the store has it in the end.
#[derive(Debug, Clone, Default)]
pub struct Task {
    /// Its id.
    pub id: String,
    /// Its state.
    pub state: String,
    /// Its prompt.
    pub prompt: String,
    /// What went wrong.
    pub error: String,
}

/// An event.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its number.
    pub seq: i64,
    /// All of it.
    pub event: Value,
}

impl Entry {
    /// Reads an event as the daemon sends it.
    pub fn of(event: Value) -> Self {
        Self { seq: event["seq"].as_i64().unwrap_or_default(), event }
    }

    /// A member that is text; empty if it is not there.
    pub fn text(&self, member: &str) -> &str {
        self.event[member].as_str().unwrap_or_default()
    }
}

/// What one follower saw, over all its connections.
#[derive(Debug, Clone, Default)]
pub struct Followed {
    /// Who it was.
    pub name: String,
    /// The chat that it asked for; all if `None`.
    pub chat: Option<String>,
    /// The events, in the order in which they came.
    pub seen: Vec<Entry>,
}

/// The mark in a prompt that says whose it is: `[r-3-17]`.
pub fn request_of(prompt: &str) -> Option<&str> {
    let (_, rest) = prompt.split_once("[r-")?;
    let (number, _) = rest.split_once(']')?;
    let start = prompt.len() - rest.len() - "r-".len();
    prompt.get(start..start + "r-".len() + number.len())
}
