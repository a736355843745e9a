//! What can be said of a worktree before it may be removed: reasons to keep it, the verdict that
//! follows, and which reasons a person may overrule. Plain data and pure rules.
//!
//! **Invariant:** what is not known is a reason to keep.

/// Why a worktree is to be kept, by the contract's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReasonKind {
    /// Tracked content that is not committed, or that git was told not to look at.
    Dirty,
    /// Files that git does not know and that are nowhere else.
    Untracked,
    /// Commits that are on no remote-tracking ref and no other local branch.
    Unpushed,
    /// Commits that no common ref reaches at all.
    Unreachable,
    /// A stash that only this worktree has.
    StashHere,
    /// A merge, rebase, cherry-pick, revert or bisect in progress.
    Operation,
    /// Locked by somebody else.
    Locked,
    /// A lock file of git.
    LockFile,
    /// A process works in it.
    InUse,
    /// A repository inside.
    NestedRepo,
    /// It is not what was recorded: another directory, another owner, another repository.
    Foreign,
    /// Something is mounted on or below it.
    Mount,
    /// Changes that were neither applied nor discarded.
    PendingChanges,
    /// Its session, or an agent of it, is live.
    Live,
    /// Objects that git has names of, and no content.
    Missing,
    /// Something could not be read, or not in time.
    Unreadable,
}

/// Every kind of reason, in the order in which they are shown.
pub const REASON_KINDS: [ReasonKind; 16] = [
    ReasonKind::Dirty,
    ReasonKind::Untracked,
    ReasonKind::Unpushed,
    ReasonKind::Unreachable,
    ReasonKind::StashHere,
    ReasonKind::Operation,
    ReasonKind::Locked,
    ReasonKind::LockFile,
    ReasonKind::InUse,
    ReasonKind::NestedRepo,
    ReasonKind::Foreign,
    ReasonKind::Mount,
    ReasonKind::PendingChanges,
    ReasonKind::Live,
    ReasonKind::Missing,
    ReasonKind::Unreadable,
];

impl ReasonKind {
    /// The contract's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Dirty => "dirty",
            Self::Untracked => "untracked",
            Self::Unpushed => "unpushed",
            Self::Unreachable => "unreachable",
            Self::StashHere => "stash_here",
            Self::Operation => "operation",
            Self::Locked => "locked",
            Self::LockFile => "lock_file",
            Self::InUse => "in_use",
            Self::NestedRepo => "nested_repo",
            Self::Foreign => "foreign",
            Self::Mount => "mount",
            Self::PendingChanges => "pending_changes",
            Self::Live => "live",
            Self::Missing => "missing",
            Self::Unreadable => "unreadable",
        }
    }

    /// The way back; `None` for a word that is none.
    pub fn parse(word: &str) -> Option<Self> {
        REASON_KINDS.into_iter().find(|kind| kind.word() == word)
    }
}

/// One reason to keep a worktree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// What kind.
    pub kind: ReasonKind,
    /// In words, with a few of the names it is about.
    pub detail: String,
    /// How many things it is about: files, commits, processes.
    pub count: u64,
}

impl Reason {
    /// A reason about one thing.
    pub fn one(kind: ReasonKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), count: 1 }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.kind.word(), self.detail)
    }
}

/// What follows from all that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing would be lost.
    Clean,
    /// Something would be lost, or is in use.
    Blocked,
    /// Not everything could be looked at.
    Unknown,
}

impl Verdict {
    /// The contract's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Blocked => "blocked",
            Self::Unknown => "unknown",
        }
    }
}

/// What was found of one worktree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "a worktree may be removed only by its verdict"]
pub struct Preflight {
    /// Every reason to keep it; empty if nothing would be lost.
    pub reasons: Vec<Reason>,
    /// Processes of other users could not be looked at.
    pub partial: bool,
}

impl Preflight {
    /// Nothing is known but this: kept.
    pub fn unknown(why: impl Into<String>) -> Self {
        Self { reasons: vec![Reason::one(ReasonKind::Unreadable, why)], partial: false }
    }

    /// The verdict.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if self.reasons.iter().any(|reason| reason.kind == ReasonKind::Unreadable) {
            return Verdict::Unknown;
        }
        if self.reasons.is_empty() { Verdict::Clean } else { Verdict::Blocked }
    }

    /// The reasons that stand in spite of what a person consents to.
    pub fn objections(&self, consents: Consents) -> Vec<&Reason> {
        self.reasons.iter().filter(|reason| !consents.covers(reason.kind)).collect()
    }
}

/// What a person is ready to lose. Each overrules its own reasons and no other; nothing overrules a
/// live process, a place that is not what was recorded, or what could not be looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Consents {
    /// Uncommitted changes (`--discard-changes`).
    pub changes: bool,
    /// Commits that are nowhere else (`--discard-unpushed`).
    pub unpushed: bool,
}

impl Consents {
    /// Whether a reason of this kind is overruled.
    pub fn covers(self, kind: ReasonKind) -> bool {
        match kind {
            ReasonKind::Dirty
            | ReasonKind::Untracked
            | ReasonKind::Operation
            | ReasonKind::PendingChanges => self.changes,
            // It may hold both. What is missing is lost already; the files are salvaged.
            ReasonKind::NestedRepo | ReasonKind::Missing => self.changes && self.unpushed,
            ReasonKind::Unpushed | ReasonKind::Unreachable | ReasonKind::StashHere => self.unpushed,
            ReasonKind::Locked
            | ReasonKind::LockFile
            | ReasonKind::InUse
            | ReasonKind::Foreign
            | ReasonKind::Mount
            | ReasonKind::Live
            | ReasonKind::Unreadable => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_word_reads_back() {
        for kind in REASON_KINDS {
            assert_eq!(ReasonKind::parse(kind.word()), Some(kind));
        }
        assert_eq!(ReasonKind::parse("clean"), None);
    }

    #[test]
    fn what_is_unknown_is_never_clean_and_never_overruled() {
        let preflight = Preflight::unknown("git did not answer within 15 s");
        assert_eq!(preflight.verdict(), Verdict::Unknown);
        let all = Consents { changes: true, unpushed: true };
        assert_eq!(preflight.objections(all).len(), 1);
    }

    fn some_reasons() -> impl Strategy<Value = Vec<Reason>> {
        proptest::collection::vec(
            (0..REASON_KINDS.len()).prop_map(|n| Reason::one(REASON_KINDS[n], "")),
            0..6,
        )
    }

    proptest! {
        #[test]
        fn a_consent_takes_away_its_own_reasons_and_no_other(
            reasons in some_reasons(), changes: bool, unpushed: bool,
        ) {
            let preflight = Preflight { reasons, partial: false };
            let none = preflight.objections(Consents::default()).len();
            prop_assert_eq!(none, preflight.reasons.len());
            let both = Consents { changes, unpushed };
            let (only_changes, only_unpushed) =
                (Consents { changes, unpushed: false }, Consents { changes: false, unpushed });
            for reason in preflight.objections(both) {
                prop_assert!(!only_changes.covers(reason.kind) && !only_unpushed.covers(reason.kind));
            }
            prop_assert_eq!(preflight.verdict() == Verdict::Clean, preflight.reasons.is_empty());
        }
    }
}
