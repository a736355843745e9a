//! Agent sessions: made when first asked for, moved together with their event. News of an older
//! backend than the recorded one, and news of a closed agent session, changes nothing.

use std::path::PathBuf;

use hob_actors::event::{AgentStatus, Context, Event, Scope};
use hob_actors::id::{AgentKey, BackendSessionId, Generation, SessionId};
use hob_actors::ports::{AgentMove, AgentRecord, BackendOpened, Choice};
use rusqlite::{Connection, Row, params};

use super::command::Tx;
use super::reader::Reply;
use super::sql::{self, Result, integer, natural};
use super::{Store, StoreError, rows, sessions, tasks, words};
use crate::control::wire::{AgentSessionRow, UsageRow};

/// The part of a row that moves depend on.
struct Known {
    session: SessionId,
    generation: Generation,
    status: Option<AgentStatus>,
    backend_session: Option<String>,
    pid: Option<u32>,
    chat_open: bool,
}

fn status(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<AgentStatus>> {
    Ok(row.get::<_, Option<String>>(column)?.as_deref().and_then(words::parse_agent_status))
}

fn find(conn: &Connection, key: &AgentKey) -> Result<Option<Known>> {
    let sql = "SELECT c.session_id, a.generation, a.status, a.backend_session, a.pid, c.state = 'open'
               FROM agent_sessions AS a JOIN chats AS c ON c.id = a.chat_id WHERE a.chat_id = ?1 AND a.agent = ?2";
    sql::one(conn, sql, [key.chat.as_str(), key.agent.as_str()], |row| {
        Ok(Known {
            session: row.get::<_, String>(0)?.into(),
            generation: Generation(natural(row.get(1)?)),
            status: status(row, 2)?,
            backend_session: row.get(3)?,
            pid: row.get(4)?,
            chat_open: row.get(5)?,
        })
    })
}

fn known(conn: &Connection, key: &AgentKey) -> Result<Known> {
    find(conn, key)?.ok_or_else(|| StoreError::NotFound { what: "agent session", id: key.to_string() })
}

pub(super) fn scope(key: &AgentKey, session: &SessionId, generation: Generation) -> Scope {
    Scope {
        session: Some(session.clone()),
        chat: Some(key.chat.clone()),
        agent: Some(key.agent.clone()),
        generation: Some(generation),
        ..Scope::default()
    }
}

/// Makes the row where there is none.
fn ensure(tx: &mut Tx<'_>, key: &AgentKey) -> Result<()> {
    let session = sessions::of_chat(tx.conn, key.chat.as_str())?;
    sql::run(
        tx.conn,
        "INSERT INTO agent_sessions (chat_id, agent, session_id, worktree_id, created_at)
         VALUES (?1, ?2, ?3, (SELECT id FROM worktrees WHERE session_id = ?3 ORDER BY created_at DESC, id LIMIT 1), ?4)
         ON CONFLICT DO NOTHING",
        params![key.chat.as_str(), key.agent.as_str(), session.as_str(), tx.now().0],
    )?;
    Ok(())
}

pub(super) fn record(tx: &mut Tx<'_>, key: &AgentKey) -> Result<AgentRecord> {
    ensure(tx, key)?;
    let sql = "SELECT c.session_id, a.generation, a.backend_session, a.has_history, a.status, a.config_hash, c.subdir,
                      a.mode, a.model,
                      (SELECT path FROM worktrees AS w WHERE w.session_id = c.session_id
                       ORDER BY w.created_at DESC, w.id LIMIT 1),
                      EXISTS (SELECT 1 FROM agent_sessions AS o WHERE o.agent = a.agent AND o.config_hash IS NOT NULL)
               FROM agent_sessions AS a JOIN chats AS c ON c.id = a.chat_id WHERE a.chat_id = ?1 AND a.agent = ?2";
    let found = sql::one(tx.conn, sql, [key.chat.as_str(), key.agent.as_str()], |row| {
        let path: Option<String> = row.get(9)?;
        let record = AgentRecord {
            session: row.get::<_, String>(0)?.into(),
            generation: Generation(natural(row.get(1)?)),
            backend_session: row.get::<_, Option<String>>(2)?.map(Into::into),
            has_history: row.get(3)?,
            ever_started: row.get(10)?,
            cwd: PathBuf::new(),
            status: status(row, 4)?,
            config_hash: row.get(5)?,
            choice: Choice { mode: row.get(7)?, model: row.get(8)? },
        };
        let cwd = tasks::working_directory(path, &row.get::<_, String>(6)?);
        Ok(AgentRecord { cwd, ..record })
    })?;
    match found {
        Some(record) if !record.cwd.as_os_str().is_empty() => Ok(record),
        Some(record) => Err(StoreError::not_found("worktree of session", record.session.as_str())),
        None => Err(StoreError::NotFound { what: "agent session", id: key.to_string() }),
    }
}

pub(super) fn begin_generation(tx: &mut Tx<'_>, key: &AgentKey) -> Result<Generation> {
    ensure(tx, key)?;
    let known = known(tx.conn, key)?;
    if known.status == Some(AgentStatus::Closed) || !known.chat_open {
        return Err(StoreError::Conflict(format!("agent session {key} is closed")));
    }
    let generation = Generation(known.generation.0 + 1);
    // A restart is a start after a failure; a return after an eviction is none.
    let again =
        matches!(known.status, Some(AgentStatus::Crashed | AgentStatus::Backoff | AgentStatus::CircuitOpen));
    sql::run(
        tx.conn,
        "UPDATE agent_sessions SET generation = ?3, restarts = restarts + ?4, pid = NULL WHERE chat_id = ?1 AND agent = ?2",
        params![key.chat.as_str(), key.agent.as_str(), integer(generation.0), again],
    )?;
    let step = AgentMove {
        key: key.clone(),
        generation,
        to: AgentStatus::Starting,
        reason: None,
        pid: None,
        exit: None,
    };
    write_move(tx, &known, &step)?;
    Ok(generation)
}

/// Moves an agent session, unless this is late news.
pub(super) fn step(tx: &mut Tx<'_>, step: &AgentMove) -> Result<()> {
    ensure(tx, &step.key)?;
    let known = known(tx.conn, &step.key)?;
    let late = step.generation < known.generation || known.status == Some(AgentStatus::Closed);
    let nothing_new = known.status == Some(step.to)
        && step.generation == known.generation
        && step.reason.is_none()
        && step.exit.is_none()
        && (step.pid.is_none() || step.pid == known.pid);
    if late || nothing_new { Ok(()) } else { write_move(tx, &known, step) }
}

fn write_move(tx: &mut Tx<'_>, from: &Known, step: &AgentMove) -> Result<()> {
    let key = &step.key;
    let lives = matches!(step.to, AgentStatus::Starting | AgentStatus::Idle | AgentStatus::Busy);
    sql::run(
        tx.conn,
        "UPDATE agent_sessions SET status = ?3, generation = ?4, pid = CASE WHEN ?5 THEN coalesce(?6, pid) ELSE ?6 END
         WHERE chat_id = ?1 AND agent = ?2",
        params![
            key.chat.as_str(),
            key.agent.as_str(),
            words::agent_status(step.to),
            integer(step.generation.0),
            lives,
            step.pid,
        ],
    )?;
    if let Some(exit) = &step.exit {
        sql::run(
            tx.conn,
            "UPDATE agent_sessions SET exit_code = ?3, exit_signal = ?4, exit_stderr = ?5, exit_at = ?6
             WHERE chat_id = ?1 AND agent = ?2",
            params![
                key.chat.as_str(),
                key.agent.as_str(),
                exit.code,
                exit.signal,
                exit.stderr_tail,
                tx.now().0
            ],
        )?;
    }
    let event = Event::AgentState {
        from: from.status,
        to: step.to,
        reason: step.reason.clone(),
        pid: step.pid,
        exit: step.exit.clone(),
    };
    tx.event(&scope(key, &from.session, step.generation), &event)?;
    Ok(())
}

pub(super) fn opened(tx: &mut Tx<'_>, opened: &BackendOpened) -> Result<()> {
    ensure(tx, &opened.key)?;
    let known = known(tx.conn, &opened.key)?;
    if opened.generation < known.generation || known.status == Some(AgentStatus::Closed) {
        return Ok(());
    }
    let conversation = opened.backend_session.as_ref().map(BackendSessionId::as_str);
    let same = known.backend_session.as_deref() == conversation;
    // What keeps no conversation leaves the one of the kept backend alone.
    let kept = conversation.is_none() || same && !matches!(opened.context, Context::Fresh | Context::Reset);
    sql::run(
        tx.conn,
        "UPDATE agent_sessions SET backend_session = coalesce(?3, backend_session), config_hash = ?4, context = ?5,
            backend = ?7,
            has_history = CASE WHEN ?6 THEN has_history ELSE 0 END
         WHERE chat_id = ?1 AND agent = ?2",
        params![
            opened.key.chat.as_str(),
            opened.key.agent.as_str(),
            conversation,
            opened.config_hash,
            words::context(opened.context),
            kept,
            opened.backend,
        ],
    )?;
    let step = AgentMove {
        key: opened.key.clone(),
        generation: opened.generation,
        to: AgentStatus::Idle,
        reason: None,
        pid: opened.pid,
        exit: None,
    };
    write_move(tx, &known, &step)?;
    if let Some(reason) = &opened.reset {
        let scope = scope(&opened.key, &known.session, opened.generation);
        tx.event(&scope, &Event::ContextReset { reason: reason.clone() })?;
    }
    Ok(())
}

pub(super) fn forget_backend_session(tx: &mut Tx<'_>, key: &AgentKey) -> Result<()> {
    let sql =
        "UPDATE agent_sessions SET backend_session = NULL, has_history = 0 WHERE chat_id = ?1 AND agent = ?2";
    sql::run(tx.conn, sql, [key.chat.as_str(), key.agent.as_str()])?;
    Ok(())
}

/// Moves the agent sessions that meet `condition`; says how many.
fn move_where(tx: &mut Tx<'_>, condition: &str, bound: &str, to: AgentStatus, why: &str) -> Result<u64> {
    let sql = format!("SELECT chat_id, agent FROM agent_sessions WHERE {condition} ORDER BY chat_id, agent");
    let keys = sql::all(tx.conn, &sql, [bound], |row| {
        Ok(AgentKey::new(row.get::<_, String>(0)?, row.get::<_, String>(1)?))
    })?;
    for key in &keys {
        let known = known(tx.conn, key)?;
        let step = AgentMove {
            key: key.clone(),
            generation: known.generation,
            to,
            reason: Some(why.to_owned()),
            pid: None,
            exit: None,
        };
        write_move(tx, &known, &step)?;
    }
    Ok(keys.len() as u64)
}

/// Closes the agent sessions of a chat.
pub(super) fn close_all(tx: &mut Tx<'_>, chat: &str, why: &str) -> Result<u64> {
    move_where(
        tx,
        "chat_id = ?1 AND status IS NOT NULL AND status <> 'closed'",
        chat,
        AgentStatus::Closed,
        why,
    )
}

/// What had a process, or was about to get one, has none any more; and of what failed too often the
/// count has gone with the daemon.
pub(super) fn settle(tx: &mut Tx<'_>, why: &str) -> Result<u64> {
    let condition = "?1 = '' AND status IN ('starting', 'idle', 'busy', 'backoff', 'circuit_open')";
    move_where(tx, condition, "", AgentStatus::Crashed, why)
}

impl Store {
    /// Agent sessions that have a process, or all that ever had one, in the order of their making.
    pub fn agent_sessions(&self, all: bool) -> Reply<Vec<AgentSessionRow>> {
        self.read("list the agent sessions", move |conn| {
            rows::agents_where(conn, "(?1 OR a.status IN ('starting', 'idle', 'busy'))", [all])
        })
    }

    /// One agent session, if it ever began a backend.
    pub fn agent_session(&self, chat: &str, agent: &str) -> Reply<Option<AgentSessionRow>> {
        let (chat, agent) = (chat.to_owned(), agent.to_owned());
        self.read("read the agent session", move |conn| {
            Ok(rows::agents_where(conn, "a.chat_id = ?1 AND a.agent = ?2", [chat, agent])?.pop())
        })
    }

    /// What an agent session spent, and the newest figures of its context.
    pub fn agent_usage(&self, chat: &str, agent: &str) -> Reply<UsageRow> {
        let (chat, agent) = (chat.to_owned(), agent.to_owned());
        self.read("add up the usage", move |conn| rows::agent_usage(conn, &chat, &agent))
    }

    /// What was spent in a chat.
    pub fn chat_usage(&self, chat: &str) -> Reply<UsageRow> {
        let chat = chat.to_owned();
        self.read("add up the usage", move |conn| rows::chat_usage(conn, &chat))
    }

    /// What was spent in a session.
    pub fn session_usage(&self, session: &str) -> Reply<UsageRow> {
        let session = session.to_owned();
        self.read("add up the usage", move |conn| rows::session_usage(conn, &session))
    }
}
