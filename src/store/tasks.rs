//! Tasks: accepted once, moved with their event, listed. Which task runs next is decided elsewhere.

use std::path::PathBuf;
use std::sync::Arc;

use hob_actors::event::{Event, Scope, TaskState};
use hob_actors::id::{AgentKey, Generation, SessionId, TaskId, TurnId};
use hob_actors::ports::{PermissionPolicy, Route, TaskCard};
use rusqlite::{Connection, Row, ToSql, named_params, params};

use super::command::Tx;
use super::reader::Reply;
use super::requests::{self, Request};
use super::sql::{self, Result};
use super::{Store, StoreError, ids, rows, sessions, words};
use crate::control::wire::TaskRow;
use crate::path_text;

/// Tasks in one list.
const LIST_MAX: usize = 1000;

/// A prompt that somebody asks to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTask {
    /// What the client calls the request: a second submit of it returns the first task.
    pub request: Option<Request>,
    /// Its chat.
    pub chat: String,
    /// Its agent.
    pub agent: String,
    /// The prompt.
    pub prompt: String,
    /// `chat new_task mcp arena api`.
    pub source: String,
    /// What answers permission requests, if not the configuration.
    pub permissions: Option<PermissionPolicy>,
    /// Refused rather than kept waiting.
    pub no_wait: bool,
    /// Failed rather than kept waiting for another start of its agent.
    pub no_retry: bool,
    /// Put aside until its chat is released.
    pub hold: bool,
    /// The task that it was made by, or is a retry of.
    pub parent: Option<String>,
    /// `warm` or `oneshot`, if one was asked for.
    pub backend: Option<String>,
    /// Whether the person uses the session with it; an agent and an arena do not.
    pub uses: bool,
}

/// A task that was accepted, now or before.
#[derive(Debug, Clone, PartialEq)]
pub struct Submitted {
    /// As it is shown.
    pub task: TaskRow,
    /// As the tree needs it.
    pub card: TaskCard,
    /// False if a submit with the same `request_id` came before.
    pub fresh: bool,
}

/// Which tasks are wanted. `None` wants all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskFilter {
    /// Of this chat.
    pub chat: Option<String>,
    /// Of this session.
    pub session: Option<String>,
    /// In this state.
    pub state: Option<String>,
    /// At most so many; clamped to 1000.
    pub limit: Option<usize>,
    /// Accepted before this task.
    pub before: Option<String>,
}

/// What the store needs of a task to move it.
#[derive(Debug, Clone)]
pub(super) struct TaskRef {
    pub(super) id: TaskId,
    pub(super) key: AgentKey,
    pub(super) session: SessionId,
    pub(super) state: TaskState,
    pub(super) generation: Option<Generation>,
}

impl TaskRef {
    /// What its events are about.
    pub(super) fn scope(&self, turn: Option<TurnId>) -> Scope {
        Scope {
            session: Some(self.session.clone()),
            chat: Some(self.key.chat.clone()),
            agent: Some(self.key.agent.clone()),
            generation: self.generation,
            task: Some(self.id.clone()),
            turn,
        }
    }
}

const REF: &str = "SELECT t.id, t.chat_id, t.agent, c.session_id, t.state, t.generation
    FROM tasks AS t JOIN chats AS c ON c.id = t.chat_id";

fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<String> {
    row.get(column)
}

fn state(word: &str) -> rusqlite::Result<TaskState> {
    words::parse_task_state(word).ok_or_else(|| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, word.to_owned().into())
    })
}

fn reference(row: &Row<'_>) -> rusqlite::Result<TaskRef> {
    Ok(TaskRef {
        id: text(row, 0)?.into(),
        key: AgentKey::new(text(row, 1)?, text(row, 2)?),
        session: text(row, 3)?.into(),
        state: state(&text(row, 4)?)?,
        generation: row.get::<_, Option<i64>>(5)?.map(|n| Generation(sql::natural(n))),
    })
}

pub(super) fn find(conn: &Connection, id: &TaskId) -> Result<Option<TaskRef>> {
    sql::one(conn, &format!("{REF} WHERE t.id = ?1"), [id.as_str()], reference)
}

/// A task that must be there.
pub(super) fn known(conn: &Connection, id: &TaskId) -> Result<TaskRef> {
    find(conn, id)?.ok_or_else(|| StoreError::not_found("task", id.as_str()))
}

const OPEN: &str = "t.state IN ('queued', 'held', 'dispatched', 'running')";

