//! Events as a person reads them: one line of words for each type.
//!
//! Reading is lenient: a type or field of next year is shown as it came.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::render::{self, duration, one_line};
use crate::control::wire::{Fault, UsageRow, fault, is_terminal};

/// The longest piece of somebody else's text in a line, in characters.
const WORDS_WIDTH_MAX: usize = 200;

/// The type that stands for an event that cannot be read.
const UNREADABLE: &str = "unreadable";

/// An event as it crosses the socket.
#[derive(Debug, Clone, Deserialize)]
pub struct EventRow {
    /// Its number in the journal.
    pub seq: i64,
    /// When, as RFC 3339.
    #[serde(default)]
    pub at: String,
    /// The session it is about.
    pub session: Option<String>,
    /// The chat it is about.
    pub chat: Option<String>,
    /// The agent it is about.
    pub agent: Option<String>,
    /// The backend generation of the agent session.
    pub generation: Option<u64>,
    /// The task it is about.
    pub task: Option<String>,
    /// The turn it is about.
    pub turn: Option<String>,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Everything else.
    #[serde(flatten)]
    pub fields: Map<String, Value>,
    /// The whole as it came.
    #[serde(skip)]
    pub raw: Option<Box<RawValue>>,
}

impl EventRow {
    /// Reads an event and keeps it as it came. One that cannot be read is one that says so: it must
    /// not end the reading of those behind it.
    pub fn read(raw: Box<RawValue>) -> Self {
        let mut event =
            serde_json::from_str(raw.get()).unwrap_or_else(|error| Self::unreadable(&raw, &error));
        event.raw = Some(raw);
        event
    }

    fn unreadable(raw: &RawValue, error: &serde_json::Error) -> Self {
        #[derive(Default, Deserialize)]
        struct Number {
            seq: i64,
        }
        let number: Number = serde_json::from_str(raw.get()).unwrap_or_default();
        let reason = Value::from(error.to_string());
        Self {
            seq: number.seq,
            at: String::new(),
            session: None,
            chat: None,
            agent: None,
            generation: None,
            task: None,
            turn: None,
            kind: UNREADABLE.to_owned(),
            fields: Map::from_iter([("reason".to_owned(), reason)]),
            raw: None,
        }
    }

    /// The event as it came, on one line.
    pub fn json(&self) -> &str {
        self.raw.as_ref().map_or("null", |raw| raw.get())
    }

    /// A field that is text; empty where there is none.
    pub fn text(&self, name: &str) -> &str {
        self.fields.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// A field that is a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.fields.get(name).and_then(Value::as_u64)
    }

    /// What was spent, where the event says so in `name`; the event itself with an empty name.
    pub fn usage(&self, name: &str) -> UsageRow {
        let value = if name.is_empty() {
            Some(Value::Object(self.fields.clone()))
        } else {
            self.fields.get(name).cloned()
        };
        value.and_then(|value| serde_json::from_value(value).ok()).unwrap_or_default()
    }

    /// How the task ended, if this is the event that says so.
    pub fn task_end(&self) -> Option<&str> {
        (self.kind == "task_state" && is_terminal(self.text("to"))).then(|| self.text("to"))
    }

    /// Why the task that ended could not be worked on, if that is why.
    pub fn fault(&self) -> Option<Fault> {
        fault(self.text("to"), self.turn.is_some(), self.text("reason"))
    }

    fn cut(&self, name: &str) -> String {
        one_line(self.text(name), WORDS_WIDTH_MAX)
    }

    fn moved(&self) -> String {
        let reason = match self.cut("reason") {
            reason if reason.is_empty() => reason,
            reason => format!(": {reason}"),
        };
        match self.text("from") {
            "" => format!("{}{reason}", self.text("to")),
            from => format!("{from} → {}{reason}", self.text("to")),
        }
    }
}

