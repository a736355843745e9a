//! Step 8: every commit that the worktree knows must be reached by a ref that stays, and its own work by
//! another branch or a remote. Judged from the repository, not from the worktree.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use git2::{Oid, Repository};
use hob_actors::worktree::ReasonKind;

use super::findings::Findings;
use super::{Job, Trouble, dropped, reach_program, unreadable};
use crate::regular;
use crate::worktree::error::{WorktreeError, WorktreeErrorKind};
use crate::worktree::source::Source;
use crate::worktree::{Inner, facts, known as worktree};

/// For reading what the files of a git directory name.
const NAMES_TIMEOUT: Duration = Duration::from_secs(30);
/// Refs of a worktree's own that name commits.
pub(super) const PSEUDO_REFS: [&str; 9] = [
    "HEAD",
    "ORIG_HEAD",
    "MERGE_HEAD",
    "CHERRY_PICK_HEAD",
    "REVERT_HEAD",
    "REBASE_HEAD",
    "BISECT_HEAD",
    "MERGE_AUTOSTASH",
    "FETCH_HEAD",
];
/// Files that name what an operation under way has put aside, to bring it back in the end.
const AUTOSTASHES: [&str; 2] = ["rebase-merge/autostash", "rebase-apply/autostash"];
/// What does not count as reaching: ours expire, and the stash is shared by all.
pub(in crate::worktree) const NOT_REACHING: [&str; 2] = ["refs/hob/", "refs/stash"];

/// What a worktree knows of commits.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// HEAD, and the branch that was made for it.
    pub(super) own: BTreeSet<String>,
    /// Everything else: reflog, pseudo refs, refs of its own.
    pub(super) others: BTreeSet<String>,
}

/// Looks; whether the commit of HEAD is on another branch or on a remote.
pub(super) fn look(job: &Job<'_>, found: &mut Findings) -> Result<bool, Trouble> {
    let here = job.inner.at(job.known)?;
    let mut known = Known { others: from_files(job)?, ..Known::default() };
    match here.commit("HEAD")? {
        Some(head) => {
            known.own.insert(head);
        }
        // A branch without a commit yet (`git switch --orphan`) reaches nothing. Its own branch had one.
        None if here.branch()?.is_some_and(|branch| branch != format!("refs/heads/{}", job.known.branch)) => {
        }
        None => found.note(ReasonKind::Missing, "HEAD points to nothing"),
    }
    let common = job.inner.repository(job.known)?;
    if let Some(branch) = common.commit_of_ref(&format!("refs/heads/{}", job.known.branch))? {
        known.own.insert(branch);
    }
    job.check_time()?;
    let (unreachable, unpushed) = match &common.repo {
        Some(repo) => by_libgit2(job, repo, &known)?,
        None => {
            known.others.extend(reach_program::own_refs(&here, &job.known.branch)?);
            reach_program::count(job, &common, &known)?
        }
    };
    let commits = |n: u64| if n == 1 { "1 commit".to_owned() } else { format!("{n} commits") };
    if unreachable > 0 {
        let text = format!("{} that no branch or tag reaches", commits(unreachable));
        found.note_many(ReasonKind::Unreachable, text, unreachable);
    }
    if unpushed > 0 {
        let text = format!("{} on `{}` and nowhere else", commits(unpushed), job.known.branch);
        found.note_many(ReasonKind::Unpushed, text, unpushed);
    }
    stashes(job, &common, found)?;
    Ok(unpushed == 0 && unreachable == 0)
}

/// The names of all commits that a worktree knows.
pub(in crate::worktree) fn commits_of(
    inner: &Inner,
    known: &worktree::Known,
    here: &Source<'_>,
) -> Result<BTreeSet<String>, WorktreeError> {
    let until = Instant::now() + NAMES_TIMEOUT;
    let job = Job { inner, known, disposable: &[], until };
    let failed = |trouble| match trouble {
        Trouble::Late => WorktreeError::new(WorktreeErrorKind::Io, "its commits could not be read in time"),
        Trouble::Unreadable(why) => WorktreeError::new(WorktreeErrorKind::Io, why),
        Trouble::Missing(why) => WorktreeError::new(WorktreeErrorKind::Missing, why),
    };
    let mut names = from_files(&job).map_err(failed)?;
    // Each is a reason of its own to keep the worktree.
    names.extend(stashed(&job, here).map_err(failed)?.into_iter().map(|stash| stash.commit));
    // These are none: whoever dropped them meant it, or had them back. They are kept with the rest.
    names.extend(dropped::stashes(&job, here).map_err(failed)?);
    names.extend(here.commit("HEAD")?);
    if here.repo.is_none() {
        names.extend(reach_program::own_refs(here, &known.branch).map_err(failed)?);
    }
    Ok(names)
}

