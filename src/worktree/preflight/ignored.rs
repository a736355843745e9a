//! Which files git ignores: asked of libgit2, or of the program, about paths that git does not track.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use git2::Repository;

use super::{Job, Trouble};
use crate::worktree::git_program::Call;
use crate::worktree::source::{Source, bytes_of, path_from, records};

/// Before each path that the program is asked about, so that none is taken for a pattern.
const HERE: &[u8] = b"./";

/// Those of some paths that are ignored. What cannot be told is not.
pub(super) fn ignored<'p>(
    job: &Job<'_>,
    source: &Source<'_>,
    paths: impl Iterator<Item = &'p Path>,
) -> Result<BTreeSet<PathBuf>, Trouble> {
    match &source.repo {
        Some(repo) => by_libgit2(job, repo, paths),
        None => by_program(source, paths),
    }
}

fn by_libgit2<'p>(
    job: &Job<'_>,
    repo: &Repository,
    paths: impl Iterator<Item = &'p Path>,
) -> Result<BTreeSet<PathBuf>, Trouble> {
    let mut folders = Folders { repo, known: HashMap::new() };
    let mut found = BTreeSet::new();
    for path in paths {
        job.check_time()?;
        let is_below = path.parent().is_some_and(|folder| folders.is_ignored(folder));
        if is_below || should_ignore(repo, path) {
            found.insert(path.to_owned());
        }
    }
    Ok(found)
}

fn should_ignore(repo: &Repository, path: &Path) -> bool {
    repo.status_should_ignore(path).unwrap_or(false)
}

/// Directories that were asked about: what lies below an ignored one is ignored as well.
struct Folders<'a> {
    repo: &'a Repository,
    known: HashMap<PathBuf, bool>,
}

impl Folders<'_> {
    fn is_ignored(&mut self, folder: &Path) -> bool {
        if folder.as_os_str().is_empty() {
            return false;
        }
        if let Some(known) = self.known.get(folder) {
            return *known;
        }
        let is_below = folder.parent().is_some_and(|above| self.is_ignored(above));
        let is_ignored = is_below || should_ignore(self.repo, folder);
        self.known.insert(folder.to_owned(), is_ignored);
        is_ignored
    }
}

fn by_program<'p>(
    source: &Source<'_>,
    paths: impl Iterator<Item = &'p Path>,
) -> Result<BTreeSet<PathBuf>, Trouble> {
    let stdin = paths.flat_map(|path| [HERE, bytes_of(path), b"\0"].concat()).collect::<Vec<u8>>();
    if stdin.is_empty() {
        return Ok(BTreeSet::new());
    }
    // None of them is tracked; a look at the index would be one for each of them.
    let call = source.call(&["check-ignore", "--no-index", "-z", "--stdin"]);
    // The command refuses paths that it is told to take literally.
    let call = Call { stdin, magic_pathspecs: true, ..call };
    // It fails where none is ignored, too.
    let out = source.program()?.probe(&call)?.unwrap_or_default();
    let paths = records(&out).filter_map(|path| path.strip_prefix(HERE));
    Ok(paths.map(|path| path_from(path.to_vec())).collect())
}
