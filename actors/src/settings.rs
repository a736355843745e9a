//! What the tree asks of the person's configuration, and of who is looking. Plain data and two
//! small ports; [`crate::ports`] has the others.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::id::{AgentName, ChatId};
/// What answers a permission request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PermissionPolicy {
    /// A person.
    Ask,
    /// Yes, this once (or for good, if that is all the agent offers).
    Allow,
    /// No.
    Reject,
}

/// The permission rules of one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermissionRules {
    /// Where no rule for the tool kind is given.
    pub default: PermissionPolicy,
    /// By tool kind.
    pub by_kind: BTreeMap<String, PermissionPolicy>,
    /// What answers when nobody watches; never `Ask`.
    pub unattended: PermissionPolicy,
    /// How long a question waits for a person.
    pub deadline: Duration,
}

/// The settings of one agent, overrides applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentSettings {
    /// Spawn, handshake and conversation, together; kept by the backend itself.
    pub start_timeout: Duration,
    /// From a cancel to our own word that the turn has ended.
    pub cancel_grace: Duration,
    /// Its permission rules.
    pub permissions: PermissionRules,
}

/// Limits of the pool and the dispatcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Agent sessions with a live backend.
    pub max_live: usize,
    /// Turns at once.
    pub max_running: usize,
    /// Turns at once of one agent; 0 is no limit.
    pub max_running_per_agent: usize,
}

/// What the person configured, as it is now.
pub trait Settings: Send + Sync + 'static {
    /// The settings of one agent.
    fn agent(&self, agent: &AgentName) -> AgentSettings;
    /// The limits.
    fn limits(&self) -> Limits;
}

/// Who is looking.
pub trait Audience: Send + Sync + 'static {
    /// Whether a connection that answers permissions is subscribed to the chat.
    fn watches(&self, chat: &ChatId) -> bool;
}
