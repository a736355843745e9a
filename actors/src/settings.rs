//! What the tree asks of the person's configuration, and of who is looking. Plain data and two
//! small ports; [`crate::ports`] has the others.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::id::{AgentKey, AgentName, ChatId, HostId};
use crate::reaper::policy::ReaperRules;

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

pub use crate::session::spending::Tells;

/// What becomes of a question that nobody is there to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unattended {
    /// Yes, this once.
    Allow,
    /// No.
    Reject,
    /// It stays open until somebody answers.
    Wait,
    /// Nobody said: it stays open where a person asked for the work, and is rejected where an agent, an
    /// arena or a tool did.
    BySource,
}

impl Unattended {
    /// Whether a question of such a task stays open.
    pub fn waits(self, is_delegated: bool) -> bool {
        match self {
            Self::Wait => true,
            Self::BySource => !is_delegated,
            Self::Allow | Self::Reject => false,
        }
    }
}

/// How long a question waits where nobody said, and where it does not stay open.
const DEADLINE: Duration = Duration::from_secs(30 * 60);

/// The permission rules of one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermissionRules {
    /// Where no rule for the tool kind is given.
    pub default: PermissionPolicy,
    /// By tool kind.
    pub by_kind: BTreeMap<String, PermissionPolicy>,
    /// What becomes of a question when nobody watches.
    pub unattended: Unattended,
    /// How long a question waits for a person, where somebody said.
    pub deadline: Option<Duration>,
}

impl PermissionRules {
    /// How long a question waits for a person; `None` is for as long as it takes.
    pub fn deadline(&self, is_delegated: bool) -> Option<Duration> {
        let usual = (!self.unattended.waits(is_delegated)).then_some(DEADLINE);
        self.deadline.or(usual)
    }
}

/// How often, and how soon, a backend that failed is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestartRules {
    /// Failures within `period` after which the circuit opens.
    pub max: usize,
    /// The window in which failures are counted.
    pub period: Duration,
    /// The longest wait after the first failure; it doubles with each.
    pub backoff_min: Duration,
    /// The longest wait after any.
    pub backoff_max: Duration,
    /// How long the circuit stays open.
    pub cooldown: Duration,
}

/// When a server process counts as ill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthRules {
    /// Between two probes.
    pub interval: Duration,
    /// For the answer to one.
    pub timeout: Duration,
    /// Time-outs in a row at which it is unhealthy.
    pub failures_max: u32,
    /// Refused or closed connections in a row at which it is unhealthy.
    pub refused_max: u32,
    /// How long it may be unhealthy, busy and silent.
    pub stale_grace: Duration,
}

/// When a turn that is alive counts as stuck. `None` is off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchdogRules {
    /// Without any progress, and with no tool in flight and no question open.
    pub silence: Option<Duration>,
    /// With one tool in flight.
    pub tool: Option<Duration>,
    /// With one question open.
    pub permission: Option<Duration>,
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
    /// Idle for this long, its backend is evicted; zero is never.
    pub idle_ttl: Duration,
    /// Never evicted for being idle, and started again after a crash though nothing waits for it.
    pub keep_warm: bool,
    /// Processes that it left running after a turn keep it from being evicted.
    pub count_background: bool,
    /// Its restart budget.
    pub restart: RestartRules,
    /// Its health.
    pub health: HealthRules,
    /// Its watchdog.
    pub watchdog: WatchdogRules,
    /// What its numbers of tokens are about.
    pub tells: Tells,
    /// The server process that all its agent sessions live in, if they share one.
    pub host: Option<HostId>,
}

/// Limits of the pool and the dispatcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Agent sessions with a live backend.
    pub max_live: usize,
    /// Below this much available memory, in bytes, no new backend starts and idle ones go.
    pub min_available: u64,
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
    /// How patient the reaper is.
    fn reaper(&self) -> ReaperRules;
}

/// Who is looking.
pub trait Audience: Send + Sync + 'static {
    /// Whether a connection that answers permissions is subscribed to the chat.
    fn watches(&self, chat: &ChatId) -> bool;

    /// Whether a connection holds a pin on the agent session.
    fn pinned(&self, key: &AgentKey) -> bool;
}
