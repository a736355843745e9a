//! What an agent sends, as far as it is looked into: borrowed, every member optional where agents
//! were seen to leave it out, words kept as they came.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use hob_actors::event::{Json, Usage};

use crate::backend::tool_kind::{self, Clues};

/// A member that may be missing, null or of a type that nobody expects: then it is `None`.
pub(in crate::backend) fn lenient<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: serde::de::DeserializeOwned,
{
    let raw = <&RawValue>::deserialize(deserializer)?;
    Ok(serde_json::from_str(raw.get()).ok())
}

/// A value for the journal, unless it is missing or null.
pub(super) fn json(raw: Option<&RawValue>) -> Option<Json> {
    raw.filter(|raw| raw.get() != "null").map(|raw| Json::from_valid(raw.get()))
}

/// The same, and an empty array says nothing either.
pub(super) fn json_list(raw: Option<&RawValue>) -> Option<Json> {
    json(raw.filter(|raw| raw.get() != "[]"))
}

/// The parameters of `session/update`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UpdateParams<'a> {
    #[serde(borrow)]
    pub(super) session_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) update: &'a RawValue,
}

/// Every member of every update that is looked into.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Update<'a> {
    #[serde(borrow, default)]
    pub(super) session_update: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) content: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) message_id: Option<String>,
    #[serde(borrow, default, rename = "_meta")]
    pub(super) meta: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) current_mode_id: Option<String>,
    #[serde(borrow, default)]
    pub(super) entries: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) available_commands: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) config_options: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) used: Option<u64>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) size: Option<u64>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) cost: Option<Cost>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) title: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) description: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) severity: Option<String>,
}

/// Money, as `usage_update` tells it: a running total of the conversation.
#[derive(Deserialize)]
pub(super) struct Cost {
    pub(super) amount: f64,
    #[serde(default)]
    pub(super) currency: Option<String>,
}

/// A content block, as far as it is text.
#[derive(Deserialize)]
pub(super) struct Block<'a> {
    #[serde(borrow, default, rename = "type")]
    pub(super) kind: Cow<'a, str>,
    #[serde(default)]
    pub(super) text: Option<String>,
}

/// A tool call, an update of one, and what a permission request says of one.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Tool<'a> {
    pub(super) tool_call_id: String,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) title: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) kind: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) name: Option<String>,
    #[serde(borrow, default, rename = "_meta")]
    pub(super) meta: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) status: Option<String>,
    #[serde(borrow, default)]
    pub(super) locations: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) raw_input: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) raw_output: Option<&'a RawValue>,
}

impl Tool<'_> {
    /// What kind of thing it does; `OTHER` where nothing tells.
    pub(super) fn inferred_kind(&self) -> &'static str {
        let in_meta = self.meta.and_then(tool_kind::name_in_meta);
        tool_kind::infer(Clues {
            kind: self.kind.as_deref(),
            name: self.name.as_deref().or(in_meta.as_deref()),
            title: self.title.as_deref(),
            input: self.raw_input,
        })
    }
}

/// One line of a plan.
#[derive(Deserialize)]
pub(super) struct Entry {
    #[serde(default)]
    pub(super) content: String,
    #[serde(default)]
    pub(super) status: String,
    #[serde(default)]
    pub(super) priority: String,
}

/// Tokens, as prompts' answers (goose, opencode) and `_meta.usage` (qwen) tell them.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Tokens {
    #[serde(default, deserialize_with = "lenient")]
    input_tokens: Option<u64>,
    #[serde(default, deserialize_with = "lenient")]
    output_tokens: Option<u64>,
    #[serde(default, deserialize_with = "lenient")]
    thought_tokens: Option<u64>,
    #[serde(default, deserialize_with = "lenient")]
    cached_read_tokens: Option<u64>,
    #[serde(default, deserialize_with = "lenient")]
    cached_write_tokens: Option<u64>,
}

impl From<Tokens> for Usage {
    fn from(tokens: Tokens) -> Self {
        Self {
            input: tokens.input_tokens,
            output: tokens.output_tokens,
            reasoning: tokens.thought_tokens,
            cached_read: tokens.cached_read_tokens,
            cached_write: tokens.cached_write_tokens,
            ..Self::default()
        }
    }
}

/// `_meta` of a chunk.
#[derive(Deserialize)]
pub(super) struct ChunkMeta {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) usage: Option<Tokens>,
}

/// The answer to `session/prompt`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PromptAnswer {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) stop_reason: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) usage: Option<Tokens>,
}

/// The parameters of `session/request_permission`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PermissionParams<'a> {
    #[serde(borrow)]
    pub(super) session_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) tool_call: Tool<'a>,
    pub(super) options: Vec<Choice>,
}

/// An answer that an agent offers.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Choice {
    pub(super) option_id: String,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) name: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) kind: Option<String>,
}

/// The parameters of `$/cancel_request`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CancelRequest<'a> {
    #[serde(borrow)]
    pub(super) request_id: &'a RawValue,
}

/// The answer to `initialize`, as far as the protocol's version goes: it is looked at before
/// anything else is believed.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Version<'a> {
    #[serde(borrow, default)]
    pub(super) protocol_version: Option<&'a RawValue>,
}
