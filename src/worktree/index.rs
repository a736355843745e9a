//! Changes to the index of a worktree of ours. A lock of git's is waited for and never removed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use git2::Oid;

use super::Inner;
use super::carry::{Entry, index_entry};
use super::error::WorktreeError;
use super::lock::retry_busy;
use super::objects::index_info;
use super::source::Source;

/// Sets entries of the index; `None` takes one out. One that is so already is left alone.
pub(super) fn update(
    inner: &Inner,
    source: &Source<'_>,
    entries: &BTreeMap<PathBuf, Option<Entry>>,
) -> Result<(), WorktreeError> {
    if entries.is_empty() {
        return Ok(());
    }
    retry_busy(inner.options.lock_file_wait, || {
        let Some(repo) = &source.repo else {
            let pairs: Vec<_> = entries.iter().map(|(path, entry)| (path, entry.as_ref())).collect();
            let mut call = source.call(&["update-index", "-z", "--index-info"]);
            call.stdin = index_info(source, &pairs)?;
            return source.program()?.run(&call).map(drop);
        };
        let write = || {
            let mut index = repo.index()?;
            index.read(true)?;
            let mut is_changed = false;
            for (path, entry) in entries {
                let now = index.get_path(path, 0);
                match entry {
                    None if now.is_some() => index.remove_path(path)?,
                    Some(entry) => {
                        let id = Oid::from_str(&entry.object)?;
                        if now.is_some_and(|now| now.id == id && now.mode == entry.mode) {
                            continue;
                        }
                        index.add(&index_entry(path, entry.mode, id))?;
                    }
                    None => continue,
                }
                is_changed = true;
            }
            if is_changed { index.write() } else { Ok(()) }
        };
        write().map_err(|error: git2::Error| WorktreeError::git("write the index", &source.top, &error))
    })
}

/// Makes the index that of a tree.
pub(super) fn read_tree(inner: &Inner, source: &Source<'_>, tree: &str) -> Result<(), WorktreeError> {
    retry_busy(inner.options.lock_file_wait, || {
        let Some(repo) = &source.repo else {
            return source.program()?.run(&source.call(&["read-tree", tree])).map(drop);
        };
        let write = || {
            let mut index = repo.index()?;
            index.read_tree(&repo.find_tree(Oid::from_str(tree)?)?)?;
            index.write()
        };
        write().map_err(|error: git2::Error| WorktreeError::git("write the index", &source.top, &error))
    })
}

/// The tree of the index as it is.
pub(super) fn write_tree(source: &Source<'_>) -> Result<String, WorktreeError> {
    let Some(repo) = &source.repo else {
        let out = source.program()?.run(&source.call(&["write-tree"]))?;
        return Ok(String::from_utf8_lossy(&out).trim().to_owned());
    };
    let write = || repo.index()?.write_tree_to(repo).map(|id| id.to_string());
    write()
        .map_err(|error: git2::Error| WorktreeError::git("write the tree of the index", &source.top, &error))
}
