//! The ways to log in to an agent: which of them hob may take by itself, and how a person is told
//! of all of them. Pure.
//!
//! **Invariant:** unasked, nothing is done that somebody has to sit in front of, or that writes into
//! the person's own files. What a method is says its type, and never its id: of the known agents
//! `chatgpt` opens a browser and a port, and `openai` and `gemini-api-key` change the settings.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::errors;
use super::wire::lenient;
use crate::backend::surroundings;
use crate::jsonrpc::RpcError;
use crate::jsonrpc::message::excerpt;

/// Ways that are told of.
const TOLD_MAX: usize = 8;

/// A way to log in, as the agent tells it.
#[derive(Debug, Clone, Deserialize)]
struct Method {
    id: String,
    #[serde(rename = "type", default, deserialize_with = "lenient")]
    kind: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    name: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    description: Option<String>,
    /// Of a terminal: what is appended to the agent's own command line.
    #[serde(default, deserialize_with = "lenient")]
    args: Option<Vec<String>>,
    /// The same: what is to be set for it.
    #[serde(default, deserialize_with = "lenient")]
    env: Option<BTreeMap<String, String>>,
    /// Of variables: which.
    #[serde(default, deserialize_with = "lenient")]
    vars: Option<Vec<Variable>>,
    /// The same, as it was spelled at first.
    #[serde(rename = "varName", default, deserialize_with = "lenient")]
    var_name: Option<String>,
    #[serde(rename = "_meta", default, deserialize_with = "lenient")]
    meta: Option<Meta>,
}

#[derive(Debug, Clone, Deserialize)]
struct Variable {
    name: String,
    #[serde(default)]
    optional: bool,
}

/// Where agents put what the protocol had no member for.
#[derive(Debug, Clone, Deserialize)]
struct Meta {
    #[serde(rename = "terminal-auth", default, deserialize_with = "lenient")]
    terminal: Option<Terminal>,
}

#[derive(Debug, Clone, Deserialize)]
struct Terminal {
    command: String,
    #[serde(default)]
    args: Vec<String>,
}

/// What is known of logging in to one agent.
#[derive(Debug, Clone, Default)]
pub(super) struct Ways {
    methods: Vec<Method>,
    /// The agent's own command line.
    command: Vec<String>,
    /// The names of the variables that it has, and that say something.
    set: Vec<String>,
    /// What makes hob try again.
    again: String,
}

impl Ways {
    /// For an agent of that command line and environment, which `again` starts anew.
    pub(super) fn new(command: Vec<String>, env: &BTreeMap<String, String>, again: String) -> Self {
        let set = env.iter().filter(|(_, value)| !value.is_empty()).map(|(name, _)| name.clone());
        Self { methods: Vec::new(), command, set: set.collect(), again }
    }

    /// Takes the ways from the answer to `initialize`.
    pub(super) fn learn(&mut self, answer: &RawValue) {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Methods {
            #[serde(default)]
            auth_methods: Vec<Box<RawValue>>,
        }
        let listed = serde_json::from_str::<Methods>(answer.get()).map(|methods| methods.auth_methods);
        let listed = listed.unwrap_or_default();
        self.methods = listed.iter().filter_map(|raw| serde_json::from_str(raw.get()).ok()).collect();
    }

    /// The id of a way that needs nobody: its type is a variable, and that is set.
    pub(super) fn unasked(&self) -> Option<&str> {
        let is_set = |name: &str| self.set.iter().any(|set| set == name);
        let needs_nobody = |method: &&Method| {
            let needed = method.needed();
            method.kind.as_deref() == Some("env_var")
                && !needed.is_empty()
                && needed.iter().all(|name| is_set(name))
        };
        self.methods.iter().find(needs_nobody).map(|method| method.id.as_str())
    }

    /// "Log in first", with the ways to.
    pub(super) fn tell(&self, error: &RpcError) -> String {
        let mut told: Vec<String> =
            self.methods.iter().take(TOLD_MAX).map(|method| method.tell(&self.command)).collect();
        if self.methods.len() > TOLD_MAX {
            told.push(format!("{} more", self.methods.len() - TOLD_MAX));
        }
        let ways = match (told.is_empty(), self.command.first()) {
            (false, _) => format!("; ways to log in: {}", told.join("; ")),
            (true, Some(program)) => format!("; it names no way to log in, so try `{program}` in a terminal"),
            (true, None) => String::new(),
        };
        let has_variables = self.methods.iter().any(|method| !method.needed().is_empty());
        let whose = if has_variables { format!("; {}", surroundings::told()) } else { String::new() };
        let again = if self.again.is_empty() { String::new() } else { format!("; then `{}`", self.again) };
        format!("it wants to be logged in first: {}{ways}{whose}{again}", errors::describe(error))
    }
}

impl Method {
    /// The variables without which it does nothing.
    fn needed(&self) -> Vec<&str> {
        let vars = self.vars.iter().flatten().filter(|variable| !variable.optional);
        vars.map(|variable| variable.name.as_str()).chain(self.var_name.as_deref()).collect()
    }

    /// What a person does for it, if that is known.
    fn act(&self, command: &[String]) -> Option<String> {
        if let Some(Terminal { command, args }) = self.meta.as_ref().and_then(|meta| meta.terminal.as_ref()) {
            let line: Vec<String> = [command].into_iter().chain(args).map(|word| quoted(word)).collect();
            return Some(format!("run `{}`", line.join(" ")));
        }
        match self.kind.as_deref() {
            Some("env_var") => {
                let names: Vec<String> = self.needed().iter().map(|name| format!("`{name}`")).collect();
                (!names.is_empty()).then(|| format!("set {}", names.join(" and ")))
            }
            Some("terminal") => {
                let env = self.env.iter().flatten().map(|(name, value)| format!("{name}={}", quoted(value)));
                let words = command.iter().chain(self.args.iter().flatten()).map(|word| quoted(word));
                Some(format!("run `{}`", env.chain(words).collect::<Vec<_>>().join(" ")))
            }
            _ => None,
        }
    }

    /// Its id, and in brackets what it is called, what it is and what to do.
    fn tell(&self, command: &[String]) -> String {
        let name = self.name.as_deref().filter(|name| *name != self.id).map(excerpt);
        let about = [name, self.description.as_deref().map(excerpt), self.act(command)];
        let about: Vec<String> = about.into_iter().flatten().filter(|text| !text.is_empty()).collect();
        let id = excerpt(&self.id);
        if about.is_empty() { format!("`{id}`") } else { format!("`{id}` ({})", about.join(", ")) }
    }
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
#[path = "login/tests.rs"]
mod tests;
