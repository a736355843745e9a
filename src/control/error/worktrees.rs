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
        let is_taken_by = |consents: Consents| reasons.iter().any(|reason| consents.covers(reason.kind));
        let both = Consents { changes: true, unpushed: true };
        let mut flags = Vec::new();
        if is_taken_by(Consents { changes: true, unpushed: false }) {
            flags.push("--discard-changes");
        }
        if is_taken_by(Consents { changes: false, unpushed: true }) {
            flags.push("--discard-unpushed");
        }
        if flags.is_empty() && is_taken_by(both) {
            flags = vec!["--discard-changes", "--discard-unpushed"];
        }
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
            K::Busy(_) | K::Full => Self::overloaded(error.message),
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
