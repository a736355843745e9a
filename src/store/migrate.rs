//! Brings a database file to the schema that this program knows, or leaves it as it was.
//!
//! Each migration runs in one transaction of its own, after a copy of the file was made. A
//! migration may carry a verify query: if that returns a row, everything of it is rolled back and
//! the database is not opened.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rusqlite::{Connection, Transaction};
use rusqlite_migration::{HookError, M, Migrations};

use super::error::OpenError;
use crate::sync::lock;

/// Lost rows that are named in an error.
const NAMED_ROWS_MAX: usize = 20;

/// One step of the schema.
struct Step {
    name: &'static str,
    sql: &'static str,
    /// Must return no row; the first column of a row says in words what is wrong.
    verify: Option<&'static str>,
}

/// Every migration, in order. Never edited once released: a new one is added behind.
const STEPS: &[Step] = &[
    Step { name: "0001_first", sql: include_str!("../../migrations/0001_first.sql"), verify: None },
    Step {
        name: "0002_chat_agents",
        sql: include_str!("../../migrations/0002_chat_agents.sql"),
        verify: Some(include_str!("../../migrations/0002_chat_agents.verify.sql")),
    },
    Step { name: "0003_changes", sql: include_str!("../../migrations/0003_changes.sql"), verify: None },
    Step { name: "0004_arenas", sql: include_str!("../../migrations/0004_arenas.sql"), verify: None },
    Step { name: "0005_choices", sql: include_str!("../../migrations/0005_choices.sql"), verify: None },
    Step { name: "0006_seen_time", sql: include_str!("../../migrations/0006_seen_time.sql"), verify: None },
    Step { name: "0007_identity", sql: include_str!("../../migrations/0007_identity.sql"), verify: None },
    Step {
        name: "0008_remembered_answers",
        sql: include_str!("../../migrations/0008_remembered_answers.sql"),
        verify: None,
    },
    Step {
        name: "0009_request_owners",
        sql: include_str!("../../migrations/0009_request_owners.sql"),
        verify: None,
    },
    Step {
        name: "0010_used_sessions",
        sql: include_str!("../../migrations/0010_used_sessions.sql"),
        verify: None,
    },
    Step {
        name: "0011_hook_segments",
        sql: include_str!("../../migrations/0011_hook_segments.sql"),
        verify: None,
    },
    Step {
        name: "0012_lost_and_no_retry",
        sql: include_str!("../../migrations/0012_lost_and_no_retry.sql"),
        verify: None,
    },
];

/// The newest schema that this program knows.
pub(super) const SCHEMA: usize = STEPS.len();

/// The schema of a file.
pub(super) fn schema(conn: &Connection) -> rusqlite::Result<usize> {
    let version: i64 = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    Ok(usize::try_from(version).unwrap_or(usize::MAX))
}

/// Brings `database` to [`SCHEMA`]; returns the copy that was made before, if one was.
pub(super) fn migrate(database: &Path) -> Result<Option<PathBuf>, OpenError> {
    let mut conn = super::connect(database)?;
    let found = schema(&conn)?;
    if found > SCHEMA {
        return Err(OpenError::Newer { found, known: SCHEMA });
    }
    if found == SCHEMA {
        return Ok(None);
    }
    let copy = if found > 0 { Some(backup(&conn, database, found)?) } else { None };
    // Tables are rebuilt; the foreign keys are checked as a whole before each commit instead.
    conn.pragma_update(None, "foreign_keys", false)?;
    for (position, step) in STEPS.iter().enumerate().skip(found) {
        advance(&mut conn, position, step)?;
        tracing::info!(migration = step.name, "database migrated");
    }
    conn.close().map_err(|(_, error)| error)?;
    Ok(copy)
}

/// Takes one step.
fn advance(conn: &mut Connection, position: usize, step: &Step) -> Result<(), OpenError> {
    let lost = Arc::new(Mutex::new(Vec::new()));
    let steps: Vec<M<'_>> = STEPS
        .iter()
        .map(|step| {
            let (verify, lost) = (step.verify, Arc::clone(&lost));
            M::up_with_hook(step.sql, move |transaction: &Transaction<'_>| {
                let rows = wrong(transaction, verify)?;
                if rows.is_empty() {
                    return Ok(());
                }
                *lock(&lost) = rows;
                Err(HookError::Hook("it would not keep everything".to_owned()))
            })
        })
        .collect();
    Migrations::new(steps).to_version(conn, position + 1).map_err(|error| {
        let rows = std::mem::take(&mut *lock(&lost));
        if rows.is_empty() {
            OpenError::Migration { name: step.name, source: error.into() }
        } else {
            OpenError::Refused { name: step.name, rows }
        }
    })
}

/// What the migration broke or lost, in words.
fn wrong(transaction: &Transaction<'_>, verify: Option<&str>) -> rusqlite::Result<Vec<String>> {
    let mut rows = Vec::new();
    if let Some(verify) = verify {
        let mut statement = transaction.prepare(verify)?;
        let found = statement.query_map([], |row| row.get::<_, Option<String>>(0))?;
        for row in found.take(NAMED_ROWS_MAX) {
            rows.push(row?.unwrap_or_else(|| "a row without a name".to_owned()));
        }
    }
    let mut statement = transaction.prepare(
        r#"SELECT 'row ' || coalesce(rowid, '') || ' of ' || "table" || ' refers to nothing in ' || parent
           FROM pragma_foreign_key_check"#,
    )?;
    let found = statement.query_map([], |row| row.get::<_, String>(0))?;
    for row in found.take(NAMED_ROWS_MAX - rows.len()) {
        rows.push(row?);
    }
    Ok(rows)
}

/// Copies the database beside itself, through SQLite, as `<file>.schema-<n>.bak`. An older copy of
/// the same schema is replaced only once the new one is whole.
fn backup(conn: &Connection, database: &Path, schema: usize) -> Result<PathBuf, OpenError> {
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| OpenError::Backup(error);
    let beside = |suffix: String| {
        let mut name = database.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let target = beside(format!(".schema-{schema}.bak"));
    let unfinished = beside(format!(".schema-{schema}.bak.new"));
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error.into())),
        _ => {}
    }
    let Some(path) = unfinished.to_str() else {
        return Err(failed(format!("the path {} is not UTF-8", unfinished.display()).into()));
    };
    conn.pragma_update(None, "synchronous", "FULL").map_err(|error| failed(error.into()))?;
    super::make_private(&unfinished).map_err(|error| failed(error.into()))?;
    if let Err(error) = conn.execute("VACUUM INTO ?1", [path]) {
        // A part of a copy is of no use, and on a full disk it takes the room that is missing.
        std::fs::remove_file(&unfinished).ok();
        return Err(failed(error.into()));
    }
    std::fs::rename(&unfinished, &target).map_err(|error| failed(error.into()))?;
    tracing::info!(copy = %target.display(), "database copied before its migration");
    Ok(target)
}
