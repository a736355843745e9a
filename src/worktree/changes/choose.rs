//! Which pending changes are meant: all, those of paths, those of hunks. What a part of a file comes to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::ground::Ground;
use super::list::File;
use super::text::with_hunks;
use super::{Applied, Deletion, Selection, is_within};
use crate::worktree::carry::Entry;
use crate::worktree::error::{WorktreeError, WorktreeErrorKind};
use crate::worktree::objects::{Objects, shown};

/// A change that was chosen, whole or in part.
#[derive(Debug)]
pub(super) struct Chosen {
    /// Which.
    pub(super) file: File,
    /// Its hunks that were chosen, by their place; `None` for all of it.
    pub(super) hunks: Option<BTreeSet<usize>>,
}

/// The changes that are selected.
pub(super) fn choose(files: Vec<File>, selection: &Selection) -> Result<Vec<Chosen>, WorktreeError> {
    let (Some(paths), Some(hunks)) = (&selection.paths, &selection.hunks) else {
        return choose_by(files, selection.paths.as_deref(), selection.hunks.as_deref());
    };
    // Both: what either names.
    let mut chosen: BTreeMap<String, Chosen> = BTreeMap::new();
    let (by_path, others): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| is_named(file, paths));
    for found in choose_by(by_path, Some(paths), None)? {
        chosen.insert(found.file.change.path.clone(), found);
    }
    let missing = |id: &&String| {
        !chosen.values().any(|found| found.file.change.hunks.iter().any(|hunk| hunk.id == **id))
    };
    let left: Vec<String> = hunks.iter().filter(missing).cloned().collect();
    if !left.is_empty() {
        for found in choose_by(others, None, Some(&left))? {
            chosen.insert(found.file.change.path.clone(), found);
        }
    }
    Ok(chosen.into_values().collect())
}

fn is_named(file: &File, paths: &[String]) -> bool {
    let names = [Some(&file.change.path), file.change.old_path.as_ref()];
    names.into_iter().flatten().any(|name| paths.iter().any(|path| is_within(name, path)))
}

fn choose_by(
    files: Vec<File>,
    paths: Option<&[String]>,
    hunks: Option<&[String]>,
) -> Result<Vec<Chosen>, WorktreeError> {
    if let Some(paths) = paths {
        for path in paths {
            if !files.iter().any(|file| is_named(file, std::slice::from_ref(path))) {
                return Err(none("changes", path));
            }
        }
        let named = files.into_iter().filter(|file| is_named(file, paths));
        return Ok(named.map(|file| Chosen { file, hunks: None }).collect());
    }
    let Some(ids) = hunks else {
        return Ok(files.into_iter().map(|file| Chosen { file, hunks: None }).collect());
    };
    for id in ids {
        if !files.iter().any(|file| file.change.hunks.iter().any(|hunk| hunk.id == *id)) {
            return Err(none("hunk", id));
        }
    }
    let some = files.into_iter().filter_map(|file| {
        let wanted: BTreeSet<usize> =
            (0..file.change.hunks.len()).filter(|n| ids.contains(&file.change.hunks[*n].id)).collect();
        let is_all = wanted.len() == file.change.hunks.len();
        (!wanted.is_empty()).then(|| Chosen { hunks: (!is_all).then_some(wanted), file })
    });
    Ok(some.collect())
}

fn none(what: &str, name: &str) -> WorktreeError {
    WorktreeError::new(WorktreeErrorKind::NoSuchChange, format!("no pending {what} `{name}`"))
        .hint("hob diff --hunks")
}

/// Leaves out what would go from the checkout though no turn took it away, unless it is named itself;
/// says what goes and what stays.
pub(super) fn spare(chosen: Vec<Chosen>, ground: &Ground, selection: &Selection) -> (Vec<Chosen>, Applied) {
    let (mut taken, mut applied) = (Vec::new(), Applied::default());
    let is_named = |path: &str| {
        let paths = selection.paths.iter().flatten();
        selection.hunks.is_some() || paths.into_iter().any(|named| named == path)
    };
    for mut change in chosen {
        if let Some(gone) = change.taken_away() {
            let path = shown(&gone);
            let agents = ground.removed_by(&gone).map(<[String]>::to_vec);
            if agents.is_none() && !is_named(&path) {
                applied.kept.push(path);
                if change.file.delta.new.is_none() {
                    continue;
                }
                change.file.delta.old = None;
            } else if selection.deletions.as_ref().is_some_and(|told| !told.contains(&path)) {
                let why = "it is gone from the worktree since what goes was shown".to_owned();
                applied.conflicts.push((path, why));
            } else {
                applied.deletions.push(Deletion { path, agents: agents.unwrap_or_default() });
            }
        }
        taken.push(change);
    }
    (taken, applied)
}

impl Chosen {
    /// The path that is empty when it was applied.
    pub(super) fn taken_away(&self) -> Option<PathBuf> {
        let (old, _) = self.file.delta.old.as_ref()?;
        let stays = self.hunks.is_some() || self.file.delta.new.as_ref().is_some_and(|(new, _)| new == old);
        (!stays).then(|| old.clone())
    }

    /// What the file is with what was chosen taken over: of the new side, or of the old one if only
    /// some hunks were chosen.
    pub(super) fn result(&self, objects: &Objects<'_>) -> Result<Option<(PathBuf, Entry)>, WorktreeError> {
        let Some(hunks) = &self.hunks else { return Ok(self.file.delta.new.clone()) };
        let chosen: Vec<_> = hunks.iter().map(|n| &self.file.hunks[*n]).collect();
        let (before, _) = self.file.text.as_ref().map_or((&[][..], &[][..]), |(a, b)| (a, b));
        let object = objects.write_blob(&with_hunks(before, &chosen))?;
        let side = self.file.delta.old.as_ref().or(self.file.delta.new.as_ref());
        Ok(side.map(|(path, entry)| (path.clone(), Entry { mode: entry.mode, object })))
    }
}
