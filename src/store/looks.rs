//! Looks at worktrees, written down: which tree was seen, and which turns may have made it so.
//! Looks at no file and decides nothing about content.

use hob_actors::event::{ChangedFile, Event};
use hob_actors::id::TurnId;
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use super::command::{Tx, Weight};
use super::reader::Reply;
use super::sql::{self, Result};
use super::{Adoption, Store, StoreError, arenas, payload, tasks, worktrees};
use crate::control::wire::Moment;
use crate::path_text;
use crate::worktree::{Known, Segment, Writer};

/// A turn that ended so long ago, in milliseconds, and was never looked at since has nobody left who
/// would.
const FORGOTTEN_MS: i64 = 60_000;

/// What a look is made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Occasion {
    /// Somebody wants to know.
    Asked,
    /// A hook of the person's has ended that was begun right after the look before.
    Hook,
    /// The prompt of this turn is about to be sent.
    Before(String),
    /// This turn has ended.
    After(String),
}

/// A look at a worktree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// The worktree.
    pub worktree: String,
    /// What was seen; `None` if it could not be looked at.
    pub tree: Option<String>,
    /// What it is compared with if nobody has looked before.
    pub start: Option<String>,
    /// What it is made for.
    pub occasion: Occasion,
}

/// A worktree with its place on the disk, and what was seen of it last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionWorktree {
    /// Its place and its baseline.
    pub known: Known,
    /// `active`, `orphaned`, …
    pub state: String,
    /// What was seen last.
    pub last_tree: Option<String>,
}

/// A turn as far as its files go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnTrees {
    /// The session.
    pub session: String,
    /// The tree before its prompt, where it could be looked at.
    pub before: Option<String>,
    /// The tree after its end, where it could be looked at.
    pub after: Option<String>,
    /// Both were known, and are not kept any more.
    pub is_dropped: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct WriterRow {
    turn: String,
    agent: String,
}

/// A turn that may have written since the last look.
struct Watched {
    writer: Writer,
    /// It is known to have ended, but not when it wrote last.
    is_past: bool,
}

fn watched(conn: &Connection, look: &Look, now: i64) -> Result<Vec<Watched>> {
    let sql = "SELECT u.id, t.agent, u.watch, u.ended_at
        FROM turns AS u JOIN tasks AS t ON t.id = u.task_id JOIN chats AS c ON c.id = t.chat_id
        JOIN worktrees AS w ON w.session_id = c.session_id
        WHERE w.id = ?1 AND (u.watch IN ('open', 'closing') OR (u.watch IS NULL AND u.id = ?2))
        ORDER BY u.started_at, u.id";
    let ends = match &look.occasion {
        Occasion::After(turn) => Some(turn),
        Occasion::Asked | Occasion::Hook | Occasion::Before(_) => None,
    };
    sql::all(conn, sql, params![look.worktree, ends], |row| {
        let writer = Writer { turn: row.get(0)?, agent: row.get(1)? };
        let (watch, ended): (Option<String>, Option<i64>) = (row.get(2)?, row.get(3)?);
        let forgotten = ended.is_some_and(|at| now - at > FORGOTTEN_MS) && ends != Some(&writer.turn);
        // Without a word of its beginning it is not known what was there before it.
        let is_past = forgotten || watch.is_none_or(|watch| watch == "closing");
        Ok(Watched { is_past, writer })
    })
}