/// The tasks of a chat that are not terminal, in order of acceptance.
pub(super) fn open_in_chat(conn: &Connection, chat: &str) -> Result<Vec<TaskRef>> {
    sql::all(conn, &format!("{REF} WHERE t.chat_id = ?1 AND {OPEN} ORDER BY t.num"), [chat], reference)
}

/// The tasks that were with an agent, in order of acceptance.
pub(super) fn in_flight(conn: &Connection) -> Result<Vec<TaskRef>> {
    let condition = "t.state IN ('dispatched', 'running')";
    sql::all(conn, &format!("{REF} WHERE {condition} ORDER BY t.num"), [], reference)
}

/// Moves a task and tells of it. Whether it may be moved was judged by the caller.
pub(super) fn move_to(tx: &mut Tx<'_>, task: &TaskRef, to: TaskState, reason: Option<&str>) -> Result<()> {
    sql::run(
        tx.conn,
        "UPDATE tasks SET state = ?2, ended_at = CASE WHEN ?3 THEN ?4 END WHERE id = ?1",
        params![task.id.as_str(), words::task_state(to), to.is_terminal(), tx.now().0],
    )?;
    told(tx, &task.scope(None), Some(task.state), to, reason)
}

/// Tells that a task moved.
pub(super) fn told(
    tx: &mut Tx<'_>,
    scope: &Scope,
    from: Option<TaskState>,
    to: TaskState,
    reason: Option<&str>,
) -> Result<()> {
    tx.event(scope, &Event::TaskState { from, to, reason: reason.map(str::to_owned) })?;
    Ok(())
}

// Submit ---------------------------------------------------------------------------------------

pub(super) fn submit(tx: &mut Tx<'_>, new: &NewTask) -> Result<Submitted> {
    if let Some(request) = &new.request
        && let Some(id) = requests::task(tx.conn, request)?
    {
        return submitted(tx, &id, false);
    }
    let chat = sql::one(tx.conn, "SELECT state, held FROM chats WHERE id = ?1", [&new.chat], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, bool>(1)?))
    })?;
    let held = match chat {
        None => return Err(StoreError::not_found("chat", &new.chat)),
        Some((state, _)) if state != "open" => {
            return Err(StoreError::Conflict(format!("chat {} is closed", new.chat)));
        }
        Some((_, held)) => held || new.hold,
    };
    let to = if held { TaskState::Held } else { TaskState::Queued };
    let id = ids::unused(tx.conn, "tasks", "t-")?;
    let (owner, request) = requests::columns(new.request.as_ref());
    sql::run(
        tx.conn,
        "INSERT INTO tasks (id, chat_id, agent, request_owner, request_id, state, source, backend, permissions,
                            no_wait, no_retry, prompt, parent, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        params![
            id,
            new.chat,
            new.agent,
            owner,
            request,
            words::task_state(to),
            new.source,
            new.backend,
            new.permissions.map(words::policy),
            new.no_wait,
            new.no_retry,
            new.prompt,
            new.parent,
            tx.now().0,
        ],
    )?;
    let task = known(tx.conn, &TaskId::from(id.as_str()))?;
    told(tx, &task.scope(None), None, to, None)?;
    if new.uses {
        sessions::used(tx, task.session.as_str())?;
    }
    submitted(tx, &id, true)
}

fn submitted(tx: &Tx<'_>, id: &str, fresh: bool) -> Result<Submitted> {
    let missing = || StoreError::not_found("task", id);
    let task = rows::task(tx.conn, id)?.ok_or_else(missing)?;
    let card = card(tx, &TaskId::from(id))?.ok_or_else(missing)?;
    Ok(Submitted { task, card, fresh })
}

// Cards ----------------------------------------------------------------------------------------

const CARD: &str =
    "SELECT t.num, t.id, t.chat_id, t.agent, c.session_id, t.state, t.prompt, t.permissions, t.no_wait,
            (SELECT path FROM worktrees AS w WHERE w.session_id = c.session_id
             ORDER BY w.rowid DESC LIMIT 1), c.subdir, t.backend, t.no_retry,
            t.source IN ('new_task', 'mcp', 'arena')
    FROM tasks AS t JOIN chats AS c ON c.id = t.chat_id";

