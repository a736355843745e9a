//! The methods that need no daemon: who we are, and that nobody need log in.

use agent_client_protocol_schema::ProtocolVersion;
use agent_client_protocol_schema::v1::{
    AgentCapabilities, Implementation, InitializeResponse, PromptCapabilities, SessionCapabilities,
    SessionCloseCapabilities, SessionListCapabilities, SessionResumeCapabilities,
};

use super::editor::Editor;
use super::error::bad_param;
use super::params;
use crate::jsonrpc::RpcError;
use serde_json::value::RawValue;

/// Answers a method that needs no daemon.
///
/// # Errors
/// It is unknown, or not possible, or its parameters are wrong.
pub(super) fn answer(
    editor: &Editor,
    method: &str,
    raw: Option<&RawValue>,
) -> Result<InitializeResponse, RpcError> {
    match method {
        "initialize" => {
            let params: params::Initialize = params::read(raw)?;
            editor.set_takes_notices(params.takes_notices());
            Ok(hello())
        }
        "authenticate" => {
            Err(bad_param("methodId", "none is offered: whoever may use the socket may use hob"))
        }
        _ => Err(RpcError::method_not_found(method)),
    }
}

/// Whatever version was asked for: it is the only one that is spoken here.
fn hello() -> InitializeResponse {
    let sessions = SessionCapabilities::new()
        .list(SessionListCapabilities::new())
        .resume(SessionResumeCapabilities::new())
        .close(SessionCloseCapabilities::new());
    let capabilities = AgentCapabilities::new()
        .load_session(true)
        .prompt_capabilities(PromptCapabilities::new().embedded_context(true))
        .session_capabilities(sessions);
    InitializeResponse::new(ProtocolVersion::V1)
        .agent_capabilities(capabilities)
        .agent_info(Implementation::new("hob", env!("CARGO_PKG_VERSION")).title("hob".to_owned()))
}
