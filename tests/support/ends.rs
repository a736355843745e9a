//! What must hold of every home at its end, whatever happened in it: each task that is over has one
//! terminal event and each turn too, what is not over has none, and no agent ever had two prompts.
//!
//! Reads the database itself, and the ledgers that misbehaving agents wrote; asks no daemon.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

/// What lists rows whose terminal events are not as many as they must be: each with how many there
/// are. Homes live for seconds, so no event is too old to be kept, except where a test lets old ones go:
/// then all of a task's go together.
const TASKS: &str = "
    SELECT t.id || ' ' || t.state, (
        SELECT count(*) FROM events e WHERE e.task_id = t.id AND e.type = 'task_state'
        AND e.payload ->> 'to' IN ('completed', 'failed', 'cancelled', 'interrupted')) AS n
    FROM tasks t
    WHERE n <> (t.state IN ('completed', 'failed', 'cancelled', 'interrupted'))
    AND (EXISTS (SELECT 1 FROM events e WHERE e.task_id = t.id)
        OR NOT EXISTS (SELECT 1 FROM meta WHERE key = 'events_forgotten'))";
const TURNS: &str = "
    SELECT u.id || ' ' || coalesce(u.outcome, 'open'), (
        SELECT count(*) FROM events e WHERE e.turn_id = u.id AND e.type = 'turn_ended') AS n
    FROM turns u
    WHERE n <> (u.outcome IS NOT NULL)
    AND (EXISTS (SELECT 1 FROM events e WHERE e.turn_id = u.id)
        OR NOT EXISTS (SELECT 1 FROM meta WHERE key = 'events_forgotten'))";

/// Checks a home without a daemon, or with one. A database that was broken on purpose is left alone.
#[track_caller]
pub fn check(hob_home: &Path, home: &Path) {
    for line in ledger(home) {
        assert!(!line.starts_with('!'), "an agent complains of {line:?}");
    }
    for (what, query) in [("tasks", TASKS), ("turns", TURNS)] {
        let Some(wrong) = rows(&hob_home.join("hob.db"), query) else { continue };
        assert!(wrong.is_empty(), "{what} without exactly one terminal event: {wrong:#?}");
    }
}

fn rows(database: &Path, query: &str) -> Option<Vec<(String, i64)>> {
    let database = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
    let mut query = database.prepare(query).ok()?;
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).ok()?;
    rows.collect::<Result<_, _>>().ok()
}

/// The lines that agents wrote into their ledger, in order.
pub fn ledger(home: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(home.join(super::fault::LEDGER)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}
