//! `hob hold`: holds the queued tasks of a chat back.

use clap::Args;

use super::Outcome;
use super::context::Ctx;
use super::error::{CliError, Exit};
use super::find::{Kind, with_id};

use serde::Deserialize;
use serde_json::json;

/// Arguments of `hob hold`.
#[derive(Debug, Args)]
pub struct HoldArgs {
    /// The chat, or the beginning of its id
    pub chat: String,
}

#[derive(Deserialize)]
struct Held {
    held: bool,
}

/// What runs goes on; what is queued waits for `hob release`.
pub async fn run(ctx: &mut Ctx, args: &HoldArgs) -> Outcome {
    set_held(ctx, "task/hold", &args.chat).await
}

/// Holds or releases a chat, by the name of the method.
pub async fn set_held(ctx: &mut Ctx, method: &str, chat: &str) -> Outcome {
    let link = ctx.link().await?;
    let answer = with_id(&link, Kind::Chat, chat, async |id| -> Result<_, CliError> {
        link.raw(method, json!({"chat": id})).await
    });
    let answer = answer.await?;
    ctx.show(&answer, |held: Held| format!("{}\n", if held.held { "held" } else { "released" }))?;
    Ok(Exit::Done)
}
