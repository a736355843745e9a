//! The outputs that are known: which one it is, and what its lines mean. Pure, but for what a
//! format remembers from line to line.
//!
//! A format is known by its lines and not by the program's name: wrappers are called anything.
//! **Invariant:** a line that is not understood is kept raw, whole.

mod claude;
mod goose;
mod opencode;
#[cfg(test)]
mod tests;
mod tool;

use serde::Deserialize;
use serde_json::value::RawValue;

use hob_actors::event::{Event, Json, Usage};
use hob_actors::ports::News;

/// What the output says of how the run went.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Told {
    /// It failed, and how.
    pub(super) error: Option<String>,
    /// Why the agent stopped, in the protocol's words where it has one.
    pub(super) stop: Option<String>,
    /// What the whole run cost: what it says at its end, or what its steps add up to.
    pub(super) usage: Option<Usage>,
    /// The line with which an output of this format ends was missing so far.
    pub(super) is_cut: bool,
}

/// An output that is known.
#[derive(Debug)]
pub(super) enum Format {
    /// `opencode run --format json`
    Opencode(opencode::Reader),
    /// `goose run --output-format stream-json`
    Goose(goose::Reader),
    /// `qwen -o stream-json`, `claude -p --output-format stream-json`
    Claude(claude::Reader),
}

/// What tells the formats apart.
#[derive(Deserialize)]
struct Marks<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(rename = "sessionID")]
    session_camel: Option<String>,
    session_id: Option<String>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    total_tokens: Option<&'a RawValue>,
}

/// The format that a line belongs to, if it is known.
pub(super) fn detect(line: &str) -> Option<Format> {
    let marks: Marks<'_> = serde_json::from_str(line).ok()?;
    match marks.kind.as_str() {
        _ if marks.session_camel.is_some() => Some(Format::Opencode(opencode::Reader::default())),
        "system" | "assistant" | "user" | "result" | "stream_event" if marks.session_id.is_some() => {
            Some(Format::Claude(claude::Reader::default()))
        }
        "message" if marks.message.is_some() => Some(Format::Goose(goose::Reader::default())),
        "complete" if marks.total_tokens.is_some() || line.contains("\"total_tokens\"") => {
            Some(Format::Goose(goose::Reader::default()))
        }
        _ => None,
    }
}

impl Format {
    /// What a line says.
    pub(super) fn read(&mut self, line: &str) -> Vec<News> {
        let read = match self {
            Self::Opencode(reader) => reader.read(line),
            Self::Goose(reader) => reader.read(line),
            Self::Claude(reader) => reader.read(line),
        };
        read.unwrap_or_else(|| vec![other(line)])
    }

    /// What it said of the whole run.
    pub(super) fn told(&self) -> Told {
        match self {
            Self::Opencode(reader) => reader.told.clone(),
            Self::Goose(reader) => Told { is_cut: !reader.is_complete, ..reader.told.clone() },
            Self::Claude(reader) => Told { is_cut: !reader.is_complete, ..reader.told.clone() },
        }
    }
}

/// A line of an output whose format is not known: news of an agent if it looks like it, else text.
pub(super) fn unknown(line: &str) -> News {
    match serde_json::from_str::<Marks<'_>>(line) {
        Ok(_) => other(line.trim()),
        Err(_) => text(line.to_owned(), None),
    }
}

/// A line that is not understood, as it came; text, if it is no JSON.
pub(super) fn other(line: &str) -> News {
    match serde_json::from_str::<&RawValue>(line) {
        // Escapes stand for control characters inside of values; between them are only blanks.
        Ok(raw) => News::Said(Event::Raw { update: json(raw) }),
        Err(_) => text(format!("{line}\n"), None),
    }
}

fn json(raw: &RawValue) -> Json {
    Json::from_valid(raw.get())
}

fn text(text: String, message: Option<String>) -> News {
    News::Said(Event::Text { text, message })
}

fn reasoning(text: String, message: Option<String>) -> News {
    News::Said(Event::Reasoning { text, message })
}
