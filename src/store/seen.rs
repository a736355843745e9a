//! The time that the daemon saw pass, as a row that every look brings up to date. What counts as time is
//! decided in [`hob_actors::reaper::time`].

use std::time::Duration;

use hob_actors::event::{Event, Level, Scope};
use hob_actors::reaper::time::{Reading, SeenTime};
use nix::time::{ClockId, clock_gettime};
use rusqlite::params;

use super::command::Tx;
use super::reader::Reply;
use super::sql::{self, Result};
use super::{Store, StoreError};
use crate::backend::process::boot_id;
use crate::control::wire::Moment;

/// What the clocks say now.
fn reading() -> Result<Reading> {
    let boot = clock_gettime(ClockId::CLOCK_BOOTTIME)
        .map_err(|errno| StoreError::other("read the clock of the boot", errno))?;
    let boot_ms = boot.tv_sec().saturating_mul(1_000).saturating_add(boot.tv_nsec() / 1_000_000);
    // Without it no time is seen to pass, and nothing is purged.
    Ok(Reading { boot: boot_id().ok(), boot_ms, wall_ms: Moment::now().0 })
}

fn written(tx: &Tx<'_>) -> Result<SeenTime> {
    let sql = "SELECT total_ms, boot, boot_ms, wall_ms, jumped_at_ms FROM seen_time";
    let found = sql::one(tx.conn, sql, [], |row| {
        Ok(SeenTime {
            total_ms: row.get(0)?,
            last: Some(Reading { boot: row.get(1)?, boot_ms: row.get(2)?, wall_ms: row.get(3)? }),
            jumped_at_ms: row.get(4)?,
        })
    })?;
    Ok(found.unwrap_or(SeenTime::NONE))
}

/// Looks at the clocks and writes down what was seen. A jump is told once.
pub(super) fn look(tx: &mut Tx<'_>) -> Result<SeenTime> {
    let look = written(tx)?.after(reading()?);
    let seen = look.seen;
    let last = seen.last.as_ref();
    sql::run(
        tx.conn,
        "INSERT INTO seen_time (one, total_ms, boot, boot_ms, wall_ms, jumped_at_ms) VALUES (1, ?1, ?2, ?3, ?4, ?5)
         ON CONFLICT DO UPDATE SET total_ms = ?1, boot = ?2, boot_ms = ?3, wall_ms = ?4, jumped_at_ms = ?5",
        params![
            seen.total_ms,
            last.and_then(|last| last.boot.as_deref()),
            last.map_or(0, |last| last.boot_ms),
            last.map_or(0, |last| last.wall_ms),
            seen.jumped_at_ms
        ],
    )?;
    if let Some(jump_ms) = look.jump_ms {
        // To the minute: the time between the two readings is in it, too.
        let minutes = (jump_ms.unsigned_abs() + 30_000) / 60_000;
        let by = humantime::format_duration(Duration::from_secs(minutes * 60));
        let way = if jump_ms > 0 { "forward" } else { "back" };
        let text = format!(
            "the clock was set {way} by {by} against the time that passed: nothing is purged for a day"
        );
        tracing::warn!("{text}");
        tx.event(&Scope::default(), &Event::Notice { level: Level::Warning, text })?;
    }
    Ok(seen)
}

impl Store {
    /// Looks at the clocks, writes down how much time was seen to pass, and says it.
    pub fn see_time(&self) -> Reply<SeenTime> {
        self.write("write down the time that passed", look)
    }
}
