//! Puts the uncommitted work of a worktree on a ref, staged and unstaged and untracked, and brings it
//! back as it was. A stash of ours, because `refs/stash` is shared by all worktrees of a repository.

use std::collections::BTreeMap;

use super::discard::{
    Goal, check_at_rest, check_unchanged, index_as_it_was, next_ref, present, refuse, replace_all, way_back,
};
use super::swap::{Intent, swap};
use super::{Stashed, Unstashed};
use crate::worktree::error::{WorktreeError, WorktreeErrorKind};
use crate::worktree::known::Known;
use crate::worktree::objects::{Hold, Objects, again, shown};
use crate::worktree::{Inner, Worktrees, index};

/// How often it is begun anew where another git removes what is written.
const TRIES: u32 = 5;

impl Worktrees {
    /// Puts the uncommitted work of a worktree on a ref, and leaves its files as HEAD has them.
    ///
    /// # Errors
    /// `InTheWay` where there is nothing to put away, an operation of git is under way, or a file cannot
    /// be kept; what git or the disk says.
    pub async fn stash(&self, known: &Known, message: Option<&str>) -> Result<Stashed, WorktreeError> {
        let (known, message) = (known.clone(), message.map(str::to_owned));
        self.locked_job(&known.common_dir.clone(), move |inner, _lock| {
            // What it reads is written by itself before, and a prune may take that.
            again(TRIES, || stash(inner, &known, message.as_deref()))
        })
        .await
    }

    /// Brings back what was put on a ref, the newest where none is named, and lets go of the ref. Says
    /// which files.
    ///
    /// # Errors
    /// `InTheWay` where there is no such stash, or a file was changed since; then nothing is.
    pub async fn unstash(&self, known: &Known, stash_ref: Option<&str>) -> Result<Unstashed, WorktreeError> {
        let (known, stash_ref) = (known.clone(), stash_ref.map(str::to_owned));
        self.locked_job(&known.common_dir.clone(), move |inner, _lock| {
            unstash(inner, &known, stash_ref.as_deref())
        })
        .await
    }
}

fn in_the_way(message: impl Into<String>) -> WorktreeError {
    WorktreeError::new(WorktreeErrorKind::InTheWay, message)
}

fn place(known: &Known) -> String {
    format!("refs/hob/stash/{}", known.id)
}

fn stash(inner: &Inner, known: &Known, message: Option<&str>) -> Result<Stashed, WorktreeError> {
    let source = inner.at(known)?;
    let objects = Objects::of(&source);
    check_at_rest(known)?;
    let head = objects.head()?;
    let head_tree = objects.tree_of(&head)?;
    let work = present(inner, known)?;
    let staged = index::write_tree(&source)?;
    if work == head_tree && staged == head_tree {
        return Err(in_the_way(format!("nothing is uncommitted in `{}`", known.path.display())));
    }
    let goal = way_back(&objects, &work, &head_tree)?;
    let mut replacements = Vec::new();
    let conflicts = replace_all(known, &objects, (&work, &goal), &mut replacements)?;
    refuse(&conflicts, "the work cannot be put away")?;
    let stash_ref = next_ref(&objects, &place(known))?;
    let title = message.unwrap_or("work in progress");
    objects.keep(&stash_ref, Hold::Pack, || {
        // It writes what is there anew, in case that another git removed it.
        check_unchanged(inner, &source, known, (&work, &goal))?;
        let staged = index::write_tree(&source)?;
        let parents = std::slice::from_ref(&head);
        let index = objects.commit(&staged, parents, &format!("index on {}: {title}", known.branch))?;
        let parents = [head.clone(), index];
        objects.commit(&work, &parents, &format!("on {}: {title}", known.branch))
    })?;
    let ticket = swap(&inner.records(), &known.path, &replacements, Intent::within(known))?;
    let notices = index_as_it_was(index::read_tree(inner, &source, &head_tree)).into_iter().collect();
    ticket.settle();
    Ok(Stashed { stash_ref, files: goal.keys().map(|path| shown(path)).collect(), notices })
}

fn unstash(inner: &Inner, known: &Known, stash_ref: Option<&str>) -> Result<Unstashed, WorktreeError> {
    let source = inner.at(known)?;
    let objects = Objects::of(&source);
    let (name, commit) = find(&objects, known, stash_ref)?;
    let parent = |n: usize| {
        let found = source.commit(&format!("{commit}^{n}"))?;
        found.ok_or_else(|| in_the_way(format!("`{name}` is no stash of hob's")))
    };
    let (base, staged) = (objects.tree_of(&parent(1)?)?, objects.tree_of(&parent(2)?)?);
    let work = objects.tree_of(&commit)?;
    let now = present(inner, known)?;
    let goal = way_back(&objects, &base, &work)?;
    let mut changed = Vec::new();
    for path in goal.keys() {
        if objects.entry(&now, path)? != objects.entry(&base, path)? {
            changed.push((path.clone(), "it was changed since it was put away".to_owned()));
        }
    }
    refuse(&changed, "nothing was brought back")?;
    let mut replacements = Vec::new();
    refuse(&replace_all(known, &objects, (&now, &goal), &mut replacements)?, "nothing was brought back")?;
    check_unchanged(inner, &source, known, (&now, &goal))?;
    let entries: Goal = way_back(&objects, &base, &staged)?;
    let ticket = swap(&inner.records(), &known.path, &replacements, Intent::within(known))?;
    let files = goal.keys().map(|path| shown(path)).collect();
    let staged = index::update(inner, &source, &entries.into_iter().collect::<BTreeMap<_, _>>());
    let mut notices: Vec<_> = index_as_it_was(staged).into_iter().collect();
    ticket.settle();
    match notices.first_mut() {
        // What was staged is there only.
        Some(notice) => notice.push_str(&format!("; `{name}` is kept")),
        None => source.delete_ref(&name, &commit)?,
    }
    Ok(Unstashed { files, notices })
}

/// The stash that is meant.
fn find(
    objects: &Objects<'_>,
    known: &Known,
    stash_ref: Option<&str>,
) -> Result<(String, String), WorktreeError> {
    let prefix = format!("{}/", place(known));
    let all = objects.refs(&prefix)?;
    let number = |name: &str| name.strip_prefix(&prefix).and_then(|n| n.parse::<u64>().ok());
    let found = match stash_ref {
        Some(wanted) => {
            all.into_iter().find(|(name, _)| name == wanted || name.strip_prefix(&prefix) == Some(wanted))
        }
        None => all.into_iter().max_by_key(|(name, _)| number(name)),
    };
    found.ok_or_else(|| match stash_ref {
        Some(wanted) => in_the_way(format!("`{wanted}` is no stash of this worktree")),
        None => in_the_way("nothing was put away in this worktree"),
    })
}
