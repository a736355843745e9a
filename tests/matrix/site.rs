//! One worktree of the matrix: the repository that it is made of, its state, and everything that must
//! still be there in the end.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What a case works with.
pub struct Site {
    /// Everything of the case.
    pub dir: PathBuf,
    /// The user's checkout.
    pub repo: PathBuf,
    /// The worktree; empty until it is made.
    pub tree: PathBuf,
    /// Its id.
    pub id: String,
    held: RefCell<Vec<Child>>,
    mounts: RefCell<Vec<PathBuf>>,
}

/// Runs git as a user would, away from this machine's configuration; it must succeed.
#[track_caller]
pub fn git(dir: &Path, arguments: &[&str]) -> String {
    let output = try_git(dir, arguments);
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// The same, whatever comes of it.
pub fn try_git(dir: &Path, arguments: &[&str]) -> std::process::Output {
    let mut command = Command::new("git");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"GIT_")) {
        command.env_remove(name);
    }
    command
        .args(["-c", "user.name=A User", "-c", "user.email=user@example.org", "-c", "commit.gpgsign=false"])
        .args(["-c", "protocol.file.allow=always", "-c", "gc.auto=0", "-c", "maintenance.auto=false"])
        .args(["-c", "advice.detachedHead=false", "-c", "init.defaultBranch=main"])
        .args(arguments)
        .current_dir(dir)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_EDITOR", "true")
        .output()
        .expect("these tests need git")
}

impl Site {
    /// A directory for a case.
    pub fn new(dir: PathBuf) -> Self {
        fs::create_dir_all(&dir).unwrap();
        let dir = dir.canonicalize().unwrap();
        Self {
            repo: dir.join("repo"),
            dir,
            tree: PathBuf::new(),
            id: String::new(),
            held: RefCell::default(),
            mounts: RefCell::default(),
        }
    }

    /// An ordinary repository with one commit on `main`.
    pub fn ordinary(&self, init: &[&str]) {
        fs::create_dir_all(&self.repo).unwrap();
        git(&self.repo, &[&["init", "--quiet", "--initial-branch=main"], init].concat());
        self.write_repo("README.md", "a repository\n");
        self.write_repo(".gitignore", "*.ignored\n.env\n/build/\ntarget/\nnode_modules/\n__pycache__/\n");
        self.write_repo("Cargo.toml", "[package]\n");
        self.write_repo("package.json", "{}\n");
        self.write_repo("src/made.py", "pass\n");
        self.write_repo("src/lib.rs", "fn main() {}\n");
        self.write_repo("src/deep/er/file", "deep\n");
        self.write_repo("run.sh", "#!/bin/sh\n");
        fs::set_permissions(self.repo.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink("README.md", self.repo.join("link")).unwrap();
        git(&self.repo, &["add", "."]);
        git(&self.repo, &["commit", "--quiet", "-m", "begin"]);
    }

    /// A bare repository beside it, as its remote.
    pub fn remote(&self) {
        git(&self.dir, &["clone", "--quiet", "--bare", "repo", "origin.git"]);
        let url = self.dir.join("origin.git");
        git(&self.repo, &["remote", "add", "origin", url.to_str().unwrap()]);
        git(&self.repo, &["fetch", "--quiet", "origin"]);
    }

    pub fn write_repo(&self, path: &str, text: impl AsRef<[u8]>) {
        write(&self.repo.join(path), text);
    }

    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        write(&self.tree.join(path), text);
    }

    pub fn git(&self, arguments: &[&str]) -> String {
        git(&self.tree, arguments)
    }

    pub fn remove(&self, path: &str) {
        fs::remove_file(self.tree.join(path)).unwrap();
    }

    /// Commits a new file.
    pub fn commit(&self, name: &str) {
        self.write(name, format!("{name}\n"));
        self.git(&["add", "--force", name]);
        self.git(&["commit", "--quiet", "-m", name]);
    }

    /// The git directory of the worktree.
    pub fn admin(&self) -> PathBuf {
        self.repo.join(".git/worktrees").join(&self.id)
    }

    /// The branch of the worktree.
    pub fn branch(&self) -> String {
        format!("hob/{}", self.id)
    }

    /// Starts a process that lives until the case is over, and waits until it has begun.
    pub fn hold(&self, directory: &Path, script: &str) {
        let ready = self.dir.join("ready");
        let child = Command::new("sh")
            .args(["-c", &format!("{script}\ntouch {}; exec sleep 600", ready.display())])
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.held_until(child, &ready);
    }

    /// Starts a process that has the worktree mounted at a place that nobody else sees, until the case is
    /// over; nothing in it is open.
    pub fn contain(&self, place: &Path) {
        fs::create_dir_all(place).unwrap();
        let ready = self.dir.join("contained");
        let script = format!(
            "mount --bind {} {} && cd / && touch {} && exec sleep 600",
            self.tree.display(),
            place.display(),
            ready.display()
        );
        let child = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", &script])
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.held_until(child, &ready);
    }

    fn held_until(&self, child: Child, ready: &Path) {
        self.held.borrow_mut().push(child);
        let start = std::time::Instant::now();
        while !ready.exists() {
            assert!(start.elapsed().as_secs() < 20, "the process did not begin");
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }

    /// Mounts a directory on another, until the case is over.
    pub fn bind(&self, from: &Path, onto: &Path) {
        fs::create_dir_all(from).unwrap();
        fs::create_dir_all(onto).unwrap();
        let done = Command::new("mount").arg("--bind").arg(from).arg(onto).status().unwrap();
        assert!(done.success(), "mount --bind needs root");
        self.mounts.borrow_mut().push(onto.to_owned());
    }

    /// A file that shows that something ran which must not.
    pub fn marker(&self) -> PathBuf {
        self.dir.join("it-ran")
    }

    /// Everything that was there, to be found again: every file with its bytes, and every commit.
    pub fn manifest(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for entry in walkdir::WalkDir::new(&self.tree).into_iter().filter_map(Result::ok) {
            let path = entry.path();
            let Ok(found) = fs::symlink_metadata(path) else { continue };
            let content = if found.is_symlink() {
                fs::read_link(path).unwrap().display().to_string()
            } else if found.is_file() {
                fs::read(path).map(|bytes| bytes.escape_ascii().to_string()).unwrap_or_default()
            } else {
                String::new()
            };
            let name = path.strip_prefix(&self.tree).unwrap().display().to_string();
            all.insert(format!("file {name}"), format!("{:o} {content}", found.mode()));
        }
        for commit in self.commits() {
            all.insert(format!("commit {commit}"), String::new());
        }
        let index = fs::read(self.admin().join("index")).unwrap_or_default();
        all.insert("index".to_owned(), index.escape_ascii().to_string());
        all
    }

    /// Every commit that the worktree knows.
    fn commits(&self) -> Vec<String> {
        let listed = try_git(&self.tree, &["rev-list", "--all", "--reflog", "HEAD"]);
        String::from_utf8_lossy(&listed.stdout).lines().map(str::to_owned).collect()
    }
}

fn write(path: &Path, text: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

impl Drop for Site {
    fn drop(&mut self) {
        for mut child in self.held.borrow_mut().drain(..) {
            child.kill().ok();
            child.wait().ok();
        }
        for mount in self.mounts.borrow_mut().drain(..) {
            Command::new("umount").arg("--lazy").arg(mount).status().ok();
        }
    }
}
