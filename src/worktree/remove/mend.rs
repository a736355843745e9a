//! Makes a worktree whole again that somebody took apart in its place: its directory was removed, its `.git`
//! or its entry in the repository is gone. What is there is left as it is, and what is missing is made: the
//! files as they were last seen, in a directory that is put into its place when it is complete.

use std::fs;
use std::path::Path;

use super::TRASH_DIR;
use super::manifest::Manifest;
use super::place::{is_marked, mark, moved_to};
use super::restore::{Restored, clear, finish_with, follow_branch, make_entry, unfinished, write_files};
use super::salvage::sync;
use super::trash::make;
use crate::worktree::error::WorktreeError;
use crate::worktree::identity::{Identity, Verdict, fresh_mark, mark_in, write_mark};
use crate::worktree::known::Known;
use crate::worktree::large;
use crate::worktree::objects::Objects;
use crate::worktree::source::bytes_of;
use crate::worktree::standing::{moved, replaced};
use crate::worktree::undo::{Names, is_linked};
use crate::worktree::{Inner, Worktrees};

impl Worktrees {
    /// Makes a worktree whole again where it was, with the files of `tree` if its directory is gone.
    ///
    /// # Errors
    /// `Foreign` where another directory is in its place, or its owner moved it; what git or the disk says.
    pub async fn mend(&self, known: &Known, tree: Option<String>) -> Result<Restored, WorktreeError> {
        let known = known.clone();
        self.locked_job(&known.common_dir.clone(), move |inner, _lock| mend(inner, &known, tree.as_deref()))
            .await
    }
}

fn mend(inner: &Inner, known: &Known, tree: Option<&str>) -> Result<Restored, WorktreeError> {
    let common = inner.repository(known)?;
    let objects = Objects::of(&common);
    let is_here = is_here(known)?;
    let branch = format!("refs/heads/{}", known.branch);
    let at = common.commit_of_ref(&branch)?;
    let head = at.clone().unwrap_or_else(|| known.base_commit.clone());
    let manifest = Manifest {
        worktree: known.id.clone(),
        branch: at.is_some().then_some(branch),
        head: Some(head.clone()),
        index: Some(head.clone()),
        ..Manifest::default()
    };
    let has_entry = fs::symlink_metadata(known.admin()).is_ok();
    let mut notices = Vec::new();
    if !has_entry {
        make_entry(&common, known, &manifest)?;
        notices.push("what was staged, and which commit it stood at, went with its entry".to_owned());
    }
    if mark_in(&known.admin()).is_none() {
        write_mark(&known.admin(), &known.identity.mark.clone().unwrap_or_else(fresh_mark))?;
    }
    if is_here {
        if !is_linked(&Names::known(known)) {
            link(known, &known.path)?;
        }
    } else {
        let from = tree.unwrap_or(&head);
        notices.extend(refill(inner, known, &objects, from)?);
    }
    let source = inner.source(&known.path, &known.common_dir)?;
    finish_with(inner, &source, known, &manifest)?;
    if !has_entry {
        notices.extend(follow_branch(&source, known, &manifest)?);
    }
    let identity = Identity::of(&known.path, &known.admin())
        .map_err(|error| WorktreeError::io("look at", &known.path, &error))?;
    Ok(Restored { identity, notices, from_trash: false })
}

/// Whether its directory is in its place; an error where another one is.
fn is_here(known: &Known) -> Result<bool, WorktreeError> {
    let found = match Identity::of(&known.path, &known.admin()) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return moved_to(known).map_or(Ok(false), |to| Err(moved(known, &to)));
        }
        Err(error) => return Err(WorktreeError::io("look at", &known.path, &error)),
    };
    match known.identity.judge(&found) {
        Verdict::Same | Verdict::Renewed => Ok(true),
        // It was put there by a try that was cut short.
        Verdict::Another(_) if is_marked(known, &known.path) => Ok(true),
        Verdict::Another(why) => Err(replaced(known, why)),
    }
}

/// The directory, with the files of a tree; says what is not in it.
fn refill(
    inner: &Inner,
    known: &Known,
    objects: &Objects<'_>,
    tree: &str,
) -> Result<Vec<String>, WorktreeError> {
    let place = unfinished(inner, known);
    make(&inner.root.join(TRASH_DIR))?;
    clear(&place)?;
    make(&place)?;
    write_files(objects, &place, tree, &Manifest::default())?;
    let mut notices = vec![format!(
        "the files of `{}` are as hob last saw them; what was written later, and what git ignores, is not there",
        known.path.display()
    )];
    for (path, entry) in objects.entries(tree)? {
        let is_small = objects.blob_size(&entry.object).is_ok_and(|size| size <= large::POINTER_BYTES_MAX);
        if is_small && large::size_of(&objects.blob(&entry.object)?).is_some() {
            let file = place.join(&path);
            fs::remove_file(&file).map_err(|error| WorktreeError::io("remove", &file, &error))?;
            notices.push(format!("`{}` was too large to be kept, and is not there", path.display()));
        }
    }
    link(known, &place)?;
    mark(known, &place)?;
    fs::rename(&place, &known.path).map_err(|error| WorktreeError::io("move", &place, &error))?;
    sync(&inner.root)?;
    Ok(notices)
}

/// Has a directory lead to the entry.
fn link(known: &Known, directory: &Path) -> Result<(), WorktreeError> {
    let dot_git = directory.join(".git");
    if fs::symlink_metadata(&dot_git).is_ok_and(|at| at.is_dir()) {
        return Err(replaced(known, "a repository of its own is in it"));
    }
    fs::remove_file(&dot_git).ok();
    fs::write(&dot_git, [b"gitdir: ", bytes_of(&known.admin()), b"\n"].concat())
        .map_err(|error| WorktreeError::io("write", &dot_git, &error))
}
