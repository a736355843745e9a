//! When a keeper ends its tree: the phases, as plain data. Signals nobody.
//!
//! ```text
//! running ── any cause ──▶ terminating{until} ── until, or "now" ──▶ killing ── empty ──▶ (exit)
//! ```
//! **Invariant:** nothing leads back, and a later cause can only bring the kill nearer.

use std::time::{Duration, Instant};

/// Why the tree has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// The daemon ordered it, or the keeper was told by TERM.
    Ordered,
    /// The daemon ordered it without any grace.
    OrderedNow,
    /// The daemon is gone, or has let go of the control pipe.
    DaemonGone,
    /// The agent ended by itself; nothing of it may outlive it.
    AgentExited,
}

/// From TERM to KILL.
#[derive(Debug, Clone, Copy)]
pub(super) struct Graces {
    /// When it was ordered.
    pub(super) stop: Duration,
    /// When the daemon is gone.
    pub(super) orphan: Duration,
}

/// Where a keeper with an agent stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The agent may go on.
    Running,
    /// TERM was sent.
    Terminating {
        /// When KILL follows.
        until: Instant,
    },
    /// Whatever lives is killed, until nothing does.
    Killing {
        /// When that began.
        since: Instant,
    },
}

impl Phase {
    /// The phase after a cause.
    #[must_use = "a phase that is not entered is lost"]
    pub(super) fn after(self, cause: Cause, graces: Graces, now: Instant) -> Self {
        let grace = match cause {
            Cause::Ordered | Cause::AgentExited => graces.stop,
            Cause::DaemonGone => graces.orphan.min(graces.stop),
            Cause::OrderedNow => Duration::ZERO,
        };
        let due = now + grace;
        match self {
            Self::Running => Self::Terminating { until: due },
            Self::Terminating { until } => Self::Terminating { until: until.min(due) },
            Self::Killing { .. } => self,
        }
        .at(now)
    }

    /// The phase at a later time.
    #[must_use = "a phase that is not entered is lost"]
    pub(super) fn at(self, now: Instant) -> Self {
        match self {
            Self::Terminating { until } if until <= now => Self::Killing { since: now },
            _ => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GRACES: Graces = Graces { stop: Duration::from_secs(5), orphan: Duration::from_millis(300) };

    fn causes() -> impl Strategy<Value = Cause> {
        prop_oneof![
            Just(Cause::Ordered),
            Just(Cause::OrderedNow),
            Just(Cause::DaemonGone),
            Just(Cause::AgentExited)
        ]
    }

    proptest! {
        #[test]
        fn no_history_puts_the_kill_off(history in proptest::collection::vec((causes(), 0u64..2000), 1..20)) {
            let start = Instant::now();
            let mut now = start;
            let mut phase = Phase::Running;
            let mut due: Option<Instant> = None;
            for (cause, millis) in history {
                now += Duration::from_millis(millis);
                phase = phase.at(now).after(cause, GRACES, now);
                match phase {
                    Phase::Running => prop_assert!(false, "a cause was ignored"),
                    Phase::Terminating { until } => {
                        prop_assert!(due.is_none_or(|before| until <= before));
                        due = Some(until);
                    }
                    Phase::Killing { .. } => due = Some(start),
                }
            }
            prop_assert!(now <= start + Duration::from_secs(40));
        }
    }

    #[test]
    fn an_order_gives_the_long_grace_and_a_dead_daemon_the_short_one() {
        let now = Instant::now();
        let ordered = Phase::Running.after(Cause::Ordered, GRACES, now);
        assert_eq!(ordered, Phase::Terminating { until: now + GRACES.stop });
        let orphaned = ordered.after(Cause::DaemonGone, GRACES, now);
        assert_eq!(orphaned, Phase::Terminating { until: now + GRACES.orphan });
    }

    #[test]
    fn now_means_now() {
        let now = Instant::now();
        assert_eq!(Phase::Running.after(Cause::OrderedNow, GRACES, now), Phase::Killing { since: now });
    }

    #[test]
    fn the_grace_runs_out() {
        let now = Instant::now();
        let phase = Phase::Running.after(Cause::Ordered, GRACES, now);
        assert_eq!(phase.at(now + Duration::from_secs(4)), phase);
        let late = now + GRACES.stop;
        assert_eq!(phase.at(late), Phase::Killing { since: late });
    }
}
