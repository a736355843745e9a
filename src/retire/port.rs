//! The port of the reaper: gathers what it decides on, and carries out what it decided.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use hob_actors::id::WorktreeId;
use hob_actors::ports::{Answer, Candidate, PortError, Preflight, Reason, Stand, Worktrees};
use hob_actors::reaper::time::SeenTime;
use hob_actors::worktree::Consents;

use super::{Retire, RetireError};
use crate::control::wire::Moment;
use crate::store::SurveyRow;
use crate::sync::lock;

impl From<RetireError> for PortError {
    fn from(error: RetireError) -> Self {
        Self::new("retire worktrees", error)
    }
}

fn stand(state: &str) -> Stand {
    match state {
        "orphaned" => Stand::Orphaned,
        "archived" => Stand::Archived,
        "purged" => Stand::Purged,
        _ => Stand::Active,
    }
}

/// The time from then to now; a time that is yet to come says nothing.
fn since(then: Option<i64>, now: i64) -> Option<Duration> {
    let passed = now.checked_sub(then?)?;
    u64::try_from(passed).ok().map(Duration::from_millis)
}

impl Retire {
    async fn candidates(&self) -> Result<Vec<Candidate>, RetireError> {
        if let Err(error) = self.sweep().await {
            tracing::warn!(%error, "what purges left could not be looked over");
        }
        self.take_up().await?;
        let mut found = self.adopt_strays().await?;
        let seen = self.0.store.see_time().await?;
        for row in self.0.store.survey_worktrees().await? {
            found.push(self.candidate(row, &seen).await);
        }
        Ok(found)
    }

    async fn candidate(&self, row: SurveyRow, seen: &SeenTime) -> Candidate {
        let stand = stand(&row.state);
        let is_orphan = stand == Stand::Orphaned;
        // Only of an orphan it matters, and it costs a walk.
        let last_write =
            if is_orphan { self.0.worktrees.last_write(Path::new(&row.path)).await } else { None };
        let is_gone = is_orphan && is_absent(Path::new(&row.path));
        let foreign = (is_orphan && !row.was_made && !is_gone)
            .then(|| "it was never made whole, and something is in its place".to_owned());
        Candidate {
            worktree: row.id.as_str().into(),
            stand,
            since: seen.since(row.seen_since_ms),
            // What is not there is not written to.
            untouched: if is_gone { Some(Duration::MAX) } else { since(last_write, Moment::now().0) },
            is_under_way: row.is_under_way,
            has_salvage: row.has_salvage,
            is_clock_steady: seen.is_steady(),
            was_purged_now: lock(&self.0.purged).contains(&row.id),
            foreign,
        }
    }

    /// Directories that nobody wrote down get a row, if they and a repository agree on what they are.
    /// The others are returned: they are none of ours, and a person should see that they are there.
    async fn adopt_strays(&self) -> Result<Vec<Candidate>, RetireError> {
        let rows = self.0.store.survey_worktrees().await?;
        let names = rows.into_iter().map(|row| row.id).collect();
        let mut foreign = Vec::new();
        for stray in self.0.worktrees.strays(names).await? {
            match stray.known {
                Some(known) => self.0.store.adopt_worktree(known).await?,
                None => foreign.push(Candidate {
                    worktree: stray.name.into(),
                    stand: Stand::Orphaned,
                    since: None,
                    untouched: None,
                    is_under_way: false,
                    has_salvage: false,
                    is_clock_steady: true,
                    was_purged_now: false,
                    foreign: Some(format!("`{}` is no worktree that hob made", stray.path.display())),
                }),
            }
        }
        Ok(foreign)
    }

    async fn judge_for_reaper(&self, id: &str) -> Preflight {
        match self.0.store.known_worktree(id).await {
            Ok(Some(found)) if is_absent(&found.known.path) && is_absent(&found.known.admin()) => {
                // There is nothing that could be lost.
                Preflight::default()
            }
            Ok(Some(_)) => match self.preflight(id).await {
                Ok(preflight) => preflight,
                Err(error) => Preflight::unknown(error.to_string()),
            },
            // Never made, and nothing is in its place.
            Ok(None) => Preflight::default(),
            Err(error) => Preflight::unknown(error.to_string()),
        }
    }

    async fn retire_for_reaper(&self, id: &str) -> Result<Result<Option<String>, Vec<Reason>>, RetireError> {
        if self.0.store.known_worktree(id).await?.is_none() {
            let why = "it was never made whole, and nothing is left of it".to_owned();
            self.0.store.worktree_archived(id, None, Some(why)).await?;
            return Ok(Ok(None));
        }
        match self.remove(id, Consents::default(), "the reaper").await {
            Ok(removed) => Ok(Ok(removed.salvage_ref)),
            Err(RetireError::Kept(reasons)) => Ok(Err(reasons)),
            Err(error) => Err(error),
        }
    }
}

fn is_absent(path: &Path) -> bool {
    matches!(fs::symlink_metadata(path).map(|at| at.dev()), Err(error) if error.kind() == io::ErrorKind::NotFound)
}

impl Worktrees for Retire {
    fn survey(&self) -> Answer<Vec<Candidate>> {
        let this = self.clone();
        Box::pin(async move { Ok(this.candidates().await?) })
    }

    fn preflight(&self, worktree: WorktreeId) -> Pin<Box<dyn Future<Output = Preflight> + Send>> {
        let this = self.clone();
        Box::pin(async move { this.judge_for_reaper(worktree.as_str()).await })
    }

    fn kept(&self, worktree: WorktreeId, reasons: Vec<Reason>) -> Answer<()> {
        let this = self.clone();
        Box::pin(async move {
            let id = worktree.as_str();
            let because = reasons.iter().map(Reason::to_string).collect();
            let path = this.0.store.worktree(id).await.map_err(RetireError::from)?.map(|row| row.path);
            let last_write = match path {
                Some(path) => this.0.worktrees.last_write(Path::new(&path)).await,
                None => None,
            };
            this.0.store.worktree_kept(id, because, last_write).await.map_err(RetireError::from)?;
            Ok(())
        })
    }

    fn retire(&self, worktree: WorktreeId) -> Answer<Result<Option<String>, Vec<Reason>>> {
        let this = self.clone();
        Box::pin(async move { Ok(this.retire_for_reaper(worktree.as_str()).await?) })
    }

    fn purge(&self, worktree: WorktreeId) -> Answer<()> {
        let this = self.clone();
        Box::pin(async move { Ok(Retire::purge(&this, worktree.as_str()).await?) })
    }

    fn drop_salvage(&self, worktree: WorktreeId) -> Answer<()> {
        let this = self.clone();
        Box::pin(async move { Ok(Retire::drop_salvage(&this, worktree.as_str()).await?) })
    }
}
