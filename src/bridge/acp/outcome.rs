//! What the end of a task is to whoever prompted it. Pure.

use agent_client_protocol_schema::v1::{PromptResponse, StopReason, Usage};
use serde_json::json;

use hob_actors::ports::AUTH_REQUIRED;

use super::error::{AUTHENTICATION, with_data};
use crate::control::wire::{TaskRow, UsageRow};
use crate::jsonrpc::RpcError;
use crate::jsonrpc::message::INTERNAL_ERROR;

/// The answer to a prompt whose task has ended.
pub(super) fn answer(task: &TaskRow) -> Result<PromptResponse, RpcError> {
    let outcome = task.outcome.as_ref();
    let word = outcome.and_then(|outcome| outcome.stop_reason.as_deref());
    let reason = match (task.state.as_str(), word) {
        ("cancelled", _) => StopReason::Cancelled,
        // It failed, and the protocol has a word for it.
        ("failed", Some("refusal")) => StopReason::Refusal,
        ("completed", Some("max_tokens")) => StopReason::MaxTokens,
        ("completed", Some("max_turn_requests")) => StopReason::MaxTurnRequests,
        ("completed", Some("refusal")) => StopReason::Refusal,
        // An agent's own word for an end of its own is an end.
        ("completed", _) => StopReason::EndTurn,
        (state, _) => {
            let error = outcome.and_then(|outcome| outcome.error.as_deref());
            let why = error.unwrap_or("no reason was told");
            let data = json!({"task": task.id, "state": state, "stopReason": word});
            if let Some(ways) = why.strip_prefix(AUTH_REQUIRED) {
                let message = format!("authentication required{ways}");
                return Err(with_data(AUTHENTICATION, message, &data));
            }
            return Err(with_data(INTERNAL_ERROR, format!("the turn {}: {why}", verb(state)), &data));
        }
    };
    Ok(PromptResponse::new(reason).usage(usage(&task.usage)))
}

fn verb(state: &str) -> &str {
    match state {
        "interrupted" => "was interrupted",
        other => other,
    }
}

/// `None` where the agent told nothing of both: the protocol cannot say "not told".
fn usage(row: &UsageRow) -> Option<Usage> {
    let (input, output) = (row.input?, row.output?);
    let usage = Usage::new(input.saturating_add(output), input, output);
    Some(
        usage
            .thought_tokens(row.reasoning)
            .cached_read_tokens(row.cached_read)
            .cached_write_tokens(row.cached_write),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn task(state: &str, stop_reason: Option<&str>, error: Option<&str>) -> TaskRow {
        serde_json::from_value(json!({
            "id": "t-1", "chat": "c-1", "session": "s-1", "agent": "goose", "state": state,
            "waiting": null, "backend": "warm", "source": "chat", "prompt": "hi", "request_id": null,
            "parent": null, "created_at": "2026-11-22T14:03:22.118Z", "started_at": null,
            "ended_at": null, "turn": null, "outcome": {"stop_reason": stop_reason, "error": error},
            "text": null, "usage": {"input": 7, "output": 2, "cached_read": 1},
        }))
        .unwrap()
    }

    #[test]
    fn an_end_that_the_protocol_knows_is_a_stop_reason() {
        let cases = [
            (("completed", Some("end_turn")), "end_turn"),
            (("completed", None), "end_turn"),
            (("completed", Some("a word of its own")), "end_turn"),
            (("completed", Some("max_tokens")), "max_tokens"),
            (("completed", Some("max_turn_requests")), "max_turn_requests"),
            (("failed", Some("refusal")), "refusal"),
            (("cancelled", Some("end_turn")), "cancelled"),
            (("cancelled", None), "cancelled"),
        ];
        for ((state, word), expected) in cases {
            let answer = serde_json::to_value(answer(&task(state, word, Some("x"))).unwrap()).unwrap();
            assert_eq!(answer["stopReason"], expected, "{state} {word:?}");
            let usage = json!({"totalTokens": 9, "inputTokens": 7, "outputTokens": 2, "cachedReadTokens": 1});
            assert_eq!(answer["usage"], usage);
        }
    }

    #[test]
    fn every_other_end_is_an_error_with_its_reason() {
        let cases = [
            ("failed", Some("the model is away"), "the turn failed: the model is away"),
            ("interrupted", Some("restart"), "the turn was interrupted: restart"),
            ("failed", None, "the turn failed: no reason was told"),
        ];
        for (state, error, expected) in cases {
            let error = answer(&task(state, Some("error"), error)).unwrap_err();
            assert_eq!((error.code, error.message.as_str()), (-32603, expected));
            let data: Value = serde_json::from_str(error.data.unwrap().get()).unwrap();
            assert_eq!(data["state"], state);
        }
    }

    #[test]
    fn a_log_in_that_is_missing_is_told_as_one_with_the_ways_to_log_in() {
        let ways = "auth_required: `a`: it wants to be logged in first; ways to log in: `key` (set `KEY`)";
        let error = answer(&task("failed", None, Some(ways))).unwrap_err();
        assert_eq!(error.code, -32000);
        assert!(error.message.starts_with("authentication required: `a`: it wants"), "{}", error.message);
        assert!(error.message.ends_with("`key` (set `KEY`)"), "{}", error.message);
        let quoted = answer(&task("failed", None, Some("the model said auth_required: no"))).unwrap_err();
        assert_eq!(quoted.code, -32603);
    }

    #[test]
    fn what_was_not_told_is_not_told_as_zero() {
        let mut row = task("completed", None, None);
        row.usage = UsageRow { input: Some(7), ..UsageRow::default() };
        assert!(answer(&row).unwrap().usage.is_none());
    }
}
