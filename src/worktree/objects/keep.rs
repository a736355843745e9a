//! Points a ref of ours to a new commit, so that another git which prunes at that moment takes nothing
//! of it: no ref leads to something that is not there, and what is given away for it is in a pack.
//!
//! ```text
//! write ─▶ all there? ─▶ into a pack that is kept ─▶ ref ─▶ all there still? ─▶ the pack is any pack
//!   ▲          │no                │gone                            │no, the ref as it was
//!   └──────────┴──────────────────┴────────────────────────────────┘
//! ```
//!
//! A prune removes loose objects by what refs lead to when it begins. It removes no pack, and a repack
//! takes none away that is marked as kept.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use git2::{Oid, Repository};

use super::Objects;
use super::closure::{Closure, closure, is_whole};
use crate::regular;
use crate::worktree::error::{WorktreeError, WorktreeErrorKind};
use crate::worktree::source::{Draft, Source};

/// How often it is tried while something vanishes.
pub(in crate::worktree) const TRIES_MAX: u32 = 20;
/// After the first failure; each time so much longer.
const PAUSE: Duration = Duration::from_millis(10);
/// An older file of a `git gc` was left by one that was killed (builtin/gc.c).
const COLLECTED_WITHIN: Duration = Duration::from_secs(12 * 60 * 60);
/// What is younger is not taken for left behind.
const LEFT_AGE_MIN: Duration = Duration::from_secs(600);
/// A larger object stays as it is: libgit2 reads one into memory to pack it.
const PACKED_BYTES_MAX: usize = 64 << 20;
/// Beginning of the names of directories in which packs are made.
const DRAFT_PREFIX: &str = "hob-pack-";
/// What the mark of a kept pack says.
pub(in crate::worktree) const KEPT_BY: &str = "hob\n";

/// How the objects are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::worktree) enum Hold<'a> {
    /// In a pack: the only copy, once what it was made of is given away.
    Pack,
    /// As they are: the files themselves are still there. Many are those of a tree that is kept otherwise.
    /// In a pack, too, while another git collects garbage.
    Loose(Option<&'a str>),
}

impl Objects<'_> {
    /// Points `name` to the commit that `make` writes, when everything that it leads to is there and
    /// stays. `make` is called again where something vanished meanwhile.
    ///
    /// # Errors
    /// `Missing` if it vanishes again and again: then the ref is as it was. Whatever `make` says.
    pub(in crate::worktree) fn keep(
        &self,
        name: &str,
        hold: Hold<'_>,
        mut make: impl FnMut() -> Result<String, WorktreeError>,
    ) -> Result<String, WorktreeError> {
        again(TRIES_MAX, || make().and_then(|commit| self.keep_once(name, hold, &commit)))
    }

    fn keep_once(&self, name: &str, hold: Hold<'_>, commit: &str) -> Result<String, WorktreeError> {
        let like = match hold {
            Hold::Pack => None,
            Hold::Loose(like) => like,
        };
        let found = closure(self.source, &[commit], like, self.source.draft.as_ref())?;
        check(&found)?;
        let before = self.source.commit_of_ref(name)?;
        if before.as_deref() == Some(commit) {
            return Ok(commit.to_owned());
        }
        let _pack = match hold {
            Hold::Pack => Some(pack(self.source, &found)?),
            // It may prune what is loose, and did not see our ref when it began.
            Hold::Loose(_) if is_collecting(self.source) => Some(pack(self.source, &found)?),
            Hold::Loose(_) => None,
        };
        self.set_ref(name, commit)?;
        if hold == Hold::Pack {
            crash_point!("remove.unproven");
        }
        let proven = closure(self.source, &[commit], like, None).and_then(|found| check(&found));
        if proven.is_err() {
            match before {
                Some(before) if is_whole(self.source, &before)? => {
                    self.set_ref(name, &before)?;
                }
                _ => self.source.delete_ref(name, commit)?,
            }
        }
        proven.map(|()| commit.to_owned())
    }
}

/// Whether a `git gc` is under way: it says so in a file.
fn is_collecting(source: &Source<'_>) -> bool {
    let written = fs::symlink_metadata(source.common_dir.join("gc.pid")).and_then(|found| found.modified());
    written.is_ok_and(|at| at.elapsed().unwrap_or_default() < COLLECTED_WITHIN)
}

/// Does something again where an object is not there: another git may have removed what was written a
/// moment ago, and writing it anew helps.
pub(in crate::worktree) fn again<T>(
    tries: u32,
    mut job: impl FnMut() -> Result<T, WorktreeError>,
) -> Result<T, WorktreeError> {
    for n in 1..tries {
        match job() {
            Err(error) if error.kind == WorktreeErrorKind::Missing => wait(PAUSE * n),
            other => return other,
        }
    }
    job().map_err(|error| match error.kind {
        WorktreeErrorKind::Missing => {
            error.hint("try again when no `git gc` or `git prune` runs; `git fsck --connectivity-only` says what is gone")
        }
        _ => error,
    })
}

