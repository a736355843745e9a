//! Salvages a worktree: a commit of everything that is in it, on a ref of ours, with everything that only
//! it knows as parents. Nothing of the worktree is touched.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;

use super::files::{Files, Of, seal, tracked};
use super::manifest::{Manifest, Modules, text};
use super::{MODULES_DIR, parents, salvage_ref, settings};
use crate::worktree::carry::Entry;
use crate::worktree::error::{WorktreeError, WorktreeErrorKind};
use crate::worktree::known::Known;
use crate::worktree::objects::{Entries, GITLINK, Hold, Objects, is_whole};
use crate::worktree::preflight::is_partial;
use crate::worktree::source::{Source, path_from, records};
use crate::worktree::{Inner, Worktrees};

/// How often it is tried while somebody writes.
const TRIES_MAX: usize = 3;
/// Where the content of conflicts is in the tree of the index.
const CONFLICTS_DIR: &str = ".hob-conflicts";
/// In the flags of an index entry: assume-unchanged, and its stage; in the extended ones: intent-to-add,
/// skip-worktree.
const ASSUME_UNCHANGED: u16 = 0x8000;
const STAGE: u16 = 0x3000;
const STAGE_SHIFT: u16 = 12;
const INTENT_TO_ADD: u16 = 1 << 13;
const SKIP_WORKTREE: u16 = 1 << 14;

/// What was salvaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Salvaged {
    /// The ref that keeps it.
    pub reference: String,
    /// The commit.
    pub commit: String,
    /// The tree of all files.
    pub tree: String,
    /// What is not in it, and why.
    pub left_out: Vec<String>,
    /// What the directory looked like; it is moved only if it still does.
    pub(super) seal: [u8; 32],
}

impl Worktrees {
    /// Salvages a worktree. Again, it is the same if nothing has changed, and else has what was salvaged
    /// before as a parent.
    ///
    /// # Errors
    /// `Foreign` if it is not the one that was recorded; `Busy` if it is being written to; what git or
    /// the disk says.
    pub async fn salvage(&self, known: &Known, disposable: &[String]) -> Result<Salvaged, WorktreeError> {
        let (known, disposable) = (known.clone(), disposable.to_vec());
        self.locked_job(&known.common_dir.clone(), move |inner, _lock| salvage(inner, &known, &disposable))
            .await
    }
}

fn salvage(inner: &Inner, known: &Known, disposable: &[String]) -> Result<Salvaged, WorktreeError> {
    for _ in 0..TRIES_MAX {
        let before = seal(&known.path)?;
        let salvaged = once(inner, known, disposable, before)?;
        if seal(&known.path)? == before {
            return Ok(salvaged);
        }
    }
    let message = format!("`{}` is being written to", known.path.display());
    Err(WorktreeError::new(WorktreeErrorKind::Busy(known.path.display().to_string()), message))
}

fn once(
    inner: &Inner,
    known: &Known,
    disposable: &[String],
    seal: [u8; 32],
) -> Result<Salvaged, WorktreeError> {
    let source = inner.at(known)?.drafting()?;
    let objects = Objects::of(&source);
    let reference = salvage_ref(known);
    // One that lost something is no parent of another.
    let earlier = match source.commit_of_ref(&reference)? {
        Some(commit) if is_whole(&source, &commit)? => Some(commit),
        _ => None,
    };
    let mut draft = Draft::default();
    let commit = objects.keep(&reference, Hold::Pack, || {
        draft = Draft::write(inner, known, (&objects, disposable))?;
        let commit = draft.commit(&objects, earlier.as_deref())?;
        crash_point!("remove.unkept");
        Ok(commit)
    })?;
    // It is to be on the disk before anything is moved.
    sync(&known.common_dir)?;
    crash_point!("remove.salvaged");
    Ok(Salvaged { reference, commit, tree: draft.tree, left_out: draft.manifest.left_out, seal })
}

/// What is to be salvaged, written but for its commit.
#[derive(Default)]
struct Draft {
    manifest: Manifest,
    tree: String,
    parents: Vec<String>,
}