fn record(tx: &mut Tx<'_>, look: &Look) -> Result<()> {
    let sql = "SELECT last_tree, doubt FROM worktrees WHERE id = ?1";
    let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, Option<String>>(0)?, row.get::<_, bool>(1)?));
    let found = sql::one(tx.conn, sql, [&look.worktree], read)?;
    let (last, doubt) = found.ok_or_else(|| StoreError::not_found("worktree", &look.worktree))?;
    let is_first = last.is_none();
    let last = last.or_else(|| look.start.clone());
    let Some(tree) = &look.tree else {
        return record_failure(tx, look);
    };
    let now = tx.now().0;
    let watched = watched(tx.conn, look, now)?;
    if let Some(last) = last.filter(|last| last != tree) {
        let doubt = doubt || is_first || watched.iter().any(|turn| turn.is_past);
        let segment = Segment {
            from: last,
            to: tree.clone(),
            writers: watched.iter().map(|turn| turn.writer.clone()).collect(),
            // Beside a turn it cannot be told which of them it was.
            doubt: doubt || look.occasion == Occasion::Hook && !watched.is_empty(),
            by_hook: look.occasion == Occasion::Hook,
        };
        insert(tx, &look.worktree, &segment)?;
    }
    let sql = "UPDATE worktrees SET last_tree = ?2, doubt = 0 WHERE id = ?1";
    sql::run(tx.conn, sql, [&look.worktree, tree])?;
    for turn in watched.iter().filter(|turn| turn.is_past) {
        close(tx, &turn.writer.turn, tree)?;
    }
    match &look.occasion {
        Occasion::Asked | Occasion::Hook => Ok(()),
        Occasion::Before(turn) => open(tx, turn, Some(tree)),
        Occasion::After(turn) => close(tx, turn, tree),
    }
}

/// What happened since the last look is not known, and whose it was will not be.
fn record_failure(tx: &mut Tx<'_>, look: &Look) -> Result<()> {
    sql::run(tx.conn, "UPDATE worktrees SET doubt = 1 WHERE id = ?1", [&look.worktree])?;
    match &look.occasion {
        Occasion::Asked | Occasion::Hook => Ok(()),
        Occasion::Before(turn) => open(tx, turn, None),
        Occasion::After(turn) => {
            sql::run(tx.conn, "UPDATE turns SET watch = 'closing' WHERE id = ?1", [turn]).map(drop)
        }
    }
}

fn open(tx: &mut Tx<'_>, turn: &str, tree: Option<&str>) -> Result<()> {
    let sql = "UPDATE turns SET before_tree = ?2, watch = 'open' WHERE id = ?1";
    sql::run(tx.conn, sql, params![turn, tree]).map(drop)
}

fn close(tx: &mut Tx<'_>, turn: &str, tree: &str) -> Result<()> {
    let sql = "UPDATE turns SET after_tree = ?2, watch = 'closed' WHERE id = ?1";
    sql::run(tx.conn, sql, [turn, tree]).map(drop)
}

fn writers_of(segment: &Segment) -> Result<String> {
    let rows = segment.writers.iter().map(|w| WriterRow { turn: w.turn.clone(), agent: w.agent.clone() });
    serde_json::to_string(&rows.collect::<Vec<_>>())
        .map_err(|error| StoreError::other("write down who wrote", error))
}

/// Makes one row another segment.
pub(super) fn rewrite(tx: &mut Tx<'_>, num: i64, segment: &Segment) -> Result<()> {
    let sql = "UPDATE segments SET from_tree = ?2, to_tree = ?3, writers = ?4, doubt = ?5, by_hook = ?6 WHERE num = ?1";
    let writers = writers_of(segment)?;
    sql::run(tx.conn, sql, params![num, segment.from, segment.to, writers, segment.doubt, segment.by_hook])
        .map(drop)
}

pub(super) fn insert(tx: &mut Tx<'_>, worktree: &str, segment: &Segment) -> Result<()> {
    let writers = writers_of(segment)?;
    sql::run(
        tx.conn,
        "INSERT INTO segments (worktree_id, from_tree, to_tree, writers, doubt, by_hook, at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![worktree, segment.from, segment.to, writers, segment.doubt, segment.by_hook, tx.now().0],
    )?;
    Ok(())
}

/// Turns that nobody will look at any more because the daemon that watched them has ended.
pub(super) fn settle(tx: &mut Tx<'_>) -> Result<()> {
    let sql = "UPDATE turns SET watch = 'closing' WHERE watch = 'open'";
    sql::run(tx.conn, sql, [])?;
    // Its first look was lost with the power, or never made.
    let sql = "UPDATE turns SET watch = 'closing' WHERE ended_at IS NULL AND watch IS NULL";
    sql::run(tx.conn, sql, []).map(drop)
}

