//! Carries the user's uncommitted changes into a new worktree: staged ones staged, the others
//! unstaged, untracked files untracked. Where the base is another commit than the user's, they
//! are merged onto it (see [`super::carry_merge`]), or nothing is made.
//!
//! **Invariant:** the user's checkout and index are read and never written, and what is copied
//! is copied byte for byte, so no filter runs.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use git2::{Delta, DiffOptions, IndexEntry, IndexTime, Oid, Repository};

use super::error::{WorktreeError, WorktreeErrorKind, shell};
use super::file_system::Written;
use super::objects::{EXECUTABLE, FILE, LINK};
use super::safe_path::{PathProblem, beneath, copy_entry, is_absent, remove_entry};
use super::snapshot::left_over;
use super::source::{Source, bytes_of, path_from, records};
use crate::regular;

/// Files that are carried at most.
const FILES_MAX: usize = 50_000;
/// Bytes that are carried at most.
const BYTES_MAX: u64 = 4 << 30;
/// How often a file is read that is replaced meanwhile.
const COPY_TRIES: usize = 10;
/// Paths that an error names.
const PATHS_SHOWN: usize = 5;
/// What git writes as the mode of a submodule.
const GITLINK: u32 = 0o160_000;
/// Set in the index for `git add --intent-to-add`.
const INTENT_TO_ADD: u16 = 1 << 13;

/// What the user changed and did not commit.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Paths whose entry in the index is not that of HEAD; `None` where it is gone.
    pub(super) staged: Vec<(PathBuf, Option<Entry>)>,
    /// Paths whose content in the checkout may not be that of HEAD.
    pub(super) files: BTreeSet<PathBuf>,
    /// Directories that are repositories of their own, and stay behind.
    pub(super) nested: Vec<PathBuf>,
}

/// An entry of the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// As git writes it.
    pub(super) mode: u32,
    /// The object, in hex.
    pub(super) object: String,
}

impl Changes {
    /// Reads the changes of a checkout.
    pub(super) fn read(source: &Source<'_>) -> Result<Self, WorktreeError> {
        let mut changes = match &source.repo {
            Some(repo) => Self::by_libgit2(repo, source),
            None => Self::by_program(source),
        }?;
        let staged =
            changes.staged.iter().filter(|(_, entry)| entry.as_ref().is_none_or(|e| e.mode != GITLINK));
        changes.files.extend(staged.map(|(path, _)| path.clone()));
        if changes.files.len() > FILES_MAX {
            let n = changes.files.len();
            return Err(refused(source, &format!("{n} files are too many, {FILES_MAX} is the limit")));
        }
        Ok(changes)
    }

    fn by_libgit2(repo: &Repository, source: &Source<'_>) -> Result<Self, WorktreeError> {
        let failed =
            |error: git2::Error| WorktreeError::git("read the uncommitted changes", &source.top, &error);
        let index = repo.index().map_err(failed)?;
        if index.has_conflicts() {
            let conflicts = index.conflicts().map_err(failed)?.flatten();
            let paths =
                conflicts.filter_map(|c| c.our.or(c.their).or(c.ancestor)).map(|entry| path_from(entry.path));
            return Err(unmerged(source, &paths.collect::<Vec<_>>()));
        }
        let mut changes = Self::default();
        let head = repo.head().and_then(|head| head.peel_to_tree()).map_err(failed)?;
        let mut options = DiffOptions::new();
        options.include_typechange(true).skip_binary_check(true).ignore_submodules(true);
        let staged = repo.diff_tree_to_index(Some(&head), Some(&index), None).map_err(failed)?;
        for delta in staged.deltas() {
            let Some(path) = delta.new_file().path_bytes().or(delta.old_file().path_bytes()) else {
                continue;
            };
            let path = path_from(path.to_vec());
            match index.get_path(&path, 0) {
                Some(entry) if entry.flags_extended & INTENT_TO_ADD != 0 => {
                    changes.files.insert(path);
                }
                entry => {
                    let entry = entry.map(|entry| Entry { mode: entry.mode, object: entry.id.to_string() });
                    changes.staged.push((path, entry));
                }
            }
        }
        options.include_untracked(true).recurse_untracked_dirs(true);
        let unstaged = repo.diff_index_to_workdir(Some(&index), Some(&mut options)).map_err(failed)?;
        for delta in unstaged.deltas() {
            let file = if delta.status() == Delta::Deleted { delta.old_file() } else { delta.new_file() };
            if let Some(path) = file.path_bytes() {
                changes.found(path);
            }
        }
        Ok(changes)
    }

