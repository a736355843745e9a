//! The journal: numbers and writes events, reads them back page by page. Formats nothing: see
//! `payload.rs`.
//!
//! Numbers are reserved in blocks. The end of the block is on the disk (a FULL commit) before the
//! first number of it is shown to anyone, and a start goes on behind the last reserved block: so a
//! number that power loss took from the tail is never given to another event.

use hob_actors::event::{Event, Scope};
use rusqlite::{Connection, Row, ToSql, named_params, params};

use super::command::Tx;
use super::payload::{self, Common};
use super::reader::Reply;
use super::retention::FORGOTTEN;
use super::sql::{self, Result};
use super::{Store, StoreError, offers};
use crate::control::wire::Moment;

/// Numbers that are reserved at once.
const BLOCK: i64 = 16_384;

/// Events in one page.
pub const PAGE_EVENTS_MAX: usize = 1000;

/// Bytes in one page; a page holds at least one event whatever its size.
const PAGE_BYTES_MAX: usize = 4 << 20;

/// The line in which events take their numbers.
#[derive(Debug)]
pub(super) struct Line {
    /// The next number.
    next: i64,
    /// The last number that is reserved on the disk.
    reserved: i64,
    /// The number of the newest event.
    newest: i64,
    /// The time of what is being written; never goes back.
    now: i64,
    /// Where payloads are written, used again and again.
    payload: Vec<u8>,
}

/// Where a [`Line`] stood.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    next: i64,
    reserved: i64,
    newest: i64,
}

impl Line {
    /// Goes on behind everything that was ever reserved.
    pub(super) fn open(conn: &Connection) -> Result<Self> {
        let reserved = meta(conn, "events_reserved")?.unwrap_or(0);
        let last = sql::one(conn, "SELECT seq, at FROM events ORDER BY seq DESC LIMIT 1", [], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
        })?;
        let (newest, at) = last.unwrap_or((0, 0));
        let newest = newest.max(forgotten(conn)?);
        let reserved = reserved.max(newest);
        Ok(Self { next: reserved + 1, reserved, newest, now: at, payload: Vec::new() })
    }

    /// Whether `n` events can be numbered without a new block.
    pub(super) fn has_room(&self, n: usize) -> bool {
        n == 0 || i64::try_from(n).is_ok_and(|n| self.next + n - 1 <= self.reserved)
    }

    pub(super) fn newest(&self) -> i64 {
        self.newest
    }

    pub(super) fn mark(&self) -> Mark {
        Mark { next: self.next, reserved: self.reserved, newest: self.newest }
    }

    /// Forgets what was rolled back. Numbers that nobody has seen are given again.
    pub(super) fn rewind(&mut self, mark: Mark) {
        Mark { next: self.next, reserved: self.reserved, newest: self.newest } = mark;
    }

    /// Looks at the clock.
    pub(super) fn tick(&mut self) {
        self.now = self.now.max(Moment::now().0);
    }

    fn take(&mut self, conn: &Connection) -> Result<i64> {
        if self.next > self.reserved {
            let reserved = self.next + BLOCK - 1;
            set_meta(conn, "events_reserved", reserved)?;
            self.reserved = reserved;
        }
        let seq = self.next;
        self.next += 1;
        self.newest = seq;
        Ok(seq)
    }
}

impl Tx<'_> {
    /// The number of the newest event, this command's included.
    pub(super) fn newest(&self) -> i64 {
        self.line.newest()
    }

    /// The time of this command.
    pub(super) fn now(&self) -> Moment {
        Moment(self.line.now)
    }

    /// Writes a streamed event; says how many bytes its payload took.
    pub(super) fn append(&mut self, scope: &Scope, event: &Event) -> Result<usize> {
        self.line.tick();
        self.event(scope, event)
    }

    /// Writes an event of the present command. Who knows only the chat need not know its session.
    pub(super) fn event(&mut self, scope: &Scope, event: &Event) -> Result<usize> {
        let seq = self.line.take(self.conn)?;
        payload::write(event, &mut self.line.payload)?;
        let text = std::str::from_utf8(&self.line.payload)
            .map_err(|error| StoreError::other("write an event", error))?;
        self.conn
            .prepare_cached(
                "INSERT INTO events (seq, at, session_id, chat_id, agent, generation, task_id, turn_id, type, payload)
                 VALUES (?1, ?2, COALESCE(?3, (SELECT session_id FROM chats WHERE id = ?4)), ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )?
            .execute(params![
                seq,
                self.line.now,
                scope.session.as_ref().map(AsRef::<str>::as_ref),
                scope.chat.as_ref().map(AsRef::<str>::as_ref),
                scope.agent.as_ref().map(AsRef::<str>::as_ref),
                scope.generation.map(|generation| sql::integer(generation.0)),
                scope.task.as_ref().map(AsRef::<str>::as_ref),
                scope.turn.as_ref().map(AsRef::<str>::as_ref),
                payload::kind(event),
                text,
            ])?;
        let n_bytes = text.len();
        offers::note(self, scope, event)?;
        Ok(n_bytes)
    }
}

