//! Decides when a backend that failed may be started again: backoff with full jitter, and a circuit
//! that opens when failures come too often, or at once where another start cannot help.
//!
//! Pure: the time and the dice are arguments.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::settings::RestartRules;

/// What kind of failure it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The backend was up, and ended by itself or had to be ended.
    Crash,
    /// It did not come up, for a reason that may pass.
    StartFailure,
    /// The machine had no room for it just now: descriptors, processes, memory.
    NoRoom,
    /// It cannot come up with this configuration: not found, not executable, not logged in, a
    /// protocol that hob does not speak, or an exit with EX_CONFIG.
    Configuration,
    /// The place that it works in is not there, or is not what it was.
    Place,
}

/// Whether a start may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Yes.
    Open,
    /// Not before the wait after the last failure is over.
    Backoff {
        /// When it is.
        until: Instant,
    },
    /// Not before the cool-down is over, or a person says so.
    Circuit {
        /// When it is.
        until: Instant,
    },
}

/// The failures of one agent session, as far as they matter for its next start.
#[derive(Debug, Clone, Default)]
pub struct Failures {
    recent: VecDeque<Instant>,
    /// Starts that failed since one came through.
    in_row: usize,
    /// No start before then.
    closed: Option<Gate>,
    /// How often the circuit opened since a prompt was answered.
    openings: usize,
    /// It was opened by something that no start can help.
    for_good: bool,
    crashes: u64,
    start_failures: u64,
}

/// How often the circuit of an agent that was well before opens until what waits for it is failed.
const OPENINGS_MAX: usize = 2;

impl Failures {
    /// Takes note of a failure, and decides what follows. `roll` is a number from 0 to 1.
    pub fn fail(&mut self, cause: Cause, rules: &RestartRules, now: Instant, roll: f64) -> Gate {
        if self.gate(now) == Gate::Open && self.is_circuit() {
            // The cool-down is over: what was before it is forgotten.
            self.recent.clear();
            self.in_row = 0;
        }
        match cause {
            Cause::Crash => self.crashes += 1,
            // No fault of the agent's, and over the moment that somebody brings it back.
            Cause::Place => {
                self.start_failures += 1;
                return self.gate(now);
            }
            Cause::StartFailure | Cause::Configuration | Cause::NoRoom => {
                self.start_failures += 1;
                self.in_row += 1;
            }
        }
        self.recent.push_back(now);
        while self.recent.front().is_some_and(|at| now.duration_since(*at) >= rules.period) {
            self.recent.pop_front();
        }
        // Starts that fail slowly would never fill the window: what counts then is their row.
        let n_failures = self.recent.len().max(self.in_row);
        // What is no fault of the agent's is waited out.
        let is_spent = n_failures > rules.max && cause != Cause::NoRoom;
        let gate = if cause == Cause::Configuration || is_spent {
            Gate::Circuit { until: now + rules.cooldown }
        } else {
            Gate::Backoff { until: now + ceiling(rules, n_failures).mul_f64(roll.clamp(0.0, 1.0)) }
        };
        self.closed = Some(gate);
        self.for_good = cause == Cause::Configuration;
        self.openings += usize::from(matches!(gate, Gate::Circuit { .. }));
        gate
    }

    /// Whether what waits for a start waits in vain, as far as can be known: another start cannot help,
    /// or none ever came through, or it was tried long enough.
    pub fn gives_up(&self, now: Instant, ever_started: bool) -> bool {
        let is_circuit = matches!(self.gate(now), Gate::Circuit { .. });
        is_circuit && (self.for_good || !ever_started || self.openings >= OPENINGS_MAX)
    }

    /// A prompt was answered.
    pub fn worked(&mut self) {
        self.openings = 0;
    }

    /// Whether a start may be made at `now`.
    pub fn gate(&self, now: Instant) -> Gate {
        match self.closed {
            Some(gate @ (Gate::Backoff { until } | Gate::Circuit { until })) if now < until => gate,
            _ => Gate::Open,
        }
    }

    /// A start came through.
    pub fn started(&mut self) {
        self.in_row = 0;
    }

