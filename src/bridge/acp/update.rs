//! Turns an event of the journal into what a client is told. Pure.
//!
//! The other way round than `src/backend/acp/update.rs`: what that kept raw goes on as it came.

use agent_client_protocol_schema::v1::{
    ContentBlock, ContentChunk, Cost, MessageId, Notice, NoticeSeverity, SessionUpdate, TextContent,
    UsageUpdate,
};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::event::Event;

/// The updates of the protocol, version 1.
const TAGS: [&str; 11] = [
    "user_message_chunk",
    "agent_message_chunk",
    "agent_thought_chunk",
    "tool_call",
    "tool_call_update",
    "plan",
    "available_commands_update",
    "current_mode_update",
    "config_option_update",
    "session_info_update",
    "usage_update",
];

/// A tool call, or news of one. Values of an agent go on as they came.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Tool<'a> {
    session_update: &'static str,
    tool_call_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    locations: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_input: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_output: Option<&'a RawValue>,
}

/// An update with one member that an agent sent.
#[derive(Serialize)]
#[serde(tag = "sessionUpdate", rename_all = "snake_case", rename_all_fields = "camelCase")]
enum Passed<'a> {
    Plan { entries: &'a RawValue },
    AvailableCommandsUpdate { available_commands: &'a RawValue },
}

/// The update that an event is to a client; `notices` is whether it takes those. `None` for what
/// is no part of a conversation, and for what [`super::offers`] tells.
pub(super) fn of(event: &Event<'_>, notices: bool) -> Option<Box<RawValue>> {
    match event.kind() {
        "text" => raw(&SessionUpdate::AgentMessageChunk(chunk(event))),
        "reasoning" => raw(&SessionUpdate::AgentThoughtChunk(chunk(event))),
        "tool_call" => raw(&tool(event, "tool_call")),
        "tool_update" => raw(&tool(event, "tool_call_update")),
        "plan" => raw(&Passed::Plan { entries: event.raw("entries")? }),
        "commands" => raw(&Passed::AvailableCommandsUpdate { available_commands: event.raw("commands")? }),
        "usage" => raw(&SessionUpdate::UsageUpdate(usage(event)?)),
        "raw" => event.raw("update").filter(|update| is_update(update)).map(RawValue::to_owned),
        "notice" => raw(&notice(event, notices)?),
        "context_reset" => raw(&reset(event, notices)),
        _ => None,
    }
}

/// Whether what an agent sent is an update that a client can read: one of next year, or one of today
/// that is whole. Of a notification that is none, the session is the agent's and says nothing here.
fn is_update(update: &RawValue) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Tag {
        session_update: String,
    }
    let Ok(tag) = serde_json::from_str::<Tag>(update.get()) else { return false };
    let is_known = TAGS.contains(&tag.session_update.as_str());
    !is_known || serde_json::from_str::<SessionUpdate>(update.get()).is_ok()
}

/// A prompt that somebody else sent, or that is told again.
pub(super) fn prompt(text: &str) -> Option<Box<RawValue>> {
    raw(&SessionUpdate::UserMessageChunk(ContentChunk::new(words(text))))
}

/// Any update of ours. Writing types of ours does not fail.
pub(super) fn raw(update: &impl Serialize) -> Option<Box<RawValue>> {
    to_raw_value(update).ok()
}

fn words(text: impl Into<String>) -> ContentBlock {
    ContentBlock::Text(TextContent::new(text))
}

fn chunk(event: &Event<'_>) -> ContentChunk {
    let message = event.get::<String>("message").map(MessageId::new);
    ContentChunk::new(words(event.text("text"))).message_id(message)
}

fn tool<'a>(event: &Event<'a>, session_update: &'static str) -> Tool<'a> {
    Tool {
        session_update,
        tool_call_id: event.text("call"),
        title: event.raw("title"),
        kind: event.raw("kind"),
        status: event.raw("status"),
        locations: event.raw("locations").filter(|raw| raw.get() != "[]"),
        raw_input: event.raw("input"),
        content: event.raw("content"),
        raw_output: event.raw("output"),
    }
}

/// `None` where the context window was not told.
fn usage(event: &Event<'_>) -> Option<UsageUpdate> {
    let update = UsageUpdate::new(event.get("context_used")?, event.get("context_size")?);
    let cost = event.get::<f64>("cost").zip(event.get::<String>("currency"));
    Some(update.cost(cost.map(|(amount, currency)| Cost::new(amount, currency))))
}

/// What is only good to know is kept from clients that take no notices.
fn notice(event: &Event<'_>, notices: bool) -> Option<SessionUpdate> {
    let severity = match event.text("level").as_str() {
        "error" => NoticeSeverity::Error,
        "warning" => NoticeSeverity::Warning,
        _ if notices => NoticeSeverity::Info,
        _ => return None,
    };
    Some(aside(severity, event.text("text"), notices))
}

fn reset(event: &Event<'_>, notices: bool) -> SessionUpdate {
    let text = format!("the agent forgot what was said before: {}", event.text("reason"));
    aside(NoticeSeverity::Warning, text, notices)
}

