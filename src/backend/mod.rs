//! Runs agents: turns what is configured into a process and a conversation.
//!
//! [`Agents`] decides per agent which backend drives it. `acp` speaks with a child over its stdio,
//! `opencode` with a server over HTTP,
//! `process` owns the children, `known` lists the agents that need no configuration, `demo_agent`
//! is the agent that is built in.
//!
//! **Invariant:** only `process` starts and signals processes; nothing in here names SQL, git or
//! the control socket's methods.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hob_actors::backoff::Cause;
use hob_actors::id::{AgentName, HostId};
use hob_actors::ports::{Backend, Launch, Launched, NewsSink, StartFailed};

use crate::config::{AgentConfig, BackendKind, Share, SharedConfig, find_program};
use crate::control::wire::AgentRow;
use mcp_server::OwnServer;
use process::{SpawnRequest, Spawner, agent_environment};

pub mod acp;
pub mod demo_agent;
mod fingerprint;
pub mod known;
pub mod mcp_server;
pub mod opencode;
pub mod process;

/// The name of the subcommand that is the built-in agent.
pub const DEMO_COMMAND: &str = "demo-agent";
/// The name of the subcommand that is the MCP server.
pub const MCP_COMMAND: &str = "mcp";
/// Tells the built-in agent where it keeps its conversations.
pub const DEMO_STATE: &str = "HOB_DEMO_STATE";
/// The directory of the built-in agent, below the state directory.
const DEMO_DIRECTORY: &str = "demo";
/// The longest that the instance of a directory in which nothing is done is kept.
const INSTANCE_IDLE_MAX: Duration = Duration::from_secs(300);

/// Whether an agent can be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Availability {
    /// No such agent is known or configured.
    Unknown,
    /// It is known, and why it cannot be started.
    Missing(String),
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
    /// Where servers that many share are started: no place of anybody's work.
    state: PathBuf,
    servers: opencode::Servers,
    own_server: Arc<OwnServer>,
}

impl Agents {
    /// Agents as configured, which inherit from `env` and whose built-in one keeps its
    /// conversations below `state`; those that are to delegate are handed `own_server`.
    pub fn new(
        config: SharedConfig,
        spawner: Spawner,
        env: BTreeMap<String, String>,
        state: PathBuf,
        own_server: OwnServer,
    ) -> Self {
        let demo_state = state.join(DEMO_DIRECTORY);
        let servers = opencode::Servers::default();
        let (env, own_server) = (Arc::new(env), Arc::new(own_server));
        Self { config, spawner, env, demo_state, state, servers, own_server }
    }

    /// hob's own MCP server, if the agent is to have it (`mcp = true`).
    pub fn mcp_server(&self, agent: &AgentConfig) -> Option<&OwnServer> {
        agent.mcp.then_some(&*self.own_server)
    }

    /// Every agent, by name, with whether it can be started.
    pub fn list(&self) -> Vec<AgentRow> {
        self.config.current().agents.values().map(|agent| self.row(agent)).collect()
    }

    /// Whether the agent of that name can be started.
    pub fn availability(&self, name: &str) -> Availability {
        match self.config.current().agent(name) {
            None => Availability::Unknown,
            Some(agent) => match self.program(agent) {
                Ok(_) => Availability::Ready,
                Err(why) => Availability::Missing(why),
            },
        }
    }

