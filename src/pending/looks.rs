//! The looks: what the files of a worktree are at one moment, kept and written down.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use hob_actors::event::{ChangedFile, Level, Scope};
use hob_actors::id::AgentKey;
use hob_actors::ports::{Snapshots, TurnRef, chain};

use tokio::sync::OwnedMutexGuard;

use super::{Pending, PendingError};
use crate::store::{Look, Occasion, SessionWorktree};
use crate::sync::lock;
use crate::worktree::{Known, Segment, merged_history};

/// For one look. 100,000 files take about a second.
const LOOK_TIMEOUT: Duration = Duration::from_secs(15);
/// Files of one turn that its event names.
const FILES_TOLD_MAX: usize = 1_000;

impl Pending {
    /// Looks at the files and writes down what changed since the last look. The caller has the line.
    pub(super) async fn look(
        &self,
        of: &SessionWorktree,
        occasion: Occasion,
    ) -> Result<String, PendingError> {
        let start = self.baseline(&of.known).await;
        let (start, seen) = match start {
            Ok(start) => {
                let seen = self.see(of, &start, &occasion).await;
                (Some(start), seen)
            }
            Err(error) => (None, Err(error)),
        };
        let look = Look { worktree: of.known.id.clone(), tree: seen.as_ref().ok().cloned(), start, occasion };
        self.0.store.record_look(look).await?;
        seen
    }

    /// The tree that a worktree was made with: that of its base, unless something was carried or
    /// copied into it. `None` if it cannot be read: then the first look tells it, with doubt.
    pub async fn first_look(&self, known: &Known, carried: bool) -> Option<String> {
        let tree = if carried {
            let start = self.0.worktrees.base_tree(known).await.unwrap_or_default();
            let fresh = SessionWorktree { known: known.clone(), state: "active".to_owned(), last_tree: None };
            match self.see(&fresh, &start, &Occasion::Asked).await {
                Ok(tree) => {
                    let reference = format!("refs/hob/baseline/{}", known.id);
                    let kept = self.0.worktrees.keep_tree(known, &reference, &tree, "hob: carried").await;
                    let kept = match kept {
                        // The baseline moves with what is applied; where all began is needed for longer.
                        Ok(()) => {
                            let reference = format!("{reference}-carried");
                            self.0.worktrees.keep_tree(known, &reference, &tree, "hob: carried").await
                        }
                        failed => failed,
                    };
                    kept.map(|()| tree).map_err(PendingError::from)
                }
                failed => failed,
            }
        } else {
            self.0.worktrees.base_tree(known).await.map_err(PendingError::from)
        };
        tree.inspect_err(|error| tracing::warn!(worktree = known.id, %error, "no first look at it")).ok()
    }

    /// Runs a hook between two looks, so that what it changes in a worktree is told to be its own.
    pub async fn around_hook<T>(&self, worktree: &str, hook: impl Future<Output = T>) -> T {
        self.look_beside_hook(worktree, Occasion::Asked).await;
        let done = hook.await;
        self.look_beside_hook(worktree, Occasion::Hook).await;
        done
    }

    async fn look_beside_hook(&self, worktree: &str, occasion: Occasion) {
        let look = async {
            let _line = self.line(worktree).await;
            match self.0.store.known_worktree(worktree).await? {
                Some(found) => self.look(&found, occasion).await.map(drop),
                None => Ok(()),
            }
        };
        if let Err(error) = look.await {
            tracing::warn!(worktree, error = chain(&error), "the files around a hook could not be looked at");
        }
    }

    /// What counts as the person's own.
    pub(super) async fn baseline(&self, known: &Known) -> Result<String, PendingError> {
        match &known.baseline {
            Some(baseline) => Ok(baseline.clone()),
            None => Ok(self.0.worktrees.base_tree(known).await?),
        }
    }

    /// The present tree, kept where it is not one that is kept already.
    async fn see(
        &self,
        of: &SessionWorktree,
        start: &str,
        occasion: &Occasion,
    ) -> Result<String, PendingError> {
        let (known, worktrees) = (&of.known, &self.0.worktrees);
        let snapshot = tokio::time::timeout(LOOK_TIMEOUT, worktrees.snapshot(known));
        let too_slow = |_| PendingError::TooSlow(LOOK_TIMEOUT.as_secs());
        let snapshot = snapshot.await.map_err(too_slow)??;
        for notice in snapshot.notices {
            self.tell_once(known, notice).await;
        }
        let tree = snapshot.tree;
        // The commit that it was made of has the first of them. What was applied later is kept for as
        // long as nothing more is, and the history may need it for longer.
        let is_kept = known.baseline.is_none() && tree == start;
        if of.last_tree.as_ref() != Some(&tree) && !is_kept {
            let reference = match occasion {
                Occasion::Asked | Occasion::Hook => known.tree_ref("look", &tree),
                Occasion::Before(turn) => format!("refs/hob/turns/{}/{turn}-before", known.id),
                Occasion::After(turn) => format!("refs/hob/turns/{}/{turn}-after", known.id),
            };
            worktrees.keep_tree(known, &reference, &tree, "hob: the files of a session").await?;
        }
        Ok(tree)
    }

    /// Says something about a worktree, the first time that it is to be said.
    async fn tell_once(&self, known: &Known, text: String) {
        if !lock(&self.0.told).insert((known.id.clone(), text.clone())) {
            return;
        }
        let session = match self.0.store.worktree(&known.id).await {
            Ok(row) => row.and_then(|row| row.session).map(Into::into),
            Err(_) => None,
        };
        self.tell(Scope { session, ..Scope::default() }, Level::Warning, text);
    }