    fn by_program(source: &Source<'_>) -> Result<Self, WorktreeError> {
        let git = source.program()?;
        let ask = |args: &[&str]| git.run(&source.call(args));
        let conflicts = ask(&["ls-files", "--unmerged", "-z"])?;
        let conflicts: BTreeSet<_> =
            records(&conflicts).filter_map(|line| line.splitn(2, |b| *b == b'\t').nth(1)).collect();
        if !conflicts.is_empty() {
            let paths: Vec<_> = conflicts.into_iter().map(|path| path_from(path.to_vec())).collect();
            return Err(unmerged(source, &paths));
        }
        let mut changes = Self::default();
        let raw = ["--raw", "-z", "--no-renames", "--no-abbrev", "--ignore-submodules=all"];
        let staged = ask(&[&["diff-index", "--cached"][..], &raw, &["HEAD"]].concat())?;
        let staged: Vec<_> = records(&staged).collect();
        for pair in staged.chunks_exact(2) {
            changes.staged.push((path_from(pair[1].to_vec()), raw_entry(pair[0])));
        }
        let unstaged = ask(&[&["diff-files"][..], &raw].concat())?;
        for pair in records(&unstaged).collect::<Vec<_>>().chunks_exact(2) {
            changes.found(pair[1]);
        }
        let untracked = ask(&["ls-files", "--others", "--exclude-standard", "-z"])?;
        records(&untracked).for_each(|path| changes.found(path));
        Ok(changes)
    }

    /// A changed path of the checkout; one that ends with `/` is a repository of its own.
    fn found(&mut self, path: &[u8]) {
        // Nobody's work, but what a swap of ours left.
        if left_over(path).is_some() {
            return;
        }
        match path.strip_suffix(b"/") {
            Some(dir) => self.nested.push(path_from(dir.to_vec())),
            None => {
                self.files.insert(path_from(path.to_vec()));
            }
        }
    }

    /// What a person should know about what stayed behind.
    pub(super) fn notice(&self) -> Option<String> {
        (!self.nested.is_empty()).then(|| {
            format!("repositories inside the checkout were not carried over: {}", shown(&self.nested))
        })
    }

    /// Puts the changes into a worktree whose HEAD has the tree that the user's HEAD has.
    pub(super) fn apply(&self, source: &Source<'_>, target: &Path) -> Result<(), WorktreeError> {
        let written = Written::of(source)?;
        let mut present = Vec::new();
        for path in &self.files {
            let to = safe(target, path)?;
            match source_of(&source.top, path)? {
                Some(from) => present.push((from, path)),
                None => {
                    remove_entry(target, &to).map_err(|error| WorktreeError::io("remove", &to, &error))?
                }
            }
        }
        let mut n_bytes = 0;
        for (from, path) in present {
            // Looked at again: a removal may have made room for a directory.
            let to = safe(target, path)?;
            let room = clear(target, &to).map_err(|error| WorktreeError::io("replace", &to, &error));
            room?;
            n_bytes += copy_over(&from, &to)?;
            if written != Written::USUAL {
                as_git_has_it(source, (&from, path), &to, written)?;
            }
            if n_bytes > BYTES_MAX {
                return Err(refused(source, &format!("they are larger than {} GiB", BYTES_MAX >> 30)));
            }
        }
        self.apply_index(source, target)
    }

