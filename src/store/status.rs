//! Facts about the database as a whole, and the search for an id by its beginning.

use rusqlite::{Connection, params};

use super::reader::Reply;
use super::sql::{self, Result};
use super::{Store, migrate};

/// Ids that are named when a prefix fits several.
const CANDIDATES_MAX: i64 = 5;

/// The open states are named although one of them is meant: so the index of open tasks is used.
const QUEUED: &str = "SELECT count(*) FROM tasks
    WHERE state = 'queued' AND state IN ('queued', 'held', 'dispatched', 'running')";

/// The database as `daemon/status` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseStatus {
    /// Its file.
    pub path: String,
    /// Its size without the log, in bytes.
    pub size_bytes: u64,
    /// Its schema: the number of the newest migration.
    pub schema: u64,
    /// Open sessions.
    pub sessions: u64,
    /// Open chats.
    pub chats: u64,
    /// Tasks that wait, the held ones not counted.
    pub queued: u64,
}

/// Things that have an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Sessions.
    Session,
    /// Chats.
    Chat,
    /// Tasks.
    Task,
    /// Turns.
    Turn,
    /// Questions in the inbox.
    Permission,
    /// Worktrees.
    Worktree,
    /// Arenas.
    Arena,
}

impl Kind {
    fn table(self) -> &'static str {
        match self {
            Self::Session => "sessions",
            Self::Chat => "chats",
            Self::Task => "tasks",
            Self::Turn => "turns",
            Self::Permission => "permissions",
            Self::Worktree => "worktrees",
            Self::Arena => "arenas",
        }
    }
}

fn find_prefix(conn: &Connection, kind: Kind, prefix: &str) -> Result<Vec<String>> {
    let table = kind.table();
    let exact = format!("SELECT id FROM {table} WHERE id = ?1");
    if let Some(id) = sql::one(conn, &exact, [prefix], |row| row.get(0))? {
        return Ok(vec![id]);
    }
    // Bytes order ids, and no text that begins with the prefix comes after it with the last character.
    let sql =
        format!("SELECT id FROM {table} WHERE id >= ?1 AND id < ?1 || char(0x10FFFF) ORDER BY id LIMIT ?2");
    sql::all(conn, &sql, params![prefix, CANDIDATES_MAX], |row| row.get(0))
}

fn status(conn: &Connection, path: String) -> Result<DatabaseStatus> {
    let pages = sql::count(conn, "PRAGMA page_count", [])?;
    let page_bytes = sql::count(conn, "PRAGMA page_size", [])?;
    Ok(DatabaseStatus {
        path,
        size_bytes: pages * page_bytes,
        schema: migrate::schema(conn)? as u64,
        sessions: sql::count(conn, "SELECT count(*) FROM sessions WHERE state = 'open'", [])?,
        chats: sql::count(conn, "SELECT count(*) FROM chats WHERE state = 'open'", [])?,
        queued: sql::count(conn, QUEUED, [])?,
    })
}

impl Store {
    /// The database in figures.
    pub fn status(&self) -> Reply<DatabaseStatus> {
        let path = self.0.path.display().to_string();
        self.read("look at the database", move |conn| status(conn, path))
    }

    /// The ids that begin with `prefix`, at most 5; the exact one alone if there is one.
    pub fn find_prefix(&self, kind: Kind, prefix: &str) -> Reply<Vec<String>> {
        let prefix = prefix.to_owned();
        self.read("look for an id", move |conn| find_prefix(conn, kind, &prefix))
    }
}
