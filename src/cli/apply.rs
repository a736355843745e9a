//! `hob apply` and `hob discard`: takes pending changes over, or gives them up, by path or hunk.

use std::path::PathBuf;

use clap::Args;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::Outcome;
use super::context::Ctx;
use super::error::{CliError, Exit};
use super::hunks::{self, Choice};
use super::link::Link;
use super::render::{BAD, GOOD, NAME, one_line, paint};
use super::target;
use crate::control::wire::ApplyReply;

/// Arguments of `hob apply` and `hob discard`.
#[derive(Debug, Args)]
pub struct ActArgs {
    /// Of this session, instead of that of the working directory
    #[arg(long, short)]
    pub session: Option<String>,
    /// Only say what would happen
    #[arg(long)]
    pub dry_run: bool,
    /// Only this hunk, by the name that `hob diff --hunks` shows; may be given again
    #[arg(long = "hunk", value_name = "ID")]
    pub hunks: Vec<String>,
    /// Choose hunk by hunk, on a terminal
    #[arg(long, short, conflicts_with = "hunks")]
    pub patch: bool,
    /// Do not ask before everything is discarded, or before files go from the checkout
    #[arg(long, short)]
    pub yes: bool,
    /// Only these files, and what is below these directories
    pub paths: Vec<PathBuf>,
}

/// What is done with changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// They go to the user's checkout.
    Apply,
    /// They go from the worktree.
    Discard,
}

impl Act {
    fn method(self) -> &'static str {
        match self {
            Self::Apply => "change/apply",
            Self::Discard => "change/discard",
        }
    }

    /// The word for having done it.
    fn done(self) -> &'static str {
        match self {
            Self::Apply => "applied",
            Self::Discard => "discarded",
        }
    }
}

/// Takes pending changes over. Exits 6 on a conflict; nothing was changed then.
pub async fn apply(ctx: &mut Ctx, args: &ActArgs) -> Outcome {
    run(ctx, args, Act::Apply).await
}

/// Gives pending changes up.
pub async fn discard(ctx: &mut Ctx, args: &ActArgs) -> Outcome {
    run(ctx, args, Act::Discard).await
}

async fn run(ctx: &mut Ctx, args: &ActArgs, act: Act) -> Outcome {
    if args.patch && !ctx.can_ask() {
        let message = "`-p` asks for each hunk, and there is no terminal to ask on";
        return Err(CliError::usage(message).hint("--hunk ID; `hob diff --hunks` lists them"));
    }
    let link = ctx.link().await?;
    let target = target::find(ctx, &link, args.session.as_deref()).await?;
    let paths = target.paths(&args.paths)?;
    let mut params = json!({"session": target.session, "dry_run": args.dry_run});
    if !paths.is_empty() {
        params["paths"] = json!(paths);
    }
    if !args.hunks.is_empty() {
        params["hunks"] = json!(args.hunks);
    }
    if args.patch {
        match hunks::choose(ctx, &link, &target.session, (&paths, act)).await? {
            Choice::Nothing => {
                ctx.say("nothing chosen");
                return Ok(Exit::Done);
            }
            Choice::These { paths, hunks } => {
                params.as_object_mut().map(|params| params.remove("paths"));
                if !paths.is_empty() {
                    params["paths"] = json!(paths);
                }
                if !hunks.is_empty() {
                    params["hunks"] = json!(hunks);
                }
            }
        }
    }
    let is_all = params.get("paths").is_none() && params.get("hunks").is_none();
    let asks = act == Act::Discard && is_all && !args.yes && !args.dry_run && ctx.can_ask();
    if asks && !may_discard(ctx, &link, &mut params).await? {
        ctx.say("nothing was discarded");
        return Ok(Exit::Cancelled);
    }
    if act == Act::Apply && !args.dry_run && !may_delete(ctx, &link, &mut params, args.yes).await? {
        ctx.say("nothing was applied");
        return Ok(Exit::Cancelled);
    }
    finish(ctx, &link, act, params).await
}

