//! Arenas: recorded with everything of their entries or not at all, the outcomes of checks, and which
//! entry was adopted. Whether one may be is decided elsewhere.

use hob_actors::event::{Event, Level, Scope};
use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Serialize};

use super::command::Tx;
use super::reader::Reply;
use super::requests::{self, Request};
use super::sql::{self, Result};
use super::tasks::{self, NewTask, Submitted};
use super::{NewChat, NewSession, Store, StoreError, chats, rows, sessions};
use crate::control::wire::{Moment, TaskRow};

/// An arena that is to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewArena {
    /// Its id, see [`super::fresh_id`].
    pub id: String,
    /// What the client calls the request.
    pub request: Option<Request>,
    /// The checkout that it starts from: the top of its working tree.
    pub repo: String,
    /// The commit that every entry starts from.
    pub base_commit: String,
    /// What every agent is asked.
    pub prompt: String,
    /// Whether uncommitted changes were carried along.
    pub carry_changes: bool,
    /// The command that is run in each worktree at the end of its turn.
    pub check: Option<String>,
    /// The task whose agent started it.
    pub parent: Option<String>,
    /// Who takes part.
    pub entries: Vec<NewEntry>,
}

/// One entry of an arena that is to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEntry {
    /// Its session; the worktree was made.
    pub session: NewSession,
    /// Its chat.
    pub chat: NewChat,
    /// Where in the worktree its agent works.
    pub subdir: String,
    /// Its task.
    pub task: NewTask,
}

/// An arena as it was recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredArena {
    /// Its id.
    pub id: String,
    /// The client's own id of the request.
    pub request_id: Option<String>,
    /// The checkout that it started from.
    pub repo: String,
    /// The commit that every entry started from.
    pub base_commit: Option<String>,
    /// What every agent was asked.
    pub prompt: String,
    /// Whether uncommitted changes were carried along.
    pub carry_changes: bool,
    /// The command that is run in each worktree.
    pub check: Option<String>,
    /// `open` or `adopted`.
    pub state: String,
    /// The task whose agent started it.
    pub parent: Option<String>,
    /// When it was started.
    pub created_at: Moment,
    /// When it was decided.
    pub closed_at: Option<Moment>,
    /// Who takes part, in the order in which they were named.
    pub entries: Vec<StoredEntry>,
}

/// One entry of an arena as it was recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredEntry {
    /// Its agent.
    pub agent: String,
    /// Its session, unless that was deleted.
    pub session: Option<String>,
    /// Its worktree, unless that is gone.
    pub worktree: Option<String>,
    /// Its task, unless that went with its session.
    pub task: Option<TaskRow>,
    /// Whether it was the one that was adopted.
    pub won: bool,
    /// When its check began, if it did.
    pub check_started_at: Option<Moment>,
    /// Who led the processes of its check, in the words of [`crate::backend::process::Leader`].
    pub check_leader: Option<String>,
    /// What its check came to.
    pub check: Option<StoredCheck>,
    /// What it had changed when the arena was decided.
    pub figures: Option<Figures>,
}

/// What a check came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCheck {
    /// `passed`, `failed` or `timed_out`.
    pub outcome: String,
    /// The exit code, where there was one.
    pub exit_code: Option<i32>,
    /// The end of what it said.
    pub output: String,
    /// When it ended; when it began is recorded before.
    pub ended_at: Moment,
}

/// The decision of an arena.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adoption {
    /// The arena.
    pub arena: String,
    /// The agent whose entry is adopted.
    pub winner: String,
    /// What each entry has changed.
    pub figures: Vec<(String, Figures)>,
}

impl Adoption {
    /// As it is written down beside the files that are replaced for it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn to_text(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|error| StoreError::other("write down a decision", error))
    }

    /// Reads it back.
    ///
    /// # Errors
    /// It is none.
    pub fn of_text(text: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(|error| StoreError::other("read a decision", error))
    }
}

/// How much an entry changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// Files.
    pub files: u64,
    /// Lines that came.
    pub insertions: u64,
    /// Lines that went.
    pub deletions: u64,
}

fn create(tx: &mut Tx<'_>, new: &NewArena) -> Result<Vec<Submitted>> {
    if let Some(request) = &new.request
        && requests::arena(tx.conn, request)?.is_some()
    {
        return Err(StoreError::Conflict(format!("request {} was made before", request.id)));
    }
    let (owner, request) = requests::columns(new.request.as_ref());
    sql::run(
        tx.conn,
        "INSERT INTO arenas (id, request_owner, request_id, repo, base_commit, prompt, carry_changes, check_command,
                             parent, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        params![
            new.id,
            owner,
            request,
            new.repo,
            new.base_commit,
            new.prompt,
            new.carry_changes,
            new.check,
            new.parent,
            tx.now().0,
        ],
    )?;
    let mut submitted = Vec::with_capacity(new.entries.len());
    for (position, entry) in new.entries.iter().enumerate() {
        submitted.push(enter(tx, &new.id, (position, entry))?);
    }
    Ok(submitted)
}

