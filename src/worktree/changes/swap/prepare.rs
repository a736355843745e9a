//! Writes what is new beside the files that it is to replace, and puts it on the disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::PathBuf;

use nix::unistd::syncfs;

use super::record::Step;
use super::{Replace, Swap, Wanted, changed};
use crate::worktree::changes::disk::stamp;
use crate::worktree::error::WorktreeError;

/// Files that are put on the disk one by one; more of them with everything else of their file system.
const SYNCED_MAX: usize = 32;
impl Swap<'_> {
    /// Writes everything new beside the others.
    pub(super) fn prepare_all(&self, replacements: &[Replace]) -> Result<Vec<Step>, WorktreeError> {
        let made = fs::DirBuilder::new().mode(0o700).create(&self.place);
        made.map_err(|error| WorktreeError::io("write in", self.top, &error))?;
        let prepare = |(n, replace)| {
            self.prepare(n, replace)?;
            Ok(Step::of(replace, stamp(&self.new_file(n))))
        };
        let steps = replacements.iter().enumerate().map(prepare).collect::<Result<Vec<_>, _>>()?;
        self.sync(replacements.len())
            .map_err(|error| WorktreeError::io("make durable what is in", &self.place, &error))?;
        Ok(steps)
    }

    /// What is new is on the disk before anything old goes: after a power failure no file is empty.
    fn sync(&self, n: usize) -> io::Result<()> {
        if n > SYNCED_MAX {
            return Ok(syncfs(File::open(&self.place)?)?);
        }
        for file in (0..n).map(|n| self.new_file(n)) {
            if fs::symlink_metadata(&file).is_ok_and(|found| found.is_file()) {
                File::options().read(true).custom_flags(libc::O_NOFOLLOW).open(&file)?.sync_data()?;
            }
        }
        File::open(&self.place)?.sync_all()
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
                    // Who may read the one that is there may read the new one, and nobody else.
                    if let Some(bits) = self.bits(replace) {
                        file.set_permissions(fs::Permissions::from_mode(executable_as(bits, *executable)))?;
                    }
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

    /// The permission bits of the file that is replaced, if it is one.
    fn bits(&self, replace: &Replace) -> Option<u32> {
        replace.seen?;
        let found = fs::symlink_metadata(self.path_of(replace).ok()?).ok()?;
        found.is_file().then(|| found.permissions().mode() & 0o777)
    }
}

/// Permission bits with which who may read may execute, or nobody may.
pub(super) fn executable_as(bits: u32, executable: bool) -> u32 {
    if executable { bits | (bits & 0o444) >> 2 } else { bits & !0o111 }
}