    fn row(&self, agent: &AgentConfig) -> AgentRow {
        let program = self.program(agent);
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
            BackendKind::Acp | BackendKind::Opencode => {
                find_program(agent, self.env.get("PATH").map_or("", String::as_str))
            }
            kind => {
                Err(format!("the backend `{}` is not supported yet, try `backend = \"acp\"`", kind.as_str()))
            }
        }
    }

    /// The whole environment of an agent.
    fn environment(&self, agent: &AgentConfig) -> BTreeMap<String, String> {
        let mut environment = agent_environment(&agent.pass, &agent.env, &self.env);
        if agent.is_demo() {
            environment.insert(DEMO_STATE.to_owned(), self.demo_state.display().to_string());
        }
        environment
    }

    fn hash(&self, agent: &AgentConfig, cwd: &Path) -> String {
        let env = self.environment(agent);
        let choices = [&agent.model, &agent.mode];
        fingerprint::config_hash(&agent.command, &env, cwd, choices, self.mcp_server(agent))
    }

    /// Everything that a start needs, or why there can be none. Looks at the file system.
    fn spec(&self, launch: &Launch) -> Result<Spec, StartFailed> {
        let name = launch.key.agent.as_str();
        let config = self.config.current();
        let permanent = |message: String| StartFailed { cause: Cause::Configuration, message, exit: None };
        let agent = config.agent(name).ok_or_else(|| permanent(format!("there is no agent `{name}`")))?;
        let program = self.program(agent).map_err(|why| permanent(format!("{name}: {why}")))?;
        match agent.backend {
            BackendKind::Opencode => {
                let idle_ttl = agent.idle_ttl.unwrap_or(config.pool.idle_ttl);
                Ok(Spec::Opencode(self.opencode_spec(agent, launch, (program, idle_ttl))))
            }
            _ => Ok(Spec::Acp(self.acp_spec(agent, launch, program))),
        }
    }

    fn request(&self, agent: &AgentConfig, launch: &Launch, program: PathBuf) -> SpawnRequest {
        let (arg0, args) = match agent.command.split_first() {
            Some((_, args)) => (None, args.to_vec()),
            None => (Some(format!("hob-{DEMO_COMMAND}")), vec![DEMO_COMMAND.to_owned()]),
        };
        SpawnRequest {
            label: launch.key.to_string(),
            agent: Some(agent.name.clone()),
            chat: Some(launch.key.chat.as_str().to_owned()),
            program,
            arg0,
            args,
            env: self.environment(agent),
            cwd: launch.cwd.clone(),
            stop_grace: agent.process.stop_grace,
        }
    }

    fn acp_spec(&self, agent: &AgentConfig, launch: &Launch, program: PathBuf) -> acp::Spec {
        let command = if agent.is_demo() { DEMO_COMMAND.to_owned() } else { agent.command.join(" ") };
        acp::Spec {
            request: self.request(agent, launch, program),
            command,
            model: agent.model.clone(),
            mode: agent.mode.clone(),
            mcp_servers: self.mcp_server(agent).map(OwnServer::for_acp).into_iter().collect(),
            start_timeout: agent.process.start_timeout,
            max_frame: bytes(agent.process.max_frame),
            stderr_tail: bytes(agent.process.stderr_tail),
            config_hash: self.hash(agent, &launch.cwd),
        }
    }

    fn opencode_spec(
        &self,
        agent: &AgentConfig,
        launch: &Launch,
        (program, idle_ttl): (PathBuf, Duration),
    ) -> opencode::Spec {
        let host = match agent.share {
            Share::All => Some(agent.name.clone()),
            Share::Workspace => Some(format!("{} {}", agent.name, launch.cwd.display())),
            Share::None => None,
        };
        let mut request = self.request(agent, launch, program);
        // A directory of ours: where many live, no one's worktree is the place of the process.
        request.cwd.clone_from(&self.state);
        if let Some(host) = &host {
            (request.label, request.chat) = (host.clone(), None);
        }
        if let Some(server) = self.mcp_server(agent) {
            let configured = request.env.get(opencode::CONFIG).map(String::as_str);
            request.env.insert(opencode::CONFIG.to_owned(), server.for_opencode(configured));
        }
        let nowhere = Path::new("");
        let of_process =
            fingerprint::config_hash(&agent.command, &request.env, nowhere, [&None, &None], None);
        let own = || format!("{} {}", launch.key, launch.generation);
        opencode::Spec {
            request,
            command: agent.command.join(" "),
            model: agent.model.clone(),
            mode: agent.mode.clone(),
            start_timeout: agent.process.start_timeout,
            max_frame: bytes(agent.process.max_frame),
            stderr_tail: bytes(agent.process.stderr_tail),
            config_hash: self.hash(agent, &launch.cwd),
            key: opencode::ServerKey { host: host.clone().unwrap_or_else(own), launch_hash: of_process },
            host: host.map(HostId::from),
            instance_idle: instance_idle(idle_ttl),
        }
    }
}

/// What a backend starts.
enum Spec {
    Acp(acp::Spec),
    Opencode(opencode::Spec),
}

fn bytes(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// When the instance that an opencode server keeps of a directory goes: well before the agent
/// sessions in it do.
fn instance_idle(idle_ttl: Duration) -> Duration {
    if idle_ttl.is_zero() { INSTANCE_IDLE_MAX } else { (idle_ttl / 4).min(INSTANCE_IDLE_MAX) }
}

impl Backend for Agents {
    fn launch(
        &self,
        launch: Launch,
        sink: NewsSink,
    ) -> Pin<Box<dyn Future<Output = Result<Launched, StartFailed>> + Send>> {
        let agents = self.clone();
        Box::pin(async move {
            let (spawner, servers) = (agents.spawner.clone(), agents.servers.clone());
            let looked = tokio::task::spawn_blocking(move || (agents.spec(&launch), launch)).await;
            let (spec, launch) = looked.map_err(|error| StartFailed {
                cause: Cause::StartFailure,
                message: format!("the agent could not be looked up: {error}"),
                exit: None,
            })?;
            match spec? {
                Spec::Acp(spec) => acp::start(&spawner, spec, launch, sink).await,
                Spec::Opencode(spec) => opencode::start(&servers, &spawner, spec, launch, sink).await,
            }
        })
    }

    fn config_hash(&self, agent: &AgentName, cwd: &Path) -> String {
        // Of an agent that was taken out of the configuration nothing is left to compare with.
        self.config.current().agent(agent.as_str()).map(|agent| self.hash(agent, cwd)).unwrap_or_default()
    }
}
