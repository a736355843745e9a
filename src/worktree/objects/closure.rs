//! Whether everything that a commit of ours leads to is there, and which of it no ref of the person's
//! leads to. Reads only, with a handle of its own: what was read before is found in memory, also when it
//! was removed from the disk.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use git2::{Odb, Oid, Repository, Revwalk};

use crate::worktree::error::WorktreeError;
use crate::worktree::preflight::{NOT_REACHING, is_partial};
use crate::worktree::source::{Draft, Source};

/// What a commit leads to.
#[derive(Debug, Default)]
pub(in crate::worktree) struct Closure {
    /// The objects that no ref of the person's leads to, and some that one may.
    pub(in crate::worktree) own: BTreeSet<String>,
    /// What is not there, in words.
    pub(in crate::worktree) missing: Vec<String>,
}

/// Everything that commits lead to. What the refs of the person reach is theirs, and is not looked at,
/// nor what a tree has that is kept otherwise. With a draft, what is in that counts as there.
pub(in crate::worktree) fn closure(
    source: &Source<'_>,
    commits: &[&str],
    like: Option<&str>,
    draft: Option<&Draft>,
) -> Result<Closure, WorktreeError> {
    let mut closure = match &source.repo {
        Some(_) => by_libgit2(&source.common_dir, commits, (like, draft))
            .map_err(|error| WorktreeError::git("look through commits", &source.common_dir, &error))?,
        None => by_program(source, commits, draft)?,
    };
    if is_partial(source) {
        // What was never fetched is not lost.
        closure.missing.clear();
    }
    Ok(closure)
}

/// Whether everything is there that a commit leads to.
pub(in crate::worktree) fn is_whole(source: &Source<'_>, commit: &str) -> Result<bool, WorktreeError> {
    are_whole(source, &[commit])
}

/// Whether everything is there that some commits lead to.
pub(in crate::worktree) fn are_whole(source: &Source<'_>, commits: &[&str]) -> Result<bool, WorktreeError> {
    Ok(commits.is_empty() || closure(source, commits, None, None)?.missing.is_empty())
}

// ---------------------------------------------------------------------------------------------
// libgit2

struct Walk<'a> {
    repo: &'a Repository,
    odb: Odb<'a>,
    seen: HashSet<Oid>,
    closure: Closure,
}

fn by_libgit2(
    common_dir: &Path,
    commits: &[&str],
    (like, draft): (Option<&str>, Option<&Draft>),
) -> Result<Closure, git2::Error> {
    // In the worktree libgit2 does not see where a shallow clone ends.
    let repo = Repository::open(common_dir)?;
    if let Some(draft) = draft {
        draft.show(&repo)?;
    }
    let mut walk = Walk { repo: &repo, odb: repo.odb()?, seen: HashSet::new(), closure: Closure::default() };
    let like = like.map(Oid::from_str).transpose()?;
    let mut with_parents = Vec::new();
    for commit in commits {
        let id = Oid::from_str(commit)?;
        match repo.find_commit(id) {
            Ok(commit) if commit.parent_count() == 0 => walk.commit(id, like),
            Ok(_) => with_parents.push(id),
            Err(_) => walk.closure.missing.push(format!("the commit {id}")),
        }
    }
    match reached(&repo, &with_parents) {
        Ok(commits) => commits.into_iter().for_each(|id| walk.commit(id, like)),
        Err(error) => walk.closure.missing.push(format!("a commit ({})", error.message())),
    }
    Ok(walk.closure)
}

/// Leaves out of a walk what a ref reaches that is not hob's own.
pub(in crate::worktree) fn hide_reached(
    repo: &Repository,
    walk: &mut Revwalk<'_>,
) -> Result<(), git2::Error> {
    for reference in repo.references()? {
        let reference = reference?;
        let name = String::from_utf8_lossy(reference.name_bytes()).into_owned();
        if NOT_REACHING.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        if let Ok(commit) = reference.peel_to_commit() {
            walk.hide(commit.id())?;
        }
    }
    Ok(())
}

/// The commits that no ref of the person's reaches.
fn reached(repo: &Repository, ids: &[Oid]) -> Result<Vec<Oid>, git2::Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut walk = repo.revwalk()?;
    for id in ids {
        walk.push(*id)?;
    }
    hide_reached(repo, &mut walk)?;
    walk.collect()
}

impl Walk<'_> {
    fn commit(&mut self, id: Oid, like: Option<Oid>) {
        let Ok(commit) = self.repo.find_commit(id) else {
            return self.closure.missing.push(format!("the commit {id}"));
        };
        self.closure.own.insert(id.to_string());
        // The parent is looked through itself, or is the person's.
        let base = commit.parent(0).ok().map(|parent| parent.tree_id()).or(like);
        self.tree(commit.tree_id(), base);
    }

    /// What a tree leads to and another does not.
    fn tree(&mut self, id: Oid, base: Option<Oid>) {
        let mut trees = vec![(id, base)];
        while let Some((id, base)) = trees.pop() {
            if Some(id) == base || !self.seen.insert(id) {
                continue;
            }
            let Ok(tree) = self.repo.find_tree(id) else {
                self.closure.missing.push(format!("the tree {id}"));
                continue;
            };
            self.closure.own.insert(id.to_string());
            let base = base.and_then(|base| self.repo.find_tree(base).ok());
            for entry in &tree {
                let there = base.as_ref().and_then(|base| base.get_name_bytes(entry.name_bytes()));
                let there = there.map(|there| there.id());
                match entry.kind() {
                    Some(git2::ObjectType::Tree) => trees.push((entry.id(), there)),
                    Some(git2::ObjectType::Blob) if there != Some(entry.id()) => {
                        self.blob(entry.id(), entry.name_bytes());
                    }
                    // The commit of a submodule is in another repository.
                    _ => {}
                }
            }
        }
    }

    fn blob(&mut self, id: Oid, name: &[u8]) {
        if !self.seen.insert(id) {
            return;
        }
        if self.odb.exists(id) {
            self.closure.own.insert(id.to_string());
        } else {
            let name = String::from_utf8_lossy(name);
            self.closure.missing.push(format!("the content {id} of `{name}`"));
        }
    }
}

// ---------------------------------------------------------------------------------------------
// The program

fn by_program(
    source: &Source<'_>,
    commits: &[&str],
    draft: Option<&Draft>,
) -> Result<Closure, WorktreeError> {
    let mut args = vec!["rev-list", "--objects", "--no-object-names", "--missing=print", "--stdin", "--not"];
    let excluded = NOT_REACHING.map(|prefix| format!("--exclude={prefix}*"));
    args.extend(excluded.iter().map(String::as_str));
    args.push("--glob=refs/*");
    // Asked of the repository: in the worktree, its own refs would be among those that stay.
    let mut call = source.call_in(&source.common_dir, &args);
    if draft.is_none() {
        call.env.clear();
    }
    // Read before what follows, so that the sign of the others is not theirs.
    call.stdin = commits.iter().flat_map(|commit| format!("{commit}\n").into_bytes()).collect();
    let mut closure = Closure::default();
    let Some(out) = source.program()?.probe(&call)? else {
        closure.missing.push(format!("something that {} leads to", commits.join(" or ")));
        return Ok(closure);
    };
    for line in String::from_utf8_lossy(&out).lines() {
        match line.strip_prefix('?') {
            Some(id) => closure.missing.push(format!("the object {id}")),
            None => {
                closure.own.insert(line.to_owned());
            }
        }
    }
    Ok(closure)
}
