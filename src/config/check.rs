//! What no single value can know: whether the values fit together.

use std::collections::BTreeMap;
use std::path::{Component, Path};
use std::time::Duration;

use super::error::{ConfigError, ConfigFault, dotted, nearest};
use super::{AgentConfig, BackendKind, Config, Origin, Restart, Sandbox, Share};
use crate::backend::oneshot::template;

/// Longer than any name that a person would type.
const AGENT_NAME_BYTES_MAX: usize = 64;
/// What agents never inherit, whatever is asked for: it would change what git, the loader or
/// Node do inside them, or tell them apart from hob itself.
pub const NEVER_PASSED: [&str; 4] = ["GIT_", "LD_", "NODE_OPTIONS", "HOB_"];

/// Something does not fit: the key, what is wrong, and what to do.
#[derive(Debug)]
pub(super) struct Problem {
    key: Vec<String>,
    message: String,
    hint: Option<String>,
}

impl Problem {
    fn new(key: &[&str], message: impl Into<String>) -> Self {
        let key = key.iter().map(|word| (*word).to_owned()).collect();
        Self { key, message: message.into(), hint: None }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The problem with the place where the key, or what holds it, was written.
    pub(super) fn placed(self, file: Option<&Path>, origins: &BTreeMap<String, Origin>) -> ConfigError {
        let mut around = (1..=self.key.len()).rev().map(|n| dotted(&self.key[..n]));
        match around.find_map(|key| origins.get(&key)) {
            Some(Origin::Variable(variable)) => ConfigError::of_variable(variable, self.message, self.hint),
            Some(Origin::File { path, line }) => ConfigError {
                fault: ConfigFault::Bad,
                path: path.clone(),
                line: Some(*line),
                key: Some(dotted(&self.key)),
                message: self.message,
                hint: self.hint,
            },
            Some(Origin::Default | Origin::Known) | None => ConfigError {
                fault: ConfigFault::Bad,
                path: file.map(Path::to_path_buf).unwrap_or_default(),
                line: None,
                key: Some(dotted(&self.key)),
                message: self.message,
                hint: self.hint,
            },
        }
    }
}

/// Checks the whole; stops at the first problem.
pub(super) fn whole(config: &Config) -> Result<(), Problem> {
    backoff(&["restart"], &config.restart)?;
    worktrees(config)?;
    for agent in config.agents.values() {
        self::agent(agent)?;
    }
    match &config.default_agent {
        Some(name) if !config.agents.contains_key(name) => {
            let problem = Problem::new(&["default_agent"], format!("no agent is called \"{name}\""));
            let guess = nearest(name, config.agents.keys().map(String::as_str));
            Err(problem.hint(guess.unwrap_or_else(|| format!("describe it in [agents.{name}]"))))
        }
        _ => Ok(()),
    }
}

fn backoff(section: &[&str], restart: &Restart) -> Result<(), Problem> {
    if restart.backoff_min <= restart.backoff_max {
        return Ok(());
    }
    let key = [section, &["backoff_min"]].concat();
    Err(Problem::new(&key, "is longer than `backoff_max`"))
}

fn worktrees(config: &Config) -> Result<(), Problem> {
    let section = &config.worktrees;
    if section.root.as_ref().is_some_and(|root| !root.is_absolute()) {
        return Err(
            Problem::new(&["worktrees", "root"], "is not an absolute path").hint("begin it with a slash")
        );
    }
    // Patterns in the manner of .gitignore: a slash at the beginning means the top.
    let leaves = |path: &str| Path::new(path).components().any(|part| part == Component::ParentDir);
    if let Some(path) = section.copy.iter().find(|path| path.is_empty() || leaves(path)) {
        let problem = Problem::new(&["worktrees", "copy"], format!("\"{path}\" leads out of the repository"));
        return Err(problem.hint("write a path or a pattern below its top"));
    }
    let name = |name: &str| !matches!(name, "" | "." | ".." | ".git") && !name.contains('/');
    match section.disposable.iter().find(|entry| !name(entry)) {
        Some(entry) => Err(Problem::new(
            &["worktrees", "disposable"],
            format!("\"{entry}\" is not the name of a directory"),
        )),
        None => Ok(()),
    }
}

fn agent(agent: &AgentConfig) -> Result<(), Problem> {
    let at = |key: &'static str| ["agents", agent.name.as_str(), key];
    name(&agent.name)?;
    command(agent)?;
    if let Some(entry) = agent.pass.iter().find(|entry| !can_be_passed(entry)) {
        let problem = Problem::new(&at("pass"), format!("\"{entry}\" cannot be passed on"));
        return Err(problem
            .hint("name variables, with `*` at the end alone; what is set in `env` has no such limits"));
    }
    if let Some(name) = agent.env.keys().find(|name| name.is_empty() || name.contains(['=', '\0'])) {
        return Err(Problem::new(&at("env"), format!("{name:?} is not the name of a variable")));
    }
    if let Some(name) = agent.env.iter().find_map(|(name, value)| value.contains('\0').then_some(name)) {
        return Err(Problem::new(&at("env"), format!("the value of {name} contains a zero byte")));
    }
    if agent.share != Share::None && agent.backend != BackendKind::Opencode {
        let problem = Problem::new(&at("share"), "only an opencode server can be shared");
        return Err(problem.hint("set backend = \"opencode\", or leave it out"));
    }
    if agent.sandbox == Sandbox::Worktree && agent.share != Share::None {
        let problem = Problem::new(&at("sandbox"), "needs a process for each agent session");
        return Err(problem.hint("set share = \"none\""));
    }
    backoff(&["agents", &agent.name, "restart"], &agent.restart)?;
    if agent.permissions.deadline.is_some_and(|deadline| deadline < Duration::from_secs(1)) {
        return Err(Problem::new(&["agents", &agent.name, "permissions", "deadline"], "must be at least 1s"));
    }
    Ok(())
}

fn name(name: &str) -> Result<(), Problem> {
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let rest = bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    if first && rest && name.len() <= AGENT_NAME_BYTES_MAX {
        return Ok(());
    }
    let problem = Problem::new(&["agents", name], "is not a name for an agent");
    Err(problem.hint("use letters, digits, `.`, `_` and `-`, 64 at most, a letter or digit first"))
}

fn command(agent: &AgentConfig) -> Result<(), Problem> {
    let (key, words) = match agent.backend {
        BackendKind::Oneshot => ("oneshot", &agent.oneshot),
        BackendKind::Acp | BackendKind::Opencode => ("command", &agent.command),
    };
    if words.is_empty() && !(agent.is_demo() && key == "command") {
        let problem = Problem::new(&["agents", agent.name.as_str(), key], "is missing");
        return Err(problem.hint("give program and arguments as a list"));
    }
    for (key, words) in [("command", &agent.command), ("oneshot", &agent.oneshot)] {
        program(&["agents", agent.name.as_str(), key], words)?;
    }
    match template::problem(&agent.oneshot, agent.model.as_deref()) {
        Some((what, hint)) if agent.oneshot_configured => {
            Err(Problem::new(&["agents", agent.name.as_str(), "oneshot"], what).hint(hint))
        }
        _ => Ok(()),
    }
}

/// The first word of a command line.
fn program(at: &[&str], words: &[String]) -> Result<(), Problem> {
    let Some(program) = words.first() else { return Ok(()) };
    if program.is_empty() || words.iter().any(|word| word.contains('\0')) {
        return Err(Problem::new(at, "names no program"));
    }
    if program.contains('/') && !program.starts_with('/') {
        let problem = Problem::new(at, format!("\"{program}\" is relative, and to nothing in particular"));
        return Err(problem.hint("write the whole path, or the name alone to have it looked up on PATH"));
    }
    Ok(())
}

/// Whether an entry of a pass list is one that may be honoured.
fn can_be_passed(entry: &str) -> bool {
    let stem = entry.strip_suffix('*').unwrap_or(entry);
    let plain = !stem.is_empty() && stem.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    plain && !NEVER_PASSED.iter().any(|never| stem.starts_with(never))
}
