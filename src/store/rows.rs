//! Rows as the contract shows them. Reads only; what the database does not know (idle times,
//! memory, what a task waits for) is left empty for those who do.

use rusqlite::types::FromSql;
use rusqlite::{Connection, Row, params};

use super::sql::{self, Result, natural};
use super::{StoreError, words};
use crate::control::wire::{
    AgentSessionRow, ChatRow, ExitRow, IdOr, Moment, OutcomeRow, PermissionRow, RawJson, SessionRow, TaskRow,
    TurnRow, UsageRow, WorktreeRow, fault,
};
use crate::legible::legible;

pub(super) fn moment(row: &Row<'_>, column: &str) -> rusqlite::Result<Moment> {
    row.get(column).map(Moment)
}

pub(super) fn moment_if(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<Moment>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Moment))
}

pub(super) fn natural_if(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<u64>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(natural))
}

/// A value kept as JSON text; `Default` where there is none.
pub(super) fn json<T: serde::de::DeserializeOwned + Default>(
    row: &Row<'_>,
    column: &str,
) -> rusqlite::Result<T> {
    match row.get::<_, Option<String>>(column)? {
        Some(text) => serde_json::from_str(&legible(&text)).map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error.into())
        }),
        None => Ok(T::default()),
    }
}

fn get<T: FromSql>(row: &Row<'_>, column: &str) -> rusqlite::Result<T> {
    row.get(column)
}

// Usage ----------------------------------------------------------------------------------------

fn usage_of_row(row: &Row<'_>) -> rusqlite::Result<UsageRow> {
    Ok(UsageRow {
        input: natural_if(row, "input")?,
        output: natural_if(row, "output")?,
        reasoning: natural_if(row, "reasoning")?,
        cached_read: natural_if(row, "cached_read")?,
        cached_write: natural_if(row, "cached_write")?,
        context_used: natural_if(row, "context_used")?,
        context_size: natural_if(row, "context_size")?,
        cost: row.get("cost")?,
        currency: row.get("currency")?,
    })
}

/// Sums over turns. What no turn told is null; a cost in several currencies has no sum. Context
/// figures are no sum and belong to one agent session: they are the newest that were told.
const USAGE: &str = "
    SELECT sum(u.input) AS input, sum(u.output) AS output, sum(u.reasoning) AS reasoning,
           sum(u.cached_read) AS cached_read, sum(u.cached_write) AS cached_write,
           CASE WHEN count(DISTINCT u.currency) <= 1 THEN sum(u.cost) END AS cost,
           CASE WHEN count(DISTINCT u.currency) <= 1 THEN max(u.currency) END AS currency,
           NULL AS context_used, NULL AS context_size
    FROM turns AS u JOIN tasks AS t ON t.id = u.task_id JOIN chats AS c ON c.id = t.chat_id";

fn usage_where(conn: &Connection, condition: &str, params: impl rusqlite::Params) -> Result<UsageRow> {
    let found = sql::one(conn, &format!("{USAGE} WHERE {condition}"), params, usage_of_row)?;
    Ok(found.unwrap_or_default())
}

pub(super) fn session_usage(conn: &Connection, session: &str) -> Result<UsageRow> {
    usage_where(conn, "c.session_id = ?1", [session])
}

pub(super) fn chat_usage(conn: &Connection, chat: &str) -> Result<UsageRow> {
    usage_where(conn, "t.chat_id = ?1", [chat])
}

pub(super) fn agent_usage(conn: &Connection, chat: &str, agent: &str) -> Result<UsageRow> {
    let mut usage = usage_where(conn, "t.chat_id = ?1 AND t.agent = ?2", [chat, agent])?;
    with_context(
        conn,
        &mut usage,
        "SELECT context_used, context_size FROM turns AS u JOIN tasks AS t ON t.id = u.task_id
         WHERE t.chat_id = ?1 AND t.agent = ?2 AND u.context_used IS NOT NULL ORDER BY u.started_at DESC LIMIT 1",
        [chat, agent],
    )?;
    Ok(usage)
}

