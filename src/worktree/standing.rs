//! Where a worktree stands: whether its directory is still the one that was made, and where its repository
//! is if that was moved. Reads files, and starts no git; what it writes is a mark of ours and, where the
//! repository was moved, the directory's own pointer to it.
//!
//! **Invariant:** a repository counts as the one that was moved only if it has the worktree's mark, and one
//! alone has it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::at::check_place;
use super::error::{WorktreeError, WorktreeErrorKind, shell};
use super::identity::{self, Identity, Verdict, mark_in};
use super::known::Known;
use super::remove::{place, trashed_entry, trashed_entry_in};
use super::source::{bytes_of, path_from};
use super::{Inner, Worktrees};
use crate::regular;

/// Directories beside a repository's former place that are looked into for it, at most.
const SIBLINGS_MAX: usize = 4_096;

/// Where a worktree stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is the one that was made, and all of it is as it is written down.
    Same,
    /// It is the one; this is to be written down of it.
    Renewed(Identity),
    /// It is the one, and its repository is elsewhere.
    Moved {
        /// The git directory that all worktrees of the repository share.
        common_dir: PathBuf,
        /// The top of the checkout that it was made from.
        top: PathBuf,
    },
}

impl Worktrees {
    /// Where a worktree stands, be it in its place or in the trash. One without a mark gets one, as long as
    /// all that is known of it agrees.
    ///
    /// # Errors
    /// `Foreign` where it is another directory, `NotARepo` where its repository is gone, with the way to say
    /// where it is; what the disk says.
    pub async fn standing(&self, known: &Known) -> Result<Standing, WorktreeError> {
        let known = known.clone();
        self.job(&self.inner.looks, move |inner| standing(inner, &known)).await
    }
}

/// Looks. Blocks.
pub(super) fn standing(inner: &Inner, known: &Known) -> Result<Standing, WorktreeError> {
    let is_there = |path: &Path| fs::symlink_metadata(path).is_ok();
    let trashed = inner.trashed(known);
    let is_trashed = !is_there(&known.path) && is_there(&trashed);
    let directory = if is_trashed { &trashed } else { &known.path };
    let entry = [known.admin(), trashed_entry(known)].into_iter().find(|entry| is_there(entry));
    let Some(entry) = entry else {
        return match repository_of(known, directory) {
            Some(common_dir) => follow(known, directory, common_dir),
            None if is_there(&known.common_dir) => {
                Err(at_fault(known, "its entry in the repository is gone"))
            }
            None => Err(gone(known)),
        };
    };
    if !is_trashed {
        check_place(known)?;
    }
    let found =
        Identity::of(directory, &entry).map_err(|error| WorktreeError::io("look at", directory, &error))?;
    match known.identity.judge(&found) {
        Verdict::Same => Ok(Standing::Same),
        Verdict::Renewed if found.mark.is_some() => Ok(Standing::Renewed(found)),
        Verdict::Renewed => {
            let mark = known.identity.mark.clone().unwrap_or_else(identity::fresh_mark);
            identity::write_mark(&entry, &mark)?;
            Ok(Standing::Renewed(Identity { mark: Some(mark), ..found }))
        }
        Verdict::Another(why) => Err(replaced(known, why)),
    }
}

/// The error for a worktree of which something is missing that hob can make again.
fn at_fault(known: &Known, why: &str) -> WorktreeError {
    let message = format!("`{}`: {why}", known.path.display());
    WorktreeError::new(WorktreeErrorKind::Foreign, message).hint(format!("hob worktree restore {}", known.id))
}

/// The error for a worktree whose directory is not there.
pub(super) fn lost(known: &Known) -> WorktreeError {
    match place::moved_to(known) {
        Some(to) => moved(known, &to),
        None => at_fault(known, "the worktree's directory is gone"),
    }
}

/// The error for a worktree that its owner moved.
pub(super) fn moved(known: &Known, to: &Path) -> WorktreeError {
    let message = format!("the worktree `{}` was moved to `{}`", known.path.display(), to.display());
    WorktreeError::new(WorktreeErrorKind::Foreign, message).hint(format!(
        "git -C {} worktree move --force --force {} {}",
        shell(&known.top),
        shell(to),
        shell(&known.path)
    ))
}

