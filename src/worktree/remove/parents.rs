//! The commits that only a worktree knows: those of its reflog and its own refs that nothing else
//! reaches. They become parents of its salvage, so that git keeps them.

use std::collections::BTreeSet;

use git2::{Oid, Repository};

use crate::worktree::Inner;
use crate::worktree::error::WorktreeError;
use crate::worktree::known::Known;
use crate::worktree::objects::{hide_reached, is_whole};
use crate::worktree::preflight::{NOT_REACHING, commits_of};
use crate::worktree::source::Source;

/// The fewest commits that reach all that only the worktree knows.
pub(super) fn only_here(
    inner: &Inner,
    known: &Known,
    here: &Source<'_>,
) -> Result<Vec<String>, WorktreeError> {
    let names = commits_of(inner, known, here)?;
    // Opened in a worktree, libgit2 does not see where a shallow clone ends.
    let common = inner.repository(known)?;
    match &common.repo {
        Some(repo) => by_libgit2(repo, &names)
            .or_else(|error| match error.code() {
                // Of those that lost something the walk tells nothing.
                git2::ErrorCode::NotFound => by_libgit2(repo, &whole(&common, &names)),
                _ => Err(error),
            })
            .map_err(|error| WorktreeError::git("look for commits of the worktree", &known.path, &error)),
        None => by_program(&common, &names),
    }
}

/// Those of some commits of which everything is there. What is not cannot be kept.
fn whole(common: &Source<'_>, names: &BTreeSet<String>) -> BTreeSet<String> {
    names.iter().filter(|name| is_whole(common, name).unwrap_or(false)).cloned().collect()
}

fn by_libgit2(repo: &Repository, names: &BTreeSet<String>) -> Result<Vec<String>, git2::Error> {
    let mut walk = repo.revwalk()?;
    let mut candidates: BTreeSet<Oid> = BTreeSet::new();
    for name in names {
        // What is not there any more cannot be kept.
        let commit = Oid::from_str(name).and_then(|id| repo.find_object(id, None)?.peel_to_commit());
        if let Ok(commit) = commit {
            candidates.insert(commit.id());
            walk.push(commit.id())?;
        }
    }
    if candidates.is_empty() {
        return Ok(Vec::new());
    }
    hide_reached(repo, &mut walk)?;
    let only_here = walk.filter(|id| id.as_ref().map_or(true, |id| candidates.contains(id)));
    let only_here = only_here.collect::<Result<Vec<Oid>, _>>()?;
    // One too many does no harm, so what cannot be told is taken for one that nothing else reaches.
    let reaches = |tip: &Oid, id: &Oid| repo.graph_descendant_of(*tip, *id).unwrap_or(false);
    let tips = only_here.iter().filter(|id| !only_here.iter().any(|tip| tip != *id && reaches(tip, id)));
    Ok(tips.map(Oid::to_string).collect())
}

/// Asked of the repository: in the worktree, its own refs would be among those that stay.
fn by_program(common: &Source<'_>, names: &BTreeSet<String>) -> Result<Vec<String>, WorktreeError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let git = common.program()?;
    let mut args = vec!["rev-list".to_owned(), "--ignore-missing".to_owned(), "--topo-order".to_owned()];
    args.push("--stdin".to_owned());
    args.push("--not".to_owned());
    args.extend(NOT_REACHING.iter().map(|prefix| format!("--exclude={prefix}*")));
    args.push("--glob=refs/*".to_owned());
    let mut call = common.call(&args);
    // Read before what follows, so that the sign of the others is not theirs.
    call.stdin = names.iter().map(|name| format!("{name}\n")).collect::<String>().into_bytes();
    let out = git.run(&call)?;
    let found = String::from_utf8_lossy(&out).into_owned();
    let candidates: Vec<&str> = found.lines().filter(|id| names.contains(*id)).collect();
    if candidates.len() < 2 {
        return Ok(candidates.into_iter().map(str::to_owned).collect());
    }
    let mut args = vec!["merge-base", "--independent"];
    args.extend(candidates);
    let out = git.run(&common.call(&args))?;
    Ok(String::from_utf8_lossy(&out).lines().map(str::to_owned).collect())
}