fn history(conn: &Connection, worktree: &str) -> Result<Vec<Segment>> {
    let sql = "SELECT from_tree, to_tree, writers, doubt, by_hook FROM segments WHERE worktree_id = ?1 ORDER BY num";
    sql::all(conn, sql, [worktree], |row| {
        let writers: Vec<WriterRow> = serde_json::from_str(&row.get::<_, String>(2)?).map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(2, rusqlite::types::Type::Text, error.into())
        })?;
        Ok(Segment {
            from: row.get(0)?,
            to: row.get(1)?,
            writers: writers.into_iter().map(|row| Writer { turn: row.turn, agent: row.agent }).collect(),
            doubt: row.get(3)?,
            by_hook: row.get(4)?,
        })
    })
}

/// What every query for [`worktree`] selects.
const WORKTREE: &str = "SELECT w.*, (SELECT s.from_tree FROM segments AS s
    WHERE s.worktree_id = w.id ORDER BY s.num LIMIT 1) AS made_with FROM worktrees AS w";

fn worktree(row: &rusqlite::Row<'_>) -> rusqlite::Result<SessionWorktree> {
    let path = |column: &str| row.get::<_, String>(column).map(|text| path_text::path(&text));
    Ok(SessionWorktree {
        known: Known {
            id: row.get("id")?,
            path: path("path")?,
            branch: row.get("branch")?,
            base_commit: row.get("base_commit")?,
            common_dir: path("common_dir")?,
            top: path("repo")?,
            identity: worktrees::identity(row)?,
            baseline: row.get("baseline")?,
            made_with: row.get("made_with")?,
        },
        state: row.get("state")?,
        last_tree: row.get("last_tree")?,
    })
}

/// Writes down what a turn changed, and tells of it.
fn record_changes(tx: &mut Tx<'_>, turn: &str, (files, n_omitted): (Vec<ChangedFile>, usize)) -> Result<()> {
    let sql = "SELECT task_id FROM turns WHERE id = ?1";
    let task = sql::one(tx.conn, sql, [turn], |row| row.get::<_, String>(0))?;
    // Its session was deleted meanwhile.
    let Some(task) = task else { return Ok(()) };
    let task = tasks::known(tx.conn, &task.into())?;
    let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
    let paths = serde_json::to_string(&paths)
        .map_err(|error| StoreError::other("write down what a turn changed", error))?;
    sql::run(tx.conn, "UPDATE turns SET files = ?2 WHERE id = ?1", [turn, &paths])?;
    for row in payload::changed_files(&files) {
        sql::run(
            tx.conn,
            "INSERT INTO changes (session_id, turn_id, agent, path, old_path, kind, shared, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                task.session.as_str(),
                turn,
                task.key.agent.as_str(),
                row.path,
                row.old_path,
                row.kind,
                row.shared,
                tx.now().0
            ],
        )?;
    }
    tx.event(&task.scope(Some(TurnId::from(turn))), &Event::Changes { files, n_omitted })?;
    Ok(())
}

impl Store {
    /// Writes down a look: what differs from the one before is a segment, made by whoever may have
    /// written since. A start makes good what power loss takes of it.
    pub fn record_look(&self, look: Look) -> Reply<()> {
        self.call("record the files of a worktree", Weight::Passing, move |tx| record(tx, &look))
    }

    /// Writes down what a turn changed and emits `changes`; `n_omitted` more files are not named.
    pub fn record_changes(&self, turn: &str, files: Vec<ChangedFile>, n_omitted: usize) -> Reply<()> {
        let turn = turn.to_owned();
        self.call("record what a turn changed", Weight::Passing, move |tx| {
            record_changes(tx, &turn, (files, n_omitted))
        })
    }

    /// The newest worktree of a session, behind every look that was called for.
    pub fn worktree_of_session(&self, session: &str) -> Reply<Option<SessionWorktree>> {
        let session = session.to_owned();
        self.read_in_line("read the worktree", move |conn| {
            let sql = format!(
                "{WORKTREE} WHERE w.session_id = ?1 AND w.device IS NOT NULL ORDER BY w.created_at DESC, w.id LIMIT 1"
            );
            sql::one(conn, &sql, [session], worktree)
        })
    }

    /// A worktree that was made, by its id, behind every look that was called for.
    pub fn known_worktree(&self, id: &str) -> Reply<Option<SessionWorktree>> {
        let id = id.to_owned();
        self.read_in_line("read the worktree", move |conn| {
            sql::one(conn, &format!("{WORKTREE} WHERE w.id = ?1 AND w.device IS NOT NULL"), [id], worktree)
        })
    }

