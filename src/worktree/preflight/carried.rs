//! Uncommitted work of the person that a worktree was made with: the copy in the worktree may be the last
//! one by now. It is not lost with the worktree where the checkout has the same, or has it and more, or
//! where it was committed to a branch that stays. Reads only.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};

use git2::Oid;

use super::reach::is_elsewhere;
use super::same::Disk;
use super::{Job, Trouble};
use crate::regular;
use crate::worktree::carry::Entry;
use crate::worktree::changes::{is_binary, merged};
use crate::worktree::compare::same_content_while;
use crate::worktree::objects::Objects;
use crate::worktree::safe_path::beneath;
use crate::worktree::source::{path_from, records};

/// A text of more bytes is not merged to see whether it is in another.
const MERGED_BYTES_MAX: u64 = 1 << 20;

/// A path with uncommitted work.
struct Work {
    committed: Option<Entry>,
    made_with: Entry,
}

/// The paths of a worktree that it was made with uncommitted work at.
pub(super) struct Carried {
    paths: BTreeMap<PathBuf, Work>,
    /// What was committed since on branches that stay, of these paths; read when it is first asked for.
    since: OnceCell<BTreeSet<(PathBuf, String)>>,
}

impl Carried {
    /// Reads which they are.
    pub(super) fn read(job: &Job<'_>, objects: &Objects<'_>) -> Result<Self, Trouble> {
        let known = job.known;
        let Some(made_with) = known.made_with.as_ref().or(known.baseline.as_ref()) else {
            return Ok(Self { paths: BTreeMap::new(), since: OnceCell::new() });
        };
        let committed = objects.tree_of(&known.base_commit)?;
        let paths = objects
            .moves(&committed, made_with)?
            .into_iter()
            .filter_map(|(path, step)| Some((path, Work { committed: step.from, made_with: step.to? })));
        Ok(Self { paths: paths.collect(), since: OnceCell::new() })
    }

    /// Whether what the worktree has at a path, which counts as the person's own, is not lost with it.
    pub(super) fn is_kept(
        &self,
        (job, objects): (&Job<'_>, &Objects<'_>),
        (path, meta): (&Path, &Metadata),
        own: &Entry,
    ) -> Result<bool, Trouble> {
        let Some(found) = self.paths.get(path) else { return Ok(true) };
        if is_in_checkout(job, path, meta)? {
            return Ok(true);
        }
        if *own != found.made_with {
            // It was applied since. Where the checkout went on from that it has it; where it is as
            // committed again, it has not.
            return Ok(!checkout_is(job, objects, path, found.committed.as_ref())?);
        }
        Ok(has_it_and_more(job, objects, path, found)? || self.is_committed(job, objects, path)?)
    }

    fn is_committed(&self, job: &Job<'_>, objects: &Objects<'_>, path: &Path) -> Result<bool, Trouble> {
        if self.since.get().is_none() {
            let since = match &objects.source.repo {
                Some(repo) => self.since_by_libgit2(job, repo)?,
                None => since_by_program(job, objects)?,
            };
            self.since.set(since).ok();
        }
        let wanted = self.paths.get(path).map(|found| found.made_with.object.clone()).unwrap_or_default();
        Ok(self.since.get().is_some_and(|since| since.contains(&(path.to_owned(), wanted))))
    }

    fn since_by_libgit2(
        &self,
        job: &Job<'_>,
        repo: &git2::Repository,
    ) -> Result<BTreeSet<(PathBuf, String)>, Trouble> {
        let branch = format!("refs/heads/{}", job.known.branch);
        let mut walk = repo.revwalk()?;
        for reference in repo.references()? {
            let reference = reference?;
            let name = String::from_utf8_lossy(reference.name_bytes()).into_owned();
            if is_elsewhere(&name, &branch)
                && let Ok(commit) = reference.peel_to_commit()
            {
                walk.push(commit.id())?;
            }
        }
        walk.hide(Oid::from_str(&job.known.base_commit)?)?;
        let mut found = BTreeSet::new();
        for id in walk {
            job.check_time()?;
            let tree = repo.find_commit(id?)?.tree()?;
            let there = self.paths.keys().filter_map(|path| {
                let entry = tree.get_path(path).ok()?;
                Some((path.clone(), entry.id().to_string()))
            });
            found.extend(there);
        }
        Ok(found)
    }
}

