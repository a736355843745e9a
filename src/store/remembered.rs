//! What persons said once of all questions of a kind, for an agent in a chat: for as long as the
//! chat is there, or until it is forgotten.

use hob_actors::id::AgentKey;
use hob_actors::ports::StandingAnswer;
use rusqlite::{Connection, params};

use super::Store;
use super::command::Tx;
use super::reader::Reply;
use super::sql::{self, Result};
use crate::control::wire::RememberedRow;

/// Remembers an answer; a newer one takes the place of an older.
pub(super) fn remember(tx: &Tx<'_>, key: &AgentKey, kind: &str, said: StandingAnswer) -> Result<()> {
    sql::run(
        tx.conn,
        "INSERT INTO remembered_answers (chat_id, agent, kind, answer, said_at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT DO UPDATE SET answer = excluded.answer, said_at = excluded.said_at",
        params![key.chat.as_str(), key.agent.as_str(), kind, word(said), tx.now().0],
    )?;
    Ok(())
}

/// What was said of a kind of question.
pub(super) fn standing(conn: &Connection, key: &AgentKey, kind: &str) -> Result<Option<StandingAnswer>> {
    let sql = "SELECT answer FROM remembered_answers WHERE chat_id = ?1 AND agent = ?2 AND kind = ?3";
    let found =
        sql::one(conn, sql, [key.chat.as_str(), key.agent.as_str(), kind], |row| row.get::<_, String>(0))?;
    // Nobody is allowed anything by a word that this version does not know.
    Ok(found.map(|word| if word == "allow" { StandingAnswer::Allow } else { StandingAnswer::Reject }))
}

fn word(said: StandingAnswer) -> &'static str {
    match said {
        StandingAnswer::Allow => "allow",
        StandingAnswer::Reject => "reject",
    }
}

/// Which of them: of a chat or all, of an agent there or all, of a kind or all.
#[derive(Debug, Clone, Default)]
pub struct Which {
    /// The chat.
    pub chat: Option<String>,
    /// The agent.
    pub agent: Option<String>,
    /// The kind.
    pub kind: Option<String>,
}

const WHERE: &str =
    "(?1 IS NULL OR chat_id = ?1) AND (?2 IS NULL OR agent = ?2) AND (?3 IS NULL OR kind = ?3)";

fn list(conn: &Connection, which: &Which) -> Result<Vec<RememberedRow>> {
    let sql = format!(
        "SELECT chat_id, agent, kind, answer, said_at FROM remembered_answers WHERE {WHERE}
         ORDER BY chat_id, agent, kind"
    );
    sql::all(conn, &sql, params![which.chat, which.agent, which.kind], |row| {
        Ok(RememberedRow {
            chat: row.get(0)?,
            agent: row.get(1)?,
            kind: row.get(2)?,
            answer: row.get(3)?,
            at: crate::control::wire::Moment(row.get(4)?),
        })
    })
}

fn forget(tx: &Tx<'_>, which: &Which) -> Result<Vec<RememberedRow>> {
    let gone = list(tx.conn, which)?;
    let sql = format!("DELETE FROM remembered_answers WHERE {WHERE}");
    sql::run(tx.conn, &sql, params![which.chat, which.agent, which.kind])?;
    Ok(gone)
}

impl Store {
    /// What is remembered.
    pub fn remembered(&self, which: Which) -> Reply<Vec<RememberedRow>> {
        self.read("list the remembered answers", move |conn| list(conn, &which))
    }

    /// Forgets them, and returns what they were.
    pub fn forget_remembered(&self, which: Which) -> Reply<Vec<RememberedRow>> {
        self.write("forget the remembered answers", move |tx| forget(tx, &which))
    }
}