    /// Every worktree that was made and is in its place or in the trash, oldest first.
    pub fn known_worktrees(&self) -> Reply<Vec<SessionWorktree>> {
        self.read_in_line("read the worktrees", move |conn| {
            let sql = format!(
                "{WORKTREE} WHERE w.device IS NOT NULL AND w.state IN ('active', 'orphaned', 'archived')
                 ORDER BY w.created_at, w.id"
            );
            sql::all(conn, &sql, [], worktree)
        })
    }

    /// The worktree that a turn works in.
    pub fn worktree_of_turn(&self, turn: &str) -> Reply<Option<SessionWorktree>> {
        let turn = turn.to_owned();
        self.read_in_line("read the worktree of a turn", move |conn| {
            let sql = format!(
                "{WORKTREE} JOIN chats AS c ON c.session_id = w.session_id JOIN tasks AS t ON t.chat_id = c.id
                 JOIN turns AS u ON u.task_id = t.id
                 WHERE u.id = ?1 AND w.device IS NOT NULL ORDER BY w.created_at DESC, w.id LIMIT 1"
            );
            sql::one(conn, &sql, [turn], worktree)
        })
    }

    /// Everything that was seen to change in a worktree, oldest first.
    pub fn segments(&self, worktree: &str) -> Reply<Vec<Segment>> {
        let worktree = worktree.to_owned();
        self.read_in_line("read what changed in a worktree", move |conn| history(conn, &worktree))
    }

    /// The trees of a turn.
    pub fn turn_trees(&self, turn: &str) -> Reply<Option<TurnTrees>> {
        let turn = turn.to_owned();
        self.read_in_line("read the trees of a turn", move |conn| {
            let sql = "SELECT c.session_id, u.before_tree, u.after_tree,
                u.watch IS 'closed' AND u.before_tree IS NULL AND u.after_tree IS NULL FROM turns AS u
                JOIN tasks AS t ON t.id = u.task_id JOIN chats AS c ON c.id = t.chat_id WHERE u.id = ?1";
            sql::one(conn, sql, [turn], |row| {
                let (before, after) = (row.get(1)?, row.get(2)?);
                Ok(TurnTrees { session: row.get(0)?, before, after, is_dropped: row.get(3)? })
            })
        })
    }

    /// The agent of a turn.
    pub fn agent_of_turn(&self, turn: &str) -> Reply<Option<String>> {
        let turn = turn.to_owned();
        self.read("read the agent of a turn", move |conn| {
            let sql = "SELECT t.agent FROM turns AS u JOIN tasks AS t ON t.id = u.task_id WHERE u.id = ?1";
            sql::one(conn, sql, [turn], |row| row.get(0))
        })
    }

    /// The turns that are under way in a worktree, and those that are over while their agent is still
    /// being stopped.
    pub fn turns_at_work(&self, worktree: &str) -> Reply<Vec<String>> {
        let (worktree, now) = (worktree.to_owned(), Moment::now().0);
        self.read_in_line("read who works in a worktree", move |conn| {
            let sql = "SELECT u.id FROM turns AS u JOIN tasks AS t ON t.id = u.task_id
                JOIN chats AS c ON c.id = t.chat_id JOIN worktrees AS w ON w.session_id = c.session_id
                WHERE w.id = ?1 AND (u.ended_at IS NULL OR (u.watch = 'open' AND u.ended_at > ?2))
                ORDER BY u.started_at, u.id";
            sql::all(conn, sql, params![worktree, now - FORGOTTEN_MS], |row| row.get(0))
        })
    }

    /// Makes a tree the person's own: what differs from it is pending. The decision of an arena is
    /// recorded with it, or neither is.
    ///
    /// # Errors
    /// `Conflict` if the arena is decided already.
    pub fn record_applied(
        &self,
        worktree: &str,
        tree: Option<String>,
        adoption: Option<Adoption>,
    ) -> Reply<()> {
        let worktree = worktree.to_owned();
        self.write("record what was applied", move |tx| {
            if let Some(tree) = tree {
                let sql = "UPDATE worktrees SET baseline = ?2 WHERE id = ?1";
                sql::run(tx.conn, sql, [&worktree, &tree])?;
            }
            adoption.map_or(Ok(()), |adoption| arenas::adopt(tx, &adoption))
        })
    }
}