/// A number that the store keeps about itself.
pub(super) fn meta(conn: &Connection, key: &str) -> Result<Option<i64>> {
    sql::one(conn, "SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0))
}

/// Keeps a number about the store itself.
pub(super) fn set_meta(conn: &Connection, key: &str, value: i64) -> Result<()> {
    let sql =
        "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value";
    sql::run(conn, sql, params![key, value])?;
    Ok(())
}

/// The last event that retention took away; 0 if it never took any.
fn forgotten(conn: &Connection) -> Result<i64> {
    Ok(meta(conn, FORGOTTEN)?.unwrap_or(0))
}

/// Which events are wanted. `None` wants all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Of this chat.
    pub chat: Option<String>,
    /// Of this session.
    pub session: Option<String>,
    /// Of this task.
    pub task: Option<String>,
    /// Of this agent.
    pub agent: Option<String>,
    /// Of these types.
    pub types: Option<Vec<String>>,
}

/// An event as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its number.
    pub seq: i64,
    /// The complete event object of the contract.
    pub json: Box<str>,
}

/// A page of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPage {
    /// The events, oldest first.
    pub events: Vec<StoredEvent>,
    /// The cursor behind this page: no wanted event up to it was left out.
    pub scanned_to: i64,
    /// From this number on retention has taken nothing away. A cursor before `oldest_kept - 1` has
    /// a gap behind it, in which some events may be kept.
    pub oldest_kept: i64,
    /// The newest event when the page was read; equal to `scanned_to` when nothing is left.
    pub head: i64,
}

/// The filter as SQL. Only what is asked for is in it, so that the index of the narrowest column is used.
fn query(filter: &EventFilter) -> String {
    let mut sql = String::from(
        "SELECT seq, at, session_id, chat_id, agent, generation, task_id, turn_id, type, payload FROM events
         WHERE seq > :after AND seq <= :head",
    );
    let columns = [
        (&filter.task, " AND task_id = :task"),
        (&filter.chat, " AND chat_id = :chat"),
        (&filter.session, " AND session_id = :session"),
        (&filter.agent, " AND agent = :agent"),
    ];
    for (wanted, condition) in columns {
        if wanted.is_some() {
            sql.push_str(condition);
        }
    }
    if filter.types.is_some() {
        sql.push_str(" AND type IN (SELECT value FROM json_each(:types))");
    }
    sql.push_str(" ORDER BY seq");
    sql
}

pub(super) fn page(conn: &Connection, filter: &EventFilter, after: i64, limit: usize) -> Result<EventPage> {
    let head = sql::one(conn, "SELECT max(seq) FROM events", [], |row| row.get::<_, Option<i64>>(0))?;
    let forgotten = forgotten(conn)?;
    let head = head.flatten().unwrap_or(0).max(forgotten);
    let mut page =
        EventPage { events: Vec::new(), scanned_to: after.max(head), oldest_kept: forgotten + 1, head };
    let types = filter.types.as_ref().map(serde_json::to_string).transpose()?;
    let mut statement = conn.prepare_cached(&query(filter))?;
    let mut params: Vec<(&str, &dyn ToSql)> = named_params! {":after": after, ":head": head}.to_vec();
    let wanted: [(&str, &Option<String>); 5] = [
        (":task", &filter.task),
        (":chat", &filter.chat),
        (":session", &filter.session),
        (":agent", &filter.agent),
        (":types", &types),
    ];
    params.extend(
        wanted.iter().filter(|(_, value)| value.is_some()).map(|(name, value)| (*name, *value as &dyn ToSql)),
    );
    let mut rows = statement.query(params.as_slice())?;
    let limit = limit.clamp(1, PAGE_EVENTS_MAX);
    let (mut bytes, mut buffer) = (0, Vec::new());
    while let Some(row) = rows.next()? {
        let event = stored(row, &mut buffer)?;
        bytes += event.json.len();
        let seq = event.seq;
        page.events.push(event);
        if page.events.len() == limit || bytes >= PAGE_BYTES_MAX {
            page.scanned_to = seq;
            break;
        }
    }
    Ok(page)
}

fn stored(row: &Row<'_>, buffer: &mut Vec<u8>) -> Result<StoredEvent> {
    fn text<'r>(row: &'r Row<'_>, column: usize) -> Result<Option<&'r str>> {
        let value = row.get_ref(column)?;
        value.as_str_or_null().map_err(|error| StoreError::other("read an event", error))
    }
    let common = Common {
        seq: row.get(0)?,
        at: Moment(row.get(1)?),
        session: text(row, 2)?,
        chat: text(row, 3)?,
        agent: text(row, 4)?,
        generation: row.get(5)?,
        task: text(row, 6)?,
        turn: text(row, 7)?,
        kind: text(row, 8)?.unwrap_or_default(),
    };
    payload::splice(&common, &payload::readable(text(row, 9)?.unwrap_or("{}")), buffer)?;
    let json = std::str::from_utf8(buffer).map_err(|error| StoreError::other("read an event", error))?;
    Ok(StoredEvent { seq: common.seq, json: json.into() })
}

impl Store {
    /// A page of at most `limit` (and at most [`PAGE_EVENTS_MAX`]) events later than `after`.
    pub fn events(&self, filter: EventFilter, after: i64, limit: usize) -> Reply<EventPage> {
        self.read("read the journal", move |conn| page(conn, &filter, after, limit))
    }
}
