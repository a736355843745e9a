//! What is remembered of processes: the port to the store, and a ledger in memory.
//!
//! **Invariant:** every start has an attempt in the ledger before there is a process, and the
//! keeper's identity is in it before the agent is started. What is written is committed durably by
//! the time the answer comes.

use std::collections::BTreeMap;
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;

use crate::sync::lock;

/// Why the ledger could not be written or read.
pub type LedgerError = Box<dyn Error + Send + Sync>;

/// An answer of the ledger, once it is durable.
pub type Written<T> = Pin<Box<dyn Future<Output = Result<T, LedgerError>> + Send>>;

/// Whom a process is started for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewAttempt {
    /// What it is, for a person.
    pub label: String,
    /// The agent's configured name.
    pub agent: Option<String>,
    /// The chat.
    pub chat: Option<String>,
}

/// A process that was started and is not known to have ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProcessRow {
    /// The start.
    pub attempt: u32,
    /// The keeper, once there was one.
    pub pid: Option<u32>,
    /// When the keeper started, in clock ticks since the machine did.
    pub start_time: Option<u64>,
    /// The run of the machine.
    pub boot_id: Option<String>,
    /// The agent itself, once there was one.
    pub agent_pid: Option<u32>,
    /// When the agent started, in clock ticks since the machine did.
    pub agent_start_time: Option<u64>,
    /// What it is, for a person.
    pub label: String,
}

/// What is remembered of processes.
pub trait Ledger: Send + Sync + 'static {
    /// The number of this state directory: 20 random bits, made once.
    fn installation(&self) -> Written<u32>;
    /// Commits that a start is attempted; the answer is its number, unique and in 1..2^24.
    fn attempt(&self, attempt: NewAttempt) -> Written<u32>;
    /// Commits who the keeper is: its number, its start time in ticks, the run of the machine.
    fn spawned(&self, attempt: u32, pid: u32, start_time: u64, boot_id: String) -> Written<()>;
    /// Commits who the agent is: its number and its start time in ticks.
    fn agent(&self, attempt: u32, pid: u32, start_time: u64) -> Written<()>;
    /// Commits that nothing is left of the start, and how that came.
    fn ended(&self, attempt: u32, detail: String) -> Written<()>;
    /// Every start that is not known to have ended.
    fn open(&self) -> Written<Vec<ProcessRow>>;
}

/// A ledger that forgets with the process: for tests.
#[derive(Debug, Default)]
pub struct MemoryLedger {
    /// The number of the installation.
    pub installation: u32,
    rows: Mutex<Rows>,
}

#[derive(Debug, Default)]
struct Rows {
    last: u32,
    open: BTreeMap<u32, ProcessRow>,
    ended: BTreeMap<u32, String>,
}

impl MemoryLedger {
    /// An empty ledger of an installation.
    pub fn new(installation: u32) -> Self {
        Self { installation, ..Self::default() }
    }

    /// How a start ended, if it did.
    pub fn end_of(&self, attempt: u32) -> Option<String> {
        self.with(|rows| rows.ended.get(&attempt).cloned())
    }

    /// Puts a row in as if an earlier daemon had written it.
    pub fn plant(&self, row: ProcessRow) {
        self.with(|rows| {
            rows.last = rows.last.max(row.attempt);
            rows.open.insert(row.attempt, row);
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut Rows) -> T) -> T {
        act(&mut lock(&self.rows))
    }

    fn change(&self, attempt: u32, act: impl FnOnce(&mut ProcessRow)) -> Written<()> {
        let known = self.with(|rows| rows.open.get_mut(&attempt).map(act));
        Box::pin(async move { known.ok_or_else(|| format!("no open attempt {attempt}").into()) })
    }
}

fn written<T: Send + 'static>(value: T) -> Written<T> {
    Box::pin(async move {
        // A real store takes time; let others use it.
        tokio::task::yield_now().await;
        Ok(value)
    })
}

impl Ledger for MemoryLedger {
    fn installation(&self) -> Written<u32> {
        written(self.installation)
    }

    fn attempt(&self, attempt: NewAttempt) -> Written<u32> {
        written(self.with(|rows| {
            rows.last += 1;
            let row = ProcessRow { attempt: rows.last, label: attempt.label, ..ProcessRow::default() };
            rows.open.insert(row.attempt, row);
            rows.last
        }))
    }

    fn spawned(&self, attempt: u32, pid: u32, start_time: u64, boot_id: String) -> Written<()> {
        self.change(attempt, |row| {
            (row.pid, row.start_time, row.boot_id) = (Some(pid), Some(start_time), Some(boot_id));
        })
    }

    fn agent(&self, attempt: u32, pid: u32, start_time: u64) -> Written<()> {
        self.change(attempt, |row| (row.agent_pid, row.agent_start_time) = (Some(pid), Some(start_time)))
    }

    fn ended(&self, attempt: u32, detail: String) -> Written<()> {
        self.with(|rows| {
            rows.open.remove(&attempt);
            rows.ended.insert(attempt, detail);
        });
        written(())
    }

    fn open(&self) -> Written<Vec<ProcessRow>> {
        written(self.with(|rows| rows.open.values().cloned().collect()))
    }
}
