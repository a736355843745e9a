//! Removes what is in the trash, at last: opening each directory beneath the one above it, through no
//! link and across no mount. What cannot be removed this way stays, under a name that says so.

use std::ffi::{CString, OsStr};
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, RenameFlags, ResolveFlag, open, openat2, renameat2};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::late::{List, rescue, rescue_since};
use super::manifest::Manifest;
use super::place::is_in_place;
use super::salvage::sync;
use super::trash::in_the_way;
use super::{ENTRIES_DIR, TRASH_DIR, salvage_ref, trashed_entry};
use crate::backend::process::inside;
use crate::worktree::error::WorktreeError;
use crate::worktree::known::Known;
use crate::worktree::objects::{Objects, is_whole};
use crate::worktree::{Inner, Worktrees};

/// Directories inside one another, at most: each is held open.
const DEPTH_MAX: usize = 512;
/// Ends the name of what is purged, before a number.
const PURGING: &str = ".purging";
/// What is left of one worktree by purges, at most.
const ASIDE_MAX: usize = 100;
/// What is left by purges and tried again at once, at most.
const SWEPT_MAX: usize = 64;

impl Worktrees {
    /// Removes a worktree from the trash, directory and entry. What is gone already is no error. Both
    /// halves are put aside first, so that what is left of them is never taken for the worktree. Gives
    /// what could not be removed, and why: [`Worktrees::sweep`] tries it again.
    ///
    /// # Errors
    /// `InTheWay` if the worktree is in its place, or if its salvage is gone: then the trash has the last
    /// copy, and nothing of it is touched. `Io` where it cannot be put aside.
    pub async fn purge(&self, known: &Known) -> Result<Purged, WorktreeError> {
        let known = known.clone();
        self.locked_job(&known.common_dir.clone(), move |inner, _lock| purge(inner, &known)).await
    }

    /// Removes what purges put aside and could not remove, in the trash and in these repositories; so
    /// much at once. Gives what still cannot be removed.
    ///
    /// # Errors
    /// The look itself fails.
    pub async fn sweep(&self, common_dirs: Vec<PathBuf>) -> Result<Vec<Left>, WorktreeError> {
        self.job(&self.inner.jobs, move |inner| {
            let entries = common_dirs.iter().map(|dir| dir.join(ENTRIES_DIR));
            let places = [inner.root.join(TRASH_DIR)].into_iter().chain(entries);
            let aside = places.flat_map(|place| aside(&place)).take(SWEPT_MAX);
            Ok(aside.filter_map(|path| removed(&path)).collect())
        })
        .await
    }

    /// Lets go of what a worktree held: its salvage, and what was given up in it. What was put away with
    /// `stash` stays until it is taken back.
    ///
    /// # Errors
    /// What git says.
    pub async fn drop_salvage(&self, known: &Known) -> Result<(), WorktreeError> {
        let known = known.clone();
        self.locked_job(&known.common_dir.clone(), move |inner, _lock| {
            let source = inner.repository(&known)?;
            for (name, at) in Objects::of(&source).refs(&format!("{}/", known.rescue_refs()))? {
                source.delete_ref(&name, &at)?;
            }
            let name = salvage_ref(&known);
            match source.commit_of_ref(&name)? {
                Some(at) => source.delete_ref(&name, &at),
                None => Ok(()),
            }
        })
        .await
    }
}

/// What a purge came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Purged {
    /// What could not be removed.
    pub left: Vec<Left>,
    /// Files that were written after the removal, and are in the salvage now.
    pub n_late: usize,
}

/// What is left of a worktree that was purged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Where.
    pub path: PathBuf,
    /// Why.
    pub why: String,
}

fn purge(inner: &Inner, known: &Known) -> Result<Purged, WorktreeError> {
    if is_in_place(inner, known) {
        return Err(in_the_way(format!("`{}` is in its place, and not in the trash", known.path.display())));
    }
    // The directory first: without it, nothing takes the rest for the worktree.
    let halves = [inner.trashed(known), trashed_entry(known)];
    if halves.iter().any(|half| fs::symlink_metadata(half).is_ok()) {
        check_salvage(inner, known)?;
    }
    let directory = &halves[0];
    let (before, mut n_late) = match fs::symlink_metadata(directory) {
        Ok(_) => {
            alone(directory)?;
            let (list, n_late) = rescue(inner, known, directory)?;
            (Some(list), n_late)
        }
        Err(_) => (None, 0),
    };
    let mut aside = Vec::new();
    for half in &halves {
        let to = put_aside(half)?;
        crash_point!("purge.half_aside");
        if let (true, Some(before), Some(to)) = (half == directory, &before, &to) {
            n_late += last_moment(inner, known, (directory, to), before)?;
        }
        aside.extend(to);
    }
    sync(&inner.root)?;
    sync(&known.common_dir)?;
    crash_point!("purge.aside");
    let mut left = Vec::new();
    for half in &aside {
        left.extend(removed(half));
        crash_point!("purge.half");
    }
    // Only an empty one can go.
    fs::remove_dir(known.common_dir.join(ENTRIES_DIR)).ok();
    Ok(Purged { left, n_late })
}

/// What was written while it was put aside. Where that cannot be salvaged, it goes back into the trash.
fn last_moment(
    inner: &Inner,
    known: &Known,
    (directory, aside): (&Path, &Path),
    before: &List,
) -> Result<usize, WorktreeError> {
    let kept = rescue_since(inner, known, aside, before);
    if kept.is_err() {
        renameat2(AT_FDCWD, aside, AT_FDCWD, directory, RenameFlags::RENAME_NOREPLACE)
            .map_err(|errno| WorktreeError::io("put back", aside, &errno.into()))?;
    }
    kept
}

