//! Worktrees on real repositories, made by the real `git` in throw-away directories.

mod bases;
mod carry;
mod changes;
mod converted;
mod copy;
mod create;
mod forgotten;
mod given_up;
mod history;
mod kept;
mod last_copy;
mod late;
mod layouts;
mod limits;
mod locate;
mod methods;
mod owners;
mod pipes;
mod places;
mod pruned;
mod put_away;
mod refuse;
mod removal;
mod settings;
mod standing;
mod undo;
mod weighty;
mod whole;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use super::*;

/// A repository of a user, and a place for worktrees.
pub(super) struct Stage {
    /// Everything of the test.
    pub(super) dir: tempfile::TempDir,
    /// The user's checkout.
    pub(super) repo: PathBuf,
    /// Under test.
    pub(super) worktrees: Worktrees,
}

impl Stage {
    /// An empty repository.
    pub(super) fn empty() -> Self {
        Self::with(&["init", "--quiet", "--initial-branch=main"], &[])
    }

    /// A repository with one commit: `a.txt`, `dir/b.txt`, and `.gitignore` for `*.ignored`.
    pub(super) fn new() -> Self {
        let stage = Self::empty();
        stage.first_commit();
        stage
    }

    /// A repository that `git init` makes with some arguments.
    pub(super) fn with(init: &[&str], copy: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(dir.path()).unwrap();
        let repo = base.join("repo");
        git(&base, &[init, &["repo"]].concat());
        let options = Options {
            // A git that a neighbour forks holds our locks, too, until it is executed.
            lock_wait: Duration::from_secs(10),
            lock_file_wait: Duration::from_millis(200),
            ..Options::default()
        };
        let worktrees = made(&base, copy, options);
        Self { dir, repo, worktrees }
    }

    /// The same repository, with other options for what is under test.
    pub(super) fn options(mut self, change: impl FnOnce(&mut Options)) -> Self {
        let mut options = self.worktrees.inner.options.clone();
        change(&mut options);
        self.worktrees = made(&self.base(), &[], options);
        self
    }

    /// The same repository, with patterns of files to copy.
    pub(super) fn copying(mut self, copy: &[&str]) -> Self {
        self.worktrees = made(&self.base(), copy, self.worktrees.inner.options.clone());
        self
    }

    pub(super) fn base(&self) -> PathBuf {
        fs::canonicalize(self.dir.path()).unwrap()
    }

    pub(super) fn first_commit(&self) {
        self.write("a.txt", "one\n");
        self.write("dir/b.txt", "b\n");
        self.write(".gitignore", "*.ignored\n.env\n");
        self.commit("first");
    }

    pub(super) fn write(&self, path: impl AsRef<Path>, text: impl AsRef<[u8]>) {
        let path = self.repo.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(super) fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    pub(super) fn git<S: AsRef<OsStr>>(&self, args: &[S]) -> String {
        git(&self.repo, args)
    }

    pub(super) fn request(&self, located: Located) -> CreateRequest {
        CreateRequest { id: "w-test".into(), located, base: None, carry_changes: false }
    }

    /// Makes a worktree of the checkout, changed requests first.
    pub(super) async fn create(
        &self,
        change: impl FnOnce(&mut CreateRequest),
    ) -> Result<Created, WorktreeError> {
        let mut request = self.request(self.worktrees.locate(&self.repo).await?);
        change(&mut request);
        self.worktrees.create(request).await
    }

    /// Everything of the user's that must not change: every file of the checkout and of the
    /// repository with content and mode, except objects.
    pub(super) fn state(&self) -> BTreeMap<PathBuf, String> {
        let mut all = files(&self.repo);
        all.retain(|path, _| !path.starts_with(".git/objects"));
        all
    }

    /// What lies in the place for worktrees, except our own records.
    pub(super) fn made(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.base().join("worktrees")) else { return Vec::new() };
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name != RECORDS_DIR).collect()
    }

    /// That a creation fails in the way of `kind`, names `value`, and changes nothing.
    pub(super) async fn refuses(
        &self,
        kind: WorktreeErrorKind,
        value: &str,
        change: impl FnOnce(&mut CreateRequest),
    ) -> WorktreeError {
        let (before, made_before) = (self.state(), self.made());
        let error = self.create(change).await.expect_err("a refusal");
        assert_eq!(error.kind, kind, "{error:?}");
        assert!(error.message.contains(value), "{error:?} does not name {value}");
        assert!(!error.message.contains("left behind"), "{error:?}");
        assert_eq!(self.state(), before);
        assert_eq!(self.made(), made_before);
        error
    }
}

/// What is recorded of a worktree that was made.
pub(super) fn known(stage: &Stage, created: &Created) -> Known {
    Known {
        id: created.path.file_name().unwrap().to_str().unwrap().to_owned(),
        path: created.path.clone(),
        branch: created.branch.clone(),
        base_commit: created.base_commit.clone(),
        common_dir: created.common_dir.clone(),
        top: stage.repo.clone(),
        identity: created.identity.clone(),
        baseline: None,
        made_with: None,
    }
}

fn made(base: &Path, copy: &[&str], options: Options) -> Worktrees {
    let copy: Vec<String> = copy.iter().map(|pattern| (*pattern).to_owned()).collect();
    Worktrees::with_options(base.join("worktrees"), Arc::new(move || copy.clone()), options)
}

/// Every path below `top` with its kind, mode and content. Directories are listed too.
pub(super) fn files(top: &Path) -> BTreeMap<PathBuf, String> {
    let entries = walkdir::WalkDir::new(top).min_depth(1).into_iter().map(Result::unwrap);
    let described = entries.map(|entry| {
        let (path, found) = (entry.path(), entry.path().symlink_metadata().unwrap());
        let content = if found.is_symlink() {
            fs::read_link(path).unwrap().into_os_string().into_encoded_bytes()
        } else if found.is_file() {
            fs::read(path).unwrap()
        } else {
            Vec::new()
        };
        let text = format!("{:o} {}", found.mode(), content.escape_ascii());
        (path.strip_prefix(top).unwrap().to_owned(), text)
    });
    described.collect()
}

/// Runs the real git as a user would, away from this machine's configuration.
#[expect(clippy::disallowed_methods, reason = "the tests play the user")]
pub(super) fn try_git<S: AsRef<OsStr>>(dir: &Path, args: &[S]) -> Output {
    let mut command = Command::new("git");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"GIT_")) {
        command.env_remove(name);
    }
    command
        .arg("-C")
        .arg(dir)
        .args(["-c", "user.name=A User", "-c", "user.email=user@example.org"])
        .args([
            "-c",
            "protocol.file.allow=always",
            "-c",
            "commit.gpgsign=false",
            "-c",
            "gc.auto=0",
            "-c",
            "maintenance.auto=0",
        ])
        .args(args)
        .output()
        .unwrap()
}

/// The same, and it must succeed. Gives what it said, trimmed.
pub(super) fn git<S: AsRef<OsStr>>(dir: &Path, args: &[S]) -> String {
    let out = try_git(dir, args);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).trim_end().to_owned()
}

/// `git status` in the short form, untracked files included, sorted.
pub(super) fn status(dir: &Path) -> Vec<String> {
    let text = git(dir, &["status", "--porcelain", "--untracked-files=all"]);
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}
