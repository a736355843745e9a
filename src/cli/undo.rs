//! `hob undo`: puts the files of a session back to what they were before a turn.

use clap::Args;
use serde_json::json;

use super::context::Ctx;
use super::error::Exit;
use super::find::{self, Kind};
use super::render::{GOOD, one_line, paint};
use super::{Outcome, target};
use crate::control::wire::UndoReply;

/// Arguments of `hob undo`.
#[derive(Debug, Args)]
pub struct UndoArgs {
    /// The turn, as `hob task show` and `hob diff --hunks` name it
    pub turn: String,
    /// Of this session, instead of that of the working directory
    #[arg(long, short)]
    pub session: Option<String>,
}

/// Runs the command.
pub async fn run(ctx: &mut Ctx, args: &UndoArgs) -> Outcome {
    let link = ctx.link().await?;
    let target = target::find(ctx, &link, args.session.as_deref()).await?;
    let answer = find::with_id(&link, Kind::Turn, &args.turn, async |turn| {
        link.raw("change/undo", json!({"session": target.session, "turn": turn})).await
    })
    .await?;
    let reply: UndoReply = serde_json::from_str(answer.get())?;
    ctx.show(&answer, |reply: UndoReply| {
        let line = |path: &String| format!("{} {}\n", paint(GOOD, "restored"), one_line(path, usize::MAX));
        reply.restored.iter().map(line).collect()
    })?;
    if reply.restored.is_empty() {
        ctx.say("nothing has changed since that turn began");
    }
    ctx.say(format_args!("the worktree as it was is kept on {}", reply.rescue_ref));
    Ok(Exit::Done)
}
