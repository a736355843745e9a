//! What an opencode server sends, as far as it is looked into: every member optional where it is
//! not what the whole is about, words kept as they came.

use serde::Deserialize;
use serde_json::value::RawValue;

use hob_actors::event::Usage;

use crate::backend::acp::lenient;

/// The answer of `GET /global/health`.
#[derive(Debug, Deserialize)]
pub(super) struct Health {
    pub(super) healthy: bool,
    #[serde(default)]
    pub(super) version: String,
}

/// One event of `GET /global/event`.
#[derive(Deserialize)]
pub(super) struct Global<'a> {
    #[serde(borrow)]
    pub(super) payload: Payload<'a>,
}

/// What an event is about.
#[derive(Deserialize)]
pub(super) struct Payload<'a> {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(borrow, default)]
    pub(super) properties: Option<&'a RawValue>,
}

/// A session, of which only its place in the family and its cost matter.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Session {
    pub(super) id: String,
    #[serde(default, rename = "parentID", deserialize_with = "lenient")]
    pub(super) parent: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) cost: Option<f64>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) model: Option<ModelRef>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) agent: Option<String>,
}

/// A model as a session names it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct ModelRef {
    #[serde(alias = "modelID")]
    pub(super) id: String,
    #[serde(rename = "providerID")]
    pub(super) provider: String,
}

/// What a session does: `idle`, `busy`, `retry`, or what the server said.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Status {
    #[serde(rename = "type", default)]
    pub(super) kind: String,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) attempt: Option<u64>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) message: Option<String>,
}

/// An error of a message or of a session.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Failure {
    #[serde(default)]
    pub(super) name: String,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) data: Option<FailureData>,
}

/// What an error says.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct FailureData {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) message: Option<String>,
}

/// The head of a message.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Message {
    pub(super) id: String,
    #[serde(default)]
    pub(super) role: String,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) finish: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) error: Option<Failure>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) time: Option<MessageTime>,
    #[serde(default, rename = "modelID", deserialize_with = "lenient")]
    pub(super) model: Option<String>,
    #[serde(default, rename = "providerID", deserialize_with = "lenient")]
    pub(super) provider: Option<String>,
}

/// When a message began and ended, in milliseconds of the Unix epoch.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct MessageTime {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) completed: Option<f64>,
}

/// A piece of a message.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Part {
    pub(super) id: String,
    #[serde(rename = "messageID")]
    pub(super) message: String,
    #[serde(rename = "type", default)]
    pub(super) kind: String,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) text: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) time: Option<PartTime>,
    #[serde(default, rename = "callID", deserialize_with = "lenient")]
    pub(super) call: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) tool: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) state: Option<ToolState>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) tokens: Option<Tokens>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) cost: Option<f64>,
}

/// When a piece began and ended.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct PartTime {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) end: Option<f64>,
}

/// How far a tool call is.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct ToolState {
    #[serde(default)]
    pub(super) status: String,
    #[serde(default)]
    pub(super) input: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) output: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) error: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) title: Option<String>,
    #[serde(default)]
    pub(super) metadata: Option<Box<RawValue>>,
}

/// What one model request cost in tokens.
#[derive(Debug, Clone, Default, Deserialize)]
pub(in crate::backend) struct Tokens {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) input: Option<u64>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) output: Option<u64>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) reasoning: Option<u64>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) cache: Option<Cache>,
}

/// The tokens that a cache was read or written for.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Cache {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) read: Option<u64>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) write: Option<u64>,
}

impl Tokens {
    /// As usage, with what that request cost.
    pub(in crate::backend) fn usage(&self, cost: Option<f64>) -> Usage {
        let cache = self.cache.clone().unwrap_or_default();
        Usage {
            input: self.input,
            output: self.output,
            reasoning: self.reasoning,
            cached_read: cache.read,
            cached_write: cache.write,
            cost,
            currency: cost.map(|_| CURRENCY.to_owned()),
            ..Usage::default()
        }
    }

    /// What stood in the context window for that request.
    pub(in crate::backend) fn context(&self) -> Option<u64> {
        let cached = self.cache.as_ref().and_then(|cache| cache.read).unwrap_or(0);
        self.input.map(|input| input + cached)
    }
}

/// The currency of opencode's price lists.
pub(super) const CURRENCY: &str = "USD";

/// A message with its pieces, as `GET /session/ID/message` gives them.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Written {
    pub(super) info: Message,
    #[serde(default)]
    pub(super) parts: Vec<Box<RawValue>>,
}

/// A request for permission.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct PermissionRequest {
    pub(super) id: String,
    #[serde(rename = "sessionID")]
    pub(super) session: String,
    #[serde(default)]
    pub(super) permission: String,
    #[serde(default)]
    pub(super) patterns: Vec<String>,
    #[serde(default)]
    pub(super) metadata: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) tool: Option<ToolRef>,
}

/// The tool call that a request is about.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct ToolRef {
    #[serde(default, rename = "callID", deserialize_with = "lenient")]
    pub(super) call: Option<String>,
}

/// Questions to a person.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct QuestionRequest {
    pub(super) id: String,
    #[serde(rename = "sessionID")]
    pub(super) session: String,
    #[serde(default)]
    pub(super) questions: Vec<Question>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) tool: Option<ToolRef>,
}

/// One question.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Question {
    #[serde(default)]
    pub(super) question: String,
    #[serde(default)]
    pub(super) options: Vec<Choice>,
}

/// One answer that is offered.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Choice {
    #[serde(default)]
    pub(super) label: String,
}

/// One line of a to-do list.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Todo {
    #[serde(default)]
    pub(super) content: String,
    #[serde(default)]
    pub(super) status: String,
    #[serde(default)]
    pub(super) priority: String,
}
