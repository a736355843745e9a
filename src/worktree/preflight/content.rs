//! Steps 6, 7 and 10: every file on the disk must be one that is not lost with the worktree. Ignore rules
//! hide nothing, and every file that git tracks is hashed.
//!
//! A file is not lost if it is what HEAD has, or what counts as the person's own, or what the user's
//! checkout has at the same place, or is ignored and lies below a directory that can be made again. What
//! the worktree was made with and was not committed is the person's own only as long as it is elsewhere.
//!
//! A repository inside is a reason of its own, with a checkout or without.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, DirEntry, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use hob_actors::worktree::ReasonKind;

use super::carried::{Carried, is_in_checkout};
use super::findings::Findings;
use super::ignored::ignored;
use super::same::Disk;
use super::world::World;
use super::{Job, Trouble, unreadable};
use crate::worktree::carry::Entry;
use crate::worktree::disposable::Disposable;
use crate::worktree::objects::{GITLINK, Objects, shown};
use crate::worktree::remove::IGNORED_FILE_BYTES_MAX;

/// What makes a directory a repository without a checkout.
pub(in crate::worktree) const BARE: [&str; 3] = ["HEAD", "objects", "refs"];

/// What is said of an ignored file that the salvage leaves out.
const TOO_LARGE: &str = " (ignored, and too large for the salvage)";

/// The look under way.
struct Look<'a> {
    job: &'a Job<'a>,
    objects: Objects<'a>,
    world: World,
    carried: Carried,
    /// Whether the commit of HEAD is kept elsewhere.
    is_safe: bool,
    on_disk: BTreeSet<PathBuf>,
    pending: Vec<PathBuf>,
    /// What git does not track below directories that can be made again.
    below_disposable: Vec<(PathBuf, Metadata)>,
}

/// Looks at the content. `is_safe`: the commit of HEAD is on another branch or on a remote.
pub(super) fn look(job: &Job<'_>, found: &mut Findings, is_safe: bool) -> Result<(), Trouble> {
    let source = job.inner.at(job.known)?;
    let objects = Objects::of(&source);
    let world = World::read(job, &objects)?;
    if !super::reach::is_partial(&source) {
        for path in world.missing(&source)? {
            found.note(ReasonKind::Missing, format!("the object of `{}` is gone", shown(&path)));
        }
    }
    submodules(job, found)?;
    let mut look = Look {
        job,
        carried: Carried::read(job, &objects)?,
        objects,
        world,
        is_safe,
        on_disk: BTreeSet::new(),
        pending: Vec::new(),
        below_disposable: Vec::new(),
    };
    for path in std::mem::take(&mut look.world.conflicts) {
        found.note(ReasonKind::Dirty, format!("`{}` (in conflict)", shown(&path)));
        look.on_disk.insert(path);
    }
    look.walk(found)?;
    look.not_ignored(found)?;
    look.not_on_disk(found);
    look.staged(found);
    for path in std::mem::take(&mut look.pending) {
        found.note(ReasonKind::PendingChanges, format!("`{}`", shown(&path)));
    }
    Ok(())
}

/// The repositories of submodules, which git keeps with the entry of the worktree. They outlive their
/// checkout, with commits that may be nowhere else.
fn submodules(job: &Job<'_>, found: &mut Findings) -> Result<(), Trouble> {
    let folder = job.admin().join("modules");
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(unreadable(&folder, &error)),
    };
    for entry in entries {
        let entry = entry.map_err(|error| unreadable(&folder, &error))?;
        let name = PathBuf::from(entry.file_name());
        found.note(ReasonKind::NestedRepo, format!("the submodule `{}`", shown(&name)));
    }
    Ok(())
}

