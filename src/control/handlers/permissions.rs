//! `permission/*`: the inbox of questions that agents ask.

use std::time::Duration;

use hob_actors::id::{AgentKey, PermissionId};
use hob_actors::tree::{Answered, PermissionReply, Remember};

use super::{Call, Done, chats};
use crate::control::error::{RpcFailure, shorten};
use crate::control::params::{
    PermissionAnswer, PermissionForget, PermissionList, PermissionRemembered, PermissionState, RememberFor,
};
use crate::control::wire::{PermissionRow, RememberedRow};
use crate::store::Which;

/// Who is recorded for an answer when the client did not say who it is.
const ANONYMOUS: &str = "a client";
/// How long an accepted answer may take to be written down.
const RECORD_TIMEOUT: Duration = Duration::from_secs(5);

/// `permission/list`
pub(crate) async fn list(call: &Call, params: PermissionList) -> Done<Vec<PermissionRow>> {
    if let Some(chat) = &params.chat {
        chats::find(call, chat).await?;
    }
    let state = params.state.map(PermissionState::word);
    Ok(call.services().store.permissions(params.chat.as_deref(), state).await?)
}

/// `permission/answer`
pub(crate) async fn answer(call: &Call, params: PermissionAnswer) -> Done<PermissionRow> {
    let row = find(call, &params.permission).await?;
    if row.state != "pending" {
        return Err(settled(&row));
    }
    let reply = PermissionReply {
        permission: PermissionId::from(params.permission.as_str()),
        option: params.option.clone(),
        by: call.connection.name().unwrap_or_else(|| ANONYMOUS.to_owned()),
        remember: match params.remember {
            None => None,
            Some(RememberFor::Once) => Some(Remember::Once),
            Some(RememberFor::Turn) => Some(Remember::Turn),
            Some(RememberFor::Chat) => Some(Remember::Chat),
        },
    };
    let key = AgentKey::new(row.chat.as_str(), row.agent.as_str());
    match call.services().tree.answer_permission(key, reply).await? {
        Answered::Accepted => {
            crash_point!("answer.unanswered");
            recorded(call, &params.permission).await
        }
        Answered::Late => Err(settled(&find(call, &params.permission).await?)),
        Answered::OnlyAlways => Err(RpcFailure::refused(format!(
            "the agent offers no yes but `{}`, which it would keep for other chats and tasks, too, so hob does not give it",
            shorten(&params.option)
        ))
        .hint("hob permission reject ID, or allow it in the agent's own settings")),
        Answered::NotOffered(offered) => {
            let message =
                format!("`{}` is not offered; these are: {}", shorten(&params.option), offered.join(", "));
            Err(RpcFailure::invalid_params("option", message))
        }
    }
}

/// `permission/remembered`
pub(crate) async fn remembered(call: &Call, params: PermissionRemembered) -> Done<Vec<RememberedRow>> {
    if let Some(chat) = &params.chat {
        chats::find(call, chat).await?;
    }
    let which = Which { chat: params.chat, ..Which::default() };
    Ok(call.services().store.remembered(which).await?)
}

/// `permission/forget`
pub(crate) async fn forget(call: &Call, params: PermissionForget) -> Done<Vec<RememberedRow>> {
    chats::find(call, &params.chat).await?;
    let which = Which { chat: Some(params.chat), agent: params.agent, kind: params.kind };
    Ok(call.services().store.forget_remembered(which).await?)
}

/// The permission once its answer is written down: the tree passes it on first.
async fn recorded(call: &Call, id: &str) -> Done<PermissionRow> {
    let mut head = call.services().store.head();
    let written = async {
        loop {
            head.borrow_and_update();
            let row = find(call, id).await?;
            if row.state != "pending" {
                return Ok(row);
            }
            // The answer is an event too, so the journal will grow.
            head.changed().await.map_err(|_| RpcFailure::shutting_down())?;
        }
    };
    match tokio::time::timeout(RECORD_TIMEOUT, written).await {
        Ok(row) => row,
        // The answer was accepted all the same.
        Err(_) => find(call, id).await,
    }
}

fn settled(row: &PermissionRow) -> RpcFailure {
    let state = if row.state == "pending" { "no longer open" } else { row.state.as_str() };
    let by = row.by.as_ref().map_or(String::new(), |by| match row.state.as_str() {
        "answered" => format!(" by {by}"),
        _ => format!(" ({by})"),
    });
    RpcFailure::conflict(format!("permission `{}` is {state}{by}", row.id))
}

async fn find(call: &Call, id: &str) -> Done<PermissionRow> {
    let found = call.services().store.permission(id).await?;
    found.ok_or_else(|| RpcFailure::not_found("permission", id).hint("hob permission ls"))
}
