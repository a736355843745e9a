//! The inbox of questions: each is a row before anyone is shown it, and is settled once.

use hob_actors::event::{Event, Scope};
use hob_actors::id::{Generation, PermissionId, TaskId, TurnId};
use hob_actors::ports::{Asked, PermissionAsk, TurnRef};
use rusqlite::{Connection, params};

use super::command::Tx;
use super::reader::Reply;
use super::sql::{self, Result};
use super::tasks::{self, TaskRef};
use super::{Store, StoreError, ids, payload, remembered, rows};
use crate::control::wire::PermissionRow;

/// A question and where it belongs.
pub(super) struct Question {
    pub(super) of: TurnRef,
    pub(super) ask: PermissionAsk,
}

pub(super) fn ask(tx: &mut Tx<'_>, question: &Question) -> Result<Asked> {
    let Question { of: TurnRef { turn, task, key, generation }, ask } = question;
    let open = "SELECT 1 FROM turns WHERE id = ?1 AND task_id = ?2 AND ended_at IS NULL";
    if sql::one(tx.conn, open, [turn.as_str(), task.as_str()], |_| Ok(()))?.is_none() {
        return Err(StoreError::Conflict(format!("turn {turn} of task {task} is over")));
    }
    let known = tasks::known(tx.conn, task)?;
    let id = PermissionId::from(ids::unused(tx.conn, "permissions", "p-")?);
    sql::run(
        tx.conn,
        "INSERT INTO permissions (id, turn_id, task_id, generation, title, kind, call, input, content, options,
                                  created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        params![
            id.as_str(),
            turn.as_str(),
            task.as_str(),
            sql::integer(generation.0),
            ask.title,
            ask.kind,
            ask.call,
            ask.input.as_ref().map(|value| value.as_str()),
            ask.content.as_ref().map(|value| value.as_str()),
            serde_json::to_string(&payload::option_rows(&ask.options))?,
            tx.now().0,
        ],
    )?;
    let scope = Scope {
        session: Some(known.session),
        chat: Some(key.chat.clone()),
        agent: Some(key.agent.clone()),
        generation: Some(*generation),
        task: Some(task.clone()),
        turn: Some(turn.clone()),
    };
    let event = Event::PermissionRequested {
        permission: id.clone(),
        title: ask.title.clone(),
        kind: ask.kind.clone(),
        options: ask.options.clone(),
        call: ask.call.clone(),
        input: ask.input.clone(),
        content: ask.content.clone(),
    };
    tx.event(&scope, &event)?;
    Ok(Asked { id, standing: remembered::standing(tx.conn, key, &ask.like())? })
}

/// The state of a question, its task as of then, and its turn.
fn find(conn: &Connection, id: &PermissionId) -> Result<Option<(String, TaskRef, TurnId)>> {
    let sql = "SELECT state, task_id, turn_id, generation FROM permissions WHERE id = ?1";
    let found = sql::one(conn, sql, [id.as_str()], |row| {
        let task = TaskId::from(row.get::<_, String>(1)?);
        let turn = TurnId::from(row.get::<_, String>(2)?);
        Ok((row.get::<_, String>(0)?, task, turn, Generation(sql::natural(row.get(3)?))))
    })?;
    let Some((state, task, turn, generation)) = found else { return Ok(None) };
    let task = TaskRef { generation: Some(generation), ..tasks::known(conn, &task)? };
    Ok(Some((state, task, turn)))
}

/// Settles a question, once. Without an option it became moot.
pub(super) fn resolve(tx: &mut Tx<'_>, id: &PermissionId, option: Option<&str>, by: &str) -> Result<bool> {
    let Some((state, task, turn)) = find(tx.conn, id)? else {
        return Err(StoreError::not_found("permission", id.as_str()));
    };
    if state != "pending" {
        return Ok(false);
    }
    let state = if option.is_some() { "answered" } else { "expired" };
    settle(tx, &task, &turn, id, (state, option, by))?;
    Ok(true)
}

/// Settles what a turn still asks: nobody will hear the answer.
pub(super) fn settle_turn(tx: &mut Tx<'_>, task: &TaskRef, turn: &TurnId) -> Result<()> {
    let sql =
        "SELECT id FROM permissions WHERE turn_id = ?1 AND state = 'pending' ORDER BY created_at, rowid";
    for id in sql::all(tx.conn, sql, [turn.as_str()], |row| row.get::<_, String>(0))? {
        settle(tx, task, turn, &PermissionId::from(id), ("expired", None, "turn_ended"))?;
    }
    Ok(())
}

fn settle(
    tx: &mut Tx<'_>,
    task: &TaskRef,
    turn: &TurnId,
    id: &PermissionId,
    (state, option, by): (&str, Option<&str>, &str),
) -> Result<()> {
    let sql =
        "UPDATE permissions SET state = ?2, chosen = ?3, answered_by = ?4, resolved_at = ?5 WHERE id = ?1";
    sql::run(tx.conn, sql, params![id.as_str(), state, option, by, tx.now().0])?;
    let event = Event::PermissionResolved {
        permission: id.clone(),
        option: option.map(str::to_owned),
        by: by.to_owned(),
    };
    tx.event(&task.scope(Some(turn.clone())), &event)?;
    Ok(())
}

/// Settles every question that waits: the daemon that asked is gone. Says how many there were.
pub(super) fn settle_all(tx: &mut Tx<'_>) -> Result<u64> {
    let sql = "SELECT id FROM permissions WHERE state = 'pending' ORDER BY created_at, rowid";
    let ids = sql::all(tx.conn, sql, [], |row| row.get::<_, String>(0))?;
    for id in &ids {
        let id = PermissionId::from(id.as_str());
        if let Some((_, task, turn)) = find(tx.conn, &id)? {
            settle(tx, &task, &turn, &id, ("stale", None, "restart"))?;
        }
    }
    Ok(ids.len() as u64)
}

impl Store {
    /// Questions, oldest first, of one chat or of all, in one state or in any.
    pub fn permissions(&self, chat: Option<&str>, state: Option<&str>) -> Reply<Vec<PermissionRow>> {
        let (chat, state) = (chat.map(str::to_owned), state.map(str::to_owned));
        self.read("list the permissions", move |conn| {
            let sql = format!(
                "{} WHERE (?1 IS NULL OR t.chat_id = ?1) AND (?2 IS NULL OR p.state = ?2) ORDER BY p.created_at, p.rowid",
                rows::PERMISSION
            );
            sql::all(conn, &sql, params![chat, state], rows::permission_row)
        })
    }

    /// One question.
    pub fn permission(&self, id: &str) -> Reply<Option<PermissionRow>> {
        let id = id.to_owned();
        self.read("read the permission", move |conn| rows::permission(conn, &id))
    }
}
