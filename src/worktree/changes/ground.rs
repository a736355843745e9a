//! What pending changes are compared with, path by path, and whose the removals are. Reads objects, and
//! writes a tree where it is another than the baseline.
//!
//! What counts as the person's own may have been put away in the worktree since: stashed, or brought back
//! to what was committed. Such a path is compared with what it was put away to, so that what the person
//! has in the checkout is not told as something that was taken away.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::baseline;
use crate::worktree::Worktrees;
use crate::worktree::error::WorktreeError;
use crate::worktree::known::{Known, Segment};
use crate::worktree::objects::{Move, Moves, Objects, Version};

/// Stashes of git's own that are looked at, newest first.
const GIT_STASHES_MAX: usize = 20;

/// What was seen of a worktree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// The tree of its files as they are now, in hex.
    pub present: String,
    /// Everything that was seen to change in it, oldest first.
    pub history: Vec<Segment>,
}

/// What pending changes are compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ground {
    /// The tree, in hex.
    pub(super) tree: String,
    /// Paths that a turn took away, with its agents.
    removals: BTreeMap<PathBuf, Vec<String>>,
}

impl Ground {
    /// The agents whose turn took a path away; `None` where it was no turn, or cannot be told.
    pub(super) fn removed_by(&self, path: &Path) -> Option<&[String]> {
        self.removals.get(path).map(Vec::as_slice)
    }
}

impl Worktrees {
    /// The tree that what was seen is to be compared with.
    ///
    /// # Errors
    /// What git says.
    pub async fn ground(&self, known: &Known, seen: &Seen) -> Result<String, WorktreeError> {
        let (known, seen) = (known.clone(), seen.clone());
        self.job(&self.inner.looks, move |inner| {
            let source = inner.repository(&known)?;
            Ok(of(&Objects::of(&source), &known, &seen)?.tree)
        })
        .await
    }
}

/// Finds it.
pub(super) fn of(objects: &Objects<'_>, known: &Known, seen: &Seen) -> Result<Ground, WorktreeError> {
    let base = baseline(objects, known)?;
    let differing = objects.moves(&base, &seen.present)?;
    let mut ground = Ground { tree: base.clone(), removals: BTreeMap::new() };
    if differing.is_empty() {
        return Ok(ground);
    }
    let steps = steps(objects, &seen.history)?;
    let origin = seen.history.first().map_or(&base, |first| &first.from);
    // Where the commit is gone, nothing can be told to have come back to it.
    let committed = objects.tree_of(&known.base_commit).unwrap_or_else(|_| origin.clone());
    let carried = objects.moves(&committed, origin)?;
    let stashes = stashes(objects, known)?;
    let mut put_back = BTreeMap::new();
    for (path, step) in &differing {
        let first = steps.iter().find_map(|(_, moves)| moves.get(path)).map(|step| step.from.clone());
        let life = Life {
            path,
            committed: carried.get(path).map(|step| step.from.clone()),
            first: first.unwrap_or_else(|| step.from.clone()),
            own: step.from.clone(),
        };
        let told = life.follow(objects, &steps, &stashes)?;
        if let Some(other) = told.stands_on.filter(|other| *other != step.from) {
            put_back.insert(path.clone(), other);
        }
        if let Some(agents) = told.removed_by {
            ground.removals.insert(path.clone(), agents);
        }
    }
    if !put_back.is_empty() {
        ground.tree = objects.tree_with(&base, &put_back)?;
    }
    Ok(ground)
}

/// Each segment with what it changed.
fn steps<'s>(
    objects: &Objects<'_>,
    history: &'s [Segment],
) -> Result<Vec<(&'s Segment, Moves)>, WorktreeError> {
    let step = |segment: &'s Segment| Ok((segment, objects.moves(&segment.from, &segment.to)?));
    history.iter().map(step).collect()
}

/// Work that was put away and is kept: the trees that have it, and the tree that was left.
#[derive(Debug)]
struct Stash {
    kept: Vec<String>,
    left: String,
}

