//! What a start makes of removals and restores that were cut short: each is finished or undone, by what
//! is on the disk. The rule is pure.

use hob_actors::event::Level;

use super::{Retire, RetireError};
use crate::pending::take_up;
use crate::store::{Tombstone, TombstoneKind};
use crate::worktree::{Known, Place};

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Way {
    /// It is where it was: nothing came of it.
    Undone,
    /// Half of it was moved: back with it.
    Back,
    /// It is in the trash: only that was not written down.
    Archived,
    /// It is on its way back: on with it.
    On,
    /// Nothing that can be done without a person.
    Stuck(String),
}

fn way(kind: TombstoneKind, place: &Place) -> Way {
    match (kind, place) {
        // Whoever wanted it comes round again.
        (TombstoneKind::Purge | TombstoneKind::Drop, _) => Way::Undone,
        (_, Place::Confused(why)) => Way::Stuck(why.clone()),
        (TombstoneKind::Remove, Place::InPlace) => Way::Undone,
        (TombstoneKind::Remove, Place::HalfMoved) => Way::Back,
        (TombstoneKind::Remove, Place::InTrash | Place::Gone) => Way::Archived,
        (TombstoneKind::Restore, _) => Way::On,
    }
}

/// What is to be done at once after a failure; `None` if that is for the next start: half of it is moved,
/// or nobody knows.
fn after_failure(kind: TombstoneKind, place: &Place) -> Option<Way> {
    match (kind, place) {
        // On its way back: the directory is more than the row says.
        (TombstoneKind::Restore, Place::InPlace | Place::HalfMoved) => None,
        (TombstoneKind::Restore, _) => Some(Way::Undone),
        _ => Some(way(kind, place)).filter(|way| matches!(way, Way::Undone | Way::Archived)),
    }
}

impl Retire {
    /// Writes down what came of something that failed, by where the worktree is now.
    pub(super) async fn settle_failure(&self, id: &str, kind: TombstoneKind) {
        if let Err(error) = self.settle(id, kind).await {
            tracing::warn!(worktree = id, ?kind, %error, "what failed stays written down for the next start");
        }
    }

    async fn settle(&self, id: &str, kind: TombstoneKind) -> Result<(), RetireError> {
        let found = self.known(id).await?;
        let place = self.0.worktrees.place(&found.known).await?;
        match after_failure(kind, &place) {
            Some(Way::Archived) => self.archive(&found.known).await,
            Some(_) => Ok(self.0.store.nothing_begun(id).await?),
            None => Err(RetireError::Conflict(format!("it is half-way: {place:?}"))),
        }
    }

    /// It is in the trash, and that was not written down.
    async fn archive(&self, known: &Known) -> Result<(), RetireError> {
        let salvage = self.0.worktrees.salvage_ref(known);
        Ok(self.0.store.worktree_archived(&known.id, Some(&salvage), None).await?)
    }

    /// Finishes or undoes what was begun before this daemon.
    ///
    /// # Errors
    /// The store. What cannot be finished is told, and stays written down.
    pub async fn resume(&self) -> Result<(), RetireError> {
        for (id, tombstone) in self.0.store.tombstones().await? {
            if let Err(error) = self.resume_one(&id, &tombstone).await {
                tracing::warn!(worktree = id, %error, "what was begun with a worktree could not be finished");
                self.say(&id, Level::Warning, format!("worktree {id} is stuck half-way: {error}")).await;
            }
        }
        // Nobody waits for it: every object of large repositories may have to be looked for.
        let this = self.clone();
        tokio::spawn(async move { this.heal().await });
        Ok(())
    }

    /// Takes up where worktrees stand now: which directory each is, and where its repository was moved to.
    /// What is no worktree of ours any more is left as it is written down; whoever uses it hears of it.
    ///
    /// # Errors
    /// The store.
    pub async fn take_up(&self) -> Result<(), RetireError> {
        for found in self.0.store.known_worktrees().await? {
            let id = found.known.id.clone();
            let taken: Result<_, RetireError> = take_up(&self.0.store, &self.0.worktrees, found).await;
            match taken {
                Ok(found) => self.hold_base(&found.known).await,
                Err(RetireError::Store(error)) => return Err(error.into()),
                Err(error) => tracing::debug!(worktree = id, %error, "it is not as it is written down"),
            }
        }
        Ok(())
    }

    /// Those of before were made without.
    async fn hold_base(&self, known: &Known) {
        if let Err(error) = self.0.worktrees.hold_base(known).await {
            tracing::warn!(worktree = %known.id, %error, "what it was started from is not kept by a ref");
        }
    }

    async fn resume_one(&self, id: &str, tombstone: &Tombstone) -> Result<(), RetireError> {
        let found = self.known(id).await?;
        let place = self.0.worktrees.place(&found.known).await?;
        let way = way(tombstone.kind, &place);
        tracing::info!(worktree = id, ?tombstone, ?place, ?way, "taken up where it was cut short");
        match way {
            Way::Undone => Ok(self.0.store.nothing_begun(id).await?),
            Way::Back => {
                self.0.worktrees.back_from_trash(&found.known).await?;
                Ok(self.0.store.nothing_begun(id).await?)
            }
            Way::Archived => self.archive(&found.known).await,
            Way::On => self.bring_back(id).await.map(drop),
            Way::Stuck(why) => Err(RetireError::Conflict(why)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_begun_is_finished_if_it_is_moved_and_undone_if_it_is_not() {
        use TombstoneKind::{Drop, Purge, Remove, Restore};
        let confused = Place::Confused("both".into());
        let cases = [
            (Remove, Place::InPlace, Way::Undone),
            (Remove, Place::HalfMoved, Way::Back),
            (Remove, Place::InTrash, Way::Archived),
            (Remove, Place::Gone, Way::Archived),
            (Remove, confused.clone(), Way::Stuck("both".into())),
            (Restore, Place::InPlace, Way::On),
            (Restore, Place::HalfMoved, Way::On),
            (Restore, Place::InTrash, Way::On),
            (Restore, Place::Gone, Way::On),
            (Restore, confused.clone(), Way::Stuck("both".into())),
            (Purge, Place::InTrash, Way::Undone),
            (Purge, confused, Way::Undone),
            (Drop, Place::Gone, Way::Undone),
        ];
        for (kind, place, expected) in cases {
            assert_eq!(way(kind, &place), expected, "{kind:?} {place:?}");
        }
    }

    #[test]
    fn a_failure_is_written_down_by_where_it_left_the_worktree() {
        use TombstoneKind::{Remove, Restore};
        let confused = Place::Confused("both".into());
        let cases = [
            (Remove, Place::InPlace, Some(Way::Undone)),
            (Remove, Place::HalfMoved, None),
            (Remove, Place::InTrash, Some(Way::Archived)),
            (Remove, confused.clone(), None),
            (Restore, Place::InPlace, None),
            (Restore, Place::HalfMoved, None),
            (Restore, Place::InTrash, Some(Way::Undone)),
            (Restore, Place::Gone, Some(Way::Undone)),
            (Restore, confused, Some(Way::Undone)),
        ];
        for (kind, place, expected) in cases {
            assert_eq!(after_failure(kind, &place), expected, "{kind:?} {place:?}");
        }
    }
}
