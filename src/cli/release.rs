//! `hob release`: lets the held tasks of a chat go on.

use clap::Args;

use super::Outcome;
use super::context::Ctx;
use super::hold::set_held;

/// Arguments of `hob release`.
#[derive(Debug, Args)]
pub struct ReleaseArgs {
    /// The chat, or the beginning of its id
    pub chat: String,
}

/// Undoes `hob hold`.
pub async fn run(ctx: &mut Ctx, args: &ReleaseArgs) -> Outcome {
    set_held(ctx, "task/release", &args.chat).await
}
