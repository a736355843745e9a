//! `chat/*`: tabs of a session.

use super::{Call, Done, pool, sessions};
use crate::control::error::RpcFailure;
use crate::control::make;
use crate::control::params::{ChatCreate, ChatList, ChatRef, check_new_id, check_title};
use crate::control::wire::ChatRow;
use crate::store::NewChat;

/// `chat/create`
pub(crate) async fn create(call: &Call, params: ChatCreate) -> Done<ChatRow> {
    call.check_open()?;
    if let Some(id) = &params.id {
        check_new_id("id", id)?;
    }
    check_title(params.title.as_deref())?;
    let services = call.services();
    let _alone = services.flights.session(&params.session).await;
    if let Some(id) = &params.id
        && let Some(there) = services.store.chat(id).await?
    {
        if there.session == params.session && there.title == params.title {
            return Ok(there);
        }
        let what = if there.session == params.session { "title" } else { "session" };
        let message = format!("chat `{id}` was made with another {what}");
        return Err(RpcFailure::conflict(message).hint(format!("hob chat show {id}")));
    }
    let new = NewChat { id: params.id, session: params.session, title: params.title };
    let row = services.store.create_chat(new).await?;
    services.audience.learn(&row.id, &row.session);
    Ok(row)
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
