//! Puts the configuration together: defaults, then the file, then `HOB_<SECTION>__<KEY>`
//! variables, each checked by itself so that an error says where it was written, then merged key
//! by key, then checked as a whole.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::de::DeTable;
use toml::{Table, Value};

use super::agents::{AgentConfig, AgentFile};
use super::check;
use super::error::{ConfigError, ConfigFault, dotted, line_of, places};
use super::permissions::Permissions;
use super::sections::{
    Control, Dispatch, Health, Hooks, Journal, Pool, Process, Reaper, Restart, Watchdog, Worktrees,
};
use super::{Config, Loaded, Origin, warnings};
use crate::backend::known;

/// Larger than any configuration that a person writes.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// What variables that override a key begin with.
const PREFIX: &str = "HOB_";
/// The one key that stands in no section.
const DEFAULT_AGENT: &str = "HOB_DEFAULT_AGENT";
/// Sections that an agent may override.
const OVERRIDABLE: [&str; 5] = ["health", "restart", "watchdog", "process", "permissions"];

/// Everything that may be written, with its defaults.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Schema {
    default_agent: Option<String>,
    control: Control,
    pool: Pool,
    dispatch: Dispatch,
    health: Health,
    restart: Restart,
    watchdog: Watchdog,
    process: Process,
    permissions: Permissions,
    journal: Journal,
    worktrees: Worktrees,
    reaper: Reaper,
    hooks: Hooks,
    #[serde(skip_serializing)]
    agents: BTreeMap<String, AgentFile>,
}

/// What one place says, and where it says it.
#[derive(Default)]
struct Layer {
    values: Table,
    origins: BTreeMap<String, Origin>,
}

impl Layer {
    /// Lays another layer over this one.
    fn cover_with(&mut self, over: Layer) {
        merge(&mut self.values, over.values);
        self.origins.extend(over.origins);
    }
}

/// Loads the configuration; a missing file says nothing.
pub(super) fn load(path: Option<&Path>, env: &BTreeMap<String, String>) -> Result<Loaded, ConfigError> {
    let mut layer = match path {
        Some(path) => read(path)?.map_or_else(|| Ok(Layer::default()), |text| from_text(path, &text))?,
        None => Layer::default(),
    };
    for (variable, value) in env {
        if let Some(over) = from_variable(variable, value, &layer.values)? {
            layer.cover_with(over);
        }
    }
    let mut config = assemble(layer.values).map_err(|error| internal(path, &*error))?;
    if let Err(problem) = check::whole(&config) {
        return Err(problem.placed(path, &layer.origins));
    }
    config.agents.values_mut().for_each(|agent| {
        agent.health.failures_max = Some(agent.health.failures_max(agent.backend));
    });
    config.warnings = warnings::of(&config, &layer.origins);
    Ok(Loaded { config, origins: layer.origins })
}

/// The text of the file, or `None` if there is none.
fn read(path: &Path) -> Result<Option<String>, ConfigError> {
    use std::io::Read as _;
    crate::trust::trusted_path(path).map_err(|error| ConfigError::untrusted(path, &error))?;
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ConfigError::unreadable(path, error)),
    };
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(|error| ConfigError::unreadable(path, error))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(ConfigError::unreadable(path, "it is larger than 1 MiB"));
    }
    Ok(Some(text))
}

fn from_text(path: &Path, text: &str) -> Result<Layer, ConfigError> {
    let tree = DeTable::parse(text).map_err(|error| ConfigError::in_file(path, text, None, &error))?;
    let tree = tree.get_ref();
    let refused = |error| ConfigError::in_file(path, text, Some(tree), &error);
    toml::from_str::<Schema>(text).map_err(refused)?;
    let values = toml::from_str(text).map_err(refused)?;
    let origin = |at| Origin::File { path: path.to_owned(), line: line_of(text, at) };
    let origins = places(tree).into_iter().map(|(key, at)| (dotted(&key), origin(at))).collect();
    Ok(Layer { values, origins })
}

/// What a variable says, or `None` if it is none of ours. A text is tried as it is before it is
/// tried as a TOML value, so that a model may be called `4` and a command be a list.
fn from_variable(variable: &str, value: &str, below: &Table) -> Result<Option<Layer>, ConfigError> {
    let Some(key) = key_of(variable, below) else {
        return Ok(None);
    };
    let text_refused = match accept(&key, Value::String(value.to_owned())) {
        Ok(values) => return Ok(Some(layer_of(variable, &key, values))),
        Err(error) => error,
    };
    let literal: Option<Value> = value.parse().ok();
    let Some(literal) = literal else {
        return Err(ConfigError::in_variable(variable, value, &text_refused));
    };
    match accept(&key, literal) {
        Ok(values) => Ok(Some(layer_of(variable, &key, values))),
        Err(error) => Err(ConfigError::in_variable(variable, value, &error)),
    }
}

fn layer_of(variable: &str, key: &[String], values: Table) -> Layer {
    let origins = (1..=key.len()).map(|n| (dotted(&key[..n]), Origin::Variable(variable.to_owned())));
    Layer { values, origins: origins.collect() }
}

