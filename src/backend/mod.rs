//! Runs agents: turns what is configured into a process and a conversation.
//!
//! [`Agents`] decides per agent which backend drives it. `acp` speaks with a child over its stdio,
//! `opencode` with a server over HTTP, `oneshot` runs a program for each prompt. `process` owns the
//! children, `known` lists the agents that need no configuration, `own_rules`
//! what their own files say about permissions, `demo_agent` is the agent that is
//! built in.
//!
//! **Invariant:** only `process` starts and signals processes; nothing in here names SQL, git or
//! the control socket's methods.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use hob_actors::dispatch::route::{Facts, NoRoute, Oneshot, Warm, route};
use hob_actors::id::AgentName;
use hob_actors::ports::{Backend, Choice, Launch, Launched, NewsSink, StartFailed};

use crate::config::{AgentConfig, BackendKind, SharedConfig, find_program, find_program_of};
use crate::control::wire::{AgentCheckReply, AgentRow};
use mcp_server::OwnServer;
use process::{Spawner, agent_environment};
use start::Unfit;

pub mod acp;
pub mod demo_agent;
mod fingerprint;
pub mod known;
pub mod mcp_server;
pub mod oneshot;
pub mod opencode;
mod own_rules;
pub mod process;
mod start;
mod surroundings;

/// The name of the subcommand that is the built-in agent.
pub const DEMO_COMMAND: &str = "demo-agent";
/// The name of the subcommand that is the MCP server.
pub const MCP_COMMAND: &str = "mcp";
/// Tells the built-in agent where it keeps its conversations.
pub const DEMO_STATE: &str = "HOB_DEMO_STATE";
/// The directory of the built-in agent, below the state directory.
const DEMO_DIRECTORY: &str = "demo";

/// Whether an agent can be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Availability {
    /// No such agent is known or configured.
    Unknown,
    /// It is known, and why it cannot be started.
    Missing(NoRoute),
    /// It can be tried.
    Ready,
}

/// Every agent that is known or configured. Cheap to clone.
#[derive(Clone)]
pub struct Agents {
    config: SharedConfig,
    spawner: Spawner,
    env: Arc<BTreeMap<String, String>>,
    demo_state: PathBuf,
    unfit: Unfit,
    /// Where servers that many share are started: no place of anybody's work.
    state: PathBuf,
    servers: opencode::Servers,
    own_server: Arc<OwnServer>,
}

impl Agents {
    /// Agents as configured, which inherit from `env` and whose built-in one keeps its
    /// conversations below `state`.
    pub fn new(
        config: SharedConfig,
        spawner: Spawner,
        env: BTreeMap<String, String>,
        state: PathBuf,
        own_server: OwnServer,
    ) -> Self {
        surroundings::begin();
        let demo_state = state.join(DEMO_DIRECTORY);
        let (env, own_server) = (Arc::new(env), Arc::new(own_server));
        let (unfit, servers) = (Unfit::default(), opencode::Servers::default());
        Self { config, spawner, env, demo_state, unfit, state, servers, own_server }
    }

    /// hob's own MCP server, if the agent is to have it (`mcp = true`).
    pub fn mcp_server(&self, agent: &AgentConfig) -> Option<&OwnServer> {
        agent.mcp.then_some(&*self.own_server)
    }

    /// Every agent, by name, with whether it can be started.
    pub fn list(&self) -> Vec<AgentRow> {
        self.config.current().agents.values().map(|agent| self.row(agent)).collect()
    }

    /// Whether the agent of that name can be started, and the rules that its own files hold for
    /// work in `cwd`; `None` if there is no such agent. Looks at the file system.
    pub fn check(&self, name: &str, cwd: Option<&Path>) -> Option<AgentCheckReply> {
        let config = self.config.current();
        let agent = config.agent(name)?;
        let hint = match self.availability(name) {
            Availability::Missing(why) => Some(why.hint(name)),
            Availability::Ready | Availability::Unknown => None,
        };
        let own_rules = own_rules::of(agent, &self.environment(agent), cwd);
        Some(AgentCheckReply { agent: self.row(agent), hint, own_rules })
    }

    /// Whether the agent of that name can be started.
    pub fn availability(&self, name: &str) -> Availability {
        match self.config.current().agent(name) {
            None => Availability::Unknown,
            Some(agent) => match route(&self.facts_of(agent, false)) {
                Ok(_) => Availability::Ready,
                Err(why) => Availability::Missing(why),
            },
        }
    }

    /// What decides by which backend a task of the agent of that name is run; `None` if there is no
    /// such agent. Looks at the file system.
    pub fn facts(&self, name: &str, asked: bool) -> Option<Facts> {
        self.config.current().agent(name).map(|agent| self.facts_of(agent, asked))
    }

