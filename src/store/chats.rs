//! Chats: made in an open session, held and released, closed with everything that waits in them.

use hob_actors::event::{Outcome, TaskState};
use rusqlite::{Connection, params};

use super::command::Tx;
use super::reader::Reply;
use super::sql::{self, Result};
use super::tasks::{self, TaskRef};
use super::turns::{self, Ending};
use super::{Store, StoreError, agents, ids, rows, sessions};
use crate::control::wire::ChatRow;

/// A chat that is to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewChat {
    /// Its id, if the client brought one.
    pub id: Option<String>,
    /// Its session.
    pub session: String,
    /// What a person calls it.
    pub title: Option<String>,
}

pub(super) fn create(tx: &mut Tx<'_>, new: &NewChat) -> Result<ChatRow> {
    if let Some(id) = &new.id
        && let Some(known) = rows::chat(tx.conn, id)?
    {
        // Made again with the same parameters: what is there.
        if known.session == new.session && known.title == new.title {
            return Ok(known);
        }
        return Err(StoreError::Conflict(format!("chat {id} exists with other parameters")));
    }
    match sessions::state(tx.conn, &new.session)?.as_deref() {
        None => return Err(StoreError::not_found("session", &new.session)),
        Some("open") => {}
        Some(_) => return Err(StoreError::Conflict(format!("session {} is closed", new.session))),
    }
    let id = match &new.id {
        Some(id) => id.clone(),
        None => ids::unused(tx.conn, "chats", "c-")?,
    };
    sql::run(
        tx.conn,
        "INSERT INTO chats (id, session_id, title, created_at) VALUES (?1, ?2, ?3, ?4)",
        params![id, new.session, new.title, tx.now().0],
    )?;
    rows::known_chat(tx.conn, &id)
}

/// Closes a chat: what waits or runs in it is cancelled, its agent sessions are closed.
pub(super) fn close(tx: &mut Tx<'_>, id: &str, why: &str) -> Result<ChatRow> {
    let known = rows::known_chat(tx.conn, id)?;
    if known.state == "open" {
        for task in tasks::open_in_chat(tx.conn, id)? {
            turns::end(tx, &task, &Ending::by_us(Outcome::Cancelled, why))?;
        }
        agents::close_all(tx, id, why)?;
        let sql = "UPDATE chats SET state = 'closed', closed_at = ?2 WHERE id = ?1";
        sql::run(tx.conn, sql, params![id, tx.now().0])?;
    }
    rows::known_chat(tx.conn, id)
}

/// Moves the queued tasks of a chat to `held` or back, and remembers it of the chat. Says as of which event.
pub(super) fn set_held(tx: &mut Tx<'_>, chat: &str, held: bool) -> Result<i64> {
    if sql::run(tx.conn, "UPDATE chats SET held = ?2 WHERE id = ?1", params![chat, held])? == 0 {
        return Err(StoreError::not_found("chat", chat));
    }
    let (from, to) =
        if held { (TaskState::Queued, TaskState::Held) } else { (TaskState::Held, TaskState::Queued) };
    let waiting: Vec<TaskRef> =
        tasks::open_in_chat(tx.conn, chat)?.into_iter().filter(|task| task.state == from).collect();
    for task in waiting {
        tasks::move_to(tx, &task, to, None)?;
    }
    Ok(tx.newest())
}

fn list(conn: &Connection, session: Option<&str>, all: bool) -> Result<Vec<ChatRow>> {
    let sql = "SELECT id FROM chats WHERE (?1 IS NULL OR session_id = ?1) AND (?2 OR state = 'open')
               ORDER BY rowid";
    let ids = sql::all(conn, sql, params![session, all], |row| row.get::<_, String>(0))?;
    let mut found = Vec::with_capacity(ids.len());
    for id in ids {
        found.extend(rows::chat(conn, &id)?);
    }
    Ok(found)
}

impl Store {
    /// Makes a chat. With a known id and the same parameters, returns what is there.
    ///
    /// # Errors
    /// `NotFound` without its session, `Conflict` if that is closed or the id is taken.
    pub fn create_chat(&self, new: NewChat) -> Reply<ChatRow> {
        self.write("record the chat", move |tx| create(tx, &new))
    }

    /// One chat with its agent sessions.
    pub fn chat(&self, id: &str) -> Reply<Option<ChatRow>> {
        let id = id.to_owned();
        self.read("read the chat", move |conn| rows::chat(conn, &id))
    }

    /// The open chats, or all, of one session or of every one, oldest first.
    pub fn chats(&self, session: Option<&str>, all: bool) -> Reply<Vec<ChatRow>> {
        let session = session.map(str::to_owned);
        self.read("list the chats", move |conn| list(conn, session.as_deref(), all))
    }

    /// Closes a chat: its waiting tasks are cancelled, its agent sessions closed. Closing a closed
    /// one changes nothing.
    pub fn close_chat(&self, id: &str) -> Reply<ChatRow> {
        let id = id.to_owned();
        self.write("close the chat", move |tx| close(tx, &id, "chat closed"))
    }

    /// Sets the directory, relative to the top of the worktree, that the agents of a chat work in.
    pub fn set_cwd(&self, chat: &str, subdir: &str) -> Reply<()> {
        let (chat, subdir) = (chat.to_owned(), subdir.to_owned());
        self.write("record the directory of the chat", move |tx| {
            match sql::run(tx.conn, "UPDATE chats SET subdir = ?2 WHERE id = ?1", [&chat, &subdir])? {
                0 => Err(StoreError::not_found("chat", &chat)),
                _ => Ok(()),
            }
        })
    }
}