    /// A person wants it started, or what it is started with has changed: nothing counts any more
    /// but the totals.
    pub fn forgive(&mut self) {
        *self = Self { crashes: self.crashes, start_failures: self.start_failures, ..Self::default() };
    }

    /// Crashes and failed starts, ever.
    pub fn totals(&self) -> (u64, u64) {
        (self.crashes, self.start_failures)
    }

    fn is_circuit(&self) -> bool {
        matches!(self.closed, Some(Gate::Circuit { .. }))
    }
}

/// The longest wait after the `n`-th failure: doubling, up to the limit.
fn ceiling(rules: &RestartRules, n: usize) -> Duration {
    let doublings = u32::try_from(n.saturating_sub(1)).unwrap_or(u32::MAX);
    rules.backoff_min.saturating_mul(2u32.saturating_pow(doublings)).min(rules.backoff_max)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_waits_in_vain_is_given_up() {
        use Cause::{Configuration, Crash, StartFailure};
        type Rounds = &'static [(Cause, usize)];
        const OFTEN: usize = RULES.max + 1;
        // Whether it ever started, what happened, and whether what waits is given up then.
        let cases: [(bool, Rounds, bool); 6] = [
            (false, &[(StartFailure, RULES.max)], false),
            (false, &[(StartFailure, OFTEN)], true),
            (true, &[(StartFailure, OFTEN)], false),
            (true, &[(Crash, OFTEN)], false),
            (true, &[(StartFailure, OFTEN), (StartFailure, OFTEN)], true),
            (true, &[(Configuration, 1)], true),
        ];
        for (ever_started, rounds, expected) in cases {
            let (mut failures, mut now) = (Failures::default(), Instant::now());
            for (n, (cause, times)) in rounds.iter().enumerate() {
                now += if n > 0 { RULES.cooldown + Duration::from_secs(1) } else { Duration::ZERO };
                for _ in 0..*times {
                    failures.fail(*cause, &RULES, now, 1.0);
                }
            }
            assert_eq!(failures.gives_up(now, ever_started), expected, "{ever_started} {rounds:?}");
            assert!(!failures.gives_up(now + RULES.cooldown + Duration::from_secs(1), ever_started));
            failures.worked();
            let is_second = rounds.len() > 1;
            assert_eq!(failures.gives_up(now, true), expected && !is_second && rounds[0].0 == Configuration);
        }
    }

    #[test]
    fn a_place_that_is_gone_closes_nothing_and_forgives_nothing() {
        let (mut failures, now) = (Failures::default(), Instant::now());
        for _ in 0..20 {
            assert_eq!(failures.fail(Cause::Place, &RULES, now, 1.0), Gate::Open);
        }
        assert_eq!(failures.totals(), (0, 20));
        let closed = failures.fail(Cause::Configuration, &RULES, now, 1.0);
        assert_eq!(failures.fail(Cause::Place, &RULES, now, 1.0), closed);
    }

    const RULES: RestartRules = RestartRules {
        max: 3,
        period: Duration::from_secs(60),
        backoff_min: Duration::from_millis(250),
        backoff_max: Duration::from_secs(30),
        cooldown: Duration::from_secs(300),
    };

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    /// When the `n`-th of these failures lets a start be made, and whether the circuit is open.
    fn after(failures: &[(u64, Cause)], roll: f64) -> (Duration, bool) {
        let start = Instant::now();
        let mut all = Failures::default();
        let mut last = Gate::Open;
        let mut at = start;
        for (step, cause) in failures {
            at += secs(*step);
            last = all.fail(*cause, &RULES, at, roll);
        }
        match last {
            Gate::Open => (Duration::ZERO, false),
            Gate::Backoff { until } => (until - at, false),
            Gate::Circuit { until } => (until - at, true),
        }
    }

    #[test]
    fn the_table() {
        use Cause::{Configuration, Crash, NoRoom, StartFailure};
        let ms = Duration::from_millis;
        type Case = (&'static str, &'static [(u64, Cause)], f64, (Duration, bool));
        let cases: [Case; 10] = [
            ("a first crash waits the least", &[(0, Crash)], 1.0, (ms(250), false)),
            ("full jitter may wait nothing", &[(0, Crash)], 0.0, (ms(0), false)),
            ("the wait doubles", &[(0, Crash), (1, Crash), (1, Crash)], 1.0, (ms(1000), false)),
            ("what is older than the period is forgotten", &[(0, Crash), (60, Crash)], 1.0, (ms(250), false)),
            ("a spent budget opens the circuit", &[(0, Crash); 4], 1.0, (secs(300), true)),
            (
                "kinds count together",
                &[(0, Crash), (1, StartFailure), (1, Crash), (1, Crash)],
                1.0,
                (secs(300), true),
            ),
            ("slow failures count as a row", &[(61, StartFailure); 4], 1.0, (secs(300), true)),
            ("slow crashes do not", &[(61, Crash); 40], 1.0, (ms(250), false)),
            ("a machine without room opens none", &[(0, NoRoom); 20], 1.0, (secs(30), false)),
            ("what cannot be helped opens it at once", &[(0, Configuration)], 0.0, (secs(300), true)),
        ];
        for (name, failures, roll, expected) in cases {
            assert_eq!(after(failures, roll), expected, "{name}");
        }
    }

    #[test]
    fn a_start_that_came_through_ends_the_row() {
        let mut failures = Failures::default();
        let mut at = Instant::now();
        for _ in 0..20 {
            at += secs(61);
            let gate = failures.fail(Cause::StartFailure, &RULES, at, 1.0);
            assert!(matches!(gate, Gate::Backoff { .. }));
            failures.started();
        }
    }

    #[test]
    fn after_the_cool_down_the_budget_is_whole_again() {
        let mut failures = Failures::default();
        let start = Instant::now();
        for _ in 0..4 {
            failures.fail(Cause::StartFailure, &RULES, start, 1.0);
        }
        assert_eq!(failures.gate(start + secs(299)), Gate::Circuit { until: start + secs(300) });
        assert_eq!(failures.gate(start + secs(300)), Gate::Open);
        let again = failures.fail(Cause::StartFailure, &RULES, start + secs(301), 1.0);
        assert_eq!(again, Gate::Backoff { until: start + secs(301) + RULES.backoff_min });
    }

    #[test]
    fn a_person_closes_the_circuit_and_the_totals_stay() {
        let mut failures = Failures::default();
        let now = Instant::now();
        failures.fail(Cause::Configuration, &RULES, now, 1.0);
        failures.forgive();
        assert_eq!((failures.gate(now), failures.totals()), (Gate::Open, (0, 1)));
    }

    proptest! {
        #[test]
        fn starts_within_a_period_stay_within_the_budget(
            steps in prop::collection::vec((0u64..20, any::<bool>(), 0.0f64..1.0), 1..100),
            max in 1usize..6,
        ) {
            let rules = RestartRules { max, ..RULES };
            let mut failures = Failures::default();
            let mut at = Instant::now();
            let mut starts = Vec::new();
            for (step, crash, roll) in steps {
                at += secs(step);
                if failures.gate(at) != Gate::Open {
                    continue;
                }
                starts.push(at);
                if crash {
                    failures.started();
                }
                let cause = if crash { Cause::Crash } else { Cause::StartFailure };
                failures.fail(cause, &rules, at, roll);
            }
            for from in &starts {
                let n = starts.iter().filter(|t| **t >= *from && t.duration_since(*from) < rules.period).count();
                // The first start is nobody's restart.
                prop_assert!(n <= max + 1, "{n} starts in one period");
            }
        }

        #[test]
        fn no_wait_is_longer_than_its_limit(n in 1usize..200, roll in 0.0f64..1.0) {
            let rules = RestartRules { max: 1000, ..RULES };
            let mut failures = Failures::default();
            let now = Instant::now();
            for _ in 0..n {
                if let Gate::Backoff { until } = failures.fail(Cause::Crash, &rules, now, roll) {
                    prop_assert!(until - now <= rules.backoff_max);
                }
            }
        }
    }
}
