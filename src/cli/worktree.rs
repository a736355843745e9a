//! `hob worktree`: what worktrees there are, what would be lost with each, and what becomes of them.

use clap::{Args, Subcommand};
use serde_json::json;

use super::context::Ctx;
use super::error::Exit;
use super::render::{BAD, DIM, GOOD, NAME, NOTHING, WARN, ago, facts, one_line, paint, size, table};
use super::{Outcome, target};
use crate::control::wire::{Moment, ReapRow, ReasonRow, RiskRow, StashReply, UnstashReply, WorktreeRow};

/// The widest reason in a table, in characters.
const REASON_WIDTH_MAX: usize = 60;

/// What can be done with worktrees.
#[derive(Debug, Subcommand)]
pub enum WorktreeCommand {
    /// List the worktrees, and why each is kept
    Ls(LsArgs),
    /// Say what would be lost with a worktree
    Risk(RiskArgs),
    /// Put uncommitted work on a ref, and leave the worktree clean
    Stash(StashArgs),
    /// Bring back what was put away
    Unstash(UnstashArgs),
    /// Retire worktrees that nobody needs, now
    Reap(ReapArgs),
    /// Bring a retired worktree back, with its session
    Restore(OneArgs),
}

/// Arguments of `hob worktree ls`.
#[derive(Debug, Args)]
pub struct LsArgs {
    /// Also those of which only a salvage is left
    #[arg(long, short)]
    pub all: bool,
    /// How much each takes on the disk
    #[arg(long)]
    pub sizes: bool,
}

/// Arguments of `hob worktree risk`.
#[derive(Debug, Args)]
pub struct RiskArgs {
    /// The worktree or its session, or the beginning of its id; without it, that of the working directory
    pub of: Option<String>,
}

/// Arguments of `hob worktree stash`.
#[derive(Debug, Args)]
pub struct StashArgs {
    /// Of this session, instead of that of the working directory
    #[arg(long, short)]
    pub session: Option<String>,
    /// What it is
    #[arg(long, short)]
    pub message: Option<String>,
}

/// Arguments of `hob worktree unstash`.
#[derive(Debug, Args)]
pub struct UnstashArgs {
    /// Of this session, instead of that of the working directory
    #[arg(long, short)]
    pub session: Option<String>,
    /// The ref that `stash` printed; without it, the newest
    pub stash_ref: Option<String>,
}

/// Arguments of `hob worktree reap`.
#[derive(Debug, Args)]
pub struct ReapArgs {
    /// Only say what would happen
    #[arg(long)]
    pub dry_run: bool,
    /// This one alone: the worktree or its session, or the beginning of its id
    pub of: Option<String>,
}

/// A worktree.
#[derive(Debug, Args)]
pub struct OneArgs {
    /// The worktree or its session, or the beginning of its id
    pub of: String,
}

/// Runs the command.
pub async fn run(ctx: &mut Ctx, command: &WorktreeCommand) -> Outcome {
    match command {
        WorktreeCommand::Ls(args) => {
            let params = json!({"all": args.all, "sizes": args.sizes});
            let answer = ctx.link().await?.raw("worktree/list", params).await?;
            ctx.show(&answer, |rows: Vec<WorktreeRow>| list(&rows, Moment::now()))?;
        }
        WorktreeCommand::Risk(args) => {
            let params = match &args.of {
                Some(of) => json!({"worktree": target::worktree(ctx, of).await?}),
                None => {
                    let link = ctx.link().await?;
                    json!({"session": target::find(ctx, &link, None).await?.session})
                }
            };
            let answer = ctx.link().await?.raw("worktree/risk", params).await?;
            ctx.show(&answer, |row: RiskRow| risk(&row))?;
        }
        WorktreeCommand::Stash(args) => stash(ctx, args).await?,
        WorktreeCommand::Unstash(args) => unstash(ctx, args).await?,
        WorktreeCommand::Reap(args) => {
            let mut params = json!({"dry_run": args.dry_run});
            if let Some(of) = &args.of {
                params["worktree"] = json!(target::worktree(ctx, of).await?);
            }
            let answer = ctx.link().await?.raw("worktree/reap", params).await?;
            let is_dry = args.dry_run;
            ctx.show(&answer, |rows: Vec<ReapRow>| reaped(&rows, is_dry))?;
        }
        WorktreeCommand::Restore(args) => {
            let worktree = target::worktree(ctx, &args.of).await?;
            let answer = ctx.link().await?.raw("worktree/restore", json!({"worktree": worktree})).await?;
            ctx.show(&answer, |row: WorktreeRow| restored(&row))?;
        }
    }
    Ok(Exit::Done)
}

