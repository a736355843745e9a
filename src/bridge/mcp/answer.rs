//! What a tool answers: text for the model, and the same in fields for programs. Pure.

use rmcp::ErrorData;
use rmcp::model::{CallToolResult, ContentBlock};
use serde_json::{Value, json};

use super::Trouble;
use super::tools::invalid;
use crate::control::error::Kind;
use crate::control::wire::{TaskRow, is_terminal};

/// How a task stands, in fields.
fn fields(task: &TaskRow) -> Value {
    let outcome = task.outcome.as_ref();
    json!({
        "task": task.id, "state": task.state, "agent": task.agent, "session": task.session, "chat": task.chat,
        "waiting": task.waiting, "text": task.text, "error": outcome.and_then(|outcome| outcome.error.clone()),
        "stop_reason": outcome.and_then(|outcome| outcome.stop_reason.clone()), "usage": task.usage,
        "context_lost": task.context_lost,
    })
}

/// How a task stands, in words.
fn words(task: &TaskRow) -> String {
    let error = task.outcome.as_ref().and_then(|outcome| outcome.error.as_deref());
    let waits = task.waiting.as_deref().map(|waiting| format!(" (it waits: {waiting})"));
    let because = error.map(|error| format!(": {error}")).or(waits).unwrap_or_default();
    format!("task {} of {} is {}{because}", task.id, task.agent, task.state)
}

/// The end of a task: what the agent said, or why it did not get that far.
pub(super) fn result(task: &TaskRow) -> CallToolResult {
    let said = task.text.as_deref().unwrap_or_default();
    let completed = task.state == "completed";
    let text = match (completed, said) {
        (true, "") => format!("{}; it said nothing", words(task)),
        (true, said) => said.to_owned(),
        (false, "") => words(task),
        (false, said) => format!("{}; it said: {said}", words(task)),
    };
    // First the answer: who takes one block takes that.
    let lost = task.context_lost.as_ref().map(|why| {
        ContentBlock::text(format!("note: the agent had forgotten what was said in this chat before: {why}"))
    });
    let blocks = std::iter::once(ContentBlock::text(text)).chain(lost).collect();
    let mut result = CallToolResult::success(blocks);
    result.is_error = Some(is_terminal(&task.state) && !completed);
    result.structured_content = Some(fields(task));
    result
}

/// How a task stands now; `hint` says what can be done next.
pub(super) fn status(task: &TaskRow, hint: &str) -> CallToolResult {
    let text = if is_terminal(&task.state) { words(task) } else { format!("{}{hint}", words(task)) };
    let mut result = CallToolResult::success(vec![ContentBlock::text(text)]);
    result.structured_content = Some(fields(task));
    result
}

/// A list, as JSON, below a name: what is told in fields must be an object.
pub(super) fn list(name: &str, rows: Value) -> CallToolResult {
    CallToolResult::structured(json!({name: rows}))
}

/// What went wrong: bad parameters are the client's fault, all else is told to the model.
pub(super) fn failure(trouble: Trouble) -> Result<CallToolResult, ErrorData> {
    let Trouble { kind, message, hint, reasons, path } = trouble;
    if kind == Some(Kind::InvalidParams) {
        return Err(invalid(path.as_deref().unwrap_or_default(), &message));
    }
    let mut text = message.clone();
    if !reasons.is_empty() {
        text.push_str(&format!(" ({})", reasons.join(", ")));
    }
    if let Some(hint) = &hint {
        text.push_str(&format!("; hint: {hint}"));
    }
    let mut result = CallToolResult::error(vec![ContentBlock::text(text)]);
    result.structured_content =
        Some(json!({"error": message, "kind": kind, "reasons": reasons, "hint": hint}));
    Ok(result)
}