fn task_usage(conn: &Connection, task: &str) -> Result<UsageRow> {
    let mut usage = usage_where(conn, "u.task_id = ?1", [task])?;
    with_context(
        conn,
        &mut usage,
        "SELECT context_used, context_size FROM turns
         WHERE task_id = ?1 AND context_used IS NOT NULL ORDER BY attempt DESC LIMIT 1",
        [task],
    )?;
    Ok(usage)
}

fn with_context(
    conn: &Connection,
    usage: &mut UsageRow,
    sql: &str,
    params: impl rusqlite::Params,
) -> Result<()> {
    let told = sql::one(conn, sql, params, |row| {
        Ok((natural_if(row, "context_used")?, natural_if(row, "context_size")?))
    })?;
    if let Some((used, size)) = told {
        (usage.context_used, usage.context_size) = (used, size);
    }
    Ok(())
}

// Sessions, chats, worktrees -------------------------------------------------------------------

/// A session: with its chats and worktree as they are, or as ids.
pub(super) fn session(conn: &Connection, id: &str, whole: bool) -> Result<Option<SessionRow>> {
    let found = sql::one(conn, "SELECT * FROM sessions WHERE id = ?1", [id], |row| {
        Ok(SessionRow {
            id: get(row, "id")?,
            repo: get(row, "repo")?,
            title: get(row, "title")?,
            base: get(row, "base")?,
            state: get(row, "state")?,
            created_at: moment(row, "created_at")?,
            closed_at: moment_if(row, "closed_at")?,
            worktree: None,
            chats: Vec::new(),
            usage: UsageRow::default(),
        })
    })?;
    let Some(mut found) = found else { return Ok(None) };
    let worktree = worktree_of(conn, id)?;
    let chats = sql::all(conn, "SELECT id FROM chats WHERE session_id = ?1 ORDER BY rowid", [id], |row| {
        row.get::<_, String>(0)
    })?;
    if whole {
        found.worktree = worktree.map(|row| IdOr::Whole(Box::new(row)));
        for id in chats {
            found.chats.extend(chat(conn, &id)?.map(|row| IdOr::Whole(Box::new(row))));
        }
    } else {
        found.worktree = worktree.map(|row| IdOr::Id(row.id));
        found.chats = chats.into_iter().map(IdOr::Id).collect();
    }
    found.usage = session_usage(conn, id)?;
    Ok(Some(found))
}

/// A session that must be there.
pub(super) fn known_session(conn: &Connection, id: &str) -> Result<SessionRow> {
    session(conn, id, true)?.ok_or_else(|| StoreError::not_found("session", id))
}

fn worktree_row(row: &Row<'_>) -> rusqlite::Result<WorktreeRow> {
    Ok(WorktreeRow {
        id: get(row, "id")?,
        session: get(row, "session_id")?,
        repo: get(row, "repo")?,
        path: get(row, "path")?,
        branch: get(row, "branch")?,
        base_commit: get::<Option<String>>(row, "base_commit")?.unwrap_or_default(),
        state: get(row, "state")?,
        created_at: moment(row, "created_at")?,
        last_write: moment_if(row, "last_write")?,
        size_bytes: natural_if(row, "size_bytes")?,
        salvage_ref: get(row, "salvage_ref")?,
        kept_because: json(row, "kept_because")?,
    })
}

/// The newest worktree of a session.
fn worktree_of(conn: &Connection, session: &str) -> Result<Option<WorktreeRow>> {
    let sql = "SELECT * FROM worktrees WHERE session_id = ?1 ORDER BY rowid DESC LIMIT 1";
    sql::one(conn, sql, [session], worktree_row)
}

pub(super) fn worktree(conn: &Connection, id: &str) -> Result<Option<WorktreeRow>> {
    sql::one(conn, "SELECT * FROM worktrees WHERE id = ?1", [id], worktree_row)
}

pub(super) fn chat(conn: &Connection, id: &str) -> Result<Option<ChatRow>> {
    let found = sql::one(conn, "SELECT * FROM chats WHERE id = ?1", [id], |row| {
        Ok(ChatRow {
            id: get(row, "id")?,
            session: get(row, "session_id")?,
            title: get(row, "title")?,
            state: get(row, "state")?,
            created_at: moment(row, "created_at")?,
            held: get(row, "held")?,
            agents: Vec::new(),
        })
    })?;
    let Some(mut found) = found else { return Ok(None) };
    found.agents = agents_where(conn, "a.chat_id = ?1", [id])?;
    Ok(Some(found))
}

