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

use crate::config::{AgentConfig, BackendKind, Sandbox, SharedConfig, Way, find_program_of};
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
pub mod surroundings;
mod tool_kind;

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

/// A way to drive an agent, and its program on this machine.
#[derive(Debug)]
struct FoundWay {
    way: Way,
    program: PathBuf,
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
            Availability::Missing(why) => Some(self.hint(name, &why)),
            Availability::Ready | Availability::Unknown => None,
        };
        let own_rules = own_rules::of(agent, &self.environment(agent), cwd);
        Some(AgentCheckReply { agent: self.row(agent), hint, own_rules })
    }

    /// What to do where the agent of that name cannot be started.
    pub fn hint(&self, name: &str, why: &NoRoute) -> String {
        let config = self.config.current();
        let Some(agent) = config.agent(name) else { return why.hint(name) };
        let installed = known::find(name).filter(|known| {
            let is_known = known.ways.iter().any(|way| way.command == agent.command);
            let is_kept = matches!(why, NoRoute::Unusable(_) | NoRoute::Nothing);
            is_known && is_kept && !known.install.is_empty() && self.ways(agent).is_err()
        });
        match (agent.sandbox, installed) {
            (Sandbox::Worktree, _) => format!("set sandbox = \"off\" in [agents.{name}]"),
            (Sandbox::Off, Some(known)) => {
                format!("`{}` installs it; or set command in [agents.{name}]", known.install)
            }
            (Sandbox::Off, None) => why.hint(name),
        }
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
                let fit = self.ways(agent).and_then(|ways| {
                    let hash = self.hash_anywhere(agent);
                    let mut judged = ways.iter().map(|found| self.unfit.check(&found.way.command, &hash));
                    // Where none is fit, why is told of the first.
                    let first = judged.next().unwrap_or(Ok(()));
                    if judged.any(|other| other.is_ok()) { Ok(()) } else { first }
                });
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
            BackendKind::Acp | BackendKind::Opencode => {
                self.ways(agent).map(|mut ways| ways.remove(0).program)
            }
        };
        let command = match agent.backend {
            BackendKind::Oneshot => &agent.oneshot,
            BackendKind::Acp | BackendKind::Opencode => &agent.command,
        };
        AgentRow {
            name: agent.name.clone(),
            backend: agent.backend.as_str().to_owned(),
            command: command.clone(),
            available: program.is_ok(),
            version: agent.is_demo().then(|| env!("CARGO_PKG_VERSION").to_owned()),
            detail: Some(match program {
                Ok(_) if agent.is_demo() => "built in".to_owned(),
                Ok(path) => path.display().to_string(),
                Err(why) => why,
            }),
        }
    }

    /// The ways to drive an agent whose programs are there, the best first, or why there is none: one at
    /// least. Looks at the file system.
    fn ways(&self, agent: &AgentConfig) -> Result<Vec<FoundWay>, String> {
        fenced(agent)?;
        let first = Way { backend: agent.backend, command: agent.command.clone() };
        if agent.is_demo() {
            return Ok(vec![FoundWay { way: first, program: self.spawner.own_program() }]);
        }
        let path = self.env.get("PATH").map_or("", String::as_str);
        let all = std::iter::once(first).chain(agent.others.iter().cloned());
        let looked = all.map(|way| {
            let program = find_program_of(agent, &way.command, path)?;
            Ok(FoundWay { way, program })
        });
        let (found, missing): (Vec<_>, Vec<_>) = looked.partition(Result::is_ok);
        match missing.into_iter().find_map(Result::err) {
            Some(why) if found.is_empty() => Err(placed(why)),
            _ => Ok(found.into_iter().flatten().collect()),
        }
    }

    /// The program of a one-shot run, or why it cannot be run. Looks at the file system.
    fn oneshot_program(&self, agent: &AgentConfig) -> Result<PathBuf, String> {
        fenced(agent)?;
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

/// Whether the fence that was asked for is there: none is built yet, and an agent that somebody wants
/// fenced in must not run without.
fn fenced(agent: &AgentConfig) -> Result<(), String> {
    match agent.sandbox {
        Sandbox::Off => Ok(()),
        Sandbox::Worktree => {
            Err("`sandbox = \"worktree\"` cannot be kept: this version of hob fences nothing in; \
             `sandbox = \"off\"` runs it without"
                .to_owned())
        }
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