/// That nobody works in what is in the trash.
fn alone(directory: &Path) -> Result<(), WorktreeError> {
    match inside(directory).occupants.first() {
        Some(occupant) => {
            let (name, pid, with) = (&occupant.name, occupant.pid, occupant.with);
            Err(in_the_way(format!("{name} (pid {pid}) works in what is in the trash ({with})")))
        }
        None => Ok(()),
    }
}

/// That the worktree can be made of its salvage.
fn check_salvage(inner: &Inner, known: &Known) -> Result<(), WorktreeError> {
    let source = inner.repository(known)?;
    let name = salvage_ref(known);
    let at = source.commit_of_ref(&name)?.ok_or_else(|| {
        in_the_way(format!("the trash has the last copy of the worktree `{}`: `{name}` is gone", known.id))
    })?;
    let objects = Objects::of(&source);
    if !is_whole(&source, &at)? {
        let id = &known.id;
        let why = format!("the trash has the last copy of the worktree `{id}`: objects of `{name}` are gone");
        return Err(in_the_way(why).hint(format!("hob worktree restore {id}")));
    }
    Manifest::read(&objects.message(&at)?).map(drop)
}

/// Gives something in the trash a name under which it is no worktree any more; `None` if it is not there.
pub(super) fn put_aside(path: &Path) -> Result<Option<PathBuf>, WorktreeError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    for n in 0..ASIDE_MAX {
        let number = if n == 0 { String::new() } else { format!("-{n}") };
        let to = path.with_file_name(format!("{name}{PURGING}{number}"));
        match renameat2(AT_FDCWD, path, AT_FDCWD, &to, RenameFlags::RENAME_NOREPLACE) {
            Ok(()) => return Ok(Some(to)),
            Err(Errno::ENOENT) => return Ok(None),
            Err(Errno::EEXIST) => {}
            Err(errno) => return Err(WorktreeError::io("put aside", path, &errno.into())),
        }
    }
    Err(in_the_way(format!("too much is left beside `{}` of what was purged before", path.display())))
}

/// What was put aside in a directory.
fn aside(place: &Path) -> Vec<PathBuf> {
    let is_aside = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.split_once(PURGING).is_some_and(|(_, rest)| rest.is_empty() || rest.starts_with('-'))
    };
    let entries = fs::read_dir(place).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(is_aside).collect()
}

fn removed(path: &Path) -> Option<Left> {
    remove(path).err().map(|error| Left { path: path.to_owned(), why: error.to_string() })
}

/// Removes a directory with everything in it.
fn remove(path: &Path) -> io::Result<()> {
    let (Some(above), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    let above = match open(above, OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()) {
        Ok(above) => above,
        Err(Errno::ENOENT) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    };
    let name = c_name(name)?;
    match open_beneath(above.as_fd(), &name) {
        Ok(folder) => empty(folder, 0)?,
        Err(Errno::ENOENT) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    }
    match unlinkat(&above, name.as_c_str(), UnlinkatFlags::RemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Opens a directory beneath another, through no link and across no mount.
fn open_beneath(above: BorrowedFd<'_>, name: &CString) -> Result<OwnedFd, Errno> {
    let how = OpenHow::new()
        .flags(OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
        .resolve(
            ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV,
        );
    match openat2(above, name.as_c_str(), how) {
        // A directory of ours that its owner may not read.
        Err(Errno::EACCES) => {
            fchmodat(above, name.as_c_str(), Mode::S_IRWXU, FchmodatFlags::NoFollowSymlink)
                .or_else(|_| fchmodat(above, name.as_c_str(), Mode::S_IRWXU, FchmodatFlags::FollowSymlink))?;
            openat2(above, name.as_c_str(), how)
        }
        opened => opened,
    }
}

fn empty(folder: OwnedFd, depth: usize) -> io::Result<()> {
    if depth > DEPTH_MAX {
        return Err(io::Error::other("its directories are too deep"));
    }
    // Its owner may have taken the right to write from it.
    nix::sys::stat::fchmod(&folder, Mode::S_IRWXU).ok();
    let mut listing = Dir::from_fd(folder.try_clone()?)?;
    let mut names = Vec::new();
    for entry in listing.iter() {
        let name = entry?.file_name().to_owned();
        if !matches!(name.to_bytes(), b"." | b"..") {
            names.push(name);
        }
    }
    for name in names {
        match unlinkat(&folder, name.as_c_str(), UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {
                crash_point!("purge.within");
                continue;
            }
            Err(Errno::EISDIR | Errno::EPERM) => {}
            Err(errno) => return Err(errno.into()),
        }
        empty(open_beneath(folder.as_fd(), &name)?, depth + 1)?;
        match unlinkat(&folder, name.as_c_str(), UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn c_name(name: &OsStr) -> io::Result<CString> {
    CString::new(name.as_bytes()).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn everything_inside_goes_and_nothing_that_is_linked_to() {
        let dir = tempfile::tempdir().unwrap();
        let (doomed, outside) = (dir.path().join("doomed"), dir.path().join("outside"));
        fs::create_dir_all(doomed.join("a/b/c")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "kept").unwrap();
        fs::write(doomed.join("a/file"), "x").unwrap();
        symlink(&outside, doomed.join("link")).unwrap();
        symlink(outside.join("kept"), doomed.join("a/link")).unwrap();
        fs::set_permissions(doomed.join("a/b"), fs::Permissions::from_mode(0o000)).unwrap();
        remove(&doomed).unwrap();
        assert!(!doomed.exists());
        assert_eq!(fs::read_to_string(outside.join("kept")).unwrap(), "kept");
        remove(&doomed).unwrap();
        symlink(&outside, &doomed).unwrap();
        assert!(remove(&doomed).is_err(), "a link in its place is not followed");
        assert!(outside.join("kept").exists());
    }
}
