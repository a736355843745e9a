//! What a person does with pending changes: lists them, reads them, gives them up.

use hob_actors::event::{Level, Scope};
use hob_actors::ports::chain;
use tokio::sync::OwnedMutexGuard;

use super::{Pending, PendingError};
use crate::store::{Occasion, SessionWorktree, TurnTrees};
use crate::worktree::{Change, Diff, Discarded, Seen, Selection, Stashed, Undone, is_within};

/// Which changes are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shown {
    /// Only what this turn changed.
    pub turn: Option<String>,
    /// Only these files, or what is below these directories.
    pub paths: Option<Vec<String>>,
}

impl Shown {
    fn wants(&self, change: &Change) -> bool {
        let Some(paths) = &self.paths else { return true };
        let names = [Some(&change.path), change.old_path.as_ref()];
        names.into_iter().flatten().any(|name| paths.iter().any(|path| is_within(name, path)))
    }
}

impl Pending {
    /// What differs from the person's own, or what one turn changed, with whose it is.
    ///
    /// # Errors
    /// No such session or turn; the files cannot be read.
    pub async fn list(&self, session: &str, shown: &Shown) -> Result<Vec<Change>, PendingError> {
        let (found, line) = self.enter(session).await?;
        let mut changes = match &shown.turn {
            Some(turn) => self.of_turn(session, &found, turn).await?,
            None => {
                let seen = self.seen(&found).await?;
                drop(line);
                self.0.worktrees.pending(&found.known, seen).await?
            }
        };
        changes.retain(|change| shown.wants(change));
        Ok(changes)
    }

    /// The same as a unified diff.
    ///
    /// # Errors
    /// As [`Pending::list`].
    pub async fn diff(&self, session: &str, shown: &Shown) -> Result<Diff, PendingError> {
        let (found, line) = self.enter(session).await?;
        let (from, to) = match &shown.turn {
            Some(turn) => self.trees_of(session, &found, turn).await?,
            None => {
                let seen = self.seen(&found).await?;
                (self.0.worktrees.ground(&found.known, &seen).await?, seen.present)
            }
        };
        drop(line);
        Ok(self.0.worktrees.diff(&found.known, &from, &to, shown.paths.clone()).await?)
    }

    /// What one turn changed: its own, or shared where another was under way.
    async fn of_turn(
        &self,
        session: &str,
        found: &SessionWorktree,
        turn: &str,
    ) -> Result<Vec<Change>, PendingError> {
        let (from, to) = self.trees_of(session, found, turn).await?;
        let doubtful = self.doubtful(&found.known, turn).await?;
        let agent = self.0.store.agent_of_turn(turn).await?;
        let mut changes = self.0.worktrees.changed(&found.known, &from, &to).await?;
        for change in &mut changes {
            let shared = doubtful.contains(&change.path);
            let (agents, turns): (Vec<_>, Vec<_>) = (agent.iter().cloned().collect(), vec![turn.to_owned()]);
            for hunk in &mut change.hunks {
                (hunk.agents, hunk.turns, hunk.shared) = (agents.clone(), turns.clone(), shared);
            }
            (change.agents, change.turns, change.shared) = (agents, turns, shared);
        }
        Ok(changes)
    }

    /// The trees before and after a turn of the session; one that is under way ends at the present.
    async fn trees_of(
        &self,
        session: &str,
        found: &SessionWorktree,
        turn: &str,
    ) -> Result<(String, String), PendingError> {
        let TurnTrees { before, after, .. } = self.known_turn(session, turn).await?;
        let unseen = |when| PendingError::Unseen { when, turn: turn.to_owned() };
        let before = before.ok_or_else(|| unseen("before"))?;
        match after {
            Some(after) => Ok((before, after)),
            None => Ok((before, self.look(found, Occasion::Asked).await?)),
        }
    }

    /// The worktree of a session, and the right to be the only one who looks at it.
    pub(super) async fn enter(
        &self,
        session: &str,
    ) -> Result<(SessionWorktree, OwnedMutexGuard<()>), PendingError> {
        let found = self.of_session(session).await?;
        let line = self.line(&found.known.id).await;
        // Read again: somebody may have looked while we stood in line.
        Ok((self.of_session(session).await?, line))
    }

    /// Looks now; what is to be done is decided on that and on all that was seen before.
    pub(super) async fn seen(&self, found: &SessionWorktree) -> Result<Seen, PendingError> {
        let present = self.look(found, Occasion::Asked).await?;
        let history = self.0.store.segments(&found.known.id).await?;
        Ok(Seen { present, history })
    }

