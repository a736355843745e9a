//! The two renames into the trash, and the two renames back.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use super::files::seal;
use super::late::List;
use super::place::{Place, place};
use super::salvage::{Salvaged, sync};
use super::{ENTRIES_DIR, trashed_entry};
use crate::backend::process::inside;
use crate::worktree::at::check_place;
use crate::worktree::error::{WorktreeError, WorktreeErrorKind};
use crate::worktree::known::Known;
use crate::worktree::{Inner, Worktrees};

impl Worktrees {
    /// Moves a salvaged worktree into the trash, if it still is as it was salvaged and nobody is inside.
    ///
    /// # Errors
    /// `InTheWay`, `Foreign`, `Io`: then it is where it was, unless the message says otherwise.
    pub async fn to_trash(&self, known: &Known, salvaged: &Salvaged) -> Result<(), WorktreeError> {
        let (known, salvaged) = (known.clone(), salvaged.clone());
        self.locked_job(&known.common_dir.clone(), move |inner, _lock| to_trash(inner, &known, &salvaged))
            .await
    }

    /// Moves a worktree back from the trash, whichever of its halves is there.
    ///
    /// # Errors
    /// `InTheWay` where something else is in its place; `Io`.
    pub async fn back_from_trash(&self, known: &Known) -> Result<(), WorktreeError> {
        let known = known.clone();
        self.locked_job(&known.common_dir.clone(), move |inner, _lock| back(inner, &known)).await
    }
}

pub(super) fn in_the_way(message: String) -> WorktreeError {
    WorktreeError::new(WorktreeErrorKind::InTheWay, message)
}

fn to_trash(inner: &Inner, known: &Known, salvaged: &Salvaged) -> Result<(), WorktreeError> {
    check_place(known)?;
    if seal(&known.path)? != salvaged.seal {
        return Err(in_the_way(format!("`{}` was written to since it was salvaged", known.path.display())));
    }
    let (to, entry_to) = (inner.trashed(known), trashed_entry(known));
    // Whatever is written from here on is found again before the trash is emptied.
    let list = List::of(&known.path)?;
    list.write(&known.admin())?;
    make(&inner.root.join(super::TRASH_DIR))?;
    make(&known.common_dir.join(ENTRIES_DIR))?;
    crash_point!("remove.unmoved");
    rename(&known.path, &to)?;
    crash_point!("remove.half_moved");
    let moved = rename(&known.admin(), &entry_to).and_then(|()| {
        crash_point!("remove.moved");
        verify(&to, salvaged)
    });
    if let Err(mut error) = moved {
        if let Err(why) = back(inner, known) {
            error.message.push_str(&format!("; it could not be moved back ({why})"));
        }
        return Err(error);
    }
    sync(&inner.root)?;
    sync(&known.common_dir)?;
    crash_point!("remove.verified");
    Ok(())
}

/// Whether what was moved is what was salvaged, and nobody works in it.
fn verify(at: &Path, salvaged: &Salvaged) -> Result<(), WorktreeError> {
    if seal(at)? != salvaged.seal {
        return Err(in_the_way("it was written to while it was moved".to_owned()));
    }
    match inside(at).occupants.first() {
        Some(occupant) => {
            let (name, pid, with) = (&occupant.name, occupant.pid, occupant.with);
            Err(in_the_way(format!("{name} (pid {pid}) works in it ({with})")))
        }
        None => Ok(()),
    }
}

/// Both halves back in their places. Again, it changes nothing.
pub(super) fn back(inner: &Inner, known: &Known) -> Result<(), WorktreeError> {
    let (from, entry_from) = (inner.trashed(known), trashed_entry(known));
    match place(inner, known) {
        Place::InPlace => return Ok(()),
        Place::InTrash | Place::HalfMoved => {}
        Place::Gone => return Err(in_the_way(format!("`{}` is gone", known.path.display()))),
        Place::Confused(why) => return Err(in_the_way(format!("`{}`: {why}", known.path.display()))),
    }
    let is_there = |path: &Path| fs::symlink_metadata(path).is_ok();
    if is_there(&entry_from) {
        // The last worktree of a repository takes the directory of entries with it.
        make(&known.common_dir.join("worktrees"))?;
        rename(&entry_from, &known.admin())?;
    }
    super::late::forget(&known.admin());
    crash_point!("restore.half_moved");
    if is_there(&from) {
        rename(&from, &known.path)?;
    }
    fs::remove_dir(known.common_dir.join(ENTRIES_DIR)).ok();
    sync(&inner.root)?;
    sync(&known.common_dir)?;
    crash_point!("restore.moved");
    check_place(known)
}

pub(super) fn make(folder: &Path) -> Result<(), WorktreeError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| WorktreeError::io("make", folder, &error))
}

/// Renames where nothing is: a copy is never made, and nothing is replaced.
fn rename(from: &Path, to: &Path) -> Result<(), WorktreeError> {
    renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE)
        .map_err(|errno| WorktreeError::io(&format!("move to `{}`", to.display()), from, &errno.into()))
}
