//! Reads the rules out of the text of a file or a variable. Pure.
//!
//! What is read is what goose 1.34, opencode 1.18, qwen-code 0.15, and the documentation of the
//! others say of their files. What has another shape holds no rule that could be told.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::control::wire::Effect;

/// What a rule is about when it is about all that an agent does.
pub(super) const EVERYTHING: &str = "everything";
/// What a rule is about when it is about changes of files.
const EDITS: &str = "edits of files";

/// How a text is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// One of goose's modes.
    GooseMode,
    /// goose's `config.yaml`.
    GooseConfig,
    /// goose's `permission.yaml`.
    GoosePermissions,
    /// `opencode.json`, with comments.
    Opencode,
    /// The value of its `permission` alone.
    OpencodePermissions,
    /// `settings.json` of qwen, claude and gemini, with comments.
    Settings,
    /// codex's `config.toml`.
    Codex,
}

/// One rule of an agent's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OwnRule {
    /// What it is about, in the agent's words.
    pub what: String,
    /// What it does.
    pub effect: Effect,
}

fn rule(what: impl Into<String>, effect: Effect) -> OwnRule {
    OwnRule { what: what.into(), effect }
}

/// The rules of a text.
///
/// # Errors
/// Why the text cannot be read.
pub(super) fn rules(shape: Shape, text: &str) -> Result<Vec<OwnRule>, String> {
    match shape {
        Shape::GooseMode => Ok(goose_mode(text.trim())),
        Shape::GooseConfig => {
            let config: GooseConfig = yaml(text)?;
            Ok(config.mode.map(|mode| goose_mode(&mode)).unwrap_or_default())
        }
        Shape::GoosePermissions => {
            let levels: BTreeMap<String, GoosePermissions> = yaml(text)?;
            Ok(levels.into_values().flat_map(GoosePermissions::rules).collect())
        }
        Shape::Opencode => Ok(opencode(&json(text)?)),
        Shape::OpencodePermissions => Ok(opencode_permissions("", &json(text)?)),
        Shape::Settings => Ok(settings(&json(text)?)),
        Shape::Codex => {
            let config: Codex = toml::from_str(text).map_err(|error| error.message().to_owned())?;
            Ok(config.approval_policy.map(|policy| codex(&policy)).into_iter().collect())
        }
    }
}

fn json(text: &str) -> Result<Value, String> {
    json5::from_str(text).map_err(|error| error.to_string())
}

fn yaml<T: serde::de::DeserializeOwned + Default>(text: &str) -> Result<T, String> {
    if text.trim().is_empty() {
        return Ok(T::default());
    }
    serde_saphyr::from_str(text).map_err(|error| error.to_string())
}

#[derive(Debug, Default, Deserialize)]
struct GooseConfig {
    #[serde(rename = "GOOSE_MODE")]
    mode: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct GoosePermissions {
    always_allow: Vec<String>,
    ask_before: Vec<String>,
    never_allow: Vec<String>,
}

impl GoosePermissions {
    fn rules(self) -> impl Iterator<Item = OwnRule> {
        let all = [
            (self.always_allow, Effect::Allow),
            (self.ask_before, Effect::Ask),
            (self.never_allow, Effect::Reject),
        ];
        all.into_iter().flat_map(|(tools, effect)| tools.into_iter().map(move |tool| rule(tool, effect)))
    }
}

fn goose_mode(mode: &str) -> Vec<OwnRule> {
    let effect = match mode {
        "auto" => Effect::Allow,
        "approve" => Effect::Ask,
        "smart_approve" => return vec![rule("what goose takes for harmless", Effect::Allow)],
        "chat" => Effect::Reject,
        _ => return Vec::new(),
    };
    vec![rule(EVERYTHING, effect)]
}

/// `permission`, of all its agents and of each.
fn opencode(config: &Value) -> Vec<OwnRule> {
    let mut rules = opencode_permissions("", &config["permission"]);
    for (name, agent) in config["agent"].as_object().into_iter().flatten() {
        rules.extend(opencode_permissions(&format!(" (agent {name})"), &agent["permission"]));
    }
    rules
}

/// A word for all, or for each tool a word or its patterns with a word each.
fn opencode_permissions(whose: &str, permission: &Value) -> Vec<OwnRule> {
    if let Some(effect) = word(permission) {
        return vec![rule(format!("{EVERYTHING}{whose}"), effect)];
    }
    let mut rules = Vec::new();
    for (tool, value) in permission.as_object().into_iter().flatten() {
        let tool_name = if tool == "*" { EVERYTHING } else { tool };
        rules.extend(word(value).map(|effect| rule(format!("{tool_name}{whose}"), effect)));
        for (pattern, value) in value.as_object().into_iter().flatten() {
            rules.extend(word(value).map(|effect| rule(format!("{tool_name} {pattern}{whose}"), effect)));
        }
    }
    rules
}

fn word(value: &Value) -> Option<Effect> {
    match value.as_str()? {
        "allow" => Some(Effect::Allow),
        "ask" => Some(Effect::Ask),
        "deny" => Some(Effect::Reject),
        _ => None,
    }
}

/// The lists and the mode of qwen, claude and gemini, each under its own name.
fn settings(settings: &Value) -> Vec<OwnRule> {
    let lists = [
        (&settings["permissions"]["allow"], Effect::Allow),
        (&settings["permissions"]["ask"], Effect::Ask),
        (&settings["permissions"]["deny"], Effect::Reject),
        (&settings["tools"]["allowed"], Effect::Allow),
        (&settings["tools"]["exclude"], Effect::Reject),
    ];
    let mut rules = Vec::new();
    for (list, effect) in lists {
        let tools = list.as_array().into_iter().flatten().filter_map(Value::as_str);
        rules.extend(tools.map(|tool| rule(tool, effect)));
    }
    let modes = [
        &settings["tools"]["approvalMode"],
        &settings["permissions"]["defaultMode"],
        &settings["general"]["defaultApprovalMode"],
    ];
    rules.extend(modes.into_iter().filter_map(Value::as_str).filter_map(mode));
    rules
}

fn mode(mode: &str) -> Option<OwnRule> {
    match mode {
        "yolo" | "bypassPermissions" => Some(rule(EVERYTHING, Effect::Allow)),
        "auto-edit" | "auto_edit" | "acceptEdits" => Some(rule(EDITS, Effect::Allow)),
        "plan" => Some(rule(EDITS, Effect::Reject)),
        "dontAsk" => Some(rule("what no rule allows", Effect::Reject)),
        _ => None,
    }
}

#[derive(Debug, Deserialize)]
struct Codex {
    approval_policy: Option<Policy>,
}

/// A word; newer versions also take a table of what may be asked.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Policy {
    Word(String),
    Other(serde::de::IgnoredAny),
}

fn codex(policy: &Policy) -> OwnRule {
    match policy {
        Policy::Word(word) if word == "never" => rule("what its sandbox lets through", Effect::Allow),
        Policy::Word(_) | Policy::Other(_) => rule("what its sandbox keeps back", Effect::Ask),
    }
}
