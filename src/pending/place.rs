//! Takes up where a worktree stands now: what the file system, or whoever moved its repository, has changed
//! of what is written down.

use crate::store::{SessionWorktree, Store, StoreError};
use crate::worktree::{Standing, WorktreeError, Worktrees};

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
            let (Some(top), Some(common_dir)) = (top.to_str(), common_dir.to_str()) else { return Ok(found) };
            store.worktree_followed(&known.id, top, common_dir).await?;
        }
    }
    Ok(store.known_worktree(&known.id).await?.unwrap_or(found))
}

/// The same where its entry in the repository is not where it was, and at once what was known where nothing
/// better is: whoever uses it says what is wrong.
pub async fn followed(store: &Store, worktrees: &Worktrees, found: SessionWorktree) -> SessionWorktree {
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
