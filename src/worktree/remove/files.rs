//! Every file of a worktree, byte for byte, as entries of a tree; and whether anything was touched since.
//! Reads the disk and writes objects.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirEntry, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bytesize::ByteSize;

use super::manifest::{Manifest, text};
use crate::worktree::carry::Entry;
use crate::worktree::disposable::Disposable;
use crate::worktree::error::WorktreeError;
use crate::worktree::objects::{EXECUTABLE, Entries, FILE, LINK, Objects};
use crate::worktree::preflight::BARE;
use crate::worktree::source::{bytes_of, path_from};

/// An ignored file of more bytes is left out.
pub(in crate::worktree) const IGNORED_FILE_BYTES_MAX: u64 = 64 << 20;
/// Ignored files of more bytes together are left out.
const IGNORED_BYTES_MAX: u64 = 512 << 20;
/// What a name that no tree may have is called in it.
const STANDS_FOR_GIT: &str = ".git.salvaged";
/// The permission bits that git keeps, for a file and for one that can be executed.
const MODES: [u32; 2] = [0o644, 0o755];
/// Those of a directory that is made anew.
pub(super) const FOLDER_MODE: u32 = 0o755;

/// What git has to do with files.
#[derive(Debug, Clone, Copy)]
pub(super) enum Of<'a> {
    /// A checkout: with the names of directories whose ignored content is left out where it can be made
    /// again, and the paths that git tracks.
    Checkout(&'a [String], &'a BTreeSet<PathBuf>),
    /// Nothing: they are git's own, and none is ignored.
    Repositories,
}

/// Collects the files.
pub(super) struct Files<'a> {
    pub(super) objects: &'a Objects<'a>,
    pub(super) top: &'a Path,
    /// What git has to do with them.
    pub(super) of: Of<'a>,
    entries: Entries,
    ignored_bytes: u64,
}

impl<'a> Files<'a> {
    pub(super) fn new(objects: &'a Objects<'a>, top: &'a Path, of: Of<'a>) -> Self {
        Self { objects, top, of, entries: Entries::new(), ignored_bytes: 0 }
    }

    /// All of them; what a tree cannot say goes into the manifest.
    pub(super) fn collect(mut self, manifest: &mut Manifest) -> Result<Entries, WorktreeError> {
        let mut folders: Vec<(PathBuf, Option<Disposable>)> = vec![(PathBuf::new(), None)];
        while let Some((folder, mut disposable)) = folders.pop() {
            let at = self.top.join(&folder);
            let io = |error: io::Error| WorktreeError::io("read", &at, &error);
            let entries = fs::read_dir(&at).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(io)?;
            let names: BTreeSet<_> = entries.iter().map(DirEntry::file_name).collect();
            if is_repository(&names) && !folder.as_os_str().is_empty() {
                // It may have work of somebody's, and nothing makes that again.
                disposable = None;
            }
            if entries.is_empty() && disposable.is_none() {
                manifest.empty.push(text(bytes_of(&folder)));
            }
            for entry in entries {
                let path = folder.join(entry.file_name());
                if path == Path::new(".git") {
                    continue;
                }
                let meta = entry.metadata().map_err(io)?;
                if !meta.is_dir() {
                    let is_made = disposable.as_ref().is_some_and(|disposable| disposable.makes(&path));
                    self.file(path, &meta, is_made, manifest)?;
                    continue;
                }
                if disposable.is_none() && meta.mode() & 0o7777 != FOLDER_MODE {
                    manifest.folders.insert(text(bytes_of(&path)), meta.mode() & 0o7777);
                }
                let below = disposable.clone().or_else(|| self.disposable(&path, &names));
                folders.push((path, below));
            }
        }
        Ok(self.entries)
    }

    fn disposable(&self, folder: &Path, beside: &BTreeSet<OsString>) -> Option<Disposable> {
        match self.of {
            Of::Checkout(configured, _) => Disposable::of(self.top, folder, configured, beside),
            Of::Repositories => None,
        }
    }

