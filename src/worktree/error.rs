//! What can go wrong with a worktree, in words for a person. Decides nothing and does nothing.

use std::io;
use std::path::Path;

/// Whose move it is, and what about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorktreeErrorKind {
    /// The path is in no git repository, or in one that may not be opened.
    NotARepo,
    /// The repository has no checkout.
    Bare,
    /// There is no commit to start from yet.
    NoCommit,
    /// The base names no commit.
    BadBase,
    /// A branch, or something that a branch cannot stand beside, has the name already.
    BranchTaken,
    /// Something is where the directory or its entry in the repository is to go.
    PathTaken,
    /// Neither libgit2 nor the `git` program that is here can do it: says what.
    Unsupported(String),
    /// Somebody else holds the lock that is named, and kept it.
    Busy(String),
    /// The uncommitted changes cannot be carried over.
    Carry,
    /// The directory is not the worktree that was recorded.
    Foreign,
    /// There is no change of that name: says which.
    NoSuchChange,
    /// Something is in the way of what was asked for: says what.
    InTheWay,
    /// The file system, or git, failed.
    Io,
}

/// An error that a person can act on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct WorktreeError {
    /// Whose move it is.
    pub kind: WorktreeErrorKind,
    /// What happened, with the value that it happened to.
    pub message: String,
    /// Something that can be typed.
    pub hint: Option<String>,
}

impl WorktreeError {
    /// An error without a hint.
    pub(super) fn new(kind: WorktreeErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    /// Adds something that can be typed.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The file system failed while `action` was done to `path`.
    pub(super) fn io(action: &str, path: &Path, error: &io::Error) -> Self {
        let this = Self::new(
            WorktreeErrorKind::Io,
            format!("cannot {action} `{}`: {}", path.display(), plain(&error.to_string())),
        );
        match error.kind() {
            io::ErrorKind::PermissionDenied => this.hint(format!("ls -ld {}", shell(path))),
            io::ErrorKind::StorageFull => this.hint(format!("df -h {}", shell(path))),
            _ => this,
        }
    }

    /// libgit2 failed while `action` was done in `path`.
    pub(super) fn git(action: &str, path: &Path, error: &git2::Error) -> Self {
        let said = plain(error.message());
        let message = format!("cannot {action} in `{}`: {said}", path.display());
        if error.code() == git2::ErrorCode::Locked {
            return Self::new(WorktreeErrorKind::Busy(said), message);
        }
        Self::new(WorktreeErrorKind::Io, message)
    }

    /// `what` cannot be done in the repository at `path`, and `why`.
    pub(super) fn unsupported(what: &str, path: &Path, why: &str) -> Self {
        Self::new(
            WorktreeErrorKind::Unsupported(what.to_owned()),
            format!("the repository `{}` uses {what}: {why}", path.display()),
        )
    }
}

/// A message as the house writes them: a lower-case fragment without a period.
pub(super) fn plain(message: &str) -> String {
    let trimmed = message.trim().trim_end_matches('.');
    let mut chars = trimmed.chars();
    match (chars.next(), chars.next()) {
        // `HEAD is …` keeps its capitals.
        (Some(first), Some(second)) if first.is_uppercase() && !second.is_uppercase() => {
            first.to_lowercase().chain(trimmed.chars().skip(1)).collect()
        }
        _ => trimmed.to_owned(),
    }
}

/// A path as a shell takes it.
pub(super) fn shell(path: &Path) -> String {
    let text = path.display().to_string();
    let harmless = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%=".contains(c);
    if !text.is_empty() && text.chars().all(harmless) {
        return text;
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_lower_case_fragments_without_a_period() {
        assert_eq!(plain("Permission denied."), "permission denied");
        assert_eq!(plain("HEAD is missing"), "HEAD is missing");
        assert_eq!(plain(" "), "");
    }

    #[test]
    fn hints_survive_a_shell() {
        assert_eq!(shell(Path::new("/a/b-c.d")), "/a/b-c.d");
        assert_eq!(shell(Path::new("/a b/it's")), r"'/a b/it'\''s'");
    }
}