fn since_by_program(job: &Job<'_>, objects: &Objects<'_>) -> Result<BTreeSet<(PathBuf, String)>, Trouble> {
    let known = job.known;
    let exclude = format!("--exclude=refs/heads/{}", known.branch);
    let not = format!("^{}", known.base_commit);
    let args = ["log", &exclude, "--branches", "--remotes", &not, "-m", "--raw", "-z", "--no-renames"];
    let more = ["--no-abbrev", "--format=", "--no-ext-diff", "--no-textconv"];
    let out = objects.source.program()?.run(&objects.source.call(&[&args[..], &more].concat()))?;
    let mut found = BTreeSet::new();
    let mut words = records(&out);
    while let (Some(head), Some(path)) = (words.next(), words.next()) {
        if let Some(object) = String::from_utf8_lossy(head).split(' ').nth(3) {
            found.insert((path_from(path.to_vec()), object.to_owned()));
        }
    }
    Ok(found)
}

/// Whether the user's checkout has the same at the same place.
pub(super) fn is_in_checkout(job: &Job<'_>, path: &Path, meta: &Metadata) -> Result<bool, Trouble> {
    use std::os::unix::fs::MetadataExt;
    let (ours, Ok(theirs)) = (job.known.path.join(path), beneath(&job.known.top, path)) else {
        return Ok(false);
    };
    let Ok(found) = fs::symlink_metadata(&theirs) else { return Ok(false) };
    if meta.is_symlink() {
        let target = |path| fs::read_link(path).ok();
        return Ok(found.is_symlink() && target(&ours) == target(&theirs));
    }
    let is_alike =
        found.is_file() && found.size() == meta.size() && found.mode() & 0o111 == meta.mode() & 0o111;
    Ok(is_alike && same_content_while(&ours, &theirs, || job.check_time())?)
}

/// Whether the checkout has this at a path, or nothing.
fn checkout_is(
    job: &Job<'_>,
    objects: &Objects<'_>,
    path: &Path,
    wanted: Option<&Entry>,
) -> Result<bool, Trouble> {
    let Ok(place) = beneath(&job.known.top, path) else { return Ok(wanted.is_none()) };
    let Ok(meta) = fs::symlink_metadata(&place) else { return Ok(true) };
    match (Disk::read(&place, &meta, job.until)?, wanted) {
        (Some(disk), Some(entry)) => disk.is(objects, path, entry),
        (None, None) => Ok(true),
        _ => Ok(false),
    }
}

/// Whether each change of the carried text is in the one of the checkout.
fn has_it_and_more(job: &Job<'_>, objects: &Objects<'_>, path: &Path, found: &Work) -> Result<bool, Trouble> {
    let (Some(committed), Ok(place)) = (&found.committed, beneath(&job.known.top, path)) else {
        return Ok(false);
    };
    let is_short = |size: u64| size <= MERGED_BYTES_MAX;
    let here = fs::symlink_metadata(&place).ok().filter(|meta| meta.is_file() && is_short(meta.len()));
    let sizes = [&committed.object, &found.made_with.object].map(|id| objects.blob_size(id));
    if here.is_none() || !sizes.iter().all(|size| matches!(size, Ok(size) if is_short(*size))) {
        return Ok(false);
    }
    let Ok(theirs) = regular::read(&place) else { return Ok(false) };
    let (before, mine) = (objects.blob(&committed.object)?, objects.blob(&found.made_with.object)?);
    if [&before, &mine, &theirs].iter().any(|bytes| is_binary(bytes)) {
        return Ok(false);
    }
    Ok(merged(&before, &theirs, &mine)?.is_some_and(|both| both == theirs))
}
