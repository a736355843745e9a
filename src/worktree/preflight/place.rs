//! Steps 1 and 2: that the directory lies where we put it, is the one that we made, and is the worktree
//! of the repository that it was made from.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use hob_actors::worktree::ReasonKind;

use super::findings::Findings;
use super::{Job, Trouble, mounts, unreadable};
use crate::backend::process::mounted_elsewhere;
use crate::regular;
use crate::worktree::identity::{Identity, Verdict};
use crate::worktree::standing::gone;
use crate::worktree::undo::{Names, is_linked};

/// Looks; false if it is not our worktree, so that nothing else can be said of it.
pub(super) fn look(job: &Job<'_>, found: &mut Findings) -> Result<bool, Trouble> {
    let (path, root) = (&job.known.path, &job.inner.root);
    let mut foreign = |why: String| {
        found.note(ReasonKind::Foreign, why);
        Ok(false)
    };
    if path.parent() != Some(root.as_path()) {
        return foreign(format!("`{}` is not in `{}`", path.display(), root.display()));
    }
    let at = match fs::symlink_metadata(path) {
        Ok(at) => at,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return foreign(format!("`{}` is not there", path.display()));
        }
        Err(error) => return Err(unreadable(path, &error)),
    };
    if at.is_symlink() || !at.is_dir() {
        return foreign(format!("`{}` is no directory", path.display()));
    }
    let real = fs::canonicalize(path).map_err(|error| unreadable(path, &error))?;
    if real != *path {
        return foreign(format!("`{}` is reached by a symbolic link", path.display()));
    }
    if at.uid() != nix::unistd::geteuid().as_raw() {
        return foreign(format!("`{}` belongs to another user", path.display()));
    }
    if !job.known.common_dir.exists() {
        let gone = gone(job.known);
        return foreign(format!("{} ({})", gone.message, gone.hint.unwrap_or_default()));
    }
    let now = Identity::of(path, &job.admin()).map_err(|error| unreadable(path, &error))?;
    if let Verdict::Another(why) = job.known.identity.judge(&now) {
        return foreign(format!("`{}` is not the directory that was made: {why}", path.display()));
    }
    if let Some(why) = not_linked(job)? {
        return foreign(why);
    }
    let crossing = mounts::crossing(root, path).map_err(|error| unreadable(Path::new("/proc"), &error))?;
    if let Some(point) = crossing {
        found.note(ReasonKind::Mount, format!("something is mounted at `{}`", point.display()));
    }
    let second = mounted_elsewhere(path).map_err(|error| unreadable(Path::new("/proc"), &error))?;
    if let Some(point) = second {
        found.note(ReasonKind::Mount, format!("it is mounted at `{}`, too", point.display()));
    }
    Ok(true)
}

/// Why the directory is not the worktree that it was.
fn not_linked(job: &Job<'_>) -> Result<Option<String>, Trouble> {
    let dot_git = job.known.path.join(".git");
    match fs::symlink_metadata(&dot_git) {
        Ok(found) if found.is_file() => {}
        Ok(found) if found.is_dir() => {
            return Ok(Some(format!("`{}` is a repository of its own", job.known.path.display())));
        }
        Ok(_) => return Ok(Some(format!("`{}` is no file", dot_git.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Some(format!("`{}` is missing", dot_git.display())));
        }
        Err(error) => return Err(unreadable(&dot_git, &error)),
    }
    if !is_linked(&Names::known(job.known)) {
        return Ok(Some(format!(
            "`{}` and its entry in `{}` do not name each other",
            job.known.path.display(),
            job.known.common_dir.display()
        )));
    }
    let admin = job.admin();
    let common = regular::read_text(&admin.join("commondir")).map_err(|error| unreadable(&admin, &error))?;
    let common =
        fs::canonicalize(admin.join(common.trim_end())).map_err(|error| unreadable(&admin, &error))?;
    if common != job.known.common_dir {
        return Ok(Some(format!("its entry points to the repository `{}`", common.display())));
    }
    Ok(None)
}