async fn stash(ctx: &mut Ctx, args: &StashArgs) -> Result<(), super::error::CliError> {
    let link = ctx.link().await?;
    let mut params = json!({"session": target::find(ctx, &link, args.session.as_deref()).await?.session});
    if let Some(message) = &args.message {
        params["message"] = json!(message);
    }
    let answer = link.raw("worktree/stash", params).await?;
    ctx.show(&answer, |reply: StashReply| format!("{}\n", reply.stash_ref))
}

async fn unstash(ctx: &mut Ctx, args: &UnstashArgs) -> Result<(), super::error::CliError> {
    let link = ctx.link().await?;
    let mut params = json!({"session": target::find(ctx, &link, args.session.as_deref()).await?.session});
    if let Some(stash_ref) = &args.stash_ref {
        params["stash_ref"] = json!(stash_ref);
    }
    let answer = link.raw("worktree/unstash", params).await?;
    ctx.show(&answer, |reply: UnstashReply| {
        reply.files.iter().map(|file| format!("{}\n", one_line(file, usize::MAX))).collect()
    })
}

/// The table of `hob worktree ls`.
pub fn list(rows: &[WorktreeRow], now: Moment) -> String {
    let row = |tree: &WorktreeRow| {
        let kept = tree.kept_because.iter().map(|why| one_line(why, REASON_WIDTH_MAX)).collect::<Vec<_>>();
        vec![
            tree.id.clone(),
            tree.session.clone().unwrap_or_else(|| NOTHING.to_owned()),
            tree.state.clone(),
            ago(tree.created_at, now),
            tree.last_write.map_or_else(|| NOTHING.to_owned(), |at| ago(at, now)),
            tree.size_bytes.map_or_else(|| NOTHING.to_owned(), size),
            if kept.is_empty() { NOTHING.to_owned() } else { kept.join("\n") },
        ]
    };
    let header = ["WORKTREE", "SESSION", "STATE", "CREATED", "LAST WRITE", "SIZE", "KEPT BECAUSE"];
    table(&header, &[5], rows.iter().map(row).collect())
}

/// What a kind of reason means, and what can be done about it.
fn meaning(kind: &str) -> &'static str {
    match kind {
        "dirty" => "tracked files differ from the last commit: commit, apply or discard them",
        "untracked" => "files that are nowhere else: commit, apply, copy or remove them",
        "unpushed" => "commits that no other branch and no remote has: push or merge them",
        "unreachable" => "commits that no branch or tag reaches: give them a branch",
        "stash_here" => "stashes that were made on its branch: `git stash branch` them, or drop them",
        "operation" => "git is in the middle of something: finish or abort it",
        "locked" => "somebody locked it: `git worktree unlock` it",
        "lock_file" => "a git works there, or died there: wait, or remove the lock by hand",
        "in_use" => "a process works in it: end it, or leave it",
        "nested_repo" => "repositories inside, whose own commits and changes are not looked at",
        "foreign" => "it is not the worktree that hob made: look at it by hand",
        "mount" => "something is mounted on or below it: unmount it",
        "pending_changes" => "changes that were neither applied nor discarded: `hob diff` shows them",
        "live" => "its session is at work: close it first",
        "missing" => "git has names of objects and no content: they were pruned, and are lost already",
        "unreadable" => "not everything could be looked at, so nothing is known",
        _ => "see the detail",
    }
}

