//! Applies pending changes to the user's checkout, as uncommitted changes of its files; its index is not
//! touched. Where a file moved on it is merged; where it cannot be, nothing at all is changed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use git2::{MergeFileInput, MergeFileOptions, merge_file};

use super::disk::{Found, Stamp, look, stamp};
use super::list::{File, files};
use super::swap::{Replace, Wanted, swap};
use super::text::{is_binary, with_hunks};
use super::{Applied, ChangeKind, Content, Selection, baseline, is_within};
use crate::worktree::carry::Entry;
use crate::worktree::eol::{self, Eol};
use crate::worktree::error::{WorktreeError, WorktreeErrorKind};
use crate::worktree::known::Known;
use crate::worktree::lock::retry_busy;
use crate::worktree::objects::{EXECUTABLE, FILE, GITLINK, LINK, Objects};
use crate::worktree::source::Source;
use crate::worktree::{Inner, Worktrees};

impl Worktrees {
    /// Applies pending changes to the user's checkout. `present` is the tree that they were listed of.
    ///
    /// # Errors
    /// `InTheWay` for a hunk or path that names no pending change; what git or the disk says. A conflict
    /// is no error.
    pub async fn apply(
        &self,
        known: &Known,
        present: &str,
        selection: Selection,
        dry_run: bool,
    ) -> Result<Applied, WorktreeError> {
        let (known, present) = (known.clone(), present.to_owned());
        self.locked_job(&known.common_dir.clone(), move |inner, _lock| {
            apply(inner, &known, &present, (&selection, dry_run))
        })
        .await
    }
}

/// A change that was chosen, whole or in part.
#[derive(Debug)]
pub(super) struct Chosen {
    /// Which.
    pub(super) file: File,
    /// Its hunks that were chosen, by their place; `None` for all of it.
    pub(super) hunks: Option<BTreeSet<usize>>,
}

/// The changes that are selected.
pub(super) fn choose(files: Vec<File>, selection: &Selection) -> Result<Vec<Chosen>, WorktreeError> {
    let (Some(paths), Some(hunks)) = (&selection.paths, &selection.hunks) else {
        return choose_by(files, selection.paths.as_deref(), selection.hunks.as_deref());
    };
    // Both: what either names.
    let mut chosen: BTreeMap<String, Chosen> = BTreeMap::new();
    let (by_path, others): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| is_named(file, paths));
    for found in choose_by(by_path, Some(paths), None)? {
        chosen.insert(found.file.change.path.clone(), found);
    }
    let missing = |id: &&String| {
        !chosen.values().any(|found| found.file.change.hunks.iter().any(|hunk| hunk.id == **id))
    };
    let left: Vec<String> = hunks.iter().filter(missing).cloned().collect();
    if !left.is_empty() {
        for found in choose_by(others, None, Some(&left))? {
            chosen.insert(found.file.change.path.clone(), found);
        }
    }
    Ok(chosen.into_values().collect())
}

fn is_named(file: &File, paths: &[String]) -> bool {
    let names = [Some(&file.change.path), file.change.old_path.as_ref()];
    names.into_iter().flatten().any(|name| paths.iter().any(|path| is_within(name, path)))
}

fn choose_by(
    files: Vec<File>,
    paths: Option<&[String]>,
    hunks: Option<&[String]>,
) -> Result<Vec<Chosen>, WorktreeError> {
    if let Some(paths) = paths {
        for path in paths {
            if !files.iter().any(|file| is_named(file, std::slice::from_ref(path))) {
                return Err(none("changes", path));
            }
        }
        let named = files.into_iter().filter(|file| is_named(file, paths));
        return Ok(named.map(|file| Chosen { file, hunks: None }).collect());
    }
    let Some(ids) = hunks else {
        return Ok(files.into_iter().map(|file| Chosen { file, hunks: None }).collect());
    };
    for id in ids {
        if !files.iter().any(|file| file.change.hunks.iter().any(|hunk| hunk.id == *id)) {
            return Err(none("hunk", id));
        }
    }
    let some = files.into_iter().filter_map(|file| {
        let wanted: BTreeSet<usize> =
            (0..file.change.hunks.len()).filter(|n| ids.contains(&file.change.hunks[*n].id)).collect();
        let is_all = wanted.len() == file.change.hunks.len();
        (!wanted.is_empty()).then(|| Chosen { hunks: (!is_all).then_some(wanted), file })
    });
    Ok(some.collect())
}

