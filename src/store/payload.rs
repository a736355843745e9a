//! How an event is written down: its type, and the fields that only this type has, as one JSON
//! object. The common fields are columns; [`splice`] puts both together without parsing either.

use std::borrow::Cow;

use hob_actors::event::{ChangedFile, Event, Exit, Json, PermissionOption, PlanEntry, Usage};
use serde::Serialize;
use serde::de::IgnoredAny;

use super::words;
use crate::control::wire::{ChangedFileRow, Moment, OptionRow, UsageRow};
use crate::legible::legible;

/// Declares the types of events, once for both: what an event is called, and which there are.
macro_rules! types {
    ($($event:pat => $word:literal,)*) => {
        /// Every `type` that an event may have: those of the journal, and `gap`, which stands for what it lost.
        pub const EVENT_TYPES: &[&str] = &[$($word,)* "gap"];

        /// The `type` of an event.
        pub(super) fn kind(event: &Event) -> &'static str {
            match event {
                $($event => $word,)*
            }
        }
    };
}

types! {
    Event::TurnStarted { .. } => "turn_started",
    Event::Text { .. } => "text",
    Event::Reasoning { .. } => "reasoning",
    Event::ToolCall(_) => "tool_call",
    Event::ToolUpdate(_) => "tool_update",
    Event::Plan { .. } => "plan",
    Event::Commands { .. } => "commands",
    Event::Mode { .. } => "mode",
    Event::Models { .. } => "models",
    Event::Usage(_) => "usage",
    Event::PermissionRequested { .. } => "permission_requested",
    Event::PermissionResolved { .. } => "permission_resolved",
    Event::TurnEnded { .. } => "turn_ended",
    Event::TaskState { .. } => "task_state",
    Event::AgentState { .. } => "agent_state",
    Event::Health { .. } => "health",
    Event::ContextReset { .. } => "context_reset",
    Event::WorktreeState { .. } => "worktree_state",
    Event::Changes { .. } => "changes",
    Event::Notice { .. } => "notice",
    Event::Raw { .. } => "raw",
}

/// Writes the payload of `event` into `out`, which is emptied first.
pub(super) fn write(event: &Event, out: &mut Vec<u8>) -> serde_json::Result<()> {
    out.clear();
    let object = Object::begin(out);
    match event {
        Event::Text { text, message } | Event::Reasoning { text, message } => {
            object.field("text", text).field("message", message)
        }
        Event::ToolCall(_) | Event::ToolUpdate(_) | Event::Plan { .. } => said(object, event),
        Event::Commands { .. } | Event::Mode { .. } | Event::Models { .. } | Event::Raw { .. } => {
            offered(object, event)
        }
        Event::Usage(usage) => usage_fields(object, usage),
        Event::PermissionRequested { .. } | Event::PermissionResolved { .. } => asked(object, event),
        Event::TurnStarted { attempt, context, lost } => object
            .field("attempt", attempt)
            .field("context", words::context(*context))
            .field_if("context_lost", lost.as_ref()),
        Event::TurnEnded { .. } | Event::TaskState { .. } | Event::AgentState { .. } => moved(object, event),
        Event::Health { from, to, failure } => object
            .field("from", words::health(*from))
            .field("to", words::health(*to))
            .field_if("failure", failure.as_ref()),
        Event::ContextReset { reason } => object.field("reason", reason),
        Event::WorktreeState { worktree, from, to, reasons } => {
            let object = object.field("worktree", worktree.as_str()).field("from", from).field("to", to);
            if reasons.is_empty() { object } else { object.field("reasons", reasons) }
        }
        Event::Changes { files, n_omitted } => {
            let object = object.field("files", &changed_files(files));
            if *n_omitted == 0 { object } else { object.field("omitted", n_omitted) }
        }
        Event::Notice { level, text } => object.field("level", words::level(*level)).field("text", text),
    }
    .end()
}

