//! One random step in a worktree. A step that git refuses is a step like any other.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use fastrand::Rng;

use super::site::{Site, git, try_git};

/// Names that steps work with, so that they meet.
const NAMES: [&str; 9] =
    ["README.md", "src/lib.rs", "run.sh", "link", "a", "b/c", "b/d e", "x.ignored", ".env"];

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
    match rng.u8(..10) {
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

fn history(site: &Site, rng: &mut Rng) -> String {
    let name = name(rng);
    let number = rng.u32(..1000).to_string();
    let branch = format!("b{}", rng.u8(..3));
    let commands: [&[&str]; 22] = [
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
    ];
    let command = commands[rng.usize(..commands.len())];
    let ended = try_git(&site.tree, command);
    format!("git {} ({})", command.join(" "), ended.status)
}
