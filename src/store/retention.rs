//! Forgetting old events, where a person wants that: some at a time, and never what may still be asked
//! for.

use hob_actors::event::{Event, Level, Scope};
use rusqlite::{Connection, params};

use super::Store;
use super::command::Tx;
use super::journal::{meta, set_meta};
use super::reader::Reply;
use super::sql::{self, Result};
use crate::control::wire::Moment;

/// Events that are looked at in one step, and so the most that are taken in one.
const STEP_EVENTS: i64 = 2_000;
/// The last event that was taken; those before it may be missing.
pub(super) const FORGOTTEN: &str = "events_forgotten";
/// The retention that a person was told of, in milliseconds.
const TOLD: &str = "retention_told";

/// What may be forgotten of the events of `e`: nothing of an open chat, of the last turn of any, or of a
/// session whose files are still somewhere, since those may be pending.
const MAY_GO: &str = "e.at < ?1
    AND NOT EXISTS (SELECT 1 FROM chats AS c WHERE c.id = e.chat_id AND c.state = 'open')
    AND NOT EXISTS (SELECT 1 FROM sessions AS s WHERE s.id = e.session_id AND s.state = 'open')
    AND NOT EXISTS (SELECT 1 FROM worktrees AS w WHERE w.session_id = e.session_id AND w.state <> 'purged')
    AND (e.task_id IS NULL OR e.task_id IS NOT (SELECT t.id FROM tasks AS t
        WHERE t.chat_id = e.chat_id AND t.started_at IS NOT NULL ORDER BY t.num DESC LIMIT 1))";

/// One step through the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forgettable {
    /// The events that may go, by number.
    pub events: Vec<i64>,
    /// Where the next step begins; `None` at the end of what is old enough.
    pub next: Option<i64>,
}

fn step(conn: &Connection, before: Moment, after: i64) -> Result<Forgettable> {
    let sql =
        "SELECT max(seq), count(*) FROM (SELECT seq, at FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2)
               WHERE at < ?3";
    let looked = sql::one(conn, sql, params![after, STEP_EVENTS, before.0], |row| {
        Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, i64>(1)?))
    })?;
    let Some((Some(last), n)) = looked else { return Ok(Forgettable { events: Vec::new(), next: None }) };
    let sql = format!("SELECT e.seq FROM events AS e WHERE e.seq > ?2 AND e.seq <= ?3 AND {MAY_GO}");
    let events = sql::all(conn, &sql, params![before.0, after, last], |row| row.get(0))?;
    Ok(Forgettable { events, next: (n == STEP_EVENTS).then_some(last) })
}

/// Takes those of them that may still go: a chat may have been opened again meanwhile.
fn forget(tx: &mut Tx<'_>, before: Moment, events: &[i64]) -> Result<u64> {
    let Some(last) = events.iter().max() else { return Ok(0) };
    let list =
        serde_json::to_string(events).map_err(|error| super::StoreError::other("forget events", error))?;
    let sql = format!(
        "DELETE FROM events WHERE seq IN (SELECT e.seq FROM events AS e
            WHERE e.seq IN (SELECT value FROM json_each(?2)) AND {MAY_GO})"
    );
    let n = tx.conn.prepare_cached(&sql)?.execute(params![before.0, list])?;
    if n > 0 {
        let before = meta(tx.conn, FORGOTTEN)?.unwrap_or(0);
        set_meta(tx.conn, FORGOTTEN, before.max(*last))?;
    }
    Ok(n as u64)
}

/// Tells once that old events are going to be forgotten; whether it was told before.
fn tell(tx: &mut Tx<'_>, retention_ms: i64, text: String) -> Result<bool> {
    if meta(tx.conn, TOLD)? == Some(retention_ms) {
        return Ok(true);
    }
    set_meta(tx.conn, TOLD, retention_ms)?;
    tx.event(&Scope::default(), &Event::Notice { level: Level::Warning, text })?;
    Ok(false)
}

impl Store {
    /// Looks at the next events after number `after` that are older than `before`, and says which of
    /// them may be forgotten.
    pub fn forgettable_events(&self, before: Moment, after: i64) -> Reply<Forgettable> {
        self.read("look for old events", move |conn| step(conn, before, after))
    }

    /// Forgets these events, as far as they may still go; says how many went.
    pub fn forget_events(&self, before: Moment, events: Vec<i64>) -> Reply<u64> {
        self.write("forget old events", move |tx| forget(tx, before, &events))
    }

    /// Puts it into the journal that events are forgotten after so long, unless that was told before:
    /// then `true`.
    pub fn tell_retention(&self, retention_ms: i64, text: String) -> Reply<bool> {
        self.write("tell of the retention", move |tx| tell(tx, retention_ms, text))
    }
}
