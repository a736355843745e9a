//! `session/*`: lines of work on a repository.

use std::path::PathBuf;

use futures_util::future::try_join_all;
use hob_actors::worktree::Consents;

use super::{Call, Done, pool};
use crate::control::delegation;
use crate::control::error::RpcFailure;
use crate::control::make::{self, Plan};
use crate::control::params::{
    SessionCreate, SessionDelete, SessionList, SessionRef, check_new_id, check_title,
};
use crate::control::wire::{DeleteReply, IdOr, SessionRow};
use crate::path_text;
use crate::store::SessionParams;

/// The longest base that is looked up, in bytes.
const BASE_BYTES_MAX: usize = 4096;

/// `session/create`
pub(crate) async fn create(call: &Call, params: SessionCreate) -> Done<SessionRow> {
    call.check_open()?;
    if let Some(id) = &params.id {
        check_new_id("id", id)?;
    }
    check_title(params.title.as_deref())?;
    if params.base.as_ref().is_some_and(|base| base.len() > BASE_BYTES_MAX) {
        return Err(RpcFailure::invalid_params("base", "the base is too long"));
    }
    let services = call.services();
    let repo = absolute(&params.repo)?;
    // One of two that bring the same id makes the session, the other finds it.
    let _alone = match &params.id {
        Some(id) => Some(services.flights.session(id).await),
        None => None,
    };
    let located = services.worktrees.locate(&repo).await?;
    if let Some(id) = &params.id
        && let Some(made_with) = services.store.session_params(id).await?
    {
        let asked = SessionParams {
            repo: path_text::text(&located.top),
            title: params.title,
            base: params.base,
            carry_changes: params.carry_changes,
        };
        return same(call, id, &made_with, &asked).await;
    }
    let plan = Plan {
        id: params.id,
        title: params.title,
        base: params.base,
        carry_changes: params.carry_changes,
        origin: None,
    };
    make::session(services, located, plan).await
}

/// The session that is there, if it was made with the same parameters.
async fn same(call: &Call, id: &str, made_with: &SessionParams, asked: &SessionParams) -> Done<SessionRow> {
    let differs = [
        ("repo", made_with.repo != asked.repo),
        ("title", made_with.title != asked.title),
        ("base", made_with.base != asked.base),
        ("carry_changes", made_with.carry_changes != asked.carry_changes),
    ];
    let differing: Vec<&str> =
        differs.iter().filter(|(_, differs)| *differs).map(|(name, _)| *name).collect();
    if differing.is_empty() {
        return find(call, id).await;
    }
    let message = format!("session `{id}` was made with another {}", differing.join(", "));
    Err(RpcFailure::conflict(message).hint(format!("hob session show {id}")))
}

/// `session/list`
pub(crate) async fn list(call: &Call, params: SessionList) -> Done<Vec<SessionRow>> {
    let mut rows = call.services().store.sessions(params.all).await?;
    if let Some(caller) = delegation::caller(call).await? {
        rows.retain(|row| row.id == caller.task.session);
    }
    Ok(rows)
}

/// `session/show`
pub(crate) async fn show(call: &Call, params: SessionRef) -> Done<SessionRow> {
    let mut row = find(call, &params.session).await?;
    let now = pool::Now::look(call).await;
    for chat in &mut row.chats {
        if let IdOr::Whole(chat) = chat {
            now.merge(&mut chat.agents);
        }
    }
    Ok(row)
}

/// `session/close`
pub(crate) async fn close(call: &Call, params: SessionRef) -> Done<SessionRow> {
    let services = call.services();
    let _alone = services.flights.session(&params.session).await;
    let row = find(call, &params.session).await?;
    if row.state == "closed" {
        return Ok(row);
    }
    try_join_all(open_chats(&row).map(|chat| make::clear_chat(services, chat))).await?;
    Ok(services.store.close_session(&params.session).await?)
}

/// `session/reopen`
pub(crate) async fn reopen(call: &Call, params: SessionRef) -> Done<SessionRow> {
    call.check_open()?;
    let services = call.services();
    let _alone = services.flights.session(&params.session).await;
    Ok(services.store.reopen_session(&params.session).await?)
}

/// `session/delete`
pub(crate) async fn delete(call: &Call, params: SessionDelete) -> Done<DeleteReply> {
    call.check_open()?;
    let services = call.services();
    let _alone = services.flights.session(&params.session).await;
    let row = find(call, &params.session).await?;
    let mut reply = DeleteReply::default();
    if let Some(IdOr::Whole(worktree)) = &row.worktree {
        reply.salvage_ref.clone_from(&worktree.salvage_ref);
        if matches!(worktree.state.as_str(), "active" | "orphaned") {
            let consents = Consents { changes: params.discard_changes, unpushed: params.discard_unpushed };
            // What stands against it is found before anything of the session ends.
            let removed = services.retire.remove(&worktree.id, consents, "session/delete").await?;
            (reply.salvage_ref, reply.notices) = (removed.salvage_ref, removed.notices);
            reply.worktree = Some(worktree.id.clone());
        }
    }
    for chat in open_chats(&row) {
        make::clear_chat(services, chat).await?;
    }
    services.store.delete_session(&params.session).await?;
    Ok(reply)
}

fn open_chats(row: &SessionRow) -> impl Iterator<Item = &str> {
    row.chats.iter().filter_map(|chat| match chat {
        IdOr::Whole(chat) if chat.state == "open" => Some(chat.id.as_str()),
        _ => None,
    })
}

/// Whether there is a session of that id, open or closed.
pub(crate) async fn check_there(call: &Call, id: &str) -> Done<()> {
    match call.services().store.session_params(id).await? {
        Some(_) => Ok(()),
        None => Err(RpcFailure::not_found("session", id).hint("hob session ls -a")),
    }
}

pub(crate) async fn find(call: &Call, id: &str) -> Done<SessionRow> {
    let found = call.services().store.session(id).await?;
    found.ok_or_else(|| RpcFailure::not_found("session", id).hint("hob session ls -a"))
}

/// A directory that a client names. The daemon has no working directory that would mean anything.
pub(crate) fn absolute(repo: &str) -> Done<PathBuf> {
    let path = path_text::path(repo);
    if path.is_absolute() {
        return Ok(path);
    }
    let message = if repo.is_empty() { "the directory is empty" } else { "the directory must be absolute" };
    Err(RpcFailure::invalid_params("repo", message))
}
