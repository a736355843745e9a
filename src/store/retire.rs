//! The end of worktrees, and their way back, as rows: each step recorded before it is taken, with its
//! event. Touches no file.

use hob_actors::event::{Event, Scope};
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::command::Tx;
use super::reader::Reply;
use super::sql::{self, Result, integer};
use super::{Store, StoreError, ids, rows, seen, worktrees};
use crate::control::wire::{SessionRow, WorktreeRow};
use crate::path_text;
use crate::worktree::Identity;

/// What was begun with a worktree and is not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// What.
    pub kind: TombstoneKind,
    /// Who or what wanted it.
    pub by: String,
    /// When it was begun, in milliseconds since 1970.
    pub since: i64,
}

/// What can be begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TombstoneKind {
    /// It goes into the trash.
    Remove,
    /// It comes back.
    Restore,
    /// Its trash is emptied.
    Purge,
    /// Its salvage goes.
    Drop,
}

impl TombstoneKind {
    /// Whether it can be begun with a worktree that stands there. One that is in the trash, whatever its
    /// row says of it, must be able to come back.
    fn fits(self, state: &str) -> bool {
        match self {
            Self::Remove => matches!(state, "active" | "orphaned"),
            Self::Restore => word(state).is_some(),
            Self::Purge => state == "archived",
            Self::Drop => state == "purged",
        }
    }
}

/// What is known of a worktree without looking at the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SurveyRow {
    /// Its id.
    pub id: String,
    /// Where it is, or was.
    pub path: String,
    /// `active`, `orphaned`, `archived`, `purged`.
    pub state: String,
    /// How much time had been seen to pass when it came to stand there, in milliseconds; `None` where that
    /// was not written down.
    pub seen_since_ms: Option<i64>,
    /// Something was begun with it.
    pub is_under_way: bool,
    /// Its salvage is kept.
    pub has_salvage: bool,
    /// Git has made it: its place on the disk is known.
    pub was_made: bool,
}

fn survey(conn: &Connection) -> Result<Vec<SurveyRow>> {
    let sql = "SELECT id, path, state, seen_since, removal, salvage_ref, device FROM worktrees
        WHERE state <> 'creating' ORDER BY created_at, id";
    sql::all(conn, sql, [], |row| {
        Ok(SurveyRow {
            seen_since_ms: row.get("seen_since")?,
            id: row.get("id")?,
            path: row.get("path")?,
            is_under_way: row.get::<_, Option<String>>("removal")?.is_some(),
            has_salvage: row.get::<_, Option<String>>("salvage_ref")?.is_some(),
            was_made: row.get::<_, Option<i64>>("device")?.is_some(),
            state: row.get("state")?,
        })
    })
}

fn state_of(tx: &Tx<'_>, id: &str) -> Result<(String, Option<String>)> {
    let sql = "SELECT state, session_id FROM worktrees WHERE id = ?1";
    let found = sql::one(tx.conn, sql, [id], |row| Ok((row.get(0)?, row.get(1)?)))?;
    found.ok_or_else(|| StoreError::not_found("worktree", id))
}

/// The contract's word for a state, for as long as the program runs.
fn word(state: &str) -> Option<&'static str> {
    ["active", "orphaned", "archived", "purged"].into_iter().find(|word| *word == state)
}

fn moved(tx: &mut Tx<'_>, id: &str, to: &'static str, reasons: Vec<String>) -> Result<()> {
    let (from, session) = state_of(tx, id)?;
    let scope = Scope { session: session.as_deref().map(Into::into), ..Scope::default() };
    tx.event(&scope, &Event::WorktreeState { worktree: id.into(), from: word(&from), to, reasons })?;
    Ok(())
}

/// The commit point of whatever is begun with a worktree.
fn begin(tx: &mut Tx<'_>, id: &str, kind: TombstoneKind, by: &str) -> Result<()> {
    let sql = "SELECT removal, state FROM worktrees WHERE id = ?1";
    let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, Option<String>>(0)?, row.get::<_, String>(1)?));
    match sql::one(tx.conn, sql, [id], read)? {
        None => return Err(StoreError::not_found("worktree", id)),
        Some((Some(_), _)) => {
            return Err(StoreError::Conflict(format!("something else is under way with worktree {id}")));
        }
        Some((None, state)) if !kind.fits(&state) => {
            return Err(StoreError::Conflict(format!("worktree {id} is {state}")));
        }
        Some((None, _)) => {}
    }
    let tombstone = Tombstone { kind, by: by.to_owned(), since: tx.now().0 };
    let text = serde_json::to_string(&tombstone)
        .map_err(|error| StoreError::other("write down what is begun with a worktree", error))?;
    sql::run(tx.conn, "UPDATE worktrees SET removal = ?2 WHERE id = ?1", [id, &text])?;
    Ok(())
}

