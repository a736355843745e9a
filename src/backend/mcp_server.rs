//! hob's own MCP server, as agents are handed it: the daemon's program again, as `mcp`, told where
//! the daemon listens.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use agent_client_protocol_schema::v1::{EnvVariable, McpServer, McpServerStdio};

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
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_agent_is_told_program_arguments_and_socket() {
        let server = OwnServer::new(Path::new("/opt/hobd"), Path::new("/run/hob.sock"));
        let told = serde_json::to_value(server.for_acp()).expect("JSON");
        let env = json!([{"name": "HOB_SOCKET", "value": "/run/hob.sock"}]);
        let expected =
            json!({"name": "hob", "command": "/opt/hobd", "args": ["mcp", "--no-start"], "env": env});
        assert_eq!(told, expected);
    }
}
