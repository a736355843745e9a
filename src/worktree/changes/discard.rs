//! Gives changes up in the worktree: pending ones back to the baseline, or all files back to what they
//! were before a turn; after the present content was put on a ref.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::apply::check_unlocked;
use super::choose::{Chosen, choose};
use super::disk::{Found, Stamp, holds_only, look};
use super::list::files;
use super::swap::{Intent, Replace, Wanted, swap};
use super::text::with_hunks;
use super::{ChangeKind, Discarded, Seen, Selection, Undone, ground};
use crate::worktree::carry::Entry;
use crate::worktree::convert::{self, Converter};
use crate::worktree::error::{WorktreeError, WorktreeErrorKind};
use crate::worktree::known::Known;
use crate::worktree::lock::retry_busy;
use crate::worktree::objects::{EXECUTABLE, GITLINK, Hold, LINK, Objects, TRIES_MAX, again, shown};
use crate::worktree::source::Source;
use crate::worktree::{Inner, Worktrees, index, large, operation, snapshot};

impl Worktrees {
    /// Reverts pending changes in the worktree, as they were listed of what was seen.
    ///
    /// # Errors
    /// `InTheWay` for a hunk or path that names no pending change; what git or the disk says. A conflict
    /// is no error.
    pub async fn discard(
        &self,
        known: &Known,
        seen: Seen,
        selection: Selection,
        dry_run: bool,
    ) -> Result<Discarded, WorktreeError> {
        let known = known.clone();
        self.locked_job(&known.common_dir.clone(), move |inner, _lock| {
            discard(inner, &known, &seen, (&selection, dry_run))
        })
        .await
    }

    /// Puts the files of a worktree back to what they are in the tree `to`.
    ///
    /// # Errors
    /// `InTheWay` for a file that cannot be put back; what git or the disk says.
    pub async fn undo(&self, known: &Known, present: &str, to: &str) -> Result<Undone, WorktreeError> {
        let (known, present, to) = (known.clone(), present.to_owned(), to.to_owned());
        self.locked_job(&known.common_dir.clone(), move |inner, _lock| undo(inner, &known, &present, &to))
            .await
    }
}

/// What each path is to be; `None` for nothing.
pub(super) type Goal = BTreeMap<PathBuf, Option<Entry>>;

fn discard(
    inner: &Inner,
    known: &Known,
    seen: &Seen,
    (selection, dry_run): (&Selection, bool),
) -> Result<Discarded, WorktreeError> {
    let present = seen.present.as_str();
    let source = inner.at(known)?;
    check_at_rest(known)?;
    let objects = Objects::of(&source);
    let ground = ground::of(&objects, known, seen)?;
    let chosen = choose(files(&objects, &ground.tree, present)?, selection)?;
    let (mut discarded, mut goal) = (Discarded::default(), Goal::new());
    for change in &chosen {
        match give_up(&objects, change, &mut goal)? {
            Ok(()) => discarded.paths.push(change.file.change.path.clone()),
            Err(why) => discarded.conflicts.push((change.file.change.path.clone(), why)),
        }
    }
    let mut replacements = Vec::new();
    for (path, why) in replace_all(known, &objects, (present, &goal), &mut replacements)? {
        discarded.conflicts.push((shown(&path), why));
    }
    if !discarded.conflicts.is_empty() {
        discarded.paths.clear();
        return Ok(discarded);
    }
    if dry_run || chosen.is_empty() {
        return Ok(discarded);
    }
    check_unchanged(inner, &source, known, (present, &goal))?;
    let head = head_tree(&objects)?;
    discarded.rescue_ref = Some(rescue(inner, &source, known, present)?);
    let ticket = swap(&inner.records(), &known.path, &replacements, Intent::within(known))?;
    let whole = chosen.iter().filter(|change| change.hunks.is_none());
    let paths = whole.flat_map(|change| {
        [Some(change.file.delta.path().clone()), change.file.delta.old_path().cloned()].into_iter().flatten()
    });
    let unstaged = unstage(inner, &source, (&goal, head.as_deref()), &paths.collect::<Vec<_>>());
    discarded.notices.extend(index_as_it_was(unstaged));
    ticket.settle();
    Ok(discarded)
}

/// What the files of a change are to be without it.
fn give_up(
    objects: &Objects<'_>,
    chosen: &Chosen,
    goal: &mut Goal,
) -> Result<Result<(), String>, WorktreeError> {
    let delta = &chosen.file.delta;
    if let Some(hunks) = &chosen.hunks {
        if matches!(chosen.file.change.kind, ChangeKind::Renamed | ChangeKind::Type) {
            return Ok(Err("it has another name or kind now, and goes only as a whole".to_owned()));
        }
        let others: Vec<_> = (0..chosen.file.hunks.len()).filter(|n| !hunks.contains(n)).collect();
        let kept: Vec<_> = others.iter().map(|n| &chosen.file.hunks[*n]).collect();
        let before = chosen.file.text.as_ref().map_or(&[][..], |(before, _)| before);
        let object = objects.write_blob(&with_hunks(before, &kept))?;
        let side = delta.new.as_ref().or(delta.old.as_ref());
        if let Some((path, entry)) = side {
            goal.insert(path.clone(), Some(Entry { mode: entry.mode, object }));
        }
        return Ok(Ok(()));
    }
    for (path, _) in delta.new.iter() {
        goal.insert(path.clone(), None);
    }
    for (path, entry) in delta.old.iter() {
        goal.insert(path.clone(), Some(entry.clone()));
    }
    Ok(Ok(()))
}

