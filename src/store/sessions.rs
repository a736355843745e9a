//! Sessions: made with their worktree, closed with their chats, reopened while the worktree lives.

use hob_actors::id::SessionId;
use rusqlite::{Connection, params};

use super::command::Tx;
use super::reader::Reply;
use super::sql::{self, Result};
use super::worktrees::{self, WorktreeFacts};
use super::{Store, StoreError, chats, ids, rows};
use crate::control::wire::SessionRow;

/// A session that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSession {
    /// Its id, if the client brought one.
    pub id: Option<String>,
    /// The user's repository: the top of its working tree.
    pub repo: String,
    /// What a person calls it.
    pub title: Option<String>,
    /// What it is started from, as given.
    pub base: Option<String>,
    /// Whether uncommitted changes were carried into it.
    pub carry_changes: bool,
    /// `prompt` when it was made by a bare prompt in a directory.
    pub origin: Option<String>,
    /// Its worktree, as git made it.
    pub worktree: WorktreeFacts,
}

/// What a session was made with, for "created again with the same parameters".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionParams {
    /// The user's repository.
    pub repo: String,
    /// What a person calls it.
    pub title: Option<String>,
    /// What it was started from, as given.
    pub base: Option<String>,
    /// Whether uncommitted changes were carried into it.
    pub carry_changes: bool,
}

pub(super) fn create(tx: &mut Tx<'_>, new: &NewSession) -> Result<SessionRow> {
    let id = match &new.id {
        Some(id) if state(tx.conn, id)?.is_some() => {
            return Err(StoreError::Conflict(format!("session {id} exists")));
        }
        Some(id) => id.clone(),
        None => ids::unused(tx.conn, "sessions", "s-")?,
    };
    sql::run(
        tx.conn,
        "INSERT INTO sessions (id, repo, title, base, carry_changes, origin, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![id, new.repo, new.title, new.base, new.carry_changes, new.origin, tx.now().0],
    )?;
    worktrees::activate(tx, &id, &new.worktree)?;
    used(tx, &id)?;
    rows::known_session(tx.conn, &id)
}

/// The person uses a session: from now on it is the one of its checkout. An arena's entry never is.
pub(super) fn used(tx: &mut Tx<'_>, id: &str) -> Result<()> {
    sql::run(
        tx.conn,
        "UPDATE sessions SET used = 1 + (SELECT max(used) FROM sessions)
         WHERE id = ?1 AND origin IS NOT 'arena' AND (used = 0 OR used < (SELECT max(used) FROM sessions))",
        [id],
    )?;
    Ok(())
}

/// `open` or `closed`; `None` if there is no such session.
pub(super) fn state(conn: &Connection, id: &str) -> Result<Option<String>> {
    sql::one(conn, "SELECT state FROM sessions WHERE id = ?1", [id], |row| row.get(0))
}

fn known_state(conn: &Connection, id: &str) -> Result<String> {
    state(conn, id)?.ok_or_else(|| StoreError::not_found("session", id))
}

pub(super) fn close(tx: &mut Tx<'_>, id: &str) -> Result<SessionRow> {
    if known_state(tx.conn, id)? == "open" {
        let sql = "SELECT id FROM chats WHERE session_id = ?1 AND state = 'open' ORDER BY created_at, id";
        for chat in sql::all(tx.conn, sql, [id], |row| row.get::<_, String>(0))? {
            chats::close(tx, &chat, "session closed")?;
        }
        let sql = "UPDATE sessions SET state = 'closed', closed_at = ?2 WHERE id = ?1";
        sql::run(tx.conn, sql, params![id, tx.now().0])?;
        worktrees::move_of_session(tx, id, "active", "orphaned")?;
    }
    rows::known_session(tx.conn, id)
}

fn reopen(tx: &mut Tx<'_>, id: &str) -> Result<SessionRow> {
    if known_state(tx.conn, id)? == "closed" {
        let sql = "SELECT 1 FROM worktrees WHERE session_id = ?1 AND removal IS NOT NULL LIMIT 1";
        if sql::one(tx.conn, sql, [id], |_| Ok(()))?.is_some() {
            let message = format!("something is under way with the worktree of session {id}");
            return Err(StoreError::Conflict(message));
        }
        if worktrees::move_of_session(tx, id, "orphaned", "active")? == 0 {
            return Err(StoreError::Conflict(format!(
                "the worktree of session {id} is gone; restore it first"
            )));
        }
        sql::run(tx.conn, "UPDATE sessions SET state = 'open', closed_at = NULL WHERE id = ?1", [id])?;
    }
    rows::known_session(tx.conn, id)
}

