//! The memory of the daemon: one SQLite file, one thread that writes, a few that read. The only
//! place that knows SQL. Decides nothing about tasks or agents: it refuses what contradicts what is
//! recorded, and records the rest together with its event.
//!
//! ```text
//!   calls ──▶ queue ──▶ writer thread ──▶ hob.db ◀── reading threads ◀── queue ◀── queries
//!                          │ after the commit
//!                          └──▶ head (watch) ──▶ subscribers read on by cursor
//! ```
//!
//! **Invariant:** a call takes its place in line when it is made, not when its answer is awaited.
//! No code but SQLite ever opens the database files: closing any other descriptor of them drops
//! SQLite's locks.

mod agents;
mod arenas;
mod chats;
mod check;
mod command;
mod disk;
mod error;
mod grounds;
mod ids;
mod journal;
mod looks;
mod migrate;
mod offers;
mod payload;
mod permissions;
mod port;
mod processes;
mod reader;
mod remembered;
mod requests;
mod retention;
mod retire;
mod rows;
mod seen;
mod sessions;
mod settle;
mod sql;
mod status;
mod tasks;
#[cfg(test)]
mod tests;
mod trees;
mod turns;
pub mod words;
mod worktrees;
mod writer;

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::{oneshot, watch};

pub use self::arenas::{Adoption, Figures, NewArena, NewEntry, StoredArena, StoredCheck, StoredEntry};
pub use self::chats::NewChat;
use self::command::{Call, Command, Tx, Weight};
pub use self::error::{OpenError, StoreError, repair_hint};
pub use self::ids::fresh_id;
use self::journal::Line;
pub use self::journal::{EventFilter, EventPage, PAGE_EVENTS_MAX, StoredEvent};
pub use self::looks::{Look, Occasion, SessionWorktree, TurnTrees};
pub use self::offers::{Offer, Offered};
pub use self::payload::EVENT_TYPES;
pub use self::processes::{NewAttempt, ProcessRow};
pub use self::reader::Reply;
pub use self::remembered::Which;
pub use self::requests::{Owner, Request};
pub use self::retire::{SurveyRow, Tombstone, TombstoneKind};
pub use self::sessions::{NewSession, SessionParams};
pub use self::settle::Settled;
pub use self::status::{DatabaseStatus, Kind};
pub use self::tasks::{NewTask, Submitted, TaskFilter};
pub use self::worktrees::{NewWorktree, WorktreeFacts};
use self::writer::Signals;

use crate::sync::lock;

/// Threads that read.
const READERS: usize = 3;

/// Prepared statements that a connection keeps.
const STATEMENTS_KEPT: usize = 128;

/// How long SQLite waits for another program that holds the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the end of the daemon waits for a disk that takes nothing.
const ENDING_PATIENCE: Duration = Duration::from_secs(3);

/// Pages of the log after which its content moves into the database.
const CHECKPOINT_PAGES: i64 = 4000;

/// What is kept of the log's file after that, in bytes.
const LOG_BYTES_KEPT: i64 = 64 << 20;

/// The oldest SQLite without a bug that can corrupt a database whose log is reset.
const SQLITE_MIN: i32 = 3_051_003;

/// The memory of the daemon. Cheap to clone: every clone is the same store.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    path: PathBuf,
    commands: Sender<Command>,
    readers: reader::Pool,
    head: Arc<watch::Sender<i64>>,
    failed: Arc<watch::Sender<Option<String>>>,
    trouble: Arc<watch::Sender<Option<String>>>,
    /// Since when the daemon has been ending.
    ending: OnceLock<Instant>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Store").field(&self.0.path).finish()
    }
}

impl Store {
    /// Opens the database, making or migrating it where needed (a copy is made before), and starts
    /// the threads. Blocks.
    ///
    /// # Errors
    /// A newer schema, a migration that failed or would lose something, an unreadable file. The
    /// file is then as it was.
    pub fn open(database: &Path) -> Result<Self, OpenError> {
        Self::open_files(database).map_err(|error| match error {
            // SQLite has one word for most of what a disk can say.
            OpenError::Sqlite(_) => disk::trouble(database).map_or(error, OpenError::NoRoom),
            error => error,
        })
    }

    fn open_files(database: &Path) -> Result<Self, OpenError> {
        if rusqlite::version_number() < SQLITE_MIN {
            return Err(OpenError::OldSqlite { found: rusqlite::version() });
        }
        make_private(database).map_err(OpenError::Make)?;
        migrate::migrate(database)?;
        let conn = connect(database)?;
        prepare(&conn)?;
        check::state(&conn)?;
        let line = Line::open(&conn).map_err(unreadable)?;
        let readers = (0..READERS).map(|_| connect_reader(database)).collect::<rusqlite::Result<Vec<_>>>()?;
        let failed = Arc::new(watch::Sender::new(None));
        let readers = reader::Pool::start(readers, Arc::clone(&failed))?;
        let head = Arc::new(watch::Sender::new(line.newest()));
        let trouble = Arc::new(watch::Sender::new(None));
        let signals =
            Signals { head: Arc::clone(&head), failed: Arc::clone(&failed), trouble: Arc::clone(&trouble) };
        let (commands, queue) = channel();
        let writer = std::thread::Builder::new()
            .name("hob-write".to_owned())
            .spawn(move || writer::run(conn, line, queue, signals))?;
        let writer = Mutex::new(Some(writer));
        let path = database.to_owned();
        let ending = OnceLock::new();
        Ok(Self(Arc::new(Inner { path, commands, readers, head, failed, trouble, ending, writer })))
    }

