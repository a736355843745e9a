//! The session that a command is about: the one that is named, else the one of the working directory.

use std::path::{Component, Path, PathBuf};

use serde_json::json;

use super::context::Ctx;
use super::error::{CliError, Exit};
use super::find::{Kind, id};
use super::link::Link;
use super::render::{DIM, paint};
use crate::control::wire::{IdOr, ResolveReply, SessionRow, WorktreeRow};
use crate::path_text;

/// A session, and where the paths of a command line begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The session.
    pub session: String,
    /// The top of the checkout or worktree that the working directory is in, if it is in one.
    top: Option<PathBuf>,
}

/// Finds the session by the daemon's rule, and names it to the person.
///
/// # Errors
/// Exit 5 where the working directory belongs to none.
pub async fn find(ctx: &mut Ctx, link: &Link, named: Option<&str>) -> Result<Target, CliError> {
    let here = std::env::current_dir().and_then(std::fs::canonicalize);
    let params = match (named, &here) {
        (Some(named), _) => json!({"session": id(link, Kind::Session, named).await?}),
        (None, Ok(here)) => json!({"repo": path_text::text(here)}),
        (None, Err(error)) => return Err(CliError::failed(format!("no working directory: {error}"))),
    };
    let meant: ResolveReply = link.call("session/resolve", params).await?;
    let branch = meant.branch.as_ref().map(|branch| format!(" ({branch})")).unwrap_or_default();
    ctx.say(paint(DIM, format_args!("session {}{branch}", meant.session)));
    let top = here.ok().and_then(|here| top(&here, &meant));
    Ok(Target { session: meant.session, top })
}

/// The worktree or the checkout of a session, where a directory is in one of them.
fn top(here: &Path, meant: &ResolveReply) -> Option<PathBuf> {
    let tops = meant.path.iter().chain([&meant.repo]);
    tops.map(|top| path_text::path(top)).find(|top| here.starts_with(top))
}

impl Target {
    /// A session whose checkout is known.
    pub fn of_checkout(session: &str, checkout: &str) -> Self {
        let here = std::env::current_dir().and_then(std::fs::canonicalize).ok();
        // Somewhere else, paths can only be relative to its top.
        let top = here
            .filter(|here| here.starts_with(path_text::path(checkout)))
            .map(|_| path_text::path(checkout));
        Self { session: session.to_owned(), top }
    }

    /// The paths of a command line as the daemon takes them: relative to the top.
    ///
    /// # Errors
    /// Exit 2 for a path that is not in the checkout.
    pub fn paths(&self, given: &[PathBuf]) -> Result<Vec<String>, CliError> {
        given.iter().map(|path| self.path(path)).collect()
    }

    fn path(&self, given: &Path) -> Result<String, CliError> {
        let Some(top) = &self.top else {
            // Nowhere near: then it can only be relative to the top.
            return Ok(path_text::text(given));
        };
        let here = std::env::current_dir().and_then(std::fs::canonicalize)?;
        let path = plain(&here.join(given));
        let Ok(relative) = path.strip_prefix(top) else {
            let message = format!("`{}` is not in `{}`", given.display(), top.display());
            return Err(CliError::usage(message));
        };
        let text = path_text::text(relative);
        Ok(if text.is_empty() { ".".to_owned() } else { text })
    }
}

/// A path without `.` and `..`; nothing on the disk is looked at, because it may be gone.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
}

/// The worktree that is meant: by its id, or by that of its session.
pub async fn worktree(ctx: &mut Ctx, given: &str) -> Result<String, CliError> {
    let link = ctx.link().await?;
    let rows: Vec<WorktreeRow> = link.call("worktree/list", json!({"all": true})).await?;
    let ids = rows.iter().map(|row| row.id.as_str());
    if let Some(found) = super::find::choose(Kind::Worktree, given, ids)? {
        return Ok(found);
    }
    let session = id(&link, Kind::Session, given).await.map_err(|error| {
        if error.is_not_found() {
            let message = format!("no worktree and no session `{given}`");
            return CliError::new(Exit::NotFound, message).hint("hob worktree ls -a");
        }
        error
    })?;
    let row: SessionRow = link.call("session/show", json!({"session": session})).await?;
    match row.worktree {
        Some(IdOr::Whole(tree)) => Ok(tree.id),
        Some(IdOr::Id(id)) => Ok(id),
        None => Err(CliError::new(Exit::Conflict, format!("session `{session}` has no worktree"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_begin_in_the_worktree_before_the_checkout_and_elsewhere_nowhere() {
        let meant = |path: Option<&str>| ResolveReply {
            session: "s-1".into(),
            state: "open".into(),
            repo: "/src".into(),
            worktree: None,
            branch: None,
            path: path.map(str::to_owned),
        };
        let of = |here: &str, path| top(Path::new(here), &meant(path));
        let at = |path: &str| Some(PathBuf::from(path));
        assert_eq!(of("/src/deep", Some("/state/w-1")), at("/src"));
        assert_eq!(of("/state/w-1/deep", Some("/state/w-1")), at("/state/w-1"));
        assert_eq!(of("/src/w-1/deep", Some("/src/w-1")), at("/src/w-1"));
        assert_eq!(of("/src", None), at("/src"));
        assert_eq!((of("/elsewhere", Some("/state/w-1")), of("/srca", None)), (None, None));
    }

    #[test]
    fn points_in_a_path_are_resolved_without_a_look_at_the_disk() {
        assert_eq!(plain(Path::new("/a/./b/../c")), Path::new("/a/c"));
    }
}
