//! `hob acp`: the bridge to editors, on stdio. What it does is in [`crate::bridge::acp`].

use clap::Args;
use serde_json::json;

use super::Outcome;
use super::context::Ctx;
use super::error::{CliError, Exit};
use super::find::{self, Kind};
use crate::bridge::acp::{self, Options};
use crate::control::wire::AgentRow;

/// Arguments of `hob acp`.
#[derive(Debug, Args)]
pub struct AcpArgs {
    /// The agent; that of the chat, else `default_agent`, else the first that is available
    #[arg(long, short)]
    pub agent: Option<String>,
    /// Make new chats in this session, instead of that of the editor's checkout
    #[arg(long, short)]
    pub session: Option<String>,
}

/// Exits 0 when the client is gone.
pub async fn run(ctx: &mut Ctx, args: &AcpArgs) -> Outcome {
    // What the person named wrongly is told to the person, and not to every prompt.
    if let Some(agent) = &args.agent {
        check_agent(ctx, agent).await?;
    }
    let session = match &args.session {
        Some(session) => Some(find::id(&ctx.link().await?, Kind::Session, session).await?),
        None => None,
    };
    acp::run(Ctx::new(ctx.globals.clone())?, Options { agent: args.agent.clone(), session }).await?;
    Ok(Exit::Done)
}

async fn check_agent(ctx: &mut Ctx, name: &str) -> Result<(), CliError> {
    let agents: Vec<AgentRow> = ctx.link().await?.call("agent/list", json!({})).await?;
    if agents.iter().any(|agent| agent.name == name) {
        return Ok(());
    }
    Err(CliError::new(Exit::NotFound, format!("no agent `{name}`")).hint("hob agent ls"))
}