impl Draft {
    fn write(
        inner: &Inner,
        known: &Known,
        (objects, disposable): (&Objects<'_>, &[String]),
    ) -> Result<Self, WorktreeError> {
        let source = objects.source;
        let mut manifest = Manifest { worktree: known.id.clone(), ..Manifest::default() };
        manifest.head = source.commit("HEAD")?;
        manifest.branch = source.branch()?;
        let mut staged = staged(source, objects, &mut manifest)?;
        let names = tracked(std::mem::take(&mut staged.paths).into_iter());
        leave_out_absent(objects, &mut staged, &mut manifest)?;
        let of = Of::Checkout(disposable, &names);
        let entries = Files::new(objects, &known.path, of).collect(&mut manifest)?;
        manifest.settings = settings::read(&known.admin(), &mut manifest.left_out);
        manifest.modules = modules(objects, known, &mut manifest.left_out)?;
        let tree = objects.tree(&entries)?;
        let mut parents = Vec::new();
        let only_here = parents::only_here(inner, known, source)?;
        for commit in manifest.head.iter().cloned().chain(only_here) {
            if is_whole(source, &commit)? {
                parents.push(commit);
            } else {
                manifest.left_out.push(format!("the commit {commit}: objects of it are gone"));
            }
        }
        let head = parents.iter().filter(|parent| manifest.head.as_ref() == Some(*parent)).take(1);
        let head: Vec<String> = head.cloned().collect();
        let index_tree = objects.tree(&staged.entries)?;
        let index = objects.commit(&index_tree, &head, &format!("The index of the worktree {}", known.id))?;
        parents.insert(head.len(), index.clone());
        parents.extend(manifest.modules.iter().map(|modules| modules.commit.clone()));
        manifest.index = Some(index);
        Ok(Self { manifest, tree, parents })
    }

    /// Its commit; the earlier one if it says the same.
    fn commit(&self, objects: &Objects<'_>, earlier: Option<&str>) -> Result<String, WorktreeError> {
        let mut parents = self.parents.clone();
        if let Some(earlier) = earlier {
            if is_same(objects, earlier, &self.tree, &self.manifest)? {
                return Ok(earlier.to_owned());
            }
            parents.push(earlier.to_owned());
        }
        let mut seen = BTreeSet::new();
        parents.retain(|parent| seen.insert(parent.clone()));
        objects.commit(&self.tree, &parents, &self.manifest.message()?)
    }
}

/// The repositories of submodules, with everything that is in them.
fn modules(
    objects: &Objects<'_>,
    known: &Known,
    left_out: &mut Vec<String>,
) -> Result<Option<Modules>, WorktreeError> {
    let top = known.admin().join(MODULES_DIR);
    if !top.is_dir() {
        return Ok(None);
    }
    let mut manifest = Manifest::default();
    let entries = Files::new(objects, &top, Of::Repositories).collect(&mut manifest)?;
    left_out.extend(manifest.left_out.drain(..).map(|what| format!("of the submodules, {what}")));
    let message = format!("The repositories of the submodules of the worktree {}", known.id);
    let commit = objects.commit(&objects.tree(&entries)?, &[], &message)?;
    Ok(Some(Modules { commit, manifest: Box::new(manifest) }))
}

/// Takes out of the index what has no content any more: no tree can lead to it.
fn leave_out_absent(
    objects: &Objects<'_>,
    staged: &mut Staged,
    manifest: &mut Manifest,
) -> Result<(), WorktreeError> {
    if is_partial(objects.source) {
        return Ok(());
    }
    let ids = staged.entries.values().filter(|entry| entry.mode != GITLINK);
    let absent = objects.absent(&ids.map(|entry| entry.object.clone()).collect())?;
    if absent.is_empty() {
        return Ok(());
    }
    for path in
        staged.entries.iter().filter(|(_, entry)| absent.contains(&entry.object)).map(|(path, _)| path)
    {
        manifest.left_out.push(format!("{} as it is staged: its content is gone", path.display()));
    }
    staged.entries.retain(|_, entry| !absent.contains(&entry.object));
    manifest.conflicts.retain(|(_, _, object, _)| !absent.contains(object));
    Ok(())
}

/// Whether an earlier salvage has the same files, and the same HEAD and index.
fn is_same(objects: &Objects<'_>, earlier: &str, tree: &str, now: &Manifest) -> Result<bool, WorktreeError> {
    if objects.tree_of(earlier)? != tree {
        return Ok(false);
    }
    let Ok(before) = Manifest::read(&objects.message(earlier)?) else { return Ok(false) };
    let modules = |manifest: &Manifest| manifest.modules.as_ref().map(|modules| modules.commit.clone());
    let is_alike = |before: Option<String>, now: Option<String>| {
        let tree = |commit: Option<String>| commit.map(|id| objects.tree_of(&id)).transpose();
        Ok::<bool, WorktreeError>(tree(before)? == tree(now)?)
    };
    if !is_alike(before.index.clone(), now.index.clone())? || !is_alike(modules(&before), modules(now))? {
        return Ok(false);
    }
    // Their commits are made anew each time.
    let mut before = Manifest { index: now.index.clone(), ..before };
    if let (Some(before), Some(now)) = (&mut before.modules, &now.modules) {
        before.commit.clone_from(&now.commit);
    }
    Ok(before == *now)
}

/// The file system that a path lies on has everything on the disk.
pub(super) fn sync(path: &std::path::Path) -> Result<(), WorktreeError> {
    let failed = |error: std::io::Error| WorktreeError::io("make durable what is in", path, &error);
    let file = File::open(path).map_err(failed)?;
    nix::unistd::syncfs(&file).map_err(|errno| failed(errno.into()))
}

/// The index: its entries, those in conflict at a place of their own, and all its paths.
struct Staged {
    entries: Entries,
    paths: Vec<Vec<u8>>,
}

fn staged(
    source: &Source<'_>,
    objects: &Objects<'_>,
    manifest: &mut Manifest,
) -> Result<Staged, WorktreeError> {
    let mut staged = Staged { entries: BTreeMap::new(), paths: Vec::new() };
    let empty = objects.write_blob(b"")?;
    let mut put = |path: Vec<u8>, stage: u16, entry: Entry| {
        let name = text(&path);
        staged.paths.push(path.clone());
        if stage == 0 {
            staged.entries.insert(path_from(path), entry);
            return;
        }
        let place = [format!("{CONFLICTS_DIR}/{stage}/").as_bytes(), &path].concat();
        manifest.conflicts.push((stage, entry.mode, entry.object.clone(), name));
        staged.entries.insert(path_from(place), entry);
    };
    let Some(repo) = &source.repo else {
        let (mut assumed, mut skipped) = (Vec::new(), Vec::new());
        let out = source.program()?.run(&source.call(&["ls-files", "-v", "-s", "-z"]))?;
        for line in records(&out) {
            let Some((tag, rest)) =
                line.split_first().zip(line.get(2..)).map(|((tag, _), rest)| (*tag, rest))
            else {
                continue;
            };
            if let Some((path, stage, entry)) = line_of(rest) {
                assumed.extend(tag.is_ascii_lowercase().then(|| text(&path)));
                skipped.extend(tag.eq_ignore_ascii_case(&b'S').then(|| text(&path)));
                put(path, stage, entry);
            }
        }
        // What was only announced is new to git beside the index.
        let call = source.call(&["diff-files", "--name-only", "--diff-filter=A", "-z"]);
        manifest.intended = records(&source.program()?.run(&call)?).map(text).collect();
        (manifest.assumed, manifest.skipped) = (assumed, skipped);
        return Ok(staged);
    };
    let failed = |error: git2::Error| WorktreeError::git("read the index", &source.top, &error);
    let index = repo.index().map_err(failed)?;
    let (mut intended, mut assumed, mut skipped) = (Vec::new(), Vec::new(), Vec::new());
    for entry in index.iter() {
        let stage = (entry.flags & STAGE) >> STAGE_SHIFT;
        let name = text(&entry.path);
        let mut object = entry.id.to_string();
        if entry.flags_extended & INTENT_TO_ADD != 0 {
            intended.push(name.clone());
            object.clone_from(&empty);
        }
        if entry.flags & ASSUME_UNCHANGED != 0 {
            assumed.push(name.clone());
        }
        if entry.flags_extended & SKIP_WORKTREE != 0 {
            skipped.push(name);
        }
        put(entry.path, stage, Entry { mode: entry.mode, object });
    }
    (manifest.intended, manifest.assumed, manifest.skipped) = (intended, assumed, skipped);
    Ok(staged)
}

/// `100644 ID 0\tPATH`
fn line_of(line: &[u8]) -> Option<(Vec<u8>, u16, Entry)> {
    let (words, path) = line.split_at(line.iter().position(|byte| *byte == b'\t')?);
    let words = std::str::from_utf8(words).ok()?;
    let mut words = words.split(' ');
    let mode = u32::from_str_radix(words.next()?, 8).ok()?;
    let object = words.next()?.to_owned();
    Some((path[1..].to_vec(), words.next()?.parse().ok()?, Entry { mode, object }))
}

/// Whether an entry of a salvaged index is of a conflict, and no file of its own.
pub(super) fn is_of_conflict(path: &Path) -> bool {
    path.starts_with(CONFLICTS_DIR)
}
