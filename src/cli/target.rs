//! The session that a command is about: the one that is named, else the one of the working directory.

use std::path::{Component, Path, PathBuf};

use serde_json::json;

use super::context::Ctx;
use super::error::{CliError, Exit};
use super::find::{Kind, id};
use super::link::Link;
use crate::control::wire::{ArenaRow, IdOr, SessionRow, WorktreeRow};

/// A session, and where the paths of a command line begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The session.
    pub session: String,
    /// The top of the checkout or worktree that the working directory is in, if it is in one.
    top: Option<PathBuf>,
}

/// Finds the session.
///
/// # Errors
/// Exit 5 where the working directory belongs to none.
pub async fn find(link: &Link, named: Option<&str>) -> Result<Target, CliError> {
    let here = std::env::current_dir().and_then(std::fs::canonicalize);
    let mut sessions: Vec<SessionRow> = link.call("session/list", json!({})).await?;
    let worktrees: Vec<WorktreeRow> = link.call("worktree/list", json!({})).await?;
    if let Some(named) = named {
        let session = id(link, Kind::Session, named).await?;
        let of_it = sessions.into_iter().filter(|row| row.id == session);
        let top = here.ok().and_then(|here| chosen(&here, of_it.collect(), &worktrees)).and_then(|t| t.top);
        return Ok(Target { session, top });
    }
    let here = here.map_err(|error| CliError::failed(format!("no working directory: {error}")))?;
    // What competes is not what the person works on, unless they stand in it.
    let arenas: Vec<ArenaRow> = link.call("arena/list", json!({})).await?;
    let is_entry = |session: &SessionRow| {
        let mut open = arenas.iter().filter(|arena| arena.state == "open").flat_map(|arena| &arena.entries);
        open.any(|entry| entry.session.as_ref() == Some(&session.id))
    };
    let stands_in = worktrees.iter().find(|row| here.starts_with(&row.path)).map(|row| row.session.clone());
    sessions.retain(|row| !is_entry(row) || stands_in == Some(Some(row.id.clone())));
    chosen(&here, sessions, &worktrees).ok_or_else(|| {
        let message = format!("no open session belongs to `{}`", here.display());
        CliError::new(Exit::NotFound, message).hint("-s SESSION; `hob session ls` lists them")
    })
}

/// The session whose worktree holds a directory, else the newest open one of the checkout around it.
fn chosen(here: &Path, sessions: Vec<SessionRow>, worktrees: &[WorktreeRow]) -> Option<Target> {
    let inside = worktrees.iter().find(|row| here.starts_with(&row.path));
    if let Some((row, session)) = inside.and_then(|row| Some((row, row.session.clone()?)))
        && sessions.iter().any(|known| known.id == session)
    {
        return Some(Target { session, top: Some(PathBuf::from(&row.path)) });
    }
    let around = sessions.into_iter().filter(|row| here.starts_with(&row.repo));
    let nearest = around.max_by_key(|row| (row.repo.len(), row.created_at))?;
    Some(Target { top: Some(PathBuf::from(&nearest.repo)), session: nearest.id })
}

impl Target {
    /// A session whose checkout is known.
    pub fn of_checkout(session: &str, checkout: &str) -> Self {
        let here = std::env::current_dir().and_then(std::fs::canonicalize).ok();
        // Somewhere else, paths can only be relative to its top.
        let top = here.filter(|here| here.starts_with(checkout)).map(|_| PathBuf::from(checkout));
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
            return Ok(given.to_string_lossy().into_owned());
        };
        let here = std::env::current_dir().and_then(std::fs::canonicalize)?;
        let path = plain(&here.join(given));
        let Ok(relative) = path.strip_prefix(top) else {
            let message = format!("`{}` is not in `{}`", given.display(), top.display());
            return Err(CliError::usage(message));
        };
        let text = relative.to_string_lossy().into_owned();
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
    use crate::control::wire::{Moment, UsageRow};

    fn session(id: &str, repo: &str, at: i64) -> SessionRow {
        SessionRow {
            id: id.into(),
            repo: repo.into(),
            title: None,
            base: None,
            state: "open".into(),
            created_at: Moment(at),
            closed_at: None,
            worktree: None,
            chats: Vec::new(),
            usage: UsageRow::default(),
        }
    }

    fn tree(session: &str, path: &str) -> WorktreeRow {
        WorktreeRow {
            id: "w-1".into(),
            session: Some(session.into()),
            repo: "/src".into(),
            path: path.into(),
            branch: String::new(),
            base_commit: String::new(),
            state: "active".into(),
            created_at: Moment(0),
            last_write: None,
            size_bytes: None,
            salvage_ref: None,
            kept_because: Vec::new(),
        }
    }

    #[test]
    fn a_worktree_comes_before_a_checkout_and_the_newest_session_before_others() {
        let sessions =
            || vec![session("s-old", "/src", 1), session("s-new", "/src", 2), session("s-in", "/src/in", 0)];
        let trees = [tree("s-old", "/state/w-1")];
        let of = |here: &str| chosen(Path::new(here), sessions(), &trees).map(|target| target.session);
        assert_eq!(of("/src/deep").as_deref(), Some("s-new"));
        assert_eq!(of("/src/in/deep").as_deref(), Some("s-in"));
        assert_eq!(of("/state/w-1/deep").as_deref(), Some("s-old"));
        assert_eq!(of("/elsewhere"), None);
    }

    #[test]
    fn points_in_a_path_are_resolved_without_a_look_at_the_disk() {
        assert_eq!(plain(Path::new("/a/./b/../c")), Path::new("/a/c"));
    }
}