fn none(what: &str, name: &str) -> WorktreeError {
    WorktreeError::new(WorktreeErrorKind::NoSuchChange, format!("no pending {what} `{name}`"))
        .hint("hob diff --hunks")
}

impl Chosen {
    /// What the file is with what was chosen taken over: of the new side, or of the old one if only
    /// some hunks were chosen.
    pub(super) fn result(&self, objects: &Objects<'_>) -> Result<Option<(PathBuf, Entry)>, WorktreeError> {
        let Some(hunks) = &self.hunks else { return Ok(self.file.delta.new.clone()) };
        let chosen: Vec<_> = hunks.iter().map(|n| &self.file.hunks[*n]).collect();
        let (before, _) = self.file.text.as_ref().map_or((&[][..], &[][..]), |(a, b)| (a, b));
        let object = objects.write_blob(&with_hunks(before, &chosen))?;
        let side = self.file.delta.old.as_ref().or(self.file.delta.new.as_ref());
        Ok(side.map(|(path, entry)| (path.clone(), Entry { mode: entry.mode, object })))
    }
}

/// What the checkout of the user is made of, and with what.
struct Target<'a> {
    known: &'a Known,
    objects: &'a Objects<'a>,
    checkout: &'a Source<'a>,
}

/// What is to be done for one change.
#[derive(Default)]
struct Plan {
    replacements: Vec<Replace>,
    baseline: Vec<(PathBuf, Option<Entry>)>,
}

fn apply(
    inner: &Inner,
    known: &Known,
    present: &str,
    (selection, dry_run): (&Selection, bool),
) -> Result<Applied, WorktreeError> {
    let source = inner.repository(known)?;
    let objects = Objects::of(&source);
    let checkout = inner.source(&known.top, &known.common_dir)?;
    let base = baseline(&objects, known)?;
    let chosen = choose(files(&objects, &base, present)?, selection)?;
    let target = Target { known, objects: &objects, checkout: &checkout };
    let (mut applied, mut replacements, mut entries) = (Applied::default(), Vec::new(), BTreeMap::new());
    for change in &chosen {
        match target.plan(change)? {
            Ok(plan) => {
                applied.paths.push(change.file.change.path.clone());
                replacements.extend(plan.replacements);
                entries.extend(plan.baseline);
            }
            Err(why) => applied.conflicts.push((change.file.change.path.clone(), why)),
        }
    }
    if !applied.conflicts.is_empty() {
        applied.paths.clear();
        return Ok(applied);
    }
    if dry_run || chosen.is_empty() {
        return Ok(applied);
    }
    // Somebody's git is about to write: its picture of the files must stay true.
    retry_busy(inner.options.lock_file_wait, || check_unlocked(&checkout, &known.top))?;
    swap(&known.top, &replacements)?;
    applied.baseline = Some(objects.tree_with(&base, &entries)?);
    Ok(applied)
}

/// Whether no git is writing the index of a checkout.
fn check_unlocked(source: &Source<'_>, top: &Path) -> Result<(), WorktreeError> {
    let git_dir = source.repo.as_ref().map_or_else(|| top.join(".git"), |repo| repo.path().to_owned());
    let lock = git_dir.join("index.lock");
    if stamp(&lock).is_none() {
        return Ok(());
    }
    let message = format!("another git works in `{}`: `{}` is there", top.display(), lock.display());
    Err(WorktreeError::new(WorktreeErrorKind::Busy(lock.display().to_string()), message)
        .hint("try again when it is done"))
}

