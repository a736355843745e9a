//! Which session is meant by who names a directory and no session: one rule for prompts, for chats and
//! for everything that is done with changes. `session/resolve` tells it.
//!
//! Inside a session's worktree it is that session, never one on top of it; else the one of the checkout
//! around the directory that the person used last.

use std::path::{Path, PathBuf};

use super::{Call, Done, sessions};
use crate::control::error::{Kind, RpcFailure, shorten};
use crate::control::params::SessionResolve;
use crate::control::route;
use crate::control::wire::{IdOr, ResolveReply, SessionRow};
use crate::path_text;
use crate::worktree::Located;

/// Where a directory lies.
pub(super) enum Meant {
    /// In the worktree of this session.
    Inside {
        /// The session.
        session: String,
        /// The directory, relative to the top of the worktree.
        subdir: PathBuf,
    },
    /// In this checkout of the person's.
    Checkout(Located),
}

/// `session/resolve`
pub(crate) async fn resolve(call: &Call, params: SessionResolve) -> Done<ResolveReply> {
    let session = match (params.session, params.repo) {
        (Some(session), None) => {
            call.services().store.use_session(&session).await?;
            session
        }
        (None, Some(directory)) => of_directory(call, &directory).await?,
        _ => {
            let message = "exactly one of `session` and `repo` is needed";
            return Err(RpcFailure::invalid_params("session", message));
        }
    };
    Ok(reply(sessions::find(call, &session).await?))
}

fn reply(row: SessionRow) -> ResolveReply {
    let worktree = match row.worktree {
        Some(IdOr::Whole(worktree)) => Some(*worktree),
        Some(IdOr::Id(_)) | None => None,
    };
    ResolveReply {
        session: row.id,
        state: row.state,
        repo: row.repo,
        worktree: worktree.as_ref().map(|worktree| worktree.id.clone()),
        branch: worktree.as_ref().map(|worktree| worktree.branch.clone()),
        path: worktree.map(|worktree| worktree.path),
    }
}

/// Finds out where a directory lies.
pub(super) async fn meant(call: &Call, directory: &str) -> Done<Meant> {
    let directory = sessions::absolute(directory)?;
    if let Some((session, subdir)) = inside(call, &directory).await? {
        return Ok(Meant::Inside { session, subdir });
    }
    Ok(Meant::Checkout(call.services().worktrees.locate(&directory).await?))
}

async fn inside(call: &Call, directory: &Path) -> Done<Option<(String, PathBuf)>> {
    // One that is not there is in no worktree, and refused by who looks for a checkout.
    let Ok(here) = tokio::fs::canonicalize(directory).await else { return Ok(None) };
    let worktrees = call.services().store.worktrees(false).await?;
    let Some((worktree, subdir)) = route::inside(&here, &worktrees) else { return Ok(None) };
    match &worktree.session {
        Some(session) => Ok(Some((session.clone(), subdir))),
        None => {
            let message = format!("worktree `{}` belongs to no session any more", worktree.id);
            Err(RpcFailure::conflict(message).hint("hob worktree ls"))
        }
    }
}

/// The session that is there already.
async fn of_directory(call: &Call, directory: &str) -> Done<String> {
    let here = sessions::absolute(directory)?;
    if let Some((session, _)) = inside(call, &here).await? {
        return Ok(session);
    }
    let services = call.services();
    let found = match services.worktrees.locate(&here).await {
        Ok(located) => services.store.last_used_session(&path_text::text(&located.top)).await?,
        Err(error) if error.kind.is_no_checkout() => None,
        Err(error) => return Err(error.into()),
    };
    found.map(|session| session.id).ok_or_else(|| {
        let message = format!("no open session belongs to `{}`", shorten(directory));
        RpcFailure::new(Kind::NotFound, message).hint("-s SESSION; `hob session ls` lists them")
    })
}
