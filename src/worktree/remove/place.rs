//! Where the two halves of a worktree are, and what that says of a removal that was cut short. The rule
//! is pure; the look at the disk is beside it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::trashed_entry;
use crate::worktree::error::WorktreeError;
use crate::worktree::known::Known;
use crate::worktree::source::path_from;
use crate::worktree::{Inner, Worktrees};

/// Where a worktree is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Where it was made.
    InPlace,
    /// One half is in the trash, the other is not.
    HalfMoved,
    /// In the trash, both halves.
    InTrash,
    /// Neither: only its salvage may be left.
    Gone,
    /// Something that no removal leaves: says what.
    Confused(String),
}

/// What is found at the four places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Facts {
    /// Our directory is where it was made.
    directory: bool,
    /// Something else is there.
    other: bool,
    /// The directory is in the trash.
    trashed: bool,
    /// The entry is in the repository.
    entry: bool,
    /// The entry is in the trash of the repository.
    trashed_entry: bool,
}

impl Place {
    fn of(facts: Facts) -> Self {
        match facts {
            Facts { directory: true, trashed: true, .. } => {
                Self::Confused("its directory is in its place and in the trash".to_owned())
            }
            Facts { entry: true, trashed_entry: true, .. } => {
                Self::Confused("its entry is in its place and in the trash".to_owned())
            }
            Facts { other: true, trashed: true, .. } => {
                Self::Confused("another directory is in its place".to_owned())
            }
            Facts { directory: true, entry: true, .. } => Self::InPlace,
            Facts { trashed: true, trashed_entry: true, .. } => Self::InTrash,
            Facts { directory: true, trashed_entry: true, .. } | Facts { trashed: true, entry: true, .. } => {
                Self::HalfMoved
            }
            Facts { directory: false, trashed: false, other: false, .. } => Self::Gone,
            Facts { other: true, .. } => Self::Confused("another directory is in its place".to_owned()),
            Facts { directory: true, .. } => Self::Confused("its entry in the repository is gone".to_owned()),
            _ => Self::Confused("its entry in the repository is gone, and it is in the trash".to_owned()),
        }
    }
}

/// In the entry of a worktree that came back from its salvage: which directory it is now. Its row says
/// so only when it is whole, and until then this tells ours from another's.
const RESTORED_FILE: &str = "hob-restored";

type Identity = (u64, u64);

/// Where the owner of a worktree moved it: its entry names another place than the one that it was made at.
fn moved_to(known: &Known) -> Option<PathBuf> {
    let text = fs::read(known.admin().join("gitdir")).ok()?;
    // It may be relative to the entry.
    let dot_git = known.admin().join(path_from(text.trim_ascii_end().to_vec()));
    let to = dot_git.parent()?;
    let to = fs::canonicalize(to).unwrap_or_else(|_| to.to_owned());
    (to != known.path).then_some(to)
}

fn identity(path: &Path) -> io::Result<Identity> {
    fs::symlink_metadata(path).map(|at| (at.dev(), at.ino()))
}

/// Writes down which directory is to be the worktree, before it is moved into its place.
pub(super) fn mark(known: &Known, directory: &Path) -> Result<(), WorktreeError> {
    let file = known.admin().join(RESTORED_FILE);
    let write = || {
        let (device, inode) = identity(directory)?;
        fs::write(&file, format!("{device} {inode}\n"))
    };
    write().map_err(|error| WorktreeError::io("write", &file, &error))
}

fn marked(known: &Known) -> Option<Identity> {
    let text = fs::read_to_string(known.admin().join(RESTORED_FILE)).ok()?;
    let (device, inode) = text.trim_end().split_once(' ')?;
    Some((device.parse().ok()?, inode.parse().ok()?))
}

/// Whether what is in its place came from the salvage, and nobody wrote that down yet.
pub(super) fn is_new(known: &Known) -> bool {
    matches!((identity(&known.path), marked(known)), (Ok(here), Some(marked)) if here == marked)
}

fn look(inner: &Inner, known: &Known) -> Facts {
    let (row, marked) = ((known.device, known.inode), marked(known));
    let is_ours = |path: &Path| identity(path).map(|at| at == row || Some(at) == marked);
    let here = is_ours(&known.path);
    Facts {
        directory: matches!(here, Ok(true)),
        other: matches!(here, Ok(false)),
        trashed: matches!(is_ours(&inner.trashed(known)), Ok(true)),
        entry: fs::symlink_metadata(known.admin()).is_ok(),
        trashed_entry: fs::symlink_metadata(trashed_entry(known)).is_ok(),
    }
}

/// Where a worktree is now. Blocks.
pub(super) fn place(inner: &Inner, known: &Known) -> Place {
    match (Place::of(look(inner, known)), moved_to(known)) {
        (Place::Gone, Some(to)) => Place::Confused(format!("it was moved to `{}`", to.display())),
        (place, _) => place,
    }
}

/// Whether our directory is where it was made.
pub(super) fn is_in_place(inner: &Inner, known: &Known) -> bool {
    look(inner, known).directory
}

impl Worktrees {
    /// Where a worktree is now. Waits for nobody: who decides by it has written down that nobody else
    /// may move it.
    ///
    /// # Errors
    /// The look itself fails.
    pub async fn place(&self, known: &Known) -> Result<Place, WorktreeError> {
        let known = known.clone();
        self.job(&self.inner.looks, move |inner| Ok(place(inner, &known))).await
    }

    /// Forgets how a worktree that came back was known until its row said so.
    ///
    /// # Errors
    /// `Busy` if the repository is; what the disk says.
    pub async fn restored(&self, known: &Known) -> Result<(), WorktreeError> {
        let file = known.admin().join(RESTORED_FILE);
        let remove = move |_: &Inner, _lock: &_| match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(WorktreeError::io("remove", &file, &error))
            }
            _ => Ok(()),
        };
        self.locked_job(&known.common_dir, remove).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Facts =
        Facts { directory: false, other: false, trashed: false, entry: false, trashed_entry: false };

    #[test]
    fn every_window_of_a_removal_is_known_and_nothing_else_is_guessed_at() {
        let in_place = Facts { directory: true, entry: true, ..NOTHING };
        let one_moved = Facts { trashed: true, entry: true, ..NOTHING };
        let both_moved = Facts { trashed: true, trashed_entry: true, ..NOTHING };
        // A restore moves the entry first.
        let one_back = Facts { trashed: true, entry: true, ..NOTHING };
        assert_eq!(Place::of(in_place), Place::InPlace);
        assert_eq!(Place::of(one_moved), Place::HalfMoved);
        assert_eq!(Place::of(both_moved), Place::InTrash);
        assert_eq!(Place::of(one_back), Place::HalfMoved);
        assert_eq!(Place::of(Facts { directory: true, trashed_entry: true, ..NOTHING }), Place::HalfMoved);
        assert_eq!(Place::of(NOTHING), Place::Gone);
        assert_eq!(Place::of(Facts { entry: true, ..NOTHING }), Place::Gone);
        for confused in [
            Facts { directory: true, trashed: true, entry: true, ..NOTHING },
            Facts { other: true, entry: true, ..NOTHING },
            Facts { other: true, trashed: true, trashed_entry: true, ..NOTHING },
            Facts { directory: true, ..NOTHING },
            Facts { trashed: true, ..NOTHING },
            Facts { directory: true, entry: true, trashed_entry: true, ..NOTHING },
        ] {
            assert!(matches!(Place::of(confused), Place::Confused(_)), "{confused:?}");
        }
    }
}
