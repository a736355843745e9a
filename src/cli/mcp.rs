//! `hob mcp`: an MCP server on stdio, for models that are to hand work to agents.

use std::sync::Arc;

use clap::Args;
use tokio::sync::Mutex;

use super::Outcome;
use super::context::Ctx;
use super::error::{CliError, Exit};
use crate::bridge::mcp::{Door, Opened, Opening, Trouble, serve};
use crate::control::error::Kind;

/// Arguments of `hob mcp`.
#[derive(Debug, Args)]
pub struct McpArgs {}

/// How the daemon takes us for a process of one of its agents.
const AGENT_SCOPE: &str = "agent";

/// The way to the daemon of a command; one at a time, or two would start one.
struct CommandDoor(Mutex<Ctx>);

impl Door for CommandDoor {
    fn open(&self) -> Opening<'_> {
        Box::pin(async {
            let link = self.0.lock().await.link().await.map_err(trouble)?;
            let is_agent = link.hello.scope == AGENT_SCOPE;
            Ok(Opened { client: link.into_client(), is_agent })
        })
    }
}

fn trouble(error: CliError) -> Trouble {
    let kind = error.is_no_daemon().then_some(Kind::NoDaemon);
    Trouble { kind, ..Trouble::new(error.message, error.hint) }
}

/// Serves until the client goes away.
pub async fn run(ctx: &Ctx, _: &McpArgs) -> Outcome {
    let cwd = std::env::current_dir()?;
    let door = CommandDoor(Mutex::new(Ctx::new(ctx.globals.clone())?));
    serve(Arc::new(door), cwd).await.map_err(CliError::failed)?;
    Ok(Exit::Done)
}
