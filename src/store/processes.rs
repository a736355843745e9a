//! The table of processes: what was about to be started, what was, and what is proven gone. Starts
//! and ends nothing. Every row is on the disk before its effect.

use rusqlite::params;

use super::command::Tx;
use super::reader::Reply;
use super::sql::{self, Result, integer, natural};
use super::{Store, StoreError, journal};

/// Attempts have 24 bits in the mark of a process; 0 is none.
const ATTEMPTS_MAX: i64 = (1 << 24) - 1;

/// The installation has 20 bits there; 0 is none.
const INSTALLATIONS_MAX: u32 = (1 << 20) - 1;

/// Attempts that are tried before giving up on finding a free number.
const TAKEN_MAX: usize = 4096;

/// A process that is about to be started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewAttempt {
    /// What a person reads in a report.
    pub label: String,
    /// The agent that it is.
    pub agent: Option<String>,
    /// The chat that it is for.
    pub chat: Option<String>,
}

/// A process that is not proven gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessRow {
    /// Its attempt, below 2^24.
    pub attempt: u32,
    /// What a person reads in a report.
    pub label: String,
    /// The keeper, once it was started.
    pub pid: Option<u32>,
    /// When the kernel started the keeper, in ticks since boot.
    pub start_time: Option<u64>,
    /// The boot that those ticks count from.
    pub boot_id: Option<String>,
    /// The agent, once it was started.
    pub agent_pid: Option<u32>,
    /// When the kernel started the agent, in ticks since boot.
    pub agent_start_time: Option<u64>,
}

fn installation(tx: &mut Tx<'_>) -> Result<u32> {
    let known = journal::meta(tx.conn, "installation")?.and_then(|number| u32::try_from(number).ok());
    if let Some(known) = known {
        return Ok(known);
    }
    let number = fastrand::u32(1..=INSTALLATIONS_MAX);
    journal::set_meta(tx.conn, "installation", i64::from(number))?;
    Ok(number)
}

fn attempt(tx: &mut Tx<'_>, new: &NewAttempt) -> Result<u32> {
    let mut number = journal::meta(tx.conn, "attempt")?.unwrap_or(0);
    for _ in 0..TAKEN_MAX {
        number = number % ATTEMPTS_MAX + 1;
        // The numbers come round after 16 million: a row that has ended makes room.
        sql::run(tx.conn, "DELETE FROM processes WHERE attempt = ?1 AND ended_at IS NOT NULL", [number])?;
        let chat = "(SELECT id FROM chats WHERE id = ?4)";
        let made = sql::run(
            tx.conn,
            &format!(
                "INSERT INTO processes (attempt, label, agent, chat_id, created_at) VALUES (?1, ?2, ?3, {chat}, ?5)
                 ON CONFLICT DO NOTHING"
            ),
            params![number, new.label, new.agent, new.chat, tx.now().0],
        )?;
        if made == 1 {
            journal::set_meta(tx.conn, "attempt", number)?;
            return u32::try_from(number).map_err(|error| StoreError::other("number the process", error));
        }
    }
    Err(StoreError::Conflict("too many processes are not proven gone".to_owned()))
}

/// Changes the row of an attempt.
fn change(tx: &mut Tx<'_>, attempt: u32, sql: &str, params: impl rusqlite::Params) -> Result<()> {
    match sql::run(tx.conn, sql, params)? {
        0 => Err(StoreError::not_found("process", &attempt.to_string())),
        _ => Ok(()),
    }
}

impl Store {
    /// The number of this installation in the marks of its processes: 20 bits, never 0, drawn once.
    pub fn installation(&self) -> Reply<u32> {
        self.write("number the installation", installation)
    }

    /// Records that a process is about to be started; on the disk when this answers. The number is
    /// never 0 and below 2^24, and no other process that is not proven gone has it.
    pub fn process_attempt(&self, new: NewAttempt) -> Reply<u32> {
        self.write("record the process", move |tx| attempt(tx, &new))
    }

    /// Records the keeper of an attempt: its pid, its start in ticks since boot, and that boot.
    pub fn process_spawned(&self, attempt: u32, pid: u32, start_time_ticks: u64, boot_id: &str) -> Reply<()> {
        let boot_id = boot_id.to_owned();
        self.write("record the keeper", move |tx| {
            let sql = "UPDATE processes SET pid = ?2, start_time = ?3, boot_id = ?4 WHERE attempt = ?1";
            change(tx, attempt, sql, params![attempt, pid, integer(start_time_ticks), boot_id])
        })
    }

    /// Records the agent of an attempt: its pid and its start in ticks since boot.
    pub fn process_agent(&self, attempt: u32, pid: u32, start_time_ticks: u64) -> Reply<()> {
        self.write("record the agent's process", move |tx| {
            let sql = "UPDATE processes SET agent_pid = ?2, agent_start_time = ?3 WHERE attempt = ?1";
            change(tx, attempt, sql, params![attempt, pid, integer(start_time_ticks)])
        })
    }

    /// Records that nothing of an attempt is left. A second time changes nothing.
    pub fn process_ended(&self, attempt: u32, detail: &str) -> Reply<()> {
        let detail = detail.to_owned();
        self.write("record the end of the process", move |tx| {
            let sql = "UPDATE processes SET ended_at = coalesce(ended_at, ?2), detail = coalesce(detail, ?3)
                       WHERE attempt = ?1";
            let now = tx.now().0;
            change(tx, attempt, sql, params![attempt, now, detail])
        })
    }

    /// The processes that are not proven gone, oldest first.
    pub fn open_processes(&self) -> Reply<Vec<ProcessRow>> {
        self.read_in_line("list the processes", |conn| {
            let sql = "SELECT * FROM processes WHERE ended_at IS NULL ORDER BY created_at, attempt";
            sql::all(conn, sql, [], |row| {
                Ok(ProcessRow {
                    attempt: row.get("attempt")?,
                    label: row.get("label")?,
                    pid: row.get("pid")?,
                    start_time: row.get::<_, Option<i64>>("start_time")?.map(natural),
                    boot_id: row.get("boot_id")?,
                    agent_pid: row.get("agent_pid")?,
                    agent_start_time: row.get::<_, Option<i64>>("agent_start_time")?.map(natural),
                })
            })
        })
    }
}
