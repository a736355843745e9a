//! The mark of our processes: a value of `RLIMIT_LOCKS`, a limit that Linux has ignored since
//! 2.4.25, 64 bits wide, inherited over fork, exec, setsid and `env -i`, and readable by the same
//! user.
//!
//! ```text
//! 63           48 47        44 43            24 23           0
//! │ magic        │ 15 − depth │ installation   │ attempt     │
//! ```
//! *Depth* counts how many daemons stand above: an agent may run a hob of its own. As an ordinary
//! process can only lower its limits, the depth is written so that a deeper mark is the lower
//! number. This module reads and sets the mark of processes; it ends none.

use std::io;

use nix::sys::resource::{Resource, setrlimit};

use crate::sys;

/// The upper 16 bits of every mark: "ho".
const MAGIC: u64 = 0x686f;
/// The deepest nesting that has a mark.
const DEPTH_MAX: u8 = 15;
/// Bits of an installation number.
pub const INSTALLATION_BITS: u32 = 20;
/// Bits of an attempt number.
pub const ATTEMPT_BITS: u32 = 24;
/// The environment variable that carries the mark where the limit cannot.
pub const ENVIRONMENT: &str = "HOB_MARK";

/// Whose a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    /// The state directory whose daemon started it: 20 random bits.
    pub installation: u32,
    /// The start it belongs to; below 2^24. 0 belongs to no start.
    pub attempt: u32,
    /// How many daemons stand above the one that started it; at most 15.
    pub depth: u8,
}

impl Mark {
    /// The mark as the value of the limit.
    pub fn to_limit(self) -> u64 {
        let height = u64::from(DEPTH_MAX.saturating_sub(self.depth));
        let installation = u64::from(self.installation & ((1 << INSTALLATION_BITS) - 1));
        let attempt = u64::from(self.attempt & ((1 << ATTEMPT_BITS) - 1));
        MAGIC << 48 | height << 44 | installation << ATTEMPT_BITS | attempt
    }

    /// Reads a value of the limit; `None` if it is no mark.
    pub fn from_limit(limit: u64) -> Option<Self> {
        if limit >> 48 != MAGIC {
            return None;
        }
        let bits = |low: u32, n: u32| u32::try_from(limit >> low & ((1 << n) - 1)).unwrap_or(0);
        Some(Self {
            installation: bits(ATTEMPT_BITS, INSTALLATION_BITS),
            attempt: bits(0, ATTEMPT_BITS),
            depth: DEPTH_MAX - u8::try_from(bits(44, 4)).unwrap_or(0),
        })
    }

    /// The mark for a process of the given start, below whatever mark `limit` is. `None` if it
    /// would not be lower than `limit`.
    pub fn below(limit: u64, installation: u32, attempt: u32) -> Option<Self> {
        let depth = match Self::from_limit(limit) {
            Some(above) if above.depth == DEPTH_MAX => return None,
            Some(above) => above.depth + 1,
            None => 0,
        };
        let mark = Self { installation, attempt, depth };
        (mark.to_limit() < limit).then_some(mark)
    }

    /// The mark as text, for the environment.
    pub fn to_text(self) -> String {
        format!("{:016x}", self.to_limit())
    }

    /// Reads what [`Mark::to_text`] wrote.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::from_limit(u64::from_str_radix(text, 16).ok()?)
    }
}

/// The mark of a process; `None` if it has none, is gone, or is not ours to read.
pub fn read(pid: u32) -> Option<Mark> {
    limit_of(pid.cast_signed()).ok().and_then(Mark::from_limit)
}

/// The mark of this very process: there is one if an agent started it.
pub fn own() -> Option<Mark> {
    limit_of(0).ok().and_then(Mark::from_limit)
}

/// Whether this very process is one of an agent's: by its limit, or by its environment where the
/// limit cannot carry a mark.
pub fn is_own_marked() -> bool {
    own().is_some() || std::env::var(ENVIRONMENT).is_ok_and(|text| Mark::from_text(&text).is_some())
}

/// The hard limit: a soft one could be lowered and raised again by whoever bears it.
pub(super) fn limit_of(pid: i32) -> io::Result<u64> {
    sys::locks_limit(pid).map(|(_, hard)| hard)
}

/// Marks the calling process and all that it will start. `None` if that is not possible here:
/// nothing was changed then, or the change cannot be read back.
pub(super) fn set_own(installation: u32, attempt: u32) -> Option<Mark> {
    let mark = Mark::below(limit_of(0).ok()?, installation, attempt)?;
    setrlimit(Resource::RLIMIT_LOCKS, mark.to_limit(), mark.to_limit()).ok()?;
    (limit_of(0).ok()? == mark.to_limit()).then_some(mark)
}

/// The mark in the environment that a process was started with.
pub(super) fn in_environment(pid: i32) -> Option<Mark> {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    let value = environment
        .split(|byte| *byte == 0)
        .find_map(|entry| entry.strip_prefix(ENVIRONMENT.as_bytes())?.strip_prefix(b"="))?;
    Mark::from_text(std::str::from_utf8(value).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_mark_survives_the_limit_and_the_text(
            installation in 0u32..1 << INSTALLATION_BITS, attempt in 0u32..1 << ATTEMPT_BITS, depth in 0u8..16,
        ) {
            let mark = Mark { installation, attempt, depth };
            prop_assert_eq!(Mark::from_limit(mark.to_limit()), Some(mark));
            prop_assert_eq!(Mark::from_text(&mark.to_text()), Some(mark));
        }

        #[test]
        fn a_nested_mark_only_lowers(limit: u64, installation in 0u32..1 << 20, attempt in 0u32..1 << 24) {
            if let Some(mark) = Mark::below(limit, installation, attempt) {
                prop_assert!(mark.to_limit() < limit);
            }
        }
    }

    #[test]
    fn nesting_counts_up_to_its_limit_and_no_further() {
        let mut limit = u64::MAX;
        for depth in 0..=DEPTH_MAX {
            // The highest numbers below the lowest: the hardest case.
            let (installation, attempt) = if depth % 2 == 0 { (0, 0) } else { (0xf_ffff, 0xff_ffff) };
            let mark = Mark::below(limit, installation, attempt).expect("there is room");
            assert_eq!(mark.depth, depth);
            limit = mark.to_limit();
        }
        assert_eq!(Mark::below(limit, 0, 0), None);
    }

    #[test]
    fn unlimited_is_no_mark() {
        assert_eq!(Mark::from_limit(u64::MAX), None);
        assert_eq!(Mark::from_limit(0), None);
    }
}
