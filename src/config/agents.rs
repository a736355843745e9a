//! The `[agents.NAME]` sections: what may be written there, and what comes of it together with
//! what is known of the agent and with the general sections that it overrides.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::permissions::Permissions;
use super::sections::{Health, Process, Restart, Watchdog};
use super::units;
use crate::backend::known::{self, KnownAgent};

/// How an agent is driven.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendKind {
    /// A child that speaks the Agent Client Protocol on stdio.
    #[default]
    Acp,
    /// An opencode server with many sessions.
    Opencode,
    /// One run of a program for each prompt.
    Oneshot,
}

impl BackendKind {
    /// The word in the configuration and on the socket.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Acp => "acp",
            Self::Opencode => "opencode",
            Self::Oneshot => "oneshot",
        }
    }
}

/// Which agent sessions may live in one process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Share {
    /// A process of its own for each.
    #[default]
    None,
    /// Those of one worktree share.
    Workspace,
    /// All share.
    All,
}

impl Share {
    /// The word in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Workspace => "workspace",
            Self::All => "all",
        }
    }
}

/// What fences an agent in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sandbox {
    /// Nothing.
    #[default]
    Off,
    /// It may write in its worktree alone.
    Worktree,
}

/// What may be written about an agent. The general sections stand here for their types: what is
/// wrong in an override is found where it was written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AgentFile {
    backend: Option<BackendKind>,
    command: Option<Vec<String>>,
    env: BTreeMap<String, String>,
    pass: Vec<String>,
    model: Option<String>,
    mode: Option<String>,
    mcp: bool,
    #[serde(deserialize_with = "units::optional_duration")]
    idle_ttl: Option<Duration>,
    keep_warm: bool,
    count_background: bool,
    share: Option<Share>,
    sandbox: Sandbox,
    oneshot: Vec<String>,
    health: Health,
    restart: Restart,
    watchdog: Watchdog,
    process: Process,
    permissions: Permissions,
}

/// A way to drive an agent that is kept between prompts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// What is spoken.
    pub backend: BackendKind,
    /// Program and arguments.
    pub command: Vec<String>,
}

/// Everything that is configured for one agent, what is known of it and the overrides applied.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentConfig {
    /// Its name.
    pub name: String,
    /// How it is driven.
    pub backend: BackendKind,
    /// Program and arguments. Empty for the built-in agent, which is the daemon's own program.
    pub command: Vec<String>,
    /// Other ways to drive a known agent whose command nobody wrote, where that one cannot be.
    pub others: Vec<Way>,
    /// Variables set for it, over everything else.
    pub env: BTreeMap<String, String>,
    /// Variables passed on from the daemon's environment: those known for the agent and the
    /// configured ones. An entry that ends in `*` means all that begin so.
    pub pass: Vec<String>,
    /// The model to use, by the agent's own name for it.
    pub model: Option<String>,
    /// The mode to work in, by the agent's own name for it.
    pub mode: Option<String>,
    /// Whether it gets hob's own MCP server.
    pub mcp: bool,
    /// Overrides `pool.idle_ttl`; zero is never.
    pub idle_ttl: Option<Duration>,
    /// Restarted after a crash although nothing waits for it.
    pub keep_warm: bool,
    /// Whether what it leaves running after a turn keeps it busy.
    pub count_background: bool,
    /// Which agent sessions may live in one process.
    pub share: Share,
    /// What fences it in.
    pub sandbox: Sandbox,
    /// The command line of a one-shot run, with `{prompt}`, `{model}` and `{cwd}`.
    pub oneshot: Vec<String>,
    /// Whether the person wrote that command line; else it is merely known for the agent.
    pub oneshot_configured: bool,
    /// Whether the person configured it; else it is merely known.
    pub configured: bool,
    /// `[health]` with this agent's overrides.
    pub health: Health,
    /// `[restart]` with this agent's overrides.
    pub restart: Restart,
    /// `[watchdog]` with this agent's overrides.
    pub watchdog: Watchdog,
    /// `[process]` with this agent's overrides.
    pub process: Process,
    /// `[permissions]` with this agent's overrides.
    pub permissions: Permissions,
}

impl AgentConfig {
    /// What comes of `written`, whose sections are the effective ones already.
    pub(super) fn assemble(name: &str, written: AgentFile, configured: bool) -> Self {
        let known = known::find(name);
        let backend = written.backend.or(known.map(KnownAgent::backend)).unwrap_or_default();
        let pass_known = known.into_iter().flat_map(KnownAgent::pass_list).map(str::to_owned);
        let oneshot_configured = !written.oneshot.is_empty();
        let mut ways = known_ways(known, backend, written.backend.is_some()).into_iter();
        let first = ways.next().map(|way| way.command).unwrap_or_default();
        let others = if written.command.is_none() { ways.collect() } else { Vec::new() };
        let command = written.command.unwrap_or(first);
        let oneshot = match known {
            Some(known) if !oneshot_configured => known_oneshot(known, &command),
            _ => written.oneshot,
        };
        let share_default = if backend == BackendKind::Opencode { Share::All } else { Share::None };
        Self {
            name: name.to_owned(),
            backend,
            command,
            others,
            env: written.env,
            pass: pass_known.chain(written.pass).collect(),
            model: written.model,
            mode: written.mode,
            mcp: written.mcp,
            idle_ttl: written.idle_ttl,
            keep_warm: written.keep_warm,
            count_background: written.count_background,
            share: written.share.unwrap_or(share_default),
            sandbox: written.sandbox,
            oneshot,
            oneshot_configured,
            configured,
            health: written.health,
            restart: written.restart,
            watchdog: written.watchdog,
            process: written.process,
            permissions: written.permissions,
        }
    }

    /// The name of the one server process that all its agent sessions live in, if they share one.
    pub fn host(&self) -> Option<&str> {
        let shares = self.backend == BackendKind::Opencode && self.share == Share::All;
        shares.then_some(self.name.as_str())
    }

    /// The built-in agent, whose program is the daemon's own.
    pub fn is_demo(&self) -> bool {
        self.name == known::DEMO && self.command.is_empty() && self.backend == BackendKind::Acp
    }
}

/// The one-shot command line that is known for an agent, with the program from where the person said
/// that it lies.
fn known_oneshot(known: &KnownAgent, command: &[String]) -> Vec<String> {
    let mut words: Vec<String> = known.oneshot.iter().map(|word| (*word).to_owned()).collect();
    if let (Some(word), Some(program)) = (words.first_mut(), command.first())
        && Path::new(program).file_name().is_some_and(|name| name.to_str() == Some(word.as_str()))
    {
        word.clone_from(program);
    }
    words
}

/// The ways that are known for an agent, the best first; those of one backend alone where that was
/// chosen.
fn known_ways(known: Option<&KnownAgent>, backend: BackendKind, chosen: bool) -> Vec<Way> {
    let ways = known.into_iter().flat_map(|known| known.ways);
    let fitting = ways.filter(|way| !chosen || way.backend == backend);
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    fitting.map(|way| Way { backend: way.backend, command: words(way.command) }).collect()
}
