//! Step 8 by read-only plumbing of the `git` program, for repositories that libgit2 cannot open.

use super::reach::{Known, NOT_REACHING, PSEUDO_REFS, is_elsewhere};
use super::{Job, Trouble};
use crate::worktree::git_program::Call;
use crate::worktree::source::Source;

/// Commits that refs of the worktree's own name, its reflog and that of its branch, where they are in no
/// file of their own.
pub(super) fn own_refs(here: &Source<'_>, branch: &str) -> Result<Vec<String>, Trouble> {
    let git = here.program()?;
    let mut found = Vec::new();
    let args = ["for-each-ref", "--format=%(objectname)", "refs/worktree", "refs/bisect", "refs/rewritten"];
    found.extend(lines(&git.run(&here.call(&args))?));
    // Without a reflog there is nothing to list.
    for name in ["HEAD", &format!("refs/heads/{branch}")] {
        if let Some(out) = git.probe(&here.call(&["rev-list", "--walk-reflogs", "--no-walk", name, "--"]))? {
            found.extend(lines(&out));
        }
    }
    for name in PSEUDO_REFS {
        if let Some(out) = git.probe(&here.call(&["rev-parse", "--verify", "--quiet", name]))? {
            found.extend(lines(&out));
        }
    }
    Ok(found)
}

/// The log of stashes, each with the commit that it names: as in the file that it is in elsewhere.
pub(super) fn log_of_stashes(common: &Source<'_>) -> Result<Vec<(String, String)>, Trouble> {
    let call = common.call(&["reflog", "show", "--format=%H %gs", "refs/stash", "--"]);
    let Some(out) = common.program()?.probe(&call)? else { return Ok(Vec::new()) };
    let pair = |line: String| line.split_once(' ').map(|(id, text)| (id.to_owned(), text.to_owned()));
    Ok(lines(&out).into_iter().filter_map(pair).collect())
}

/// How many commits nothing that stays reaches, and how many are on our branch alone.
pub(super) fn count(job: &Job<'_>, common: &Source<'_>, known: &Known) -> Result<(u64, u64), Trouble> {
    let git = common.program()?;
    let refs = git.run(&common.call(&["for-each-ref", "--format=%(objectname) %(refname)"]))?;
    let refs = lines(&refs);
    let branch = format!("refs/heads/{}", job.known.branch);
    let pairs = || refs.iter().filter_map(|line| line.split_once(' '));
    let is_reaching = |name: &str| !NOT_REACHING.iter().any(|prefix| name.starts_with(prefix));
    let reaching = pairs().filter(|(_, name)| is_reaching(name)).map(|(id, _)| id.to_owned());
    let elsewhere = pairs().filter(|(_, name)| is_elsewhere(name, &branch)).map(|(id, _)| id.to_owned());
    let elsewhere = elsewhere.chain([job.known.base_commit.clone()]);
    let all = known.own.iter().chain(&known.others).cloned();
    job.check_time()?;
    let unreachable = counted(common, all, reaching)?;
    let unpushed = counted(common, known.own.iter().cloned(), elsewhere)?;
    Ok((unreachable, unpushed))
}

fn counted(
    common: &Source<'_>,
    from: impl Iterator<Item = String>,
    but: impl Iterator<Item = String>,
) -> Result<u64, Trouble> {
    let mut input = String::new();
    from.for_each(|id| input.push_str(&format!("{id}\n")));
    but.for_each(|id| input.push_str(&format!("^{id}\n")));
    let args = ["rev-list", "--count", "--ignore-missing", "--stdin"];
    let call = Call { stdin: input.into_bytes(), ..common.call(&args) };
    let out = common.program()?.run(&call)?;
    let text = String::from_utf8_lossy(&out).trim().to_owned();
    text.parse().map_err(|_| Trouble::Unreadable(format!("git counted `{text}` commits")))
}

fn lines(out: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(out).lines().map(str::to_owned).collect()
}
