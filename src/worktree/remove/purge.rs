//! Removes what is in the trash, at last: opening each directory beneath the one above it, through no
//! link and across no mount. What cannot be removed this way stays.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::{salvage_ref, trashed_entry};
use crate::worktree::Worktrees;
use crate::worktree::error::WorktreeError;
use crate::worktree::known::Known;
use crate::worktree::objects::Objects;

/// Directories inside one another, at most: each is held open.
const DEPTH_MAX: usize = 512;

impl Worktrees {
    /// Removes a worktree from the trash, directory and entry. What is gone already is no error.
    ///
    /// # Errors
    /// `Io` where something cannot be removed, or is mounted in it: the rest may be gone then.
    pub async fn purge(&self, known: &Known) -> Result<(), WorktreeError> {
        let known = known.clone();
        self.locked_job(&known.common_dir.clone(), move |inner, _lock| {
            for path in [inner.trashed(&known), trashed_entry(&known)] {
                remove(&path).map_err(|error| WorktreeError::io("purge", &path, &error))?;
                crash_point!("purge.half");
            }
            // Only an empty one can go.
            std::fs::remove_dir(known.common_dir.join(super::ENTRIES_DIR)).ok();
            Ok(())
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
            Ok(()) | Err(Errno::ENOENT) => continue,
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
    use std::fs;
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
