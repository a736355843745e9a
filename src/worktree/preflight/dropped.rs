//! Stashes that were made on the branch of a worktree and dropped since: nothing names them any more, and
//! they are there until git prunes them. Looked for among the objects that are no part of a pack and were
//! written since the worktree was made.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use git2::{ObjectType, Oid, Repository};

use super::reach::is_of_branch;
use super::{Job, Trouble, unreadable};
use crate::worktree::git_program::Call;
use crate::worktree::source::Source;

/// Objects that are looked at, at most: the newest.
const OBJECTS_MAX: usize = 20_000;
/// Parents of a stash: what was committed, what was staged, and what git did not track.
const PARENTS: std::ops::RangeInclusive<usize> = 2..=3;

/// The commits of such stashes, and of those that are in the log still.
pub(super) fn stashes(job: &Job<'_>, source: &Source<'_>) -> Result<Vec<String>, Trouble> {
    let names = fresh(&job.known.common_dir.join("objects"), made_at(job))?;
    let branch = &job.known.branch;
    match &source.repo {
        Some(repo) => by_libgit2(job, repo, &names, branch),
        None => by_program(source, &names, branch),
    }
}

/// When the worktree was made: its entry has a file that nobody writes again.
fn made_at(job: &Job<'_>) -> SystemTime {
    let written = fs::metadata(job.admin().join("commondir")).and_then(|found| found.modified());
    // Unknown is long ago.
    written.unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Names of objects that lie in files of their own and are no older, the newest first.
fn fresh(objects: &Path, since: SystemTime) -> Result<Vec<String>, Trouble> {
    let mut found: Vec<(SystemTime, String)> = Vec::new();
    let is_hex = |name: &str| name.bytes().all(|byte| byte.is_ascii_hexdigit());
    for folder in fs::read_dir(objects).map_err(|error| unreadable(objects, &error))?.flatten() {
        let Ok(prefix) = folder.file_name().into_string() else { continue };
        if prefix.len() != 2 || !is_hex(&prefix) {
            continue;
        }
        for file in fs::read_dir(folder.path()).into_iter().flatten().flatten() {
            let written = file.metadata().and_then(|found| found.modified());
            if let (Ok(rest), Ok(written)) = (file.file_name().into_string(), written)
                && written >= since
                && matches!(rest.len(), 38 | 62)
                && is_hex(&rest)
            {
                found.push((written, format!("{prefix}{rest}")));
            }
        }
    }
    found.sort_by(|one, other| other.cmp(one));
    found.truncate(OBJECTS_MAX);
    Ok(found.into_iter().map(|(_, name)| name).collect())
}

fn by_libgit2(
    job: &Job<'_>,
    repo: &Repository,
    names: &[String],
    branch: &str,
) -> Result<Vec<String>, Trouble> {
    let odb = repo.odb()?;
    let mut found = Vec::new();
    for name in names {
        job.check_time()?;
        // One that cannot be read is nothing that could be kept.
        let Ok(id) = Oid::from_str(name) else { continue };
        if !matches!(odb.read_header(id), Ok((_, ObjectType::Commit))) {
            continue;
        }
        let is_stash = repo.find_commit(id).is_ok_and(|commit| {
            let message = String::from_utf8_lossy(commit.message_bytes()).into_owned();
            PARENTS.contains(&commit.parent_count()) && is_of_branch(&message, branch)
        });
        found.extend(is_stash.then(|| name.clone()));
    }
    Ok(found)
}

fn by_program(source: &Source<'_>, names: &[String], branch: &str) -> Result<Vec<String>, Trouble> {
    let git = source.program()?;
    let ask = |args: &[&str], names: &[&str]| {
        let stdin = names.iter().flat_map(|name| format!("{name}\n").into_bytes()).collect();
        git.run(&Call { stdin, ..source.call(args) })
    };
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let out = ask(&["cat-file", "--batch-check=%(objecttype) %(objectname)"], &names)?;
    let out = String::from_utf8_lossy(&out).into_owned();
    let commits: Vec<&str> = out.lines().filter_map(|line| line.strip_prefix("commit ")).collect();
    if commits.is_empty() {
        return Ok(Vec::new());
    }
    let format = "--format=%H%x00%P%x00%s";
    let told = ask(&["log", "--no-show-signature", "--no-walk=unsorted", "--stdin", format], &commits)?;
    let told = String::from_utf8_lossy(&told).into_owned();
    let is_stash = |line: &&str| {
        let words: Vec<&str> = line.split('\0').collect();
        matches!(words[..], [_, parents, message]
            if PARENTS.contains(&parents.split_whitespace().count()) && is_of_branch(message, branch))
    };
    Ok(told.lines().filter(is_stash).filter_map(|line| line.split('\0').next()).map(str::to_owned).collect())
}
