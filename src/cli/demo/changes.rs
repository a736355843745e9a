//! The steps of the demo in which work is told, taken over, given up, deleted and brought back.

use std::path::PathBuf;

use serde_json::json;

use super::Demo;
use super::stage::OTHER;
use super::steps::check;
use crate::backend::known::DEMO;
use crate::cli::diff;
use crate::cli::error::CliError;
use crate::control::wire::{ApplyReply, ChangeRow, DeleteReply, WorktreeRow};

/// What the built-in agent wrote in an earlier step.
const FIRST: &str = "hello.txt";
/// What the second agent writes.
const SECOND: &str = "notes.txt";
/// What is at stake when the session is to be deleted.
const AT_STAKE: &str = "draft.txt";
const DRAFT: &str = "hours of work";

pub(super) async fn pending(demo: &mut Demo<'_>) -> Result<String, CliError> {
    let chat = demo.cast.second.clone();
    demo.play_by(OTHER, &chat, &format!("write: {SECOND}: noted by another")).await?;
    let rows = demo.changes().await?;
    demo.show.block(&diff::stat(&rows))?;
    let seen: Vec<_> = rows.iter().map(|row| (row.path.as_str(), row.agents.join(" "), row.shared)).collect();
    let expected = [(FIRST, DEMO.to_owned(), false), (SECOND, OTHER.to_owned(), false)];
    check(seen == expected, "a file of each agent, with its name", format_args!("{seen:?}"))?;
    Ok(format!("{FIRST} is of `{DEMO}`, {SECOND} of `{OTHER}`; the checkout has neither"))
}

pub(super) async fn apply(demo: &mut Demo<'_>) -> Result<String, CliError> {
    let reply = demo.act("change/apply", FIRST).await?;
    check(reply.applied == [FIRST], FIRST, format_args!("{reply:?}"))?;
    let read = |path: PathBuf| std::fs::read_to_string(path).unwrap_or_default();
    let (theirs, ours) = (read(demo.cast.worktree.join(FIRST)), read(demo.stage.repo().join(FIRST)));
    check(!ours.is_empty() && ours == theirs, &format!("{FIRST} in the checkout"), format_args!("{ours:?}"))?;
    check(!demo.stage.repo().join(SECOND).exists(), &format!("no {SECOND} in the checkout"), SECOND)?;
    demo.left(&[SECOND]).await?;
    Ok(format!("{FIRST} is in the checkout; only {SECOND} is pending"))
}

pub(super) async fn discard(demo: &mut Demo<'_>) -> Result<String, CliError> {
    let reply = demo.act("change/discard", SECOND).await?;
    let Some(rescue) = reply.rescue_ref else {
        return Err(CliError::failed("expected a ref that keeps what was discarded, saw none"));
    };
    check(!demo.cast.worktree.join(SECOND).exists(), &format!("no {SECOND} any more"), SECOND)?;
    let kept = demo.kept(&rescue, SECOND)?;
    check(kept.contains("noted by another"), "what was discarded on that ref", format_args!("{kept:?}"))?;
    demo.left(&[]).await?;
    Ok(format!("{SECOND} is gone, nothing is pending, and {rescue} keeps it"))
}

pub(super) async fn refuse(demo: &mut Demo<'_>) -> Result<String, CliError> {
    let chat = demo.cast.first.clone();
    demo.play(&chat, &format!("write: {AT_STAKE}: {DRAFT}")).await?;
    let link = demo.stage.link().await?;
    let answer = link.raw("session/delete", json!({"session": demo.cast.session})).await;
    let Err(refused) = answer else { return Err(CliError::failed("expected to be refused, saw it deleted")) };
    check(demo.cast.worktree.join(AT_STAKE).is_file(), "nothing to be touched", "the file gone")?;
    // After the first line come the reasons once more, as words for programs.
    for line in refused.message.lines().take(1).chain(refused.hint.as_deref()) {
        demo.show.line(line)?;
    }
    check(refused.message.contains("untracked"), "`untracked` among the reasons", &refused.message)?;
    Ok(format!("refused: {AT_STAKE} is nowhere else"))
}

pub(super) async fn delete(demo: &mut Demo<'_>) -> Result<String, CliError> {
    let link = demo.stage.link().await?;
    let params = json!({"session": demo.cast.session, "discard_changes": true});
    let reply: DeleteReply = link.call("session/delete", params).await?;
    check(!demo.cast.worktree.exists(), "no worktree any more", demo.cast.worktree.display())?;
    let (Some(salvage), Some(worktree)) = (reply.salvage_ref, reply.worktree) else {
        return Err(CliError::failed("expected a salvage of the worktree, saw none"));
    };
    let kept = demo.kept(&salvage, AT_STAKE)?;
    check(kept.contains(DRAFT), "the draft on the salvage", format_args!("{kept:?}"))?;
    demo.cast.removed = worktree;
    Ok(format!("the worktree is gone; {salvage} has {AT_STAKE}"))
}

pub(super) async fn restore(demo: &mut Demo<'_>) -> Result<String, CliError> {
    let link = demo.stage.link().await?;
    let params = json!({"worktree": demo.cast.removed});
    let worktree: WorktreeRow = link.call("worktree/restore", params).await?;
    let file = PathBuf::from(&worktree.path).join(AT_STAKE);
    let again = std::fs::read_to_string(&file).unwrap_or_default();
    check(again.contains(DRAFT), "the draft as it was", format_args!("{again:?}"))?;
    Ok(format!("{} is back, and {AT_STAKE} says “{}”", worktree.path, again.trim()))
}

impl Demo<'_> {
    async fn changes(&self) -> Result<Vec<ChangeRow>, CliError> {
        let link = self.stage.link().await?;
        link.call("change/list", json!({"session": self.cast.session})).await
    }

    async fn act(&self, method: &str, path: &str) -> Result<ApplyReply, CliError> {
        let link = self.stage.link().await?;
        link.call(method, json!({"session": self.cast.session, "paths": [path]})).await
    }

    /// Checks what is still pending.
    async fn left(&self, expected: &[&str]) -> Result<(), CliError> {
        let rows = self.changes().await?;
        let left: Vec<_> = rows.iter().map(|row| row.path.as_str()).collect();
        check(left == expected, &format!("{expected:?} to be pending"), format_args!("{left:?}"))
    }

    /// A file as a ref keeps it.
    fn kept(&self, name: &str, path: &str) -> Result<String, CliError> {
        let read = || {
            let repository = git2::Repository::open(self.stage.repo())?;
            let object = repository.revparse_single(&format!("{name}:{path}"))?;
            Ok(String::from_utf8_lossy(object.peel_to_blob()?.content()).into_owned())
        };
        read().map_err(|error: git2::Error| CliError::failed(format!("{name} does not keep {path}: {error}")))
    }
}
