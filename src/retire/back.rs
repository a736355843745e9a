//! The way back of a worktree, and the end of its trash.

use std::sync::Arc;

use hob_actors::event::{Event, Level, NewEvent, Scope};
use hob_actors::ports::{Permit, Store as _};

use super::{Retire, RetireError};
use crate::control::wire::SessionRow;
use crate::path_text;
use crate::store::{SessionWorktree, TombstoneKind};
use crate::sync::lock;
use crate::worktree::{Left, Place};

impl Retire {
    /// Brings a worktree back from the trash, or from its salvage, with its session.
    ///
    /// # Errors
    /// `Conflict` if it is in its place; whatever failed.
    pub async fn restore(&self, id: &str) -> Result<SessionRow, RetireError> {
        let found = self.known(id).await?;
        if !self.is_away(&found).await? {
            if self.0.worktrees.standing(&found.known).await.is_ok() {
                return Err(RetireError::Conflict(format!("worktree {id} is {}, in its place", found.state)));
            }
            // Agents that work in a directory that is gone would go on in it.
            self.end_lost(id).await?;
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
        let restored = if self.is_away(&found).await? {
            self.0.worktrees.restore(&found.known).await?
        } else {
            self.0.worktrees.mend(&found.known, found.last_tree.clone()).await?
        };
        crash_point!("restore.unrecorded");
        let session = self.0.store.worktree_restored(id, restored.identity).await?;
        crash_point!("restore.recorded");
        if let Err(error) = self.0.worktrees.restored(&found.known).await {
            tracing::debug!(worktree = id, %error, "a mark that nobody reads stays behind");
        }
        for notice in restored.notices {
            self.say(id, Level::Warning, notice).await;
        }
        Ok(session)
    }

    /// Whether it was removed. In the trash it must come back, also where its row does not say that it is
    /// there; one that was not removed and is not in its place was taken apart by somebody else.
    async fn is_away(&self, found: &SessionWorktree) -> Result<bool, RetireError> {
        Ok(matches!(found.state.as_str(), "archived" | "purged")
            || matches!(self.0.worktrees.place(&found.known).await?, Place::InTrash | Place::HalfMoved))
    }

    /// Empties the trash of a worktree. What cannot be removed is told, and tried again.
    ///
    /// # Errors
    /// `Conflict` if it is not in the trash by now; whatever failed: then it is tried again.
    pub async fn purge(&self, id: &str) -> Result<(), RetireError> {
        self.0.store.begin_with_worktree(id, TombstoneKind::Purge, "the reaper").await?;
        crash_point!("purge.begun");
        // Before it is gone: what is cut short may be done all the same.
        lock(&self.0.purged).insert(id.to_owned());
        if let Err(error) = self.empty_trash(id).await {
            self.nothing_came_of_it(id).await;
            return Err(error);
        }
        Ok(self.0.store.worktree_purged(id).await?)
    }

    async fn empty_trash(&self, id: &str) -> Result<(), RetireError> {
        // One that was never made whole has nothing in the trash.
        let Some(found) = self.0.store.known_worktree(id).await? else { return Ok(()) };
        let purged = self.0.worktrees.purge(&found.known).await?;
        if purged.n_late > 0 {
            let files = if purged.n_late == 1 { "file was" } else { "files were" };
            let (n, salvage) = (purged.n_late, self.0.worktrees.salvage_ref(&found.known));
            self.tell(format!(
                "{n} {files} written into worktree {id} after its removal, and kept on {salvage}"
            ));
        }
        self.tell_left(purged.left);
        // Its session may want its trees for as long as it is there.
        if self.0.store.session_of_worktree(id).await?.is_none() {
            self.0.worktrees.forget_trees(&found.known).await?;
        }
        Ok(())
    }

    /// Tries once more to remove what purges had to leave.
    ///
    /// # Errors
    /// The store.
    pub(super) async fn sweep(&self) -> Result<(), RetireError> {
        let common_dirs =
            self.0.store.common_dirs().await?.into_iter().map(|dir| path_text::path(&dir)).collect();
        let left = self.0.worktrees.sweep(common_dirs).await?;
        self.tell_left(left);
        Ok(())
    }

    /// Heals the refs of every repository that worktrees are of, and tells what was lost.
    pub async fn heal(&self) {
        let common_dirs = match self.0.store.common_dirs().await {
            Ok(dirs) => dirs,
            Err(error) => return tracing::warn!(%error, "no ref could be looked at"),
        };
        for dir in common_dirs {
            match self.0.worktrees.heal(path_text::path(&dir)).await {
                Ok(lost) => lost.into_iter().for_each(|text| self.tell(text)),
                // The repository may be gone.
                Err(error) => tracing::info!(dir, %error, "the refs of a repository could not be looked at"),
            }
        }
    }

    fn tell(&self, text: String) {
        tracing::warn!("{text}");
        let event = Event::Notice { level: Level::Warning, text };
        self.0.store.append(NewEvent { scope: Arc::new(Scope::default()), event }, Permit::free());
    }

    /// Tells once of each.
    fn tell_left(&self, left: Vec<Left>) {
        for Left { path, why } in left {
            let is_new = self.0.told.lock().is_ok_and(|mut told| told.insert(path.clone()));
            if is_new {
                self.tell(format!("`{}` was purged and cannot be removed: {why}", path.display()));
            }
        }
    }

    /// Lets go of the salvage of a worktree that was purged.
    ///
    /// # Errors
    /// `Conflict` if it came back by now; whatever failed: then it is tried again.
    pub async fn drop_salvage(&self, id: &str) -> Result<(), RetireError> {
        self.0.store.begin_with_worktree(id, TombstoneKind::Drop, "the reaper").await?;
        if let Err(error) = self.forget(id).await {
            self.nothing_came_of_it(id).await;
            return Err(error);
        }
        Ok(self.0.store.salvage_dropped(id).await?)
    }

    async fn forget(&self, id: &str) -> Result<(), RetireError> {
        let found = self.known(id).await?;
        self.0.worktrees.drop_salvage(&found.known).await?;
        Ok(self.0.worktrees.forget_trees(&found.known).await?)
    }
}