    fn file(
        &mut self,
        path: PathBuf,
        meta: &Metadata,
        is_made: bool,
        manifest: &mut Manifest,
    ) -> Result<(), WorktreeError> {
        let has_content = meta.is_file() || meta.is_symlink();
        if has_content && self.is_ignored(&path) {
            if is_made {
                return Ok(());
            }
            self.ignored_bytes += meta.size();
            if meta.size() > IGNORED_FILE_BYTES_MAX || self.ignored_bytes > IGNORED_BYTES_MAX {
                let size = ByteSize(meta.size());
                manifest.left_out.push(format!("{}: {size}, ignored and too large", path.display()));
                return Ok(());
            }
        }
        self.keep(path, meta, manifest)
    }

    /// Takes a file whatever it is.
    pub(super) fn keep(
        &mut self,
        path: PathBuf,
        meta: &Metadata,
        manifest: &mut Manifest,
    ) -> Result<(), WorktreeError> {
        let at = self.top.join(&path);
        if !meta.is_file() && !meta.is_symlink() {
            manifest.left_out.push(format!("{}: no file and no link", path.display()));
            return Ok(());
        }
        let (mode, object) = if meta.is_symlink() {
            let target = fs::read_link(&at).map_err(|error| WorktreeError::io("read", &at, &error))?;
            (LINK, self.objects.write_blob(bytes_of(&target))?)
        } else {
            let mode = if meta.mode() & 0o100 == 0 { FILE } else { EXECUTABLE };
            (mode, self.objects.write_file(&at)?)
        };
        let bits = meta.mode() & 0o7777;
        if !meta.is_symlink() && bits != MODES[usize::from(mode == EXECUTABLE)] {
            manifest.modes.insert(text(bytes_of(&path)), bits);
        }
        let called = allowed(&path);
        if called != path {
            manifest.renamed.insert(text(bytes_of(&called)), text(bytes_of(&path)));
        }
        self.entries.insert(called, Entry { mode, object });
        Ok(())
    }

    /// What was taken.
    pub(super) fn into_entries(self) -> Entries {
        self.entries
    }

    fn is_ignored(&self, path: &Path) -> bool {
        match self.of {
            Of::Checkout(_, tracked) if !tracked.contains(path) => {}
            Of::Checkout(..) | Of::Repositories => return false,
        }
        // Where it cannot be told, it is not: then there is no limit.
        self.objects.source.repo.as_ref().is_some_and(|repo| repo.status_should_ignore(path).unwrap_or(false))
    }
}

/// Whether a directory with these names in it is a repository, or the checkout of one.
fn is_repository(names: &BTreeSet<OsString>) -> bool {
    let has = |name: &str| names.contains(OsStr::new(name));
    has(".git") || BARE.iter().all(|name| has(name))
}

/// A path without names that no tree may have: those of git directories.
fn allowed(path: &Path) -> PathBuf {
    let is_git = |name: &OsStr| name.eq_ignore_ascii_case(".git") || name.eq_ignore_ascii_case("git~1");
    let part = |name: &OsStr| if is_git(name) { STANDS_FOR_GIT.into() } else { name.to_owned() };
    path.iter().map(part).collect()
}

/// A digest of every name, kind, size, inode and time of change below a directory, wherever it lies:
/// whatever is written, added, renamed or removed below it changes the digest.
pub(super) fn seal(top: &Path) -> Result<[u8; 32], WorktreeError> {
    crate::worktree::undo::seal(top).map_err(|error| WorktreeError::io("look through", top, &error))
}

/// The paths of an index, those in conflict included.
pub(super) fn tracked(paths: impl Iterator<Item = Vec<u8>>) -> BTreeSet<PathBuf> {
    paths.map(path_from).collect()
}

/// The other way round: where each entry of a salvaged tree was.
pub(super) fn places(manifest: &Manifest) -> BTreeMap<PathBuf, PathBuf> {
    let path = |text: &str| path_from(super::manifest::path(text));
    manifest.renamed.iter().map(|(called, was)| (path(called), path(was))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_no_tree_may_have_are_others_in_it() {
        assert_eq!(allowed(Path::new("a/.git/config")), Path::new("a/.git.salvaged/config"));
        assert_eq!(allowed(Path::new("a/.GIT")), Path::new("a/.git.salvaged"));
        assert_eq!(allowed(Path::new("a/.gitignore")), Path::new("a/.gitignore"));
    }
}
