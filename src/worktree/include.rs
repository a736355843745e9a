//! Copies files that git does not track, such as `.env`, from the user's checkout into a new
//! worktree: those that the patterns of the configuration and of a `.worktreeinclude` file name,
//! in the manner of `.gitignore`.
//!
//! **Invariant:** a tracked path is never written, nothing that exists is overwritten, no symbolic
//! link is followed, and none that leaves the checkout is copied.

use std::collections::HashSet;
use std::fs::{self, DirEntry, Metadata};
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::carry::shown;
use super::error::WorktreeError;
use super::safe_path::{beneath, copy_entry};
use crate::regular;

/// The file of patterns in a repository.
pub(super) const FILE: &str = ".worktreeinclude";
/// Bytes of that file that are read.
const FILE_BYTES_MAX: u64 = 64 << 10;
/// Patterns that are used.
const PATTERNS_MAX: usize = 1_000;
/// Entries of the checkout that are looked at.
const WALK_MAX: usize = 500_000;
/// Files that are copied.
const FILES_MAX: usize = 10_000;
/// Bytes that are copied.
const BYTES_MAX: u64 = 1 << 30;
/// Large directories that are only entered where a pattern names them.
const HEAVY: &[&str] = &["node_modules", "target", ".venv", "__pycache__"];

/// What was copied.
#[derive(Debug, Default)]
pub(super) struct Included {
    /// The files, relative to the checkout.
    pub(super) copied: Vec<PathBuf>,
    /// What a person should know.
    pub(super) notices: Vec<String>,
}

/// The patterns of one creation.
struct Patterns {
    matcher: Gitignore,
    heavy: Vec<&'static str>,
    notices: Vec<String>,
}

/// Copies what `configured` and the checkout's own file name from `top` into `target`; `tracked`
/// says which paths belong to git in either.
pub(super) fn copy_included(
    configured: &[String],
    top: &Path,
    target: &Path,
    tracked: impl FnOnce() -> Result<HashSet<PathBuf>, WorktreeError>,
) -> Result<Included, WorktreeError> {
    let patterns = Patterns::read(configured, top)?;
    let mut included = Included::default();
    if !patterns.matcher.is_empty() {
        let tracked = tracked()?;
        let wanted = find(&patterns, top, &tracked, &mut included)?;
        copy(&wanted, top, target, &mut included)?;
    }
    included.notices.extend(patterns.notices);
    Ok(included)
}

impl Patterns {
    fn read(configured: &[String], top: &Path) -> Result<Self, WorktreeError> {
        let mut lines = configured.to_vec();
        lines.extend(read_file(top)?);
        let mut notices = Vec::new();
        if lines.len() > PATTERNS_MAX {
            notices.push(format!("only the first {PATTERNS_MAX} patterns of files to copy were used"));
            lines.truncate(PATTERNS_MAX);
        }
        let mut builder = GitignoreBuilder::new("");
        for line in &lines {
            if let Err(error) = builder.add_line(None, line) {
                notices.push(format!("the pattern `{line}` of files to copy was not understood: {error}"));
            }
        }
        let heavy = HEAVY.iter().filter(|name| !lines.iter().any(|line| line.contains(**name)));
        Ok(Self {
            heavy: heavy.copied().collect(),
            matcher: builder.build().unwrap_or_else(|_| Gitignore::empty()),
            notices,
        })
    }

    fn name(&self, path: &Path, is_dir: bool) -> bool {
        self.matcher.matched_path_or_any_parents(path, is_dir).is_ignore()
    }
}

