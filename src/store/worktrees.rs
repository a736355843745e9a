//! Worktrees as rows: made before git touches anything, given to a session once git is done,
//! orphaned when the session ends. Touches no file.

use hob_actors::event::{Event, Level, Scope};
use rusqlite::{OptionalExtension, params};

use super::command::Tx;
use super::reader::Reply;
use super::rows;
use super::seen;
use super::sql::{self, Result};
use super::{Store, StoreError};
use crate::control::wire::WorktreeRow;
use crate::worktree::Identity;

/// A worktree that is about to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewWorktree {
    /// Its id, see [`super::fresh_id`].
    pub id: String,
    /// The user's repository: the top of its working tree.
    pub repo: String,
    /// Where it will be.
    pub path: String,
    /// Its branch.
    pub branch: String,
}

/// What git made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorktreeFacts {
    /// Its id.
    pub id: String,
    /// Where it is.
    pub path: String,
    /// Its branch.
    pub branch: String,
    /// The commit that it was started from.
    pub base_commit: String,
    /// The repository's common directory.
    pub common_dir: String,
    /// Which directory it is.
    pub identity: Identity,
    /// The tree that it was made with, if it could be looked at.
    pub baseline: Option<String>,
}

fn begin(tx: &mut Tx<'_>, new: &NewWorktree) -> Result<()> {
    let sql = "SELECT 1 FROM worktrees WHERE id = ?1 OR path = ?2";
    if sql::one(tx.conn, sql, [&new.id, &new.path], |_| Ok(()))?.is_some() {
        return Err(StoreError::Conflict(format!("worktree {} or its path {} is taken", new.id, new.path)));
    }
    sql::run(
        tx.conn,
        "INSERT INTO worktrees (id, repo, path, branch, state, created_at) VALUES (?1, ?2, ?3, ?4, 'creating', ?5)",
        params![new.id, new.repo, new.path, new.branch, tx.now().0],
    )?;
    Ok(())
}

/// Gives a worktree that git has made to its session.
pub(super) fn activate(tx: &mut Tx<'_>, session: &str, facts: &WorktreeFacts) -> Result<()> {
    let changed = sql::run(
        tx.conn,
        "UPDATE worktrees SET session_id = ?2, path = ?3, branch = ?4, base_commit = ?5, common_dir = ?6,
            baseline = ?7, last_tree = ?7, state = 'active'
         WHERE id = ?1 AND state = 'creating'",
        params![
            facts.id,
            session,
            facts.path,
            facts.branch,
            facts.base_commit,
            facts.common_dir,
            facts.baseline,
        ],
    )?;
    if changed == 0 {
        return Err(StoreError::not_found("worktree being made", &facts.id));
    }
    identify(tx, &facts.id, &facts.identity)?;
    told(tx, Some(session), moved(&facts.id, None, "active", Vec::new()))
}

/// What is written down of a worktree's directory.
pub(super) fn identity(row: &rusqlite::Row<'_>) -> rusqlite::Result<Identity> {
    Ok(Identity {
        device: row.get::<_, i64>("device")?.cast_unsigned(),
        inode: row.get::<_, i64>("inode")?.cast_unsigned(),
        birth: row.get("birth")?,
        boot: row.get("boot")?,
        mark: row.get("mark")?,
    })
}

/// Writes down which directory a worktree is.
pub(super) fn identify(tx: &Tx<'_>, id: &str, identity: &Identity) -> Result<()> {
    sql::run(
        tx.conn,
        "UPDATE worktrees SET device = ?2, inode = ?3, birth = ?4, boot = ?5, mark = ?6 WHERE id = ?1",
        params![
            id,
            identity.device.cast_signed(),
            identity.inode.cast_signed(),
            identity.birth,
            identity.boot,
            identity.mark
        ],
    )
    .map(drop)
}

/// Writes down where the repository of a worktree is now. What is left of purged ones was moved with it.
fn follow(tx: &mut Tx<'_>, id: &str, (top, common_dir): (&str, &str)) -> Result<()> {
    let sql = "SELECT repo, common_dir, session_id FROM worktrees WHERE id = ?1";
    let read = |row: &rusqlite::Row<'_>| {
        Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?, row.get::<_, Option<String>>(2)?))
    };
    let (old_top, old_common_dir, session) =
        sql::one(tx.conn, sql, [id], read)?.ok_or_else(|| StoreError::not_found("worktree", id))?;
    let sql = "UPDATE worktrees SET repo = ?2, common_dir = ?3
        WHERE id = ?1 OR (state = 'purged' AND common_dir = ?4)";
    sql::run(tx.conn, sql, params![id, top, common_dir, old_common_dir])?;
    sql::run(
        tx.conn,
        "UPDATE sessions SET repo = ?2 WHERE id = ?1 AND repo = ?3",
        params![session, top, old_top],
    )?;
    let text =
        format!("the repository of worktree {id} was moved from `{old_top}` to `{top}`, and was found there");
    told(tx, session.as_deref(), Event::Notice { level: Level::Info, text })
}

