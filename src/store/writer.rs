//! The one thread that writes: takes commands in the order in which they were called for, commits
//! them in groups, and only then answers and publishes. Knows no table but the counter of events;
//! what a command does is its own business.
//!
//! ```text
//! queue ─▶ backlog ─▶ BEGIN ─ command, command, … ─ COMMIT ─▶ head ─▶ answers, permits dropped
//!             ▲                      │ disk full, busy, read-only
//!             └── streamed events ◀──┴──▶ commands are answered with the error
//! ```
//!
//! **Invariant:** nothing is answered and no head is published before the commit. A command that
//! fails takes no other with it (savepoints). A streamed event is never dropped while the thread
//! lives. Any other failure of SQLite, and a panic, ends the thread and is told by `failed`.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use hob_actors::ports::chain;
use nix::sys::statvfs::statvfs;
use rusqlite::Connection;
use tokio::sync::{oneshot, watch};

use super::command::{Command, Tx, Weight, in_savepoint};
use super::error::{Severity, StoreError, severity};
use super::journal::Line;
use super::sql::Result;

/// Commands in one transaction. Larger groups gain nothing and make answers wait.
const BATCH_COMMANDS_MAX: usize = 1024;

/// Bytes of events in one transaction.
const BATCH_BYTES_MAX: usize = 8 << 20;

/// The events that a command which need not be synced may write: the move of an agent session is
/// one. Room for their numbers is made sure of before, as for streamed events.
const PASSING_EVENTS_MAX: usize = 4;

/// The wait after a first failure to write, doubled up to [`BACKOFF_MAX`].
const BACKOFF_MIN: Duration = Duration::from_millis(50);

/// The longest wait between two attempts to write.
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// Free space on a disk that was full, in bytes, from which on it is written to again: less would
/// be full again with the next command.
const ROOM_MIN: u64 = 1 << 20;

/// Attempts to write what is left when the store is closed on a disk that takes nothing.
const CLOSING_ATTEMPTS_MAX: u32 = 5;

/// What the thread tells the rest of the daemon.
pub(super) struct Signals {
    /// The newest committed event.
    pub(super) head: Arc<watch::Sender<i64>>,
    /// Why the thread ended, if it was not told to.
    pub(super) failed: Arc<watch::Sender<Option<String>>>,
    /// Why nothing can be written at present.
    pub(super) trouble: Arc<watch::Sender<Option<String>>>,
}

/// Tells of the death of the thread, whatever it died of.
struct LastWill {
    failed: Arc<watch::Sender<Option<String>>>,
    reason: Option<String>,
}

impl Drop for LastWill {
    fn drop(&mut self) {
        if let Some(reason) = self.reason.take() {
            tracing::error!(%reason, "the writer of the database ended");
            self.failed.send_replace(Some(reason));
        }
    }
}

/// The writer's state between two batches.
struct Writer {
    conn: Connection,
    line: Line,
    queue: Receiver<Command>,
    backlog: VecDeque<Command>,
    head: Arc<watch::Sender<i64>>,
    trouble: Arc<watch::Sender<Option<String>>>,
    /// The durability that the connection is set to.
    full: bool,
    /// No command can come any more.
    closing: bool,
    /// Who waits for the end.
    closers: Vec<oneshot::Sender<()>>,
}

/// Runs until the queue is closed or writing fails for good.
pub(super) fn run(conn: Connection, line: Line, queue: Receiver<Command>, signals: Signals) {
    let mut will = LastWill { failed: signals.failed, reason: Some("the writer thread panicked".to_owned()) };
    let mut writer = Writer {
        conn,
        line,
        queue,
        backlog: VecDeque::new(),
        head: signals.head,
        trouble: signals.trouble,
        full: false,
        closing: false,
        closers: Vec::new(),
    };
    will.reason = match writer.serve() {
        Ok(()) => writer.finish().err().map(|error| chain(&error)),
        Err(error) => Some(chain(&error)),
    };
}