    /// What was done here is the person's doing. It is done, whether it can be looked at or not.
    async fn look_again(&self, session: &str) {
        let looked = async { self.look(&self.of_session(session).await?, Occasion::Asked).await };
        if let Err(error) = looked.await {
            tracing::warn!(session, error = chain(&error), "no look at what was done");
        }
    }

    pub(super) fn warn(&self, session: &str, notices: &[String]) {
        for text in notices {
            let scope = Scope { session: Some(session.into()), ..Scope::default() };
            self.tell(scope, Level::Warning, text.clone());
        }
    }

    async fn known_turn(&self, session: &str, turn: &str) -> Result<TurnTrees, PendingError> {
        let trees = self.0.store.turn_trees(turn).await?.filter(|trees| trees.session == session);
        let trees = trees.ok_or_else(|| PendingError::NotFound { what: "turn", id: turn.to_owned() })?;
        if trees.is_dropped { Err(PendingError::Dropped { turn: turn.to_owned() }) } else { Ok(trees) }
    }

    /// Reverts pending changes in the worktree, after its present content was put on a ref.
    ///
    /// # Errors
    /// As [`Pending::list`], and while a turn is under way; a conflict is no error.
    pub async fn discard(
        &self,
        session: &str,
        selection: Selection,
        dry_run: bool,
    ) -> Result<Discarded, PendingError> {
        let (found, _line) = self.enter(session).await?;
        self.check_nobody_works(&found).await?;
        let seen = self.seen(&found).await?;
        let discarded = self.0.worktrees.discard(&found.known, seen, selection, dry_run).await?;
        if let Some(rescue) = discarded.rescue_ref.as_ref().filter(|_| !dry_run) {
            self.say(session, format!("{} discarded; `{rescue}` has them", files(&discarded.paths)));
            self.warn(session, &discarded.notices);
            self.look_again(session).await;
        }
        Ok(discarded)
    }

    /// Puts the files back to what they were before a turn, after the present was put on a ref.
    ///
    /// # Errors
    /// As [`Pending::discard`]; files that are in the way.
    pub async fn undo(&self, session: &str, turn: &str) -> Result<Undone, PendingError> {
        let (found, _line) = self.enter(session).await?;
        self.check_nobody_works(&found).await?;
        let before = self.known_turn(session, turn).await?.before;
        let before = before.ok_or_else(|| PendingError::Unseen { when: "before", turn: turn.to_owned() })?;
        let present = self.look(&found, Occasion::Asked).await?;
        let undone = self.0.worktrees.undo(&found.known, &present, &before).await?;
        let rescue = &undone.rescue_ref;
        let text =
            format!("{} are as before turn `{turn}`; `{rescue}` has the rest", files(&undone.restored));
        self.say(session, text);
        self.warn(session, &undone.notices);
        self.look_again(session).await;
        Ok(undone)
    }

    /// Puts uncommitted work on a ref and leaves the worktree clean.
    ///
    /// # Errors
    /// As [`Pending::discard`]; nothing to put away.
    pub async fn stash(&self, session: &str, message: Option<&str>) -> Result<Stashed, PendingError> {
        let (found, _line) = self.enter(session).await?;
        self.check_nobody_works(&found).await?;
        self.look(&found, Occasion::Asked).await?;
        let stashed = self.0.worktrees.stash(&found.known, message).await?;
        self.warn(session, &stashed.notices);
        self.look_again(session).await;
        Ok(stashed)
    }

    /// Brings back what was put away; says which files.
    ///
    /// # Errors
    /// As [`Pending::discard`]; no such stash, or files that are in the way.
    pub async fn unstash(&self, session: &str, stash_ref: Option<&str>) -> Result<Vec<String>, PendingError> {
        let (found, _line) = self.enter(session).await?;
        self.check_nobody_works(&found).await?;
        self.look(&found, Occasion::Asked).await?;
        let back = self.0.worktrees.unstash(&found.known, stash_ref).await?;
        self.warn(session, &back.notices);
        self.look_again(session).await;
        Ok(back.files)
    }

    /// Refuses while an agent could be writing: it would lose, or undo, what is done here.
    async fn check_nobody_works(&self, found: &SessionWorktree) -> Result<(), PendingError> {
        let at_work = self.0.store.turns_at_work(&found.known.id).await?;
        if at_work.is_empty() { Ok(()) } else { Err(PendingError::AtWork(at_work.join(", "))) }
    }

    pub(super) fn say(&self, session: &str, text: String) {
        self.tell(Scope { session: Some(session.into()), ..Scope::default() }, Level::Info, text);
    }
}

pub(super) fn files(paths: &[String]) -> String {
    if paths.len() == 1 { "1 file".to_owned() } else { format!("{} files", paths.len()) }
}
