//! The sections of the configuration, one struct each, with their defaults.
//!
//! Field names are the keys of docs/contract.md. What a value may be is decided here and in
//! [`units`](super::units); how values from several places combine is decided in
//! [`load`](super::load).

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::agents::BackendKind;
use super::units;

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

const fn days(n: u64) -> Duration {
    Duration::from_secs(n * 86_400)
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

/// `[control]`: the socket that clients talk to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Control {
    /// The longest line of a client, in bytes.
    #[serde(with = "units::frame_size")]
    pub max_frame: u64,
    /// Bytes of unread answers at which a connection is closed.
    #[serde(with = "units::frame_size")]
    pub max_backlog: u64,
    /// Connections at once.
    #[serde(deserialize_with = "units::at_least_one")]
    pub max_clients: usize,
    /// How long a new connection may take to say its first line.
    #[serde(with = "units::positive_duration")]
    pub handshake_timeout: Duration,
}

impl Default for Control {
    fn default() -> Self {
        Self { max_frame: 16 << 20, max_backlog: 8 << 20, max_clients: 1024, handshake_timeout: secs(5) }
    }
}

/// `[pool]`: who may live.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pool {
    /// Agent sessions with a live backend.
    #[serde(deserialize_with = "units::at_least_one")]
    pub max_live: usize,
    /// Idle for this long, a backend is evicted; zero is never.
    #[serde(with = "units::duration")]
    pub idle_ttl: Duration,
    /// Below this much available memory, in bytes, no new backend starts.
    #[serde(with = "units::size")]
    pub min_available: u64,
}

impl Default for Pool {
    fn default() -> Self {
        Self { max_live: 12, idle_ttl: secs(30 * 60), min_available: 1 << 30 }
    }
}

/// `[dispatch]`: who runs next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dispatch {
    /// Turns at once.
    #[serde(deserialize_with = "units::at_least_one")]
    pub max_running: usize,
    /// Turns at once of one agent; 0 is no limit.
    pub max_running_per_agent: usize,
    /// How deep tasks made by agents may nest.
    pub max_depth: usize,
    /// Children of one task alive at once.
    pub max_children: usize,
    /// Children over the whole life of one task.
    pub max_children_total: usize,
}

impl Default for Dispatch {
    fn default() -> Self {
        Self {
            max_running: 8,
            max_running_per_agent: 0,
            max_depth: 3,
            max_children: 8,
            max_children_total: 64,
        }
    }
}

/// `[health]`: when an agent counts as ill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Health {
    /// Between two probes.
    #[serde(with = "units::positive_duration")]
    pub interval: Duration,
    /// For the answer to a probe.
    #[serde(with = "units::positive_duration")]
    pub timeout: Duration,
    /// Time-outs in a row at which a process is unhealthy; `None` leaves it to the kind of
    /// backend, see [`Health::failures_max`].
    #[serde(deserialize_with = "units::optional_at_least_one")]
    pub failures_max: Option<u32>,
    /// Refused connections or closed pipes in a row at which a process is unhealthy.
    #[serde(deserialize_with = "units::at_least_one")]
    pub refused_max: u32,
    /// How long an unhealthy process may stay busy before it is restarted anyway.
    #[serde(with = "units::duration")]
    pub stale_grace: Duration,
}

impl Health {
    /// Time-outs in a row at which a process is unhealthy. An opencode server is slow under load
    /// and needs patience; the answer of an ACP agent costs it nothing even in mid-turn.
    pub fn failures_max(&self, backend: BackendKind) -> u32 {
        self.failures_max.unwrap_or(if backend == BackendKind::Opencode { 20 } else { 8 })
    }
}

impl Default for Health {
    fn default() -> Self {
        Self {
            interval: secs(15),
            timeout: secs(5),
            failures_max: None,
            refused_max: 3,
            stale_grace: secs(120),
        }
    }
}

/// `[restart]`: the restart budget.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Restart {
    /// Restarts within `period`.
    pub max: u32,
    /// The window that restarts are counted in.
    #[serde(with = "units::positive_duration")]
    pub period: Duration,
    /// Before the first restart.
    #[serde(with = "units::positive_duration")]
    pub backoff_min: Duration,
    /// The longest wait before a restart.
    #[serde(with = "units::positive_duration")]
    pub backoff_max: Duration,
    /// How long the circuit stays open when the budget is spent.
    #[serde(with = "units::duration")]
    pub cooldown: Duration,
}

