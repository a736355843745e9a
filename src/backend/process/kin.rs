//! Whose a process is: an agent's, or none that we know of.
//!
//! Two facts tell. What a process stands *below* is known by number and start time: a keeper takes
//! in every orphan of its tree, so whatever belongs to an agent has the keeper above it for as long
//! as that lives, and no process can be moved there or away from there by another. What a process
//! *bears*, the mark, speaks where a keeper was killed; others of the same user can lower it.
//!
//! **Invariant:** nobody is a stranger unless both facts say so, only a keeper says *which* agent's a
//! process is, and our own limit is read once, at the start: it can be lowered later by anybody
//! who runs as us.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::mark::{self, Mark};
use super::procfs::Stat;
use crate::sync::lock;

/// Parents that are followed at most; nobody but who wants to hide stands lower.
const GENERATIONS_MAX: usize = 4096;
/// How often a line of parents that changes under the look is looked at.
const LOOKS_MAX: usize = 8;

/// Whose a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kinship {
    /// None of an agent's.
    Stranger,
    /// An agent's.
    Agent {
        /// The start that it belongs to, where a keeper of ours stands above it.
        attempt: Option<u32>,
    },
    /// It cannot be told: the process is gone, or not ours to read.
    Unclear,
}

/// What a process bears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bearing {
    limit: u64,
    environment: Option<Mark>,
}

/// What a process stands below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Above {
    /// The keeper of this start.
    Keeper(Start),
    /// No keeper of ours.
    Nobody,
    /// The line of parents changed whenever it was looked at, or has no end.
    Unclear,
}

/// A keeper that lives.
#[derive(Debug, Clone, Copy)]
struct Held {
    start: Start,
    start_time: u64,
}

/// A start, and for whom it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Start {
    /// Its number.
    pub(super) attempt: u32,
    /// It runs a command of the person's own, as a hook is, and no agent.
    pub(super) is_persons: bool,
}

/// Tells whose processes are. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Kin(Arc<Known>);

#[derive(Debug)]
struct Known {
    own: Bearing,
    keepers: Mutex<BTreeMap<i32, Held>>,
    is_marked: AtomicBool,
}

impl Kin {
    /// Remembers what this process bears. Call it before an agent can run.
    ///
    /// # Errors
    /// If the own limit cannot be read.
    pub fn remember() -> io::Result<Self> {
        // Our own is asked of the library: a process that is not dumpable cannot open its own file.
        let environment = std::env::var(mark::ENVIRONMENT).ok().and_then(|text| Mark::from_text(&text));
        let own = Bearing { limit: mark::limit_of(0)?, environment };
        Ok(Self(Arc::new(Known { own, keepers: Mutex::default(), is_marked: AtomicBool::new(true) })))
    }

    /// Whose a process is.
    pub fn of(&self, pid: u32) -> Kinship {
        let pid = pid.cast_signed();
        judge(self.0.own, self.above(pid), bearing(pid))
    }

    /// `strong` where every process is marked, else `weak`.
    pub fn containment(&self) -> &'static str {
        if self.is_marked() { "strong" } else { "weak" }
    }

    pub(super) fn is_marked(&self) -> bool {
        self.0.is_marked.load(Ordering::Relaxed)
    }

    /// Notes that the limit does not carry the mark here, or no more.
    pub(super) fn is_unmarked(&self) {
        if self.0.is_marked.swap(false, Ordering::Relaxed) {
            tracing::warn!("processes cannot be marked here, containment is weak");
        }
    }

    /// Notes a keeper.
    pub(super) fn hold(&self, keeper: u32, start_time: u64, start: Start) {
        lock(&self.0.keepers).insert(keeper.cast_signed(), Held { start, start_time });
    }

    /// Notes that nothing is left of a start.
    pub(super) fn let_go(&self, attempt: u32) {
        lock(&self.0.keepers).retain(|_, held| held.start.attempt != attempt);
    }

    fn above(&self, pid: i32) -> Above {
        let keeper = |stat: &Stat| {
            let keepers = lock(&self.0.keepers);
            let held = keepers.get(&stat.pid).filter(|held| held.start_time == stat.start_time)?;
            Some(held.start)
        };
        (0..LOOKS_MAX).find_map(|_| climb(pid, Stat::of, keeper)).unwrap_or(Above::Unclear)
    }
}

/// What a process bears; `None` if it is gone, or runs as another user.
fn bearing(pid: i32) -> Option<Bearing> {
    let limit = mark::limit_of(pid).ok()?;
    Some(Bearing { limit, environment: mark::in_environment(pid) })
}

fn judge(own: Bearing, above: Above, seen: Option<Bearing>) -> Kinship {
    match (above, seen) {
        // What it bears says which start it is of, and not that it is an agent's.
        (Above::Keeper(Start { is_persons: true, .. }), _) => Kinship::Stranger,
        (Above::Keeper(Start { attempt, .. }), _) => Kinship::Agent { attempt: Some(attempt) },
        // Its keeper was killed, another daemon's agent it is, or somebody lowered its limit.
        (Above::Nobody | Above::Unclear, Some(seen)) if seen != own => Kinship::Agent { attempt: None },
        (Above::Nobody, Some(_)) => Kinship::Stranger,
        (Above::Nobody, None) | (Above::Unclear, _) => Kinship::Unclear,
    }
}

