//! Ends what an earlier daemon, or a keeper that was killed, left behind: by the mark, and by exact
//! identity. Blocking; runs on a thread where that is allowed.
//!
//! **Invariant:** a process is signalled only if it bears our installation's mark (and the attempt,
//! where one is meant), or is in the ledger with the same number, start time and run of the
//! machine; and only through a descriptor opened before that was checked. Nothing else ever is.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use super::ledger::ProcessRow;
use super::mark::{self, Mark};
use super::procfs::{self, Stat};
use crate::sys;

/// Rounds in a row that must find nothing: a process may fork while it is being looked at.
const EMPTY_ROUNDS: u32 = 3;
/// How long a sweep goes on at most.
const SWEEP_TIME_MAX: Duration = Duration::from_secs(10);
/// How long one round waits for what it killed.
const ROUND_WAIT_MAX: Duration = Duration::from_millis(500);
/// How many processes one round ends; the next round takes more.
const PER_ROUND_MAX: usize = 512;

/// A process as a report names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// Its number.
    pub pid: u32,
    /// Its name.
    pub name: String,
    /// The start it belonged to, where its mark told.
    pub attempt: Option<u32>,
}

impl Found {
    /// Whether it belonged to the start of a row.
    pub(super) fn is_of(&self, row: &ProcessRow) -> bool {
        self.attempt == Some(row.attempt) || [row.pid, row.agent_pid].contains(&Some(self.pid))
    }
}

/// What a sweep did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// What was ended.
    pub ended: Vec<Found>,
    /// Our user's processes whose mark could not be read. They were left alone.
    pub unreadable: Vec<Found>,
    /// What is ours and could not be ended: not permitted, or hanging in the kernel.
    pub left: Vec<Found>,
}

/// What is to be ended.
#[derive(Debug, Clone, Default)]
pub(super) struct Prey {
    /// Of the mark.
    pub(super) installation: u32,
    /// Only this start; `None` is every one.
    pub(super) attempt: Option<u32>,
    /// Starts that are alive and well, and to be left alone.
    pub(super) spared: BTreeSet<u32>,
    /// Also what these rows name exactly: number to start time.
    pub(super) known: BTreeMap<i32, u64>,
    /// Also look for the mark in the environment: where the limit cannot carry it.
    pub(super) in_environment: bool,
}

impl Prey {
    /// Adds what the rows of the ledger name, if it is of this run of the machine.
    pub(super) fn know(&mut self, rows: &[ProcessRow], boot_id: &str) {
        for row in rows.iter().filter(|row| row.boot_id.as_deref() == Some(boot_id)) {
            if self.spared.contains(&row.attempt) {
                continue;
            }
            let keeper = row.pid.zip(row.start_time);
            let agent = row.agent_pid.zip(row.agent_start_time);
            self.known.extend(
                [keeper, agent].into_iter().flatten().map(|(pid, start)| (pid.cast_signed(), start)),
            );
        }
    }

    fn wants(&self, mark: Mark) -> bool {
        mark.installation == self.installation
            && self.attempt.is_none_or(|attempt| mark.attempt == attempt)
            && !self.spared.contains(&mark.attempt)
    }

    /// Looks at one process.
    fn look(&self, pid: i32) -> Look {
        let limit = mark::limit_of(pid);
        let unreadable = limit.is_err();
        let mark = match limit {
            Ok(limit) => Mark::from_limit(limit),
            Err(_) => None,
        };
        let mark = mark.or_else(|| self.in_environment.then(|| mark::in_environment(pid)).flatten());
        if mark.is_some_and(|mark| self.wants(mark)) || self.knows(pid) {
            Look::Ours(mark.map(|mark| mark.attempt))
        } else if unreadable {
            Look::Unreadable
        } else {
            Look::Foreign
        }
    }

    fn knows(&self, pid: i32) -> bool {
        let start_time = self.known.get(&pid);
        start_time.is_some() && start_time == Stat::of(pid).map(|stat| stat.start_time).as_ref()
    }
}

enum Look {
    Ours(Option<u32>),
    Unreadable,
    Foreign,
}

/// Ends everything that is meant, until several rounds in a row find nothing.
pub(super) fn sweep(prey: &Prey) -> SweepReport {
    let deadline = Instant::now() + SWEEP_TIME_MAX;
    let mut report = SweepReport::default();
    let mut denied = BTreeSet::new();
    let mut empty_rounds = 0;
    while empty_rounds < EMPTY_ROUNDS && Instant::now() < deadline {
        let round = hunt(prey, &mut denied);
        empty_rounds = if round.is_empty() { empty_rounds + 1 } else { 0 };
        await_ends(&round.iter().map(|(_, process)| process).collect::<Vec<_>>());
        report.ended.extend(round.into_iter().map(|(found, _)| found));
    }
    // One that is hard to kill was met in many rounds.
    report.ended.sort();
    report.ended.dedup();
    let (unreadable, left) = survivors(prey);
    report.ended.retain(|found| !left.contains(found));
    (report.unreadable, report.left) = (unreadable, left);
    report
}

/// One round: kills what it finds. Those that must not be signalled are remembered, not retried.
fn hunt(prey: &Prey, denied: &mut BTreeSet<i32>) -> Vec<(Found, OwnedFd)> {
    let me = std::process::id().cast_signed();
    let mut round = Vec::new();
    for pid in procfs::pids().filter(|pid| *pid != me) {
        if round.len() >= PER_ROUND_MAX {
            break;
        }
        if denied.contains(&pid) || !matches!(prey.look(pid), Look::Ours(_)) {
            continue;
        }
        // Looked at again behind the descriptor: the number may have changed hands in between.
        let Ok(process) = sys::pidfd_open(pid) else { continue };
        let Look::Ours(attempt) = prey.look(pid) else { continue };
        if has_ended(&process) {
            continue;
        }
        match sys::pidfd_kill(process.as_fd(), Signal::SIGKILL) {
            Ok(()) => round.push((found(pid, attempt), process)),
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                denied.insert(pid);
            }
            // It has just ended.
            Err(_) => {}
        }
    }
    round
}

/// A zombie counts as dead: its descriptor is readable.
fn has_ended(process: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

fn await_ends(processes: &[&OwnedFd]) {
    let deadline = Instant::now() + ROUND_WAIT_MAX;
    for process in processes {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
        poll(&mut [PollFd::new(process.as_fd(), PollFlags::POLLIN)], timeout).ok();
    }
}

fn survivors(prey: &Prey) -> (Vec<Found>, Vec<Found>) {
    let me = std::process::id().cast_signed();
    let user = nix::unistd::getuid().as_raw();
    let (mut unreadable, mut left) = (Vec::new(), Vec::new());
    for pid in procfs::pids().filter(|pid| *pid != me) {
        match prey.look(pid) {
            Look::Ours(attempt) if sys::pidfd_open(pid).is_ok_and(|process| !has_ended(&process)) => {
                left.push(found(pid, attempt));
            }
            // Those of other users are none of ours; a dead one is nobody's.
            Look::Unreadable if procfs::user_of(pid) == Some(user) => unreadable.push(found(pid, None)),
            _ => {}
        }
    }
    (unreadable, left)
}

fn found(pid: i32, attempt: Option<u32>) -> Found {
    let name = Stat::of(pid).map_or_else(String::new, |stat| stat.name);
    Found { pid: pid.cast_unsigned(), name, attempt }
}
