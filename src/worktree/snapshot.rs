//! The files of a worktree as a git tree, at one moment. Nothing of the worktree is changed: what the
//! index says is taken into memory (or into a copy), brought up to date there, and written as a tree.
//!
//! Untracked files are in it, ignored ones are not, and what git was told not to look at is looked at
//! all the same. Files too large to be kept at every turn are in it by name only, see [`super::large`],
//! and so is what is too much for one look, see [`weight`].

mod libgit2;
mod memory;
mod program;
mod weight;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use memory::Memory;

use super::at::Way;
use super::carry::shown;
use super::changes::SWAP_PREFIX;
use super::error::{WorktreeError, WorktreeErrorKind};
use super::known::Known;
use super::large;
use super::objects::{EXECUTABLE, FILE, Hold, Objects, TRIES_MAX, again, wait};
use super::source::{Source, path_from};
use super::{Inner, Worktrees, base};

/// How often a look is made while somebody writes to what it reads, and how much longer it waits each time.
const CHANGING_TRIES: u32 = 8;
const CHANGING_PAUSE: Duration = Duration::from_millis(5);

/// The files of a worktree at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The tree, in hex.
    pub tree: String,
    /// What a person should know.
    pub notices: Vec<String>,
}

impl Worktrees {
    /// Writes the files of a worktree as a tree. An unchanged worktree gives the same tree, and nothing
    /// is written.
    ///
    /// # Errors
    /// `Foreign` if it is not the worktree that was recorded; what git or the disk says.
    pub async fn snapshot(&self, known: &Known) -> Result<Snapshot, WorktreeError> {
        let known = known.clone();
        self.locked_look(&known.clone(), move |inner| again(TRIES_MAX, || take(inner, &known))).await
    }

    /// The tree of the commit that a worktree was started from.
    ///
    /// # Errors
    /// The commit is gone, or cannot be read.
    pub async fn base_tree(&self, known: &Known) -> Result<String, WorktreeError> {
        let known = known.clone();
        self.job(&self.inner.looks, move |inner| inner.repository(&known)?.tree_of(&known.base_commit)).await
    }

    /// Keeps a tree from being forgotten by git: a commit of it without parents, on a ref of ours.
    ///
    /// # Errors
    /// What git says.
    pub async fn keep_tree(
        &self,
        known: &Known,
        reference: &str,
        tree: &str,
        message: &str,
    ) -> Result<(), WorktreeError> {
        let (known, reference) = (known.clone(), reference.to_owned());
        let (tree, message) = (tree.to_owned(), message.to_owned());
        self.locked_job(&known.common_dir.clone(), move |inner, _lock| {
            let source = inner.repository(&known)?;
            let objects = Objects::of(&source);
            let (base, mut is_again) = (source.tree_of(&known.base_commit).ok(), false);
            objects.keep(&reference, Hold::Loose(base.as_deref()), || {
                if std::mem::replace(&mut is_again, true) {
                    // Another git removed it. The files may be others by now: then it is lost.
                    take(inner, &known)?;
                }
                objects.commit(&tree, &[], &message)
            })?;
            Ok(())
        })
        .await
    }

    /// Lets go of every tree that was kept of a worktree, when its session is purged.
    ///
    /// # Errors
    /// What git says.
    pub async fn forget_trees(&self, known: &Known) -> Result<(), WorktreeError> {
        let known = known.clone();
        self.locked_job(&known.common_dir.clone(), move |inner, _lock| {
            let source = inner.repository(&known)?;
            let objects = Objects::of(&source);
            let id = &known.id;
            let base = base::reference(id);
            if let Some(at) = source.commit_of_ref(&base)? {
                source.delete_ref(&base, &at)?;
            }
            for prefix in [format!("refs/hob/turns/{id}/"), format!("refs/hob/baseline/{id}")] {
                for (name, at) in objects.refs(&prefix)? {
                    source.delete_ref(&name, &at)?;
                }
            }
            match fs::remove_file(memory_file(inner, &known)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(WorktreeError::io("remove", &memory_file(inner, &known), &error))
                }
                _ => Ok(()),
            }
        })
        .await
    }
}

/// Takes the snapshot, once more where a file was written to while it was read. Blocks.
pub(super) fn take(inner: &Inner, known: &Known) -> Result<Snapshot, WorktreeError> {
    for n in 1..CHANGING_TRIES {
        match once(inner, known) {
            Err(error) if error.kind == WorktreeErrorKind::Changing => wait(CHANGING_PAUSE * n),
            taken => return taken,
        }
    }
    once(inner, known)
}

fn once(inner: &Inner, known: &Known) -> Result<Snapshot, WorktreeError> {
    let source = inner.at(known)?;
    let way = inner.way(&source)?;
    let mut memory = Memory::read(memory_file(inner, known));
    let look = Look { source: &source, bytes_left: inner.options.look_bytes };
    let taken = match way {
        Way::Libgit2 => libgit2::take(look, &mut memory),
        Way::Program => program::take(look, known, &mut memory),
    };
    memory.write(taken.is_ok());
    taken
}

/// Where it is written down what looks at a worktree read.
fn memory_file(inner: &Inner, known: &Known) -> PathBuf {
    inner.records().join(format!("{}.files", known.id))
}

/// One look.
struct Look<'a> {
    source: &'a Source<'a>,
    /// Bytes that it may read of files that are not known yet.
    bytes_left: u64,
}

/// What a look leaves out.
#[derive(Default)]
struct LeftOut {
    /// Files that are only named.
    named: Vec<PathBuf>,
    /// Repositories.
    nested: Vec<PathBuf>,
    /// Submodules with something that is not committed.
    unseen: Vec<PathBuf>,
    /// Left-overs of a daemon that was killed.
    left: BTreeSet<PathBuf>,
}

/// Where files were being replaced when the daemon that did it was killed: nobody's work, and not
/// listed as such.
pub(super) fn left_over(path: &[u8]) -> Option<PathBuf> {
    let place = path.split(|byte| *byte == b'/').next()?;
    place.starts_with(SWAP_PREFIX.as_bytes()).then(|| path_from(place.to_vec()))
}

impl LeftOut {
    /// What a person should know of it.
    fn notices(&self) -> Vec<String> {
        let mut notices = Vec::new();
        let mut tell = |what: &str, paths: &[PathBuf]| {
            if !paths.is_empty() {
                notices.push(format!("{what}: {}", shown(paths)));
            }
        };
        let left: Vec<PathBuf> = self.left.iter().cloned().collect();
        tell(
            "a hobd was killed while it replaced files; put back what was there before, or remove it",
            &left,
        );
        tell(
            &format!(
                "files over {} MiB, and the largest of those that are too much for one look, are listed, and \
                 their content is not kept at every turn",
                large::LARGE_BYTES >> 20
            ),
            &self.named,
        );
        tell("repositories inside the worktree are not looked into", &self.nested);
        tell("what is not committed in these submodules is not listed", &self.unseen);
        notices
    }
}

/// What git writes as the mode of a file; `None` for what is none.
fn mode_of(found: &fs::Metadata) -> Option<u32> {
    let mode = if found.mode() & 0o100 == 0 { FILE } else { EXECUTABLE };
    found.is_file().then_some(mode)
}

/// Whether git would keep something at that path: a file or a link.
fn is_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_file() || found.is_symlink())
}