/// Whether objects may be missing in a repository on purpose.
pub(in crate::worktree) fn is_partial(source: &Source<'_>) -> bool {
    let Some(repo) = &source.repo else {
        return regular::read_text(&source.common_dir.join("config"))
            .is_ok_and(|text| text.to_ascii_lowercase().contains("partialclone"));
    };
    let Ok(config) = repo.config().and_then(|mut config| config.snapshot()) else { return false };
    config.get_string("extensions.partialclone").is_ok() || facts::has_promisor(&config)
}

// ---------------------------------------------------------------------------------------------
// What the files of its git directory name

fn from_files(job: &Job<'_>) -> Result<BTreeSet<String>, Trouble> {
    let mut found = BTreeSet::new();
    let mut folders = Vec::new();
    for admin in [job.admin()].into_iter().chain(inside(job)?) {
        for name in PSEUDO_REFS.iter().chain(&AUTOSTASHES) {
            if let Some(text) = read(&admin.join(name))? {
                found.extend(text.lines().filter_map(id));
            }
        }
        folders.extend([admin.join("logs"), admin.join("refs")]);
    }
    // That of its branch is the repository's, and goes with the branch.
    let log = job.known.common_dir.join("logs/refs/heads").join(&job.known.branch);
    found.extend(read(&log)?.unwrap_or_default().lines().flat_map(ids));
    while let Some(folder) = folders.pop() {
        job.check_time()?;
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(unreadable(&folder, &error)),
        };
        for entry in entries {
            let path = entry.map_err(|error| unreadable(&folder, &error))?.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Some(text) = read(&path)? {
                found.extend(text.lines().flat_map(ids));
            }
        }
    }
    Ok(found)
}

/// The entries of linked worktrees that lie inside: without their directories git forgets them.
fn inside(job: &Job<'_>) -> Result<Vec<PathBuf>, Trouble> {
    let folder = job.known.common_dir.join("worktrees");
    let entries = fs::read_dir(&folder).map_err(|error| unreadable(&folder, &error))?;
    let mut found = Vec::new();
    for entry in entries {
        let admin = entry.map_err(|error| unreadable(&folder, &error))?.path();
        let Some(text) = read(&admin.join("gitdir"))? else { continue };
        let place = PathBuf::from(text.trim_end());
        let is_inside = place.starts_with(&job.known.path) && place != job.known.path.join(".git");
        found.extend(is_inside.then_some(admin));
    }
    Ok(found)
}

/// A file that need not be there.
fn read(path: &Path) -> Result<Option<String>, Trouble> {
    match regular::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(path, &error)),
    }
}

/// The object that a line of a ref begins with, unless it is none.
fn id(line: &str) -> Option<String> {
    let word = line.split([' ', '\t']).next()?;
    let is_id = matches!(word.len(), 40 | 64) && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_id && word.bytes().any(|byte| byte != b'0')).then(|| word.to_owned())
}

/// Both objects that a line of a reflog begins with.
fn ids(line: &str) -> impl Iterator<Item = String> {
    let mut words = line.splitn(3, ' ');
    [words.next(), words.next()].into_iter().flatten().filter_map(id)
}

// ---------------------------------------------------------------------------------------------
// libgit2

fn by_libgit2(job: &Job<'_>, repo: &Repository, known: &Known) -> Result<(u64, u64), Trouble> {
    let branch = format!("refs/heads/{}", job.known.branch);
    let (mut reaching, mut elsewhere) = (Vec::new(), Vec::new());
    for reference in repo.references()? {
        job.check_time()?;
        let reference = reference?;
        let name = String::from_utf8_lossy(reference.name_bytes()).into_owned();
        if NOT_REACHING.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        // A tag of a tree, or a symbolic ref to nothing, reaches no commit.
        let Ok(commit) = reference.peel_to_commit() else { continue };
        reaching.push(commit.id());
        if is_elsewhere(&name, &branch) {
            elsewhere.push(commit.id());
        }
    }
    let own = commits(repo, &known.own, true)?;
    let mut all = commits(repo, &known.others, false)?;
    all.extend(&own);
    let base = commits(repo, &BTreeSet::from([job.known.base_commit.clone()]), false)?;
    let unreachable = count(job, repo, &all, &reaching)?;
    elsewhere.extend(base);
    Ok((unreachable, count(job, repo, &own, &elsewhere)?))
}

/// Whether a ref keeps the work of a branch when that goes: another branch, or one of a remote.
pub(super) fn is_elsewhere(name: &str, branch: &str) -> bool {
    name.starts_with("refs/remotes/") || name.starts_with("refs/heads/") && name != branch
}