pub(in crate::worktree) fn wait(time: Duration) {
    #[expect(
        clippy::disallowed_methods,
        reason = "on a thread that may block; nobody tells when a prune, or a write, is over"
    )]
    thread::sleep(time);
}

fn check(found: &Closure) -> Result<(), WorktreeError> {
    match found.missing.first() {
        Some(what) => Err(WorktreeError::new(WorktreeErrorKind::Missing, format!("{what} is not there"))),
        None => Ok(()),
    }
}

/// A pack that is kept for as long as this lives.
struct Pack {
    marks: Vec<PathBuf>,
}

impl Drop for Pack {
    fn drop(&mut self) {
        for mark in &self.marks {
            // One that stays is taken away at the next start.
            fs::remove_file(mark).ok();
        }
    }
}

/// Writes objects into a pack that is kept.
fn pack(source: &Source<'_>, found: &Closure) -> Result<Pack, WorktreeError> {
    let objects = source.common_dir.join("objects");
    let io = |error: std::io::Error| WorktreeError::io("write a pack in", &objects, &error);
    let draft = tempfile::Builder::new().prefix(DRAFT_PREFIX).tempdir_in(&objects).map_err(io)?;
    match &source.repo {
        Some(_) => by_libgit2(source, found, draft.path())?,
        None => by_program(source, found, draft.path())?,
    }
    let place = objects.join("pack");
    fs::create_dir_all(&place).map_err(io)?;
    let mut pack = Pack { marks: Vec::new() };
    let mut files =
        fs::read_dir(draft.path()).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(io)?;
    // The index last: without it, nobody reads a pack.
    files.sort_by_key(|file| file.path().extension() == Some("idx".as_ref()));
    for file in files {
        let to = place.join(file.file_name());
        if to.extension() == Some("pack".as_ref()) {
            pack.marks.extend(mark(&to.with_extension("keep")).map_err(io)?);
        }
        fs::rename(file.path(), to).map_err(io)?;
    }
    Ok(pack)
}

/// Marks a pack as kept, unless somebody did.
fn mark(file: &Path) -> std::io::Result<Option<PathBuf>> {
    match OpenOptions::new().write(true).create_new(true).open(file) {
        Ok(mut mark) => mark.write_all(KEPT_BY.as_bytes()).map(|()| Some(file.to_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(None),
        Err(error) => Err(error),
    }
}

fn by_libgit2(source: &Source<'_>, found: &Closure, draft: &Path) -> Result<(), WorktreeError> {
    let write = || {
        let repo = Repository::open(&source.common_dir)?;
        if let Some(draft) = &source.draft {
            draft.show(&repo)?;
        }
        let (odb, mut builder) = (repo.odb()?, repo.packbuilder()?);
        for id in &found.own {
            let id = Oid::from_str(id)?;
            if odb.read_header(id)?.0 <= PACKED_BYTES_MAX {
                builder.insert_object(id, None)?;
            }
        }
        if builder.object_count() > 0 { builder.write(draft, 0o444) } else { Ok(()) }
    };
    write().map_err(|error| WorktreeError::git("write a pack", &source.common_dir, &error))
}

fn by_program(source: &Source<'_>, found: &Closure, draft: &Path) -> Result<(), WorktreeError> {
    if found.own.is_empty() {
        return Ok(());
    }
    let mut call = source.call_in(&source.common_dir, &["pack-objects", "-q"]);
    call.args.push(draft.join("pack").into_os_string());
    call.stdin = found.own.iter().flat_map(|id| format!("{id}\n").into_bytes()).collect();
    call.timeout = crate::worktree::git_program::CHECKOUT_TIMEOUT;
    source.program()?.run(&call).map(drop)
}

/// Takes away what a daemon that was killed left of packs: marks of ours, and places where some were
/// made. What is young may be another daemon's, which works with the same repository.
pub(in crate::worktree) fn clear_up(common_dir: &Path) {
    let objects = common_dir.join("objects");
    let entries =
        |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    for path in entries(&objects) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if [DRAFT_PREFIX, Draft::PREFIX].iter().any(|prefix| name.starts_with(prefix)) && is_old(&path) {
            fs::remove_dir_all(&path).ok();
        }
    }
    for path in entries(&objects.join("pack")) {
        let is_mark = path.extension() == Some("keep".as_ref()) && is_ours(&path) && is_old(&path);
        if is_mark {
            fs::remove_file(&path).ok();
        }
    }
}

/// Whether nobody works with it any more.
fn is_old(path: &Path) -> bool {
    let written = fs::symlink_metadata(path).and_then(|found| found.modified());
    written.is_ok_and(|written| written.elapsed().is_ok_and(|age| age >= LEFT_AGE_MIN))
}

fn is_ours(mark: &Path) -> bool {
    use std::io::Read as _;
    let mut text = String::new();
    let limit = KEPT_BY.len() as u64 + 1;
    let read = regular::open_no_link(mark).and_then(|file| file.take(limit).read_to_string(&mut text));
    read.is_ok() && text == KEPT_BY
}