    /// Writes everything that was called for, moves the log into the database and ends the threads.
    /// A second call finds nothing to do.
    ///
    /// # Errors
    /// What was called for could not all be written.
    pub async fn close(&self) -> Result<(), StoreError> {
        let (sender, ended) = oneshot::channel();
        let readers = self.0.readers.close();
        let writer = lock(&self.0.writer).take();
        let joined = |threads: Vec<JoinHandle<()>>| async move {
            tokio::task::spawn_blocking(move || {
                for thread in threads {
                    // The panic of a thread was told when it happened.
                    thread.join().ok();
                }
            })
            .await
            .ok();
        };
        // The log can only be emptied once nobody reads in it.
        joined(readers).await;
        let Some(writer) = writer else { return Ok(()) };
        let told = self.0.commands.send(Command::Close(sender)).is_ok();
        let ended = told && ended.await.is_ok();
        joined(vec![writer]).await;
        if ended {
            return Ok(());
        }
        let why = self.0.failed.borrow().clone();
        Err(why.map_or(StoreError::Closed, |why| StoreError::other("write what was left", why)))
    }

    /// The file of the database.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Resolves when the writer ended by a failure, or what is read is damaged, with the reason: the daemon must end then.
    pub async fn failed(&self) -> String {
        let mut failed = self.0.failed.subscribe();
        match failed.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            // Cannot be: the sender lives in `self`.
            Err(_) => std::future::pending().await,
        }
    }

    /// Why nothing can be written at present, if so: a full disk, as a rule.
    pub fn trouble(&self) -> Option<String> {
        self.0.trouble.borrow().clone()
    }

    /// The daemon is ending: what cannot be written within [`ENDING_PATIENCE`] from now is refused for
    /// good, or whoever insists on it would hold up the end for as long as the disk is full.
    pub fn begin_to_end(&self) {
        self.0.ending.get_or_init(Instant::now);
    }

    /// Whether it is worth trying again what failed with `error`.
    fn may_pass(&self, error: &StoreError) -> bool {
        error.is_passing() && self.0.ending.get().is_none_or(|since| since.elapsed() < ENDING_PATIENCE)
    }

    /// The number of the newest committed event.
    pub fn head(&self) -> watch::Receiver<i64> {
        self.0.head.subscribe()
    }

    /// Puts a change in line.
    fn write<T: Send + 'static>(
        &self,
        action: &'static str,
        call: impl FnOnce(&mut Tx<'_>) -> sql::Result<T> + Send + 'static,
    ) -> Reply<T> {
        self.call(action, Weight::Durable, call)
    }

    /// Puts a question in line behind the changes that were called for before.
    fn read_in_line<T: Send + 'static>(
        &self,
        action: &'static str,
        call: impl FnOnce(&Connection) -> sql::Result<T> + Send + 'static,
    ) -> Reply<T> {
        self.look_in_line(action, move |tx| call(tx.conn))
    }

    /// The same for a question that is to know as of which event it is answered.
    fn look_in_line<T: Send + 'static>(
        &self,
        action: &'static str,
        call: impl FnOnce(&Tx<'_>) -> sql::Result<T> + Send + 'static,
    ) -> Reply<T> {
        self.call(action, Weight::Reads, move |tx| call(tx))
    }

    fn call<T: Send + 'static>(
        &self,
        action: &'static str,
        weight: Weight,
        call: impl FnOnce(&mut Tx<'_>) -> sql::Result<T> + Send + 'static,
    ) -> Reply<T> {
        let (sender, reply) = Reply::new();
        // If the writer has ended, the command is dropped and its reply says so.
        self.0.commands.send(Command::Run(Call::boxed(action, weight, call, sender))).ok();
        reply
    }

    /// Asks what is committed.
    fn read<T: Send + 'static>(
        &self,
        action: &'static str,
        query: impl FnOnce(&Connection) -> sql::Result<T> + Send + 'static,
    ) -> Reply<T> {
        self.0.readers.read(action, query)
    }
}

fn unreadable(error: StoreError) -> OpenError {
    match error {
        StoreError::Damaged(why) => OpenError::Damaged { found: vec![why] },
        StoreError::Other { source, .. } => match source.downcast::<rusqlite::Error>() {
            Ok(error) => OpenError::Sqlite(*error),
            Err(source) => OpenError::Migration { name: "none", source },
        },
        other => OpenError::Migration { name: "none", source: other.into() },
    }
}

/// Makes an empty file that only its owner can read, unless there is one: SQLite would let
/// everybody read it. SQLite gives the log beside it the rights of the file itself. A file that is
/// new was never locked, so closing it here drops no lock.
fn make_private(file: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// A connection that may write.
fn connect(database: &Path) -> rusqlite::Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(database, flags)?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    Ok(conn)
}

/// Sets the writing connection up.
fn prepare(conn: &Connection) -> Result<(), OpenError> {
    conn.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    let mode: String = conn.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Err(OpenError::NoLog);
    }
    conn.pragma_update_and_check(None, "wal_autocheckpoint", CHECKPOINT_PAGES, |_| Ok(()))?;
    conn.pragma_update_and_check(None, "journal_size_limit", LOG_BYTES_KEPT, |_| Ok(()))?;
    conn.pragma_update(None, "foreign_keys", true)?;
    conn.pragma_update(None, "synchronous", "NORMAL")?;
    Ok(())
}

fn connect_reader(database: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(database, flags)?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    Ok(conn)
}