/// Names the files whose changes would be given up, and asks. What was named is all that goes.
async fn may_discard(ctx: &mut Ctx, link: &Link, params: &mut Value) -> Result<bool, CliError> {
    let mut asked = params.clone();
    asked["dry_run"] = json!(true);
    let reply: ApplyReply = link.call(Act::Discard.method(), asked).await?;
    if reply.applied.is_empty() {
        return Ok(true);
    }
    for path in &reply.applied {
        ctx.say(format_args!("{} {}", paint(BAD, "discards"), paint(NAME, one_line(path, usize::MAX))));
    }
    params["paths"] = json!(reply.applied);
    let session = params["session"].as_str().unwrap_or_default().to_owned();
    hunks::confirm(ctx, &format!("discard these changes of session {session}?"))
}

/// Names what would go from the checkout, before it does, and asks on a terminal. What was named is all
/// that may go.
pub(super) async fn may_delete(
    ctx: &mut Ctx,
    link: &Link,
    params: &mut Value,
    is_sure: bool,
) -> Result<bool, CliError> {
    let mut asked = params.clone();
    asked["dry_run"] = json!(true);
    let reply: ApplyReply = link.call("change/apply", asked).await?;
    for deletion in &reply.deletions {
        let path = paint(NAME, one_line(&deletion.path, usize::MAX));
        let by = if deletion.agents.is_empty() {
            "you named it".to_owned()
        } else {
            format!("removed by {}", deletion.agents.join(", "))
        };
        ctx.say(format_args!("{} {path} ({by})", paint(BAD, "deletes")));
    }
    params["deletions"] = reply.deletions.iter().map(|deletion| json!(deletion.path)).collect();
    let asks = !reply.deletions.is_empty() && !is_sure && ctx.can_ask();
    if asks { hunks::confirm(ctx, "apply, and delete these files in the checkout?") } else { Ok(true) }
}

async fn finish(ctx: &mut Ctx, link: &Link, act: Act, params: Value) -> Outcome {
    let is_dry = params["dry_run"] == true;
    let answer = link.raw(act.method(), params).await?;
    told(ctx, &answer, act, is_dry)
}

/// Shows what was done. A conflict is exit code 6.
pub(super) fn told(ctx: &mut Ctx, answer: &RawValue, act: Act, is_dry: bool) -> Outcome {
    let reply: ApplyReply = serde_json::from_str(answer.get())?;
    ctx.show(answer, |reply: ApplyReply| shown(&reply, act, is_dry))?;
    if !reply.conflicts.is_empty() {
        for conflict in &reply.conflicts {
            let path = one_line(&conflict.path, usize::MAX);
            ctx.say(format_args!("{} {}: {}", paint(BAD, "conflict"), paint(NAME, path), conflict.why));
        }
        let n = reply.conflicts.len();
        let message = format!("nothing was {}: {n} of the files stand against it", act.done());
        return Err(CliError::new(Exit::Conflict, message));
    }
    for path in &reply.kept {
        let path = one_line(path, usize::MAX);
        ctx.say(format_args!(
            "kept {}: it is gone from the worktree, and no turn took it away; `hob apply {path}` deletes it",
            paint(NAME, &path)
        ));
    }
    if reply.applied.is_empty() && reply.kept.is_empty() {
        ctx.say("no pending changes");
    }
    if let Some(rescue) = &reply.rescue_ref {
        ctx.say(format_args!("the worktree as it was is kept on {rescue}"));
    }
    Ok(Exit::Done)
}

fn shown(reply: &ApplyReply, act: Act, is_dry: bool) -> String {
    let word = if is_dry { format!("would be {}", act.done()) } else { act.done().to_owned() };
    let line = |path: &String| format!("{} {}\n", paint(GOOD, &word), one_line(path, usize::MAX));
    reply.applied.iter().map(line).collect()
}
