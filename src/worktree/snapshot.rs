//! The files of a worktree as a git tree, at one moment. Nothing of the worktree is changed: what the
//! index says is taken into memory (or into a copy), brought up to date there, and written as a tree.
//!
//! Untracked files are in it, ignored ones are not, and what git was told not to look at is looked at
//! all the same. Files too large to be kept at every turn are in it by name only, see [`super::large`].

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

use git2::{Delta, DiffOptions, Index, IndexEntry, Repository};

use super::at::Way;
use super::carry::{index_entry, shown};
use super::changes::SWAP_PREFIX;
use super::error::WorktreeError;
use super::known::Known;
use super::large;
use super::objects::{FILE, GITLINK, Objects};
use super::source::{Source, bytes_of, path_from, records};
use super::{Inner, Worktrees, regular, submodules};

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
        self.locked_look(&known.clone(), move |inner| take(inner, &known)).await
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
            objects.set_ref(&reference, &objects.commit(&tree, &[], &message)?)
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
            Ok(())
        })
        .await
    }
}

/// Takes the snapshot. Blocks.
pub(super) fn take(inner: &Inner, known: &Known) -> Result<Snapshot, WorktreeError> {
    let source = inner.at(known)?;
    match inner.way(&source)? {
        Way::Libgit2 => by_libgit2(&source),
        Way::Program => by_program(&source, known),
    }
}

// ---------------------------------------------------------------------------------------------
// libgit2

/// An index in memory that is brought up to date with the disk.
struct Draft<'a> {
    repo: &'a Repository,
    top: &'a Path,
    index: Index,
    large: Vec<PathBuf>,
    nested: Vec<PathBuf>,
    left: BTreeSet<PathBuf>,
}

fn by_libgit2(source: &Source<'_>) -> Result<Snapshot, WorktreeError> {
    let failed =
        |error: git2::Error| WorktreeError::git("read the files of the worktree", &source.top, &error);
    let Some(repo) = &source.repo else {
        return Err(WorktreeError::unsupported("another format", &source.top, "libgit2 cannot read it"));
    };
    // Read anew with the repository, which is opened for each job; never written back.
    let index = repo.index().map_err(failed)?;
    let mut draft =
        Draft { repo, top: &source.top, index, large: Vec::new(), nested: Vec::new(), left: BTreeSet::new() };
    draft.unmask().map_err(failed)?;
    draft.follow_disk().map_err(failed)?;
    draft.follow_submodules().map_err(failed)?;
    let tree = draft.index.write_tree_to(repo).map_err(failed)?.to_string();
    let notices = notices([&draft.large, &draft.nested, &draft.unseen()], &draft.left);
    Ok(Snapshot { tree, notices })
}

/// Where files were being replaced when the daemon that did it was killed: nobody's work, and not
/// listed as such.
fn left_over(path: &[u8]) -> Option<PathBuf> {
    let place = path.split(|byte| *byte == b'/').next()?;
    place.starts_with(SWAP_PREFIX.as_bytes()).then(|| path_from(place.to_vec()))
}

