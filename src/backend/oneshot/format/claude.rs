//! The lines of Claude Code and of what copies it (qwen): messages, pieces of messages where they
//! are asked for, and a result at the end.

use serde::Deserialize;
use serde_json::value::RawValue;

use hob_actors::event::Usage;
use hob_actors::ports::News;

use super::tool::{self, Call};
use super::{Told, other, reasoning, text};

/// How qwen begins a result that is none: it says success all the same.
const FAILED_PREFIX: &str = "[API Error";
/// A result that says that the run was stopped by its own limit.
const LIMIT: &str = "error_max_turns";

/// Reads the lines.
#[derive(Debug, Default)]
pub(in super::super) struct Reader {
    pub(super) told: Told,
    pub(super) is_complete: bool,
    /// The message whose pieces come.
    message: Option<String>,
    /// What the next whole message repeats: text and reasoning that came in pieces.
    in_pieces: (bool, bool),
    has_text: bool,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: String,
    subtype: Option<String>,
    /// A line of an agent below this one.
    parent_tool_use_id: Option<String>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    is_error: Option<bool>,
    result: Option<String>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    usage: Option<Tokens>,
    total_cost_usd: Option<f64>,
}

#[derive(Deserialize)]
struct Tokens {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct Message<'a> {
    id: Option<String>,
    #[serde(borrow)]
    content: &'a RawValue,
}

#[derive(Deserialize)]
struct Block<'a> {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
    thinking: Option<String>,
    id: Option<String>,
    name: Option<String>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    tool_use_id: Option<String>,
    is_error: Option<bool>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Piece {
    #[serde(rename = "type")]
    kind: String,
    message: Option<Begun>,
    delta: Option<Delta>,
}

#[derive(Deserialize)]
struct Begun {
    id: Option<String>,
}

#[derive(Deserialize)]
struct Delta {
    text: Option<String>,
    thinking: Option<String>,
}

impl Reader {
    /// What a line says; `None` if it is not understood.
    pub(super) fn read(&mut self, line: &str) -> Option<Vec<News>> {
        let line: Line<'_> = serde_json::from_str(line).ok()?;
        if line.parent_tool_use_id.is_some() {
            return None;
        }
        match line.kind.as_str() {
            "system" if line.subtype.as_deref() == Some("init") => Some(Vec::new()),
            "assistant" | "user" => self.message(line.message?, line.kind == "assistant"),
            "stream_event" => self.piece(line.event?),
            "result" => Some(self.result(line)),
            _ => None,
        }
    }

    fn message(&mut self, raw: &RawValue, is_agent: bool) -> Option<Vec<News>> {
        let Message { id, content } = serde_json::from_str(raw.get()).ok()?;
        let blocks: Vec<&RawValue> = serde_json::from_str(content.get()).ok()?;
        let news = blocks.into_iter().filter_map(|raw| self.block(raw, &id, is_agent)).collect();
        if is_agent {
            self.in_pieces = (false, false);
        }
        Some(news)
    }

    /// What a block of a message says; `None` if that was heard before.
    fn block(&mut self, raw: &RawValue, message: &Option<String>, is_agent: bool) -> Option<News> {
        let Ok(block) = serde_json::from_str::<Block<'_>>(raw.get()) else { return Some(other(raw.get())) };
        let (text_came, reasoning_came) = self.in_pieces;
        Some(match block {
            Block { kind, text: Some(said), .. } if kind == "text" && is_agent => {
                if text_came {
                    return None;
                }
                self.has_text = true;
                text(said, message.clone())
            }
            Block { kind, thinking: Some(thought), .. } if kind == "thinking" && is_agent => {
                if reasoning_came {
                    return None;
                }
                reasoning(thought, message.clone())
            }
            Block { kind, id: Some(id), name: Some(name), input, .. } if kind == "tool_use" => {
                Call { id: &id, name: &name, title: None, input }.begun()
            }
            Block { kind, tool_use_id: Some(id), is_error, content, .. } if kind == "tool_result" => {
                let shown = content.and_then(tool::text_of);
                tool::ended(&id, is_error.unwrap_or_default(), content, shown.as_deref())
            }
            _ => other(raw.get()),
        })
    }

    fn piece(&mut self, raw: &RawValue) -> Option<Vec<News>> {
        let Piece { kind, message, delta } = serde_json::from_str(raw.get()).ok()?;
        match (kind.as_str(), delta) {
            ("message_start", _) => {
                self.message = message.and_then(|begun| begun.id);
                Some(Vec::new())
            }
            ("content_block_delta", Some(Delta { text: Some(said), .. })) => {
                self.in_pieces.0 = true;
                self.has_text = true;
                Some(vec![text(said, self.message.clone())])
            }
            ("content_block_delta", Some(Delta { thinking: Some(thought), .. })) => {
                self.in_pieces.1 = true;
                Some(vec![reasoning(thought, self.message.clone())])
            }
            // The arguments of a call in pieces, beginnings and ends: the whole message says it all.
            ("content_block_delta" | "content_block_start" | "content_block_stop", _)
            | ("message_delta" | "message_stop" | "ping", _) => Some(Vec::new()),
            _ => None,
        }
    }

    fn result(&mut self, line: Line<'_>) -> Vec<News> {
        self.is_complete = true;
        self.told.usage = usage(line.usage.as_ref(), line.total_cost_usd);
        let subtype = line.subtype.unwrap_or_default();
        let result = line.result.unwrap_or_default();
        let failed = line.is_error == Some(true) || !matches!(subtype.as_str(), "success" | LIMIT);
        if failed || result.starts_with(FAILED_PREFIX) {
            let error = line.error.map(|error| error.get().to_owned());
            self.told.error = Some(if result.is_empty() { error.unwrap_or(subtype) } else { result });
        } else {
            let stop = if subtype == LIMIT { "max_turn_requests" } else { "end_turn" };
            self.told.stop = Some(stop.to_owned());
            if !self.has_text && !result.is_empty() {
                return vec![text(result, None)];
            }
        }
        Vec::new()
    }
}

fn usage(tokens: Option<&Tokens>, cost: Option<f64>) -> Option<Usage> {
    let mut usage = Usage { cost, currency: cost.map(|_| "USD".to_owned()), ..Usage::default() };
    if let Some(tokens) = tokens {
        (usage.input, usage.output) = (tokens.input_tokens, tokens.output_tokens);
        usage.cached_read = tokens.cache_read_input_tokens;
        usage.cached_write = tokens.cache_creation_input_tokens;
    }
    (!usage.is_empty()).then_some(usage)
}