/// Records one entry: session, chat, task.
fn enter(tx: &mut Tx<'_>, arena: &str, (position, entry): (usize, &NewEntry)) -> Result<Submitted> {
    let session = sessions::create(tx, &entry.session)?;
    let chat = chats::create(tx, &entry.chat)?;
    sql::run(tx.conn, "UPDATE chats SET subdir = ?2 WHERE id = ?1", [&chat.id, &entry.subdir])?;
    let submitted = tasks::submit(tx, &entry.task)?;
    sql::run(
        tx.conn,
        "INSERT INTO arena_entries (arena_id, position, agent, session_id, task_id) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![arena, sql::integer(position as u64), entry.task.agent, session.id, submitted.task.id],
    )?;
    Ok(submitted)
}

fn arena_row(row: &Row<'_>) -> rusqlite::Result<StoredArena> {
    Ok(StoredArena {
        id: row.get("id")?,
        request_id: row.get("request_id")?,
        repo: row.get("repo")?,
        base_commit: row.get("base_commit")?,
        prompt: row.get("prompt")?,
        carry_changes: row.get("carry_changes")?,
        check: row.get("check_command")?,
        state: row.get("state")?,
        parent: row.get("parent")?,
        created_at: rows::moment(row, "created_at")?,
        closed_at: rows::moment_if(row, "closed_at")?,
        entries: Vec::new(),
    })
}

const ENTRY: &str = "SELECT e.*, a.winner_agent IS e.agent AS won,
        (SELECT id FROM worktrees AS w WHERE w.session_id = e.session_id
         ORDER BY w.rowid DESC LIMIT 1) AS worktree
    FROM arena_entries AS e JOIN arenas AS a ON a.id = e.arena_id
    WHERE e.arena_id = ?1 ORDER BY e.position";

/// An entry, and the id of its task.
fn entry_row(row: &Row<'_>) -> rusqlite::Result<(StoredEntry, Option<String>)> {
    let ended_at = rows::moment_if(row, "check_ended_at")?;
    let check = match (ended_at, row.get::<_, Option<String>>("check_outcome")?) {
        (Some(ended_at), Some(outcome)) => Some(StoredCheck {
            outcome,
            exit_code: row.get("check_exit")?,
            output: row.get::<_, Option<String>>("check_output")?.unwrap_or_default(),
            ended_at,
        }),
        _ => None,
    };
    let number = |column: &str| rows::natural_if(row, column);
    let figures = number("files")?.map(|files| -> rusqlite::Result<Figures> {
        let lines = |column| Ok::<_, rusqlite::Error>(number(column)?.unwrap_or(0));
        Ok(Figures { files, insertions: lines("insertions")?, deletions: lines("deletions")? })
    });
    let entry = StoredEntry {
        agent: row.get("agent")?,
        session: row.get("session_id")?,
        worktree: row.get("worktree")?,
        task: None,
        won: row.get("won")?,
        check_started_at: rows::moment_if(row, "check_started_at")?,
        check_leader: row.get("check_leader")?,
        check,
        figures: figures.transpose()?,
    };
    Ok((entry, row.get("task_id")?))
}

fn with_entries(conn: &Connection, mut arena: StoredArena) -> Result<StoredArena> {
    for (mut entry, task) in sql::all(conn, ENTRY, [&arena.id], entry_row)? {
        if let Some(task) = task {
            entry.task = rows::task(conn, &task)?;
        }
        arena.entries.push(entry);
    }
    Ok(arena)
}

fn find(conn: &Connection, id: &str) -> Result<Option<StoredArena>> {
    let found = sql::one(conn, "SELECT * FROM arenas WHERE id = ?1", [id], arena_row)?;
    found.map(|arena| with_entries(conn, arena)).transpose()
}

fn list(conn: &Connection, condition: &str) -> Result<Vec<StoredArena>> {
    let sql = format!("SELECT * FROM arenas AS a WHERE {condition} ORDER BY created_at, rowid");
    let all = sql::all(conn, &sql, [], arena_row)?;
    all.into_iter().map(|arena| with_entries(conn, arena)).collect()
}

