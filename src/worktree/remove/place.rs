//! Where the two halves of a worktree are, and what that says of a removal that was cut short. The rule
//! is pure; the look at the disk is beside it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::trashed_entry;
use crate::regular;
use crate::worktree::error::WorktreeError;
use crate::worktree::identity::{Identity, Verdict, birth, mark_in};
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

/// Where the owner of a worktree moved it: its entry names another place than the one that it was made at.
pub(in crate::worktree) fn moved_to(known: &Known) -> Option<PathBuf> {
    let text = regular::read(&known.admin().join("gitdir")).ok()?;
    // It may be relative to the entry.
    let dot_git = known.admin().join(path_from(text.trim_ascii_end().to_vec()));
    let to = dot_git.parent()?;
    let to = fs::canonicalize(to).unwrap_or_else(|_| to.to_owned());
    (to != known.path).then_some(to)
}

/// Writes down which directory is to be the worktree, before it is moved into its place.
pub(super) fn mark(known: &Known, directory: &Path) -> Result<(), WorktreeError> {
    let file = known.admin().join(RESTORED_FILE);
    let write = || {
        let at = fs::symlink_metadata(directory)?;
        let birth = birth(&at).unwrap_or_default();
        fs::write(&file, format!("{} {} {birth}\n", at.dev(), at.ino()))
    };
    write().map_err(|error| WorktreeError::io("write", &file, &error))
}

/// Whether a directory is the one that came back. Its device number may be that of another boot, where its
/// birth is known.
pub(super) fn is_marked(known: &Known, directory: &Path) -> bool {
    let Ok(text) = regular::read_text(&known.admin().join(RESTORED_FILE)) else { return false };
    let Ok(at) = fs::symlink_metadata(directory) else { return false };
    let mut words = text.split_ascii_whitespace();
    let [device, inode, born] = [words.next(), words.next(), words.next()];
    let is = |word: Option<&str>, number: &str| word == Some(number);
    let is_birth = birth(&at).is_some_and(|birth| is(born, &birth.to_string()));
    is(inode, &at.ino().to_string())
        && (is_birth || (born.is_none_or(|born| born == "0") && is(device, &at.dev().to_string())))
}

/// Whether what is in its place came from the salvage, and nobody wrote that down yet.
pub(super) fn is_new(known: &Known) -> bool {
    is_marked(known, &known.path)
}

fn look(inner: &Inner, known: &Known) -> Facts {
    let entries = [known.admin(), trashed_entry(known)];
    let entry = entries.iter().find(|entry| mark_in(entry).is_some()).unwrap_or(&entries[0]);
    let is_ours = |path: &Path| {
        let found = Identity::of(path, entry)?;
        io::Result::Ok(!matches!(known.identity.judge(&found), Verdict::Another(_)) || is_marked(known, path))
    };
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