fn undo(inner: &Inner, known: &Known, present: &str, to: &str) -> Result<Undone, WorktreeError> {
    let source = inner.at(known)?;
    check_at_rest(known)?;
    let objects = Objects::of(&source);
    let goal = way_back(&objects, present, to)?;
    let mut replacements = Vec::new();
    let conflicts = replace_all(known, &objects, (present, &goal), &mut replacements)?;
    refuse(&conflicts, "they cannot be put back")?;
    check_unchanged(inner, &source, known, (present, &goal))?;
    let head = head_tree(&objects)?;
    let rescue_ref = rescue(inner, &source, known, present)?;
    let ticket = swap(&inner.records(), &known.path, &replacements, Intent::within(known))?;
    let restored = goal.keys().map(|path| shown(path)).collect();
    let paths: Vec<_> = goal.keys().cloned().collect();
    let notices = index_as_it_was(unstage(inner, &source, (&goal, head.as_deref()), &paths));
    ticket.settle();
    Ok(Undone { restored, rescue_ref, notices: notices.into_iter().collect() })
}

/// Refuses in the middle of an operation of git, whose index and files belong together.
pub(super) fn check_at_rest(known: &Known) -> Result<(), WorktreeError> {
    let Some(what) = operation::in_progress(&known.admin()) else { return Ok(()) };
    let message = format!("{what} is under way in `{}`", known.path.display());
    Err(WorktreeError::new(WorktreeErrorKind::InTheWay, message).hint("finish it, or let git abort it"))
}

/// Refuses if a path of the goal is not as it is in `present` any more: the rescue would have something
/// older. What changes after this is told by the stamps, which were taken before.
pub(super) fn check_unchanged(
    inner: &Inner,
    source: &Source<'_>,
    known: &Known,
    (seen, goal): (&str, &Goal),
) -> Result<(), WorktreeError> {
    let objects = Objects::of(source);
    retry_busy(inner.options.lock_file_wait, || check_unlocked(&known.admin(), &known.path))?;
    let now = present(inner, known)?;
    if now == seen {
        return Ok(());
    }
    for path in goal.keys() {
        if objects.entry(&now, path)? != objects.entry(seen, path)? {
            let message = format!("`{}` was changed just now", path.display());
            let error = WorktreeError::new(WorktreeErrorKind::InTheWay, message);
            return Err(error.hint("try again in a moment"));
        }
    }
    Ok(())
}

/// The tree of HEAD; `None` before the first commit of a branch.
fn head_tree(objects: &Objects<'_>) -> Result<Option<String>, WorktreeError> {
    objects.head().ok().map(|head| objects.tree_of(&head)).transpose()
}

/// What is said where the files are done, and the index could not follow.
pub(super) fn index_as_it_was(updated: Result<(), WorktreeError>) -> Option<String> {
    updated.err().map(|error| format!("the files are done, and the index is as it was: {error}"))
}

/// What leads from one tree to another.
pub(super) fn way_back(objects: &Objects<'_>, from: &str, to: &str) -> Result<Goal, WorktreeError> {
    let mut goal = Goal::new();
    for delta in objects.deltas(from, to)? {
        if let Some((path, _)) = delta.old {
            goal.entry(path).or_insert(None);
        }
        if let Some((path, entry)) = delta.new {
            goal.insert(path, Some(entry));
        }
    }
    Ok(goal)
}

/// An error that names what is in the way.
pub(super) fn refuse(conflicts: &[(PathBuf, String)], what: &str) -> Result<(), WorktreeError> {
    let Some((path, why)) = conflicts.first() else { return Ok(()) };
    let more = match conflicts.len() - 1 {
        0 => String::new(),
        n => format!(" (and {n} more)"),
    };
    let message = format!("{what}: `{}`: {why}{more}", path.display());
    Err(WorktreeError::new(WorktreeErrorKind::InTheWay, message))
}

/// Plans to make every path of the goal so, each of which must be as it is in `present`; gives what
/// stands against it.
pub(super) fn replace_all(
    known: &Known,
    objects: &Objects<'_>,
    (present, goal): (&str, &Goal),
    replacements: &mut Vec<Replace>,
) -> Result<Vec<(PathBuf, String)>, WorktreeError> {
    let mut conflicts = Vec::new();
    let brings_attributes = convert::brings_attributes(goal.keys().map(PathBuf::as_path));
    let attributes = brings_attributes.then(|| objects.tree_with(present, goal)).transpose()?;
    let converter = Converter::by_attributes_of(objects.source, attributes);
    for (path, entry) in goal {
        let now = objects.entry(present, path)?;
        if now == *entry {
            continue;
        }
        match replacement((known, &converter, goal), path, (now.as_ref(), entry.as_ref()))? {
            Ok(replace) => replacements.push(replace),
            Err(why) => conflicts.push((path.clone(), why)),
        }
    }
    Ok(conflicts)
}