/// Something that hob says and not the agent: a notice, else a thought on a line of its own.
fn aside(severity: NoticeSeverity, text: String, notices: bool) -> SessionUpdate {
    if notices {
        return SessionUpdate::Notice(Notice::new(severity, text));
    }
    SessionUpdate::AgentThoughtChunk(ContentChunk::new(words(format!("[hob] {text}\n"))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn update(event: &Value, notices: bool) -> Option<Value> {
        let text = RawValue::from_string(event.to_string()).unwrap();
        let update = of(&Event::read(&text).unwrap(), notices)?;
        Some(serde_json::from_str(update.get()).unwrap())
    }

    #[test]
    fn every_event_of_a_conversation_is_an_update() {
        let text = |kind: &str, text: &str| json!({"sessionUpdate": kind, "content": {"type": "text", "text": text}});
        let cases = [
            (json!({"type": "text", "text": "hi", "message": null}), text("agent_message_chunk", "hi")),
            (json!({"type": "reasoning", "text": "hm"}), text("agent_thought_chunk", "hm")),
            (
                json!({"type": "tool_call", "call": "x", "title": "ls", "kind": "execute", "status": "pending",
                    "locations": [], "input": {"a": 1.50}}),
                json!({"sessionUpdate": "tool_call", "toolCallId": "x", "title": "ls", "kind": "execute",
                    "status": "pending", "rawInput": {"a": 1.50}}),
            ),
            (
                json!({"type": "tool_update", "call": "x", "status": "completed", "output": [0],
                    "content": [{"type": "of next year"}], "locations": [{"path": "/a"}]}),
                json!({"sessionUpdate": "tool_call_update", "toolCallId": "x", "status": "completed",
                    "rawOutput": [0], "content": [{"type": "of next year"}], "locations": [{"path": "/a"}]}),
            ),
            (
                json!({"type": "plan", "entries": [{"content": "a", "status": "pending", "priority": "low"}]}),
                json!({"sessionUpdate": "plan", "entries": [{"content": "a", "status": "pending", "priority": "low"}]}),
            ),
            (
                json!({"type": "commands", "commands": [{"name": "x"}]}),
                json!({"sessionUpdate": "available_commands_update", "availableCommands": [{"name": "x"}]}),
            ),
            (
                json!({"type": "usage", "context_used": 9, "context_size": 10, "cost": 0.5, "currency": "USD"}),
                json!({"sessionUpdate": "usage_update", "used": 9, "size": 10, "cost": {"amount": 0.5, "currency": "USD"}}),
            ),
            (
                json!({"type": "raw", "update": {"sessionUpdate": "of_next_year", "n": [1, null]}}),
                json!({"sessionUpdate": "of_next_year", "n": [1, null]}),
            ),
            (
                json!({"type": "context_reset", "reason": "it is gone"}),
                text("agent_thought_chunk", "[hob] the agent forgot what was said before: it is gone\n"),
            ),
            (
                json!({"type": "notice", "level": "error", "text": "no"}),
                text("agent_thought_chunk", "[hob] no\n"),
            ),
        ];
        for (event, expected) in cases {
            assert_eq!(update(&event, false), Some(expected), "{event}");
        }
    }

    #[test]
    fn a_message_keeps_its_id_and_a_raw_update_its_text() {
        let told = update(&json!({"type": "text", "text": "hi", "message": "m-1"}), false).unwrap();
        assert_eq!(told["messageId"], "m-1");
        let event =
            r#"{"type":"raw","update":{"sessionUpdate":"x","n":1.50,"big":123456789012345678901234567890}}"#;
        let text = RawValue::from_string(event.into()).unwrap();
        let passed = of(&Event::read(&text).unwrap(), false).unwrap();
        assert_eq!(passed.get(), r#"{"sessionUpdate":"x","n":1.50,"big":123456789012345678901234567890}"#);
    }

    #[test]
    fn what_no_client_can_read_is_not_passed_on() {
        for (update_of_agent, is_passed) in [
            (json!({"method": "_auth/status_update", "params": {"sessionId": "x", "status": "ok"}}), false),
            (json!({"sessionUpdate": 7}), false),
            (json!([[1]]), false),
            (json!("text"), false),
            (json!({"sessionUpdate": "tool_call", "title": "without an id"}), false),
            (json!({"sessionUpdate": "agent_message_chunk", "content": "no block"}), false),
            (json!({"sessionUpdate": "session_info_update", "title": "whole"}), true),
            (json!({"sessionUpdate": "of_next_year"}), true),
        ] {
            let event = json!({"type": "raw", "update": update_of_agent});
            assert_eq!(update(&event, true).is_some(), is_passed, "{event}");
        }
    }

    #[test]
    fn notices_go_to_who_takes_them() {
        let info = json!({"type": "notice", "level": "info", "text": "good to know"});
        assert_eq!(update(&info, false), None);
        let expected = json!({"sessionUpdate": "notice", "severity": "info", "title": "good to know"});
        assert_eq!(update(&info, true), Some(expected));
    }

    #[test]
    fn what_is_no_part_of_a_conversation_is_not_told() {
        for kind in
            ["turn_started", "turn_ended", "task_state", "agent_state", "changes", "health", "mode", "gap"]
        {
            assert_eq!(update(&json!({"type": kind, "to": 7}), true), None, "{kind}");
        }
        assert_eq!(update(&json!({"type": "usage", "input": 7}), true), None);
    }
}