fn archived(tx: &mut Tx<'_>, id: &str, salvage: Option<&str>, why: Option<String>) -> Result<()> {
    moved(tx, id, "archived", why.into_iter().collect())?;
    let seen = seen::look(tx)?.total_ms;
    sql::run(
        tx.conn,
        "UPDATE worktrees SET state = 'archived', removal = NULL, kept_because = NULL, archived_at = ?2,
            seen_since = ?4, salvage_ref = coalesce(?3, salvage_ref) WHERE id = ?1",
        params![id, tx.now().0, salvage, seen],
    )?;
    Ok(())
}

fn purged(tx: &mut Tx<'_>, id: &str) -> Result<()> {
    moved(tx, id, "purged", Vec::new())?;
    sql::run(tx.conn, "UPDATE worktrees SET state = 'purged', removal = NULL WHERE id = ?1", [id]).map(drop)
}

/// A worktree is back: active, with its session open again, or with a new one if that is gone.
fn restored(tx: &mut Tx<'_>, id: &str, place: &Identity) -> Result<SessionRow> {
    let sql = "SELECT session_id, repo FROM worktrees WHERE id = ?1";
    let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, Option<String>>(0)?, row.get::<_, String>(1)?));
    let (session, repo) =
        sql::one(tx.conn, sql, [id], read)?.ok_or_else(|| StoreError::not_found("worktree", id))?;
    let session = match session {
        Some(session) => {
            let sql = "UPDATE sessions SET state = 'open', closed_at = NULL WHERE id = ?1";
            sql::run(tx.conn, sql, [&session])?;
            session
        }
        None => {
            let session = ids::unused(tx.conn, "sessions", "s-")?;
            sql::run(
                tx.conn,
                "INSERT INTO sessions (id, repo, title, carry_changes, created_at) VALUES (?1, ?2, ?3, 0, ?4)",
                params![session, repo, format!("restored {id}"), tx.now().0],
            )?;
            sql::run(tx.conn, "UPDATE worktrees SET session_id = ?2 WHERE id = ?1", [id, &session])?;
            session
        }
    };
    moved(tx, id, "active", Vec::new())?;
    sql::run(
        tx.conn,
        "UPDATE worktrees SET state = 'active', removal = NULL, orphaned_at = NULL, archived_at = NULL,
            seen_since = NULL, kept_because = NULL WHERE id = ?1",
        [id],
    )?;
    worktrees::identify(tx, id, place)?;
    rows::known_session(tx.conn, &session)
}

fn delete(tx: &mut Tx<'_>, session: &str) -> Result<()> {
    let seen = seen::look(tx)?.total_ms;
    let sql = "UPDATE worktrees SET state = 'orphaned', orphaned_at = ?2, seen_since = ?3
        WHERE session_id = ?1 AND state = 'active'";
    sql::run(tx.conn, sql, params![session, tx.now().0, seen])?;
    match sql::run(tx.conn, "DELETE FROM sessions WHERE id = ?1", [session])? {
        0 => Err(StoreError::not_found("session", session)),
        _ => Ok(()),
    }
}

fn adopt(tx: &mut Tx<'_>, known: &crate::worktree::Known) -> Result<()> {
    let sql = "SELECT 1 FROM worktrees WHERE id = ?1";
    if sql::one(tx.conn, sql, [&known.id], |_| Ok(()))?.is_some() {
        return Ok(());
    }
    let text = path_text::text;
    let seen = seen::look(tx)?.total_ms;
    sql::run(
        tx.conn,
        "INSERT INTO worktrees (id, repo, path, branch, base_commit, common_dir, state, created_at,
            orphaned_at, seen_since) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'orphaned', ?7, ?7, ?8)",
        params![
            known.id,
            text(&known.top),
            text(&known.path),
            known.branch,
            known.base_commit,
            text(&known.common_dir),
            tx.now().0,
            seen
        ],
    )?;
    worktrees::identify(tx, &known.id, &known.identity)
}

impl Store {
    /// Every worktree that is written down.
    pub fn survey_worktrees(&self) -> Reply<Vec<SurveyRow>> {
        self.read_in_line("look over the worktrees", survey)
    }