    fn facts_of(&self, agent: &AgentConfig, asked: bool) -> Facts {
        let warm = match agent.backend {
            BackendKind::Oneshot => Warm::None,
            BackendKind::Acp | BackendKind::Opencode => {
                let program = self.program(agent).map(|_| ());
                let fit = program.and_then(|()| self.unfit.check(agent, &self.hash_anywhere(agent)));
                fit.map_or_else(Warm::Never, |()| Warm::Ready)
            }
        };
        let oneshot = match self.oneshot_program(agent) {
            _ if agent.oneshot.is_empty() => Oneshot::None,
            Err(why) => Oneshot::Missing(why),
            Ok(_) if agent.oneshot_configured => Oneshot::Configured,
            Ok(_) => Oneshot::Known,
        };
        Facts { asked, warm, oneshot }
    }

    fn row(&self, agent: &AgentConfig) -> AgentRow {
        let program = match agent.backend {
            BackendKind::Oneshot => self.oneshot_program(agent),
            BackendKind::Acp | BackendKind::Opencode => self.program(agent),
        };
        AgentRow {
            name: agent.name.clone(),
            backend: agent.backend.as_str().to_owned(),
            command: if agent.command.is_empty() { agent.oneshot.clone() } else { agent.command.clone() },
            available: program.is_ok(),
            version: agent.is_demo().then(|| env!("CARGO_PKG_VERSION").to_owned()),
            detail: Some(match program {
                Ok(_) if agent.is_demo() => "built in".to_owned(),
                Ok(path) => path.display().to_string(),
                Err(why) => why,
            }),
        }
    }

    /// The program of an agent, or why it cannot be run. Looks at the file system.
    fn program(&self, agent: &AgentConfig) -> Result<PathBuf, String> {
        match agent.backend {
            BackendKind::Acp if agent.is_demo() => Ok(self.spawner.own_program()),
            _ => find_program(agent, self.env.get("PATH").map_or("", String::as_str)).map_err(placed),
        }
    }

    /// The program of a one-shot run, or why it cannot be run. Looks at the file system.
    fn oneshot_program(&self, agent: &AgentConfig) -> Result<PathBuf, String> {
        let path = self.env.get("PATH").map_or("", String::as_str);
        find_program_of(agent, &agent.oneshot, path).map_err(placed)
    }

    /// The whole environment of an agent.
    fn environment(&self, agent: &AgentConfig) -> BTreeMap<String, String> {
        let mut environment = agent_environment(&agent.pass, &agent.env, &self.env);
        // A `hob` that the agent types must find this daemon, and no other one of the person's.
        for (name, value) in &self.own_server.env {
            environment.entry(name.clone()).or_insert_with(|| value.clone());
        }
        if agent.is_demo() {
            environment.insert(DEMO_STATE.to_owned(), self.demo_state.display().to_string());
        }
        environment
    }

    /// The fingerprint of an agent wherever it works, and with whatever is chosen there.
    fn hash_anywhere(&self, agent: &AgentConfig) -> String {
        self.hash(agent, Path::new(""), &Choice::default())
    }

    fn hash(&self, agent: &AgentConfig, cwd: &Path, choice: &Choice) -> String {
        let driven = [agent.backend.as_str(), agent.share.as_str()].map(str::to_owned);
        let words = [&driven, agent.command.as_slice(), &["--".to_owned()], &agent.oneshot].concat();
        let choice = over(choice, agent);
        let choices = [&choice.model, &choice.mode];
        fingerprint::config_hash(&words, &self.environment(agent), cwd, choices, self.mcp_server(agent))
    }
}

/// Says whose PATH a program is not on.
fn placed(why: String) -> String {
    if why.ends_with("is not on PATH") { format!("{why}; {}", surroundings::told()) } else { why }
}

/// The mode and model of an agent, where these were chosen over those that are configured.
fn over(choice: &Choice, agent: &AgentConfig) -> Choice {
    choice.over(&Choice { mode: agent.mode.clone(), model: agent.model.clone() })
}

impl Backend for Agents {
    fn launch(
        &self,
        launch: Launch,
        sink: NewsSink,
    ) -> Pin<Box<dyn Future<Output = Result<Launched, StartFailed>> + Send>> {
        Box::pin(self.clone().start(launch, sink))
    }

    fn config_hash(&self, agent: &AgentName, cwd: &Path, choice: &Choice) -> String {
        // Of an agent that was taken out of the configuration nothing is left to compare with.
        let config = self.config.current();
        config.agent(agent.as_str()).map(|agent| self.hash(agent, cwd, choice)).unwrap_or_default()
    }
}
