//! Carries uncommitted changes onto another commit than the one that they were made on: a
//! three-way merge of trees by libgit2, which runs no merge driver. Whole or not at all.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use git2::build::CheckoutBuilder;
use git2::{Index, Oid, Repository, Tree};

use super::carry::{Changes, index_entry, refused, shown, source_of};
use super::error::WorktreeError;
use super::source::{Source, bytes_of, path_from};

/// Merges `changes`, made on the user's HEAD, onto the commit `base` in the worktree `target`.
pub(super) fn merge(
    source: &Source<'_>,
    changes: &Changes,
    base: &str,
    target: &Path,
) -> Result<(), WorktreeError> {
    let Some(repo) = &source.repo else {
        return Err(refused(
            source,
            "in this repository they can only be carried to the commit they were made on",
        ));
    };
    let failed =
        |error: git2::Error| WorktreeError::git("merge the uncommitted changes", &source.top, &error);
    let head = repo.head().and_then(|head| head.peel_to_tree()).map_err(failed)?;
    let base_tree = Oid::from_str(base).and_then(|id| repo.find_commit(id)?.tree()).map_err(failed)?;
    let mut index = Index::new().map_err(failed)?;
    index.read_tree(&head).and_then(|()| changes.stage(&mut index)).map_err(failed)?;
    let staged = merged(source, repo, [&head, &base_tree], &mut index)?;
    for path in &changes.files {
        put(repo, &mut index, &source.top, path)?;
    }
    let whole = merged(source, repo, [&head, &base_tree], &mut index)?;
    write(&source.handles.open(target).map_err(failed)?, staged, whole).map_err(failed)
}

/// The merge of the tree of `theirs` onto the second of `[ancestor, base]`.
fn merged(
    source: &Source<'_>,
    repo: &Repository,
    on: [&Tree<'_>; 2],
    theirs: &mut Index,
) -> Result<Oid, WorktreeError> {
    let failed =
        |error: git2::Error| WorktreeError::git("merge the uncommitted changes", &source.top, &error);
    let tree = theirs.write_tree_to(repo).and_then(|id| repo.find_tree(id)).map_err(failed)?;
    let mut result = repo.merge_trees(on[0], on[1], &tree, None).map_err(failed)?;
    if result.has_conflicts() {
        let conflicts = result.conflicts().map_err(failed)?.flatten();
        let paths =
            conflicts.filter_map(|c| c.our.or(c.their).or(c.ancestor)).map(|entry| path_from(entry.path));
        let paths: Vec<PathBuf> = paths.collect();
        return Err(refused(source, &format!("they conflict with the base in {}", shown(&paths))));
    }
    result.write_tree_to(repo).map_err(failed)
}

/// Puts the content that a path has in the user's checkout into an index in memory.
fn put(repo: &Repository, index: &mut Index, top: &Path, path: &Path) -> Result<(), WorktreeError> {
    let failed = |error: git2::Error| WorktreeError::git("merge the uncommitted changes", top, &error);
    let Some(from) = source_of(top, path)? else {
        // One that is only untracked elsewhere was never in it.
        index.remove_path(path).ok();
        return Ok(());
    };
    let io = |error: std::io::Error| WorktreeError::io("read", &from, &error);
    let found = fs::symlink_metadata(&from).map_err(io)?;
    let (mode, id) = if found.is_symlink() {
        (0o120_000, repo.blob(bytes_of(&fs::read_link(&from).map_err(io)?)).map_err(failed)?)
    } else {
        let mode = if found.mode() & 0o100 == 0 { 0o100_644 } else { 0o100_755 };
        (mode, repo.blob_path(&from).map_err(failed)?)
    };
    // A file where a directory was, or the other way round.
    index.remove_dir(path, 0).ok();
    for parent in path.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty()) {
        index.remove(parent, 0).ok();
    }
    index.add(&index_entry(path, mode, id)).map_err(failed)
}

/// Gives the worktree the files of one tree and the index of another.
fn write(repo: &Repository, staged: Oid, whole: Oid) -> Result<(), git2::Error> {
    let mut options = CheckoutBuilder::new();
    options.force().update_index(false);
    repo.checkout_tree(repo.find_tree(whole)?.as_object(), Some(&mut options))?;
    let mut index = repo.index()?;
    index.read_tree(&repo.find_tree(staged)?)?;
    index.write()
}
