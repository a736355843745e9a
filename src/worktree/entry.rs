//! Makes the entry of a worktree in its repository, and its directory, as `git worktree add` would.
//! libgit2 and git ask every other worktree what it has checked out before they make one, and wait for
//! ever where one of them cannot answer. Here no other worktree is looked at: the branch is new.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::LOCK_REASON;
use super::error::{WorktreeError, WorktreeErrorKind};
use super::source::bytes_of;
use super::undo::Names;

/// Makes both, without files and without an index.
pub(super) fn make(names: &Names) -> Result<(), WorktreeError> {
    let worktrees = names.admin.parent().unwrap_or(&names.admin);
    fs::create_dir_all(worktrees).map_err(|error| WorktreeError::io("make", worktrees, &error))?;
    for dir in [&names.admin, &names.path] {
        fs::create_dir(dir).map_err(|error| taken(dir, &error))?;
    }
    let head = format!("ref: {}\n", names.reference).into_bytes();
    let back = [bytes_of(&names.path.join(".git")), b"\n"].concat();
    let points = [b"gitdir: ", bytes_of(&names.admin), b"\n"].concat();
    // Locked first, or a `git worktree prune` of that moment would take it.
    write(&names.admin.join("locked"), LOCK_REASON.as_bytes())?;
    write(&names.admin.join("commondir"), b"../..\n")?;
    write(&names.admin.join("HEAD"), &head)?;
    write(&names.admin.join("gitdir"), &back)?;
    write(&names.path.join(".git"), &points)
}

/// What git-crypt keeps its keys in, in a git directory. It looks there alone, and not in the shared one.
const KEYS: &str = "git-crypt";

/// Whether files of the repository can be read only with keys that lie in its git directory.
pub(super) fn has_keys(common_dir: &Path) -> bool {
    common_dir.join(KEYS).is_dir()
}

/// Lets the filter find its keys from a worktree, too.
pub(super) fn link_keys(common_dir: &Path, admin: &Path) -> Result<(), WorktreeError> {
    if !has_keys(common_dir) {
        return Ok(());
    }
    let link = admin.join(KEYS);
    match symlink(Path::new("../..").join(KEYS), &link) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(WorktreeError::io("make", &link, &error))
        }
        _ => Ok(()),
    }
}

fn write(file: &Path, bytes: &[u8]) -> Result<(), WorktreeError> {
    fs::write(file, bytes).map_err(|error| WorktreeError::io("write", file, &error))
}

fn taken(dir: &Path, error: &io::Error) -> WorktreeError {
    let failed = WorktreeError::io("make", dir, error);
    match error.kind() {
        io::ErrorKind::AlreadyExists => WorktreeError { kind: WorktreeErrorKind::PathTaken, ..failed },
        _ => failed,
    }
}
