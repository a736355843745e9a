//! What a worktree is compared with, where objects that were recorded are gone from its repository.

use rusqlite::params;

use super::command::Tx;
use super::reader::Reply;
use super::sql::{self, Result};
use super::{Store, looks};
use crate::worktree::{Grounds, Known};

/// Writes down what takes the place of what is gone, unless somebody did.
fn reground(tx: &mut Tx<'_>, worktree: &str, (before, now): (&Known, &Grounds)) -> Result<bool> {
    let sql = "UPDATE worktrees SET base_commit = ?2, baseline = ?3, last_tree = ?4, doubt = 1
        WHERE id = ?1 AND base_commit = ?5 AND baseline IS ?6";
    let values =
        params![worktree, now.base_commit, now.baseline, now.last_tree, before.base_commit, before.baseline];
    if sql::run(tx.conn, sql, values)? == 0 {
        return Ok(false);
    }
    sql::run(tx.conn, "DELETE FROM segments WHERE worktree_id = ?1", [worktree])?;
    for segment in &now.history {
        looks::insert(tx, worktree, segment)?;
    }
    Ok(true)
}

impl Store {
    /// Writes down what a worktree is compared with where what it was is gone; whether it was not so yet.
    pub fn record_grounds(&self, before: &Known, now: Grounds) -> Reply<bool> {
        let before = before.clone();
        self.write("record what a worktree is compared with", move |tx| {
            reground(tx, &before.id, (&before, &now))
        })
    }
}
