//! The files of a worktree as a git tree, at one moment. Nothing of the worktree is changed: what the
//! index says is taken into memory (or into a copy), brought up to date there, and written as a tree.
//!
//! Untracked files are in it, ignored ones are not, and what git was told not to look at is looked at
//! all the same. Files too large to be kept at every turn are in it by name only, see [`super::large`],
//! and so is what is too much for one look, see [`weight`].

mod memory;
mod program;
mod weight;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use git2::{Delta, DiffOptions, Index, IndexEntry, Oid, Repository};

use memory::{Found, Memory};
use weight::{Fate, Kept, Weight, plan};

use super::at::Way;
use super::carry::{Entry, index_entry, shown};
use super::changes::SWAP_PREFIX;
use super::error::WorktreeError;
use super::known::Known;
use super::large;
use super::objects::{FILE, GITLINK, Hold, Objects, TRIES_MAX, again};
use super::source::{Source, path_from};
use super::{Inner, Worktrees, submodules};

/// Flags of an index entry: `assume-unchanged`, and in the extended ones `intent-to-add` and
/// `skip-worktree`.
const ASSUME_UNCHANGED: u16 = 0x8000;
const INTENT_TO_ADD: u16 = 1 << 13;
const SKIP_WORKTREE: u16 = 1 << 14;
/// The stage of a conflicted entry lies in these bits.
const STAGE: u16 = 0x3000;

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