fn said<'a>(object: Object<'a>, event: &Event) -> Object<'a> {
    match event {
        Event::ToolCall(call) => {
            let object = object
                .field("call", &call.call)
                .field("title", &call.title)
                .field("kind", &call.kind)
                .field("status", &call.status);
            let object = match &call.locations {
                Some(locations) => object.raw("locations", locations),
                None => object.field("locations", &[(); 0]),
            };
            object.raw_if("input", call.input.as_ref()).raw_if("content", call.content.as_ref())
        }
        Event::ToolUpdate(update) => object
            .field("call", &update.call)
            .field("status", &update.status)
            .field_if("title", update.title.as_ref())
            .raw_if("locations", update.locations.as_ref())
            .raw_if("input", update.input.as_ref())
            .raw_if("content", update.content.as_ref())
            .raw_if("output", update.output.as_ref()),
        Event::Plan { entries } => object.field("entries", &Entries(entries)),
        _ => object,
    }
}

fn offered<'a>(object: Object<'a>, event: &Event) -> Object<'a> {
    match event {
        Event::Commands { commands } => object.raw("commands", commands),
        Event::Mode { current, available } | Event::Models { current, available } => {
            let object = object.field("current", current);
            match available {
                Some(available) => object.raw("available", available),
                None => object.field("available", &()),
            }
        }
        Event::Raw { update } => object.raw("update", update),
        _ => object,
    }
}

fn asked<'a>(object: Object<'a>, event: &Event) -> Object<'a> {
    match event {
        Event::PermissionRequested { permission, title, kind, options, call, input, content } => object
            .field("permission", permission.as_str())
            .field("title", title)
            .field("kind", kind)
            .field("options", &option_rows(options))
            .field("call", call)
            .raw_if("input", input.as_ref())
            .raw_if("content", content.as_ref()),
        Event::PermissionResolved { permission, option, by } => {
            object.field("permission", permission.as_str()).field("option", option).field("by", by)
        }
        _ => object,
    }
}

fn moved<'a>(object: Object<'a>, event: &Event) -> Object<'a> {
    match event {
        Event::TurnEnded { outcome, stop_reason, error, usage, duration_ms, first_token_ms } => object
            .field("outcome", words::outcome(*outcome))
            .field("stop_reason", stop_reason)
            .field_if("error", error.as_ref())
            .field("usage", &usage_row(usage))
            .field("duration_ms", duration_ms)
            .field("first_token_ms", first_token_ms),
        Event::TaskState { from, to, reason } => object
            .field("from", &from.map(words::task_state))
            .field("to", words::task_state(*to))
            .field_if("reason", reason.as_ref()),
        Event::AgentState { from, to, reason, pid, exit } => object
            .field("from", &from.map(words::agent_status))
            .field("to", words::agent_status(*to))
            .field_if("reason", reason.as_ref())
            .field_if("pid", pid.as_ref())
            .field_if("exit", exit.as_ref().map(ExitFields::of).as_ref()),
        _ => object,
    }
}

fn usage_fields<'a>(object: Object<'a>, usage: &Usage) -> Object<'a> {
    object
        .field("input", &usage.input)
        .field("output", &usage.output)
        .field("reasoning", &usage.reasoning)
        .field("cached_read", &usage.cached_read)
        .field("cached_write", &usage.cached_write)
        .field("context_used", &usage.context_used)
        .field("context_size", &usage.context_size)
        .field("cost", &usage.cost)
        .field("currency", &usage.currency)
}

/// Usage as the contract shows it.
pub(super) fn usage_row(usage: &Usage) -> UsageRow {
    UsageRow {
        input: usage.input,
        output: usage.output,
        reasoning: usage.reasoning,
        cached_read: usage.cached_read,
        cached_write: usage.cached_write,
        context_used: usage.context_used,
        context_size: usage.context_size,
        cost: usage.cost,
        currency: usage.currency.clone(),
    }
}

/// The files that a turn changed, as the contract shows them.
pub(super) fn changed_files(files: &[ChangedFile]) -> Vec<ChangedFileRow> {
    files
        .iter()
        .map(|file| ChangedFileRow {
            path: file.path.clone(),
            old_path: file.old_path.clone(),
            kind: file.kind.to_owned(),
            shared: file.shared,
        })
        .collect()
}