/// The event in words, on one line.
pub fn words(event: &EventRow) -> String {
    match event.kind.as_str() {
        _ if event.fields.contains_key(UNREADABLE) => {
            format!("an event that cannot be read: {}", event.cut(UNREADABLE))
        }
        UNREADABLE => format!("an event that cannot be read: {}", event.cut("reason")),
        "turn_started" => format!("turn started ({})", event.text("context")),
        "text" => format!("“{}”", event.cut("text")),
        "reasoning" => format!("thinks “{}”", event.cut("text")),
        "tool_call" | "tool_update" => tool(event),
        "plan" => plan(event),
        "commands" => format!("offers {} commands", count(event.fields.get("commands"))),
        "mode" | "models" => format!("{} {}", event.kind, event.cut("current")),
        "usage" => format!("usage: {}", render::usage(&event.usage(""))),
        "permission_requested" => format!("asks {}: {}", event.text("permission"), event.cut("title")),
        "permission_resolved" => resolved(event),
        "changes" => changes(event),
        "turn_ended" => turn_ended(event),
        "task_state" => format!("task {}", event.moved()),
        "agent_state" => agent_state(event),
        "context_reset" => format!("the agent forgot what was said before: {}", event.cut("reason")),
        "health" => health(event),
        "worktree_state" => format!("worktree {} {}", event.text("worktree"), event.moved()),
        "notice" => format!("{}: {}", event.text("level"), event.cut("text")),
        "gap" => format!("events {} to {} are no longer kept", value(event, "from"), value(event, "to")),
        other => {
            format!("{other} {}", one_line(&Value::Object(event.fields.clone()).to_string(), WORDS_WIDTH_MAX))
        }
    }
}

fn count(list: Option<&Value>) -> usize {
    list.and_then(Value::as_array).map_or(0, Vec::len)
}

fn value(event: &EventRow, name: &str) -> String {
    event.fields.get(name).map(Value::to_string).unwrap_or_default()
}

fn tool(event: &EventRow) -> String {
    let status = match event.text("status") {
        "" => String::new(),
        status => format!(" {}", one_line(status, WORDS_WIDTH_MAX)),
    };
    match (event.cut("title"), event.cut("kind")) {
        (title, _) if title.is_empty() => format!("tool {}{status}", event.cut("call")),
        (title, kind) if kind.is_empty() => format!("tool {}: {title}{status}", event.cut("call")),
        (title, kind) => format!("tool {}: {title} ({kind}){status}", event.cut("call")),
    }
}

fn plan(event: &EventRow) -> String {
    let entries =
        event.fields.get("entries").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let field =
        |entry: &Value, name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let done = entries.iter().filter(|entry| field(entry, "status") == "completed").count();
    let now = entries.iter().find(|entry| field(entry, "status") == "in_progress");
    let now = now.map(|entry| format!(", now: {}", one_line(&field(entry, "content"), WORDS_WIDTH_MAX)));
    format!("plan: {done} of {} done{}", entries.len(), now.unwrap_or_default())
}

fn resolved(event: &EventRow) -> String {
    let option = match event.cut("option") {
        option if option.is_empty() => "no answer".to_owned(),
        option => option,
    };
    format!("{} settled: {option}, by {}", event.text("permission"), event.cut("by"))
}

fn changes(event: &EventRow) -> String {
    let files = event.fields.get("files").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let name = |file: &Value| file.as_str().or_else(|| file.get("path")?.as_str()).unwrap_or("?").to_owned();
    let names: Vec<_> = files.iter().map(name).collect();
    let what = if files.len() == 1 { "file" } else { "files" };
    format!("changed {} {what}: {}", files.len(), one_line(&names.join(" "), WORDS_WIDTH_MAX))
}

fn turn_ended(event: &EventRow) -> String {
    let mut text = format!("turn {}", event.text("outcome"));
    if !event.text("stop_reason").is_empty() {
        text.push_str(&format!(" ({})", event.cut("stop_reason")));
    }
    if let Some(ms) = event.number("duration_ms") {
        text.push_str(&format!(" after {}", duration(ms)));
    }
    let usage = render::usage(&event.usage("usage"));
    if !usage.is_empty() {
        text.push_str(&format!(", {usage}"));
    }
    if !event.text("error").is_empty() {
        text.push_str(&format!(": {}", event.cut("error")));
    }
    text
}

fn health(event: &EventRow) -> String {
    match event.cut("failure") {
        failure if failure.is_empty() => format!("health {}", event.moved()),
        failure => format!("health {}: {failure}", event.moved()),
    }
}

