//! Directories in the place of worktrees that nobody has written down. Reads only.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::regular;
use crate::worktree::error::WorktreeError;
use crate::worktree::identity::Identity;
use crate::worktree::known::Known;
use crate::worktree::source::path_from;
use crate::worktree::{Inner, Worktrees, obstacles};

/// A directory that nobody has written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stray {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// What it says of itself, if it is the worktree of a repository that says the same of it.
    pub known: Option<Known>,
}

impl Worktrees {
    /// The directories in the place of worktrees whose names are not among these.
    ///
    /// # Errors
    /// The place cannot be read.
    pub async fn strays(&self, written_down: Vec<String>) -> Result<Vec<Stray>, WorktreeError> {
        self.job(&self.inner.looks, move |inner| strays(inner, &written_down)).await
    }
}

fn strays(inner: &Inner, written_down: &[String]) -> Result<Vec<Stray>, WorktreeError> {
    let io = |error: io::Error| WorktreeError::io("read", &inner.root, &error);
    let entries = match fs::read_dir(&inner.root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(io)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // What begins with a point is ours, and no worktree.
        if name.starts_with('.') || written_down.contains(&name) {
            continue;
        }
        let path = entry.path();
        found.push(Stray { known: identify(&name, &path), name, path });
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// What a directory is, if it and a repository agree on that.
fn identify(name: &str, path: &Path) -> Option<Known> {
    fs::symlink_metadata(path).ok().filter(fs::Metadata::is_dir)?;
    let text = regular::read(&path.join(".git")).ok()?;
    let admin = path_from(text.strip_prefix(b"gitdir: ")?.trim_ascii_end().to_vec());
    let common_dir = fs::canonicalize(admin.parent()?.parent()?).ok()?;
    if admin.file_name()?.to_str()? != name || admin.parent()?.file_name()? != "worktrees" {
        return None;
    }
    let back = regular::read(&admin.join("gitdir")).ok()?;
    if path_from(back.trim_ascii_end().to_vec()) != path.join(".git") {
        return None;
    }
    obstacles::before_opening(path).ok()?;
    let repo = git2::Repository::open(path).ok()?;
    let head = repo.find_reference("HEAD").ok()?;
    let branch = head.symbolic_target().ok().flatten().unwrap_or_default();
    let main = git2::Repository::open(&common_dir).ok()?;
    // What it shares with the main checkout is not its own work.
    let (own, shared) =
        (repo.head().ok()?.peel_to_commit().ok()?.id(), main.head().ok()?.peel_to_commit().ok()?.id());
    let base_commit = main.merge_base(own, shared).ok()?.to_string();
    Some(Known {
        id: name.to_owned(),
        path: path.to_owned(),
        branch: branch.trim_start_matches("refs/heads/").to_owned(),
        base_commit,
        top: main
            .workdir()
            .map_or_else(|| common_dir.clone(), |top| fs::canonicalize(top).unwrap_or_default()),
        common_dir,
        identity: Identity::of(path, &admin).ok()?,
        baseline: None,
        made_with: None,
    })
}
