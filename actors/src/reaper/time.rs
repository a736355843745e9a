//! How much time has passed, as far as that was seen: what the clock of the machine's boot counted, added
//! up over every life of the daemon. Pure.
//!
//! The wall clock is set by people, by networks and by bad batteries; the boot clock is set by nobody, and
//! it goes on while the machine sleeps. Where the two disagree, the shorter time has passed.
//!
//! **Invariant:** no reading makes more time pass than either clock says, and time that nobody saw, across
//! a boot, is no time.

use std::time::Duration;

/// Clocks that disagree by more between two readings disagree for good: one of them was set.
const JUMP_MS: i64 = 5 * 60_000;
/// For so long after a jump nothing is given up by the clock: somebody should have time to see it.
const UNSTEADY_MS: i64 = 24 * 3_600_000;

/// What the clocks say at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// Which boot the boot clock counts from; `None` if it is not known.
    pub boot: Option<String>,
    /// The boot clock, in milliseconds.
    pub boot_ms: i64,
    /// The wall clock, in milliseconds since 1970.
    pub wall_ms: i64,
}

/// The time that was seen to pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenTime {
    /// All of it, in milliseconds.
    pub total_ms: i64,
    /// The last reading; `None` before the first.
    pub last: Option<Reading>,
    /// How much had been seen when a clock was last set.
    pub jumped_at_ms: Option<i64>,
}

/// What a reading said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// The time that was seen by now.
    pub seen: SeenTime,
    /// How far the wall clock jumped against the time that passed, in milliseconds, if it did.
    pub jump_ms: Option<i64>,
}

impl SeenTime {
    /// Before anything was seen.
    pub const NONE: Self = Self { total_ms: 0, last: None, jumped_at_ms: None };

    /// What is seen with one more reading.
    #[must_use]
    pub fn after(&self, now: Reading) -> Look {
        let Some(last) = &self.last else {
            return Look { seen: Self { last: Some(now), ..self.clone() }, jump_ms: None };
        };
        let wall_ms = now.wall_ms.saturating_sub(last.wall_ms);
        let (passed_ms, jump_ms) = if now.boot.is_some() && now.boot == last.boot {
            let boot_ms = now.boot_ms.saturating_sub(last.boot_ms);
            let off_ms = wall_ms.saturating_sub(boot_ms);
            if off_ms.saturating_abs() <= JUMP_MS {
                (boot_ms, None)
            } else {
                (boot_ms.min(wall_ms), Some(off_ms))
            }
        } else {
            // Between two boots only a clock that went back can be told from a long night.
            (0, Some(wall_ms).filter(|ms| *ms < -JUMP_MS))
        };
        let total_ms = self.total_ms.saturating_add(passed_ms.max(0));
        let jumped_at_ms = if jump_ms.is_some() { Some(total_ms) } else { self.jumped_at_ms };
        Look { seen: Self { total_ms, last: Some(now), jumped_at_ms }, jump_ms }
    }

    /// Whether no clock was set lately, so that something may be given up because its time is over.
    #[must_use]
    pub fn is_steady(&self) -> bool {
        self.jumped_at_ms.is_none_or(|at| self.total_ms.saturating_sub(at) >= UNSTEADY_MS)
    }

    /// The time since a moment that was written down as the total of then.
    #[must_use]
    pub fn since(&self, then_ms: Option<i64>) -> Option<Duration> {
        let passed = self.total_ms.checked_sub(then_ms?)?;
        u64::try_from(passed).ok().map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: i64 = 60_000;
    const DAY: i64 = 24 * 60 * MINUTE;

    fn reading(boot: &str, boot_ms: i64, wall_ms: i64) -> Reading {
        Reading { boot: Some(boot.to_owned()), boot_ms, wall_ms }
    }

    fn seen() -> SeenTime {
        SeenTime { total_ms: 1_000, last: Some(reading("a", 50_000, 900_000)), jumped_at_ms: None }
    }

    #[test]
    fn time_passes_as_both_clocks_say_and_a_jump_is_told() {
        let unknown = Reading { boot: None, ..reading("", 50_000 + MINUTE, 900_000 + MINUTE) };
        for (name, now, passed, jump) in [
            ("a minute", reading("a", 50_000 + MINUTE, 900_000 + MINUTE), MINUTE, None),
            ("a clock that drifts", reading("a", 50_000 + MINUTE, 900_000 + 2 * MINUTE), MINUTE, None),
            ("a clock that is put back a little", reading("a", 50_000 + MINUTE, 900_000), MINUTE, None),
            ("100 days ahead", reading("a", 50_000, 900_000 + 100 * DAY), 0, Some(100 * DAY)),
            ("a day back", reading("a", 50_000 + MINUTE, 900_000 + MINUTE - DAY), 0, Some(-DAY)),
            ("a boot clock of another name space", reading("a", 50_000 + DAY, 900_000), 0, Some(-DAY)),
            ("a boot clock that went back", reading("a", 0, 900_000), 0, None),
            ("a new boot", reading("b", 5, 900_000 + 100 * DAY), 0, None),
            ("a new boot in the past", reading("b", 5, 900_000 - DAY), 0, Some(-DAY)),
            ("no boot that is known", unknown, 0, None),
        ] {
            let look = seen().after(now.clone());
            assert_eq!((look.seen.total_ms - 1_000, look.jump_ms), (passed, jump), "{name}");
            assert_eq!(look.seen.last, Some(now), "{name}");
            assert_eq!(look.seen.is_steady(), jump.is_none(), "{name}");
        }
    }

    #[test]
    fn a_day_after_a_jump_the_clock_counts_as_right_again() {
        let jumped = SeenTime { jumped_at_ms: Some(1_000), ..seen() };
        let after = |ms: i64| jumped.after(reading("a", 50_000 + ms, 900_000 + ms)).seen;
        assert!(!after(DAY - 1).is_steady());
        assert!(after(DAY).is_steady());
        assert_eq!(after(DAY).since(Some(1_000)), Some(Duration::from_secs(86_400)));
        assert_eq!(after(DAY).since(None), None);
        assert_eq!(after(0).since(Some(2_000)), None, "what is yet to come says nothing");
    }

    #[test]
    fn before_the_first_reading_nothing_has_passed() {
        let first = SeenTime::NONE.after(reading("a", 5 * DAY, 7 * DAY));
        assert_eq!((first.seen.total_ms, first.jump_ms), (0, None));
    }

    proptest! {
        #[test]
        fn no_more_time_passes_than_the_boot_clock_counted(
            steps in proptest::collection::vec((0..3_600_000_i64, -200 * DAY..200 * DAY), 1..20),
        ) {
            let (mut seen, mut boot_ms) = (SeenTime::NONE, 1_000);
            let begin = boot_ms;
            for (step, offset) in steps {
                boot_ms += step;
                let next = seen.after(reading("a", boot_ms, 1_000_000 * DAY + boot_ms + offset)).seen;
                prop_assert!(next.total_ms >= seen.total_ms);
                prop_assert!(next.total_ms <= boot_ms - begin);
                seen = next;
            }
        }
    }
}
