//! What the person configured: one file of TOML, variables over it, defaults below it.
//!
//! Every key has a default; an unknown key or a bad value is an error that names file, line and
//! key. [`Config`] is plain data that never changes; [`SharedConfig`] is the one cell that a
//! reload replaces it in. Nothing here starts, stops or creates anything.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

pub use agents::{AgentConfig, BackendKind, Sandbox, Share, Way};
pub use check::NEVER_PASSED;
pub use error::{ConfigError, ConfigFault};
pub use permissions::{Permissions, Policy, UnattendedPolicy};
pub use program::{find_program_of, find_program_on};
pub use sections::{
    Control, Dispatch, Health, Hooks, Journal, Pool, Process, Reaper, Restart, Watchdog, Worktrees,
};
pub use shared::SharedConfig;

use crate::paths::Paths;

mod agents;
mod check;
mod error;
mod load;
mod permissions;
mod program;
mod sections;
mod shared;
mod units;
mod warnings;

#[cfg(test)]
mod tests;

/// What stands for a value that must not be shown.
const REDACTED: &str = "<redacted>";
/// A variable whose name has one of these in it is taken for a secret.
const SECRET_WORDS: [&str; 5] = ["KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIAL"];

/// Whether a variable of that name holds what nobody must read in a log or on a screen.
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

/// The whole configuration, every section and key of docs/contract.md.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The agent of a prompt that names none; `None` is the first that is available.
    pub default_agent: Option<String>,
    /// `[control]`
    pub control: Control,
    /// `[pool]`
    pub pool: Pool,
    /// `[dispatch]`
    pub dispatch: Dispatch,
    /// `[health]`
    pub health: Health,
    /// `[restart]`
    pub restart: Restart,
    /// `[watchdog]`
    pub watchdog: Watchdog,
    /// `[process]`
    pub process: Process,
    /// `[permissions]`
    pub permissions: Permissions,
    /// `[journal]`
    pub journal: Journal,
    /// `[worktrees]`
    pub worktrees: Worktrees,
    /// `[reaper]`
    pub reaper: Reaper,
    /// `[hooks]`
    pub hooks: Hooks,
    /// `[agents.NAME]` by name: the known ones, the configured ones and `demo`.
    pub agents: BTreeMap<String, AgentConfig>,
    /// What was written and does not do what its writer may expect, each in a sentence.
    pub warnings: Vec<String>,
    /// The same as it would be written, to be shown and compared.
    values: Table,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// The agent is known without configuration.
    Known,
    /// A line of the file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
    /// An environment variable, by name.
    Variable(String),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Known => f.write_str("known agent"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => write!(f, "${name}"),
        }
    }
}

/// One line of `hob config show`.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// The key with its sections: `pool.max_live`.
    pub key: String,
    /// The value as TOML would write it; secrets are left out.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// A configuration, and where its values come from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Where each key that somebody wrote was written.
    pub origins: BTreeMap<String, Origin>,
}

impl Loaded {
    /// Every effective value in the order of its key, with where it comes from.
    pub fn shown(&self) -> Vec<Shown> {
        flatten(&self.config.values).into_iter().map(|(path, value)| self.show(&path, value)).collect()
    }

    fn show(&self, path: &[String], value: &Value) -> Shown {
        let key = error::dotted(path);
        let agent = path.first().is_some_and(|section| section == "agents");
        let unsaid = if agent { Origin::Known } else { Origin::Default };
        let origin = self.origins.get(&key).cloned().unwrap_or(unsaid);
        let variable = agent && path.len() == 4 && path[2] == "env";
        let value =
            if variable && is_secret_name(&path[3]) { REDACTED.to_owned() } else { value.to_string() };
        Shown { key, value, origin }
    }
}

impl Config {
    /// Loads the configuration. A file that does not exist says nothing; where one was asked for
    /// by name, use [`Config::load_at`], to which that is an error.
    ///
    /// # Errors
    /// An unreadable file, an unknown key, a bad value, or values that do not fit together.
    pub fn load(path: Option<&Path>, env: &BTreeMap<String, String>) -> Result<Loaded, ConfigError> {
        load::load(path, env)
    }

    /// Loads the configuration from where it lies.
    ///
    /// # Errors
    /// As [`Config::load`], and where a file that was asked for by name does not exist.
    pub fn load_at(paths: &Paths, env: &BTreeMap<String, String>) -> Result<Loaded, ConfigError> {
        if paths.config_is_given && !paths.config.exists() {
            return Err(ConfigError::unreadable(&paths.config, "no such file"));
        }
        Self::load(Some(&paths.config), env)
    }

    /// The agent of that name, known or configured.
    pub fn agent(&self, name: &str) -> Option<&AgentConfig> {
        self.agents.get(name)
    }

    /// The keys whose values differ from those of another configuration, in order.
    pub fn changed_keys(&self, other: &Config) -> Vec<String> {
        let (mine, theirs) = (flatten(&self.values), flatten(&other.values));
        let differ = |path: &&Vec<String>| mine.get(*path) != theirs.get(*path);
        let either: std::collections::BTreeSet<_> = mine.keys().chain(theirs.keys()).collect();
        either.into_iter().filter(differ).map(|path| error::dotted(path)).collect()
    }
}

impl Default for Config {
    /// What holds where nobody configured anything.
    fn default() -> Self {
        load::load(None, &BTreeMap::new()).map(|loaded| loaded.config).unwrap_or_else(|error| {
            // Only a mistake in our own tables can lead here; a test proves that there is none.
            unreachable!("the defaults are refused: {error}")
        })
    }
}

/// Every value that is no table, by its path.
fn flatten(table: &Table) -> BTreeMap<Vec<String>, &Value> {
    fn walk<'a>(table: &'a Table, above: &mut Vec<String>, found: &mut BTreeMap<Vec<String>, &'a Value>) {
        for (key, value) in table {
            above.push(key.clone());
            match value {
                Value::Table(inner) => walk(inner, above, found),
                leaf => {
                    found.insert(above.clone(), leaf);
                }
            }
            above.pop();
        }
    }
    let mut found = BTreeMap::new();
    walk(table, &mut Vec::new(), &mut found);
    found
}
