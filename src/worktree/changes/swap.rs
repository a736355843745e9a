//! Replaces files of a checkout, all of them or none: everything new is written beside the others
//! first, then each path is swapped by renames, and the renames are taken back if one fails.
//!
//! **Invariants:** a path that changed since it was looked at is not touched; nothing is followed and
//! nothing is written in place; what was there is removed only when every path is swapped. Where the
//! file system can exchange two names, a path that is replaced is there at every moment, so that a
//! process that is killed in the middle leaves each file whole, as it was or as it is to be. It is written
//! down before the first rename, and the next start finishes it or takes it back (see [`recover`]).

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use serde::{Deserialize, Serialize};

use super::disk::{Stamp, stamp};
use crate::worktree::error::{WorktreeError, WorktreeErrorKind};
use crate::worktree::known::Known;
use crate::worktree::safe_path::beneath;

use record::{Note, Record};
pub use recover::{CutShort, Ending};

mod prepare;
mod record;
mod recover;

/// How the directory is called in which the files of a swap lie.
pub(in crate::worktree) const PREFIX: &str = ".hob-swap-";

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

/// What becomes of a swap that is cut short by the end of the daemon, where both can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Way {
    /// It is finished.
    Forward,
    /// It is taken back.
    Back,
}

/// What a swap is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Intent {
    /// The worktree whose changes they are.
    pub(super) worktree: String,
    /// Its repository.
    pub(super) common_dir: PathBuf,
    /// What becomes of it if it is cut short.
    pub(super) way: Way,
    /// What counts as the person's own when it is done.
    pub(super) baseline: Option<String>,
    /// What else is to be recorded then.
    pub(super) then: Option<String>,
}

impl Intent {
    /// For changes to the worktree itself.
    pub(super) fn within(known: &Known) -> Self {
        let (worktree, common_dir) = (known.id.clone(), known.common_dir.clone());
        Self { worktree, common_dir, way: Way::Back, baseline: None, then: None }
    }
}

/// What is left of a swap when it is done: what was there before, and its record. Both stay until all
/// that belongs to it is recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "what was there before stays beside the files until it is settled"]
pub struct Ticket(Option<(PathBuf, Note)>);

impl Ticket {
    fn of(place: PathBuf, note: Note) -> Self {
        Self(Some((place, note)))
    }

    /// Removes it. Blocks.
    pub(super) fn settle(self) {
        let Some((place, note)) = self.0 else { return };
        match fs::remove_dir_all(&place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(place = %place.display(), %error, "what was replaced is left beside the files");
            }
            _ => {
                crash_point!("swap.half_settled");
                note.remove();
            }
        }
    }
}

/// What was done, to be taken back.
enum Done {
    Moved { from: PathBuf, to: PathBuf },
    Exchanged(PathBuf, PathBuf),
    MadeFolder(PathBuf),
    RemovedFolder(PathBuf),
}

struct Swap<'a> {
    top: &'a Path,
    place: PathBuf,
    done: Vec<Done>,
}

/// Replaces all, or changes nothing. Records of it lie in `records`. Blocks.
pub(super) fn swap(
    records: &Path,
    top: &Path,
    replacements: &[Replace],
    intent: Intent,
) -> Result<Ticket, WorktreeError> {
    if replacements.is_empty() {
        return Ok(Ticket::default());
    }
    let mut record = Record::of(top, intent);
    let noted = |error: io::Error| WorktreeError::io("write in", records, &error);
    let note = Note::begin(records, &record).map_err(noted)?;
    crash_point!("swap.begun");
    // Beside the files, so that a rename is enough.
    let mut swap = Swap { top, place: note.place(top), done: Vec::new() };
    let prepared = swap.prepare_all(replacements).and_then(|steps| {
        record.steps = Some(steps);
        crash_point!("swap.prepared");
        note.write(&record).map_err(noted)
    });
    if let Err(error) = prepared {
        Ticket::of(swap.place, note).settle();
        return Err(error);
    }
    crash_point!("swap.ready");
    #[cfg(test)]
    tests::cut();
    if let Err(error) = swap.all(replacements) {
        return Err(swap.take_back(error, note));
    }
    crash_point!("swap.done");
    Ok(Ticket::of(swap.place, note))
}

/// Exchanges what two names stand for.
fn exchange_names(one: &Path, other: &Path) -> Result<(), Errno> {
    renameat2(AT_FDCWD, one, AT_FDCWD, other, RenameFlags::RENAME_EXCHANGE)
}

/// Whether the file system cannot exchange two names. Not every one can.
fn is_no_exchange(errno: Errno) -> bool {
    matches!(errno, Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP)
}

