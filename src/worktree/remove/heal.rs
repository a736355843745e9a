//! Refs of ours that lead to something that is not there, as another git may leave them that pruned when
//! nothing held it: the person's own `git gc` fails by each. What is left of what one kept is kept, and
//! else the ref goes.

use std::path::{Path, PathBuf};

use super::TRASH_DIR;
use super::manifest::Manifest;
use crate::worktree::error::WorktreeError;
use crate::worktree::objects::{GITLINK, Hold, Objects, are_whole, clear_up, is_whole, shown};
use crate::worktree::{Inner, Worktrees};

/// Where all our refs are.
const OURS: &str = "refs/hob/";
/// Where those are that may have the only copy of something.
const KEEPING: [&str; 3] = ["refs/hob/salvage/", "refs/hob/stash/", "refs/hob/rescue/"];
/// Parents of a commit of ours that are looked at, at most.
const PARENTS_MAX: usize = 1_000;

impl Worktrees {
    /// Heals our refs in a repository, and takes away what a daemon that was killed left in its objects.
    /// Says what was lost.
    ///
    /// # Errors
    /// What git or the disk says.
    pub async fn heal(&self, common_dir: PathBuf) -> Result<Vec<String>, WorktreeError> {
        self.locked_job(&common_dir.clone(), move |inner, _lock| heal(inner, &common_dir)).await
    }
}

fn heal(inner: &Inner, common_dir: &Path) -> Result<Vec<String>, WorktreeError> {
    clear_up(common_dir);
    let source = inner.source(common_dir, common_dir)?;
    let objects = Objects::of(&source);
    let refs = objects.refs(OURS)?;
    let commits: Vec<&str> = refs.iter().map(|(_, commit)| commit.as_str()).collect();
    if are_whole(&source, &commits)? {
        return Ok(Vec::new());
    }
    let mut lost = Vec::new();
    for (name, commit) in &refs {
        if !is_whole(&source, commit)? {
            lost.push(heal_one(inner, &objects, name, commit)?);
        }
    }
    Ok(lost)
}

fn heal_one(inner: &Inner, objects: &Objects<'_>, name: &str, commit: &str) -> Result<String, WorktreeError> {
    let at = objects.source.common_dir.display();
    let worktree = name.split('/').nth(3).unwrap_or_default();
    let is_salvage = name.starts_with(KEEPING[0]);
    if is_salvage && inner.root.join(TRASH_DIR).join(worktree).exists() {
        // Only with the ref it would be emptied, and it has everything.
        objects.source.delete_ref(name, commit)?;
        return Ok(format!(
            "objects of `{name}` are gone from `{at}`, so the ref was taken away; the worktree itself is in the \
             trash, and `hob worktree restore {worktree}` brings it back"
        ));
    }
    let left =
        if KEEPING.iter().any(|prefix| name.starts_with(prefix)) { left(objects, commit)? } else { None };
    let Some(left) = left else {
        objects.source.delete_ref(name, commit)?;
        return Ok(format!("objects of `{name}` are gone from `{at}`, so the ref was taken away"));
    };
    objects.keep(name, Hold::Pack, || objects.commit(&left.tree, &left.parents, &left.message))?;
    Ok(format!("objects of `{name}` are gone from `{at}`: it has no more {}", left.lost.join(", ")))
}

/// What is left of a commit of ours.
struct Left {
    tree: String,
    parents: Vec<String>,
    message: String,
    lost: Vec<String>,
}

/// What is left; `None` if nothing can be read.
fn left(objects: &Objects<'_>, commit: &str) -> Result<Option<Left>, WorktreeError> {
    let (Ok(mut entries), Ok(message)) = (objects.entries(commit), objects.message(commit)) else {
        return Ok(None);
    };
    let ids = entries.values().filter(|entry| entry.mode != GITLINK);
    let absent = objects.absent(&ids.map(|entry| entry.object.clone()).collect())?;
    let mut lost = Vec::new();
    entries.retain(|path, entry| {
        let is_there = !absent.contains(&entry.object);
        lost.extend((!is_there).then(|| format!("`{}`", shown(path))));
        is_there
    });
    let mut parents = Vec::new();
    for n in 1..=PARENTS_MAX {
        let Some(parent) = objects.source.commit(&format!("{commit}^{n}"))? else { break };
        if is_whole(objects.source, &parent)? {
            parents.push(parent);
        } else {
            lost.push(format!("the commit {parent}"));
        }
    }
    let message = match Manifest::read(&message) {
        Ok(mut manifest) => {
            manifest.index = manifest.index.filter(|index| parents.contains(index));
            manifest.modules = manifest.modules.filter(|modules| parents.contains(&modules.commit));
            manifest.left_out.extend(lost.iter().map(|what| format!("{what}: objects of it are gone")));
            manifest.message()?
        }
        Err(_) => format!("{message}\nGone: {}\n", lost.join(", ")),
    };
    Ok(Some(Left { tree: objects.tree(&entries)?, parents, message, lost }))
}
