//! `agent/*`: which agents can be asked for.

use super::{Call, Done};
use crate::control::error::{RpcFailure, shorten};
use crate::control::params::{AgentCheck, Nothing};
use crate::control::wire::{AgentCheckReply, AgentRow};
use crate::path_text;

/// `agent/list`
pub(crate) async fn list(call: &Call, _: Nothing) -> Done<Vec<AgentRow>> {
    all(call).await
}

/// Every agent that is known or configured. Looks for programs on disk, so not on this thread.
pub(crate) async fn all(call: &Call) -> Done<Vec<AgentRow>> {
    let agents = call.services().agents.clone();
    let listed = tokio::task::spawn_blocking(move || agents.list()).await;
    listed.map_err(|_| RpcFailure::internal("the agents could not be listed"))
}

/// `agent/check`
pub(crate) async fn check(call: &Call, params: AgentCheck) -> Done<AgentCheckReply> {
    let cwd = params.cwd.map(|cwd| path_text::path(&cwd));
    if let Some(cwd) = &cwd
        && !cwd.is_absolute()
    {
        let message = format!("`{}` is not an absolute path", shorten(&cwd.to_string_lossy()));
        return Err(RpcFailure::invalid_params("cwd", message));
    }
    let (agents, name) = (call.services().agents.clone(), params.agent.clone());
    let checked = tokio::task::spawn_blocking(move || agents.check(&name, cwd.as_deref())).await;
    let checked = checked.map_err(|_| RpcFailure::internal("the agent could not be looked up"))?;
    checked.ok_or_else(|| RpcFailure::not_found("agent", &params.agent).hint("hob agent ls"))
}