/// A chat that must be there.
pub(super) fn known_chat(conn: &Connection, id: &str) -> Result<ChatRow> {
    chat(conn, id)?.ok_or_else(|| StoreError::not_found("chat", id))
}

// Agent sessions -------------------------------------------------------------------------------

/// Agent sessions that ever began a backend, by a condition on `a`.
pub(super) fn agents_where(
    conn: &Connection,
    condition: &str,
    params: impl rusqlite::Params,
) -> Result<Vec<AgentSessionRow>> {
    let sql = format!(
        "SELECT a.*, c.session_id AS owner,
            (SELECT count(*) FROM tasks AS t WHERE t.chat_id = a.chat_id AND t.agent = a.agent
                AND t.state IN ('queued', 'held')) AS queued,
            (SELECT u.id FROM turns AS u JOIN tasks AS t ON t.id = u.task_id
                WHERE u.ended_at IS NULL AND t.chat_id = a.chat_id AND t.agent = a.agent
                AND t.state = 'running' LIMIT 1) AS turn
         FROM agent_sessions AS a JOIN chats AS c ON c.id = a.chat_id
         WHERE a.status IS NOT NULL AND {condition} ORDER BY a.created_at, a.chat_id, a.agent"
    );
    sql::all(conn, &sql, params, agent_row)
}

fn agent_row(row: &Row<'_>) -> rusqlite::Result<AgentSessionRow> {
    Ok(AgentSessionRow {
        chat: get(row, "chat_id")?,
        agent: get(row, "agent")?,
        session: get(row, "owner")?,
        backend: get(row, "backend")?,
        status: get(row, "status")?,
        generation: natural(get(row, "generation")?),
        pid: get(row, "pid")?,
        shared_with: 0,
        backend_session: get(row, "backend_session")?,
        config_hash: get(row, "config_hash")?,
        worktree: get(row, "worktree_id")?,
        idle_ms: None,
        queued: natural(get(row, "queued")?),
        turn: get(row, "turn")?,
        restarts: natural(get(row, "restarts")?),
        context: get(row, "context")?,
        rss_bytes: None,
        pss_bytes: None,
        descendants: None,
        reason: None,
        misplaced: None,
        retry_in_ms: None,
        crashes: 0,
        start_failures: 0,
        busy: Vec::new(),
        last_exit: exit(row)?,
    })
}

fn exit(row: &Row<'_>) -> rusqlite::Result<Option<ExitRow>> {
    let Some(at) = moment_if(row, "exit_at")? else { return Ok(None) };
    let (code, signal) = (row.get("exit_code")?, row.get("exit_signal")?);
    Ok(Some(ExitRow {
        code,
        signal,
        detail: words::exit_detail(code, signal),
        stderr_tail: row.get::<_, Option<String>>("exit_stderr")?.unwrap_or_default(),
        at: Some(at),
    }))
}

// Tasks and turns ------------------------------------------------------------------------------

/// What every query for [`task_row`] selects.
pub(super) const TASK: &str = "SELECT t.*, c.session_id,
        (SELECT u.id FROM turns AS u WHERE u.task_id = t.id ORDER BY u.attempt DESC LIMIT 1) AS turn,
        (SELECT u.context_lost FROM turns AS u WHERE u.task_id = t.id AND u.context_lost IS NOT NULL
            ORDER BY u.attempt DESC LIMIT 1) AS context_lost,
        (SELECT count(*) FROM permissions AS p WHERE p.task_id = t.id AND p.answered_by IN ('policy', 'unattended')
            AND NOT EXISTS (SELECT 1 FROM json_each(p.options) AS o
                WHERE o.value ->> 'id' = p.chosen AND o.value ->> 'kind' LIKE 'allow%')) AS rejected
    FROM tasks AS t JOIN chats AS c ON c.id = t.chat_id";

