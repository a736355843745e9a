//! `task/*`, but for how tasks come to be: that is in [`super::submit`].

use std::time::Duration;

use hob_actors::dispatch::queue::Word;
use hob_actors::id::{ChatId, TaskId};
use hob_actors::ports::Store as _;
use tokio::time::Instant;

use super::{Call, Done, chats, pool, sessions};
use crate::control::delegation::{self, Caller};
use crate::control::error::RpcFailure;
use crate::control::params::{ChatRef, TaskList, TaskRef, TaskWait, clamp_limit};
use crate::control::wire::{HeldReply, TaskRow, is_terminal};
use crate::store::TaskFilter;

/// A waiting call looks at its task at most once in this time, however fast the journal grows.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// How long a cancel may take to be written down.
const RECORD_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest wait that is counted: 10 years, so that a sum of times cannot overflow.
const WAIT_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// `task/list`
pub(crate) async fn list(call: &Call, params: TaskList) -> Done<Vec<TaskRow>> {
    if let Some(chat) = &params.chat {
        chats::find(call, chat).await?;
    }
    if let Some(session) = &params.session {
        sessions::check_there(call, session).await?;
    }
    if let Some(before) = &params.before {
        find(call, before).await?;
    }
    let filter = TaskFilter {
        chat: params.chat,
        session: params.session,
        state: params.state.map(|state| state.word().to_owned()),
        limit: Some(clamp_limit(params.limit)?),
        before: params.before,
    };
    let mut rows = call.services().store.tasks(filter).await?;
    pool::Now::look(call).await.explain(&mut rows);
    Ok(rows)
}

/// `task/show`
pub(crate) async fn show(call: &Call, params: TaskRef) -> Done<TaskRow> {
    let (row, _) = delegation::find_own(call, &params.task).await?;
    explained(call, row).await
}

/// `task/wait`
pub(crate) async fn wait(call: &Call, params: TaskWait) -> Done<TaskRow> {
    let (_, caller) = delegation::find_own(call, &params.task).await?;
    let until_terminal = lending(call, caller.as_ref(), &params.task);
    let Some(timeout_ms) = params.timeout_ms else {
        return until_terminal.await;
    };
    let limit = Duration::from_millis(timeout_ms).min(WAIT_MAX);
    match tokio::time::timeout(limit, until_terminal).await {
        Ok(row) => row,
        Err(_) => explained(call, find(call, &params.task).await?).await,
    }
}

/// As [`terminal`]; the turn of an agent that waits lends its slot to the task, or they could wait
/// for each other. Dropped, it has its slot again.
async fn lending(call: &Call, caller: Option<&Caller>, id: &str) -> Done<TaskRow> {
    let Some(caller) = caller else {
        return terminal(call, id).await;
    };
    let waiter = TaskId::from(caller.task.id.as_str());
    let mut slot = call.services().tree.lend(waiter, TaskId::from(id));
    tokio::select! {
        row = terminal(call, id) => row,
        never = slot.keep() => match never {},
    }
}

/// The task once nothing will change it any more. Looks when the journal has grown: the end of a
/// task is an event too.
async fn terminal(call: &Call, id: &str) -> Done<TaskRow> {
    let mut head = call.services().store.head();
    loop {
        head.borrow_and_update();
        let looked = Instant::now();
        let row = find(call, id).await?;
        if is_terminal(&row.state) {
            return Ok(row);
        }
        head.changed().await.map_err(|_| RpcFailure::shutting_down())?;
        tokio::time::sleep_until(looked + LOOK_INTERVAL).await;
    }
}

/// `task/cancel`
pub(crate) async fn cancel(call: &Call, params: TaskRef) -> Done<TaskRow> {
    let (row, _) = delegation::find_own(call, &params.task).await?;
    if is_terminal(&row.state) {
        return Ok(row);
    }
    call.services().tree.cancel(TaskId::from(params.task.as_str())).await?;
    crash_point!("cancel.unanswered");
    let row = if mutant!("unrecorded_cancel") {
        find(call, &params.task).await?
    } else {
        off_the_queue(call, &params.task).await?
    };
    explained(call, row).await
}

/// The task once it has left the queue, as one that was cancelled soon does: found there by the
/// next daemon it would be run, although its cancel was answered.
async fn off_the_queue(call: &Call, id: &str) -> Done<TaskRow> {
    let mut head = call.services().store.head();
    let left = async {
        loop {
            head.borrow_and_update();
            let row = find(call, id).await?;
            if row.state != "queued" {
                return Ok(row);
            }
            head.changed().await.map_err(|_| RpcFailure::shutting_down())?;
        }
    };
    match tokio::time::timeout(RECORD_TIMEOUT, left).await {
        Ok(row) => row,
        // It says that it is queued still, so nobody takes it for cancelled.
        Err(_) => find(call, id).await,
    }
}

/// `task/hold`
pub(crate) async fn hold(call: &Call, params: ChatRef) -> Done<HeldReply> {
    set_held(call, &params.chat, true).await
}

/// `task/release`
pub(crate) async fn release(call: &Call, params: ChatRef) -> Done<HeldReply> {
    set_held(call, &params.chat, false).await
}

async fn set_held(call: &Call, chat: &str, held: bool) -> Done<HeldReply> {
    let services = call.services();
    let session = chats::find(call, chat).await?.session;
    let _alone = services.flights.session(&session).await;
    if chats::find(call, chat).await?.state == "closed" {
        return Err(RpcFailure::conflict(format!("chat `{chat}` is closed")));
    }
    let as_of = services.store.set_held(ChatId::from(chat), held).await?;
    services.tree.held(ChatId::from(chat), Word { held, as_of });
    Ok(HeldReply { held })
}

/// The task of that id, with its turns.
pub(crate) async fn find(call: &Call, id: &str) -> Done<TaskRow> {
    let found = call.services().store.task_row(id).await?;
    found.ok_or_else(|| RpcFailure::not_found("task", id).hint("hob task ls"))
}

/// The task, and what it waits for.
async fn explained(call: &Call, row: TaskRow) -> Done<TaskRow> {
    let mut rows = [row];
    if rows[0].state == "queued" {
        pool::Now::look(call).await.explain(&mut rows);
    }
    let [row] = rows;
    Ok(row)
}