fn reasons(rows: &[ReasonRow]) -> String {
    let line = |row: &ReasonRow| {
        let detail = one_line(&row.detail, usize::MAX);
        format!("  {}  {detail}\n    {}\n", paint(NAME, &row.kind), paint(DIM, meaning(&row.kind)))
    };
    rows.iter().map(line).collect()
}

/// A verdict with its reasons, in words.
pub fn risk(row: &RiskRow) -> String {
    let verdict = match row.verdict.as_str() {
        "clean" => paint(GOOD, "clean: nothing would be lost"),
        "blocked" => paint(BAD, "blocked: something would be lost, or is in use"),
        _ => paint(WARN, "unknown: so it is kept"),
    };
    let partial = if row.partial {
        paint(DIM, "processes of other users could not be looked at\n")
    } else {
        String::new()
    };
    format!("{}  {verdict}\n{}{partial}", row.worktree, reasons(&row.reasons))
}

/// What a pass of the reaper did, or would do.
pub fn reaped(rows: &[ReapRow], is_dry: bool) -> String {
    let would = if is_dry { "would be " } else { "" };
    let line = |row: &ReapRow| {
        let style = if row.action == "kept" { WARN } else { GOOD };
        let salvage = row.salvage_ref.as_ref().map(|salvage| format!("  {salvage}")).unwrap_or_default();
        let action = paint(style, format_args!("{would}{}", row.action));
        format!("{}  {action}{salvage}\n{}", row.worktree, reasons(&row.reasons))
    };
    rows.iter().map(line).collect()
}

fn restored(row: &WorktreeRow) -> String {
    facts(&[
        ("worktree", row.id.clone()),
        ("session", row.session.clone().unwrap_or_default()),
        ("path", row.path.clone()),
        ("branch", row.branch.clone()),
    ])
}

#[cfg(test)]
mod tests {
    use hob_actors::worktree::REASON_KINDS;

    use super::super::render::plain;
    use super::*;

    fn reason(kind: &str, detail: &str) -> ReasonRow {
        ReasonRow { kind: kind.into(), detail: detail.into(), count: 1 }
    }

    #[test]
    fn every_kind_of_reason_has_a_meaning() {
        for kind in REASON_KINDS {
            assert_ne!(meaning(kind.word()), meaning("no such kind"), "{}", kind.word());
        }
    }

    #[test]
    fn a_verdict_says_what_would_be_lost_and_what_to_do() {
        let row = RiskRow {
            session: None,
            worktree: "w-1".into(),
            verdict: "blocked".into(),
            reasons: vec![
                reason("dirty", "`a.rs`"),
                reason("unpushed", "2 commits on `hob/w-1` and nowhere else"),
            ],
            partial: true,
        };
        insta::assert_snapshot!(plain(&risk(&row)), @r"
        w-1  blocked: something would be lost, or is in use
          dirty  `a.rs`
            tracked files differ from the last commit: commit, apply or discard them
          unpushed  2 commits on `hob/w-1` and nowhere else
            commits that no other branch and no remote has: push or merge them
        processes of other users could not be looked at
        ");
    }

    #[test]
    fn a_pass_says_what_it_did() {
        let archived = ReapRow {
            worktree: "w-1".into(),
            action: "archived".into(),
            reasons: Vec::new(),
            salvage_ref: Some("refs/hob/salvage/w-1".into()),
        };
        let kept = ReapRow {
            worktree: "w-2".into(),
            action: "kept".into(),
            reasons: vec![reason("untracked", "`.env`")],
            salvage_ref: None,
        };
        insta::assert_snapshot!(plain(&reaped(&[archived, kept], false)), @r"
        w-1  archived  refs/hob/salvage/w-1
        w-2  kept
          untracked  `.env`
            files that are nowhere else: commit, apply, copy or remove them
        ");
    }
}