fn agent_state(event: &EventRow) -> String {
    let pid = event.number("pid").map(|pid| format!(", pid {pid}")).unwrap_or_default();
    let detail = event.fields.get("exit").and_then(|exit| exit.get("detail")).and_then(Value::as_str);
    let exit = detail.map(|detail| format!(", {}", one_line(detail, WORDS_WIDTH_MAX))).unwrap_or_default();
    format!("agent {}{pid}{exit}", event.moved())
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    pub(in super::super) fn event(seq: i64, kind: &str, fields: Value) -> EventRow {
        let mut event = json!({
            "seq": seq, "at": "2026-11-22T14:03:22.118Z", "session": "s-1", "chat": "c-1", "agent": "goose",
            "generation": 1, "task": "t-1", "turn": "u-1", "type": kind,
        });
        for (name, value) in fields.as_object().unwrap() {
            event[name] = value.clone();
        }
        EventRow::read(serde_json::value::to_raw_value(&event).unwrap())
    }

    #[test]
    fn every_type_has_words() {
        let events = [
            ("turn_started", json!({"attempt": 1, "context": "warm"})),
            ("text", json!({"text": "Hello\nworld"})),
            ("reasoning", json!({"text": "hm"})),
            (
                "tool_call",
                json!({"call": "x1", "title": "Run tests", "kind": "execute", "status": "pending"}),
            ),
            ("tool_update", json!({"call": "x1", "status": "completed"})),
            (
                "plan",
                json!({"entries": [{"content": "a", "status": "completed"}, {"content": "b", "status": "in_progress"}]}),
            ),
            ("commands", json!({"commands": [{}, {}]})),
            ("mode", json!({"current": "auto"})),
            ("usage", json!({"input": 1200, "context_used": 900, "context_size": 128_000})),
            ("permission_requested", json!({"permission": "p-1", "title": "Run rm", "options": []})),
            ("permission_resolved", json!({"permission": "p-1", "option": "allow", "by": "hob"})),
            ("changes", json!({"files": [{"path": "a.txt"}, "b.txt"]})),
            (
                "turn_ended",
                json!({"outcome": "failed", "stop_reason": "refusal", "error": "no", "duration_ms": 3200, "usage": {"output": 5}}),
            ),
            ("task_state", json!({"from": "queued", "to": "running"})),
            ("task_state", json!({"from": null, "to": "queued"})),
            (
                "agent_state",
                json!({"from": "busy", "to": "crashed", "reason": "exited", "pid": 42, "exit": {"detail": "killed by SIGKILL"}}),
            ),
            ("context_reset", json!({"reason": "the agent cannot load"})),
            ("health", json!({"from": "healthy", "to": "suspect", "failure": "no answer within 5s"})),
            ("health", json!({"from": "suspect", "to": "healthy", "failure": null})),
            ("worktree_state", json!({"worktree": "w-1", "from": "active", "to": "orphaned"})),
            ("notice", json!({"level": "warning", "text": "submodules are not initialised"})),
            ("gap", json!({"from": 0, "to": 99})),
            ("of_next_year", json!({"a": 1})),
        ];
        let lines: Vec<_> = events.into_iter().map(|(kind, fields)| words(&event(1, kind, fields))).collect();
        insta::assert_snapshot!(lines.join("\n"), @r#"
        turn started (warm)
        “Hello⏎world”
        thinks “hm”
        tool x1: Run tests (execute) pending
        tool x1 completed
        plan: 1 of 2 done, now: b
        offers 2 commands
        mode auto
        usage: 1.2k in · context 900/128.0k
        asks p-1: Run rm
        p-1 settled: allow, by hob
        changed 2 files: a.txt b.txt
        turn failed (refusal) after 3.2s, 5 out: no
        task queued → running
        task queued
        agent busy → crashed: exited, pid 42, killed by SIGKILL
        the agent forgot what was said before: the agent cannot load
        health healthy → suspect: no answer within 5s
        health suspect → healthy
        worktree w-1 active → orphaned
        warning: submodules are not initialised
        events 0 to 99 are no longer kept
        of_next_year {"a":1}
        "#);
    }
}
