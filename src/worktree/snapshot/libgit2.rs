//! The look with libgit2: an index in memory that is brought up to date with the disk.

use std::fs;
use std::path::{Path, PathBuf};

use git2::{Delta, DiffOptions, Index, IndexEntry, ObjectType, Oid, Repository};

use super::memory::{Found, Memory};
use super::weight::{Fate, Kept, Weight, plan};
use super::{LeftOut, Look, Snapshot, is_file, left_over, mode_of};
use crate::worktree::carry::{Entry, index_entry};
use crate::worktree::error::WorktreeError;
use crate::worktree::large;
use crate::worktree::objects::{FILE, GITLINK};
use crate::worktree::source::path_from;
use crate::worktree::submodules;

/// Flags of an index entry: `assume-unchanged`, and in the extended ones `intent-to-add` and
/// `skip-worktree`.
const ASSUME_UNCHANGED: u16 = 0x8000;
const INTENT_TO_ADD: u16 = 1 << 13;
const SKIP_WORKTREE: u16 = 1 << 14;
/// The stage of a conflicted entry lies in these bits.
const STAGE: u16 = 0x3000;

/// An index in memory that is brought up to date with the disk.
struct Draft<'a> {
    repo: &'a Repository,
    top: &'a Path,
    index: Index,
    memory: &'a mut Memory,
    bytes_left: u64,
    out: LeftOut,
}

/// Takes the snapshot.
pub(super) fn take(look: Look<'_>, memory: &mut Memory) -> Result<Snapshot, WorktreeError> {
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
        if self.is_as_kept(&found.path)? {
            return Ok(());
        }
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

    /// Whether a file is what the index has, byte for byte: git would make some of these alike when it
    /// adds them, and nobody changed them.
    fn is_as_kept(&self, path: &Path) -> Result<bool, git2::Error> {
        let place = self.top.join(path);
        let (Some(entry), Ok(found)) = (self.index.get_path(path, 0), fs::symlink_metadata(&place)) else {
            return Ok(false);
        };
        let (size, _) = match self.repo.odb()?.read_header(entry.id) {
            Ok(header) => header,
            // Of what was only announced there is none.
            Err(_) => return Ok(false),
        };
        Ok(mode_of(&found) == Some(entry.mode)
            && size as u64 == found.len()
            && Oid::hash_file(ObjectType::Blob, &place).is_ok_and(|id| id == entry.id))
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
