//! What a start makes of removals and restores that were cut short: each is finished or undone, by what
//! is on the disk. The rule is pure.

use hob_actors::event::Level;

use super::{Retire, RetireError};
use crate::store::{Tombstone, TombstoneKind};
use crate::worktree::Place;

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
        (_, Place::Confused(why)) => Way::Stuck(why.clone()),
        (TombstoneKind::Remove, Place::InPlace) => Way::Undone,
        (TombstoneKind::Remove, Place::HalfMoved) => Way::Back,
        (TombstoneKind::Remove, Place::InTrash | Place::Gone) => Way::Archived,
        (TombstoneKind::Restore, _) => Way::On,
    }
}

impl Retire {
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
        Ok(())
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
            Way::Archived => {
                let salvage = self.0.worktrees.salvage_ref(&found.known);
                Ok(self.0.store.worktree_archived(id, Some(&salvage), None).await?)
            }
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
        use TombstoneKind::{Remove, Restore};
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
            (Restore, confused, Way::Stuck("both".into())),
        ];
        for (kind, place, expected) in cases {
            assert_eq!(way(kind, &place), expected, "{kind:?} {place:?}");
        }
    }
}
