//! Takes up where a worktree stands now: what the file system, or whoever moved its repository, has changed
//! of what is written down.

use std::sync::Arc;
use std::time::Duration;

use hob_actors::event::{Event, Level, NewEvent, Scope};
use hob_actors::ports::{Permit, Store as _, chain};

use super::{Pending, PendingError};
use crate::path_text;
use crate::store::{SessionWorktree, Store, StoreError};
use crate::worktree::{Grounds, Standing, WorktreeError, Worktrees};

/// For one look at where a worktree stands.
const PLACE_TIMEOUT: Duration = Duration::from_secs(15);

impl Pending {
    /// Whether the worktree of a session is the one that was made, and in its place; else what is wrong, and
    /// what brings it back. What is renewed or moved of it is written down.
    pub async fn place_of(&self, session: &str) -> Result<(), String> {
        match self.0.store.worktree_of_session(session).await {
            Ok(Some(found)) => self.stands(found).await,
            Ok(None) => Ok(()),
            // The store says so itself where it matters.
            Err(_) => Ok(()),
        }
    }

    /// The same of one that is known.
    pub(super) async fn stands(&self, found: SessionWorktree) -> Result<(), String> {
        let (id, path) = (found.known.id.clone(), found.known.path.clone());
        if matches!(found.state.as_str(), "archived" | "purged") {
            return Err(format!("its worktree {id} is {}: `hob worktree restore {id}`", found.state));
        }
        let taken = take_up::<PendingError>(&self.0.store, &self.0.worktrees, found);
        match tokio::time::timeout(PLACE_TIMEOUT, taken).await {
            // Into the trash by a removal that is not written down yet.
            Ok(Ok(_)) if std::fs::symlink_metadata(&path).is_err() => {
                Err(format!("its worktree `{}` is in the trash: `hob worktree restore {id}`", path.display()))
            }
            Ok(Err(PendingError::Worktree(error))) => Err(match error.hint {
                Some(hint) => format!("{}: `{hint}`", error.message),
                None => error.message,
            }),
            Ok(Ok(_) | Err(_)) => Ok(()),
            Err(_) => Err(format!(
                "`{}` could not be looked at within {} s",
                path.display(),
                PLACE_TIMEOUT.as_secs()
            )),
        }
    }
}

/// The worktree as it stands now, with that written down.
///
/// # Errors
/// It is another directory, or its repository is gone; the store.
pub async fn take_up<E>(
    store: &Store,
    worktrees: &Worktrees,
    found: SessionWorktree,
) -> Result<SessionWorktree, E>
where
    E: From<StoreError> + From<WorktreeError>,
{
    let known = &found.known;
    match worktrees.standing(known).await? {
        Standing::Same => return Ok(found),
        Standing::Renewed(identity) => {
            tracing::debug!(worktree = %known.id, ?identity, "which directory it is is written down anew");
            store.worktree_identified(&known.id, identity).await?;
        }
        Standing::Moved { common_dir, top } => {
            let (top, common_dir) = (path_text::text(&top), path_text::text(&common_dir));
            store.worktree_followed(&known.id, &top, &common_dir).await?;
        }
    }
    Ok(store.known_worktree(&known.id).await?.unwrap_or(found))
}

/// The same where its entry in the repository is not where it was, and at once what was known where nothing
/// better is: whoever uses it says what is wrong.
pub async fn followed(store: &Store, worktrees: &Worktrees, found: SessionWorktree) -> SessionWorktree {
    let found = follow(store, worktrees, found).await;
    match grounded(store, worktrees, &found).await {
        Ok(Some(now)) => now,
        Ok(None) => found,
        Err(error) => {
            tracing::warn!(worktree = %found.known.id, error = chain(&error), "what is gone of it was not looked for");
            found
        }
    }
}

/// A worktree with what takes the place of objects that are gone from its repository; `None` where all is
/// there. It is written down, and told once.
async fn grounded(
    store: &Store,
    worktrees: &Worktrees,
    found: &SessionWorktree,
) -> Result<Option<SessionWorktree>, PendingError> {
    let known = &found.known;
    if !worktrees.has_lost_ground(known, found.last_tree.as_deref()).await? {
        return Ok(None);
    }
    let recorded = Grounds {
        base_commit: known.base_commit.clone(),
        baseline: known.baseline.clone(),
        last_tree: found.last_tree.clone(),
        history: store.segments(&known.id).await?,
    };
    let (now, text) = worktrees.other_grounds(known, recorded).await?;
    if store.record_grounds(known, now).await? {
        let session = store.worktree(&known.id).await?.and_then(|row| row.session).map(Into::into);
        let scope = Arc::new(Scope { session, ..Scope::default() });
        let event = Event::Notice { level: Level::Warning, text };
        store.append(NewEvent { scope, event }, Permit::free());
    }
    Ok(store.known_worktree(&known.id).await?)
}

async fn follow(store: &Store, worktrees: &Worktrees, found: SessionWorktree) -> SessionWorktree {
    if std::fs::symlink_metadata(found.known.admin()).is_ok() {
        return found;
    }
    let taken: Result<SessionWorktree, crate::retire::RetireError> =
        take_up(store, worktrees, found.clone()).await;
    taken.unwrap_or_else(|error| {
        tracing::debug!(worktree = %found.known.id, %error, "it is not where it was");
        found
    })
}
