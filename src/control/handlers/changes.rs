//! `change/*`, and the stash of a worktree: what agents changed, and what a person does with it.

use data_encoding::BASE64;

use super::{Call, Done};
use crate::control::delegation;
use crate::control::error::RpcFailure;
use crate::control::params::{ChangeAct, ChangeDiff, ChangeList, ChangeUndo, WorktreeStash, WorktreeUnstash};
use crate::control::wire::{
    ApplyReply, ChangeRow, ConflictRow, DeletionRow, DiffReply, HunkRow, StashReply, UndoReply, UnstashReply,
};
use crate::path_text;
use crate::pending::{PendingError, Shown};
use crate::worktree::{Applied, Change, Deletion, Hunk, Selection};

/// `change/list`
pub(crate) async fn list(call: &Call, params: ChangeList) -> Done<Vec<ChangeRow>> {
    let shown = Shown { turn: params.turn, paths: params.path.map(|path| vec![path]) };
    let changes = call.services().pending.list(&params.session, &shown).await?;
    Ok(changes.into_iter().map(change_row).collect())
}

/// `change/diff`
pub(crate) async fn diff(call: &Call, params: ChangeDiff) -> Done<DiffReply> {
    let paths = match (params.path, params.paths) {
        (Some(path), Some(mut paths)) => {
            paths.push(path);
            Some(paths)
        }
        (path, paths) => paths.or_else(|| path.map(|path| vec![path])),
    };
    let diff = call.services().pending.diff(&params.session, &Shown { turn: params.turn, paths }).await?;
    let (text, bytes) = match String::from_utf8(diff.text) {
        Ok(text) => (text, None),
        Err(error) => {
            let bytes = error.into_bytes();
            (String::from_utf8_lossy(&bytes).into_owned(), Some(BASE64.encode(&bytes)))
        }
    };
    Ok(DiffReply { session: params.session, diff: text, bytes, left_out: diff.left_out })
}

/// `change/apply`
pub(crate) async fn apply(call: &Call, params: ChangeAct) -> Done<ApplyReply> {
    call.check_open()?;
    let (session, dry_run) = (params.session.clone(), params.dry_run);
    if let Some(found) = call.services().store.worktree_of_session(&session).await? {
        check_target(call, &path_text::text(&found.known.top)).await?;
    }
    let applied = call.services().pending.apply(&session, selection(params)?, dry_run).await?;
    Ok(applied_reply(session, applied))
}

/// What `change/apply` and `arena/adopt` answer.
pub(super) fn applied_reply(session: String, applied: Applied) -> ApplyReply {
    let row = |deletion: Deletion| DeletionRow { path: deletion.path, agents: deletion.agents };
    ApplyReply {
        session,
        applied: applied.paths,
        conflicts: conflicts(applied.conflicts),
        deletions: applied.deletions.into_iter().map(row).collect(),
        kept: applied.kept,
        rescue_ref: None,
    }
}

/// The worktree of another session is not written to while an agent works in it, unless that one asks
/// for it: what is applied would be taken for its work.
pub(super) async fn check_target(call: &Call, top: &str) -> Done<()> {
    let store = &call.services().store;
    let worktrees = store.worktrees(false).await?;
    let Some(target) = worktrees.into_iter().find(|row| row.path == top) else { return Ok(()) };
    let own = delegation::caller(call).await?.and_then(|caller| caller.task.turn);
    let mut at_work = store.turns_at_work(&target.id).await?;
    at_work.retain(|turn| Some(turn) != own.as_ref());
    if at_work.is_empty() { Ok(()) } else { Err(PendingError::AtWork(at_work.join(", ")).into()) }
}

/// `change/discard`
pub(crate) async fn discard(call: &Call, params: ChangeAct) -> Done<ApplyReply> {
    call.check_open()?;
    let (session, dry_run) = (params.session.clone(), params.dry_run);
    let discarded = call.services().pending.discard(&session, selection(params)?, dry_run).await?;
    Ok(ApplyReply {
        session,
        applied: discarded.paths,
        conflicts: conflicts(discarded.conflicts),
        rescue_ref: discarded.rescue_ref,
        ..ApplyReply::default()
    })
}

/// `change/undo`
pub(crate) async fn undo(call: &Call, params: ChangeUndo) -> Done<UndoReply> {
    call.check_open()?;
    let undone = call.services().pending.undo(&params.session, &params.turn).await?;
    Ok(UndoReply { session: params.session, restored: undone.restored, rescue_ref: undone.rescue_ref })
}

/// `worktree/stash`
pub(crate) async fn stash(call: &Call, params: WorktreeStash) -> Done<StashReply> {
    call.check_open()?;
    let stashed = call.services().pending.stash(&params.session, params.message.as_deref()).await?;
    Ok(StashReply { session: params.session, stash_ref: stashed.stash_ref, files: stashed.files })
}

/// `worktree/unstash`
pub(crate) async fn unstash(call: &Call, params: WorktreeUnstash) -> Done<UnstashReply> {
    call.check_open()?;
    let files = call.services().pending.unstash(&params.session, params.stash_ref.as_deref()).await?;
    Ok(UnstashReply { session: params.session, files })
}

/// What is to be applied or given up. An empty list is a mistake and not everything.
fn selection(params: ChangeAct) -> Done<Selection> {
    for (name, list) in [("paths", &params.paths), ("hunks", &params.hunks)] {
        if list.as_ref().is_some_and(Vec::is_empty) {
            return Err(RpcFailure::invalid_params(
                name,
                format!("`{name}` names nothing; leave it out for all"),
            ));
        }
    }
    Ok(Selection { paths: params.paths, hunks: params.hunks, deletions: params.deletions })
}

fn conflicts(found: Vec<(String, String)>) -> Vec<ConflictRow> {
    found.into_iter().map(|(path, why)| ConflictRow { path, why }).collect()
}

fn change_row(change: Change) -> ChangeRow {
    let octal = |mode: u32| format!("{mode:06o}");
    ChangeRow {
        path: change.path,
        old_path: change.old_path,
        kind: change.kind.word().to_owned(),
        content: change.content.word().to_owned(),
        old_mode: change.old_mode.map(octal),
        mode: change.mode.map(octal),
        size_bytes: change.size_bytes,
        insertions: change.insertions,
        deletions: change.deletions,
        hunks: change.hunks.into_iter().map(hunk_row).collect(),
        agents: change.agents,
        turns: change.turns,
        shared: change.shared,
        by_user: change.by_user,
        by_hook: change.by_hook,
    }
}

fn hunk_row(hunk: Hunk) -> HunkRow {
    HunkRow {
        id: hunk.id,
        header: hunk.header,
        agents: hunk.agents,
        turns: hunk.turns,
        shared: hunk.shared,
        by_user: hunk.by_user,
        by_hook: hunk.by_hook,
    }
}