/// The lines of the repository's own file, if it has one that is a regular file.
fn read_file(top: &Path) -> Result<Vec<String>, WorktreeError> {
    let path = top.join(FILE);
    let failed = |error: io::Error| WorktreeError::io("read", &path, &error);
    match fs::symlink_metadata(&path) {
        Ok(found) if found.is_file() && found.len() <= FILE_BYTES_MAX => {}
        Ok(_) => return Ok(Vec::new()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    }
    let mut bytes = Vec::new();
    let file = regular::open_no_link(&path).map_err(failed)?;
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(failed)?;
    Ok(String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect())
}

/// Walks the checkout for untracked files and links that the patterns name.
fn find(
    patterns: &Patterns,
    top: &Path,
    tracked: &HashSet<PathBuf>,
    included: &mut Included,
) -> Result<Vec<PathBuf>, WorktreeError> {
    let (mut wanted, mut to_do, mut n_seen) = (Vec::new(), vec![PathBuf::new()], 0_usize);
    while let Some(dir) = to_do.pop() {
        let path = top.join(&dir);
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if dir.as_os_str().is_empty() => return Err(WorktreeError::io("read", &path, &error)),
            // A directory that the user cannot read, or that has gone.
            Err(_) => continue,
        };
        for entry in entries.flatten() {
            n_seen += 1;
            if n_seen > WALK_MAX || wanted.len() > FILES_MAX {
                let n = wanted.len().min(FILES_MAX);
                included
                    .notices
                    .push(format!("the checkout has too many files: only {n} of those to copy were copied"));
                wanted.truncate(FILES_MAX);
                return Ok(wanted);
            }
            look(patterns, &dir, &entry, tracked, (&mut wanted, &mut to_do));
        }
    }
    wanted.sort();
    Ok(wanted)
}

/// Sorts one entry of a directory into what is wanted and what is to be entered.
fn look(
    patterns: &Patterns,
    dir: &Path,
    entry: &DirEntry,
    tracked: &HashSet<PathBuf>,
    (wanted, to_do): (&mut Vec<PathBuf>, &mut Vec<PathBuf>),
) {
    let name = entry.file_name();
    let Ok(kind) = entry.file_type() else { return };
    if name.eq_ignore_ascii_case(".git") {
        return;
    }
    let path = dir.join(&name);
    if kind.is_dir() {
        let heavy = patterns.heavy.iter().any(|heavy| name == **heavy);
        let nested = fs::symlink_metadata(entry.path().join(".git")).is_ok();
        if !nested && (!heavy || patterns.name(&path, true)) {
            to_do.push(path);
        }
    } else if (kind.is_file() || kind.is_symlink()) && patterns.name(&path, false) && !tracked.contains(&path)
    {
        wanted.push(path);
    }
}

fn copy(wanted: &[PathBuf], top: &Path, target: &Path, included: &mut Included) -> Result<(), WorktreeError> {
    let (mut n_bytes, mut skipped) = (0_u64, Vec::new());
    for path in wanted {
        let (Ok(from), Ok(to)) = (beneath(top, path), beneath(target, path)) else {
            skipped.push(path.clone());
            continue;
        };
        let Ok(found) = fs::symlink_metadata(&from) else { continue };
        if fs::symlink_metadata(&to).is_ok() {
            continue;
        }
        if n_bytes.saturating_add(found.len()) > BYTES_MAX {
            let limit = BYTES_MAX >> 20;
            included.notices.push(format!(
                "the files to copy are larger than {limit} MiB: not copied from `{}` on",
                path.display()
            ));
            break;
        }
        if !stays_inside(path, &from, &found) {
            skipped.push(path.clone());
            continue;
        }
        match copy_entry(&from, &to) {
            Ok(Some(copied)) => {
                n_bytes += copied;
                included.copied.push(path.clone());
            }
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => skipped.push(path.clone()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(WorktreeError::io("copy", &from, &error)),
        }
    }
    if !skipped.is_empty() {
        included.notices.push(format!(
            "not copied, because they cannot be read or lead out of the checkout: {}",
            shown(&skipped)
        ));
    }
    Ok(())
}

/// Whether it is no link, or one whose target, by its text alone, is beneath the checkout. An
/// absolute one would lead from the worktree into the user's files.
fn stays_inside(path: &Path, from: &Path, found: &Metadata) -> bool {
    if !found.is_symlink() {
        return true;
    }
    let Ok(leads_to) = fs::read_link(from) else { return false };
    let mut depth = path.components().count().saturating_sub(1);
    for part in leads_to.components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 => depth -= 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    true
}
