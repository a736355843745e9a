//! What a start makes of what the daemon before left open: every task accounted for exactly once,
//! in one transaction. Runs again, it finds nothing to do.

use hob_actors::event::Outcome;

use super::command::Tx;
use super::reader::Reply;
use super::sql::Result;
use super::turns::{self, Ending};
use super::{Store, agents, looks, permissions, tasks, worktrees};

/// How much was left open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settled {
    /// Tasks that were with an agent; now `interrupted`.
    pub tasks: u64,
    /// Turns of theirs that were open.
    pub turns: u64,
    /// Questions that waited; now `stale`.
    pub permissions: u64,
    /// Agent sessions that had a process; now `crashed`.
    pub agents: u64,
    /// Worktrees that were being made; now `orphaned`.
    pub worktrees: u64,
}

fn settle(tx: &mut Tx<'_>, why: &str) -> Result<Settled> {
    looks::settle(tx)?;
    let mut settled = Settled { permissions: permissions::settle_all(tx)?, ..Settled::default() };
    for task in tasks::in_flight(tx.conn)? {
        let seen_ms = turns::last_sign_ms(tx.conn, &task.id)?;
        settled.tasks += 1;
        settled.turns += u64::from(seen_ms.is_some());
        // Nobody saw the end: the turn lasted at least until its last event.
        let ending = Ending { duration_ms: seen_ms, ..Ending::by_us(Outcome::Interrupted, why) };
        turns::end(tx, &task, &ending)?;
    }
    settled.agents = agents::settle(tx, why)?;
    settled.worktrees = worktrees::settle(tx, why)?;
    Ok(settled)
}

impl Store {
    /// Settles what the daemon before left open: to be called once, before anything is accepted.
    /// `why` is the reason that the events give.
    pub fn settle(&self, why: &str) -> Reply<Settled> {
        let why = why.to_owned();
        self.write("settle what was left open", move |tx| settle(tx, &why))
    }
}