/// The session of a chat, open or not.
pub(super) fn of_chat(conn: &Connection, chat: &str) -> Result<SessionId> {
    let found =
        sql::one(conn, "SELECT session_id FROM chats WHERE id = ?1", [chat], |row| row.get::<_, String>(0))?;
    found.map(SessionId::from).ok_or_else(|| StoreError::not_found("chat", chat))
}

fn list(conn: &Connection, all: bool) -> Result<Vec<SessionRow>> {
    let sql = "SELECT id FROM sessions WHERE ?1 OR state = 'open' ORDER BY rowid";
    let ids = sql::all(conn, sql, [all], |row| row.get::<_, String>(0))?;
    let mut found = Vec::with_capacity(ids.len());
    for id in ids {
        found.extend(rows::session(conn, &id, false)?);
    }
    Ok(found)
}

impl Store {
    /// Makes a session of a worktree that was begun.
    ///
    /// # Errors
    /// `Conflict` if the id is taken, `NotFound` if the worktree was not begun.
    pub fn create_session(&self, new: NewSession) -> Reply<SessionRow> {
        self.write("record the session", move |tx| create(tx, &new))
    }

    /// One session with its worktree, its chats and their agents.
    pub fn session(&self, id: &str) -> Reply<Option<SessionRow>> {
        let id = id.to_owned();
        self.read("read the session", move |conn| rows::session(conn, &id, true))
    }

    /// What a session was made with.
    pub fn session_params(&self, id: &str) -> Reply<Option<SessionParams>> {
        let id = id.to_owned();
        self.read("read the session", move |conn| {
            let sql = "SELECT repo, title, base, carry_changes FROM sessions WHERE id = ?1";
            sql::one(conn, sql, [id], |row| {
                Ok(SessionParams {
                    repo: row.get(0)?,
                    title: row.get(1)?,
                    base: row.get(2)?,
                    carry_changes: row.get(3)?,
                })
            })
        })
    }

    /// Open sessions, or all, oldest first, with the ids of their worktrees and chats.
    pub fn sessions(&self, all: bool) -> Reply<Vec<SessionRow>> {
        self.read("list the sessions", move |conn| list(conn, all))
    }

    /// The open session on `repo` that the person used last; where none was, the entry of an arena that
    /// was adopted last.
    pub fn last_used_session(&self, repo: &str) -> Reply<Option<SessionRow>> {
        let repo = repo.to_owned();
        self.read("look for a session", move |conn| {
            let sql = "SELECT id FROM sessions AS s WHERE repo = ?1 AND state = 'open'
                         AND (used > 0 OR EXISTS (SELECT 1 FROM arenas AS a WHERE a.winner = s.id))
                       ORDER BY used DESC, rowid DESC LIMIT 1";
            match sql::one(conn, sql, [repo], |row| row.get::<_, String>(0))? {
                Some(id) => rows::session(conn, &id, true),
                None => Ok(None),
            }
        })
    }

    /// The person uses a session.
    ///
    /// # Errors
    /// `NotFound` if there is no such session.
    pub fn use_session(&self, id: &str) -> Reply<()> {
        let id = id.to_owned();
        self.write("record the use of the session", move |tx| {
            known_state(tx.conn, &id)?;
            used(tx, &id)
        })
    }

    /// Closes a session and its chats and orphans its worktree. Closing a closed one changes nothing.
    pub fn close_session(&self, id: &str) -> Reply<SessionRow> {
        let id = id.to_owned();
        self.write("close the session", move |tx| close(tx, &id))
    }

    /// Opens a closed session again; its chats stay closed. Reopening an open one changes nothing.
    ///
    /// # Errors
    /// `Conflict` if its worktree is no longer on the disk, or is about to go.
    pub fn reopen_session(&self, id: &str) -> Reply<SessionRow> {
        let id = id.to_owned();
        self.write("reopen the session", move |tx| reopen(tx, &id))
    }
}