impl Target<'_> {
    /// What is to be done for a change, or what stands against it.
    fn plan(&self, chosen: &Chosen) -> Result<Result<Plan, String>, WorktreeError> {
        let change = &chosen.file.change;
        if change.content == Content::Submodule {
            return Ok(self.submodule(chosen));
        }
        if chosen.hunks.is_some() && matches!(change.kind, ChangeKind::Renamed | ChangeKind::Type) {
            return Ok(Err("it has another name or kind now, and goes only as a whole".to_owned()));
        }
        let mut plan = Plan::default();
        let old = chosen.file.delta.old.clone();
        let result = chosen.result(self.objects)?;
        let moved = old.as_ref().filter(|(path, _)| result.as_ref().is_none_or(|(new, _)| new != path));
        if let Some((path, entry)) = moved {
            let here = match self.removal(path, entry)? {
                Ok(here) => here,
                Err(why) => return Ok(Err(why)),
            };
            plan.replacements.extend(here.map(|seen| Replace {
                path: path.clone(),
                wanted: Wanted::Nothing,
                seen,
            }));
            plan.baseline.push((path.clone(), None));
        }
        if let Some((path, entry)) = result {
            let ancestor = old.as_ref().map(|(path, entry)| (path.as_path(), entry));
            match self.write(&path, &entry, ancestor)? {
                Ok(replace) => plan.replacements.extend(replace),
                Err(why) => return Ok(Err(why)),
            }
            plan.baseline.push((path, Some(entry)));
        }
        Ok(Ok(plan))
    }

    fn submodule(&self, chosen: &Chosen) -> Result<Plan, String> {
        let commit = chosen.file.delta.new.as_ref().map(|(_, entry)| entry.object.clone());
        let path = chosen.file.change.path.clone();
        Err(match commit {
            Some(commit) => format!(
                "it is a submodule; `git -C {}/{path} checkout {commit}` takes it over",
                self.known.top.display()
            ),
            None => "it was a submodule; `git rm` takes it out".to_owned(),
        })
    }

    /// Whether a file may go: with its stamp if it is there.
    fn removal(&self, path: &Path, entry: &Entry) -> Result<Result<Option<Stamp>, String>, WorktreeError> {
        let (found, seen) = self.look(path)?;
        Ok(match found {
            Found::Nothing => Ok(None),
            found if self.is_same(path, &found, entry)? => Ok(Some(seen)),
            Found::Blocked(why) => Err(why),
            Found::Folder => Err("a directory is there in the checkout".to_owned()),
            _ => Err("it was changed in the checkout, and is to be removed".to_owned()),
        })
    }

    /// What is to be written at a path; nothing if it is there already.
    fn write(
        &self,
        path: &Path,
        theirs: &Entry,
        ancestor: Option<(&Path, &Entry)>,
    ) -> Result<Result<Option<Replace>, String>, WorktreeError> {
        let (found, seen) = self.look(path)?;
        let replace = |wanted| Ok(Ok(Some(Replace { path: path.to_owned(), wanted, seen })));
        if let Found::Blocked(why) = found {
            return Ok(Err(why));
        }
        if found == Found::Folder {
            return Ok(Err("a directory is there in the checkout".to_owned()));
        }
        if self.is_same(path, &found, theirs)? {
            return Ok(Ok(None));
        }
        // A file that is renamed was read where it was.
        let base = ancestor.filter(|(old, _)| *old == path).map(|(_, entry)| entry);
        let is_untouched = match base {
            Some(base) => self.is_same(path, &found, base)?,
            None => found == Found::Nothing,
        };
        if is_untouched {
            return replace(match self.wanted(path, theirs, &found)? {
                Ok(wanted) => wanted,
                Err(why) => return Ok(Err(why)),
            });
        }
        let Some(base) = base else {
            return Ok(Err("another file of that name is in the checkout".to_owned()));
        };
        match self.merged(&found, base, theirs)? {
            Ok(wanted) => replace(wanted),
            Err(why) => Ok(Err(why)),
        }
    }

    fn look(&self, path: &Path) -> Result<(Found, Stamp), WorktreeError> {
        look(&self.known.top, path)
            .map_err(|error| WorktreeError::io("read", &self.known.top.join(path), &error))
    }

    /// Whether what is on the disk is what git has, but for the ends of lines.
    fn is_same(&self, path: &Path, found: &Found, entry: &Entry) -> Result<bool, WorktreeError> {
        Ok(match found {
            Found::File { bytes, executable } if matches!(entry.mode, FILE | EXECUTABLE) => {
                let blob = self.objects.blob(&entry.object)?;
                (entry.mode == EXECUTABLE) == *executable
                    && (*bytes == blob
                        || eol::of(bytes, &blob) == Eol::CrLf && eol::to_lf(bytes) == blob
                        || self.is_large_copy(path, &blob))
            }
            Found::Link(target) if entry.mode == LINK => *target == self.objects.blob(&entry.object)?,
            _ => false,
        })
    }

    /// Whether the checkout has a copy of a large file already.
    fn is_large_copy(&self, path: &Path, blob: &[u8]) -> bool {
        let theirs = self.known.path.join(path);
        crate::worktree::large::pointer(&theirs).as_deref() == Some(blob)
            && same_content(&theirs, &self.known.top.join(path))
    }

    /// A new content as it is to be in the checkout.
    fn wanted(
        &self,
        path: &Path,
        entry: &Entry,
        found: &Found,
    ) -> Result<Result<Wanted, String>, WorktreeError> {
        let bytes = self.objects.blob(&entry.object)?;
        if entry.mode == LINK {
            return Ok(Ok(Wanted::Link(bytes)));
        }
        if entry.mode == GITLINK {
            return Ok(Err("it is a submodule now".to_owned()));
        }
        if crate::worktree::large::size_of(&bytes).is_some() {
            let from = self.known.path.join(path);
            let seen = stamp(&from);
            return Ok(if crate::worktree::large::pointer(&from).as_deref() == Some(&bytes[..]) {
                Ok(Wanted::Copy { from, seen })
            } else {
                Err("it is too large to be kept, and was changed since it was listed".to_owned())
            });
        }
        let eol = match found {
            Found::File { bytes: before, .. } => eol::of(before, &eol::to_lf(before)),
            _ => eol::configured(self.checkout, path, &bytes),
        };
        let bytes = if eol == Eol::CrLf { eol::to_crlf(&bytes) } else { bytes };
        Ok(Ok(Wanted::File { bytes, executable: entry.mode == EXECUTABLE }))
    }

    /// Both changes in one file, if they are in different places.
    fn merged(
        &self,
        found: &Found,
        base: &Entry,
        theirs: &Entry,
    ) -> Result<Result<Wanted, String>, WorktreeError> {
        let both_changed = || Ok(Err("it was changed in the checkout as well".to_owned()));
        let Found::File { bytes: ours, executable } = found else {
            return Ok(Err(match found {
                Found::Nothing => "it was deleted in the checkout".to_owned(),
                _ => "something else is there in the checkout".to_owned(),
            }));
        };
        let is_file = |entry: &Entry| matches!(entry.mode, FILE | EXECUTABLE);
        if !is_file(base) || !is_file(theirs) {
            return both_changed();
        }
        let (base_text, their_text) = (self.objects.blob(&base.object)?, self.objects.blob(&theirs.object)?);
        let is_large = |bytes: &[u8]| crate::worktree::large::size_of(bytes).is_some();
        if [&base_text, &their_text, ours].iter().any(|bytes| is_binary(bytes) || is_large(bytes)) {
            return both_changed();
        }
        let eol = eol::of(ours, &base_text);
        let our_text = if eol == Eol::CrLf { eol::to_lf(ours) } else { ours.clone() };
        let Some(text) = merge(&base_text, &our_text, &their_text)? else {
            return Ok(Err("it was changed at the same place in the checkout".to_owned()));
        };
        let their_mode = (base.mode != theirs.mode).then_some(theirs.mode == EXECUTABLE);
        let bytes = if eol == Eol::CrLf { eol::to_crlf(&text) } else { text };
        Ok(Ok(Wanted::File { bytes, executable: their_mode.unwrap_or(*executable) }))
    }
}

