//! The one cell that holds the present configuration, and the tree's view of it.

use std::sync::{Arc, PoisonError, RwLock};

use hob_actors::id::AgentName;
use hob_actors::ports::{AgentSettings, Limits, PermissionRules, Settings};

use super::permissions::Permissions;
use super::{Config, Process};

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
        unattended: permissions.unattended.into(),
        deadline: permissions.deadline,
    }
}

fn settings(process: &Process, permissions: &Permissions) -> AgentSettings {
    AgentSettings {
        start_timeout: process.start_timeout,
        cancel_grace: process.cancel_grace,
        permissions: rules(permissions),
    }
}

impl Settings for SharedConfig {
    fn agent(&self, agent: &AgentName) -> AgentSettings {
        let config = self.current();
        match config.agent(agent.as_str()) {
            Some(agent) => settings(&agent.process, &agent.permissions),
            // Taken out of the configuration while it lives: the general sections hold.
            None => settings(&config.process, &config.permissions),
        }
    }

    fn limits(&self) -> Limits {
        let config = self.current();
        Limits {
            max_live: config.pool.max_live,
            max_running: config.dispatch.max_running,
            max_running_per_agent: config.dispatch.max_running_per_agent,
        }
    }
}