/// Moves the worktrees of a session that are in state `from`.
pub(super) fn move_of_session(
    tx: &mut Tx<'_>,
    session: &str,
    from: &'static str,
    to: &'static str,
) -> Result<usize> {
    let sql = "SELECT id FROM worktrees WHERE session_id = ?1 AND state = ?2 ORDER BY id";
    let ids = sql::all(tx.conn, sql, [session, from], |row| row.get::<_, String>(0))?;
    let seen = seen::look(tx)?.total_ms;
    for id in &ids {
        sql::run(
            tx.conn,
            "UPDATE worktrees SET state = ?2, kept_because = NULL,
                orphaned_at = CASE ?2 WHEN 'orphaned' THEN ?3 END,
                seen_since = CASE ?2 WHEN 'orphaned' THEN ?4 END WHERE id = ?1",
            params![id, to, tx.now().0, seen],
        )?;
        told(tx, Some(session), moved(id, Some(from), to, Vec::new()))?;
    }
    Ok(ids.len())
}

/// Worktrees that were being made when the daemon ended become orphans: what is on the disk, if
/// anything, is for the reaper to judge.
pub(super) fn settle(tx: &mut Tx<'_>, why: &str) -> Result<u64> {
    let ids =
        sql::all(tx.conn, "SELECT id FROM worktrees WHERE state = 'creating' ORDER BY id", [], |row| {
            row.get::<_, String>(0)
        })?;
    let seen = seen::look(tx)?.total_ms;
    for id in &ids {
        let sql = "UPDATE worktrees SET state = 'orphaned', orphaned_at = ?2, seen_since = ?3 WHERE id = ?1";
        sql::run(tx.conn, sql, params![id, tx.now().0, seen])?;
        told(tx, None, moved(id, None, "orphaned", vec![why.to_owned()]))?;
    }
    Ok(ids.len() as u64)
}

fn moved(worktree: &str, from: Option<&'static str>, to: &'static str, reasons: Vec<String>) -> Event {
    Event::WorktreeState { worktree: worktree.into(), from, to, reasons }
}

fn told(tx: &mut Tx<'_>, session: Option<&str>, event: Event) -> Result<()> {
    let scope = Scope { session: session.map(Into::into), ..Scope::default() };
    tx.event(&scope, &event)?;
    Ok(())
}

impl Store {
    /// Records that a worktree is about to be made, before git touches anything.
    ///
    /// # Errors
    /// `Conflict` if its id or path is taken.
    pub fn begin_worktree(&self, new: NewWorktree) -> Reply<()> {
        self.write("record the worktree", move |tx| begin(tx, &new))
    }

    /// Forgets a worktree that was not made after all. Nothing of it is left on the disk.
    pub fn abandon_worktree(&self, id: &str) -> Reply<()> {
        let id = id.to_owned();
        self.write("forget the worktree", move |tx| {
            sql::run(tx.conn, "DELETE FROM worktrees WHERE id = ?1 AND state = 'creating'", [id])?;
            Ok(())
        })
    }

    /// One worktree.
    pub fn worktree(&self, id: &str) -> Reply<Option<WorktreeRow>> {
        let id = id.to_owned();
        self.read("read the worktree", move |conn| rows::worktree(conn, &id))
    }

    /// Writes down which directory a worktree is.
    pub fn worktree_identified(&self, id: &str, identity: Identity) -> Reply<()> {
        let id = id.to_owned();
        self.write("record which directory a worktree is", move |tx| identify(tx, &id, &identity))
    }

    /// Writes down where the repository of a worktree is now: the top of its checkout, and its git directory.
    pub fn worktree_followed(&self, id: &str, top: &str, common_dir: &str) -> Reply<()> {
        let (id, top, common_dir) = (id.to_owned(), top.to_owned(), common_dir.to_owned());
        self.write("record where a repository is", move |tx| follow(tx, &id, (&top, &common_dir)))
    }

    /// What is recorded of a worktree's place on the disk, to be compared before anything is removed.
    pub fn worktree_facts(&self, id: &str) -> Reply<Option<WorktreeFacts>> {
        let id = id.to_owned();
        self.read("read the worktree", move |conn| {
            let sql = "SELECT * FROM worktrees WHERE id = ?1 AND device IS NOT NULL";
            let found = conn.prepare_cached(sql)?.query_row([id], |row| {
                Ok(WorktreeFacts {
                    id: row.get("id")?,
                    path: row.get("path")?,
                    branch: row.get("branch")?,
                    base_commit: row.get("base_commit")?,
                    common_dir: row.get("common_dir")?,
                    identity: identity(row)?,
                    baseline: row.get("baseline")?,
                })
            });
            Ok(found.optional()?)
        })
    }
}
