//! The user's repository, as far as a new worktree needs it, whichever of libgit2 and the `git`
//! program can read it. Reads; the only thing that it changes is a branch of ours that goes.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use git2::{ErrorCode, Repository};

use super::Inner;
use super::error::{WorktreeError, WorktreeErrorKind, shell};
use super::file_system::Handles;
use super::git_program::{Call, Git};
use super::method::GitFact;
use super::obstacles;
use crate::regular;

/// A checkout and its repository.
pub(super) struct Source<'a> {
    /// The top of the checkout.
    pub(super) top: PathBuf,
    /// The git directory that all its worktrees share.
    pub(super) common_dir: PathBuf,
    /// The repository, where libgit2 can open it.
    pub(super) repo: Option<Repository>,
    /// Why not, where it cannot.
    pub(super) refusal: Option<String>,
    /// The program, where there is one.
    pub(super) git: Result<&'a Git, GitFact>,
    /// Settings as recorded when the repository was first seen.
    pub(super) settings: Vec<(String, String)>,
    /// A setting that can run a program, and appeared after the repository was first seen.
    pub(super) unrecorded: Option<String>,
    /// How other repositories are opened.
    pub(super) handles: &'a Handles,
    /// Where objects are written until they are in a pack; `None`: where all objects are.
    pub(super) draft: Option<Draft>,
}

/// Objects that no other git knows of yet, and none removes.
pub(super) struct Draft {
    /// Beneath the objects of the repository.
    dir: tempfile::TempDir,
    /// Its `objects`, held open.
    open: std::fs::File,
    /// For writing by libgit2.
    repo: Option<Repository>,
}

impl Draft {
    /// Beginning of the names of their directories.
    pub(super) const PREFIX: &str = "hob-draft-";

    fn begin(common_dir: &Path, is_libgit2: bool) -> Result<Self, WorktreeError> {
        let all = common_dir.join("objects");
        let io = |error: std::io::Error| WorktreeError::io("make a directory in", &all, &error);
        let dir = tempfile::Builder::new().prefix(Self::PREFIX).tempdir_in(&all).map_err(io)?;
        let objects = dir.path().join("objects");
        if !is_libgit2 {
            std::fs::create_dir(&objects).map_err(io)?;
            let open = regular::open_directory(&objects).map_err(io)?;
            return Ok(Self { dir, open, repo: None });
        }
        let failed = |error: git2::Error| WorktreeError::git("begin to write objects", common_dir, &error);
        Repository::init_bare(dir.path()).map_err(failed)?;
        std::fs::write(objects.join("info/alternates"), [bytes_of(&all), b"\n"].concat()).map_err(io)?;
        let repo = Repository::open(dir.path()).map_err(failed)?;
        let open = regular::open_directory(&objects).map_err(io)?;
        Ok(Self { dir, open, repo: Some(repo) })
    }

    /// Where they are.
    pub(super) fn objects(&self) -> PathBuf {
        self.dir.path().join("objects")
    }

    /// Lets a handle of the repository read them.
    pub(super) fn show(&self, repo: &Repository) -> Result<(), git2::Error> {
        // `git2` takes text alone. What is no text has a name of the kernel's, too (proc_pid_fd(5)).
        let objects = self.objects().to_str().map(str::to_owned);
        let objects = objects.unwrap_or_else(|| format!("/proc/self/fd/{}", self.open.as_raw_fd()));
        repo.odb()?.add_disk_alternate(&objects)
    }
}

impl<'a> Source<'a> {
    /// Opens the checkout whose top is `top`.
    pub(super) fn open(top: &Path, common_dir: &Path, inner: &'a Inner) -> Result<Self, WorktreeError> {
        obstacles::before_opening(top)?;
        let handles = inner.handles();
        let (repo, refusal) = match handles.open(top) {
            Ok(repo) => match unknown_index(&repo, top != common_dir) {
                Some(why) => (None, Some(why)),
                None => (Some(repo), None),
            },
            Err(error) if error.code() == ErrorCode::NotFound => {
                return Err(WorktreeError::new(
                    WorktreeErrorKind::NotARepo,
                    format!("`{}` is not the top of a git checkout any more", top.display()),
                ));
            }
            Err(error) => (None, Some(error.message().to_owned())),
        };
        Ok(Self {
            top: top.to_owned(),
            common_dir: common_dir.to_owned(),
            repo,
            refusal,
            git: inner.git(),
            settings: Vec::new(),
            unrecorded: None,
            handles,
            draft: None,
        })
    }

    /// The same, writing objects where no other git removes them. They are lost with this, unless a pack is
    /// made of them.
    pub(super) fn drafting(mut self) -> Result<Self, WorktreeError> {
        let draft = Draft::begin(&self.common_dir, self.repo.is_some())?;
        if let Some(repo) = &self.repo {
            let failed = |error| WorktreeError::git("begin to write objects", &self.common_dir, &error);
            draft.show(repo).map_err(failed)?;
        }
        self.draft = Some(draft);
        Ok(self)
    }

