//! Decides what becomes of a worktree. Pure.
//!
//! ```text
//! orphaned ── grace over, by its row and by its files ──▶ looked at ── clean, twice ──▶ retired
//!                                                            │ a reason ──▶ kept, and told why
//! archived ── retention over ──▶ purged ── salvage retention over ──▶ its salvage goes
//! ```
//!
//! **Invariants:** nothing is retired that was not found clean in two passes in a row (one, if a person
//! asks for it), and what is not known is kept. Nothing is purged while a clock is in doubt, and trash and
//! salvage of one worktree never go in one life of the daemon.

use std::time::Duration;

use crate::id::WorktreeId;
use crate::worktree::{Preflight, Verdict};

/// How patient the reaper is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReaperRules {
    /// Between two passes.
    pub interval: Duration,
    /// How long a worktree must have been an orphan, and untouched.
    pub grace: Duration,
    /// How long a retired one stays in the trash.
    pub retention: Duration,
    /// How long its salvage stays, counted from when it was retired.
    pub salvage_retention: Duration,
}

/// Where a worktree stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stand {
    /// A session works in it.
    Active,
    /// Its session is over, or nobody knows of one.
    Orphaned,
    /// It is in the trash.
    Archived,
    /// Only its salvage is left, if that.
    Purged,
}

/// A worktree, as far as it is known without looking into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Which one; the name of the directory where nothing is written down.
    pub worktree: WorktreeId,
    /// Where it stands.
    pub stand: Stand,
    /// How long it has stood there, as [`super::time`] has seen it; `None` if it is not known.
    pub since: Option<Duration>,
    /// How long nothing in it was written; `None` if it is not known.
    pub untouched: Option<Duration>,
    /// A removal or restore of it was begun and is not done.
    pub is_under_way: bool,
    /// Its salvage is kept.
    pub has_salvage: bool,
    /// No clock was set lately: what is over by the clock is over.
    pub is_clock_steady: bool,
    /// Its trash was emptied in this life of the daemon.
    pub was_purged_now: bool,
    /// Why it is none of ours to judge, in words.
    pub foreign: Option<String>,
}

/// What is to be done with it first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing: it is in use, or there is nothing left of it.
    Leave,
    /// Nothing yet, for this reason.
    Wait(&'static str),
    /// It is kept, for this reason.
    Keep(String),
    /// It is to be looked into.
    Look,
    /// Its time in the trash is over.
    Purge,
    /// The time of its salvage is over.
    DropSalvage,
}

/// Why nothing is purged after a clock was set.
const UNSTEADY: &str = "a clock was set against the time that passed, and nothing is purged for a day";
/// Why a salvage stays for now.
const PURGED_NOW: &str =
    "its trash was emptied in this life of the daemon, and its salvage stays for the next";

/// Decides by what is known without looking into it. `by_hand`: a person asked for it, who does not wait.
#[must_use]
pub fn first(candidate: &Candidate, rules: &ReaperRules, by_hand: bool) -> Step {
    let is_over = |time: Option<Duration>, limit: Duration| time.is_some_and(|time| time >= limit);
    if candidate.is_under_way {
        return Step::Wait("a removal or a restore of it is under way");
    }
    match candidate.stand {
        Stand::Active => Step::Leave,
        Stand::Orphaned => match &candidate.foreign {
            Some(why) => Step::Keep(why.clone()),
            None if by_hand => Step::Look,
            None if !is_over(candidate.since, rules.grace) => Step::Wait("its time is not over"),
            None if !is_over(candidate.untouched, rules.grace) => Step::Wait("it was written to lately"),
            None => Step::Look,
        },
        Stand::Archived if !is_over(candidate.since, rules.retention) => Step::Leave,
        Stand::Archived if !candidate.is_clock_steady => Step::Wait(UNSTEADY),
        Stand::Archived => Step::Purge,
        Stand::Purged if !candidate.has_salvage || !is_over(candidate.since, rules.salvage_retention) => {
            Step::Leave
        }
        Stand::Purged if !candidate.is_clock_steady => Step::Wait(UNSTEADY),
        // Two copies never go by one mistake.
        Stand::Purged if candidate.was_purged_now => Step::Wait(PURGED_NOW),
        Stand::Purged => Step::DropSalvage,
    }
}

/// What is to be done with one that was looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It is kept.
    Keep,
    /// It is kept until it is found clean again.
    Again,
    /// Nothing is lost with it.
    Retire,
}