fn card_row(row: &Row<'_>, as_of: i64) -> rusqlite::Result<TaskCard> {
    Ok(TaskCard {
        order: row.get(0)?,
        task: text(row, 1)?.into(),
        key: AgentKey::new(text(row, 2)?, text(row, 3)?),
        session: text(row, 4)?.into(),
        state: state(&text(row, 5)?)?,
        prompt: Arc::from(text(row, 6)?),
        permissions: row.get::<_, Option<String>>(7)?.as_deref().and_then(words::parse_policy),
        no_wait: row.get(8)?,
        no_retry: row.get(12)?,
        is_delegated: row.get(13)?,
        cwd: working_directory(row.get(9)?, &text(row, 10)?),
        route: row.get::<_, Option<String>>(11)?.as_deref().map(Route::from_word).unwrap_or_default(),
        as_of,
    })
}

/// The directory of a chat inside the worktree at `path`; empty where there is no worktree.
pub(super) fn working_directory(path: Option<String>, subdir: &str) -> PathBuf {
    let top = path_text::path(&path.unwrap_or_default());
    if subdir.is_empty() { top } else { top.join(path_text::path(subdir)) }
}

/// One task as the tree needs it.
pub(super) fn card(tx: &Tx<'_>, id: &TaskId) -> Result<Option<TaskCard>> {
    sql::one(tx.conn, &format!("{CARD} WHERE t.id = ?1"), [id.as_str()], |row| card_row(row, tx.newest()))
}

/// Every task that is not terminal, in order of acceptance.
pub(super) fn open_cards(tx: &Tx<'_>) -> Result<Vec<TaskCard>> {
    sql::all(tx.conn, &format!("{CARD} WHERE {OPEN} ORDER BY t.num"), [], |row| card_row(row, tx.newest()))
}

// Dispatch -------------------------------------------------------------------------------------

/// `queued` to `dispatched`, once.
pub(super) fn dispatch(tx: &mut Tx<'_>, id: &TaskId, generation: Generation) -> Result<bool> {
    let mut task = known(tx.conn, id)?;
    if task.state != TaskState::Queued {
        return Ok(false);
    }
    task.generation = Some(generation);
    sql::run(
        tx.conn,
        "UPDATE tasks SET state = 'dispatched', generation = ?2 WHERE id = ?1",
        params![id.as_str(), sql::integer(generation.0)],
    )?;
    told(tx, &task.scope(None), Some(TaskState::Queued), TaskState::Dispatched, None)?;
    Ok(true)
}

// Lists ----------------------------------------------------------------------------------------

fn list(conn: &Connection, filter: &TaskFilter) -> Result<Vec<TaskRow>> {
    let mut sql = format!("{} WHERE 1", rows::TASK);
    let limit = sql::integer(filter.limit.unwrap_or(LIST_MAX).min(LIST_MAX) as u64);
    let mut given: Vec<(&str, &dyn ToSql)> = named_params! {":limit": limit}.to_vec();
    let conditions: [(&str, &str, &Option<String>); 4] = [
        (":chat", " AND t.chat_id = :chat", &filter.chat),
        (":session", " AND c.session_id = :session", &filter.session),
        (":state", " AND t.state = :state", &filter.state),
        (":before", " AND t.num < (SELECT num FROM tasks WHERE id = :before)", &filter.before),
    ];
    for (name, condition, value) in &conditions {
        if value.is_some() {
            sql.push_str(condition);
            given.push((*name, *value as &dyn ToSql));
        }
    }
    sql.push_str(" ORDER BY t.num DESC LIMIT :limit");
    let mut tasks = sql::all(conn, &sql, given.as_slice(), rows::task_row)?;
    rows::with_usage(conn, &mut tasks)?;
    Ok(tasks)
}

impl Store {
    /// Accepts a task: when this answers, it is on the disk. A request that came before returns the
    /// first task as it is now.
    ///
    /// # Errors
    /// `NotFound` without its chat, `Conflict` if that is closed.
    pub fn submit(&self, new: NewTask) -> Reply<Submitted> {
        self.write("record the task", move |tx| submit(tx, &new))
    }

    /// The task that this request made, if it came before.
    pub fn task_of_request(&self, request: &Request) -> Reply<Option<TaskRow>> {
        let request = request.clone();
        self.read("read the task", move |conn| match requests::task(conn, &request)? {
            Some(id) => rows::task(conn, &id),
            None => Ok(None),
        })
    }

    /// One task with its turns.
    pub fn task_row(&self, id: &str) -> Reply<Option<TaskRow>> {
        let id = id.to_owned();
        self.read("read the task", move |conn| rows::task(conn, &id))
    }

    /// Tasks, newest first.
    pub fn tasks(&self, filter: TaskFilter) -> Reply<Vec<TaskRow>> {
        self.read("list the tasks", move |conn| list(conn, &filter))
    }
}
