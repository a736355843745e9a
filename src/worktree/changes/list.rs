//! Lists what differs between two trees, file by file and hunk by hunk, and finds the owners in the
//! history of each file. Reads objects only.

use std::collections::HashMap;
use std::path::PathBuf;

use super::blame::{Owner, Step, Story, owners};
use super::text::{CONTEXT_LINES, Fate, HunkText, TEXT_BYTES_MAX, hunks, ids, is_binary};
use super::{Change, ChangeKind, Content, Hunk};
use crate::worktree::carry::Entry;
use crate::worktree::error::WorktreeError;
use crate::worktree::known::Segment;
use crate::worktree::large;
use crate::worktree::objects::{Delta, GITLINK, LINK, Objects, Status, shown};

/// Lines are followed in files of no more bytes than this; in larger ones all who touched the file
/// own each hunk.
const FOLLOWED_BYTES_MAX: usize = 1 << 20;

/// A file that differs, with what is needed to take it over.
#[derive(Debug)]
pub(super) struct File {
    /// As it is shown.
    pub(super) change: Change,
    /// What it was and is.
    pub(super) delta: Delta,
    /// Its content before and now, if it is text.
    pub(super) text: Option<(Vec<u8>, Vec<u8>)>,
    /// Its hunks, in the order of `change.hunks`.
    pub(super) hunks: Vec<HunkText>,
}

/// The files that differ between two trees.
pub(super) fn files(objects: &Objects<'_>, from: &str, to: &str) -> Result<Vec<File>, WorktreeError> {
    let deltas = objects.deltas(from, to)?;
    let mut found = deltas.into_iter().map(|delta| file(objects, delta)).collect::<Result<Vec<_>, _>>()?;
    found.sort_by(|a, b| a.change.path.cmp(&b.change.path));
    Ok(found)
}

fn file(objects: &Objects<'_>, delta: Delta) -> Result<File, WorktreeError> {
    let old = delta.old.as_ref().map(|(_, entry)| entry);
    let new = delta.new.as_ref().map(|(_, entry)| entry);
    let mut change = Change {
        path: shown(delta.path()),
        old_path: delta.old_path().map(|path| shown(path)),
        kind: kind(&delta),
        content: Content::Text,
        old_mode: old.map(|entry| entry.mode),
        mode: new.map(|entry| entry.mode),
        size_bytes: None,
        insertions: 0,
        deletions: 0,
        hunks: Vec::new(),
        agents: Vec::new(),
        turns: Vec::new(),
        shared: false,
        by_user: false,
        by_hook: false,
    };
    let modes = [old, new].map(|entry| entry.map(|entry| entry.mode));
    if modes.contains(&Some(GITLINK)) {
        change.content = Content::Submodule;
        return Ok(File { change, delta, text: None, hunks: Vec::new() });
    }
    let read = |entry: Option<&Entry>| -> Result<Option<Vec<u8>>, WorktreeError> {
        match entry {
            Some(entry) if objects.blob_size(&entry.object)? > TEXT_BYTES_MAX as u64 => Ok(None),
            Some(entry) => objects.blob(&entry.object).map(Some),
            None => Ok(Some(Vec::new())),
        }
    };
    let sides = (read(old)?, read(new)?);
    change.size_bytes = match (&sides.1, new) {
        (Some(bytes), Some(_)) => Some(large::size_of(bytes).unwrap_or(bytes.len() as u64)),
        (None, Some(entry)) => Some(objects.blob_size(&entry.object)?),
        (_, None) => None,
    };
    change.content = content(&sides, modes);
    let (Content::Text, (Some(before), Some(after))) = (change.content, sides) else {
        return Ok(File { change, delta, text: None, hunks: Vec::new() });
    };
    let failed = |error| WorktreeError::git("compare two texts", delta.path(), &error);
    let hunks = hunks(&before, &after, CONTEXT_LINES).map_err(failed)?;
    change.insertions = hunks.iter().map(|hunk| hunk.count(Fate::Added)).sum();
    change.deletions = hunks.iter().map(|hunk| hunk.count(Fate::Removed)).sum();
    change.hunks = ids(&change.path, &hunks)
        .into_iter()
        .zip(&hunks)
        .map(|(id, hunk)| Hunk {
            id,
            header: hunk.header.clone(),
            agents: Vec::new(),
            turns: Vec::new(),
            shared: false,
            by_user: false,
            by_hook: false,
        })
        .collect();
    Ok(File { change, delta, text: Some((before, after)), hunks })
}