/// The commits of these names. One that is not there is lost already, unless it must be there.
fn commits(repo: &Repository, names: &BTreeSet<String>, must: bool) -> Result<Vec<Oid>, Trouble> {
    let mut found = Vec::new();
    for name in names {
        let commit = Oid::from_str(name).and_then(|id| repo.find_object(id, None)?.peel_to_commit());
        match commit {
            Ok(commit) => found.push(commit.id()),
            Err(error) if must => return Err(error.into()),
            Err(_) => {}
        }
    }
    Ok(found)
}

/// How many commits some reach and others do not.
fn count(job: &Job<'_>, repo: &Repository, from: &[Oid], but: &[Oid]) -> Result<u64, Trouble> {
    if from.is_empty() {
        return Ok(0);
    }
    let mut walk = repo.revwalk()?;
    for id in from {
        walk.push(*id)?;
    }
    for id in but {
        walk.hide(*id)?;
    }
    let mut n = 0;
    for id in walk {
        id?;
        n += 1;
        job.check_time()?;
    }
    Ok(n)
}

// ---------------------------------------------------------------------------------------------

/// A stash that was made on the branch of the worktree.
struct Stash {
    commit: String,
    message: String,
}

fn stashed(job: &Job<'_>, source: &Source<'_>) -> Result<Vec<Stash>, Trouble> {
    if source.repo.is_none() {
        let log = reach_program::log_of_stashes(source)?.into_iter();
        let own = log.filter(|(_, message)| is_of_branch(message, &job.known.branch));
        return Ok(own.map(|(commit, message)| Stash { commit, message }).collect());
    }
    let text = read(&job.known.common_dir.join("logs/refs/stash"))?.unwrap_or_default();
    let of = |line: &str| {
        let message = line.split_once('\t').map_or("", |(_, message)| message).to_owned();
        Some(Stash { commit: ids(line).last()?, message })
    };
    Ok(text.lines().filter(|line| is_stash_of(line, &job.known.branch)).filter_map(of).collect())
}

/// Stashes that were made on the branch of the worktree.
fn stashes(job: &Job<'_>, source: &Source<'_>, found: &mut Findings) -> Result<(), Trouble> {
    for stash in stashed(job, source)? {
        found.note(ReasonKind::StashHere, format!("`{}`", stash.message));
    }
    Ok(())
}

/// Whether a line of the log of stashes is of a branch: `WIP on NAME: …`, or `On NAME: …`.
fn is_stash_of(line: &str, branch: &str) -> bool {
    is_of_branch(line.split_once('\t').map_or("", |(_, message)| message), branch)
}

/// Whether the message of a stash says that it was made on a branch.
pub(super) fn is_of_branch(message: &str, branch: &str) -> bool {
    let on = message.strip_prefix("WIP on ").or_else(|| message.strip_prefix("On "));
    on.is_some_and(|rest| rest.strip_prefix(branch).is_some_and(|rest| rest.starts_with(':')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_refs_and_reflogs_are_read_as_far_as_they_make_sense() {
        let (zero, one) = ("0".repeat(40), "1".repeat(40));
        assert_eq!(id(&one), Some(one.clone()));
        assert_eq!(id(&zero), None);
        assert_eq!(id("ref: refs/heads/main"), None);
        assert_eq!(ids(&format!("{zero} {one} A User <u@e> 1 +0000\tcommit: x")).collect::<Vec<_>>(), [one]);
        assert_eq!(ids("garbage").count(), 0);
        assert_eq!(ids(&format!("{} {}", "a".repeat(64), "b".repeat(64))).count(), 2);
    }

    #[test]
    fn a_stash_belongs_to_the_branch_that_it_was_made_on() {
        let line = |message: &str| format!("0 1 A User <u@e> 1 +0000\t{message}");
        assert!(is_stash_of(&line("WIP on hob/w-1: abc begin"), "hob/w-1"));
        assert!(is_stash_of(&line("On hob/w-1: mine"), "hob/w-1"));
        assert!(!is_stash_of(&line("WIP on hob/w-12: abc"), "hob/w-1"));
        assert!(!is_stash_of(&line("WIP on main: hob/w-1: abc"), "hob/w-1"));
    }

    #[test]
    fn only_other_branches_and_remotes_keep_what_is_on_a_branch() {
        for (name, is) in [
            ("refs/heads/main", true),
            ("refs/heads/hob/w-2", true),
            ("refs/remotes/origin/x", true),
            ("refs/heads/hob/w-1", false),
            ("refs/tags/v1", false),
            ("refs/notes/x", false),
        ] {
            assert_eq!(is_elsewhere(name, "refs/heads/hob/w-1"), is, "{name}");
        }
    }
}