/// Takes the snapshot. Blocks.
pub(super) fn take(inner: &Inner, known: &Known) -> Result<Snapshot, WorktreeError> {
    let source = inner.at(known)?;
    let way = inner.way(&source)?;
    let mut memory = Memory::read(memory_file(inner, known));
    let look = Look { source: &source, bytes_left: inner.options.look_bytes };
    let taken = match way {
        Way::Libgit2 => by_libgit2(look, &mut memory),
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

// ---------------------------------------------------------------------------------------------
// libgit2

/// An index in memory that is brought up to date with the disk.
struct Draft<'a> {
    repo: &'a Repository,
    top: &'a Path,
    index: Index,
    memory: &'a mut Memory,
    bytes_left: u64,
    out: LeftOut,
}

fn by_libgit2(look: Look<'_>, memory: &mut Memory) -> Result<Snapshot, WorktreeError> {
    let source = look.source;
    let failed =
        |error: git2::Error| WorktreeError::git("read the files of the worktree", &source.top, &error);
    let Some(repo) = &source.repo else {
        return Err(WorktreeError::unsupported("another format", &source.top, "libgit2 cannot read it"));
    };
    // Read anew with the repository, which is opened for each job; never written back.
    let index = repo.index().map_err(failed)?;
    let (bytes_left, out) = (look.bytes_left, LeftOut::default());
    let mut draft = Draft { repo, top: &source.top, index, memory, bytes_left, out };
    draft.unmask().map_err(failed)?;
    draft.follow_disk().map_err(failed)?;
    draft.follow_submodules().map_err(failed)?;
    let tree = draft.index.write_tree_to(repo).map_err(failed)?.to_string();
    draft.out.unseen = draft.unseen();
    Ok(Snapshot { tree, notices: draft.out.notices() })
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

impl Draft<'_> {
    /// Entries that git is told not to compare, conflicts and intents are taken from the disk.
    fn unmask(&mut self) -> Result<(), git2::Error> {
        let special: Vec<IndexEntry> = self
            .index
            .iter()
            .filter(|entry| {
                entry.flags & (ASSUME_UNCHANGED | STAGE) != 0
                    || entry.flags_extended & (INTENT_TO_ADD | SKIP_WORKTREE) != 0
            })
            .collect();
        let mut present = Vec::new();
        for entry in special {
            let path = path_from(entry.path.clone());
            let is_there = is_file(&self.top.join(&path));
            if entry.flags & STAGE != 0 {
                for stage in 1..=3 {
                    // A conflict need not have all three.
                    self.index.remove(&path, stage).ok();
                }
            } else if entry.flags_extended & SKIP_WORKTREE != 0 && !is_there {
                // Left out of the checkout on purpose.
                continue;
            }
            if is_there { present.push(path) } else { self.take_away(&path)? }
        }
        self.put(present)
    }

    /// What the index and the disk differ in.
    fn follow_disk(&mut self) -> Result<(), git2::Error> {
        let mut options = DiffOptions::new();
        options
            .include_typechange(true)
            .include_untracked(true)
            .recurse_untracked_dirs(true)
            .skip_binary_check(true)
            .ignore_submodules(true);
        let diff = self.repo.diff_index_to_workdir(Some(&self.index), Some(&mut options))?;
        let changed: Vec<(Delta, Vec<u8>)> = diff
            .deltas()
            .filter_map(|delta| {
                let file = if delta.status() == Delta::Deleted { delta.old_file() } else { delta.new_file() };
                Some((delta.status(), file.path_bytes()?.to_vec()))
            })
            .collect();
        drop(diff);
        // Removals first: a file may have become a directory.
        for (_, path) in changed.iter().filter(|(status, _)| *status == Delta::Deleted) {
            let path = path_from(path.clone());
            let entry = self.index.get_path(&path, 0);
            // Left out of the checkout on purpose.
            if entry.is_none_or(|entry| entry.flags_extended & SKIP_WORKTREE == 0) {
                self.take_away(&path)?;
            }
        }
        let mut present = Vec::new();
        for (status, path) in changed {
            if status == Delta::Deleted {
                continue;
            }
            if let Some(place) = left_over(&path) {
                self.out.left.insert(place);
                continue;
            }
            if let Some(folder) = path.strip_suffix(b"/") {
                self.out.nested.push(path_from(folder.to_vec()));
                continue;
            }
            let path = path_from(path);
            if is_file(&self.top.join(&path)) {
                present.push(path);
            } else if status != Delta::Untracked {
                self.take_away(&path)?;
            }
        }
        self.put(present)
    }

    /// Where the checkouts of submodules are.
    fn follow_submodules(&mut self) -> Result<(), git2::Error> {
        let links: Vec<IndexEntry> = self.index.iter().filter(|entry| entry.mode == GITLINK).collect();
        for entry in links {
            let path = path_from(entry.path.clone());
            // One that is not checked out stays as the index has it.
            let head = Repository::open(self.top.join(&path))
                .and_then(|repo| repo.head()?.peel_to_commit().map(|commit| commit.id()));
            if let Ok(id) = head
                && id != entry.id
            {
                self.index.add(&index_entry(&path, GITLINK, id))?;
            }
        }
        Ok(())
    }

    fn unseen(&self) -> Vec<PathBuf> {
        let links = self.index.iter().filter(|entry| entry.mode == GITLINK);
        submodules::unseen(self.top, links.map(|entry| path_from(entry.path)))
    }

    /// Takes files from the disk: reads them, or puts in what is known of them or stands for them.
    fn put(&mut self, paths: Vec<PathBuf>) -> Result<(), git2::Error> {
        let found: Vec<Found> = paths.into_iter().map(|path| self.memory.find(self.top, path)).collect();
        let weights: Vec<Weight> = found.iter().map(|found| found.weight.clone()).collect();
        for (found, fate) in found.into_iter().zip(plan(&weights, &mut self.bytes_left)) {
            match fate {
                Fate::Known(entry) => self.put_known(found, entry)?,
                Fate::Read => self.read(found)?,
                Fate::Named => self.name(found)?,
            }
        }
        Ok(())
    }

    fn put_known(&mut self, found: Found, entry: Entry) -> Result<(), git2::Error> {
        let id = Oid::from_str(&entry.object)?;
        // Nothing but our refs keeps it, and these go.
        if !self.repo.odb()?.exists(id) {
            return self.read(found);
        }
        self.index.add(&index_entry(&found.path, entry.mode, id))?;
        self.memory.keep(found, Kept::Content { entry, is_settled: true });
        Ok(())
    }

    fn read(&mut self, found: Found) -> Result<(), git2::Error> {
        match self.index.add_path(&found.path) {
            // It went while we looked.
            Err(_) if !is_file(&self.top.join(&found.path)) => return self.take_away(&found.path),
            done => done?,
        }
        if let Some(entry) = self.index.get_path(&found.path, 0) {
            let entry = Entry { mode: entry.mode, object: entry.id.to_string() };
            self.memory.keep_read(self.top, found, entry);
        }
        Ok(())
    }

    fn name(&mut self, found: Found) -> Result<(), git2::Error> {
        // It became small while we looked.
        let Some(pointer) = large::pointer(&self.top.join(&found.path)) else { return self.read(found) };
        let id = self.repo.blob(&pointer)?;
        self.index.add(&index_entry(&found.path, FILE, id))?;
        self.out.named.push(found.path.clone());
        self.memory.keep(found, Kept::Name);
        Ok(())
    }

    fn take_away(&mut self, path: &Path) -> Result<(), git2::Error> {
        match self.index.remove_path(path) {
            Err(error) if error.code() == git2::ErrorCode::NotFound => Ok(()),
            done => done,
        }
    }
}

/// Whether git would keep something at that path: a file or a link.
fn is_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_file() || found.is_symlink())
}
