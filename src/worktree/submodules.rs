//! Submodules, as far as a look at a worktree goes: of each the commit that is checked out is seen, and
//! of what is in it and not committed only that there is something.

use std::fs;
use std::path::{Path, PathBuf};

use git2::{DiffOptions, Repository};

/// Those of these submodules that hold something which no look sees: what is uncommitted in one, or
/// lies where one is not checked out. One that cannot be read counts.
pub(super) fn unseen(top: &Path, links: impl IntoIterator<Item = PathBuf>) -> Vec<PathBuf> {
    links.into_iter().filter(|path| holds_something(&top.join(path))).collect()
}

fn holds_something(place: &Path) -> bool {
    match Repository::open(place) {
        Ok(repo) => is_changed(&repo).unwrap_or(true),
        Err(_) => fs::read_dir(place).is_ok_and(|mut entries| entries.next().is_some()),
    }
}

fn is_changed(repo: &Repository) -> Result<bool, git2::Error> {
    let index = repo.index()?;
    let head = repo.head().and_then(|head| head.peel_to_tree()).ok();
    let mut options = DiffOptions::new();
    options.include_untracked(true).include_typechange(true).skip_binary_check(true);
    Ok(repo.diff_tree_to_index(head.as_ref(), Some(&index), None)?.deltas().len() > 0
        || repo.diff_index_to_workdir(Some(&index), Some(&mut options))?.deltas().len() > 0)
}