impl Swap<'_> {
    fn new_file(&self, n: usize) -> PathBuf {
        self.place.join(format!("new-{n}"))
    }

    fn old_file(&self, n: usize) -> PathBuf {
        self.place.join(format!("old-{n}"))
    }

    fn all(&mut self, replacements: &[Replace]) -> Result<(), WorktreeError> {
        let going: BTreeSet<&Path> = replacements
            .iter()
            .filter(|replace| matches!(replace.wanted, Wanted::Nothing))
            .map(|replace| replace.path.as_path())
            .collect();
        for replace in replacements {
            // What is there goes first: looked at again when that is done.
            if replace.seen.is_none() && makes_room(&going, &replace.path) {
                continue;
            }
            let path = self.path_of(replace)?;
            if stamp(&path) != replace.seen {
                return Err(changed(&path));
            }
        }
        // What goes first: a file may be where a directory is to be, or the other way round.
        let is_nothing = |replace: &Replace| matches!(replace.wanted, Wanted::Nothing);
        for (n, replace) in replacements.iter().enumerate().filter(|(_, replace)| is_nothing(replace)) {
            let path = self.path_of(replace)?;
            if replace.seen.is_some() {
                self.move_away(&path, n, replace.seen)?;
                self.remove_empty_above(&path);
            }
        }
        for (n, replace) in replacements.iter().enumerate().filter(|(_, replace)| !is_nothing(replace)) {
            let path = self.path_of(replace)?;
            if replace.seen.is_some() {
                self.exchange(&path, n, replace.seen)?;
                continue;
            }
            self.make_folders_above(&path)?;
            if stamp(&path).is_some() {
                return Err(changed(&path));
            }
            self.rename(self.new_file(n), path)?;
        }
        Ok(())
    }

    fn move_away(&mut self, path: &Path, n: usize, seen: Stamp) -> Result<(), WorktreeError> {
        let old = self.old_file(n);
        self.rename(path.to_owned(), old.clone())?;
        if is_same_but_moved(stamp(&old), seen) { Ok(()) } else { Err(changed(path)) }
    }

    /// The new file in the place of the old one, which is kept beside.
    fn exchange(&mut self, path: &Path, n: usize, seen: Stamp) -> Result<(), WorktreeError> {
        let new = self.new_file(n);
        match exchange_names(&new, path) {
            Ok(()) => self.done.push(Done::Exchanged(new.clone(), path.to_owned())),
            Err(errno) if is_no_exchange(errno) => {
                self.move_away(path, n, seen)?;
                return self.rename(new, path.to_owned());
            }
            Err(errno) => return Err(WorktreeError::io("replace", path, &errno.into())),
        }
        crash_point!("swap.half");
        #[cfg(test)]
        tests::cut();
        if is_same_but_moved(stamp(&new), seen) { Ok(()) } else { Err(changed(path)) }
    }

    fn path_of(&self, replace: &Replace) -> Result<PathBuf, WorktreeError> {
        beneath(self.top, &replace.path)
            .map_err(|problem| WorktreeError::new(WorktreeErrorKind::InTheWay, problem.to_string()))
    }

    fn rename(&mut self, from: PathBuf, to: PathBuf) -> Result<(), WorktreeError> {
        fs::rename(&from, &to).map_err(|error| WorktreeError::io("replace", &from, &error))?;
        self.done.push(Done::Moved { from, to });
        crash_point!("swap.half");
        #[cfg(test)]
        tests::cut();
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
    fn take_back(mut self, mut error: WorktreeError, note: Note) -> WorktreeError {
        let mut is_whole = true;
        for done in std::mem::take(&mut self.done).into_iter().rev() {
            is_whole &= match done {
                Done::Moved { from, to } => stamp(&from).is_none() && fs::rename(&to, &from).is_ok(),
                Done::Exchanged(new, path) => exchange_names(&new, &path).is_ok(),
                Done::MadeFolder(folder) => fs::remove_dir(&folder).is_ok(),
                Done::RemovedFolder(folder) => fs::create_dir(&folder).is_ok(),
            };
        }
        if is_whole {
            Ticket::of(self.place, note).settle();
        } else {
            let kept = self.place.display();
            error.message.push_str(&format!("; what was there before is in `{kept}`"));
            note.remove();
        }
        error
    }
}

/// Whether what goes is above a path, where a directory is to be, or below it.
fn makes_room(going: &BTreeSet<&Path>, path: &Path) -> bool {
    path.ancestors().skip(1).any(|folder| going.contains(folder))
        || going.iter().any(|gone| *gone != path && gone.starts_with(path))
}

/// Whether a file is the one that was seen: a rename changes only the time of its change.
fn is_same_but_moved(now: Stamp, seen: Stamp) -> bool {
    let but_moved =
        |stamp: Stamp| stamp.map(|(device, inode, size, [s, ns, ..])| (device, inode, size, s, ns));
    but_moved(now) == but_moved(seen)
}

fn changed(path: &Path) -> WorktreeError {
    WorktreeError::new(WorktreeErrorKind::InTheWay, format!("`{}` was changed just now", path.display()))
        .hint("try again in a moment")
}

#[cfg(test)]
mod tests;