fn notices([large, nested, unseen]: [&[PathBuf]; 3], left: &BTreeSet<PathBuf>) -> Vec<String> {
    let mut notices = Vec::new();
    if !left.is_empty() {
        let places: Vec<PathBuf> = left.iter().cloned().collect();
        notices.push(format!(
            "a hobd was killed while it replaced files; what was there before is in {}: put it back, or \
             remove it",
            shown(&places)
        ));
    }
    if !large.is_empty() {
        notices.push(format!(
            "files over {} MiB are listed, and their content is not kept at every turn: {}",
            large::LARGE_BYTES >> 20,
            shown(large)
        ));
    }
    if !nested.is_empty() {
        notices.push(format!("repositories inside the worktree are not looked into: {}", shown(nested)));
    }
    if !unseen.is_empty() {
        notices.push(format!("what is not committed in these submodules is not listed: {}", shown(unseen)));
    }
    notices
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
            if is_there { self.put(&path)? } else { self.take_away(&path)? }
        }
        Ok(())
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
        for (status, path) in changed {
            if status == Delta::Deleted {
                continue;
            }
            if let Some(place) = left_over(&path) {
                self.left.insert(place);
                continue;
            }
            if let Some(folder) = path.strip_suffix(b"/") {
                self.nested.push(path_from(folder.to_vec()));
                continue;
            }
            let path = path_from(path);
            if is_file(&self.top.join(&path)) {
                self.put(&path)?;
            } else if status != Delta::Untracked {
                self.take_away(&path)?;
            }
        }
        Ok(())
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

    fn put(&mut self, path: &Path) -> Result<(), git2::Error> {
        if let Some(pointer) = large::pointer(&self.top.join(path)) {
            self.large.push(path.to_owned());
            let id = self.repo.blob(&pointer)?;
            return self.index.add(&index_entry(path, FILE, id));
        }
        match self.index.add_path(path) {
            // It went while we looked.
            Err(_) if !is_file(&self.top.join(path)) => self.take_away(path),
            done => done,
        }
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

// ---------------------------------------------------------------------------------------------
// The program

/// Where an index has submodules, as `ls-files --stage` tells it.
fn links(staged: &[u8]) -> impl Iterator<Item = PathBuf> {
    let links = records(staged).filter(|line| line.starts_with(b"160000 "));
    links.filter_map(|line| Some(path_from(line.splitn(2, |byte| *byte == b'\t').nth(1)?.to_vec())))
}

/// Copies an index with the time at which it was written: git compares the content of a file that is
/// not older than the index, since it may have been changed in the same second without a trace.
fn copy_index(own: &Path, copy: &Path) -> io::Result<()> {
    // Taken first: an index that is written meanwhile makes more files suspicious, not fewer.
    let written = fs::metadata(own)?.modified()?;
    let mut to = fs::File::create(copy)?;
    io::copy(&mut regular::open(own)?, &mut to)?;
    to.set_modified(written)
}

/// The same with a copy of the index, which `git add` brings up to date.
fn by_program(source: &Source<'_>, known: &Known) -> Result<Snapshot, WorktreeError> {
    let dir =
        tempfile::tempdir().map_err(|error| WorktreeError::io("make", Path::new("a directory"), &error))?;
    let (own, copy) = (known.admin().join("index"), dir.path().join("index"));
    copy_index(&own, &copy).map_err(|error| WorktreeError::io("copy", &own, &error))?;
    let git = source.program()?;
    let run = |args: &[&str], stdin: Vec<u8>| {
        let mut call = super::git_program::Call { stdin, ..source.call(args) };
        call.env.push(("GIT_INDEX_FILE", copy.clone().into_os_string()));
        git.run(&call)
    };
    let flagged = run(&["ls-files", "-v", "-z"], Vec::new())?;
    let named = |wanted: &dyn Fn(u8, &[u8]) -> bool| -> Vec<u8> {
        records(&flagged)
            .filter_map(|line| Some((*line.first()?, line.get(2..)?)))
            .filter(|(flag, path)| wanted(*flag, path))
            .flat_map(|(_, path)| path.iter().copied().chain([0]))
            .collect()
    };
    let masked = named(&|flag, _| flag.is_ascii_lowercase());
    // One that is left out of the checkout on purpose is not there.
    let skipped = named(&|flag, path| {
        flag.eq_ignore_ascii_case(&b'S') && is_file(&source.top.join(path_from(path.to_vec())))
    });
    for (option, paths) in [("--no-assume-unchanged", masked), ("--no-skip-worktree", skipped)] {
        if !paths.is_empty() {
            run(&["update-index", option, "-z", "--stdin"], paths)?;
        }
    }
    let (mut large, mut nested, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
    let mut left = BTreeSet::new();
    let others = run(&["ls-files", "--others", "--exclude-standard", "-z"], Vec::new())?;
    let changed = run(&["ls-files", "--modified", "-z"], Vec::new())?;
    for path in records(&others).chain(records(&changed)) {
        if let Some(place) = left_over(path) {
            left.insert(place);
            continue;
        }
        let is_folder = path.last() == Some(&b'/');
        let file = path_from(path.strip_suffix(b"/").unwrap_or(path).to_vec());
        if is_folder {
            nested.push(file.clone());
            left_out.push(file);
        } else if large::pointer(&source.top.join(&file)).is_some() {
            large.push(file.clone());
            left_out.push(file);
        }
    }
    let mut add = source.call(&["add", "--all", "--sparse", "--", ":(top)"]);
    let pathspecs =
        left_out.iter().chain(&left).map(|path| [b":(top,literal,exclude)", bytes_of(path)].concat());
    add.args.extend(pathspecs.map(|spec| path_from(spec).into_os_string()));
    add.magic_pathspecs = true;
    add.env.push(("GIT_INDEX_FILE", copy.clone().into_os_string()));
    git.run(&add)?;
    let objects = Objects::of(source);
    for path in &large {
        if let Some(pointer) = large::pointer(&source.top.join(path)) {
            let id = objects.write_blob(&pointer)?;
            let line = [format!("{FILE:06o} {id} 0\t").as_bytes(), bytes_of(path), b"\0"].concat();
            run(&["update-index", "-z", "--index-info"], line)?;
        }
    }
    let tree = run(&["write-tree"], Vec::new())?;
    let tree = String::from_utf8_lossy(&tree).trim().to_owned();
    let staged = run(&["ls-files", "--stage", "-z"], Vec::new())?;
    let unseen = submodules::unseen(&source.top, links(&staged));
    Ok(Snapshot { tree, notices: notices([&large, &nested, &unseen], &left) })
}
