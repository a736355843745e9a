//! Replaces files of a checkout, all of them or none: everything new is written beside the others
//! first, then each path is swapped by renames, and the renames are taken back if one fails.
//!
//! **Invariants:** a path that changed since it was looked at is not touched; nothing is followed and
//! nothing is written in place; what was there is removed only when every path is swapped.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use super::disk::{Stamp, stamp};
use crate::worktree::error::{WorktreeError, WorktreeErrorKind};
use crate::worktree::safe_path::beneath;

/// What is to be at a path.
#[derive(Debug, Clone)]
pub(super) enum Wanted {
    /// Nothing.
    Nothing,
    /// A file.
    File {
        /// Its content.
        bytes: Vec<u8>,
        /// Whether it can be executed.
        executable: bool,
    },
    /// A symbolic link with this target.
    Link(Vec<u8>),
    /// A copy of this file.
    Copy {
        /// Which one.
        from: PathBuf,
        /// What it must still be.
        seen: Stamp,
    },
}

/// One path that is to be replaced.
#[derive(Debug, Clone)]
pub(super) struct Replace {
    /// Relative to the top.
    pub(super) path: PathBuf,
    /// What is to be there.
    pub(super) wanted: Wanted,
    /// What was there when it was decided.
    pub(super) seen: Stamp,
}

/// What was done, to be taken back.
enum Done {
    Moved { from: PathBuf, to: PathBuf },
    MadeFolder(PathBuf),
    RemovedFolder(PathBuf),
}

struct Swap<'a> {
    top: &'a Path,
    place: tempfile::TempDir,
    done: Vec<Done>,
}

/// Replaces all, or changes nothing. Blocks.
pub(super) fn swap(top: &Path, replacements: &[Replace]) -> Result<(), WorktreeError> {
    if replacements.is_empty() {
        return Ok(());
    }
    let io = |error: io::Error| WorktreeError::io("write in", top, &error);
    // Beside the files, so that a rename is enough.
    let place = tempfile::Builder::new().prefix(".hob-swap-").tempdir_in(top).map_err(io)?;
    let mut swap = Swap { top, place, done: Vec::new() };
    for (n, replace) in replacements.iter().enumerate() {
        swap.prepare(n, replace)?;
    }
    let swapped = swap.all(replacements);
    if let Err(error) = swapped {
        return Err(swap.take_back(error));
    }
    // Only what was there before is left in it.
    swap.place.close().map_err(io)
}

impl Swap<'_> {
    fn new_file(&self, n: usize) -> PathBuf {
        self.place.path().join(format!("new-{n}"))
    }

    fn old_file(&self, n: usize) -> PathBuf {
        self.place.path().join(format!("old-{n}"))
    }

    fn prepare(&self, n: usize, replace: &Replace) -> Result<(), WorktreeError> {
        let to = self.new_file(n);
        let failed = |error: io::Error| WorktreeError::io("write", &to, &error);
        match &replace.wanted {
            Wanted::Nothing => Ok(()),
            Wanted::Link(target) => {
                symlink(PathBuf::from(std::ffi::OsString::from_vec(target.clone())), &to).map_err(failed)
            }
            Wanted::File { bytes, executable } => {
                let write = || {
                    let mode = if *executable { 0o777 } else { 0o666 };
                    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&to)?;
                    file.write_all(bytes)
                };
                write().map_err(failed)
            }
            Wanted::Copy { from, seen } => {
                let copy = || {
                    let mut source = File::options().read(true).custom_flags(libc::O_NOFOLLOW).open(from)?;
                    let mut target = OpenOptions::new().write(true).create_new(true).open(&to)?;
                    io::copy(&mut source, &mut target)?;
                    let mode = source.metadata()?.permissions().mode() & 0o777;
                    target.set_permissions(fs::Permissions::from_mode(mode))
                };
                copy().map_err(failed)?;
                if stamp(from) == *seen { Ok(()) } else { Err(changed(from)) }
            }
        }
    }

    fn all(&mut self, replacements: &[Replace]) -> Result<(), WorktreeError> {
        // What goes first: a file may be where a directory is to be, or the other way round.
        for (n, replace) in replacements.iter().enumerate() {
            let path = self.path_of(replace)?;
            if stamp(&path) != replace.seen {
                return Err(changed(&path));
            }
            if replace.seen.is_some() {
                self.rename(path.clone(), self.old_file(n))?;
                if matches!(replace.wanted, Wanted::Nothing) {
                    self.remove_empty_above(&path);
                }
            }
        }
        for (n, replace) in replacements.iter().enumerate() {
            if matches!(replace.wanted, Wanted::Nothing) {
                continue;
            }
            let path = self.path_of(replace)?;
            self.make_folders_above(&path)?;
            if stamp(&path).is_some() {
                return Err(changed(&path));
            }
            self.rename(self.new_file(n), path)?;
        }
        Ok(())
    }

    fn path_of(&self, replace: &Replace) -> Result<PathBuf, WorktreeError> {
        beneath(self.top, &replace.path)
            .map_err(|problem| WorktreeError::new(WorktreeErrorKind::InTheWay, problem.to_string()))
    }

    fn rename(&mut self, from: PathBuf, to: PathBuf) -> Result<(), WorktreeError> {
        fs::rename(&from, &to).map_err(|error| WorktreeError::io("replace", &from, &error))?;
        self.done.push(Done::Moved { from, to });
        Ok(())
    }

    fn remove_empty_above(&mut self, path: &Path) {
        for folder in path.ancestors().skip(1).take_while(|folder| *folder != self.top) {
            if fs::remove_dir(folder).is_err() {
                return;
            }
            self.done.push(Done::RemovedFolder(folder.to_owned()));
        }
    }

    fn make_folders_above(&mut self, path: &Path) -> Result<(), WorktreeError> {
        let above: Vec<_> = path.ancestors().skip(1).take_while(|folder| *folder != self.top).collect();
        for folder in above.into_iter().rev() {
            match fs::create_dir(folder) {
                Ok(()) => self.done.push(Done::MadeFolder(folder.to_owned())),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(WorktreeError::io("make", folder, &error)),
            }
        }
        Ok(())
    }

    /// Takes back what was done. What cannot be is kept beside, and said.
    fn take_back(mut self, mut error: WorktreeError) -> WorktreeError {
        let mut is_whole = true;
        for done in std::mem::take(&mut self.done).into_iter().rev() {
            is_whole &= match done {
                Done::Moved { from, to } => stamp(&from).is_none() && fs::rename(&to, &from).is_ok(),
                Done::MadeFolder(folder) => fs::remove_dir(&folder).is_ok(),
                Done::RemovedFolder(folder) => fs::create_dir(&folder).is_ok(),
            };
        }
        if !is_whole {
            let kept = self.place.keep();
            error.message.push_str(&format!("; what was there before is in `{}`", kept.display()));
        }
        error
    }
}

fn changed(path: &Path) -> WorktreeError {
    WorktreeError::new(WorktreeErrorKind::InTheWay, format!("`{}` was changed just now", path.display()))
        .hint("try again in a moment")
}
