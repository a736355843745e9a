//! Decides what the probes of one server process mean; performs nothing.
//!
//! ```text
//! healthy ──failure──▶ suspect ──one class has too many──▶ idle? restarting : stale_busy
//!    ▲                    │                                       │
//!    └──────ProbeOk───────┴───────────────ProbeOk─────────────────┤ turn over ▶ restarting
//!    │                                                            │ silent and ill for stale_grace
//!    └── RestartDone ◀── restarting ◀─────────────────────────────┘
//!                            └── RestartFailed ▶ gone (the restart budget has the word)
//! ```
//! **Invariant:** a busy process is never asked to go before it was ill and silent for
//! `stale_grace`, and what is asked to go without interrupting was idle when that was decided.
//!
//! A sign of life of a running turn outweighs the failed probes before it, and no others: it begins
//! the grace anew, and if the turn ends with nothing worse since, the count begins anew too. So an
//! agent that streams and is deaf to probes is judged, once idle, by probes made while it is idle.

use tokio::time::Instant;

use crate::event::HealthState;
use crate::ports::{FailureClass, HealthRules};
use crate::words::duration;

/// What was seen of a server process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// It answered a probe.
    ProbeOk,
    /// It did not.
    ProbeFailed {
        /// What kind of failure.
        class: FailureClass,
        /// When the probe was sent. A failure belongs to the interval in which it was asked for.
        asked: Instant,
    },
    /// It said something in a running turn.
    Progress,
    /// A turn began or ended.
    BusyChanged(bool),
    /// It is gone.
    Exited {
        /// It was ended to be started again.
        again: bool,
    },
    /// Its successor is up.
    RestartDone,
    /// Its successor did not come up: the restart budget has the word.
    RestartFailed,
}

/// The process must be started again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restart {
    /// Why, in words.
    pub why: String,
    /// Although a turn is in flight.
    pub interrupt: bool,
}

/// Where a process stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Healthy,
    Suspect,
    StaleBusy {
        /// When the grace began.
        silent_since: Instant,
    },
    Restarting {
        /// What was asked of its owner.
        interrupt: bool,
    },
    Gone,
}

/// Failures in a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Failures {
    timed_out: u32,
    refused: u32,
    /// When the last one that counted was asked for.
    counted: Option<Instant>,
}

/// What is known of one server process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    state: State,
    failures: Failures,
    busy: bool,
    /// It said something after the last failed probe.
    heard: bool,
    since: Instant,
}

/// What follows from something that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a decision that is not applied is lost"]
pub struct Decision {
    /// What is known now.
    pub next: Machine,
    /// What must be done.
    pub restart: Option<Restart>,
}

impl Failures {
    /// Counts one, unless one was counted in the same interval.
    fn count(&mut self, class: FailureClass, asked: Instant, rules: &HealthRules) {
        if self.counted.is_some_and(|last| asked.saturating_duration_since(last) < rules.interval) {
            return;
        }
        self.counted = Some(asked);
        let of_class = match class {
            FailureClass::TimedOut => &mut self.timed_out,
            FailureClass::Refused => &mut self.refused,
        };
        *of_class = of_class.saturating_add(1);
    }

    /// Why this is too much, if it is. A limit of zero is read as one.
    fn too_many(&self, rules: &HealthRules) -> Option<String> {
        if self.refused >= rules.refused_max.max(1) {
            Some(format!("{} probes in a row were refused", self.refused))
        } else if self.timed_out >= rules.failures_max.max(1) {
            Some(format!("{} probes in a row were not answered", self.timed_out))
        } else {
            None
        }
    }
}

impl Machine {
    /// A process that is up.
    pub fn new(busy: bool, now: Instant) -> Self {
        Self { state: State::Healthy, failures: Failures::default(), busy, heard: false, since: now }
    }

    /// How it is; `None` if there is no process.
    pub fn state(&self) -> Option<HealthState> {
        match self.state {
            State::Healthy => Some(HealthState::Healthy),
            State::Suspect => Some(HealthState::Suspect),
            State::StaleBusy { .. } => Some(HealthState::StaleBusy),
            State::Restarting { .. } => Some(HealthState::Restarting),
            State::Gone => None,
        }
    }

    /// Since when.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Failures in a row, of every class.
    pub fn failures(&self) -> u32 {
        self.failures.timed_out.saturating_add(self.failures.refused)
    }