/// The one value as a table that holds nothing else, if the schema takes it.
fn accept(key: &[String], value: Value) -> Result<Table, toml::de::Error> {
    let nested =
        key.iter().rev().fold(value, |inner, word| Value::Table(Table::from_iter([(word.clone(), inner)])));
    Schema::deserialize(nested.clone())?;
    match nested {
        Value::Table(table) => Ok(table),
        _ => Ok(Table::new()),
    }
}

/// The key that a variable stands for. Words are separated by two underscores; what an agent is
/// called is matched without regard to case, with `_` for what a variable cannot hold.
fn key_of(variable: &str, below: &Table) -> Option<Vec<String>> {
    if variable == DEFAULT_AGENT {
        return Some(vec!["default_agent".to_owned()]);
    }
    let rest = variable.strip_prefix(PREFIX)?;
    rest.contains("__").then_some(())?;
    let words: Vec<&str> = rest.split("__").collect();
    let mut key: Vec<String> = words.iter().map(|word| word.to_ascii_lowercase()).collect();
    if key[0] == "agents" {
        key[1] = agent_called(&key[1], below);
        if key.len() > 3 && key[2] == "env" {
            key.truncate(3);
            key.push(words[3..].join("__"));
        }
    }
    Some(key)
}

fn agent_called(word: &str, below: &Table) -> String {
    let folded = |name: &str| name.to_ascii_lowercase().replace(['-', '.'], "_");
    let configured = below.get("agents").and_then(Value::as_table).into_iter().flat_map(Table::keys);
    let known = known::KNOWN.iter().map(|agent| agent.name);
    let mut names = configured.map(String::as_str).chain(known);
    names.find(|name| folded(name) == word).unwrap_or(word).to_owned()
}

/// Lays `over` over `base`: tables are merged, everything else is replaced.
fn merge(base: &mut Table, over: Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(base)), Value::Table(over)) => merge(base, over),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

/// What agents are known, as if it were written.
fn known_agents() -> Table {
    let words = |list: &[&str]| Value::Array(list.iter().map(|word| Value::from(*word)).collect());
    let entry = |agent: &known::KnownAgent| {
        let backend = Value::from(agent.backend().as_str());
        let command = agent.ways.first().map_or(&[][..], |way| way.command);
        Value::Table(Table::from_iter([
            ("backend".to_owned(), backend),
            ("command".to_owned(), words(command)),
        ]))
    };
    known::KNOWN.iter().map(|agent| (agent.name.to_owned(), entry(agent))).collect()
}

/// The whole configuration from what was written.
fn assemble(written: Table) -> Result<Config, Box<dyn std::error::Error>> {
    let configured = written.get("agents").and_then(Value::as_table).cloned().unwrap_or_default();
    let mut values = Table::try_from(Schema::default())?;
    merge(&mut values, written);

    let names = known::KNOWN.iter().map(|agent| agent.name.to_owned()).chain(configured.keys().cloned());
    let mut agents = BTreeMap::new();
    for name in names {
        let own = configured.get(&name).and_then(Value::as_table);
        let file = AgentFile::deserialize(Value::Table(with_sections(own, &values)))?;
        agents.insert(name.clone(), AgentConfig::assemble(&name, file, own.is_some()));
    }
    let schema = Schema::deserialize(Value::Table(values.clone()))?;
    let shown = Table::from_iter([("agents".to_owned(), Value::Table(shown_agents(&configured)))]);
    merge(&mut values, shown);
    Ok(Config {
        default_agent: schema.default_agent,
        control: schema.control,
        pool: schema.pool,
        dispatch: schema.dispatch,
        health: schema.health,
        restart: schema.restart,
        watchdog: schema.watchdog,
        process: schema.process,
        permissions: schema.permissions,
        journal: schema.journal,
        worktrees: schema.worktrees,
        reaper: schema.reaper,
        hooks: schema.hooks,
        agents,
        warnings: Vec::new(),
        values,
    })
}

/// Known agents with what was written about them, and the configured ones.
fn shown_agents(configured: &Table) -> Table {
    let mut agents = known_agents();
    merge(&mut agents, configured.clone());
    agents
}

/// What was written about an agent, with the general sections below its overrides.
fn with_sections(own: Option<&Table>, values: &Table) -> Table {
    let mut whole = Table::new();
    for section in OVERRIDABLE {
        if let Some(general) = values.get(section) {
            whole.insert(section.to_owned(), general.clone());
        }
    }
    merge(&mut whole, own.cloned().unwrap_or_default());
    whole
}

/// What was accepted piece by piece was refused as a whole: a mistake of ours, not the person's.
fn internal(path: Option<&Path>, error: &dyn std::error::Error) -> ConfigError {
    let path = path.map(PathBuf::from).unwrap_or_default();
    ConfigError {
        fault: ConfigFault::Bad,
        path,
        line: None,
        key: None,
        message: format!("cannot be put together: {error}"),
        hint: None,
    }
}
