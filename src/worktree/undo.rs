//! Takes back a worktree that was only just made: the directory, its entry in the repository, the
//! branch. Only ever what creation made, and after creation has ended only if nothing in it was
//! touched since. A worktree that somebody worked in is never removed here.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use git2::Repository;
use sha2::{Digest, Sha256};

use super::base;
use super::error::WorktreeError;
use super::identity::{Identity, Verdict};
use super::safe_path::is_absent;
use super::source::{Source, bytes_of};
use super::{Created, LOCK_REASON};
use crate::regular;

/// What was taken back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "what was left behind should be told"]
pub struct TakenBack {
    /// What was left where it is, and why; empty if everything is gone.
    pub kept: Vec<String>,
}

/// The names of one worktree.
#[derive(Debug, Clone)]
pub(super) struct Names {
    /// The directory.
    pub(super) path: PathBuf,
    /// Its entry in the repository.
    pub(super) admin: PathBuf,
    /// The full name of its branch.
    pub(super) reference: String,
    /// The commit that the branch was made at, in hex.
    pub(super) base: String,
}

impl Names {
    /// The names of a worktree that was made.
    pub(super) fn of(created: &Created) -> Self {
        Self {
            path: created.path.clone(),
            admin: created.common_dir.join("worktrees").join(created.path.file_name().unwrap_or_default()),
            reference: format!("refs/heads/{}", created.branch),
            base: created.base_commit.clone(),
        }
    }
}

/// Removes whatever of the names exists, the branch only where it points to the base. Says what
/// could not be removed.
pub(super) fn wipe(source: &Source<'_>, names: &Names) -> Vec<String> {
    let mut kept = Vec::new();
    if belongs_to_another(names) {
        return vec![format!("`{}`, which is another repository's", names.path.display())];
    }
    for dir in [&names.path, &names.admin] {
        // Does not follow symbolic links.
        match fs::remove_dir_all(dir) {
            Err(error) if !is_absent(&error) => kept.push(format!("`{}` ({error})", dir.display())),
            _ => {}
        }
    }
    match source.commit_of_ref(&names.reference) {
        Ok(Some(at)) if at == names.base => {
            if let Err(error) = source.delete_ref(&names.reference, &names.base) {
                kept.push(format!("`{}` ({error})", names.reference));
            }
        }
        Ok(Some(at)) => kept.push(format!("`{}`, which points to {at} now", names.reference)),
        Ok(None) => {}
        Err(error) => kept.push(format!("`{}` ({error})", names.reference)),
    }
    let held = base::reference(names.admin.file_name().and_then(|id| id.to_str()).unwrap_or_default());
    if let Ok(Some(at)) = source.commit_of_ref(&held)
        && let Err(error) = source.delete_ref(&held, &at)
    {
        kept.push(format!("`{held}` ({error})"));
    }
    for empty in ["worktrees", "refs/heads/hob", "logs/refs/heads/hob", "refs/hob/base", "refs/hob"] {
        // Only an empty directory can go this way; git makes them again.
        fs::remove_dir(source.common_dir.join(empty)).ok();
    }
    kept
}

/// Removes a worktree that was made a moment ago if nothing in it has changed since.
pub(super) fn undo(source: &Source<'_>, created: &Created) -> TakenBack {
    let names = Names::of(created);
    match changed(source, created, &names) {
        Ok(None) => TakenBack { kept: wipe(source, &names) },
        Ok(Some(what)) => TakenBack {
            kept: vec![format!("`{}` and its branch `{}`: {what}", created.path.display(), created.branch)],
        },
        Err(error) => TakenBack {
            kept: vec![format!("`{}` and its branch `{}`: {error}", created.path.display(), created.branch)],
        },
    }
}

/// What is no longer as creation left it.
fn changed(
    source: &Source<'_>,
    created: &Created,
    names: &Names,
) -> Result<Option<&'static str>, WorktreeError> {
    let io = |error: io::Error| WorktreeError::io("look at", &names.path, &error);
    let found = fs::symlink_metadata(&names.path).map_err(io)?;
    let now = Identity::of(&names.path, &names.admin).map_err(io)?;
    if !found.is_dir() || matches!(created.identity.judge(&now), Verdict::Another(_)) {
        return Ok(Some("another directory is there now"));
    }
    if !is_linked(names) {
        return Ok(Some("it is not the worktree of this repository any more"));
    }
    if regular::read_text(&names.admin.join("locked")).map_err(io)?.trim() != LOCK_REASON {
        return Ok(Some("it was locked by somebody else"));
    }
    if head_of(source, &names.path)?.as_deref() != Some(names.reference.as_str()) {
        return Ok(Some("another branch is checked out"));
    }
    if source.commit_of_ref(&names.reference)?.as_deref() != Some(names.base.as_str()) {
        return Ok(Some("something was committed"));
    }
    if seal(&names.path).map_err(io)? != created.seal {
        return Ok(Some("files were changed in it"));
    }
    Ok(None)
}

/// Whether the directory is a checkout, and not of our entry.
fn belongs_to_another(names: &Names) -> bool {
    let Ok(text) = regular::read(&names.path.join(".git")) else { return false };
    // libgit2 ends it with a slash before we write it anew; an empty one was only begun.
    !text.is_empty() && !text.starts_with(&[b"gitdir: ", bytes_of(&names.admin)].concat())
}

/// Whether the directory's `.git` file and the entry's back pointer name each other.
pub(super) fn is_linked(names: &Names) -> bool {
    let points = |file: PathBuf, prefix: &str, to: &Path| {
        let text = regular::read(&file).unwrap_or_default();
        let text = text.strip_suffix(b"\n").unwrap_or(&text);
        text.strip_prefix(prefix.as_bytes()).is_some_and(|path| path == bytes_of(to))
    };
    points(names.path.join(".git"), "gitdir: ", &names.admin)
        && points(names.admin.join("gitdir"), "", &names.path.join(".git"))
}

/// The full name of the branch that is checked out.
fn head_of(source: &Source<'_>, path: &Path) -> Result<Option<String>, WorktreeError> {
    if source.repo.is_some() {
        let head = Repository::open(path).and_then(|repo| {
            let head = repo.find_reference("HEAD")?;
            Ok(head.symbolic_target_bytes().map(|name| String::from_utf8_lossy(name).into_owned()))
        });
        return head.map_err(|error| WorktreeError::git("read HEAD", path, &error));
    }
    let out = source.program()?.probe(&source.call_in(path, &["symbolic-ref", "--quiet", "HEAD"]))?;
    Ok(out.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned()))
}

/// A digest of every name, kind, size, inode and change time below a directory: whatever is
/// written, added, renamed or removed below it changes the digest.
pub(super) fn seal(top: &Path) -> io::Result<[u8; 32]> {
    let (mut hash, mut to_do) = (Sha256::new(), vec![top.to_owned()]);
    while let Some(dir) = to_do.pop() {
        let mut entries = fs::read_dir(&dir)?.collect::<Result<Vec<_>, _>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (path, found) = (entry.path(), entry.metadata()?);
            hash.update(bytes_of(path.strip_prefix(top).unwrap_or(&path)));
            hash.update([0]);
            hash.update(found.mode().to_le_bytes());
            hash.update(found.ino().to_le_bytes());
            if found.is_dir() {
                to_do.push(path);
            } else {
                // A directory's own times move when git looks at it; its entries are hashed.
                hash.update(found.size().to_le_bytes());
                hash.update(found.ctime().to_le_bytes());
                hash.update(found.ctime_nsec().to_le_bytes());
            }
        }
    }
    Ok(hash.finalize().into())
}
