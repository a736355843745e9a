//! `agent/*`: which agents can be asked for.

use super::{Call, Done};
use crate::control::error::RpcFailure;
use crate::control::params::Nothing;
use crate::control::wire::AgentRow;

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