impl Default for Restart {
    fn default() -> Self {
        Self {
            max: 5,
            period: secs(60),
            backoff_min: Duration::from_millis(250),
            backoff_max: secs(30),
            cooldown: secs(300),
        }
    }
}

/// `[watchdog]`: turns that are alive but stuck. `None` is off.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Watchdog {
    /// Without any progress of the model.
    #[serde(with = "units::duration_or_off")]
    pub silence: Option<Duration>,
    /// With one tool in flight.
    #[serde(with = "units::duration_or_off")]
    pub tool: Option<Duration>,
    /// With a permission waiting.
    #[serde(with = "units::duration_or_off")]
    pub permission: Option<Duration>,
}

impl Default for Watchdog {
    fn default() -> Self {
        Self { silence: Some(secs(15 * 60)), tool: Some(secs(2 * 3600)), permission: None }
    }
}

/// `[process]`: how agents are started and ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Process {
    /// Between TERM and KILL when hob ends an agent.
    #[serde(with = "units::duration")]
    pub stop_grace: Duration,
    /// The same when the daemon is gone.
    #[serde(with = "units::duration")]
    pub orphan_grace: Duration,
    /// Between a cancel and hob's own word that the turn has ended.
    #[serde(with = "units::duration")]
    pub cancel_grace: Duration,
    /// Spawn, handshake and conversation, together.
    #[serde(with = "units::positive_duration")]
    pub start_timeout: Duration,
    /// The longest line of an agent, in bytes.
    #[serde(with = "units::frame_size")]
    pub max_frame: u64,
    /// How much of the end of stderr is kept, in bytes.
    #[serde(with = "units::size")]
    pub stderr_tail: u64,
}

impl Default for Process {
    fn default() -> Self {
        Self {
            stop_grace: secs(5),
            orphan_grace: Duration::from_millis(300),
            cancel_grace: secs(10),
            start_timeout: secs(60),
            max_frame: 8 << 20,
            stderr_tail: 32 << 10,
        }
    }
}

/// `[journal]`: the event journal.
#[derive(Default, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Journal {
    /// How long events of closed chats are kept; `None` is for ever.
    #[serde(with = "units::duration_or_off")]
    pub retention: Option<Duration>,
}

/// `[worktrees]`: where agents work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Worktrees {
    /// The directory that holds them; `None` is `worktrees` in the state directory.
    pub root: Option<PathBuf>,
    /// Untracked files to copy from the user's checkout: paths or patterns below its top.
    pub copy: Vec<String>,
    /// Names of directories whose content can be made again.
    pub disposable: Vec<String>,
}

impl Default for Worktrees {
    fn default() -> Self {
        Self {
            root: None,
            copy: Vec::new(),
            disposable: texts(&["target", "node_modules", ".venv", "__pycache__"]),
        }
    }
}

/// `[reaper]`: what retires worktrees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reaper {
    /// Between two passes.
    #[serde(with = "units::positive_duration")]
    pub interval: Duration,
    /// How long a worktree must have been orphaned and untouched.
    #[serde(with = "units::duration")]
    pub grace: Duration,
    /// How long an archived worktree stays in the trash.
    #[serde(with = "units::duration")]
    pub retention: Duration,
    /// How long its salvage ref stays.
    #[serde(with = "units::duration")]
    pub salvage_retention: Duration,
    /// For one preflight; past it the answer is "unknown", and unknown means kept.
    #[serde(with = "units::positive_duration")]
    pub preflight_timeout: Duration,
}

impl Default for Reaper {
    fn default() -> Self {
        Self {
            interval: secs(600),
            grace: secs(3600),
            retention: days(7),
            salvage_retention: days(90),
            preflight_timeout: secs(15),
        }
    }
}

/// `[hooks]`: the user's own commands, as argument lists; an empty list is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hooks {
    /// After a worktree was made.
    pub worktree_created: Vec<String>,
    /// Before a worktree is archived.
    pub before_archive: Vec<String>,
    /// Whether a failure of that one keeps the worktree where it is.
    pub before_archive_blocks: bool,
    /// For one command.
    #[serde(with = "units::positive_duration")]
    pub timeout: Duration,
}

impl Default for Hooks {
    fn default() -> Self {
        Self {
            worktree_created: Vec::new(),
            before_archive: Vec::new(),
            before_archive_blocks: false,
            timeout: secs(300),
        }
    }
}
