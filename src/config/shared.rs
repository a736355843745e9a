//! The one cell that holds the present configuration, and the tree's view of it.

use std::sync::{Arc, PoisonError, RwLock};

use hob_actors::id::{AgentName, HostId};
use hob_actors::ports::{
    AgentSettings, HealthRules, Limits, PermissionRules, ReaperRules, RestartRules, Settings, Tells,
    Unattended, WatchdogRules,
};

use super::permissions::Permissions;
use super::{AgentConfig, BackendKind, Config, Health, Process, Restart, Watchdog};
use crate::backend::known;

/// The present configuration. Clones share it; readers take a snapshot and keep it for as long as
/// they work with it, so that no one sees half of a reload.
#[derive(Debug, Clone)]
pub struct SharedConfig(Arc<RwLock<Arc<Config>>>);

impl SharedConfig {
    /// Shares a configuration.
    pub fn new(config: Config) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(config))))
    }

    /// What holds now.
    pub fn current(&self) -> Arc<Config> {
        // A panic while the lock was held leaves the old or the new configuration, both whole.
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts another in its place and says which keys differ.
    pub fn replace(&self, config: Config) -> Vec<String> {
        let mut cell = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let changed = cell.changed_keys(&config);
        *cell = Arc::new(config);
        changed
    }
}

fn rules(permissions: &Permissions) -> PermissionRules {
    PermissionRules {
        default: permissions.default.into(),
        by_kind: permissions.by_kind().map(|(kind, policy)| (kind.to_owned(), policy.into())).collect(),
        unattended: permissions.unattended.map_or(Unattended::BySource, Unattended::from),
        deadline: permissions.deadline,
    }
}

fn restart(restart: &Restart) -> RestartRules {
    RestartRules {
        max: usize::try_from(restart.max).unwrap_or(usize::MAX),
        period: restart.period,
        backoff_min: restart.backoff_min,
        backoff_max: restart.backoff_max,
        cooldown: restart.cooldown,
    }
}

fn health(health: &Health, backend: BackendKind) -> HealthRules {
    HealthRules {
        interval: health.interval,
        timeout: health.timeout,
        failures_max: health.failures_max(backend),
        refused_max: health.refused_max,
        stale_grace: health.stale_grace,
    }
}

fn watchdog(watchdog: &Watchdog) -> WatchdogRules {
    WatchdogRules { silence: watchdog.silence, tool: watchdog.tool, permission: watchdog.permission }
}

fn process(process: &Process) -> (std::time::Duration, std::time::Duration) {
    (process.start_timeout, process.cancel_grace)
}

/// The settings of a configured agent.
fn of_agent(config: &Config, agent: &AgentConfig) -> AgentSettings {
    let (start_timeout, cancel_grace) = process(&agent.process);
    AgentSettings {
        start_timeout,
        cancel_grace,
        permissions: rules(&agent.permissions),
        idle_ttl: agent.idle_ttl.unwrap_or(config.pool.idle_ttl),
        keep_warm: agent.keep_warm,
        count_background: agent.count_background,
        restart: restart(&agent.restart),
        health: health(&agent.health, agent.backend),
        watchdog: watchdog(&agent.watchdog),
        tells: known::tells(&agent.command),
        host: agent.host().map(HostId::from),
    }
}

/// What the general sections say, for an agent that was taken out of the configuration while it
/// lives.
fn general(config: &Config) -> AgentSettings {
    let (start_timeout, cancel_grace) = process(&config.process);
    AgentSettings {
        start_timeout,
        cancel_grace,
        permissions: rules(&config.permissions),
        idle_ttl: config.pool.idle_ttl,
        keep_warm: false,
        count_background: false,
        restart: restart(&config.restart),
        health: health(&config.health, BackendKind::Acp),
        watchdog: watchdog(&config.watchdog),
        tells: Tells::Unknown,
        host: None,
    }
}

impl Settings for SharedConfig {
    fn agent(&self, agent: &AgentName) -> AgentSettings {
        let config = self.current();
        match config.agent(agent.as_str()) {
            Some(agent) => of_agent(&config, agent),
            None => general(&config),
        }
    }

    fn reaper(&self) -> ReaperRules {
        let reaper = &self.current().reaper;
        ReaperRules {
            interval: reaper.interval,
            grace: reaper.grace,
            retention: reaper.retention,
            salvage_retention: reaper.salvage_retention,
        }
    }

    fn limits(&self) -> Limits {
        let config = self.current();
        Limits {
            max_live: config.pool.max_live,
            min_available: config.pool.min_available,
            max_running: config.dispatch.max_running,
            max_running_per_agent: config.dispatch.max_running_per_agent,
        }
    }
}