fn replacement(
    (known, converter, all): (&Known, &Converter<'_>, &Goal),
    path: &Path,
    (now, goal): (Option<&Entry>, Option<&Entry>),
) -> Result<Result<Replace, String>, WorktreeError> {
    if [now, goal].into_iter().flatten().any(|entry| entry.mode == GITLINK) {
        return Ok(Err("it is a submodule; its own git puts it back".to_owned()));
    }
    let objects = Objects::of(converter.source());
    let (found, mut seen): (Found, Stamp) =
        look(&known.path, path).map_err(|error| WorktreeError::io("read", &known.path.join(path), &error))?;
    match &found {
        Found::Nothing => {}
        Found::Blocked(why) => return Ok(Err(why.clone())),
        // Everything in it goes, and it goes with that.
        Found::Folder
            if now.is_none() && holds_only(&known.path, path, &|path| all.get(path) == Some(&None)) =>
        {
            seen = None;
        }
        Found::Folder => return Ok(Err("a directory is there now".to_owned())),
        // Ignored by git, so in no tree: nothing would have it any more.
        _ if now.is_none() => {
            return Ok(Err("a file that git ignores is there; move it away first".to_owned()));
        }
        _ => {}
    }
    for entry in [now, goal].into_iter().flatten() {
        if objects.blob_size(&entry.object)? <= large::POINTER_BYTES_MAX
            && large::size_of(&objects.blob(&entry.object)?).is_some()
        {
            return Ok(Err("it is too large to be kept; remove or restore it by hand".to_owned()));
        }
    }
    let Some(goal) = goal else {
        return Ok(Ok(Replace { path: path.to_owned(), wanted: Wanted::Nothing, seen }));
    };
    let bytes = objects.blob(&goal.object)?;
    if goal.mode == LINK {
        return Ok(Ok(Replace { path: path.to_owned(), wanted: Wanted::Link(bytes), seen }));
    }
    let before = match &found {
        Found::File { bytes, .. } => Some(&bytes[..]),
        _ => None,
    };
    Ok(converter.written(path, (&goal.object, bytes), before)?.map_err(|why| why.to_string()).map(|bytes| {
        let wanted = Wanted::File { bytes, executable: goal.mode == EXECUTABLE };
        Replace { path: path.to_owned(), wanted, seen }
    }))
}

/// Puts a tree on a rescue ref of the worktree. What is staged is a second parent, as in a stash.
fn rescue(inner: &Inner, source: &Source<'_>, known: &Known, tree: &str) -> Result<String, WorktreeError> {
    let objects = Objects::of(source);
    let reference = next_ref(&objects, &known.rescue_refs())?;
    objects.keep(&reference, Hold::Pack, || {
        // Written anew, in case that another git removed it.
        present(inner, known)?;
        let staged = retry_busy(inner.options.lock_file_wait, || index::write_tree(source))?;
        let head: Vec<String> = objects.head().ok().into_iter().collect();
        let index = objects.commit(&staged, &head, &format!("hob: the index of {}", known.id))?;
        let message = format!("hob: the files of {} before something was given up", known.id);
        objects.commit(tree, &[head, vec![index]].concat(), &message)
    })?;
    Ok(reference)
}

/// The next free number below a name.
pub(super) fn next_ref(objects: &Objects<'_>, name: &str) -> Result<String, WorktreeError> {
    let prefix = format!("{name}/");
    let numbers = objects.refs(&prefix)?;
    let last = numbers.iter().filter_map(|(name, _)| name.strip_prefix(&prefix)?.parse::<u64>().ok()).max();
    Ok(format!("{prefix}{}", last.unwrap_or(0) + 1))
}

/// Takes what was given up out of the index as well, where the file is as HEAD has it now.
fn unstage(
    inner: &Inner,
    source: &Source<'_>,
    (goal, head): (&Goal, Option<&str>),
    paths: &[PathBuf],
) -> Result<(), WorktreeError> {
    let objects = Objects::of(source);
    let mut entries = BTreeMap::new();
    for path in paths {
        let at_head = head.map(|head| objects.entry(head, path)).transpose()?.flatten();
        if goal.get(path).is_some_and(|goal| *goal == at_head) {
            entries.insert(path.clone(), at_head);
        }
    }
    index::update(inner, source, &entries)
}

/// The tree of the worktree at this moment, for what compares with it.
pub(super) fn present(inner: &Inner, known: &Known) -> Result<String, WorktreeError> {
    again(TRIES_MAX, || snapshot::take(inner, known)).map(|snapshot| snapshot.tree)
}
