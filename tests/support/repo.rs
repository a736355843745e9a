//! Real git repositories, made with the `git` program.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A repository of a user, with one commit.
pub struct Repo {
    /// The top of its working tree.
    pub path: PathBuf,
}

impl Repo {
    /// Makes one at `path`, with `README.md` committed on `main`.
    pub fn create(path: PathBuf) -> Self {
        std::fs::create_dir_all(&path).unwrap();
        let repo = Self { path: path.canonicalize().unwrap() };
        repo.git(&["init", "--quiet", "--initial-branch=main"]);
        std::fs::write(repo.path.join("README.md"), "a repository of a test\n").unwrap();
        repo.git(&["add", "."]);
        repo.git(&["commit", "--quiet", "--message", "begin"]);
        repo
    }

    /// Runs git in it and returns what it printed.
    #[track_caller]
    pub fn git(&self, arguments: &[&str]) -> String {
        git(&self.path, arguments)
    }

    /// Its path as text.
    pub fn str(&self) -> &str {
        self.path.to_str().unwrap()
    }
}

/// Runs git in a directory, without anybody's configuration, and returns what it printed.
#[track_caller]
pub fn git(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=Test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"])
        .args(arguments)
        .current_dir(directory)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env_remove("GIT_DIR")
        .env_remove("GIT_WORK_TREE")
        .env_remove("GIT_INDEX_FILE")
        .output()
        .expect("these tests need git");
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}
