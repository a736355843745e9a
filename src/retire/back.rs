//! The way back of a worktree, and the end of its trash.

use hob_actors::event::Level;

use super::{Retire, RetireError};
use crate::control::wire::SessionRow;
use crate::store::TombstoneKind;
use crate::worktree::Place;

impl Retire {
    /// Brings a worktree back from the trash, or from its salvage, with its session.
    ///
    /// # Errors
    /// `Conflict` if it is in its place; whatever failed.
    pub async fn restore(&self, id: &str) -> Result<SessionRow, RetireError> {
        let found = self.known(id).await?;
        // In the trash it must come back, also where its row does not say that it is there.
        let is_away = matches!(found.state.as_str(), "archived" | "purged")
            || matches!(self.0.worktrees.place(&found.known).await?, Place::InTrash | Place::HalfMoved);
        if !is_away {
            return Err(RetireError::Conflict(format!("worktree {id} is {}, in its place", found.state)));
        }
        self.0.store.begin_with_worktree(id, TombstoneKind::Restore, "a person").await?;
        crash_point!("restore.begun");
        match self.bring_back(id).await {
            Ok(session) => Ok(session),
            Err(error) => {
                self.settle_failure(id, TombstoneKind::Restore).await;
                Err(error)
            }
        }
    }

    pub(super) async fn bring_back(&self, id: &str) -> Result<SessionRow, RetireError> {
        let found = self.known(id).await?;
        let restored = self.0.worktrees.restore(&found.known).await?;
        crash_point!("restore.unrecorded");
        let session = self.0.store.worktree_restored(id, (restored.device, restored.inode)).await?;
        crash_point!("restore.recorded");
        if let Err(error) = self.0.worktrees.restored(&found.known).await {
            tracing::debug!(worktree = id, %error, "a mark that nobody reads stays behind");
        }
        for notice in restored.notices {
            self.say(id, Level::Warning, notice).await;
        }
        Ok(session)
    }

    /// Empties the trash of a worktree.
    ///
    /// # Errors
    /// Whatever failed: then it is tried again.
    pub async fn purge(&self, id: &str) -> Result<(), RetireError> {
        let found = self.known(id).await?;
        if found.state != "archived" {
            return Err(RetireError::Conflict(format!("worktree {id} is {}", found.state)));
        }
        self.0.worktrees.purge(&found.known).await?;
        // Its session may want its trees for as long as it is there.
        if self.0.store.session_of_worktree(id).await?.is_none() {
            self.0.worktrees.forget_trees(&found.known).await?;
        }
        Ok(self.0.store.worktree_purged(id).await?)
    }

    /// Lets go of the salvage of a worktree that was purged.
    ///
    /// # Errors
    /// Whatever failed: then it is tried again.
    pub async fn drop_salvage(&self, id: &str) -> Result<(), RetireError> {
        let found = self.known(id).await?;
        self.0.worktrees.drop_salvage(&found.known).await?;
        self.0.worktrees.forget_trees(&found.known).await?;
        Ok(self.0.store.salvage_dropped(id).await?)
    }
}