    /// Worktrees as they are shown, oldest first; purged ones only with `all`.
    pub fn worktrees(&self, all: bool) -> Reply<Vec<WorktreeRow>> {
        self.read("list the worktrees", move |conn| {
            let sql = "SELECT id FROM worktrees WHERE state <> 'creating' AND (?1 OR state <> 'purged')
                ORDER BY created_at, id";
            let ids = sql::all(conn, sql, [all], |row| row.get::<_, String>(0))?;
            let found = ids.iter().map(|id| rows::worktree(conn, id));
            Ok(found.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
        })
    }

    /// Records that something begins with a worktree.
    ///
    /// # Errors
    /// `Conflict` if something else is under way with it, or if it stands elsewhere by now.
    pub fn begin_with_worktree(&self, id: &str, kind: TombstoneKind, by: &str) -> Reply<()> {
        let (id, by) = (id.to_owned(), by.to_owned());
        self.write("record what is begun with a worktree", move |tx| begin(tx, &id, kind, &by))
    }

    /// Records that nothing came of it: the worktree is as it was.
    pub fn nothing_begun(&self, id: &str) -> Reply<()> {
        let id = id.to_owned();
        self.write("record that a worktree is as it was", move |tx| {
            sql::run(tx.conn, "UPDATE worktrees SET removal = NULL WHERE id = ?1", [id]).map(drop)
        })
    }

    /// Records that a worktree is in the trash.
    pub fn worktree_archived(&self, id: &str, salvage: Option<&str>, why: Option<String>) -> Reply<()> {
        let (id, salvage) = (id.to_owned(), salvage.map(str::to_owned));
        self.write("record that a worktree is archived", move |tx| archived(tx, &id, salvage.as_deref(), why))
    }

    /// Records that the trash has nothing of a worktree any more.
    pub fn worktree_purged(&self, id: &str) -> Reply<()> {
        let id = id.to_owned();
        self.write("record that a worktree is purged", move |tx| purged(tx, &id))
    }

    /// Records that the salvage of a worktree is gone.
    pub fn salvage_dropped(&self, id: &str) -> Reply<()> {
        let id = id.to_owned();
        self.write("record that a salvage is gone", move |tx| {
            let sql = "UPDATE worktrees SET salvage_ref = NULL, removal = NULL WHERE id = ?1";
            sql::run(tx.conn, sql, [id]).map(drop)
        })
    }

    /// Records that a worktree is back, in this directory. Its session is open then; where that is gone,
    /// a new one is made.
    pub fn worktree_restored(&self, id: &str, place: Identity) -> Reply<SessionRow> {
        let id = id.to_owned();
        self.write("record that a worktree is restored", move |tx| restored(tx, &id, &place))
    }

    /// Records why a worktree is kept; an empty list says that nothing stands against its removal.
    pub fn worktree_kept(&self, id: &str, because: Vec<String>, last_write: Option<i64>) -> Reply<()> {
        let id = id.to_owned();
        self.write("record why a worktree is kept", move |tx| {
            let text = serde_json::to_string(&because)
                .map_err(|error| StoreError::other("write down why a worktree is kept", error))?;
            let sql = "UPDATE worktrees SET kept_because = ?2, last_write = coalesce(?3, last_write)
                WHERE id = ?1";
            sql::run(tx.conn, sql, params![id, text, last_write]).map(drop)
        })
    }

    /// Records how much a worktree takes on the disk.
    pub fn worktree_size(&self, id: &str, bytes: u64) -> Reply<()> {
        let id = id.to_owned();
        self.write("record the size of a worktree", move |tx| {
            sql::run(
                tx.conn,
                "UPDATE worktrees SET size_bytes = ?2 WHERE id = ?1",
                params![id, integer(bytes)],
            )
            .map(drop)
        })
    }

    /// The git directories of all repositories that there were worktrees of.
    pub fn common_dirs(&self) -> Reply<Vec<String>> {
        self.read("read where repositories are", |conn| {
            let sql = "SELECT DISTINCT common_dir FROM worktrees WHERE common_dir IS NOT NULL ORDER BY 1";
            sql::all(conn, sql, [], |row| row.get(0))
        })
    }

    /// What was begun and is not done, oldest first.
    pub fn tombstones(&self) -> Reply<Vec<(String, Tombstone)>> {
        self.read_in_line("read what was begun with worktrees", |conn| {
            let sql = "SELECT id, removal FROM worktrees WHERE removal IS NOT NULL ORDER BY created_at, id";
            sql::all(conn, sql, [], |row| {
                let tombstone = serde_json::from_str(&row.get::<_, String>(1)?).map_err(|error| {
                    rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, error.into())
                })?;
                Ok((row.get(0)?, tombstone))
            })
        })
    }

    /// Deletes a session with its chats and tasks. Its worktree outlives it, as an orphan.
    pub fn delete_session(&self, id: &str) -> Reply<()> {
        let id = id.to_owned();
        self.write("delete the session", move |tx| delete(tx, &id))
    }

    /// Writes down a worktree that nobody had written down, as an orphan.
    pub fn adopt_worktree(&self, known: crate::worktree::Known) -> Reply<()> {
        self.write("write down a worktree that was found", move |tx| adopt(tx, &known))
    }

    /// The state of the session that a worktree belongs to, and its id.
    pub fn session_of_worktree(&self, id: &str) -> Reply<Option<(String, String)>> {
        let id = id.to_owned();
        self.read_in_line("read the session of a worktree", move |conn| {
            let sql = "SELECT s.id, s.state FROM worktrees AS w JOIN sessions AS s ON s.id = w.session_id
                WHERE w.id = ?1";
            Ok(conn.prepare_cached(sql)?.query_row([id], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
        })
    }
}