    fn apply_index(&self, source: &Source<'_>, target: &Path) -> Result<(), WorktreeError> {
        if self.staged.is_empty() {
            return Ok(());
        }
        if source.repo.is_some() {
            let failed = |error: git2::Error| WorktreeError::git("stage the changes", target, &error);
            let mut index = source.handles.open(target).and_then(|repo| repo.index()).map_err(failed)?;
            return self.stage(&mut index).and_then(|()| index.write()).map_err(failed);
        }
        let no_object = "0".repeat(source.commit("HEAD")?.map_or(40, |commit| commit.len()));
        let mut input = Vec::new();
        let (gone, there): (Vec<_>, Vec<_>) = self.staged.iter().partition(|(_, entry)| entry.is_none());
        for (path, entry) in gone.into_iter().chain(there) {
            let line = match entry {
                Some(entry) => format!("{:06o} {} 0\t", entry.mode, entry.object),
                None => format!("0 {no_object} 0\t"),
            };
            input.extend_from_slice(line.as_bytes());
            input.extend_from_slice(bytes_of(path));
            input.push(0);
        }
        let mut call = source.call_in(target, &["update-index", "-z", "--index-info"]);
        call.stdin = input;
        source.program()?.run(&call).map(drop)
    }

    /// Puts the staged entries into an index that has the entries of HEAD.
    pub(super) fn stage(&self, index: &mut git2::Index) -> Result<(), git2::Error> {
        for (path, _) in self.staged.iter().filter(|(_, entry)| entry.is_none()) {
            index.remove_path(path)?;
        }
        for (path, entry) in &self.staged {
            if let Some(entry) = entry {
                index.add(&index_entry(path, entry.mode, Oid::from_str(&entry.object)?))?;
            }
        }
        Ok(())
    }
}

/// Copies an entry of the user's checkout; returns its bytes. One that went while we looked is left
/// out, and one that was put back meanwhile is copied all the same: editors save by a rename.
fn copy_over(from: &Path, to: &Path) -> Result<u64, WorktreeError> {
    for _ in 0..COPY_TRIES {
        match copy_entry(from, to) {
            Ok(copied) => return Ok(copied.unwrap_or(0)),
            Err(error) if is_absent(&error) => {
                if fs::symlink_metadata(from).is_err_and(|error| is_absent(&error)) {
                    return Ok(0);
                }
            }
            Err(error) => return Err(WorktreeError::io("copy", from, &error)),
        }
    }
    let what = format!("`{}` was replaced each time that it was read", from.display());
    Err(WorktreeError::new(WorktreeErrorKind::Carry, what))
}

/// Gives what was copied the kind and the mode that the index has for it, where the checkout was written
/// without: a link is a file there, and every file can be executed or none.
fn as_git_has_it(
    source: &Source<'_>,
    (from, path): (&Path, &Path),
    to: &Path,
    written: Written,
) -> Result<(), WorktreeError> {
    let io = |error: std::io::Error| WorktreeError::io("copy", from, &error);
    let Some(mode) = mode_in_index(source, path)? else { return Ok(()) };
    if !fs::symlink_metadata(to).map_err(io)?.is_file() {
        return Ok(());
    }
    if !written.links && mode == LINK {
        let to_where = path_from(regular::read(to).map_err(io)?);
        return fs::remove_file(to).and_then(|()| symlink(to_where, to)).map_err(io);
    }
    if !written.modes && matches!(mode, FILE | EXECUTABLE) {
        let bits = fs::metadata(to).map_err(io)?.permissions().mode() & 0o777;
        let bits = if mode == EXECUTABLE { bits | (bits & 0o444) >> 2 } else { bits & !0o111 };
        fs::set_permissions(to, fs::Permissions::from_mode(bits)).map_err(io)?;
    }
    Ok(())
}

