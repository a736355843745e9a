//! `hob restart`: starts the process of an agent session again, and closes its circuit.

use super::Outcome;
use super::context::Ctx;
use super::evict::{ActArgs, act};

/// Returns when the new process is ready, or could not be started.
pub async fn run(ctx: &mut Ctx, args: &ActArgs) -> Outcome {
    act(ctx, "pool/restart", args).await
}
