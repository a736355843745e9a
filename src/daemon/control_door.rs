//! What the control socket may ask of the daemon itself: to stop, and to read its configuration.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hob_actors::tree;
use tokio::sync::mpsc;

use super::DaemonOptions;
use crate::config::{Config, ConfigError, SharedConfig};
use crate::paths::Paths;

/// A request to stop.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ShutdownRequest {
    /// Wait this long for running turns first.
    pub drain: Option<Duration>,
    /// Skip every grace.
    pub now: bool,
}

/// Requests to stop, as they come.
pub(super) type Requests = mpsc::UnboundedReceiver<ShutdownRequest>;

/// The door to the daemon. Cheap to clone.
#[derive(Clone)]
pub struct DaemonControl {
    requests: mpsc::UnboundedSender<ShutdownRequest>,
    config: SharedConfig,
    tree: Arc<OnceLock<tree::Handle>>,
    paths: Paths,
    env: Arc<std::collections::BTreeMap<String, String>>,
}

/// Makes the door of a daemon.
pub(super) fn open(options: &DaemonOptions) -> (DaemonControl, Requests) {
    let (requests, receiver) = mpsc::unbounded_channel();
    let door = DaemonControl {
        requests,
        config: SharedConfig::new(options.config.clone()),
        tree: Arc::default(),
        paths: options.paths.clone(),
        env: Arc::new(options.env.clone()),
    };
    (door, receiver)
}

impl DaemonControl {
    /// Asks the daemon to stop. A second request hurries.
    pub fn shutdown(&self, request: ShutdownRequest) {
        // A daemon that is gone has stopped.
        self.requests.send(request).ok();
    }

    /// Reads the configuration again and says which keys changed.
    ///
    /// # Errors
    /// Where it is not valid: the old one stays.
    pub async fn reload(&self) -> Result<Vec<String>, ConfigError> {
        let (paths, env) = (self.paths.clone(), self.env.clone());
        let loaded = tokio::task::spawn_blocking(move || Config::load_at(&paths, &env)).await;
        // A panic in the parser is a bug of ours, and the old configuration stays then too.
        let loaded =
            loaded.unwrap_or_else(|panic| Err(ConfigError::unreadable(&self.paths.config, panic)))?;
        for warning in &loaded.config.warnings {
            tracing::warn!("{warning}");
        }
        let changed = self.config.replace(loaded.config);
        tracing::info!(?changed, "configuration read again");
        if let Some(tree) = self.tree.get() {
            tree.configured();
        }
        Ok(changed)
    }

    /// The tree is there: it is told of every change.
    pub(super) fn attach(&self, tree: tree::Handle) {
        // Once for each daemon; a second one would be the same.
        self.tree.set(tree).ok();
    }

    /// What the person configured.
    pub(super) fn config(&self) -> SharedConfig {
        self.config.clone()
    }
}
