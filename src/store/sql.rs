//! Three ways to run one statement, and the integers of SQLite. Knows no table.

use rusqlite::{Connection, Params, Row};

use super::error::StoreError;

pub(super) type Result<T, E = StoreError> = std::result::Result<T, E>;

/// The first row, if there is one.
pub(super) fn one<T>(
    conn: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Option<T>> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    Ok(match rows.next()? {
        Some(row) => Some(read(row)?),
        None => None,
    })
}

/// Every row.
pub(super) fn all<T>(
    conn: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>> {
    let mut statement = conn.prepare_cached(sql)?;
    let rows = statement.query_map(params, read)?;
    Ok(rows.collect::<rusqlite::Result<Vec<T>>>()?)
}

/// Runs a statement; says how many rows it changed.
pub(super) fn run(conn: &Connection, sql: &str, params: impl Params) -> Result<usize> {
    Ok(conn.prepare_cached(sql)?.execute(params)?)
}

/// One number, or 0 where there is none.
pub(super) fn count(conn: &Connection, sql: &str, params: impl Params) -> Result<u64> {
    Ok(one(conn, sql, params, |row| row.get::<_, Option<i64>>(0))?.flatten().map_or(0, natural))
}

/// A count as SQLite keeps it. Nothing that hob counts comes near the end of `i64`.
pub(super) fn integer(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// A count as SQLite kept it.
pub(super) fn natural(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}
