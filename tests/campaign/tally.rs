//! The figures of a campaign, over all of its rounds.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::check::Violation;

/// What was done, and what came of it.
#[derive(Debug, Default)]
pub struct Tally {
    /// Kills at each point: the daemon alone, and with its keepers.
    pub kills: BTreeMap<&'static str, (u64, u64)>,
    /// Tasks that were made.
    pub n_tasks: usize,
    /// Events in the journals.
    pub n_events: usize,
    /// From the launch of a daemon to its first answer.
    pub recoveries: Vec<Duration>,
    /// From the death of a daemon whose keepers live to the end of the last process of its agents.
    pub endings: Vec<Duration>,
    /// Broken promises, each with the round in which it was.
    pub violations: Vec<(String, Violation)>,
}

impl Tally {
    /// Counts a kill.
    pub fn killed(&mut self, at: &'static str, keepers: bool) {
        let (alone, with) = self.kills.entry(at).or_default();
        *(if keepers { with } else { alone }) += 1;
    }

    /// How often the daemon was killed there: alone, and with its keepers.
    pub fn kills_at(&self, at: &str) -> (u64, u64) {
        self.kills.get(at).copied().unwrap_or_default()
    }

    /// Adds the figures of another.
    pub fn add(&mut self, other: Self) {
        for (at, (alone, with)) in other.kills {
            let sum = self.kills.entry(at).or_default();
            *sum = (sum.0 + alone, sum.1 + with);
        }
        self.n_tasks += other.n_tasks;
        self.n_events += other.n_events;
        self.recoveries.extend(other.recoveries);
        self.endings.extend(other.endings);
        self.violations.extend(other.violations);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (alone, with) = self.kills.values().fold((0, 0), |sum, n| (sum.0 + n.0, sum.1 + n.1));
        write!(
            f,
            "{} kills ({alone} of the daemon, {with} with its keepers), {} tasks, {} events, {} violations; \
             from launch to first answer: {}; from death to the last process gone: {}",
            alone + with,
            self.n_tasks,
            self.n_events,
            self.violations.len(),
            spread(&self.recoveries),
            spread(&self.endings),
        )
    }
}

fn spread(times: &[Duration]) -> String {
    let mut times = times.to_vec();
    times.sort();
    let at = |index: usize| times.get(index).copied().unwrap_or_default().as_millis();
    let last = times.len().saturating_sub(1);
    format!("p50 {} ms, max {} ms of {}", at(times.len() / 2), at(last), times.len())
}
