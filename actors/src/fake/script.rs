//! What a fake world does: how its agents behave, and what is configured.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::id::AgentKey;
use crate::ports::{
    AgentSettings, Candidate, HealthRules, Limits, NotChosen, PermissionAsk, PermissionPolicy,
    PermissionRules, Preflight, ProbeFailed, ProcessTree, ReaperRules, RestartRules, Tells, Unattended,
    WatchdogRules,
};

/// What the fake agents do.
#[derive(Clone)]
pub struct Script {
    /// How long a start takes.
    pub start: Duration,
    /// Starts fail with this.
    pub start_fails: Option<String>,
    /// And would again, whatever happens.
    pub fails_for_good: bool,
    /// The fingerprint of what agents are started with.
    pub config_hash: String,
    /// How long a turn takes; `None`: it never ends by itself.
    pub turn: Option<Duration>,
    /// What an agent tells in a turn that its conversation has cost so far.
    pub cost: Option<f64>,
    /// Whether a cancel ends the turn.
    pub obeys_cancel: bool,
    /// What a turn asks first.
    pub asks: Option<PermissionAsk>,
    /// Limits.
    pub limits: Limits,
    /// Whether somebody watches.
    pub watched: bool,
    /// The agent's permission rule.
    pub policy: PermissionPolicy,
    /// How long the word of the store takes after it has recorded a question.
    pub recorded_after: std::time::Duration,
    /// The same after it has recorded the end of a turn.
    pub ended_after: std::time::Duration,
    /// How many of the next questions for the limits are answered by a panic: a bug in the pool or
    /// the dispatcher, whoever asks first.
    pub limits_panic: usize,
    /// A prompt with this text panics in the actor that sends it.
    pub poison: Option<String>,
    /// The settings of every agent, but for its permission rules.
    pub agent: AgentSettings,
    /// Agent sessions that somebody pins.
    pub pinned: BTreeSet<AgentKey>,
    /// What the machine has left.
    pub available_bytes: Option<u64>,
    /// What the trees of agents hold, by the agent's pid.
    pub trees: BTreeMap<u32, ProcessTree>,
    /// How patient the reaper is.
    pub reaper: ReaperRules,
    /// Worktrees, and what is found in each.
    pub worktrees: Vec<(Candidate, Preflight)>,
    /// Why they cannot be looked over.
    pub survey_fails: Option<&'static str>,
    /// How long a look into a worktree takes.
    pub preflight_takes: Duration,
    /// How long a look at the files around a turn takes.
    pub look_takes: Duration,
    /// What is wrong with the place that agents work in.
    pub place_is_gone: Option<&'static str>,
    /// How agents answer when they are told to work in another mode; `None`: not at all.
    pub chooses: Option<Result<(), NotChosen>>,
    /// And whether they tell of that mode before.
    pub tells_chosen: bool,
    /// How agents answer a probe; `None`: not at all.
    pub ping: Option<Result<(), ProbeFailed>>,
    /// So many of the next probes panic.
    pub pings_panic: usize,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            start: Duration::from_millis(10),
            start_fails: None,
            fails_for_good: false,
            config_hash: "hash".into(),
            turn: Some(Duration::from_millis(100)),
            cost: None,
            obeys_cancel: true,
            asks: None,
            limits: Limits { max_live: 100, min_available: 0, max_running: 100, max_running_per_agent: 0 },
            watched: false,
            policy: PermissionPolicy::Ask,
            recorded_after: std::time::Duration::ZERO,
            ended_after: std::time::Duration::ZERO,
            limits_panic: 0,
            poison: None,
            agent: plain_settings(),
            pinned: BTreeSet::new(),
            available_bytes: None,
            trees: BTreeMap::new(),
            reaper: ReaperRules {
                interval: Duration::from_secs(600),
                grace: Duration::from_secs(3600),
                retention: Duration::from_secs(7 * 86_400),
                salvage_retention: Duration::from_secs(90 * 86_400),
            },
            worktrees: Vec::new(),
            survey_fails: None,
            preflight_takes: Duration::ZERO,
            look_takes: Duration::ZERO,
            place_is_gone: None,
            chooses: Some(Ok(())),
            tells_chosen: false,
            ping: Some(Ok(())),
            pings_panic: 0,
        }
    }
}

/// The defaults of the contract.
fn plain_settings() -> AgentSettings {
    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }
    AgentSettings {
        start_timeout: secs(60),
        cancel_grace: secs(10),
        permissions: PermissionRules {
            default: PermissionPolicy::Ask,
            by_kind: BTreeMap::new(),
            unattended: Unattended::Reject,
            deadline: None,
        },
        idle_ttl: secs(1800),
        keep_warm: false,
        count_background: false,
        restart: RestartRules {
            max: 5,
            period: secs(60),
            backoff_min: Duration::from_millis(250),
            backoff_max: secs(30),
            cooldown: secs(300),
        },
        health: HealthRules {
            interval: secs(15),
            timeout: secs(5),
            failures_max: 8,
            refused_max: 3,
            stale_grace: secs(120),
        },
        watchdog: WatchdogRules { silence: Some(secs(900)), tool: Some(secs(7200)), permission: None },
        tells: Tells::Turn,
        host: None,
    }
}
