//! Which trees of a worktree are kept, written down when the oldest part of its history was made small.

use std::collections::BTreeSet;

use rusqlite::{Connection, params};

use super::command::Tx;
use super::reader::Reply;
use super::sql::{self, Result};
use super::{Store, StoreError, looks};
use crate::worktree::{Segment, Trimmed};

fn record(tx: &mut Tx<'_>, worktree: &str, trimmed: &Trimmed) -> Result<()> {
    let sql = "SELECT num FROM segments WHERE worktree_id = ?1 ORDER BY num LIMIT ?2";
    let n_oldest = sql::integer(trimmed.oldest.len() as u64);
    let nums: Vec<i64> = sql::all(tx.conn, sql, params![worktree, n_oldest], |row| row.get(0))?;
    for (num, span) in nums.into_iter().zip(&trimmed.oldest) {
        let sql = "UPDATE segments SET from_tree = ?2, to_tree = ?3 WHERE num = ?1";
        sql::run(tx.conn, sql, params![num, span.from, span.to])?;
    }
    let whole = serde_json::to_string(&trimmed.whole)
        .map_err(|error| StoreError::other("write down which trees are kept", error))?;
    let sql = "WITH whole (tree) AS (
            SELECT value FROM json_each(?2)
            UNION SELECT last_tree FROM worktrees WHERE id = ?1 AND last_tree IS NOT NULL
            UNION SELECT baseline FROM worktrees WHERE id = ?1 AND baseline IS NOT NULL)
        UPDATE turns SET before_tree = NULL, after_tree = NULL
        WHERE watch = 'closed' AND (before_tree NOT IN whole OR after_tree NOT IN whole) AND id IN (
            SELECT u.id FROM turns AS u JOIN tasks AS t ON t.id = u.task_id JOIN chats AS c ON c.id = t.chat_id
            JOIN worktrees AS w ON w.session_id = c.session_id WHERE w.id = ?1)";
    sql::run(tx.conn, sql, params![worktree, whole]).map(drop)
}

/// Puts one segment in the place of the oldest.
fn merge(tx: &mut Tx<'_>, worktree: &str, (n, one): (usize, &Segment)) -> Result<()> {
    let sql = "SELECT num FROM segments WHERE worktree_id = ?1 ORDER BY num LIMIT ?2";
    let nums: Vec<i64> = sql::all(tx.conn, sql, params![worktree, sql::integer(n as u64)], |row| row.get(0))?;
    // The last of them, so that what comes after stays after it.
    let Some((last, others)) = nums.split_last() else { return Ok(()) };
    for num in others {
        sql::run(tx.conn, "DELETE FROM segments WHERE num = ?1", [num])?;
    }
    looks::rewrite(tx, *last, one)
}

/// Every tree that is asked for by its name.
fn named(conn: &Connection, worktree: &str) -> Result<BTreeSet<String>> {
    let sql = "SELECT from_tree FROM segments WHERE worktree_id = ?1
        UNION SELECT to_tree FROM segments WHERE worktree_id = ?1
        UNION SELECT last_tree FROM worktrees WHERE id = ?1 AND last_tree IS NOT NULL
        UNION SELECT baseline FROM worktrees WHERE id = ?1 AND baseline IS NOT NULL
        UNION SELECT tree FROM (
            SELECT w.id AS worktree, u.before_tree AS tree FROM turns AS u JOIN tasks AS t ON t.id = u.task_id
            JOIN chats AS c ON c.id = t.chat_id JOIN worktrees AS w ON w.session_id = c.session_id
            UNION ALL SELECT w.id, u.after_tree FROM turns AS u JOIN tasks AS t ON t.id = u.task_id
            JOIN chats AS c ON c.id = t.chat_id JOIN worktrees AS w ON w.session_id = c.session_id)
        WHERE worktree = ?1 AND tree IS NOT NULL";
    Ok(sql::all(conn, sql, [worktree], |row| row.get(0))?.into_iter().collect())
}

impl Store {
    /// Puts one segment in the place of the so many oldest of a worktree.
    pub fn merge_segments(&self, worktree: &str, n: usize, one: Segment) -> Reply<()> {
        let worktree = worktree.to_owned();
        self.write("make the oldest part of a history one", move |tx| merge(tx, &worktree, (n, &one)))
    }

    /// Writes down that the oldest segments of a worktree lead to smaller trees now, and that the turns
    /// of then cannot be undone. Gives the trees that are still named: all others may go.
    pub fn record_trimmed(&self, worktree: &str, trimmed: Trimmed) -> Reply<BTreeSet<String>> {
        let worktree = worktree.to_owned();
        self.write("record which trees are kept", move |tx| {
            record(tx, &worktree, &trimmed)?;
            named(tx.conn, &worktree)
        })
    }
}
