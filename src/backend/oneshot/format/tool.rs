//! Tool calls as agents without a protocol tell of them: a name, arguments and a result, from
//! which kind, title and place are read. Pure.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use hob_actors::event::{Event, Json, ToolCall, ToolUpdate};
use hob_actors::ports::News;

use crate::backend::tool_kind::{self, Clues};
use crate::jsonrpc::message::excerpt;

/// What a title is made of, besides the tool's name: the first of these that is there.
const TELLING: [&str; 9] =
    ["path", "file_path", "filePath", "absolute_path", "command", "pattern", "url", "query", "description"];
/// Which of them are places.
const N_PLACES: usize = 4;

/// What an agent says of a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) id: &'a str,
    pub(super) name: &'a str,
    pub(super) title: Option<&'a str>,
    pub(super) input: Option<&'a RawValue>,
}

impl Call<'_> {
    /// It began.
    pub(super) fn begun(&self) -> News {
        let input: Value =
            self.input.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
        let telling = |names: &[&str]| names.iter().find_map(|name| input.get(name)?.as_str());
        let title = match (self.title.filter(|title| !title.is_empty()), telling(&TELLING)) {
            (Some(title), _) => title.to_owned(),
            (None, Some(about)) => {
                format!("{} · {}", self.name, excerpt(about.lines().next().unwrap_or_default()))
            }
            (None, None) => self.name.to_owned(),
        };
        let place = telling(&TELLING[..N_PLACES]).map(|path| json!([{"path": path}]));
        let clues = Clues { name: Some(self.name), input: self.input, ..Clues::default() };
        News::Said(Event::ToolCall(ToolCall {
            call: self.id.to_owned(),
            title,
            kind: tool_kind::infer(clues).to_owned(),
            status: "in_progress".to_owned(),
            locations: place.map(|place| Json::from_valid(place.to_string())),
            input: self.input.map(super::json),
            content: None,
        }))
    }
}

/// It ended: well or not, with what it returned, and that as text.
pub(super) fn ended(id: &str, is_error: bool, output: Option<&RawValue>, text: Option<&str>) -> News {
    let shown = text.map(|text| json!([{"type": "content", "content": {"type": "text", "text": text}}]));
    News::Said(Event::ToolUpdate(ToolUpdate {
        call: id.to_owned(),
        status: Some(if is_error { "failed" } else { "completed" }.to_owned()),
        content: shown.map(|shown| Json::from_valid(shown.to_string())),
        output: output.map(super::json),
        ..ToolUpdate::default()
    }))
}

/// A piece of a result that is text.
#[derive(Deserialize)]
struct TextBlock {
    text: Option<String>,
}

/// The text of a result: a string, or a list of blocks.
pub(super) fn text_of(content: &RawValue) -> Option<String> {
    if let Ok(text) = serde_json::from_str::<String>(content.get()) {
        return Some(text);
    }
    let blocks: Vec<TextBlock> = serde_json::from_str(content.get()).ok()?;
    let texts: Vec<String> = blocks.into_iter().filter_map(|block| block.text).collect();
    (!texts.is_empty()).then(|| texts.join("\n"))
}
