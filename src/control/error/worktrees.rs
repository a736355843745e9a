//! What went wrong with worktrees and changes, as the contract's errors.

use hob_actors::worktree::{Consents, Reason};

use super::RpcFailure;
use crate::pending::PendingError;
use crate::retire::RetireError;
use crate::worktree::{WorktreeError, WorktreeErrorKind};

impl RpcFailure {
    /// A worktree is kept, for these reasons; the hint names the consents that would take them away.
    pub fn kept(reasons: &[Reason]) -> Self {
        let words: Vec<_> = reasons.iter().map(Reason::to_string).collect();
        let both = Consents { changes: true, unpushed: true };
        // A reason is left by the one consent where it needs the other, or both.
        let is_left_by = |consents: Consents| {
            let mut kinds = reasons.iter().map(|reason| reason.kind);
            kinds.any(|kind| both.covers(kind) && !consents.covers(kind))
        };
        let (changes, unpushed) = (Consents { unpushed: false, ..both }, Consents { changes: false, ..both });
        let mut flags = Vec::new();
        flags.extend(is_left_by(unpushed).then_some("--discard-changes"));
        flags.extend(is_left_by(changes).then_some("--discard-unpushed"));
        let mut failure = Self::refused(format!("something would be lost: {}", words.join("; ")));
        failure.data.reasons = reasons.iter().map(|reason| reason.kind.word().to_owned()).collect();
        if reasons.iter().all(|reason| both.covers(reason.kind)) {
            return failure.hint(format!("apply, commit or push it, or delete it with {}", flags.join(" ")));
        }
        failure.hint("hob worktree risk")
    }
}

impl From<WorktreeError> for RpcFailure {
    fn from(error: WorktreeError) -> Self {
        use WorktreeErrorKind as K;
        let failure = match error.kind {
            K::NotARepo | K::Bare | K::NoCommit => Self::invalid_params("repo", error.message),
            K::BadBase => Self::invalid_params("base", error.message),
            K::BranchTaken | K::PathTaken => Self::conflict(error.message),
            K::Unsupported(what) => Self::refused(error.message).reason(what),
            K::Carry | K::InTheWay | K::Missing => Self::conflict(error.message),
            K::NoSuchChange => Self::new(super::Kind::NotFound, error.message),
            K::Foreign => Self::refused(error.message).reason("foreign"),
            K::Busy(_) | K::Changing | K::Full => Self::overloaded(error.message),
            K::Io => Self::internal(error.message),
        };
        failure.maybe_hint(error.hint)
    }
}

impl From<PendingError> for RpcFailure {
    fn from(error: PendingError) -> Self {
        let message = error.to_string();
        match error {
            PendingError::Store(error) => error.into(),
            PendingError::Worktree(error) => error.into(),
            PendingError::NotFound { what: "turn", id } => {
                Self::not_found("turn", &id).hint("hob task show TASK")
            }
            PendingError::NotFound { what, id } => Self::not_found(what, &id).hint("hob session ls -a"),
            PendingError::Gone { worktree, .. } => {
                Self::conflict(message).hint(format!("hob worktree restore {worktree}"))
            }
            PendingError::AtWork(_) => {
                Self::refused(message).reason("live").hint("wait for it, or `hob task cancel` it")
            }
            PendingError::Unrecorded { .. } | PendingError::TooSlow(_) | PendingError::Lost => {
                Self::overloaded(message)
            }
            PendingError::Unseen { .. } | PendingError::Dropped { .. } => Self::conflict(message),
        }
    }
}

impl From<RetireError> for RpcFailure {
    fn from(error: RetireError) -> Self {
        match error {
            RetireError::Kept(reasons) => Self::kept(&reasons),
            RetireError::NotFound(id) => Self::not_found("worktree", &id).hint("hob worktree ls -a"),
            RetireError::Conflict(message) => Self::conflict(message),
            RetireError::Store(error) => error.into(),
            RetireError::Worktree(error) => error.into(),
            RetireError::Tree(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use hob_actors::worktree::ReasonKind as K;

    use super::*;

    #[test]
    fn the_hint_names_every_consent_that_is_needed() {
        let hint = |kinds: &[K]| {
            let reasons: Vec<_> = kinds.iter().map(|kind| Reason::one(*kind, "why")).collect();
            RpcFailure::kept(&reasons).data.hint.unwrap_or_default()
        };
        for (kinds, flags) in [
            (&[K::Dirty][..], "--discard-changes"),
            (&[K::Unpushed, K::StashHere], "--discard-unpushed"),
            (&[K::Dirty, K::Unpushed], "--discard-changes --discard-unpushed"),
            (&[K::Dirty, K::NestedRepo], "--discard-changes --discard-unpushed"),
            (&[K::Missing], "--discard-changes --discard-unpushed"),
        ] {
            assert!(hint(kinds).ends_with(&format!("with {flags}")), "{kinds:?}: {}", hint(kinds));
        }
        assert_eq!(hint(&[K::Dirty, K::Mount]), "hob worktree risk");
    }
}
