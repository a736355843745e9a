//! `hob evict`: lets the process of an agent session go; the next prompt brings it back.

use clap::Args;
use serde_json::json;

use super::Outcome;
use super::context::Ctx;
use super::error::{CliError, Exit};
use super::find::{Kind, with_id};
use super::render::{duration, or_nothing};
use crate::control::wire::AgentSessionRow;

/// Arguments of `hob evict` and `hob restart`.
#[derive(Debug, Args)]
pub struct ActArgs {
    /// The chat, or the beginning of its id
    pub chat: String,
    /// The agent in it
    pub agent: String,
    /// Also if it is busy: what it works on ends
    #[arg(long)]
    pub force: bool,
}

/// Returns when the process and everything below it is gone.
pub async fn run(ctx: &mut Ctx, args: &ActArgs) -> Outcome {
    act(ctx, "pool/evict", args).await
}

/// Does something with the process of an agent session, by the name of the method, and shows how it
/// stands then.
pub async fn act(ctx: &mut Ctx, method: &str, args: &ActArgs) -> Outcome {
    let link = ctx.link().await?;
    let answer = with_id(&link, Kind::Chat, &args.chat, async |id| -> Result<_, CliError> {
        link.raw(method, json!({"chat": id, "agent": args.agent, "force": args.force})).await
    });
    let answer = answer.await?;
    ctx.show(&answer, |row: AgentSessionRow| words(&row))?;
    Ok(Exit::Done)
}

fn words(row: &AgentSessionRow) -> String {
    let mut words = format!("{} {} {}", row.chat, row.agent, row.status);
    if row.pid.is_some() {
        words.push_str(&format!(
            " (pid {}, context {})",
            or_nothing(row.pid),
            or_nothing(row.context.as_deref())
        ));
    }
    if let Some(ms) = row.retry_in_ms {
        words.push_str(&format!(", next start in {}", duration(ms)));
    }
    words.push('\n');
    words
}
