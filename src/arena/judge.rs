//! What holds of arenas: who may take part, whether all start from the same, when a check is due,
//! whether an entry may be adopted. Pure.

use crate::control::wire::{TaskRow, is_terminal};
use crate::store::{StoredArena, StoredCheck, StoredEntry};

/// Entries of one arena: each is a worktree and an agent's process.
pub const ENTRIES_MAX: usize = 16;

/// Why these agents cannot compete.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// There is nobody to compare with.
    #[error("an arena needs two agents or more, and {0} was named")]
    TooFew(usize),
    /// More than are allowed.
    #[error("an arena takes at most {ENTRIES_MAX} agents, and {0} were named")]
    TooMany(usize),
    /// An entry is called by its agent, so each agent has one.
    #[error("agent `{0}` is named twice, and each takes part once")]
    Twice(String),
}

/// Whether these agents can compete.
///
/// # Errors
/// Too few, too many, or one twice.
pub fn entrants(agents: &[String]) -> Result<(), Unfit> {
    match agents.len() {
        n @ 0..2 => return Err(Unfit::TooFew(n)),
        n if n > ENTRIES_MAX => return Err(Unfit::TooMany(n)),
        _ => {}
    }
    let twice = agents.iter().enumerate().find(|(at, agent)| agents[..*at].contains(agent));
    twice.map_or(Ok(()), |(_, agent)| Err(Unfit::Twice(agent.clone())))
}

/// Whether all worktrees were made with the same files. A tree that is not known proves nothing.
pub fn is_one_baseline<'a>(trees: impl IntoIterator<Item = Option<&'a str>>) -> bool {
    let mut trees = trees.into_iter();
    let Some(Some(first)) = trees.next() else { return false };
    trees.all(|tree| tree == Some(first))
}

/// How far the check of an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Its task is not terminal.
    Waiting,
    /// It is to be run, or runs.
    Due,
    /// There is nothing to check: no turn was begun, or somebody cancelled it.
    Skipped,
    /// It was run.
    Recorded,
}

/// How far the check of an entry with this task is.
pub fn check(task: Option<&TaskRow>, recorded: Option<&StoredCheck>) -> Check {
    match (recorded, task) {
        (Some(_), _) => Check::Recorded,
        (None, None) => Check::Skipped,
        (None, Some(task)) if !is_terminal(&task.state) => Check::Waiting,
        (None, Some(task)) if task.turn.is_none() || task.state == "cancelled" => Check::Skipped,
        (None, Some(_)) => Check::Due,
    }
}

/// Why an entry cannot be adopted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unadopted {
    /// Somebody was faster, or it was done before.
    #[error("the arena is decided: `{0}` was adopted")]
    Decided(String),
    /// It takes no part.
    #[error("agent `{0}` takes no part in the arena")]
    NoEntry(String),
    /// Not everybody is done.
    #[error("`{agent}` is still {state}")]
    AtWork {
        /// Who.
        agent: String,
        /// The state of its task.
        state: String,
    },
    /// Not everything is judged.
    #[error("the check of `{0}` is still under way")]
    Checking(String),
    /// There is nothing to adopt any more.
    #[error("the session of `{0}` is gone")]
    Gone(String),
}

/// The entry of `agent`, if it may be adopted now.
///
/// # Errors
/// The arena is decided, somebody still works, or the entry is not there.
pub fn may_adopt<'a>(arena: &'a StoredArena, agent: &str) -> Result<&'a StoredEntry, Unadopted> {
    let entry = arena.entries.iter().find(|entry| entry.agent == agent);
    let entry = entry.ok_or_else(|| Unadopted::NoEntry(agent.to_owned()))?;
    if arena.state != "open" {
        let winner = arena.entries.iter().find(|entry| entry.won);
        return Err(Unadopted::Decided(winner.map_or_else(|| "another".to_owned(), |won| won.agent.clone())));
    }
    for entry in &arena.entries {
        match (&entry.task, check(entry.task.as_ref(), entry.check.as_ref())) {
            (Some(task), Check::Waiting) => {
                return Err(Unadopted::AtWork { agent: entry.agent.clone(), state: task.state.clone() });
            }
            (_, Check::Due) if arena.check.is_some() => {
                return Err(Unadopted::Checking(entry.agent.clone()));
            }
            _ => {}
        }
    }
    if entry.session.is_none() {
        return Err(Unadopted::Gone(agent.to_owned()));
    }
    Ok(entry)
}

#[cfg(test)]
#[path = "judge/tests.rs"]
mod tests;
