//! The lines of `goose run --output-format stream-json`: pieces of messages, and a line at the end.

use serde::Deserialize;
use serde_json::value::RawValue;

use hob_actors::event::Usage;
use hob_actors::ports::News;

use super::tool::{self, Call};
use super::{Told, other, reasoning, text};
use crate::backend::acp::told_in_words;

/// How goose says that it was stopped by its own limit; it has no other word for it.
const LIMIT_WORDS: &str = "I've reached the maximum number of actions";

/// Reads the lines.
#[derive(Debug, Default)]
pub(in super::super) struct Reader {
    pub(super) told: Told,
    pub(super) is_complete: bool,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    error: Option<String>,
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct Message<'a> {
    id: Option<String>,
    role: String,
    #[serde(borrow)]
    content: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item<'a> {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
    thinking: Option<String>,
    id: Option<String>,
    #[serde(borrow)]
    tool_call: Option<Tool<'a>>,
    #[serde(borrow)]
    tool_result: Option<Outcome<'a>>,
}

#[derive(Deserialize)]
struct Tool<'a> {
    #[serde(borrow)]
    value: Option<Asked<'a>>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Asked<'a> {
    name: String,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Outcome<'a> {
    status: String,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    error: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Returned<'a> {
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(default)]
    is_error: bool,
}

impl Reader {
    /// What a line says; `None` if it is not understood.
    pub(super) fn read(&mut self, line: &str) -> Option<Vec<News>> {
        let line: Line<'_> = serde_json::from_str(line).ok()?;
        match line.kind.as_str() {
            "message" => self.message(line.message?),
            "complete" => {
                self.is_complete = true;
                let (input, output) = (line.input_tokens, line.output_tokens);
                let usage = Usage { input, output, ..Usage::default() };
                self.told.usage = (!usage.is_empty()).then_some(usage);
                Some(Vec::new())
            }
            "error" => {
                self.told.error = Some(line.error?);
                Some(Vec::new())
            }
            _ => None,
        }
    }

    fn message(&mut self, raw: &RawValue) -> Option<Vec<News>> {
        let Message { id, role, content } = serde_json::from_str(raw.get()).ok()?;
        let is_agent = role == "assistant";
        Some(content.into_iter().map(|raw| self.item(raw, &id, is_agent)).collect())
    }

    fn item(&mut self, raw: &RawValue, message: &Option<String>, is_agent: bool) -> News {
        let Ok(item) = serde_json::from_str::<Item<'_>>(raw.get()) else { return other(raw.get()) };
        match (item.kind.as_str(), item.text, item.thinking, item.id) {
            ("text", Some(said), _, _) if is_agent => {
                self.judge(&said, message.is_some());
                text(said, message.clone())
            }
            ("thinking", _, Some(thought), _) if is_agent => reasoning(thought, message.clone()),
            ("toolRequest", _, _, Some(id)) => match item.tool_call {
                Some(Tool { value: Some(Asked { name, arguments }), .. }) => {
                    Call { id: &id, name: &name, title: None, input: arguments }.begun()
                }
                // The model asked for something that is no call.
                Some(Tool { error: Some(error), .. }) => tool::ended(&id, true, None, Some(&error)),
                _ => other(raw.get()),
            },
            ("toolResponse", _, _, Some(id)) => match item.tool_result {
                Some(outcome) => returned(&id, &outcome),
                None => other(raw.get()),
            },
            _ => other(raw.get()),
        }
    }

    /// What goose says in its own name, in a message without an id, may be how it ended.
    fn judge(&mut self, said: &str, is_of_model: bool) {
        self.told.error = told_in_words("end_turn", said).filter(|_| !is_of_model);
        let is_limit = !is_of_model && said.starts_with(LIMIT_WORDS);
        self.told.stop = is_limit.then(|| "max_turn_requests".to_owned());
    }
}

fn returned(id: &str, outcome: &Outcome<'_>) -> News {
    let value = outcome.value.and_then(|raw| serde_json::from_str::<Returned<'_>>(raw.get()).ok());
    let is_error = outcome.status != "success" || value.as_ref().is_some_and(|value| value.is_error);
    let shown = value.and_then(|value| tool::text_of(value.content?)).or_else(|| outcome.error.clone());
    tool::ended(id, is_error, outcome.value, shown.as_deref())
}