impl Writer {
    fn serve(&mut self) -> Result<()> {
        self.synchronous(false)?;
        let mut failures: u32 = 0;
        loop {
            self.collect(failures);
            if self.backlog.is_empty() && self.closing {
                return Ok(());
            }
            if failures >= CLOSING_ATTEMPTS_MAX && self.closing {
                let n_events = self.backlog.len();
                let why = self.trouble.borrow().clone().unwrap_or_default();
                return Err(StoreError::Full(format!(
                    "{n_events} events were not written before the end: {why}"
                )));
            }
            match self.batch(failures > 0) {
                Ok(()) if failures == 0 => {}
                Ok(()) => {
                    failures = 0;
                    self.trouble.send_replace(None);
                    tracing::info!("database can be written to again");
                }
                Err(error) if severity(&error) == Severity::Passing => {
                    failures = failures.saturating_add(1);
                    // A log on the same disk must not grow by a line a second.
                    if failures.is_power_of_two() {
                        tracing::warn!(%error, attempt = failures, "database cannot be written to");
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Checkpoints, so that the file is whole without its log. Where the disk has no room for that,
    /// everything is in the log, and the next start finds it there.
    fn finish(self) -> Result<()> {
        let emptied = self.conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        if let Err(error) = emptied.map_err(|error| self.explained(error.into())) {
            if severity(&error) != Severity::Passing {
                return Err(error);
            }
            tracing::warn!(%error, "the log of the database stays beside it");
        }
        self.conn.close().map_err(|(_, error)| error)?;
        for closer in self.closers {
            closer.send(()).ok();
        }
        Ok(())
    }

    /// Moves what was called for into the backlog; waits if there is nothing to do, or, after a
    /// failure, until it is time for another attempt.
    fn collect(&mut self, failures: u32) {
        if failures > 0 {
            self.wait(BACKOFF_MIN.saturating_mul(1 << (failures - 1).min(8)).min(BACKOFF_MAX));
        } else if self.backlog.is_empty() && !self.closing {
            match self.queue.recv() {
                Ok(command) => self.receive(command),
                Err(_) => self.closing = true,
            }
        }
        while self.backlog.len() < BATCH_COMMANDS_MAX && !self.closing {
            match self.queue.try_recv() {
                Ok(command) => self.receive(command),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => self.closing = true,
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "its own thread, and nobody is left who could wake it")]
    fn wait(&mut self, time: Duration) {
        let until = Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if self.closing {
                std::thread::sleep(left);
                return;
            }
            match self.queue.recv_timeout(left) {
                Ok(command) => self.receive(command),
                Err(RecvTimeoutError::Timeout) => return,
                Err(RecvTimeoutError::Disconnected) => self.closing = true,
            }
        }
    }

    fn receive(&mut self, command: Command) {
        match command {
            Command::Close(closer) => {
                self.closers.push(closer);
                self.closing = true;
            }
            command => self.backlog.push_back(command),
        }
    }

    /// Writes a group of commands in one transaction, then publishes and answers. With `probe` it
    /// writes something in any case: an empty transaction fits on a full disk.
    fn batch(&mut self, probe: bool) -> Result<()> {
        let ahead = self.backlog.iter().take(BATCH_COMMANDS_MAX);
        let (mut events, mut durable) = (0_usize, false);
        for command in ahead {
            match command {
                Command::Append(..) => events += 1,
                Command::Run(job) => match job.weight() {
                    Weight::Reads => {}
                    Weight::Passing => events += PASSING_EVENTS_MAX,
                    Weight::Durable => durable = true,
                },
                Command::Close(_) => {}
            }
        }
        // Numbers are reserved on the disk before the first of them is shown to anyone.
        let reserve = !self.line.has_room(events);
        let mut done = Vec::with_capacity(self.backlog.len().min(BATCH_COMMANDS_MAX));
        let mark = self.line.mark();
        let probed = if probe { self.probe() } else { Ok(()) };
        match probed.and_then(|()| self.transaction(durable || reserve, &mut done)) {
            Ok(()) => {
                crash_point!("batch.committed");
                self.publish();
                crash_point!("batch.published");
                answer(&mut done);
                Ok(())
            }
            Err(error) => {
                self.line.rewind(mark);
                self.undo();
                let error = self.explained(error);
                // Before anybody is refused, so that who asks why finds it.
                if severity(&error) == Severity::Passing {
                    self.trouble.send_replace(Some(error.to_string()));
                }
                self.give_back(done, &error);
                Err(error)
            }
        }
    }

    /// Whether the disk takes a page, and has room for more; changes nothing.
    fn probe(&self) -> Result<()> {
        let room = self.conn.path().and_then(|path| statvfs(path).ok());
        let room = room.map(|disk| disk.blocks_available().saturating_mul(disk.fragment_size()));
        if room.is_some_and(|bytes| bytes < ROOM_MIN) {
            return Err(StoreError::Full(format!("less than {ROOM_MIN} bytes are free")));
        }
        self.execute("UPDATE meta SET value = value")
    }

    fn transaction(&mut self, full: bool, done: &mut Vec<Command>) -> Result<()> {
        self.synchronous(full)?;
        self.execute("BEGIN IMMEDIATE")?;
        let mut bytes = 0;
        while done.len() < BATCH_COMMANDS_MAX && bytes < BATCH_BYTES_MAX {
            let Some(command) = self.backlog.pop_front() else { break };
            done.push(command);
            let Some(command) = done.last_mut() else { break };
            let mut tx = Tx { conn: &self.conn, line: &mut self.line };
            match command {
                Command::Append(new, _) => bytes += tx.append(&new.scope, &new.event)?,
                Command::Run(job) => in_savepoint(&mut tx, job.as_mut())?,
                Command::Close(_) => {}
            }
        }
        if mutant!("publish_before_commit") {
            self.publish();
        }
        if mutant!("answer_before_commit") {
            answer(done);
        }
        crash_point!("batch.uncommitted");
        self.execute("COMMIT")
    }

    /// Tells the readers of the journal how far it goes now.
    fn publish(&self) {
        self.head.send_if_modified(|head| std::mem::replace(head, self.line.newest()) != self.line.newest());
    }

    /// SQLite knows a full disk by one errno, and a file system that was made read-only by none.
    fn explained(&self, error: StoreError) -> StoreError {
        let (StoreError::Io(_), Some(path)) = (&error, self.conn.path()) else { return error };
        super::disk::trouble(Path::new(path)).unwrap_or(error)
    }

    /// Ends a transaction that failed. SQLite may have ended it already.
    fn undo(&self) {
        if !self.conn.is_autocommit()
            && let Err(error) = self.execute("ROLLBACK")
        {
            tracing::error!(%error, "could not roll back");
        }
    }

    /// Events wait for the next attempt, in their order; commands are told.
    fn give_back(&mut self, done: Vec<Command>, error: &StoreError) {
        for command in done.into_iter().rev() {
            match command {
                Command::Run(job) => job.fail(error.for_neighbour()),
                command => self.backlog.push_front(command),
            }
        }
        // A transaction that could not even begin: nobody waits for better times in silence.
        for command in std::mem::take(&mut self.backlog) {
            match command {
                Command::Run(job) => job.fail(error.for_neighbour()),
                command => self.backlog.push_back(command),
            }
        }
    }

    /// Sets how far a commit goes; between transactions only.
    fn synchronous(&mut self, full: bool) -> Result<()> {
        if self.full != full {
            self.conn.execute_batch(if full {
                "PRAGMA synchronous = FULL"
            } else {
                "PRAGMA synchronous = NORMAL"
            })?;
            self.full = full;
        }
        Ok(())
    }

    fn execute(&self, sql: &str) -> Result<()> {
        self.conn.prepare_cached(sql)?.execute([])?;
        Ok(())
    }
}

/// Answers whoever waits, and gives the room of streamed events back.
fn answer(done: &mut Vec<Command>) {
    for command in done.drain(..) {
        if let Command::Run(job) = command {
            job.answer();
        }
    }
}
