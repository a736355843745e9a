//! What was written into a removed worktree after its move into the trash: by a process in a container that
//! has it mounted, through a mapping that is shared, with a descriptor that was passed on. A list of all files
//! as they were when it was moved lies in its entry; what differs from it goes into the salvage before the
//! trash is emptied.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::files::{Files, Of};
use super::manifest::{Manifest, text};
use super::salvage::sync;
use super::{salvage_ref, trashed_entry};
use crate::regular;
use crate::worktree::Inner;
use crate::worktree::error::{WorktreeError, WorktreeErrorKind};
use crate::worktree::known::Known;
use crate::worktree::objects::{Hold, Objects};
use crate::worktree::source::{Source, bytes_of};

/// The list, in the entry of a worktree.
const LIST_FILE: &str = "hob-files";

/// What tells whether a file was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Print(u32, u64, u64, i64, i64);

/// Every file of a directory, by its path as text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct List(BTreeMap<String, Print>);

impl List {
    /// What is in a directory now, but for git's own file.
    pub(super) fn of(top: &Path) -> Result<Self, WorktreeError> {
        Ok(Self(walk(top)?.into_iter().map(|(path, print)| (text(bytes_of(&path)), print)).collect()))
    }

    /// Puts it into an entry, on the disk before anything is moved.
    pub(super) fn write(&self, entry: &Path) -> Result<(), WorktreeError> {
        let file = entry.join(LIST_FILE);
        let write = || {
            let mut out = File::create(&file)?;
            out.write_all(&serde_json::to_vec(self).map_err(io::Error::from)?)?;
            out.sync_all()
        };
        write().map_err(|error| WorktreeError::io("write", &file, &error))
    }

    fn read(entry: &Path) -> Option<Self> {
        serde_json::from_slice(&regular::read(&entry.join(LIST_FILE)).ok()?).ok()
    }
}

/// What came back has no list any more.
pub(super) fn forget(entry: &Path) {
    // Whatever is left of it is written anew with the next move.
    fs::remove_file(entry.join(LIST_FILE)).ok();
}

fn walk(top: &Path) -> Result<BTreeMap<PathBuf, Print>, WorktreeError> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![PathBuf::new()]);
    while let Some(folder) = folders.pop() {
        let at = top.join(&folder);
        let failed = |error: io::Error| WorktreeError::io("read", &at, &error);
        for entry in fs::read_dir(&at).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let (path, meta) = (folder.join(entry.file_name()), entry.metadata().map_err(failed)?);
            if meta.is_dir() {
                folders.push(path);
            } else if path != Path::new(".git") {
                let print = Print(meta.mode(), meta.ino(), meta.size(), meta.ctime(), meta.ctime_nsec());
                found.insert(path, print);
            }
        }
    }
    Ok(found)
}

/// What is in a directory and was not, or not so, when it was moved into the trash. Where that was not
/// written down, it is what changed after the move itself.
fn late(known: &Known, top: &Path, listed: Option<&List>) -> Result<BTreeSet<PathBuf>, WorktreeError> {
    // The directory itself changes with what is made in it, its entry with nothing but the move.
    let moved = fs::symlink_metadata(trashed_entry(known)).or_else(|_| fs::symlink_metadata(top));
    let moved = moved.map_err(|error| WorktreeError::io("look at", top, &error))?;
    let is_late = |path: &Path, print: &Print| match listed {
        Some(List(listed)) => listed.get(&text(bytes_of(path))) != Some(print),
        None => (print.3, print.4) > (moved.ctime(), moved.ctime_nsec()),
    };
    Ok(walk(top)?.into_iter().filter(|(path, print)| is_late(path, print)).map(|(path, _)| path).collect())
}

/// Salvages what was written since the move, from where the directory lies now. Gives what it looks like
/// then, and how many files there were.
pub(super) fn rescue(inner: &Inner, known: &Known, top: &Path) -> Result<(List, usize), WorktreeError> {
    let now = List::of(top)?;
    let listed = List::read(&trashed_entry(known));
    let late = late(known, top, listed.as_ref())?;
    keep(inner, known, top, &late)?;
    Ok((now, late.len()))
}

/// Salvages what differs from a list that was made before; for what was written in the last moment.
pub(super) fn rescue_since(
    inner: &Inner,
    known: &Known,
    top: &Path,
    before: &List,
) -> Result<usize, WorktreeError> {
    let late = late(known, top, Some(before))?;
    keep(inner, known, top, &late)?;
    Ok(late.len())
}

/// Adds files to the salvage, as a commit on top of it.
fn keep(inner: &Inner, known: &Known, top: &Path, late: &BTreeSet<PathBuf>) -> Result<(), WorktreeError> {
    if late.is_empty() {
        return Ok(());
    }
    let source = inner.repository(known)?;
    let objects = Objects::of(&source);
    objects.keep(&salvage_ref(known), Hold::Pack, || commit(known, &source, &objects, (top, late)))?;
    tracing::warn!(worktree = %known.id, n_files = late.len(), "written after its removal, and salvaged");
    sync(&known.common_dir)
}

/// The salvage with these files of a directory in it.
fn commit(
    known: &Known,
    source: &Source<'_>,
    objects: &Objects<'_>,
    (top, late): (&Path, &BTreeSet<PathBuf>),
) -> Result<String, WorktreeError> {
    let earlier = source.commit_of_ref(&salvage_ref(known))?.ok_or_else(|| {
        let message = format!("the salvage of the worktree `{}` is gone", known.id);
        WorktreeError::new(WorktreeErrorKind::InTheWay, message)
    })?;
    let mut manifest = Manifest::read(&objects.message(&earlier)?)?;
    // Nothing of it is ignored, whatever git says: it was written for some reason.
    let mut files = Files::new(objects, top, Of::Repositories);
    for path in late {
        let at = top.join(path);
        let meta = fs::symlink_metadata(&at).map_err(|error| WorktreeError::io("look at", &at, &error))?;
        manifest.modes.remove(&text(bytes_of(path)));
        files.keep(path.clone(), &meta, &mut manifest)?;
    }
    let mut entries = objects.entries(&earlier)?;
    // What became a file was a directory, or the other way round.
    for path in late {
        entries.retain(|kept, _| !kept.starts_with(path) && !path.starts_with(kept));
    }
    entries.extend(files.into_entries());
    let tree = objects.tree(&entries)?;
    objects.commit(&tree, &[earlier], &manifest.message()?)
}