/// Follows the parents of a process to the first keeper. `None` if the line changed meanwhile.
fn climb(
    pid: i32,
    look: impl Fn(i32) -> Option<Stat>,
    keeper: impl Fn(&Stat) -> Option<Start>,
) -> Option<Above> {
    let mut stat = look(pid)?;
    for _ in 0..GENERATIONS_MAX {
        if let Some(start) = keeper(&stat) {
            return Some(Above::Keeper(start));
        }
        if stat.parent <= 0 {
            return Some(Above::Nobody);
        }
        let parent = look(stat.parent);
        // A parent that ends hands its children on, and its number too: it was the one that was
        // meant only if it still is the parent.
        let again = look(stat.pid)?;
        if (again.parent, again.start_time) != (stat.parent, stat.start_time) {
            return None;
        }
        match parent {
            Some(parent) => stat = parent,
            // It lives and is not shown to us: another user's, and none of a keeper's.
            None => return Some(Above::Nobody),
        }
    }
    Some(Above::Unclear)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const PLAIN: Bearing = Bearing { limit: u64::MAX, environment: None };

    fn of(attempt: u32) -> Start {
        Start { attempt, is_persons: false }
    }

    fn marked(attempt: u32) -> Bearing {
        let mark = Mark { installation: 7, attempt, depth: 0 };
        Bearing { limit: mark.to_limit(), environment: None }
    }

    #[test]
    fn who_stands_below_a_keeper_is_its_agent_s_whatever_anybody_bears() {
        let agent = |attempt| Kinship::Agent { attempt };
        let in_environment = Bearing { environment: Mark::from_limit(marked(3).limit), ..PLAIN };
        let cases = [
            ("the person", Above::Nobody, Some(PLAIN), Kinship::Stranger),
            ("an agent", Above::Keeper(of(3)), Some(marked(3)), agent(Some(3))),
            ("an agent that freed itself of its mark", Above::Keeper(of(3)), Some(PLAIN), agent(Some(3))),
            ("an agent that bears another's mark", Above::Keeper(of(3)), Some(marked(2)), agent(Some(3))),
            ("an agent that ended", Above::Keeper(of(3)), None, agent(Some(3))),
            (
                "a hook",
                Above::Keeper(Start { is_persons: true, ..of(3) }),
                Some(marked(3)),
                Kinship::Stranger,
            ),
            ("what a killed keeper left", Above::Nobody, Some(marked(3)), agent(None)),
            ("the same with a lower limit", Above::Nobody, Some(Bearing { limit: 5, ..PLAIN }), agent(None)),
            ("the same by its environment", Above::Nobody, Some(in_environment), agent(None)),
            ("a line that changes, marked", Above::Unclear, Some(marked(3)), agent(None)),
            ("a line that changes", Above::Unclear, Some(PLAIN), Kinship::Unclear),
            ("another user's", Above::Nobody, None, Kinship::Unclear),
        ];
        for (name, above, seen, expected) in cases {
            assert_eq!(judge(PLAIN, above, seen), expected, "{name}");
        }
    }

    fn stat(pid: i32, parent: i32, start_time: u64) -> Stat {
        Stat { pid, name: String::new(), state: 'S', parent, start_time, rss_pages: 0 }
    }

    #[test]
    fn a_keeper_is_found_by_number_and_start_time_however_far_above() {
        let look = |pid: i32| match pid {
            1 => Some(stat(1, 0, 1)),
            10 => Some(stat(10, 1, 50)),
            11.. => Some(stat(pid, pid - 1, 60)),
            _ => None,
        };
        let keeper = |stat: &Stat| (stat.pid == 10 && stat.start_time == 50).then_some(of(3));
        assert_eq!(climb(400, look, keeper), Some(Above::Keeper(of(3))));
        assert_eq!(climb(10, look, keeper), Some(Above::Keeper(of(3))), "the keeper itself");
        assert_eq!(climb(1, look, keeper), Some(Above::Nobody));
        assert_eq!(climb(7, look, keeper), None, "no such process");
        let another = |stat: &Stat| (stat.pid == 10 && stat.start_time == 51).then_some(of(3));
        assert_eq!(climb(400, look, another), Some(Above::Nobody), "the number was given again");
        assert_eq!(climb(100_000, look, keeper), Some(Above::Unclear), "without end");
    }

    #[test]
    fn a_parent_that_ended_under_the_look_is_not_believed() {
        // 20's parent 15 ends while it is looked at; its number goes to a process of the person's.
        let n_looks = Cell::new(0);
        let look = |pid: i32| match pid {
            20 => {
                n_looks.set(n_looks.get() + 1);
                Some(stat(20, if n_looks.get() == 1 { 15 } else { 10 }, 60))
            }
            15 => Some(stat(15, 1, 60)),
            _ => Some(stat(pid, 0, 50)),
        };
        let keeper = |stat: &Stat| (stat.pid == 10).then_some(of(3));
        assert_eq!(climb(20, look, keeper), None);
        assert_eq!(climb(20, look, keeper), Some(Above::Keeper(of(3))), "looked at again");
    }

    #[test]
    fn this_process_is_not_its_own_agent() {
        let kin = Kin::remember().expect("is readable");
        assert_eq!(kin.of(std::process::id()), Kinship::Stranger);
        assert_eq!(kin.of(u32::MAX >> 1), Kinship::Unclear);
    }
}
