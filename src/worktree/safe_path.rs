//! Paths that stay where they should: beneath a root, through real directories only, never into
//! a git directory. Looks at the disk; changes nothing except in [`copy_entry`] and
//! [`remove_entry`], which touch the one path that they are given.
//!
//! **Invariant:** nothing here follows a symbolic link.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

/// Permission bits that are carried over with a copy.
const MODE_MASK: u32 = 0o777;

/// Why a path is not safe.
#[derive(Debug, thiserror::Error)]
pub enum PathProblem {
    /// It has no component at all.
    #[error("the path is empty")]
    Empty,
    /// It is absolute, or climbs with `..`.
    #[error("`{0}` leaves its directory")]
    Outside(PathBuf),
    /// A component is `.git`.
    #[error("`{0}` is inside a git directory")]
    GitDir(PathBuf),
    /// A component is a symbolic link.
    #[error("`{0}` is a symbolic link")]
    Symlink(PathBuf),
    /// A component that should be a directory is none.
    #[error("`{0}` is not a directory")]
    NotADirectory(PathBuf),
    /// The disk could not be asked.
    #[error("cannot look at `{0}`: {1}")]
    Io(PathBuf, io::Error),
}

/// Whether `relative` can only name something beneath the directory it is joined to. Pure.
pub fn check_relative(relative: &Path) -> Result<(), PathProblem> {
    let mut n_parts = 0_usize;
    for part in relative.components() {
        match part {
            Component::Normal(name) if name.eq_ignore_ascii_case(".git") => {
                return Err(PathProblem::GitDir(relative.to_owned()));
            }
            Component::Normal(_) => n_parts += 1,
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(PathProblem::Outside(relative.to_owned()));
            }
        }
    }
    if n_parts == 0 { Err(PathProblem::Empty) } else { Ok(()) }
}

/// `root` joined with `relative`, if every directory between them that exists is a real one. The
/// last component may be anything, or nothing.
pub fn beneath(root: &Path, relative: &Path) -> Result<PathBuf, PathProblem> {
    check_relative(relative)?;
    let mut here = root.to_owned();
    let mut parents: Vec<_> = relative.components().collect();
    let last = parents.pop();
    for part in parents {
        here.push(part);
        match fs::symlink_metadata(&here) {
            Ok(found) if found.is_symlink() => return Err(PathProblem::Symlink(here)),
            Ok(found) if !found.is_dir() => return Err(PathProblem::NotADirectory(here)),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(PathProblem::Io(here, error)),
        }
    }
    here.extend(last);
    Ok(here)
}

/// Copies one regular file or symbolic link to a place where nothing is, with its permission
/// bits, and makes the directories on the way. Returns the bytes copied; `None` for what is
/// neither file nor link.
pub(super) fn copy_entry(from: &Path, to: &Path) -> io::Result<Option<u64>> {
    let kind = fs::symlink_metadata(from)?;
    if !kind.is_file() && !kind.is_symlink() {
        return Ok(None);
    }
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    if kind.is_symlink() {
        std::os::unix::fs::symlink(fs::read_link(from)?, to)?;
        return Ok(Some(0));
    }
    // Opened without following and without blocking, in case it became something else meanwhile.
    let mut source =
        File::options().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(from)?;
    let found = source.metadata()?;
    if !found.is_file() {
        return Ok(None);
    }
    let mut target =
        OpenOptions::new().write(true).create_new(true).mode(found.mode() & MODE_MASK).open(to)?;
    let n_bytes = io::copy(&mut source, &mut target)?;
    // The umask had its say when the file was made.
    target.set_permissions(fs::Permissions::from_mode(found.mode() & MODE_MASK))?;
    Ok(Some(n_bytes))
}

/// Removes a file or link beneath `root`, and the directories that it leaves empty. What is not
/// there is no error; a directory is left alone.
pub(super) fn remove_entry(root: &Path, path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => fs::remove_file(path)?,
        Err(error) if is_absent(&error) => return Ok(()),
        Err(error) => return Err(error),
    }
    let mut parent = path.parent();
    while let Some(dir) = parent.filter(|dir| *dir != root && dir.starts_with(root)) {
        if fs::remove_dir(dir).is_err() {
            break;
        }
        parent = dir.parent();
    }
    Ok(())
}

/// Whether an error only says that nothing is there.
pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_relative_paths_pass() {
        for good in ["a", "a/b", "./a", "a/.gitignore", "git/x"] {
            check_relative(Path::new(good)).unwrap_or_else(|e| panic!("{good}: {e}"));
        }
        for bad in ["", ".", "/a", "../a", "a/../b", ".git", "a/.git/config", ".GIT/x"] {
            assert!(check_relative(Path::new(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_symbolic_link_on_the_way_is_refused_and_one_at_the_end_is_not() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("real")).unwrap();
        std::os::unix::fs::symlink("real", dir.path().join("link")).unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        assert!(matches!(beneath(dir.path(), Path::new("link/x")), Err(PathProblem::Symlink(_))));
        assert!(matches!(beneath(dir.path(), Path::new("file/x")), Err(PathProblem::NotADirectory(_))));
        assert!(beneath(dir.path(), Path::new("link")).is_ok());
        assert!(beneath(dir.path(), Path::new("real/x/y")).is_ok());
    }

    #[test]
    fn a_copy_keeps_the_mode_and_overwrites_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("deep/er/to"));
        fs::write(&from, "text").unwrap();
        fs::set_permissions(&from, fs::Permissions::from_mode(0o750)).unwrap();
        assert_eq!(copy_entry(&from, &to).unwrap(), Some(4));
        assert_eq!(fs::metadata(&to).unwrap().mode() & 0o777, 0o750);
        assert!(copy_entry(&from, &to).is_err());
        remove_entry(dir.path(), &to).unwrap();
        assert!(!dir.path().join("deep").exists());
    }
}