impl Stash {
    /// Whether this is the work of a path, and what was left of it.
    fn has(&self, objects: &Objects<'_>, path: &Path, step: &Move) -> Result<bool, WorktreeError> {
        if objects.entry(&self.left, path)? != step.to {
            return Ok(false);
        }
        for tree in &self.kept {
            if objects.entry(tree, path)? == step.from {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// What was put away in a worktree, by hob or by git, and did not come back.
fn stashes(objects: &Objects<'_>, known: &Known) -> Result<Vec<Stash>, WorktreeError> {
    let own = objects.refs(&format!("refs/hob/stash/{}/", known.id))?;
    let mut commits: Vec<String> = own.into_iter().map(|(_, commit)| commit).collect();
    for n in 0..GIT_STASHES_MAX {
        let Some(commit) = objects.source.commit(&format!("refs/stash@{{{n}}}"))? else { break };
        commits.push(commit);
    }
    let mut found = Vec::new();
    for commit in commits {
        let Some(base) = objects.source.commit(&format!("{commit}^1"))? else { continue };
        let mut kept = vec![objects.tree_of(&commit)?];
        // Git keeps what it does not track in a commit of its own.
        if let Some(untracked) = objects.source.commit(&format!("{commit}^3"))? {
            kept.push(objects.tree_of(&untracked)?);
        }
        found.push(Stash { kept, left: objects.tree_of(&base)? });
    }
    Ok(found)
}

/// The versions of a path that were seen.
struct Life<'a> {
    path: &'a Path,
    /// What was committed there, if the worktree was made with something else.
    committed: Option<Version>,
    /// What the worktree was made with.
    first: Version,
    /// What counts as the person's own.
    own: Version,
}

/// What the versions of a path tell.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    /// What it is to be compared with, where what is the person's own was put away.
    stands_on: Option<Version>,
    /// The agents whose turn took it away last.
    removed_by: Option<Vec<String>>,
}

impl Life<'_> {
    fn follow(
        &self,
        objects: &Objects<'_>,
        steps: &[(&Segment, Moves)],
        stashes: &[Stash],
    ) -> Result<Told, WorktreeError> {
        let (mut told, mut with, mut without) = (Told::default(), vec![self.first.clone()], Vec::new());
        let mut home = None;
        for (segment, moves) in steps {
            let Some(step) = moves.get(self.path) else { continue };
            if step.to.is_none() {
                told.removed_by = agents_of(segment);
            }
            match &home {
                None if self.is_put_away(objects, (segment, step), stashes)? => {
                    home = Some(self.home(step, &with));
                    without = vec![step.to.clone()];
                }
                None => with.push(step.to.clone()),
                Some(_) if with.contains(&step.to) => home = None,
                Some(_) => without.push(step.to.clone()),
            }
        }
        // What was applied since is the person's own, too.
        told.stands_on = home.map(|home| if without.contains(&self.own) { self.own.clone() } else { home });
        Ok(told)
    }

    /// Whether a step put away what is the person's own: it came back to what was committed, or a stash
    /// has what was there. What an agent removes is a removal, unless it can be found in a stash.
    fn is_put_away(
        &self,
        objects: &Objects<'_>,
        (segment, step): (&Segment, &Move),
        stashes: &[Stash],
    ) -> Result<bool, WorktreeError> {
        let is_persons = segment.writers.is_empty();
        let is_as_committed = self.committed.as_ref() == Some(&step.to);
        if is_as_committed && (is_persons || step.to.is_some()) {
            return Ok(true);
        }
        for stash in stashes {
            if stash.has(objects, self.path, step)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What a path is compared with once it was put away.
    fn home(&self, step: &Move, with: &[Version]) -> Version {
        match &self.committed {
            // A commit that was made since may have a part of what was carried.
            Some(committed) if !with.contains(&step.to) => committed.clone(),
            _ => step.to.clone(),
        }
    }
}

/// The agents of a segment that certainly nobody else had a hand in.
fn agents_of(segment: &Segment) -> Option<Vec<String>> {
    if segment.writers.is_empty() || segment.doubt {
        return None;
    }
    let mut agents: Vec<String> = segment.writers.iter().map(|writer| writer.agent.clone()).collect();
    agents.sort();
    agents.dedup();
    Some(agents)
}
