//! One random step in a worktree. A step that git refuses is a step like any other.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};

use fastrand::Rng;

use super::site::{Site, git, try_git};

/// Names that steps work with, so that they meet.
const NAMES: [&str; 14] = [
    "README.md",
    "readme.md",
    "src/lib.rs",
    "run.sh",
    "link",
    "a",
    "A",
    "b/c",
    "b/d e",
    "x.ignored",
    ".env",
    "target/debug.txt",
    "src/target/mod.rs",
    "text.utf16",
];

fn name(rng: &mut Rng) -> &'static str {
    NAMES[rng.usize(..NAMES.len())]
}

/// Makes a step; says what it was.
pub fn step(site: &Site, rng: &mut Rng) -> String {
    if rng.bool() { files(site, rng) } else { history(site, rng) }
}

fn put(site: &Site, name: &str, text: &str) {
    let path = site.tree.join(name);
    // What is in the way stays.
    if path.parent().is_some_and(|above| fs::create_dir_all(above).is_ok()) {
        if path.is_symlink() {
            fs::remove_file(&path).ok();
        }
        fs::write(path, text).ok();
    }
}

fn files(site: &Site, rng: &mut Rng) -> String {
    let (name, other) = (name(rng), name(rng));
    let (path, to) = (site.tree.join(name), site.tree.join(other));
    match rng.u8(..14) {
        0..4 => {
            let text = format!("{}\n", rng.u32(..)).repeat(rng.usize(1..30));
            put(site, name, &text);
            format!("write {name}")
        }
        4 => {
            fs::remove_file(&path).ok();
            format!("remove {name}")
        }
        5 => {
            fs::rename(&path, &to).ok();
            format!("rename {name} to {other}")
        }
        6 => {
            let mode = [0o600, 0o644, 0o755, 0o400, 0o700][rng.usize(..5)];
            if path.is_file() && !path.is_symlink() {
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).ok();
            }
            format!("chmod {mode:o} {name}")
        }
        7 => {
            fs::remove_file(&path).ok();
            symlink(other, &path).ok();
            format!("link {name} to {other}")
        }
        8 => {
            fs::create_dir_all(site.tree.join("empty/er")).ok();
            "make empty directories".to_owned()
        }
        9 => {
            let name = OsStr::from_bytes(b"odd \xff\n name");
            fs::write(site.tree.join(name), format!("{}\n", rng.u32(..))).ok();
            "write a name that is no UTF-8".to_owned()
        }
        10 => {
            let pipe = site.tree.join("b/pipe");
            fs::create_dir_all(site.tree.join("b")).ok();
            nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).ok();
            "make a pipe".to_owned()
        }
        11 => {
            let mode = [0o700, 0o755, 0o775][rng.usize(..3)];
            fs::set_permissions(site.tree.join("src"), fs::Permissions::from_mode(mode)).ok();
            format!("chmod {mode:o} src")
        }
        12 => submodule(site),
        _ => {
            let nested = site.tree.join("nested");
            if fs::create_dir_all(&nested).is_ok() && !nested.join(".git").exists() {
                git(&nested, &["init", "--quiet"]);
                fs::write(nested.join("inside"), "inside\n").ok();
            }
            "init nested".to_owned()
        }
    }
}

/// A submodule with a repository of its own, or a commit in it.
fn submodule(site: &Site) -> String {
    let (library, inside) = (site.dir.join("library"), site.tree.join("library"));
    if !library.exists() {
        fs::create_dir(&library).unwrap();
        git(&library, &["init", "--quiet"]);
        git(&library, &["commit", "--quiet", "--allow-empty", "-m", "lib"]);
    }
    if inside.join(".git").exists() {
        let ended = try_git(&inside, &["commit", "--quiet", "--allow-empty", "-m", "mine"]);
        return format!("commit in the submodule ({})", ended.status);
    }
    let ended = try_git(&site.tree, &["submodule", "--quiet", "add", library.to_str().unwrap(), "library"]);
    format!("add a submodule ({})", ended.status)
}

fn history(site: &Site, rng: &mut Rng) -> String {
    let name = name(rng);
    let number = rng.u32(..1000).to_string();
    let branch = format!("b{}", rng.u8(..3));
    let commands: [&[&str]; 32] = [
        &["add", "."],
        &["add", "--force", name],
        &["add", "-N", "."],
        &["commit", "--quiet", "-m", &number],
        &["commit", "--quiet", "--all", "-m", &number],
        &["commit", "--quiet", "--amend", "-m", &number],
        &["commit", "--quiet", "--allow-empty", "-m", &number],
        &["reset", "--quiet", "--soft", "HEAD~1"],
        &["reset", "--quiet", "--mixed", "HEAD~1"],
        &["reset", "--quiet", "--hard", "HEAD~1"],
        &["stash", "--quiet"],
        &["checkout", "--quiet", "-B", &branch],
        &["checkout", "--quiet", "--detach"],
        &["checkout", "--quiet", &branch],
        &["merge", "--quiet", &branch],
        &["rebase", &branch],
        &["cherry-pick", &branch],
        &["rm", "--quiet", "--cached", name],
        &["update-index", "--assume-unchanged", name],
        &["update-index", "--skip-worktree", name],
        &["update-ref", "refs/worktree/mine", "HEAD"],
        &["mv", name, "moved"],
        &["stash", "push", "--quiet", "--include-untracked"],
        &["stash", "pop", "--quiet"],
        &["worktree", "add", "--quiet", "--detach", "inner"],
        &["fetch", "--quiet", ".", "HEAD"],
        &["stash", "drop", "--quiet"],
        &["update-index", "--split-index"],
        &["update-index", "--no-split-index"],
        &["sparse-checkout", "set", "--cone", "--sparse-index", "src"],
        &["sparse-checkout", "set", "--cone", "--no-sparse-index", "nested"],
        &["sparse-checkout", "disable"],
    ];
    let command = commands[rng.usize(..commands.len())];
    let ended = try_git(&site.tree, command);
    format!("git {} ({})", command.join(" "), ended.status)
}
