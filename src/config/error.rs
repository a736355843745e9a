//! What is wrong with the configuration: where, which key, why, and what to write instead.
//!
//! Turns the parser's errors, which know a place in the text, into ours, which name the key.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::trust::PlaceError;

/// A guess further away than this would not help.
const GUESS_DISTANCE_MAX: usize = 3;
/// How much of a bad value is repeated.
const EXCERPT_CHARS: usize = 60;

/// What is the matter with a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigFault {
    /// It says something that cannot be, or cannot be read: exit code 78.
    Bad,
    /// Somebody else can write to it: exit code 4.
    Untrusted,
}

/// The configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Which of the two.
    pub fault: ConfigFault,
    /// The file; empty where an environment variable is at fault.
    pub path: PathBuf,
    /// The line in it, counted from 1.
    pub line: Option<usize>,
    /// The key with its sections, or the variable.
    pub key: Option<String>,
    /// What is wrong, as a lower-case fragment.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variable = self.path.as_os_str().is_empty();
        if !variable {
            write!(f, "{}:", self.path.display())?;
            if let Some(line) = self.line {
                write!(f, "{line}:")?;
            }
            f.write_str(" ")?;
        }
        if let Some(key) = &self.key {
            let what = if variable { "environment variable" } else { "key" };
            write!(f, "{what} `{key}`: ")?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl ConfigError {
    /// The file could not be read.
    pub(crate) fn unreadable(path: &Path, why: impl fmt::Display) -> Self {
        Self {
            fault: ConfigFault::Bad,
            path: path.into(),
            line: None,
            key: None,
            message: format!("cannot be read: {why}"),
            hint: None,
        }
    }

    /// The file is not ours alone.
    pub(super) fn untrusted(path: &Path, error: &PlaceError) -> Self {
        let hint = error.hint().map(str::to_owned);
        Self { fault: ConfigFault::Untrusted, hint, ..Self::unreadable(path, error) }
    }

    /// The text of a file was refused.
    pub(super) fn in_file(
        path: &Path,
        text: &str,
        tree: Option<&DeTable<'_>>,
        error: &toml::de::Error,
    ) -> Self {
        let span = error.span().unwrap_or(0..0);
        let key = tree.and_then(|tree| key_at(tree, &span)).map(|path| dotted(&path));
        let excerpt = text.get(span.clone()).unwrap_or_default();
        let (message, hint) = match tree {
            Some(_) => explain(error.message(), excerpt),
            // Not even TOML: the parser's words are about the text, not about a value.
            None if excerpt.trim().is_empty() || excerpt.contains('\n') => (error.message().to_owned(), None),
            None => (format!("{} at {}", error.message(), quoted(excerpt)), None),
        };
        let line = Some(line_of(text, span.start));
        Self { fault: ConfigFault::Bad, path: path.into(), line, key, message, hint }
    }

    /// The value of an environment variable was refused.
    pub(super) fn in_variable(variable: &str, value: &str, error: &toml::de::Error) -> Self {
        let (message, hint) = explain(error.message(), value);
        Self::of_variable(variable, message, hint)
    }

    /// An environment variable is refused in our own words.
    pub(super) fn of_variable(variable: &str, message: impl Into<String>, hint: Option<String>) -> Self {
        Self {
            fault: ConfigFault::Bad,
            path: PathBuf::new(),
            line: None,
            key: Some(variable.into()),
            message: message.into(),
            hint,
        }
    }
}

/// The line of a place in the text, counted from 1.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// Writes a path of keys as TOML would.
pub(super) fn dotted(path: &[String]) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let words = path.iter().map(|word| match word.chars().all(bare) && !word.is_empty() {
        true => word.clone(),
        false => format!("{word:?}"),
    });
    words.collect::<Vec<_>>().join(".")
}

/// The deepest key whose name or value covers the place.
fn key_at(table: &DeTable<'_>, span: &Range<usize>) -> Option<Vec<String>> {
    let covers =
        |outer: Range<usize>| outer.start <= span.start && span.start < outer.end.max(outer.start + 1);
    for (key, value) in table {
        let below = match value.get_ref() {
            DeValue::Table(inner) => key_at(inner, span),
            _ => None,
        };
        if below.is_some() || covers(key.span()) || covers(value.span()) {
            return Some(
                std::iter::once(key.get_ref().to_string()).chain(below.unwrap_or_default()).collect(),
            );
        }
    }
    None
}

/// Every value of a table with its path and its place.
pub(super) fn places(table: &DeTable<'_>) -> Vec<(Vec<String>, usize)> {
    fn walk(table: &DeTable<'_>, above: &mut Vec<String>, found: &mut Vec<(Vec<String>, usize)>) {
        for (key, value) in table {
            above.push(key.get_ref().to_string());
            found.push((above.clone(), Spanned::span(key).start));
            if let DeValue::Table(inner) = value.get_ref() {
                walk(inner, above, found);
            }
            above.pop();
        }
    }
    let mut found = Vec::new();
    walk(table, &mut Vec::new(), &mut found);
    found
}

/// Puts the parser's message into our words: what is wrong, and what to write instead.
fn explain(message: &str, excerpt: &str) -> (String, Option<String>) {
    let message = message.lines().collect::<Vec<_>>().join(", ");
    let words: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    if message.starts_with("unknown field") {
        return ("unknown key".to_owned(), suggest(&words));
    }
    if message.starts_with("unknown variant") {
        return (format!("{} is not a value of this key", quoted(excerpt)), suggest(&words));
    }
    let message =
        message.replace("expected struct ", "expected a table, as in ").replace("a sequence", "a list");
    if excerpt.is_empty() || message.contains("invalid type") || excerpt.contains('\n') {
        return (message, None);
    }
    (format!("{} is not allowed: {message}", quoted(excerpt)), None)
}

/// From the unknown word and the known ones: the nearest, else all of them.
fn suggest(words: &[&str]) -> Option<String> {
    let (unknown, known) = words.split_first()?;
    let nearest = known.iter().min_by_key(|word| strsim::damerau_levenshtein(word, unknown))?;
    if strsim::damerau_levenshtein(nearest, unknown) <= GUESS_DISTANCE_MAX.min(unknown.len() / 2) {
        return Some(format!("did you mean `{nearest}`?"));
    }
    Some(format!("known are {}", known.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")))
}

/// The nearest of some names to a name that is not among them.
pub(super) fn nearest<'a>(unknown: &'a str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let words: Vec<&str> = std::iter::once(unknown).chain(known).collect();
    suggest(&words)
}

/// A short form of a value, in quotes where it has none.
fn quoted(excerpt: &str) -> String {
    let short: String = excerpt.chars().take(EXCERPT_CHARS).collect();
    if short.starts_with('"') { short } else { format!("\"{short}\"") }
}