fn kind(delta: &Delta) -> ChangeKind {
    match (delta.status, &delta.old, &delta.new) {
        (Status::Added, ..) => ChangeKind::Added,
        (Status::Deleted, ..) => ChangeKind::Deleted,
        (Status::Renamed, ..) => ChangeKind::Renamed,
        (Status::Type, ..) => ChangeKind::Type,
        (Status::Modified, Some((_, old)), Some((_, new))) if old.object == new.object => ChangeKind::Mode,
        (Status::Modified, ..) => ChangeKind::Modified,
    }
}

/// `None` on a side stands for more bytes than a text may have.
fn content(sides: &(Option<Vec<u8>>, Option<Vec<u8>>), modes: [Option<u32>; 2]) -> Content {
    let is = |test: fn(&[u8]) -> bool| [&sides.0, &sides.1].into_iter().flatten().any(|bytes| test(bytes));
    if is(|bytes| large::size_of(bytes).is_some()) {
        Content::Large
    } else if modes.contains(&Some(LINK)) {
        Content::Symlink
    } else if sides.0.is_none() || sides.1.is_none() || is(is_binary) {
        Content::Binary
    } else {
        Content::Text
    }
}

/// The same with owners.
pub(super) fn owned(
    objects: &Objects<'_>,
    (baseline, present): (&str, &str),
    history: &[Segment],
) -> Result<Vec<Change>, WorktreeError> {
    let files = files(objects, baseline, present)?;
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let seen = history
        .iter()
        .map(|segment| Ok((Step::of(segment), by_new_path(objects.deltas(&segment.from, &segment.to)?))))
        .collect::<Result<Vec<_>, WorktreeError>>()?;
    files.into_iter().map(|file| own(objects, file, &seen)).collect()
}

/// What changed in a step, by where it is after it.
type Changed = HashMap<PathBuf, Delta>;

fn by_new_path(deltas: Vec<Delta>) -> Changed {
    // Under its old name a renamed file went, and what is there later is another.
    let gone = deltas.iter().filter(|delta| delta.status == Status::Renamed).filter_map(|delta| {
        let gone = Delta { status: Status::Deleted, old: delta.old.clone(), new: None };
        Some((delta.old_path()?.clone(), gone))
    });
    let mut changed: Changed = gone.collect();
    changed.extend(deltas.into_iter().map(|delta| (delta.path().clone(), delta)));
    changed
}

/// One step in the life of one file.
struct Turned<'a> {
    step: &'a Step,
    before: Option<(PathBuf, Entry)>,
    after: Option<(PathBuf, Entry)>,
}