    /// What objects are written with, where libgit2 can.
    pub(super) fn writing(&self) -> Option<&Repository> {
        self.draft.as_ref().map_or(self.repo.as_ref(), |draft| draft.repo.as_ref())
    }

    /// The program, for what libgit2 cannot read.
    pub(super) fn program(&self) -> Result<&'a Git, WorktreeError> {
        self.git.clone().map_err(|_| {
            let what = self.refusal.clone().unwrap_or_default();
            WorktreeError::unsupported(&what, &self.top, "that needs the `git` program")
        })
    }

    /// A call of the program in the checkout.
    pub(super) fn call<S: AsRef<OsStr>>(&self, args: &[S]) -> Call<'_> {
        self.call_in(&self.top, args)
    }

    /// A call of the program in some directory, with the recorded settings.
    pub(super) fn call_in<'b, S: AsRef<OsStr>>(&'b self, dir: &'b Path, args: &[S]) -> Call<'b> {
        let file_system = self.handles.settings(dir);
        let mut call = Call { settings: &self.settings, file_system, ..Call::ask(dir, args) };
        if let Some(draft) = &self.draft {
            call.env.push(("GIT_OBJECT_DIRECTORY", draft.objects().into_os_string()));
            let all = self.common_dir.join("objects");
            call.env.push(("GIT_ALTERNATE_OBJECT_DIRECTORIES", all.into_os_string()));
        }
        call
    }

    /// The commit that `spec` names, in hex, or `None`.
    pub(super) fn commit(&self, spec: &str) -> Result<Option<String>, WorktreeError> {
        if let Some(repo) = &self.repo {
            return Ok(commit_in(repo, spec));
        }
        let spec = format!("{spec}^{{commit}}");
        let args = ["rev-parse", "--verify", "--quiet", "--end-of-options", &spec];
        let out = self.program()?.probe(&self.call(&args))?;
        Ok(out.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned()))
    }

    /// The tree of a commit, in hex.
    pub(super) fn tree_of(&self, commit: &str) -> Result<String, WorktreeError> {
        if let Some(repo) = &self.repo {
            let tree = repo.revparse_single(commit).and_then(|object| object.peel_to_tree());
            return tree
                .map(|tree| tree.id().to_string())
                .map_err(|error| WorktreeError::git("read the tree of the base", &self.top, &error));
        }
        let spec = format!("{commit}^{{tree}}");
        let out = self.program()?.line(&self.call(&["rev-parse", "--verify", "--end-of-options", &spec]))?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    /// A full reference that is `name`, or that stands in its way as a directory does in the way
    /// of a file.
    pub(super) fn in_the_way(&self, name: &str) -> Result<Option<String>, WorktreeError> {
        let mut prefix = name;
        loop {
            if self.commit_of_ref(prefix)?.is_some() {
                return Ok(Some(prefix.to_owned()));
            }
            match prefix.rsplit_once('/') {
                Some((shorter, _)) if shorter != "refs/heads" => prefix = shorter,
                _ => break,
            }
        }
        self.below(&format!("{name}/"))
    }

    /// Some full reference that begins with `prefix`.
    fn below(&self, prefix: &str) -> Result<Option<String>, WorktreeError> {
        if let Some(repo) = &self.repo {
            let found = repo
                .references_glob(&format!("{prefix}*"))
                .and_then(|mut refs| refs.names().next().transpose().map(|name| name.map(str::to_owned)));
            return found.map_err(|error| WorktreeError::git("read the branches", &self.common_dir, &error));
        }
        let args = ["for-each-ref", "--count=1", "--format=%(refname)", prefix];
        let out = self.program()?.line(&self.call(&args))?;
        Ok((!out.is_empty()).then(|| String::from_utf8_lossy(&out).into_owned()))
    }

    /// What a full reference points to, in hex, or `None`.
    pub(super) fn commit_of_ref(&self, name: &str) -> Result<Option<String>, WorktreeError> {
        if let Some(repo) = &self.repo {
            return match repo.refname_to_id(name) {
                Ok(id) => Ok(Some(id.to_string())),
                Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
                // A directory is where the reference would be.
                Err(_) => Ok(None),
            };
        }
        let args = ["rev-parse", "--verify", "--quiet", "--end-of-options", name];
        let out = self.program()?.probe(&self.call(&args))?;
        Ok(out.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned()))
    }

    /// The full name of the branch that HEAD of the checkout is on; `None` if it is detached.
    pub(super) fn branch(&self) -> Result<Option<String>, WorktreeError> {
        if let Some(repo) = &self.repo {
            let head = repo.find_reference("HEAD");
            let head = head.map_err(|error| WorktreeError::git("read HEAD", &self.top, &error))?;
            return Ok(head.symbolic_target_bytes().map(|name| String::from_utf8_lossy(name).into_owned()));
        }
        let out = self.program()?.probe(&self.call(&["symbolic-ref", "--quiet", "HEAD"]))?;
        Ok(out.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned()))
    }

    /// Takes HEAD of the checkout from its branch and points it to a commit. No file is touched.
    pub(super) fn detach(&self, commit: &str) -> Result<(), WorktreeError> {
        if let Some(repo) = &self.repo {
            let done = git2::Oid::from_str(commit).and_then(|id| repo.set_head_detached(id));
            return done.map_err(|error| WorktreeError::git("detach HEAD", &self.top, &error));
        }
        self.program()?.run(&self.call(&["update-ref", "--no-deref", "HEAD", commit])).map(drop)
    }

    /// Deletes a full reference if it still points to `at`. Its reflog goes with it.
    pub(super) fn delete_ref(&self, name: &str, at: &str) -> Result<(), WorktreeError> {
        let failed =
            |error: git2::Error| WorktreeError::git(&format!("delete `{name}`"), &self.common_dir, &error);
        if let Some(repo) = &self.repo {
            let mut found = repo.find_reference(name).map_err(failed)?;
            if found.target().is_some_and(|id| id.to_string() == at) {
                found.delete().map_err(failed)?;
            }
            return Ok(());
        }
        self.program()?.run(&self.call(&["update-ref", "--no-deref", "-d", name, at]))?;
        Ok(())
    }

    /// The paths in the index of a checkout of this repository.
    pub(super) fn tracked(&self, top: &Path) -> Result<HashSet<PathBuf>, WorktreeError> {
        if self.repo.is_some() {
            let index = self.handles.open(top).and_then(|repo| repo.index());
            let index = index.map_err(|error| WorktreeError::git("read the index", top, &error))?;
            return Ok(index.iter().map(|entry| path_from(entry.path)).collect());
        }
        let out = self.program()?.run(&self.call_in(top, &["ls-files", "-z"]))?;
        Ok(records(&out).map(|path| path_from(path.to_vec())).collect())
    }

    /// The submodules in the index of a checkout.
    pub(super) fn submodules(&self, top: &Path) -> Result<Vec<PathBuf>, WorktreeError> {
        const GITLINK: u32 = 0o160_000;
        if self.repo.is_some() {
            let index = self.handles.open(top).and_then(|repo| repo.index());
            let index = index.map_err(|error| WorktreeError::git("read the index", top, &error))?;
            return Ok(index
                .iter()
                .filter(|entry| entry.mode == GITLINK)
                .map(|entry| path_from(entry.path))
                .collect());
        }
        let out = self.program()?.run(&self.call_in(top, &["ls-files", "-s", "-z"]))?;
        let links = records(&out).filter_map(|line| line.strip_prefix(b"160000 "));
        Ok(links
            .filter_map(|line| line.splitn(2, |byte| *byte == b'\t').nth(1))
            .map(|path| path_from(path.to_vec()))
            .collect())
    }

    /// The error for a base that names no commit.
    pub(super) fn bad_base(&self, base: &str) -> WorktreeError {
        let remote = format!("origin/{base}");
        let hint = match self.commit(&remote) {
            Ok(Some(_)) if !base.is_empty() => format!("--base {remote}"),
            _ => format!("git -C {} branch --all", shell(&self.top)),
        };
        let message = format!("no commit is called `{base}` in `{}`", self.top.display());
        WorktreeError::new(WorktreeErrorKind::BadBase, message).hint(hint)
    }

    /// The error for a repository in which nothing was ever committed.
    pub(super) fn no_commit(&self) -> WorktreeError {
        WorktreeError::new(
            WorktreeErrorKind::NoCommit,
            format!("`{}` has no commit yet to start from", self.top.display()),
        )
        .hint(format!("git -C {} commit --allow-empty -m 'first commit'", shell(&self.top)))
    }
}

/// Why libgit2 cannot read the index of a checkout that git reads: it is in two files, or has whole
/// directories in it. Anything else that is wrong with it is told by whoever reads it.
fn unknown_index(repo: &Repository, is_checkout: bool) -> Option<String> {
    let error = is_checkout.then(|| repo.index().err()).flatten()?;
    error.message().contains("unsupported mandatory extension").then(|| error.message().to_owned())
}

/// The commit that `spec` names.
pub(super) fn commit_in(repo: &Repository, spec: &str) -> Option<String> {
    let commit = repo.revparse_single(spec).and_then(|object| object.peel_to_commit());
    commit.ok().map(|commit| commit.id().to_string())
}

/// The records of a `-z` output.
pub(super) fn records(out: &[u8]) -> impl Iterator<Item = &[u8]> {
    out.split(|byte| *byte == 0).filter(|record| !record.is_empty())
}

/// A path from the bytes that git has for it.
pub(super) fn path_from(bytes: Vec<u8>) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes))
}

/// The bytes that git has for a path.
pub(super) fn bytes_of(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}