    /// A look for the sake of a turn.
    async fn around(&self, turn: &TurnRef, occasion: Occasion) -> Result<(), PendingError> {
        let id = turn.turn.as_str();
        let Some(found) = self.0.store.worktree_of_turn(id).await? else { return Ok(()) };
        let line = self.line(&found.known.id).await;
        // Read again: somebody may have looked while we stood in line.
        let Some(found) = self.0.store.known_worktree(&found.known.id).await? else { return Ok(()) };
        let found = super::followed(&self.0.store, &self.0.worktrees, found).await;
        let is_end = matches!(occasion, Occasion::After(_));
        self.look(&found, occasion).await?;
        if !is_end {
            return Ok(());
        }
        let told = self.tell_changes(&found.known, id).await;
        self.trim_beside(found.known, line);
        told
    }

    /// Makes a long history of a worktree small. The turn does not wait for it, the next look does.
    fn trim_beside(&self, known: Known, line: OwnedMutexGuard<()>) {
        let this = self.clone();
        tokio::spawn(async move {
            let _line = line;
            if let Err(error) = this.trim(&known).await {
                // The end of the next turn tries it again.
                tracing::warn!(
                    worktree = known.id,
                    error = chain(&error),
                    "its history stays as long as it is"
                );
            }
        });
    }

    async fn trim(&self, known: &Known) -> Result<(), PendingError> {
        let mut history = self.0.store.segments(&known.id).await?;
        if let Some((n, one)) = merged_history(&history) {
            self.0.store.merge_segments(&known.id, n, one).await?;
            history = self.0.store.segments(&known.id).await?;
        }
        let Some(trimmed) = self.0.worktrees.trim(known, history).await? else { return Ok(()) };
        // Written down first: what is named by nothing may go, and never the other way round.
        let named = self.0.store.record_trimmed(&known.id, trimmed).await?;
        Ok(self.0.worktrees.drop_trees(known, named).await?)
    }

    /// Tells what a turn changed, if it changed anything.
    async fn tell_changes(&self, known: &Known, turn: &str) -> Result<(), PendingError> {
        let trees = self.0.store.turn_trees(turn).await?;
        let Some((Some(before), Some(after))) = trees.map(|trees| (trees.before, trees.after)) else {
            return Ok(());
        };
        if before == after {
            return Ok(());
        }
        let doubtful = self.doubtful(known, turn).await?;
        let changes = self.0.worktrees.changed(known, &before, &after).await?;
        let n_changes = changes.len();
        let mut files: Vec<ChangedFile> = changes
            .into_iter()
            .map(|change| ChangedFile {
                shared: doubtful.contains(&change.path),
                path: change.path,
                old_path: change.old_path,
                kind: change.kind.word(),
            })
            .collect();
        files.truncate(FILES_TOLD_MAX);
        let n_omitted = n_changes - files.len();
        Ok(self.0.store.record_changes(turn, files, n_omitted).await?)
    }

    /// The paths that somebody else may have changed during a turn as well.
    pub(super) async fn doubtful(&self, known: &Known, turn: &str) -> Result<BTreeSet<String>, PendingError> {
        let is_doubtful = |segment: &Segment| {
            let is_ours = segment.writers.iter().any(|writer| writer.turn == turn);
            is_ours && (segment.writers.len() > 1 || segment.doubt)
        };
        let mut paths = BTreeSet::new();
        for segment in self.0.store.segments(&known.id).await?.into_iter().filter(is_doubtful) {
            for change in self.0.worktrees.changed(known, &segment.from, &segment.to).await? {
                paths.extend(change.old_path);
                paths.insert(change.path);
            }
        }
        Ok(paths)
    }

    /// Begins a look that goes on whoever waits for it, and says why one could not be made.
    fn begin(
        &self,
        turn: TurnRef,
        occasion: impl FnOnce(String) -> Occasion,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let this = self.clone();
        let occasion = occasion(turn.turn.as_str().to_owned());
        let looking = tokio::spawn(async move {
            if let Err(error) = this.around(&turn, occasion).await {
                this.tell_failure(&turn, &error).await;
            }
        });
        Box::pin(async move {
            // A panic in it was told when it happened; the turn goes on.
            looking.await.ok();
        })
    }

    async fn tell_failure(&self, turn: &TurnRef, error: &PendingError) {
        let why = chain(error);
        tracing::warn!(turn = %turn.turn, error = why, "the files around a turn could not be looked at");
        let known = self.0.store.worktree_of_turn(turn.turn.as_str()).await.ok().flatten();
        if let Some(found) = known {
            // Each turn anew: it says of which nothing certain is known.
            let text = format!("what turn `{}` changed cannot be told for sure: {why}", turn.turn);
            self.tell_once(&found.known, text).await;
        }
    }
}

impl Snapshots for Pending {
    fn place(&self, key: AgentKey) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> {
        let this = self.clone();
        Box::pin(async move {
            match this.0.store.chat(key.chat.as_str()).await {
                Ok(Some(chat)) => this.place_of(&chat.session).await,
                _ => Ok(()),
            }
        })
    }

    fn before_turn(&self, turn: TurnRef) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> {
        let this = self.clone();
        let found = this.0.store.worktree_of_turn(turn.turn.as_str());
        Box::pin(async move {
            if let Ok(Some(found)) = found.await {
                this.stands(found).await?;
            }
            this.begin(turn, Occasion::Before).await;
            Ok(())
        })
    }

    fn after_turn(&self, turn: TurnRef) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.begin(turn, Occasion::After)
    }
}