pub(super) fn task_row(row: &Row<'_>) -> rusqlite::Result<TaskRow> {
    let ended_at = moment_if(row, "ended_at")?;
    let (state, turn): (String, Option<String>) = (get(row, "state")?, get(row, "turn")?);
    let error: Option<String> = get(row, "error")?;
    let fault = fault(&state, turn.is_some(), error.as_deref().unwrap_or_default());
    let outcome = OutcomeRow { stop_reason: get(row, "stop_reason")?, error, fault };
    Ok(TaskRow {
        id: get(row, "id")?,
        chat: get(row, "chat_id")?,
        session: get(row, "session_id")?,
        agent: get(row, "agent")?,
        state,
        waiting: None,
        backend: get(row, "backend")?,
        source: get(row, "source")?,
        prompt: get(row, "prompt")?,
        request_id: get(row, "request_id")?,
        parent: get(row, "parent")?,
        created_at: moment(row, "created_at")?,
        started_at: moment_if(row, "started_at")?,
        ended_at,
        turn,
        context_lost: get(row, "context_lost")?,
        rejected: natural(get(row, "rejected")?),
        outcome: ended_at.map(|_| outcome),
        text: get(row, "text")?,
        usage: UsageRow::default(),
        turns: None,
    })
}

/// A task with its turns.
pub(super) fn task(conn: &Connection, id: &str) -> Result<Option<TaskRow>> {
    let Some(mut found) = sql::one(conn, &format!("{TASK} WHERE t.id = ?1"), [id], task_row)? else {
        return Ok(None);
    };
    found.usage = task_usage(conn, id)?;
    found.turns =
        Some(sql::all(conn, "SELECT * FROM turns WHERE task_id = ?1 ORDER BY attempt", [id], turn_row)?);
    Ok(Some(found))
}

/// Adds what tasks cost to a list of them.
pub(super) fn with_usage(conn: &Connection, tasks: &mut [TaskRow]) -> Result<()> {
    for task in tasks {
        if task.turn.is_some() {
            task.usage = task_usage(conn, &task.id)?;
        }
    }
    Ok(())
}

fn turn_row(row: &Row<'_>) -> rusqlite::Result<TurnRow> {
    Ok(TurnRow {
        id: get(row, "id")?,
        task: get(row, "task_id")?,
        generation: natural(get(row, "generation")?),
        started_at: moment(row, "started_at")?,
        ended_at: moment_if(row, "ended_at")?,
        first_token_ms: natural_if(row, "first_token_ms")?,
        duration_ms: natural_if(row, "duration_ms")?,
        outcome: get(row, "outcome")?,
        stop_reason: get(row, "stop_reason")?,
        error: get(row, "error")?,
        context: get(row, "context")?,
        context_lost: get(row, "context_lost")?,
        usage: usage_of_row(row)?,
        files: json(row, "files")?,
    })
}

// Permissions ----------------------------------------------------------------------------------

/// What every query for [`permission_row`] selects.
pub(super) const PERMISSION: &str = "SELECT p.*, t.chat_id, t.agent
    FROM permissions AS p JOIN tasks AS t ON t.id = p.task_id";

pub(super) fn permission_row(row: &Row<'_>) -> rusqlite::Result<PermissionRow> {
    Ok(PermissionRow {
        id: get(row, "id")?,
        chat: get(row, "chat_id")?,
        agent: get(row, "agent")?,
        task: get(row, "task_id")?,
        turn: get(row, "turn_id")?,
        state: get(row, "state")?,
        title: get(row, "title")?,
        kind: get(row, "kind")?,
        call: get(row, "call")?,
        input: json::<Option<Box<serde_json::value::RawValue>>>(row, "input")?
            .map(|value| Box::new(RawJson(value))),
        options: json(row, "options")?,
        option: get(row, "chosen")?,
        by: get(row, "answered_by")?,
        created_at: moment(row, "created_at")?,
        resolved_at: moment_if(row, "resolved_at")?,
    })
}

pub(super) fn permission(conn: &Connection, id: &str) -> Result<Option<PermissionRow>> {
    sql::one(conn, &format!("{PERMISSION} WHERE p.id = ?1"), params![id], permission_row)
}
