//! What differs between two trees, file by file. Reads objects only.

use std::collections::BTreeMap;
use std::path::PathBuf;

use git2::{Diff, DiffFindOptions, DiffOptions, Oid, Repository};

use crate::worktree::carry::Entry;
use crate::worktree::source::path_from;

/// Files that are compared with one another to find renames, at most.
const RENAMES_MAX: usize = 400;

/// How a file differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::worktree) enum Status {
    /// It is new.
    Added,
    /// Its content, or its mode, is another.
    Modified,
    /// It is gone.
    Deleted,
    /// It has another name, and maybe other content.
    Renamed,
    /// It was a file and is a link, or the like.
    Type,
}

/// A file that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::worktree) struct Delta {
    /// How.
    pub(in crate::worktree) status: Status,
    /// What it was, and where.
    pub(in crate::worktree) old: Option<(PathBuf, Entry)>,
    /// What it is, and where.
    pub(in crate::worktree) new: Option<(PathBuf, Entry)>,
}

impl Delta {
    /// Where it is, or was.
    pub(in crate::worktree) fn path(&self) -> &PathBuf {
        match (&self.new, &self.old) {
            (Some((path, _)), _) | (None, Some((path, _))) => path,
            (None, None) => EMPTY.get_or_init(PathBuf::new),
        }
    }

    /// Where it was, if that is another place.
    pub(in crate::worktree) fn old_path(&self) -> Option<&PathBuf> {
        let (old, new) = (self.old.as_ref()?, self.new.as_ref()?);
        (old.0 != new.0).then_some(&old.0)
    }
}

static EMPTY: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();

/// The diff of two trees, with its renames.
pub(in crate::worktree) fn diff<'a>(
    repo: &'a Repository,
    from: &str,
    to: &str,
) -> Result<Diff<'a>, git2::Error> {
    let tree = |id: &str| repo.find_tree(Oid::from_str(id)?);
    let mut options = DiffOptions::new();
    options.include_typechange(true);
    let mut diff = repo.diff_tree_to_tree(Some(&tree(from)?), Some(&tree(to)?), Some(&mut options))?;
    let mut find = DiffFindOptions::new();
    find.renames(true).rename_limit(RENAMES_MAX);
    diff.find_similar(Some(&mut find))?;
    Ok(diff)
}

pub(super) fn by_libgit2(repo: &Repository, from: &str, to: &str) -> Result<Vec<Delta>, git2::Error> {
    let diff = diff(repo, from, to)?;
    Ok(diff.deltas().filter_map(|delta| of(&delta)).collect())
}

/// A delta as plain data; `None` for one that says nothing.
pub(in crate::worktree) fn of(delta: &git2::DiffDelta<'_>) -> Option<Delta> {
    let side = |file: git2::DiffFile<'_>| {
        let path = path_from(file.path_bytes()?.to_vec());
        let mode = u32::from(file.mode());
        (mode != 0).then(|| (path, Entry { mode, object: file.id().to_string() }))
    };
    let (old, new) = (side(delta.old_file()), side(delta.new_file()));
    let status = match delta.status() {
        git2::Delta::Added => Status::Added,
        git2::Delta::Deleted => Status::Deleted,
        git2::Delta::Modified => Status::Modified,
        git2::Delta::Renamed => Status::Renamed,
        git2::Delta::Typechange => Status::Type,
        _ => return None,
    };
    let (old, new) = match status {
        Status::Added => (None, new),
        Status::Deleted => (old, None),
        _ => (old, new),
    };
    Some(Delta { status, old, new })
}

/// What is at a path, or nothing.
pub(in crate::worktree) type Version = Option<Entry>;

/// What a path was, and is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::worktree) struct Move {
    /// Before.
    pub(in crate::worktree) from: Version,
    /// After.
    pub(in crate::worktree) to: Version,
}

/// What differs between two trees, each path for itself.
pub(in crate::worktree) type Moves = BTreeMap<PathBuf, Move>;

/// The same without renames: what went, and what came.
pub(super) fn moves(deltas: Vec<Delta>) -> Moves {
    let mut found = Moves::new();
    for delta in deltas {
        if let Some((path, entry)) = delta.old {
            found.entry(path).or_default().from = Some(entry);
        }
        if let Some((path, entry)) = delta.new {
            found.entry(path).or_default().to = Some(entry);
        }
    }
    found
}
