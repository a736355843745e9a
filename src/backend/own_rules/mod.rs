//! The rules about permissions that an agent's own files and variables hold.
//!
//! An agent asks nobody about what such a rule allows, so no rule of hob's ever hears of it. They
//! cannot be switched off from outside; they can be told.

mod places;
mod reading;

use std::collections::BTreeMap;
use std::path::Path;

use crate::config::AgentConfig;
use crate::control::wire::{OwnRuleRow, OwnRules, UnreadRow};
use places::Place;

/// The longest file that is read, in bytes. Settings are a few kilobytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The source of what holds where nothing was written.
const DEFAULT: &str = "its default";

/// What the own files of `agent` say when it works in `cwd` with that environment. Reads files.
pub(super) fn of(agent: &AgentConfig, env: &BTreeMap<String, String>, cwd: Option<&Path>) -> OwnRules {
    let Some(program) = places::program(agent) else { return OwnRules::default() };
    let mut found = OwnRules { known: true, ..OwnRules::default() };
    for place in places::of(program, env, cwd) {
        let (source, read) = match &place {
            Place::Default(rule) => (DEFAULT.to_owned(), Some(Ok(vec![rule.clone()]))),
            Place::Variable { name, shape } => {
                (format!("${name}"), env.get(*name).map(|value| reading::rules(*shape, value)))
            }
            Place::File { path, shape } => {
                (path.display().to_string(), text_of(path).map(|text| reading::rules(*shape, &text?)))
            }
        };
        match read {
            None => {}
            Some(Ok(rules)) => found.rules.extend(rules.into_iter().map(|rule| OwnRuleRow {
                source: source.clone(),
                what: rule.what,
                effect: rule.effect,
            })),
            Some(Err(why)) => found.unread.push(UnreadRow { source, why }),
        }
    }
    found
}

/// The text of a file; `None` if there is none.
fn text_of(path: &Path) -> Option<Result<String, String>> {
    match crate::regular::read_up_to(path, FILE_BYTES_MAX) {
        Ok(bytes) => Some(String::from_utf8(bytes).map_err(|error| error.to_string())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => Some(Err(error.to_string())),
    }
}

#[cfg(test)]
mod tests;
