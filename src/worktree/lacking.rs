//! Whether a new worktree has every file that git has of it. A file system that takes two names for one
//! cannot have both; such a file was never there, and must not count as one that somebody deleted.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::carry::shown;
use super::error::WorktreeError;
use super::objects::GITLINK;
use super::source::{Source, path_from, records};

/// In the extended flags of an index entry: left out of the checkout on purpose.
const SKIP_WORKTREE: u16 = 1 << 14;

/// What the index of a new worktree has, and the disk has not for itself.
pub(super) fn files(source: &Source<'_>, top: &Path) -> Result<Vec<PathBuf>, WorktreeError> {
    let mut lacking = Vec::new();
    let mut places: BTreeMap<(u64, u64), PathBuf> = BTreeMap::new();
    for path in expected(source, top)? {
        let Ok(found) = fs::symlink_metadata(top.join(&path)) else {
            lacking.push(path);
            continue;
        };
        // Two names for one file, of which git made one.
        if let Some(other) = places.insert((found.dev(), found.ino()), path.clone()) {
            lacking.extend([other, path]);
        }
    }
    lacking.sort();
    lacking.dedup();
    Ok(lacking)
}

/// What a person should know of it.
pub(super) fn notice(lacking: &[PathBuf]) -> Option<String> {
    (!lacking.is_empty()).then(|| {
        format!(
            "the file system of the worktree cannot have these files beside others: {}; they do not count as deleted",
            shown(lacking)
        )
    })
}

fn expected(source: &Source<'_>, top: &Path) -> Result<Vec<PathBuf>, WorktreeError> {
    if source.repo.is_some() {
        let index = source.handles.open(top).and_then(|repo| repo.index());
        let index = index.map_err(|error| WorktreeError::git("read the index", top, &error))?;
        let is_expected =
            |entry: &git2::IndexEntry| entry.mode != GITLINK && entry.flags_extended & SKIP_WORKTREE == 0;
        return Ok(index.iter().filter(is_expected).map(|entry| path_from(entry.path)).collect());
    }
    let out = source.program()?.run(&source.call_in(top, &["ls-files", "-t", "-s", "-z"]))?;
    // `H 100644 ID 0\tPATH`; `S` is left out on purpose.
    let kept = records(&out).filter(|line| line.starts_with(b"H ") && !line.starts_with(b"H 160000"));
    Ok(kept
        .filter_map(|line| line.splitn(2, |byte| *byte == b'\t').nth(1))
        .map(|path| path_from(path.to_vec()))
        .collect())
}
