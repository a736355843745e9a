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
    /// A file is written to while it is read.
    Changing,
    /// Somebody else holds the lock that is named, and kept it.
    Busy(String),
    /// The uncommitted changes cannot be carried over.
    Carry,
    /// The directory is not the worktree that was recorded.
    Foreign,
    /// An object is not in the repository any more.
    Missing,
    /// There is no change of that name: says which.
    NoSuchChange,
    /// Something is in the way of what was asked for: says what.
    InTheWay,
    /// Nothing more can be written: the disk, or a quota.
    Full,
    /// The file system, or git, failed.
    Io,
}

impl WorktreeErrorKind {
    /// Whether there is no checkout where one was looked for.
    pub fn is_no_checkout(&self) -> bool {
        matches!(self, Self::NotARepo | Self::Bare | Self::NoCommit)
    }
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
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => this.full(path),
            _ => this,
        }
    }

    /// The same, because nothing more can be written.
    fn full(self, path: &Path) -> Self {
        Self { kind: WorktreeErrorKind::Full, ..self }.hint(format!("df -h {}", shell(path)))
    }

    /// libgit2 failed while `action` was done in `path`.
    pub(super) fn git(action: &str, path: &Path, error: &git2::Error) -> Self {
        // Taken first: whatever is asked of the system next may change it.
        let errno = io::Error::last_os_error();
        let said = plain(&cause(error.message(), &errno, || has_no_room(path)));
        let message = format!("cannot {action} in `{}`: {said}", path.display());
        let this = |kind| Self::new(kind, message);
        match error.code() {
            git2::ErrorCode::Locked => this(WorktreeErrorKind::Busy(said)),
            git2::ErrorCode::NotFound if error.class() == git2::ErrorClass::Odb => {
                this(WorktreeErrorKind::Missing)
            }
            _ if is_changing(&said) => this(WorktreeErrorKind::Changing).hint("try again in a moment"),
            _ if is_missing(&said) => this(WorktreeErrorKind::Missing),
            _ if is_full(&said) => this(WorktreeErrorKind::Full).full(path),
            _ => this(WorktreeErrorKind::Io),
        }
    }

    /// `what` cannot be done in the repository at `path`, and `why`.
    pub(super) fn unsupported(what: &str, path: &Path, why: &str) -> Self {
        Self::new(
            WorktreeErrorKind::Unsupported(what.to_owned()),
            format!("the repository `{}` uses {what}: {why}", path.display()),
        )
    }
}

/// What libgit2 says of an entry whose object is not there.
const NO_OBJECT: &str = "invalid object specified";
/// What libgit2, or its wrapper, says where it failed and left no word about it.
const NO_WORD: [&str; 3] = ["", "no error", "an unknown git error occurred"];
/// What the system says where nothing more can be written.
const FULL: [&str; 2] = ["no space left on device", "disk quota exceeded"];
/// Failures of the system that are told by libgit2 without a word. Any other number may be left over
/// from something that went well in the end.
const TELLING: [i32; 11] = [
    libc::ENOSPC,
    libc::EDQUOT,
    libc::EFBIG,
    libc::EROFS,
    libc::EIO,
    libc::EACCES,
    libc::EPERM,
    libc::EMFILE,
    libc::ENFILE,
    libc::ENOMEM,
    libc::ENAMETOOLONG,
];

/// Why libgit2 failed: by its own word, or by what the system said last.
fn cause(said: &str, errno: &io::Error, has_no_room: impl FnOnce() -> bool) -> String {
    if !NO_WORD.contains(&said.trim()) {
        return said.to_owned();
    }
    if errno.raw_os_error().is_some_and(|number| TELLING.contains(&number)) {
        let text = errno.to_string();
        return text.split(" (os error").next().unwrap_or_default().to_owned();
    }
    if has_no_room() { FULL[0].to_owned() } else { "libgit2 does not say why".to_owned() }
}

/// Whether an object is not there, or the directory that it was to be written to: a prune takes empty
/// ones away.
fn is_missing(said: &str) -> bool {
    said.contains(NO_OBJECT) || (said.contains("/objects/") && said.contains("No such file or directory"))
}

/// What libgit2 and git say of a file that became shorter or longer while they read it.
const CHANGED: [&str; 4] = [
    "failed to read file into stream",
    "error reading file for hashing",
    "file changed before we could read it",
    "short read while indexing",
];

/// Whether a file was written to while it was read.
pub(super) fn is_changing(said: &str) -> bool {
    CHANGED.iter().any(|words| said.contains(words))
}

fn is_full(said: &str) -> bool {
    let said = said.to_ascii_lowercase();
    FULL.iter().any(|full| said.contains(full))
}

/// Whether a file system has no place for another file.
fn has_no_room(path: &Path) -> bool {
    nix::sys::statvfs::statvfs(path)
        .is_ok_and(|room| room.blocks_available() == 0 || (room.files() > 0 && room.files_available() == 0))
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
    fn what_libgit2_does_not_say_is_told_by_the_system() {
        let errno = io::Error::from_raw_os_error;
        for (said, number, has_no_room, told) in [
            ("no error", libc::ENOSPC, false, "No space left on device"),
            ("", libc::EDQUOT, false, "Disk quota exceeded"),
            ("no error", libc::EFBIG, false, "File too large"),
            ("no error", libc::ENOENT, true, "no space left on device"),
            ("an unknown git error occurred", libc::ENOENT, false, "libgit2 does not say why"),
            ("object not found", libc::ENOSPC, true, "object not found"),
        ] {
            assert_eq!(cause(said, &errno(number), || has_no_room), told, "{said} {number}");
        }
    }

    #[test]
    fn an_error_of_git_has_the_kind_of_its_cause() {
        let of = |code, class, said: &str| {
            WorktreeError::git("write", Path::new("/"), &git2::Error::new(code, class, said))
        };
        use git2::{ErrorClass as C, ErrorCode as E};
        let full = of(E::GenericError, C::Os, "failed to write: No space left on device");
        assert_eq!((full.kind, full.hint.as_deref()), (WorktreeErrorKind::Full, Some("df -h /")));
        let quota = of(E::GenericError, C::Os, "could not write: Disk quota exceeded");
        assert_eq!(quota.kind, WorktreeErrorKind::Full);
        let gone = of(E::NotFound, C::Odb, "object not found - no match for id (12)");
        assert_eq!(gone.kind, WorktreeErrorKind::Missing);
        let gone = of(E::GenericError, C::Tree, "failed to insert entry: invalid object specified - a");
        assert_eq!(gone.kind, WorktreeErrorKind::Missing);
        let gone =
            of(E::GenericError, C::Os, "failed to rename to '/r/objects/5c/e8': No such file or directory");
        assert_eq!(gone.kind, WorktreeErrorKind::Missing);
        assert_eq!(of(E::NotFound, C::Reference, "no reference").kind, WorktreeErrorKind::Io);
    }

    #[test]
    fn hints_survive_a_shell() {
        assert_eq!(shell(Path::new("/a/b-c.d")), "/a/b-c.d");
        assert_eq!(shell(Path::new("/a b/it's")), r"'/a b/it'\''s'");
    }
}
