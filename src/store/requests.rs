//! Whose a request id is: the same id of two owners is two requests.

use rusqlite::Connection;

use super::sql::{self, Result};

/// Who brought a request id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// The person, with whatever program.
    Person,
    /// The agents below this task, which nobody's turn made.
    Family(String),
}

impl Owner {
    /// As it is stored: ids of tasks are never empty.
    pub(super) fn word(&self) -> &str {
        match self {
            Self::Person => "",
            Self::Family(root) => root,
        }
    }
}

/// A request that its sender can tell from all others of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// Who sent it.
    pub owner: Owner,
    /// What the sender calls it.
    pub id: String,
}

/// The task that a request made.
pub(super) fn task(conn: &Connection, request: &Request) -> Result<Option<String>> {
    made(conn, "SELECT id FROM tasks WHERE request_owner = ?1 AND request_id = ?2", request)
}

/// The arena that a request made.
pub(super) fn arena(conn: &Connection, request: &Request) -> Result<Option<String>> {
    made(conn, "SELECT id FROM arenas WHERE request_owner = ?1 AND request_id = ?2", request)
}

fn made(conn: &Connection, sql: &str, request: &Request) -> Result<Option<String>> {
    sql::one(conn, sql, [request.owner.word(), &request.id], |row| row.get(0))
}

/// The two columns of a row that a request makes, or nobody's.
pub(super) fn columns(request: Option<&Request>) -> (&str, Option<&str>) {
    match request {
        Some(request) => (request.owner.word(), Some(&request.id)),
        None => (Owner::Person.word(), None),
    }
}