/// Decides by what was found in it. `before`: it was found clean in the pass before this one.
#[must_use]
pub fn then(found: &Preflight, before: bool, by_hand: bool) -> Then {
    match found.verdict() {
        Verdict::Blocked | Verdict::Unknown => Then::Keep,
        Verdict::Clean if before || by_hand => Then::Retire,
        Verdict::Clean => Then::Again,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::worktree::{Reason, ReasonKind};

    const HOUR: Duration = Duration::from_secs(3600);
    const RULES: ReaperRules = ReaperRules {
        interval: HOUR,
        grace: HOUR,
        retention: HOUR,
        salvage_retention: Duration::from_secs(7200),
    };

    fn orphan() -> Candidate {
        Candidate {
            worktree: "w-1".into(),
            stand: Stand::Orphaned,
            since: Some(HOUR),
            untouched: Some(HOUR),
            is_under_way: false,
            has_salvage: false,
            is_clock_steady: true,
            was_purged_now: false,
            foreign: None,
        }
    }

    #[test]
    fn an_orphan_is_looked_into_when_both_its_clocks_are_over() {
        let minute = Some(Duration::from_secs(60));
        let cases = [
            (orphan(), Step::Look),
            (Candidate { since: minute, ..orphan() }, Step::Wait("its time is not over")),
            (Candidate { since: None, ..orphan() }, Step::Wait("its time is not over")),
            (Candidate { untouched: minute, ..orphan() }, Step::Wait("it was written to lately")),
            (Candidate { untouched: None, ..orphan() }, Step::Wait("it was written to lately")),
            (
                Candidate { is_under_way: true, ..orphan() },
                Step::Wait("a removal or a restore of it is under way"),
            ),
            (Candidate { foreign: Some("not ours".into()), ..orphan() }, Step::Keep("not ours".into())),
            (Candidate { stand: Stand::Active, ..orphan() }, Step::Leave),
        ];
        for (candidate, step) in cases {
            assert_eq!(first(&candidate, &RULES, false), step, "{candidate:?}");
        }
        assert_eq!(first(&Candidate { since: minute, ..orphan() }, &RULES, true), Step::Look);
    }

    #[test]
    fn what_is_retired_is_purged_and_forgotten_in_its_time() {
        let archived = Candidate { stand: Stand::Archived, has_salvage: true, ..orphan() };
        let purged = Candidate { stand: Stand::Purged, has_salvage: true, ..orphan() };
        assert_eq!(first(&archived, &RULES, false), Step::Purge);
        assert_eq!(first(&Candidate { since: None, ..archived }, &RULES, true), Step::Leave);
        assert_eq!(first(&purged, &RULES, false), Step::Leave);
        let old = Candidate { since: Some(HOUR * 2), ..purged };
        assert_eq!(first(&old, &RULES, false), Step::DropSalvage);
        assert_eq!(first(&Candidate { has_salvage: false, ..old }, &RULES, false), Step::Leave);
    }

    #[test]
    fn a_clock_in_doubt_purges_nothing_and_one_life_never_takes_both_copies() {
        let old = Candidate { since: Some(HOUR * 2), has_salvage: true, ..orphan() };
        let archived = Candidate { stand: Stand::Archived, ..old.clone() };
        let purged = Candidate { stand: Stand::Purged, ..old.clone() };
        for by_hand in [false, true] {
            let unsteady = |of: &Candidate| Candidate { is_clock_steady: false, ..of.clone() };
            let now = |of: &Candidate| Candidate { was_purged_now: true, ..of.clone() };
            assert_eq!(first(&unsteady(&archived), &RULES, by_hand), Step::Wait(UNSTEADY));
            assert_eq!(first(&unsteady(&purged), &RULES, by_hand), Step::Wait(UNSTEADY));
            assert_eq!(first(&now(&purged), &RULES, by_hand), Step::Wait(PURGED_NOW));
            // One that came back and was retired again has a new trash.
            assert_eq!(first(&now(&archived), &RULES, by_hand), Step::Purge);
            // Into the trash is no loss.
            assert_eq!(
                first(&unsteady(&Candidate { untouched: old.since, ..old.clone() }), &RULES, by_hand),
                Step::Look
            );
        }
    }

    proptest! {
        #[test]
        fn only_what_was_clean_twice_is_retired(kinds in proptest::collection::vec(0..15_usize, 0..3), before: bool) {
            let reason = |n: usize| Reason::one(crate::worktree::REASON_KINDS[n], "");
            let found = Preflight { reasons: kinds.into_iter().map(reason).collect(), partial: false };
            let decided = then(&found, before, false);
            prop_assert_eq!(decided == Then::Retire, found.reasons.is_empty() && before);
            prop_assert_eq!(then(&found, false, true) == Then::Retire, found.reasons.is_empty());
        }

        #[test]
        fn nothing_but_an_orphan_is_ever_looked_into(
            stand in 0..4_usize, since: Option<u32>, untouched: Option<u32>, by_hand: bool, under_way: bool,
        ) {
            let stand = [Stand::Active, Stand::Orphaned, Stand::Archived, Stand::Purged][stand];
            let time = |n: Option<u32>| n.map(|n| Duration::from_secs(u64::from(n)));
            let candidate = Candidate {
                stand, since: time(since), untouched: time(untouched), is_under_way: under_way, ..orphan()
            };
            if first(&candidate, &RULES, by_hand) == Step::Look {
                prop_assert!(stand == Stand::Orphaned && !under_way);
                prop_assert!(by_hand || (time(since) >= Some(HOUR) && time(untouched) >= Some(HOUR)));
            }
        }
    }

    #[test]
    fn unknown_is_kept_also_by_hand() {
        let unknown = Preflight { reasons: vec![Reason::one(ReasonKind::Unreadable, "")], partial: false };
        assert_eq!(then(&unknown, true, true), Then::Keep);
    }
}
