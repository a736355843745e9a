//! Where the agents that are known keep their rules, as a table. Pure.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::reading::{EVERYTHING, OwnRule, Shape};
use crate::config::AgentConfig;
use crate::control::wire::Effect;

/// A program whose files are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    Goose,
    Opencode,
    Qwen,
    Claude,
    Codex,
    Gemini,
}

/// The names that each program is started by.
const PROGRAMS: [(&str, Program); 8] = [
    ("goose", Program::Goose),
    ("opencode", Program::Opencode),
    ("qwen", Program::Qwen),
    ("claude", Program::Claude),
    ("claude-code-acp", Program::Claude),
    ("claude-agent-acp", Program::Claude),
    ("codex-acp", Program::Codex),
    ("gemini", Program::Gemini),
];

/// Something that may hold rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// What the program does where nothing says otherwise.
    Default(OwnRule),
    /// A variable of the agent's environment.
    Variable { name: &'static str, shape: Shape },
    /// A file, which need not be there.
    File { path: PathBuf, shape: Shape },
}

/// Which program an agent is: by what is started, else by its name.
pub(super) fn program(agent: &AgentConfig) -> Option<Program> {
    let started = agent.command.first().or(agent.oneshot.first());
    let started = started.and_then(|program| Path::new(program).file_name()?.to_str());
    let named = |name: &str| PROGRAMS.iter().find(|(known, _)| *known == name).map(|(_, program)| *program);
    started.and_then(named).or_else(|| named(&agent.name))
}

/// Everything that may hold rules of a program which works in `cwd`, the widest first: a later one
/// stands over it.
pub(super) fn of(program: Program, env: &BTreeMap<String, String>, cwd: Option<&Path>) -> Vec<Place> {
    let at = |name: &str| env.get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = at("HOME").unwrap_or_default();
    let configuration = at("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config"));
    let settings = |own: PathBuf, shared: &str, names: &[&str]| {
        let project = cwd.map(|cwd| cwd.join(shared));
        let directories = [Some(own), project].into_iter().flatten();
        directories.flat_map(|directory| files(&directory, names, Shape::Settings)).collect()
    };
    match program {
        Program::Goose => {
            let root = at("GOOSE_PATH_ROOT").map(|root| root.join("config"));
            let directory = root.unwrap_or_else(|| configuration.join("goose"));
            let mut places = vec![allows_everything()];
            places.extend(files(&directory, &["config.yaml"], Shape::GooseConfig));
            places.push(Place::Variable { name: "GOOSE_MODE", shape: Shape::GooseMode });
            places.extend(files(&directory, &["permission.yaml"], Shape::GoosePermissions));
            places
        }
        Program::Opencode => opencode(&configuration, env, cwd),
        Program::Qwen => settings(home.join(".qwen"), ".qwen", &["settings.json"]),
        Program::Claude => {
            let own = at("CLAUDE_CONFIG_DIR").unwrap_or_else(|| home.join(".claude"));
            settings(own, ".claude", &["settings.json", "settings.local.json"])
        }
        Program::Codex => {
            let own = at("CODEX_HOME").unwrap_or_else(|| home.join(".codex"));
            files(&own, &["config.toml"], Shape::Codex)
        }
        Program::Gemini => settings(home.join(".gemini"), ".gemini", &["settings.json"]),
    }
}

/// opencode reads its own directory, then every directory from the top of the repository down.
fn opencode(configuration: &Path, env: &BTreeMap<String, String>, cwd: Option<&Path>) -> Vec<Place> {
    const NAMES: [&str; 2] = ["opencode.json", "opencode.jsonc"];
    let own = configuration.join("opencode");
    let mut places = vec![allows_everything()];
    places.extend(files(&own, &["config.json", NAMES[0], NAMES[1]], Shape::Opencode));
    if let Some(file) = env.get("OPENCODE_CONFIG").filter(|file| !file.is_empty()) {
        places.push(Place::File { path: PathBuf::from(file), shape: Shape::Opencode });
    }
    let mut above: Vec<&Path> = cwd.into_iter().flat_map(Path::ancestors).collect();
    above.reverse();
    for directory in above {
        places.extend(files(directory, &NAMES, Shape::Opencode));
        places.extend(files(&directory.join(".opencode"), &NAMES, Shape::Opencode));
    }
    places.push(Place::Variable { name: "OPENCODE_CONFIG_CONTENT", shape: Shape::Opencode });
    places.push(Place::Variable { name: "OPENCODE_PERMISSION", shape: Shape::OpencodePermissions });
    places
}

/// The default of goose and opencode, as measured: see `docs/agents.md`.
fn allows_everything() -> Place {
    Place::Default(OwnRule { what: EVERYTHING.to_owned(), effect: Effect::Allow })
}

fn files(directory: &Path, names: &[&str], shape: Shape) -> Vec<Place> {
    names.iter().map(|name| Place::File { path: directory.join(name), shape }).collect()
}
