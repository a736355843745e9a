//! What the daemon said no to, in the words of the Agent Client Protocol.

use serde_json::json;
use serde_json::value::to_raw_value;

use crate::cli::error::{CliError, Exit, ExitCode};
use crate::jsonrpc::RpcError;
use crate::jsonrpc::message::{INTERNAL_ERROR, INVALID_PARAMS};

/// There is no such session.
const NOT_FOUND: i64 = -32002;

/// A person has to log in to the agent first.
pub(super) const AUTHENTICATION: i64 = -32000;

/// An error with data.
pub(super) fn with_data(code: i64, message: impl Into<String>, data: &serde_json::Value) -> RpcError {
    RpcError { code, message: message.into(), data: to_raw_value(data).ok() }
}

/// There is no chat of that id, or none that is open.
pub(super) fn unknown_session(id: &str) -> RpcError {
    with_data(NOT_FOUND, format!("no such session: {id}"), &json!({"sessionId": id}))
}

/// A parameter is wrong.
pub(super) fn bad_param(path: &str, message: &str) -> RpcError {
    with_data(INVALID_PARAMS, format!("{path}: {message}"), &json!({"path": path}))
}

/// An error of the daemon, or of the way to it.
pub(super) fn from_hob(error: &CliError) -> RpcError {
    let code = match error.exit {
        ExitCode::Own(Exit::Usage) => INVALID_PARAMS,
        _ => INTERNAL_ERROR,
    };
    match &error.hint {
        Some(hint) => with_data(code, format!("{error} (hint: {hint})"), &json!({"hint": hint})),
        None => RpcError::new(code, error.to_string()),
    }
}

/// The bridge ends.
pub(super) fn ending() -> RpcError {
    RpcError::new(INTERNAL_ERROR, "hob acp ends")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_hint_and_says_whose_fault_it_is() {
        let refused = CliError::new(Exit::Refused, "not a repository").hint("git init");
        let came = from_hob(&refused);
        assert_eq!((came.code, came.message.as_str()), (-32603, "not a repository (hint: git init)"));
        assert_eq!(from_hob(&CliError::usage("the prompt is empty")).code, -32602);
        let unknown = unknown_session("c-1");
        assert_eq!(unknown.data.unwrap().get(), r#"{"sessionId":"c-1"}"#);
    }
}
