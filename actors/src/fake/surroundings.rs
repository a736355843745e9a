//! Fakes of what a tree only asks: the configuration, who is looking, and the machine.

use std::pin::Pin;

use super::World;
use crate::id::{AgentKey, AgentName, ChatId};
use crate::ports::{AgentSettings, Audience, Limits, Machine, ProcessTree, Settings};

impl Settings for World {
    fn agent(&self, _: &AgentName) -> AgentSettings {
        let script = self.script();
        let mut settings = script.agent.clone();
        settings.permissions.default = script.policy;
        settings
    }

    fn reaper(&self) -> crate::ports::ReaperRules {
        self.script().reaper
    }

    fn limits(&self) -> Limits {
        let mut script = self.script();
        if script.limits_panic > 0 {
            script.limits_panic -= 1;
            drop(script);
            panic!("a bug that the test made");
        }
        script.limits
    }
}

impl Audience for World {
    fn watches(&self, _: &ChatId) -> bool {
        self.script().watched
    }

    fn pinned(&self, key: &AgentKey) -> bool {
        self.script().pinned.contains(key)
    }
}

impl Machine for World {
    fn available_bytes(&self) -> Option<u64> {
        self.script().available_bytes
    }

    /// Always the longest wait.
    fn roll(&self) -> f64 {
        1.0
    }

    fn trees(&self, pids: Vec<u32>) -> Pin<Box<dyn Future<Output = Vec<Option<ProcessTree>>> + Send>> {
        let trees = pids.iter().map(|pid| self.script().trees.get(pid).cloned()).collect();
        Box::pin(async move {
            tokio::task::yield_now().await;
            trees
        })
    }
}