fn own(objects: &Objects<'_>, mut file: File, seen: &[(Step, Changed)]) -> Result<Change, WorktreeError> {
    let life = life(&file, seen);
    let old = file.delta.old.clone();
    // What came before the file was last as the person has it is no part of what is pending.
    let since = life.iter().rposition(|turned| turned.after == old).map_or(0, |n| n + 1);
    let whole = Owner::of(life[since..].iter().map(|turned| turned.step));
    let owner = match hunk_owners(objects, &file, &life)? {
        Some(owners) if file.change.kind == ChangeKind::Modified || file.change.kind == ChangeKind::Added => {
            let mut sum = mode_owner(&file, &life[since..]);
            for (hunk, owner) in file.change.hunks.iter_mut().zip(owners) {
                sum.add(&owner);
                give(hunk, owner);
            }
            if sum == Owner::default() { whole } else { sum }
        }
        Some(owners) => {
            file.change.hunks.iter_mut().zip(owners).for_each(|(hunk, owner)| give(hunk, owner));
            whole
        }
        None => {
            let any = Owner::of_any(life[since..].iter().map(|turned| turned.step));
            file.change.hunks.iter_mut().for_each(|hunk| give(hunk, any.clone()));
            whole
        }
    };
    let change = &mut file.change;
    (change.agents, change.turns, change.shared, change.by_user) =
        (owner.agents, owner.turns, owner.shared, owner.by_user);
    change.by_hook = owner.by_hook;
    Ok(file.change)
}

/// Who changed the mode of a file, where it differs.
fn mode_owner(file: &File, life: &[Turned<'_>]) -> Owner {
    let mode = |side: &Option<(PathBuf, Entry)>| side.as_ref().map(|(_, entry)| entry.mode);
    if mode(&file.delta.old) == mode(&file.delta.new) || file.delta.old.is_none() {
        return Owner::default();
    }
    Owner::of(
        life.iter().filter(|turned| mode(&turned.before) != mode(&turned.after)).map(|turned| turned.step),
    )
}

fn give(hunk: &mut Hunk, owner: Owner) {
    (hunk.agents, hunk.turns, hunk.shared, hunk.by_user) =
        (owner.agents, owner.turns, owner.shared, owner.by_user);
    hunk.by_hook = owner.by_hook;
}

/// The steps that changed a file, oldest first, followed backwards through its names.
fn life<'a>(file: &File, seen: &'a [(Step, Changed)]) -> Vec<Turned<'a>> {
    let mut path = file.delta.path().clone();
    let mut life = Vec::new();
    for (step, changed) in seen.iter().rev() {
        let Some(delta) = changed.get(&path) else { continue };
        life.push(Turned { step, before: delta.old.clone(), after: delta.new.clone() });
        if let Some(old) = delta.old_path() {
            path.clone_from(old);
        }
    }
    life.reverse();
    life
}

/// The owners of the hunks of a text; `None` if its lines cannot be followed.
fn hunk_owners(
    objects: &Objects<'_>,
    file: &File,
    life: &[Turned<'_>],
) -> Result<Option<Vec<Owner>>, WorktreeError> {
    let Some((before, after)) = &file.text else { return Ok(None) };
    if life.is_empty() || before.len() > FOLLOWED_BYTES_MAX || after.len() > FOLLOWED_BYTES_MAX {
        return Ok(None);
    }
    let mut story = Story::default();
    for (n, turned) in life.iter().enumerate() {
        if n == 0 {
            match text(objects, turned.before.as_ref())? {
                Some(text) => story.versions.push(text),
                None => return Ok(None),
            }
        }
        match text(objects, turned.after.as_ref())? {
            Some(text) => story.versions.push(text),
            None => return Ok(None),
        }
        story.steps.push(turned.step.clone());
    }
    if story.versions.last() != Some(after) {
        // It was looked at in between and not written down.
        return Ok(None);
    }
    let failed = |error| WorktreeError::git("compare two texts", file.delta.path(), &error);
    owners(&story, before, &file.hunks).map(Some).map_err(failed)
}

fn text(objects: &Objects<'_>, side: Option<&(PathBuf, Entry)>) -> Result<Option<Vec<u8>>, WorktreeError> {
    let Some((_, entry)) = side else { return Ok(Some(Vec::new())) };
    if entry.mode == GITLINK || objects.blob_size(&entry.object)? > FOLLOWED_BYTES_MAX as u64 {
        return Ok(None);
    }
    let bytes = objects.blob(&entry.object)?;
    // What stands for a large file has no lines of it.
    Ok((!is_binary(&bytes) && large::size_of(&bytes).is_none()).then_some(bytes))
}
