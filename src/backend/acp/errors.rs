//! What an agent's errors mean, and how they are told. Pure.

use serde::Deserialize;

use crate::jsonrpc::RpcError;
use crate::jsonrpc::message::excerpt;

/// The agent wants to be logged in first.
pub(super) const AUTH_REQUIRED: i64 = -32000;
/// There is no such conversation.
pub(super) const NOT_FOUND: i64 = -32002;

/// How goose begins a message that says that it failed: it never says so in the protocol.
const FAILED_PREFIXES: [&str; 2] = ["Ran into this error:", "Network error:"];

/// The members of an error's data in which agents were seen to say what happened.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Details {
    #[serde(default, deserialize_with = "super::wire::lenient")]
    details: Option<String>,
    #[serde(default, deserialize_with = "super::wire::lenient")]
    message: Option<String>,
    #[serde(default, deserialize_with = "super::wire::lenient")]
    error_name: Option<String>,
}

/// An error for a person: the message, and what the data adds to it.
pub(super) fn describe(error: &RpcError) -> String {
    let more = error.data.as_ref().and_then(|data| {
        if let Ok(text) = serde_json::from_str::<String>(data.get()) {
            return Some(text);
        }
        let details: Details = serde_json::from_str(data.get()).unwrap_or_default();
        details.details.or(details.message).or(details.error_name)
    });
    match more {
        Some(more) if !error.message.contains(&more) => {
            format!("{}: {} ({})", error.message, excerpt(&more), error.code)
        }
        _ => error.to_string(),
    }
}

/// The failure that a final message tells in words, for an agent that cannot tell it otherwise.
pub(in crate::backend) fn told_in_words(stop_reason: &str, final_text: &str) -> Option<String> {
    let text = final_text.trim();
    let failed = stop_reason == "end_turn" && FAILED_PREFIXES.iter().any(|prefix| text.starts_with(prefix));
    failed.then(|| text.to_owned())
}

/// Whether an agent may be one that tells its failures only in words: goose, which also is the
/// only known one that does not say its name.
pub(super) fn tells_in_words(name: Option<&str>) -> bool {
    name.is_none_or(|name| name.to_ascii_lowercase().contains("goose"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::value::RawValue;

    #[test]
    fn a_failure_in_words_is_a_failure() {
        let text = "Ran into this error: Authentication error: 401.\n\nPlease retry.\n";
        assert_eq!(told_in_words("end_turn", text).as_deref(), Some(text.trim()));
        assert!(told_in_words("end_turn", "Network error: connection refused").is_some());
    }

    #[test]
    fn a_message_about_errors_is_none() {
        assert_eq!(told_in_words("end_turn", "I fixed it. Ran into this error: E0308 before."), None);
        assert_eq!(told_in_words("cancelled", "Network error: gone"), None);
        assert_eq!(told_in_words("end_turn", ""), None);
    }

    #[test]
    fn agents_that_say_their_name_are_believed() {
        assert!(tells_in_words(None));
        assert!(tells_in_words(Some("goose")));
        assert!(!tells_in_words(Some("OpenCode")));
    }

    #[test]
    fn the_data_of_an_error_is_told_once() {
        let error = |data: &str| RpcError {
            code: -32603,
            message: "Internal error".into(),
            data: Some(RawValue::from_string(data.into()).unwrap()),
        };
        assert_eq!(describe(&error(r#"{"errorName":"APIError"}"#)), "Internal error: APIError (-32603)");
        assert_eq!(describe(&error(r#""no key""#)), "Internal error: no key (-32603)");
        assert_eq!(describe(&error(r#"{"details":"Internal error"}"#)), "Internal error (-32603)");
        assert_eq!(describe(&error("[1]")), "Internal error (-32603)");
    }
}
