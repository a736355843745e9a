//! Tool calls as the event union has them. Pure.
//!
//! The same words and the same order as opencode tells over the Agent Client Protocol, so that a
//! reader of the journal need not know which way an agent was driven.

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use hob_actors::event::{Event, Json, ToolCall, ToolUpdate};

use super::wire::{Part, ToolState};
use crate::backend::acp::lenient;
use crate::backend::tool_kind::{self, Clues};

/// How far a call was told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Told {
    announced: bool,
    /// The last status and what was shown with it.
    last: Option<(String, String)>,
}

impl Told {
    /// It came to its end.
    fn is_over(&self) -> bool {
        self.last.as_ref().is_some_and(|(status, _)| matches!(status.as_str(), "completed" | "error"))
    }
}

/// What is looked at of a tool's arguments.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Input {
    #[serde(default, deserialize_with = "lenient")]
    file_path: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    path: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    command: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    old_string: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    new_string: Option<String>,
}

/// What is looked at of what a tool tells beside its output.
#[derive(Default, Deserialize)]
struct Metadata {
    #[serde(default, deserialize_with = "lenient")]
    output: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    preview: Option<String>,
}

/// The kind of a tool, by its name, or by what it is called with.
pub(super) fn kind(tool: &str, input: Option<&RawValue>) -> &'static str {
    tool_kind::infer(Clues { name: Some(tool), input, ..Clues::default() })
}

/// What is new in a part that is a tool call.
pub(super) fn events(part: &Part, told: &mut Told) -> Vec<Event> {
    let (Some(call), Some(state)) = (&part.call, &part.state) else { return Vec::new() };
    let tool = part.tool.as_deref().unwrap_or("tool");
    let mut events = Vec::new();
    if !told.announced {
        told.announced = true;
        events.push(Event::ToolCall(ToolCall {
            call: call.clone(),
            title: tool.to_owned(),
            kind: kind(tool, state.input.as_deref()).to_owned(),
            status: "pending".to_owned(),
            ..ToolCall::default()
        }));
    }
    let shown = metadata(state).output.unwrap_or_default();
    let now = (state.status.clone(), format!("{shown}{}", state.title.as_deref().unwrap_or_default()));
    if state.status == "pending" || told.is_over() || told.last.as_ref() == Some(&now) {
        return events;
    }
    told.last = Some(now);
    events.push(Event::ToolUpdate(update(call, tool, state)));
    events
}

fn update(call: &str, tool: &str, state: &ToolState) -> ToolUpdate {
    let input: Input = read(state.input.as_deref());
    let base = ToolUpdate { call: call.to_owned(), ..ToolUpdate::default() };
    match state.status.as_str() {
        "completed" => ToolUpdate {
            status: Some("completed".to_owned()),
            title: state.title.clone(),
            content: content(shown(state), &input),
            output: value(&json!({"output": state.output, "metadata": state.metadata})),
            ..base
        },
        "error" => ToolUpdate {
            status: Some("failed".to_owned()),
            content: content(state.error.clone(), &Input::default()),
            output: value(&json!({"error": state.error, "metadata": state.metadata})),
            ..base
        },
        _ => ToolUpdate {
            status: Some("in_progress".to_owned()),
            title: Some(input.command.clone().or(state.title.clone()).unwrap_or_else(|| tool.to_owned())),
            locations: input.file_path.or(input.path).and_then(|path| value(&json!([{"path": path}]))),
            input: state.input.as_deref().map(|raw| Json::from_valid(raw.get())),
            content: content(metadata(state).output.filter(|text| !text.is_empty()), &Input::default()),
            ..base
        },
    }
}

/// What a person is shown of what a tool returned: of a file that was read, the file alone.
fn shown(state: &ToolState) -> Option<String> {
    metadata(state).preview.or_else(|| state.output.clone())
}

fn content(text: Option<String>, input: &Input) -> Option<Json> {
    let mut blocks = Vec::new();
    blocks.extend(text.map(|text| json!({"type": "content", "content": {"type": "text", "text": text}})));
    if let (Some(path), Some(new)) = (&input.file_path, &input.new_string) {
        let old = input.old_string.as_deref().unwrap_or_default();
        blocks.push(json!({"type": "diff", "path": path, "oldText": old, "newText": new}));
    }
    if blocks.is_empty() { None } else { value(&blocks.into()) }
}

fn metadata(state: &ToolState) -> Metadata {
    read(state.metadata.as_deref())
}

fn read<'a, T: Default + Deserialize<'a>>(raw: Option<&'a RawValue>) -> T {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
}

fn value(value: &serde_json::Value) -> Option<Json> {
    Some(Json::from_valid(value.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(state: &str) -> Part {
        let text = format!(
            r#"{{"id":"prt_1","messageID":"msg_1","type":"tool","tool":"bash","callID":"call_1","state":{state}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn words(events: &[Event]) -> Vec<String> {
        let word = |event: &Event| match event {
            Event::ToolCall(call) => format!("call {} {} {}", call.title, call.kind, call.status),
            Event::ToolUpdate(update) => format!("update {}", update.status.clone().unwrap_or_default()),
            other => format!("{other:?}"),
        };
        events.iter().map(word).collect()
    }

    #[test]
    fn a_call_is_announced_once_and_told_where_it_changed() {
        let mut told = Told::default();
        let running = r#"{"status":"running","input":{"command":"echo hi"}}"#;
        let more = r#"{"status":"running","input":{"command":"echo hi"},"metadata":{"output":"hi\n"}}"#;
        let done =
            r#"{"status":"completed","input":{},"output":"hi\n","title":"echo hi","metadata":{"exit":3}}"#;
        let cases: [(&str, &[&str]); 7] = [
            (r#"{"status":"pending","input":{},"raw":""}"#, &["call bash execute pending"]),
            (r#"{"status":"pending","input":{},"raw":"x"}"#, &[]),
            (running, &["update in_progress"]),
            (running, &[]),
            (more, &["update in_progress"]),
            (done, &["update completed"]),
            // What a repeated reading of the messages brings again.
            (running, &[]),
        ];
        for (state, expected) in cases {
            assert_eq!(words(&events(&part(state), &mut told)), expected, "{state}");
        }
    }

    #[test]
    fn a_call_that_was_missed_is_announced_with_its_end() {
        let state = r#"{"status":"error","input":{},"error":"rejected"}"#;
        let told = words(&events(&part(state), &mut Told::default()));
        assert_eq!(told, ["call bash execute pending", "update failed"]);
    }

    #[test]
    fn output_and_exit_stay_as_they_came() {
        let state = r#"{"status":"completed","input":{},"output":"hi","metadata":{"exit":3}}"#;
        let events = events(&part(state), &mut Told::default());
        let Some(Event::ToolUpdate(update)) = events.last() else { panic!("{events:?}") };
        let output: serde_json::Value =
            serde_json::from_str(update.output.as_ref().unwrap().as_str()).unwrap();
        assert_eq!(output, json!({"output": "hi", "metadata": {"exit": 3}}));
    }
}