fn mode_in_index(source: &Source<'_>, path: &Path) -> Result<Option<u32>, WorktreeError> {
    if let Some(repo) = &source.repo {
        let index =
            repo.index().map_err(|error| WorktreeError::git("read the index", &source.top, &error))?;
        return Ok(index.get_path(path, 0).map(|entry| entry.mode));
    }
    let mut call = source.call(&["ls-files", "--stage", "-z", "--"]);
    call.args.push(path.as_os_str().to_owned());
    let out = source.program()?.run(&call)?;
    let mode = out.split(|byte| *byte == b' ').next().and_then(|mode| std::str::from_utf8(mode).ok());
    Ok(mode.and_then(|mode| u32::from_str_radix(mode, 8).ok()))
}

/// An entry about which the index knows no times, so that git looks at the file.
pub(super) fn index_entry(path: &Path, mode: u32, id: Oid) -> IndexEntry {
    IndexEntry {
        ctime: IndexTime::new(0, 0),
        mtime: IndexTime::new(0, 0),
        dev: 0,
        ino: 0,
        mode,
        uid: 0,
        gid: 0,
        file_size: 0,
        id,
        flags: 0,
        flags_extended: 0,
        path: path.as_os_str().as_bytes().to_vec(),
    }
}

/// The file or link at a path of the user's checkout, or `None` if git would see none there.
pub(super) fn source_of(top: &Path, path: &Path) -> Result<Option<PathBuf>, WorktreeError> {
    let from = match beneath(top, path) {
        Ok(from) => from,
        Err(PathProblem::Symlink(_) | PathProblem::NotADirectory(_)) => return Ok(None),
        Err(problem) => return Err(WorktreeError::new(WorktreeErrorKind::Carry, problem.to_string())),
    };
    match fs::symlink_metadata(&from) {
        Ok(found) if found.is_file() || found.is_symlink() => Ok(Some(from)),
        Ok(_) => Ok(None),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(WorktreeError::io("look at", &from, &error)),
    }
}

fn safe(target: &Path, path: &Path) -> Result<PathBuf, WorktreeError> {
    match beneath(target, path) {
        Ok(to) => Ok(to),
        // Still there because what stands in the way has not been removed yet.
        Err(PathProblem::Symlink(at) | PathProblem::NotADirectory(at)) => {
            fs::remove_file(&at).map_err(|error| WorktreeError::io("replace", &at, &error))?;
            safe(target, path)
        }
        Err(problem) => Err(WorktreeError::new(WorktreeErrorKind::Carry, problem.to_string())),
    }
}

/// Makes room for a file: removes a file, a link or an empty directory.
fn clear(target: &Path, to: &Path) -> std::io::Result<()> {
    if fs::symlink_metadata(to).is_ok_and(|found| found.is_dir()) {
        return fs::remove_dir(to);
    }
    remove_entry(target, to)
}

/// The new side of `:100644 100755 old new M`; `None` if it is gone.
fn raw_entry(line: &[u8]) -> Option<Entry> {
    let text = std::str::from_utf8(line).ok()?;
    let mut words = text.split(' ');
    let mode = u32::from_str_radix(words.nth(1)?, 8).ok()?;
    let object = words.nth(1)?.to_owned();
    (mode != 0).then_some(Entry { mode, object })
}

/// The error for changes that cannot be carried.
pub(super) fn refused(source: &Source<'_>, why: &str) -> WorktreeError {
    WorktreeError::new(
        WorktreeErrorKind::Carry,
        format!("the uncommitted changes of `{}` cannot be carried over: {why}", source.top.display()),
    )
    .hint(format!("git -C {} status", shell(&source.top)))
}

fn unmerged(source: &Source<'_>, paths: &[PathBuf]) -> WorktreeError {
    refused(source, &format!("there are unresolved conflicts in {}", shown(paths)))
}

/// A few paths for a person.
pub(super) fn shown(paths: &[PathBuf]) -> String {
    let some = paths
        .iter()
        .take(PATHS_SHOWN)
        .map(|path| format!("`{}`", path.display()))
        .collect::<Vec<_>>()
        .join(", ");
    match paths.len().saturating_sub(PATHS_SHOWN) {
        0 => some,
        more => format!("{some} and {more} more"),
    }
}