    /// Takes in what was seen, in the order in which it happened.
    pub fn observe(&self, rules: &HealthRules, seen: Seen, now: Instant) -> Decision {
        match (self.state, seen) {
            // A new process: nothing that was seen of the old one is held against it.
            (_, Seen::RestartDone) => Decision::go(Self::new(false, now)),
            (_, Seen::RestartFailed) => self.moved(State::Gone, now),
            (_, Seen::Exited { again: true }) => self.moved(State::Restarting { interrupt: false }, now),
            (_, Seen::Exited { again: false }) => self.moved(State::Gone, now),
            // Late news of what is no more.
            (State::Gone, _) => Decision::go(*self),
            (_, Seen::BusyChanged(busy)) => self.busy_changed(rules, busy, now),
            (State::Restarting { .. }, Seen::ProbeFailed { .. }) => self.ask_again(rules, now),
            // Its end was decided, and what it says on its way out changes nothing.
            (State::Restarting { .. }, Seen::ProbeOk | Seen::Progress) => Decision::go(*self),
            (_, Seen::ProbeOk) => self.well(now),
            (State::StaleBusy { .. }, Seen::Progress) => {
                Decision::go(Self { state: State::StaleBusy { silent_since: now }, heard: true, ..*self })
            }
            (_, Seen::Progress) => Decision::go(Self { heard: true, ..*self }),
            (_, Seen::ProbeFailed { class, asked }) => self.failed(rules, class, asked, now),
        }
    }

    fn failed(&self, rules: &HealthRules, class: FailureClass, asked: Instant, now: Instant) -> Decision {
        let mut next = Self { heard: false, ..*self };
        next.failures.count(class, asked, rules);
        let Some(why) = next.failures.too_many(rules) else { return next.moved(State::Suspect, now) };
        match (self.state, self.busy) {
            (_, false) => next.restart(why, false, now),
            (State::StaleBusy { silent_since }, true) => {
                let silence = now.saturating_duration_since(silent_since);
                if silence < rules.stale_grace {
                    return Decision::go(next);
                }
                let why = format!("{why}, and its turn was silent for {}", duration(silence));
                next.restart(why, true, now)
            }
            (_, true) => next.moved(State::StaleBusy { silent_since: now }, now),
        }
    }

    fn busy_changed(&self, rules: &HealthRules, busy: bool, now: Instant) -> Decision {
        let next = Self { busy, ..*self };
        match (self.state, busy) {
            (State::StaleBusy { .. }, false) if self.heard => next.well(now),
            (State::StaleBusy { .. }, false) => {
                let why = self.failures.too_many(rules).unwrap_or_else(|| "it is unhealthy".to_owned());
                next.restart(format!("{why}, and its turn is over"), false, now)
            }
            // Its owner found it busy by then, and refused: judged again.
            (State::Restarting { interrupt: false }, true) => {
                next.moved(State::StaleBusy { silent_since: now }, now)
            }
            _ => Decision::go(next),
        }
    }

    /// The order may have been lost with an owner that failed. Asking twice is asking once.
    fn ask_again(&self, rules: &HealthRules, now: Instant) -> Decision {
        let State::Restarting { interrupt } = self.state else { return Decision::go(*self) };
        let why = self.failures.too_many(rules).unwrap_or_else(|| "it is unhealthy".to_owned());
        self.restart(why, interrupt, now)
    }

    fn well(&self, now: Instant) -> Decision {
        let next = Self { failures: Failures::default(), heard: false, ..*self };
        next.moved(State::Healthy, now)
    }

    fn restart(&self, why: String, interrupt: bool, now: Instant) -> Decision {
        let Decision { next, .. } = self.moved(State::Restarting { interrupt }, now);
        Decision { next, restart: Some(Restart { why, interrupt }) }
    }

    fn moved(&self, to: State, now: Instant) -> Decision {
        let next = Self { state: to, ..*self };
        Decision::go(Self { since: now, ..next }.since_if_same(self))
    }

    /// Who stands where it stood has stood there since then.
    fn since_if_same(self, before: &Self) -> Self {
        let since = if self.state() == before.state() { before.since } else { self.since };
        Self { since, ..self }
    }
}

impl Decision {
    fn go(next: Machine) -> Self {
        Self { next, restart: None }
    }
}

#[cfg(test)]
mod tests;