/// The offered answers as the contract shows them.
pub(super) fn option_rows(options: &[PermissionOption]) -> Vec<OptionRow> {
    options
        .iter()
        .map(|option| OptionRow {
            id: option.id.clone(),
            name: option.name.clone(),
            kind: option.kind.clone(),
        })
        .collect()
}

#[derive(Serialize)]
struct ExitFields<'a> {
    code: Option<i32>,
    signal: Option<i32>,
    detail: String,
    stderr_tail: &'a str,
}

impl<'a> ExitFields<'a> {
    fn of(exit: &'a Exit) -> Self {
        Self {
            code: exit.code,
            signal: exit.signal,
            detail: words::exit_detail(exit.code, exit.signal),
            stderr_tail: &exit.stderr_tail,
        }
    }
}

struct Entries<'a>(&'a [PlanEntry]);

impl Serialize for Entries<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Entry<'a> {
            content: &'a str,
            status: &'a str,
            priority: &'a str,
        }
        serializer.collect_seq(self.0.iter().map(|entry| Entry {
            content: &entry.content,
            status: &entry.status,
            priority: &entry.priority,
        }))
    }
}

/// Writes one JSON object field by field. Values of agents are copied as they are: serde_json's
/// own raw value would have to check each once more.
struct Object<'a> {
    out: &'a mut Vec<u8>,
    error: Option<serde_json::Error>,
}

impl<'a> Object<'a> {
    fn begin(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, error: None }
    }

    fn name(&mut self, name: &str) {
        if self.out.last() != Some(&b'{') {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn field<T: Serialize + ?Sized>(mut self, name: &str, value: &T) -> Self {
        self.name(name);
        if let Err(error) = serde_json::to_writer(&mut *self.out, value) {
            self.error.get_or_insert(error);
        }
        self
    }

    fn field_if<T: Serialize + ?Sized>(self, name: &str, value: Option<&T>) -> Self {
        match value {
            Some(value) => self.field(name, value),
            None => self,
        }
    }

    fn raw(mut self, name: &str, value: &Json) -> Self {
        self.name(name);
        self.out.extend_from_slice(value.as_str().as_bytes());
        self
    }

    fn raw_if(self, name: &str, value: Option<&Json>) -> Self {
        match value {
            Some(value) => self.raw(name, value),
            None => self,
        }
    }

    fn end(self) -> serde_json::Result<()> {
        self.out.push(b'}');
        self.error.map_or(Ok(()), Err)
    }
}

/// The columns of one event.
#[derive(Debug, Serialize)]
pub(super) struct Common<'a> {
    pub(super) seq: i64,
    pub(super) at: Moment,
    pub(super) session: Option<&'a str>,
    pub(super) chat: Option<&'a str>,
    pub(super) agent: Option<&'a str>,
    pub(super) generation: Option<i64>,
    pub(super) task: Option<&'a str>,
    pub(super) turn: Option<&'a str>,
    #[serde(rename = "type")]
    pub(super) kind: &'a str,
}

/// A payload as every reader takes it: a row of before holds what an agent wrote as it came, and one
/// that is no object at all is told as that and ends nothing.
pub(super) fn readable(payload: &str) -> Cow<'_, str> {
    let made = legible(payload);
    if made.starts_with('{') && serde_json::from_str::<IgnoredAny>(&made).is_ok() {
        return made;
    }
    Cow::Owned(serde_json::json!({ "unreadable": payload }).to_string())
}

/// The complete event as one JSON object.
pub(super) fn splice(common: &Common<'_>, payload: &str, out: &mut Vec<u8>) -> serde_json::Result<()> {
    out.clear();
    serde_json::to_writer(&mut *out, common)?;
    if payload.len() > "{}".len() {
        out.pop();
        out.push(b',');
        out.extend_from_slice(&payload.as_bytes()[1..]);
    }
    Ok(())
}
