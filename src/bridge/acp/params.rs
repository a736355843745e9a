//! The parameters of the protocol's methods, as far as they are looked into.
//!
//! Members that nobody here knows are no error: clients of later versions send more.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::value::RawValue;

use super::error::bad_param;
use crate::control::params;
use crate::jsonrpc::RpcError;

/// `initialize`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Initialize {
    #[serde(rename = "protocolVersion")]
    _protocol_version: u64,
    #[serde(default)]
    client_capabilities: Option<Box<RawValue>>,
}

/// What a client is told that says it can be.
#[derive(Default, Deserialize)]
struct Capabilities {
    #[serde(default)]
    session: SessionCapabilities,
}

#[derive(Default, Deserialize)]
struct SessionCapabilities {
    #[serde(default)]
    notices: Option<IgnoredAny>,
}

impl Initialize {
    /// Whether the client takes notices. What is said otherwise than expected says nothing.
    pub(super) fn takes_notices(&self) -> bool {
        let raw = self.client_capabilities.as_ref();
        let said = raw.and_then(|raw| serde_json::from_str::<Capabilities>(raw.get()).ok());
        said.is_some_and(|said| said.session.notices.is_some())
    }
}

/// `session/new`, and the common part of `session/load` and `session/resume`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Place {
    pub(super) cwd: PathBuf,
    #[serde(default)]
    pub(super) mcp_servers: Vec<IgnoredAny>,
}

/// `session/load` and `session/resume`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Known {
    pub(super) session_id: String,
    pub(super) cwd: PathBuf,
    #[serde(default)]
    pub(super) mcp_servers: Vec<IgnoredAny>,
}

/// `session/list`
#[derive(Debug, Default, Deserialize)]
pub(super) struct List {
    #[serde(default)]
    pub(super) cwd: Option<PathBuf>,
    #[serde(default)]
    pub(super) cursor: Option<String>,
}

/// `session/prompt`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Prompt {
    pub(super) session_id: String,
    pub(super) prompt: Vec<Box<RawValue>>,
}

/// `session/set_mode`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SetMode {
    pub(super) session_id: String,
    pub(super) mode_id: String,
}

/// `session/set_model`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SetModel {
    pub(super) session_id: String,
    pub(super) model_id: String,
}

/// `session/set_config_option`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SetOption {
    pub(super) session_id: String,
    pub(super) config_id: String,
    pub(super) value: String,
}

/// Methods that name a session and are not asked for more.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OfSession {
    pub(super) session_id: String,
}

/// `$/cancel_request`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CancelRequest {
    pub(super) request_id: Box<RawValue>,
}

/// Reads parameters.
///
/// # Errors
/// Names the one that is wrong, and says what is wrong with it.
pub(super) fn read<T: DeserializeOwned>(raw: Option<&RawValue>) -> Result<T, RpcError> {
    params::read(raw).map_err(|failure| {
        let path = failure.data.path.filter(|path| !path.is_empty());
        bad_param(path.as_deref().unwrap_or("params"), &failure.message)
    })
}

/// Sees that a working directory is one, and resolves links in its path.
///
/// # Errors
/// It is not absolute, or not there, or not a directory.
pub(super) async fn check_cwd(cwd: &Path) -> Result<PathBuf, RpcError> {
    if !cwd.is_absolute() {
        return Err(bad_param("cwd", &format!("`{}` is not absolute", cwd.display())));
    }
    let found = tokio::fs::canonicalize(cwd).await;
    let found = found.map_err(|error| bad_param("cwd", &format!("`{}`: {error}", cwd.display())))?;
    match tokio::fs::metadata(&found).await {
        Ok(there) if there.is_dir() => Ok(found),
        _ => Err(bad_param("cwd", &format!("`{}` is not a directory", cwd.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.into()).unwrap()
    }

    #[test]
    fn a_wrong_parameter_is_named() {
        let place = |text: &str| read::<Place>(Some(&raw(text))).map(|_| ()).map_err(|error| error.message);
        let cases = [
            (r#"{"cwd":"/a","mcpServers":[],"ofNextYear":1}"#, Ok(())),
            (r#"{"cwd":"/a"}"#, Ok(())),
            ("{}", Err("cwd: missing field `cwd`")),
            (r#"{"cwd":7}"#, Err("cwd: invalid type: integer `7`, expected path string")),
            (r#"{"cwd":"/a","mcpServers":{}}"#, Err("mcpServers: invalid type: map, expected a sequence")),
            ("[]", Err("params: params must be an object")),
        ];
        for (text, expected) in cases {
            assert_eq!(place(text), expected.map_err(str::to_owned), "{text}");
        }
        assert_eq!(read::<Prompt>(None).unwrap_err().code, -32602);
    }

    #[test]
    fn a_client_that_takes_notices_says_so() {
        let cases = [
            (r#"{"protocolVersion":1}"#, false),
            (r#"{"protocolVersion":1,"clientCapabilities":{"session":{"notices":null}}}"#, false),
            (r#"{"protocolVersion":1,"clientCapabilities":{"session":{"notices":{}}}}"#, true),
            (r#"{"protocolVersion":1,"clientCapabilities":{"session":7}}"#, false),
            (r#"{"protocolVersion":99,"clientCapabilities":[]}"#, false),
        ];
        for (text, expected) in cases {
            assert_eq!(read::<Initialize>(Some(&raw(text))).unwrap().takes_notices(), expected, "{text}");
        }
    }
}