impl Look<'_> {
    fn walk(&mut self, found: &mut Findings) -> Result<(), Trouble> {
        let top = self.job.known.path.clone();
        let mut folders: Vec<(PathBuf, Option<Disposable>)> = vec![(PathBuf::new(), None)];
        while let Some((folder, disposable)) = folders.pop() {
            self.job.check_time()?;
            let at = top.join(&folder);
            let entries = fs::read_dir(&at).and_then(Iterator::collect::<Result<Vec<DirEntry>, _>>);
            let entries = entries.map_err(|error| unreadable(&at, &error))?;
            let names: BTreeSet<_> = entries.iter().map(DirEntry::file_name).collect();
            if BARE.iter().all(|name| names.contains(OsStr::new(name))) && !folder.as_os_str().is_empty() {
                found.note(ReasonKind::NestedRepo, format!("`{}`", shown(&folder)));
            }
            for entry in entries {
                let (name, path) = (entry.file_name(), folder.join(entry.file_name()));
                if folder.as_os_str().is_empty() && name == ".git" {
                    continue;
                }
                if name.eq_ignore_ascii_case(".git") {
                    let place = if folder.as_os_str().is_empty() { &path } else { &folder };
                    found.note(ReasonKind::NestedRepo, format!("`{}`", shown(place)));
                    continue;
                }
                let meta = entry.metadata().map_err(|error| unreadable(&entry.path(), &error))?;
                if meta.is_dir() {
                    let below = disposable.clone();
                    let of = || Disposable::of(&top, &path, self.job.disposable, &names);
                    folders.push((path.clone(), below.or_else(of)));
                } else {
                    let is_made = disposable.as_ref().is_some_and(|disposable| disposable.makes(&path));
                    if is_made && !self.world.index.contains_key(&path) {
                        self.below_disposable.push((path, meta));
                    } else {
                        self.file(found, path, &meta)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// What lies below a disposable directory, and is not ignored: somebody's own work.
    fn not_ignored(&mut self, found: &mut Findings) -> Result<(), Trouble> {
        let below = std::mem::take(&mut self.below_disposable);
        let paths = below.iter().map(|(path, _)| path.as_path());
        let ignored = ignored(self.job, self.objects.source, paths)?;
        for (path, meta) in below {
            if !ignored.contains(&path) {
                self.file(found, path, &meta)?;
            }
        }
        Ok(())
    }

    /// A file, a link, or something else that is no directory.
    fn file(&mut self, found: &mut Findings, path: PathBuf, meta: &Metadata) -> Result<(), Trouble> {
        if self.on_disk.contains(&path) {
            return Ok(());
        }
        let indexed = self.world.index.get(&path).map(|indexed| indexed.entry.clone());
        self.job.check_time()?;
        let at = self.job.known.path.join(&path);
        let Some(disk) = Disk::read(&at, meta, self.job.until)? else {
            found.note(
                ReasonKind::Untracked,
                format!("`{}` (no file and no link: it is in no salvage)", shown(&path)),
            );
            return Ok(());
        };
        let is = |entry: &Entry| disk.is(&self.objects, &path, entry);
        let is_own = match self.world.base.get(&path) {
            Some(base) => {
                let places = (path.as_path(), meta);
                is(base)? && self.carried.is_kept((self.job, &self.objects), places, base)?
            }
            None => false,
        };
        match &indexed {
            Some(entry) if is(entry)? => {
                let is_committed = self.world.head.get(&path) == Some(entry);
                let is_safe = is_own || (is_committed && self.is_safe);
                if !is_safe {
                    self.pending.push(path.clone());
                }
            }
            Some(_) if is_own => {}
            Some(_) => {
                found.note(ReasonKind::Dirty, format!("`{}`", shown(&path)));
                self.pending.push(path.clone());
            }
            None if is_own || is_in_checkout(self.job, &path, meta)? => {}
            None => {
                let is_ignored = self.is_ignored(&path);
                let limit = if is_ignored && meta.len() > IGNORED_FILE_BYTES_MAX { TOO_LARGE } else { "" };
                found.note(ReasonKind::Untracked, format!("`{}`{limit}", shown(&path)));
                if !is_ignored {
                    self.pending.push(path.clone());
                }
            }
        }
        self.on_disk.insert(path);
        Ok(())
    }

    fn is_ignored(&self, path: &Path) -> bool {
        // Where it cannot be told, it is not.
        self.objects.source.repo.as_ref().is_some_and(|repo| repo.status_should_ignore(path).unwrap_or(false))
    }

    /// What git tracks and the disk has not.
    fn not_on_disk(&mut self, found: &mut Findings) {
        for (path, indexed) in &self.world.index {
            if self.on_disk.contains(path) || indexed.is_skipped || indexed.entry.mode == GITLINK {
                continue;
            }
            if self.world.base.contains_key(path) {
                found.note(ReasonKind::Dirty, format!("`{}` (deleted)", shown(path)));
                self.pending.push(path.clone());
            }
        }
    }

    /// What the index has and HEAD has not, or the other way round.
    fn staged(&mut self, found: &mut Findings) {
        for (path, indexed) in &self.world.index {
            let entry = &indexed.entry;
            if self.world.head.get(path) != Some(entry) && self.world.base.get(path) != Some(entry) {
                found.note(ReasonKind::Dirty, format!("`{}` (staged)", shown(path)));
            }
        }
        for path in self.world.head.keys().filter(|path| !self.world.index.contains_key(*path)) {
            if self.world.base.contains_key(path) {
                found.note(ReasonKind::Dirty, format!("`{}` (its removal is staged)", shown(path)));
                self.pending.extend((!self.on_disk.contains(path)).then(|| path.clone()));
            }
        }
        for path in self.world.base.keys() {
            let is_gone = !self.world.index.contains_key(path) && !self.on_disk.contains(path);
            if is_gone && !self.world.head.contains_key(path) && !self.is_safe {
                self.pending.push(path.clone());
            }
        }
    }
}
