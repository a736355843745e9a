//! `chat/*`: tabs of a session.

use super::meant::{self, Meant};
use super::{Call, Done, pool, sessions, submit};
use crate::control::error::RpcFailure;
use crate::control::make;
use crate::control::params::{ChatCreate, ChatList, ChatRef, check_new_id, check_title};
use crate::control::wire::{ChatRow, SessionRow};
use crate::path_text;
use crate::store::NewChat;

/// `chat/create`
pub(crate) async fn create(call: &Call, params: ChatCreate) -> Done<ChatRow> {
    call.check_open()?;
    if let Some(id) = &params.id {
        check_new_id("id", id)?;
    }
    check_title(params.title.as_deref())?;
    let row = match (&params.session, &params.repo) {
        (Some(session), None) => {
            let session = session.clone();
            in_session(call, params, session).await
        }
        (None, Some(repo)) => {
            let directory = repo.clone();
            in_repo(call, params, &directory).await
        }
        (None, None) => Err(RpcFailure::invalid_params("session", "one of `session` and `repo` is needed")),
        (Some(_), Some(_)) => {
            Err(RpcFailure::invalid_params("session", "only one of `session` and `repo` can be given"))
        }
    }?;
    call.services().store.use_session(&row.session).await?;
    Ok(row)
}

async fn in_session(call: &Call, params: ChatCreate, session: String) -> Done<ChatRow> {
    let services = call.services();
    let _alone = services.flights.session(&session).await;
    if let Some(there) = there(call, &params, |row| row.session == session).await? {
        return Ok(there);
    }
    let new = NewChat { id: params.id, session, title: params.title };
    let row = services.store.create_chat(new).await?;
    services.audience.learn(&row.id, &row.session);
    Ok(row)
}

/// In the session that a prompt for this directory would go to.
async fn in_repo(call: &Call, params: ChatCreate, directory: &str) -> Done<ChatRow> {
    let meant = meant::meant(call, directory).await?;
    if let Some(there) = there(call, &params, |_| true).await? {
        // The session was open when the chat was made in it, so it is known still.
        let session = call.services().store.session(&there.session).await?;
        return match session {
            Some(session) if may_be_in(&meant, &session)? => Ok(there),
            _ => Err(made_otherwise(&there.id, "session")),
        };
    }
    let new = NewChat { id: params.id, session: String::new(), title: params.title };
    submit::fresh_chat(call, meant, new).await
}

/// Whether a chat that was made for this directory may be in the session.
fn may_be_in(meant: &Meant, session: &SessionRow) -> Done<bool> {
    Ok(match meant {
        Meant::Inside { session: inside, .. } => session.id == *inside,
        Meant::Checkout(located) => session.repo == path_text::text(&located.top),
    })
}

/// The chat that was made with this id before, where it was made alike.
async fn there(
    call: &Call,
    params: &ChatCreate,
    same_session: impl Fn(&ChatRow) -> bool,
) -> Done<Option<ChatRow>> {
    let Some(id) = &params.id else { return Ok(None) };
    match call.services().store.chat(id).await? {
        Some(there) if !same_session(&there) => Err(made_otherwise(id, "session")),
        Some(there) if there.title != params.title => Err(made_otherwise(id, "title")),
        there => Ok(there),
    }
}

fn made_otherwise(id: &str, what: &str) -> RpcFailure {
    RpcFailure::conflict(format!("chat `{id}` was made with another {what}"))
        .hint(format!("hob chat show {id}"))
}

/// `chat/list`
pub(crate) async fn list(call: &Call, params: ChatList) -> Done<Vec<ChatRow>> {
    let store = &call.services().store;
    if let Some(session) = &params.session {
        sessions::check_there(call, session).await?;
    }
    let mut rows = store.chats(params.session.as_deref(), params.all).await?;
    let now = pool::Now::look(call).await;
    for row in &mut rows {
        now.merge(&mut row.agents);
    }
    Ok(rows)
}

/// `chat/show`
pub(crate) async fn show(call: &Call, params: ChatRef) -> Done<ChatRow> {
    let mut row = find(call, &params.chat).await?;
    let now = pool::Now::look(call).await;
    now.merge(&mut row.agents);
    pool::weigh(&mut row.agents).await;
    Ok(row)
}

/// `chat/close`
pub(crate) async fn close(call: &Call, params: ChatRef) -> Done<ChatRow> {
    let services = call.services();
    let session = find(call, &params.chat).await?.session;
    let _alone = services.flights.session(&session).await;
    let row = find(call, &params.chat).await?;
    if row.state == "closed" {
        return Ok(row);
    }
    make::clear_chat(services, &params.chat).await?;
    Ok(services.store.close_chat(&params.chat).await?)
}

/// The chat of that id.
pub(crate) async fn find(call: &Call, id: &str) -> Done<ChatRow> {
    let found = call.services().store.chat(id).await?;
    found.ok_or_else(|| RpcFailure::not_found("chat", id).hint("hob chat ls"))
}