/// Records what a check came to, once, and tells of it.
fn checked(tx: &mut Tx<'_>, (arena, agent): (&str, &str), check: &StoredCheck) -> Result<()> {
    let changed = sql::run(
        tx.conn,
        "UPDATE arena_entries SET check_outcome = ?3, check_exit = ?4, check_output = ?5, check_ended_at = ?6
         WHERE arena_id = ?1 AND agent = ?2 AND check_ended_at IS NULL",
        params![arena, agent, check.outcome, check.exit_code, check.output, check.ended_at.0],
    )?;
    if changed == 0 {
        return Ok(());
    }
    let code = check.exit_code.map(|code| format!(" (exit code {code})")).unwrap_or_default();
    let word = check.outcome.replace('_', " ");
    let (level, text) = match check.outcome.as_str() {
        "passed" => (Level::Info, format!("arena {arena}: the check passed")),
        _ => (Level::Warning, format!("arena {arena}: the check {word}{code}")),
    };
    let task = sql::one(
        tx.conn,
        "SELECT task_id FROM arena_entries WHERE arena_id = ?1 AND agent = ?2",
        [arena, agent],
        |row| row.get::<_, Option<String>>(0),
    )?;
    let scope = match task.flatten() {
        Some(task) => tasks::known(tx.conn, &task.as_str().into())?.scope(None),
        None => Scope::default(),
    };
    tx.event(&scope, &Event::Notice { level, text })?;
    Ok(())
}

/// An entry was adopted: the sessions of the others are closed in the same step, so that no start
/// finds a decision half made.
pub(super) fn adopt(tx: &mut Tx<'_>, adoption: &Adoption) -> Result<()> {
    let Adoption { arena, winner, figures } = adoption;
    let changed = sql::run(
        tx.conn,
        "UPDATE arenas SET state = 'adopted', closed_at = ?3, winner_agent = ?2,
            winner = (SELECT session_id FROM arena_entries WHERE arena_id = ?1 AND agent = ?2)
         WHERE id = ?1 AND state = 'open'",
        params![arena, winner, tx.now().0],
    )?;
    if changed == 0 {
        return Err(StoreError::Conflict(format!("arena {arena} is decided already")));
    }
    for (agent, figures) in figures {
        sql::run(
            tx.conn,
            "UPDATE arena_entries SET files = ?3, insertions = ?4, deletions = ?5 WHERE arena_id = ?1 AND agent = ?2",
            params![
                arena,
                agent,
                sql::integer(figures.files),
                sql::integer(figures.insertions),
                sql::integer(figures.deletions),
            ],
        )?;
    }
    let losers = "SELECT session_id FROM arena_entries
                  WHERE arena_id = ?1 AND agent != ?2 AND session_id IS NOT NULL ORDER BY position";
    for session in sql::all(tx.conn, losers, [arena, winner], |row| row.get::<_, String>(0))? {
        sessions::close(tx, &session)?;
    }
    Ok(())
}

impl Store {
    /// Records an arena with the sessions, chats and tasks of its entries: all of it, or nothing.
    ///
    /// # Errors
    /// `Conflict` if an id or the request is known, `NotFound` if a worktree was not begun.
    pub fn create_arena(&self, new: NewArena) -> Reply<Vec<Submitted>> {
        self.write("record the arena", move |tx| create(tx, &new))
    }

    /// The arena that this request made, if it came before.
    pub fn arena_of_request(&self, request: &Request) -> Reply<Option<String>> {
        let request = request.clone();
        self.read("read the arena", move |conn| requests::arena(conn, &request))
    }

    /// One arena with its entries.
    pub fn arena(&self, id: &str) -> Reply<Option<StoredArena>> {
        let id = id.to_owned();
        self.read("read the arena", move |conn| find(conn, &id))
    }

    /// All arenas, oldest first.
    pub fn arenas(&self) -> Reply<Vec<StoredArena>> {
        self.read("list the arenas", |conn| list(conn, "TRUE"))
    }

    /// Those whose checks are not all recorded.
    pub fn arenas_to_check(&self) -> Reply<Vec<StoredArena>> {
        self.read("list the arenas to be checked", |conn| {
            let condition = "a.state = 'open' AND a.check_command IS NOT NULL AND EXISTS
                (SELECT 1 FROM arena_entries AS e WHERE e.arena_id = a.id AND e.check_ended_at IS NULL)";
            list(conn, condition)
        })
    }

    /// The check of an entry begins, again where an earlier one was cut off.
    pub fn check_begins(&self, arena: &str, agent: &str, leader: Option<String>) -> Reply<()> {
        let (arena, agent, now) = (arena.to_owned(), agent.to_owned(), Moment::now().0);
        self.write("record the begin of a check", move |tx| {
            let sql = "UPDATE arena_entries SET check_started_at = ?3, check_leader = ?4
                       WHERE arena_id = ?1 AND agent = ?2 AND check_ended_at IS NULL";
            sql::run(tx.conn, sql, params![arena, agent, now, leader])?;
            Ok(())
        })
    }

    /// The check of an entry ended. A second outcome changes nothing.
    pub fn check_ended(&self, arena: &str, agent: &str, check: StoredCheck) -> Reply<()> {
        let (arena, agent) = (arena.to_owned(), agent.to_owned());
        self.write("record the outcome of a check", move |tx| checked(tx, (&arena, &agent), &check))
    }
}
