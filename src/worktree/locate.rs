//! Finds the checkout around a path. Reads only.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use git2::{ErrorCode, Repository, RepositoryOpenFlags};

use super::error::{WorktreeError, WorktreeErrorKind, shell};
use super::git_program::{Call, Git};
use super::method::GitFact;
use super::obstacles;
use super::source::{commit_in, path_from};

/// A checkout of the user's, and a place in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// The top of the checkout, without symbolic links.
    pub top: PathBuf,
    /// The git directory that all worktrees of the repository share, without symbolic links.
    pub common_dir: PathBuf,
    /// The place, relative to `top`; empty for the top itself.
    pub subdir: PathBuf,
}

/// What a way of opening the repository found out.
struct Found {
    top: PathBuf,
    common_dir: PathBuf,
    /// Whether there is anything to start from.
    has_commit: bool,
}

/// Finds the checkout that holds `path`, which is a directory. Blocks.
pub(super) fn locate(path: &Path, git: Result<&Git, GitFact>) -> Result<Located, WorktreeError> {
    let here = fs::canonicalize(path).map_err(|error| {
        let why = if error.kind() == std::io::ErrorKind::NotFound {
            "there is no".to_owned()
        } else {
            format!("{error}:")
        };
        WorktreeError::new(WorktreeErrorKind::NotARepo, format!("{why} directory `{}`", path.display()))
            .hint(format!("ls -ld {}", shell(path)))
    })?;
    if !here.is_dir() {
        return Err(WorktreeError::new(
            WorktreeErrorKind::NotARepo,
            format!("`{}` is not a directory", path.display()),
        )
        .hint(format!("ls -ld {}", shell(path))));
    }
    if let Some(top) = here.ancestors().find(|dir| fs::symlink_metadata(dir.join(".git")).is_ok()) {
        obstacles::before_opening(top)?;
    }
    let found = match Repository::open_ext(&here, RepositoryOpenFlags::empty(), &[] as &[&OsStr]) {
        Ok(repo) => by_libgit2(&repo, &here)?,
        Err(error) => by_program(&here, git, &error)?,
    };
    place(&here, found)
}

fn place(here: &Path, found: Found) -> Result<Located, WorktreeError> {
    let real =
        |path: &Path| fs::canonicalize(path).map_err(|error| WorktreeError::io("look at", path, &error));
    let (top, common_dir) = (real(&found.top)?, real(&found.common_dir)?);
    let Ok(subdir) = here.strip_prefix(&top) else {
        return Err(inside_git(here));
    };
    if here.starts_with(&common_dir) || subdir.components().any(|part| part.as_os_str() == ".git") {
        return Err(inside_git(here));
    }
    if !found.has_commit {
        return Err(WorktreeError::new(
            WorktreeErrorKind::NoCommit,
            format!("`{}` has no commit yet to start from", top.display()),
        )
        .hint(format!("git -C {} commit --allow-empty -m 'first commit'", shell(&top))));
    }
    Ok(Located { subdir: subdir.to_owned(), top, common_dir })
}

fn by_libgit2(repo: &Repository, here: &Path) -> Result<Found, WorktreeError> {
    let Some(top) = repo.workdir() else {
        return Err(bare(here));
    };
    let has_ref = || repo.references().is_ok_and(|mut refs| refs.next().is_some());
    Ok(Found {
        top: top.to_owned(),
        common_dir: repo.commondir().to_owned(),
        has_commit: commit_in(repo, "HEAD").is_some() || has_ref(),
    })
}

fn by_program(
    here: &Path,
    git: Result<&Git, GitFact>,
    refusal: &git2::Error,
) -> Result<Found, WorktreeError> {
    match refusal.code() {
        ErrorCode::NotFound => return Err(not_a_repo(here)),
        ErrorCode::Owner => {
            return Err(WorktreeError::new(
                WorktreeErrorKind::NotARepo,
                format!("the git repository at `{}` belongs to another user", here.display()),
            )
            .hint(format!("git config --global --add safe.directory {}", shell(here))));
        }
        _ => {}
    }
    let Ok(git) = git else {
        let what = format!("something libgit2 does not know ({})", refusal.message());
        return Err(WorktreeError::unsupported(&what, here, "that needs the `git` program"));
    };
    let ask = |args: &[&str]| git.line(&Call::ask(here, args));
    // What git cannot open either is named by git.
    let inside = ask(&["rev-parse", "--is-inside-work-tree"]);
    let inside = inside.map_err(|error| WorktreeError { kind: WorktreeErrorKind::NotARepo, ..error })?;
    if inside != b"true" {
        let is_bare = ask(&["rev-parse", "--is-bare-repository"])? == b"true";
        return Err(if is_bare { bare(here) } else { inside_git(here) });
    }
    let probe = |args: &[&str]| git.probe(&Call::ask(here, args));
    let has_head = probe(&["rev-parse", "--verify", "--quiet", "HEAD^{commit}"])?.is_some();
    Ok(Found {
        top: path_from(ask(&["rev-parse", "--path-format=absolute", "--show-toplevel"])?),
        common_dir: path_from(ask(&["rev-parse", "--path-format=absolute", "--git-common-dir"])?),
        has_commit: has_head || probe(&["for-each-ref", "--count=1"])?.is_some_and(|out| !out.is_empty()),
    })
}

fn not_a_repo(here: &Path) -> WorktreeError {
    WorktreeError::new(
        WorktreeErrorKind::NotARepo,
        format!("`{}` is not in a git repository", here.display()),
    )
    .hint(format!("git init {}", shell(here)))
}

fn bare(here: &Path) -> WorktreeError {
    WorktreeError::new(
        WorktreeErrorKind::Bare,
        format!("the git repository at `{}` is bare: it has no checkout", here.display()),
    )
    .hint(format!("git clone {} checkout", shell(here)))
}

fn inside_git(here: &Path) -> WorktreeError {
    WorktreeError::new(
        WorktreeErrorKind::NotARepo,
        format!("`{}` is inside a git directory, not in a checkout", here.display()),
    )
    .hint("cd to a directory of the checkout")
}