/// The merge of three texts; `None` if they conflict.
fn merge(base: &[u8], ours: &[u8], theirs: &[u8]) -> Result<Option<Vec<u8>>, WorktreeError> {
    let input = |bytes| {
        let mut input = MergeFileInput::new();
        input.content(bytes);
        input
    };
    let mut options = MergeFileOptions::new();
    options.style_standard(true);
    let failed = |error| WorktreeError::git("merge two changes", Path::new("a file"), &error);
    let (base, ours, theirs) = (input(base), input(ours), input(theirs));
    let merged = merge_file(&base, &ours, &theirs, Some(&mut options)).map_err(failed)?;
    Ok(merged.is_automergeable().then(|| merged.content().to_vec()))
}

/// Whether two files have the same content.
fn same_content(left: &Path, right: &Path) -> bool {
    use std::io::{BufRead, BufReader};
    let (Ok(left), Ok(right)) = (std::fs::File::open(left), std::fs::File::open(right)) else { return false };
    let (mut left, mut right) = (BufReader::new(left), BufReader::new(right));
    loop {
        let (Ok(a), Ok(b)) = (left.fill_buf(), right.fill_buf()) else { return false };
        let n = a.len().min(b.len());
        if n == 0 {
            return a.len() == b.len();
        }
        if a[..n] != b[..n] {
            return false;
        }
        left.consume(n);
        right.consume(n);
    }
}
