//! Step 3: who has locked the worktree, and whether some git is writing to its repository.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::Path;

use hob_actors::worktree::ReasonKind;

use super::findings::Findings;
use super::{Job, Trouble, unreadable};
use crate::regular;
use crate::worktree::LOCK_REASON;

/// Directories of a repository in which no lock is about us: objects are only ever added, and other
/// worktrees and what was removed of them are not ours.
const NOT_OURS: [&str; 5] = ["objects", "worktrees", "hob-trash", "modules", "lfs"];

pub(super) fn look(job: &Job<'_>, found: &mut Findings) -> Result<(), Trouble> {
    let locked = job.admin().join("locked");
    match regular::read_text(&locked) {
        Ok(reason) if reason.trim() == LOCK_REASON => {}
        Ok(reason) if reason.trim().is_empty() => {
            found.note(ReasonKind::Locked, "it is locked, without a reason");
        }
        Ok(reason) => found.note(ReasonKind::Locked, format!("it is locked: {}", reason.trim())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(unreadable(&locked, &error)),
    }
    lock_files(job, &job.admin(), &[], found)?;
    lock_files(job, &job.known.common_dir, &NOT_OURS, found)
}

/// Every lock file below a directory, but for what is below these names at its top.
fn lock_files(job: &Job<'_>, top: &Path, but: &[&str], found: &mut Findings) -> Result<(), Trouble> {
    let mut folders = vec![top.to_owned()];
    while let Some(folder) = folders.pop() {
        job.check_time()?;
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            // It went while we looked.
            Err(error) if error.kind() == io::ErrorKind::NotFound && folder != top => continue,
            Err(error) => return Err(unreadable(&folder, &error)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| unreadable(&folder, &error))?;
            let kind = entry.file_type().map_err(|error| unreadable(&folder, &error))?;
            let name = entry.file_name();
            if kind.is_dir() {
                if folder != top || !but.iter().any(|but| name == *but) {
                    folders.push(entry.path());
                }
            } else if is_lock(&name) {
                found.note(ReasonKind::LockFile, format!("`{}`", entry.path().display()));
            }
        }
    }
    Ok(())
}

/// Whether git takes a file of that name for a lock.
fn is_lock(name: &OsStr) -> bool {
    name.as_encoded_bytes().ends_with(b".lock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_lock_has_the_same_end() {
        for name in
            ["index.lock", "HEAD.lock", "packed-refs.lock", "config.lock", "shallow.lock", "main.lock"]
        {
            assert!(is_lock(OsStr::new(name)), "{name}");
        }
        for name in ["index", "locked", "lock", "yarn.lockfile"] {
            assert!(!is_lock(OsStr::new(name)), "{name}");
        }
    }
}
