//! What it costs to look at a worktree: to judge it, to write its files as a tree, to list what is
//! pending. Each against what git takes for the least that could do, in turns in the same run.
//!
//! The worktrees are made by the real daemon; what is measured is called without it, so that neither
//! socket nor database is in the figures.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hob::worktree::{Identity, Known, PreflightAsk, Seen, Segment, Worktrees, Writer};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::support::daemon::Daemon;
use crate::support::pairs::Pairs;
use crate::support::repo::Repo;
use crate::support::say;

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Files in the repository.
    pub n_files: usize,
    /// How often each thing is measured.
    pub rounds: usize,
}

/// From a small repository to a large one.
pub const WHOLE: [Size; 3] = [
    Size { n_files: 100, rounds: 100 },
    Size { n_files: 20_000, rounds: 20 },
    Size { n_files: 100_000, rounds: 7 },
];

/// To see that it works.
pub const SMALL: [Size; 1] = [Size { n_files: 100, rounds: 2 }];

/// Files in one directory.
const FILES_IN_DIRECTORY: usize = 100;
/// Files that are changed before what has to do with changes.
const N_CHANGED: usize = 10;
/// Past every limit that a bench should reach.
const LIMIT: Duration = Duration::from_secs(300);

/// Runs it.
pub fn run(sizes: &[Size]) {
    for size in sizes {
        Bench::set(*size).measure();
    }
}

struct Bench {
    size: Size,
    runtime: Runtime,
    worktrees: Worktrees,
    known: Known,
    index: PathBuf,
    // The worktree goes with its home.
    _daemon: Daemon,
}

impl Bench {
    fn set(size: Size) -> Self {
        let daemon = Daemon::start("[reaper]\ninterval = \"1h\"");
        let repo = Repo::create(daemon.root().join("repo"));
        for n in 0..size.n_files {
            let path = file(&repo.path, n);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content(n, 0)).unwrap();
        }
        repo.git(&["add", "."]);
        repo.git(&["commit", "--quiet", "--message", "many files"]);
        let begin = Instant::now();
        let session = daemon.connect().call("session/create", json!({"repo": repo.str()}));
        say(&format!(
            "worktrees: {} files, checked out in {:.2} s",
            size.n_files,
            begin.elapsed().as_secs_f64()
        ));
        let text = |name: &str| session["worktree"][name].as_str().unwrap().to_owned();
        let path = PathBuf::from(text("path"));
        let at = fs::symlink_metadata(&path).unwrap();
        let known = Known {
            id: text("id"),
            branch: text("branch"),
            base_commit: text("base_commit"),
            common_dir: repo.path.join(".git"),
            top: repo.path.clone(),
            identity: Identity { device: at.dev(), inode: at.ino(), ..Identity::default() },
            baseline: None,
            made_with: None,
            path,
        };
        // Beside the real one, which must not be written by what is compared.
        let index = daemon.root().join("index");
        let worktrees = Worktrees::new(daemon.root().join("worktrees"), Arc::new(Vec::new));
        Self { size, runtime: Runtime::new().unwrap(), worktrees, known, index, _daemon: daemon }
    }

    fn measure(&self) {
        let base = self.tree();
        let n = self.size.n_files;
        self.pairs(|_| self.preflight(), |_| self.git(&["status", "--porcelain"]))
            .report(&format!("preflight of a clean worktree, {n} files"), "git status --porcelain");
        self.pairs(|_| assert_eq!(self.tree(), base), |_| self.write_tree())
            .report(&format!("snapshot of an unchanged tree, {n} files"), "git add --all, git write-tree");
        let changed = |round: usize| (0..N_CHANGED).for_each(|k| self.change(k, round));
        let mut snapshots = Pairs::default();
        for round in 1..=self.size.rounds {
            changed(round);
            let ours = timed(|| assert_ne!(self.tree(), base));
            snapshots.push(ours, timed(|| self.write_tree()));
        }
        snapshots.report(
            &format!("snapshot with {N_CHANGED} changed files, {n} files"),
            "git add --all, git write-tree",
        );
        self.pairs(|_| self.list(&base), |_| self.git(&["diff", "HEAD"]))
            .report(&format!("list with {N_CHANGED} pending files, {n} files"), "git diff HEAD");
    }

    /// Ours and git's, in turns, once before it counts.
    fn pairs(&self, ours: impl Fn(usize), limit: impl Fn(usize)) -> Pairs {
        ours(0);
        limit(0);
        let mut pairs = Pairs::default();
        for round in 0..self.size.rounds {
            pairs.push(timed(|| ours(round)), timed(|| limit(round)));
        }
        pairs
    }

    fn tree(&self) -> String {
        self.runtime.block_on(self.worktrees.snapshot(&self.known)).unwrap().tree
    }

    fn preflight(&self) {
        let ask = PreflightAsk {
            known: self.known.clone(),
            disposable: Vec::new(),
            timeout: LIMIT,
            live: Vec::new(),
        };
        let found = self.runtime.block_on(self.worktrees.preflight(ask));
        assert_eq!(found.reasons, [], "it is clean");
    }

    fn list(&self, base: &str) {
        let to = self.tree();
        let writers = vec![Writer { turn: "u-1".to_owned(), agent: "demo".to_owned() }];
        let step = Segment { from: base.to_owned(), to: to.clone(), writers, doubt: false, by_hook: false };
        let seen = Seen { present: to, history: vec![step] };
        let listed = self.runtime.block_on(self.worktrees.pending(&self.known, seen)).unwrap();
        assert_eq!(listed.len(), N_CHANGED);
        assert!(listed.iter().all(|change| change.hunks.len() == 1));
    }

    fn change(&self, n: usize, round: usize) {
        fs::write(file(&self.known.path, n * self.size.n_files / N_CHANGED), content(n, round)).unwrap();
    }

    /// The whole working tree as a tree, as a script would do it.
    fn write_tree(&self) {
        fs::copy(self.known.admin().join("index"), &self.index).unwrap();
        self.git(&["add", "--all"]);
        self.git(&["write-tree"]);
    }

    fn git(&self, arguments: &[&str]) {
        let mut command = Command::new("git");
        command.args(arguments).current_dir(&self.known.path).stdout(Stdio::null());
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        // It must not bring the worktree's own index up to date for us.
        command.env("GIT_OPTIONAL_LOCKS", "0");
        if matches!(arguments, ["add" | "write-tree", ..]) {
            command.env("GIT_INDEX_FILE", &self.index);
        }
        assert!(command.status().unwrap().success(), "git {arguments:?}");
    }
}

fn timed(act: impl FnOnce()) -> Duration {
    let begin = Instant::now();
    act();
    begin.elapsed()
}

fn file(top: &Path, n: usize) -> PathBuf {
    top.join(format!("d{}/f{n}.txt", n / FILES_IN_DIRECTORY))
}

fn content(n: usize, round: usize) -> String {
    format!("file {n}\nround {round}\n{}", "a line of text that is like many others\n".repeat(10))
}
