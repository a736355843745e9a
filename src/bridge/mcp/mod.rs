//! An MCP server on stdio: a client of the daemon that lets a model hand work to agents.
//!
//! [`tools`] says what can be called, [`acts`] does it, [`wait`] waits for tasks and tells how far
//! they are, [`answer`] makes what is answered. Each call has connections of its own to the
//! daemon, so a daemon that is started again between two calls is not noticed. **Invariant:** what
//! a caller may do is for the daemon to judge; here it is only asked whether it is an agent.

mod acts;
mod answer;
mod ears;
mod progress;
mod tools;
mod wait;

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, Implementation, ListToolsResult, PaginatedRequestParams,
    ServerCapabilities, ServerConfig,
};
use rmcp::service::{RequestContext, RoleServer};
use rmcp::{ErrorData, ServerHandler, ServiceExt};
use tokio_util::sync::CancellationToken;

use crate::control::client::{Client, ClientError};
use crate::control::error::Kind;

/// What a client's model reads first.
const INSTRUCTIONS: &str = "hob runs coding agents, each in a git worktree of its own. Hand work over with \
    `new_task`, and get the answer from it or later with `task_result`.";

/// A connection to the daemon.
pub struct Opened {
    /// The connection, greeted already.
    pub client: Client,
    /// Whether the daemon takes us for a process of one of its agents.
    pub is_agent: bool,
}

/// A connection, later.
pub type Opening<'a> = Pin<Box<dyn Future<Output = Result<Opened, Trouble>> + Send + 'a>>;

/// How the daemon is reached.
pub trait Door: Send + Sync + 'static {
    /// Opens a connection, and starts a daemon for it where that is wanted.
    fn open(&self) -> Opening<'_>;
}

/// Why something could not be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Trouble {
    /// The kind, if the daemon said.
    pub kind: Option<Kind>,
    /// What went wrong.
    pub message: String,
    /// What can be done.
    pub hint: Option<String>,
    /// What a guard objects to.
    pub reasons: Vec<String>,
    /// The parameter that is wrong.
    pub path: Option<String>,
}

impl Trouble {
    /// Trouble that the daemon has no word for.
    pub fn new(message: impl Into<String>, hint: Option<String>) -> Self {
        Self { kind: None, message: message.into(), hint, reasons: Vec::new(), path: None }
    }
}

impl From<ClientError> for Trouble {
    fn from(error: ClientError) -> Self {
        let ClientError { kind, message, hint, reasons, path, .. } = error;
        Self { kind: Some(kind), message, hint, reasons, path }
    }
}

/// The server.
#[derive(Clone)]
pub(super) struct Server {
    door: Arc<dyn Door>,
    /// The directory that stands for a repository which is not named.
    cwd: PathBuf,
    /// Fires when the client says nothing more.
    gone: CancellationToken,
}

/// Serves the client on stdin and stdout until it goes away.
///
/// # Errors
/// If the client does not begin as the protocol wants it.
pub async fn serve(door: Arc<dyn Door>, cwd: PathBuf) -> Result<(), String> {
    let gone = CancellationToken::new();
    let ears = ears::Ears::new(tokio::io::stdin(), gone.clone());
    let server = Server { door, cwd, gone: gone.clone() };
    match server.serve((ears, tokio::io::stdout())).await {
        Ok(running) => running.waiting().await.map(drop).map_err(|error| error.to_string()),
        // Whoever leaves before the first word wants nothing.
        Err(_) if gone.is_cancelled() => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("hob", env!("CARGO_PKG_VERSION")))
            .with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(tools::all()?))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let call = tools::read(&request.name, request.arguments)?;
        let result = match self.act(call, &context).await {
            Ok(result) => result,
            Err(trouble) => answer::failure(trouble)?,
        };
        Ok(result.into())
    }
}