/// The error for a worktree in whose place another directory is, or may be.
pub(super) fn replaced(known: &Known, why: &str) -> WorktreeError {
    let (path, mut aside) = (shell(&known.path), known.path.clone().into_os_string());
    aside.push(".aside");
    let hint = format!("mv {path} {} && hob worktree restore {}", shell(Path::new(&aside)), known.id);
    let message = format!("`{}`: {why}", known.path.display());
    WorktreeError::new(WorktreeErrorKind::Foreign, message).hint(hint)
}

/// The error for a worktree whose `.git` and whose entry do not name each other.
pub(super) fn unlinked(known: &Known) -> WorktreeError {
    at_fault(known, "it is not the worktree of its repository any more: its `.git` does not lead there")
}

/// The error for a worktree whose repository is gone.
pub(super) fn gone(known: &Known) -> WorktreeError {
    let message = format!(
        "the repository of `{}` is not at `{}` any more; if it was moved, say so from where it is now",
        known.path.display(),
        known.common_dir.display()
    );
    WorktreeError::new(WorktreeErrorKind::NotARepo, message)
        .hint(format!("git -C NEW_PLACE worktree repair {}", shell(&known.path)))
}

/// The git directory that has the worktree's mark now: where its own pointer leads, or beside where the
/// repository was.
fn repository_of(known: &Known, directory: &Path) -> Option<PathBuf> {
    let mark = known.identity.mark.as_deref()?;
    let has_it = |common_dir: &Path| {
        let entry = common_dir.join("worktrees").join(&known.id);
        mark_in(&entry).or_else(|| mark_in(&trashed_entry_in(common_dir, &known.id))).as_deref() == Some(mark)
    };
    let pointed = pointed_to(directory).into_iter();
    let found: BTreeSet<PathBuf> = pointed
        .chain(beside(known))
        .filter(|common_dir| has_it(common_dir))
        .filter_map(|common_dir| fs::canonicalize(common_dir).ok())
        .collect();
    // Of two copies nobody knows which is meant.
    if found.len() == 1 { found.into_iter().next() } else { None }
}

/// The git directory that the worktree's own file leads to.
fn pointed_to(directory: &Path) -> Option<PathBuf> {
    let text = regular::read(&directory.join(".git")).ok()?;
    let entry = path_from(text.strip_prefix(b"gitdir: ")?.trim_ascii_end().to_vec());
    Some(directory.join(entry).parent()?.parent()?.to_owned())
}

/// What of the path of its git directory was beneath the checkout, and the checkout.
fn parts(known: &Known) -> (&Path, &Path) {
    match known.common_dir.strip_prefix(&known.top) {
        Ok(rest) => (&known.top, rest),
        Err(_) => (&known.common_dir, Path::new("")),
    }
}

/// Git directories beside the one that is gone.
fn beside(known: &Known) -> Vec<PathBuf> {
    let (repository, rest) = parts(known);
    let folder = repository.parent().and_then(|folder| fs::read_dir(folder).ok());
    let entries = folder.into_iter().flatten().flatten().take(SIBLINGS_MAX);
    entries
        .map(|entry| if rest.as_os_str().is_empty() { entry.path() } else { entry.path().join(rest) })
        .collect()
}

/// Has the worktree's own pointer lead to where the repository is now.
fn follow(known: &Known, directory: &Path, common_dir: PathBuf) -> Result<Standing, WorktreeError> {
    let (repository, rest) = parts(known);
    let top = if rest.as_os_str().is_empty() {
        if repository == known.top { common_dir.clone() } else { known.top.clone() }
    } else {
        common_dir.ancestors().nth(rest.components().count()).unwrap_or(&known.top).to_owned()
    };
    if pointed_to(directory).is_none_or(|at| fs::canonicalize(at).ok().as_ref() != Some(&common_dir)) {
        let to = common_dir.join("worktrees").join(&known.id);
        let dot_git = directory.join(".git");
        let is_file = fs::symlink_metadata(&dot_git).is_ok_and(|at| at.is_file());
        if !is_file {
            return Err(super::at::foreign(known, "its `.git` is no file any more"));
        }
        fs::write(&dot_git, [b"gitdir: ", bytes_of(&to), b"\n"].concat())
            .map_err(|error| WorktreeError::io("write", &dot_git, &error))?;
    }
    Ok(Standing::Moved { common_dir, top })
}
