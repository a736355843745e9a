//! hob's own MCP server, as agents are handed it: the daemon's program again, as `mcp`, told where
//! the daemon listens.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use agent_client_protocol_schema::v1::{EnvVariable, McpServer, McpServerStdio};
use serde_json::{Value, json};

use super::MCP_COMMAND;

/// What agents know the server as: the first part of the names of its tools.
pub const NAME: &str = "hob";
/// Says where the daemon listens.
const SOCKET: &str = "HOB_SOCKET";

/// How an agent starts hob's MCP server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnServer {
    /// The program, by an absolute path, and its arguments.
    pub command: Vec<String>,
    /// What is set in its environment, beside what the agent passes on.
    pub env: BTreeMap<String, String>,
}

impl OwnServer {
    /// The server of the daemon that listens at `socket` and whose program is `program`. It starts
    /// no daemon: without the one whose agent it serves there is nothing to do.
    pub fn new(program: &Path, socket: &Path) -> Self {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        Self {
            command: vec![text(program), MCP_COMMAND.to_owned(), "--no-start".to_owned()],
            env: [(SOCKET.to_owned(), text(socket))].into(),
        }
    }

    /// As the Agent Client Protocol wants it.
    pub fn for_acp(&self) -> McpServer {
        let (program, arguments) = self
            .command
            .split_first()
            .map_or((PathBuf::new(), &[][..]), |(first, rest)| (PathBuf::from(first), rest));
        let env = self.env.iter().map(|(name, value)| EnvVariable::new(name, value)).collect();
        McpServer::Stdio(McpServerStdio::new(NAME, program).args(arguments.to_vec()).env(env))
    }
    /// In opencode's configuration, added to what is configured already. What is no JSON object is
    /// left as it is, for opencode to say what is wrong with it.
    pub fn for_opencode(&self, configured: Option<&str>) -> String {
        let parsed = configured.map_or_else(|| Ok(json!({})), serde_json::from_str);
        let Ok(Value::Object(mut config)) = parsed else { return configured.unwrap_or_default().to_owned() };
        let own = json!({"type": "local", "command": self.command, "environment": self.env, "enabled": true});
        let servers = config.entry("mcp").or_insert_with(|| json!({}));
        if let Value::Object(servers) = servers {
            servers.insert(NAME.to_owned(), own);
        }
        Value::Object(config).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_told_program_arguments_and_socket() {
        let server = OwnServer::new(Path::new("/opt/hobd"), Path::new("/run/hob.sock"));
        let told = serde_json::to_value(server.for_acp()).expect("JSON");
        let env = json!([{"name": "HOB_SOCKET", "value": "/run/hob.sock"}]);
        let expected =
            json!({"name": "hob", "command": "/opt/hobd", "args": ["mcp", "--no-start"], "env": env});
        assert_eq!(told, expected);
    }
    #[test]
    fn opencode_finds_it_beside_what_was_configured() {
        let server = OwnServer::new(Path::new("/opt/hobd"), Path::new("/run/hob.sock"));
        let told: Value =
            serde_json::from_str(&server.for_opencode(Some(r#"{"model":"m","mcp":{"other":{}}}"#)))
                .expect("JSON");
        assert_eq!(told["model"], "m");
        assert_eq!(told["mcp"]["other"], json!({}));
        assert_eq!(told["mcp"]["hob"]["command"], json!(["/opt/hobd", "mcp", "--no-start"]));
        assert!(server.for_opencode(None).contains("HOB_SOCKET"));
        assert_eq!(server.for_opencode(Some("{ // odd")), "{ // odd");
    }
}
