//! Takes pending changes over into the user's checkout, with what is recorded of it, as one thing: what a
//! daemon does not come to the end of, the next one finishes or takes back at its start.
//!
//! ```text
//! written down ─▶ files replaced ─▶ baseline (and the decision of an arena) recorded ─▶ forgotten
//!       └──────────── a start finds it ─ finished, or taken back ─┘
//! ```

use hob_actors::ports::chain;

use super::acts::files;
use super::{Pending, PendingError};
use crate::path_text;
use crate::store::{Adoption, StoreError};
use crate::worktree::{Applied, CutShort, Ending, Run, Selection};

impl Pending {
    /// Puts pending changes into the user's checkout, uncommitted; all of the selection, or nothing.
    ///
    /// # Errors
    /// As [`Pending::list`]; a conflict is no error.
    pub async fn apply(
        &self,
        session: &str,
        selection: Selection,
        dry_run: bool,
    ) -> Result<Applied, PendingError> {
        let (this, session) = (self.clone(), session.to_owned());
        if dry_run {
            return this.take_over(&session, selection, Run::Dry).await;
        }
        // It goes on to its end, whoever waits for it.
        let done = tokio::spawn(async move {
            let applied = this.take_over(&session, selection, Run::Real { then: None }).await?;
            this.record(&session, applied, None).await
        });
        done.await.unwrap_or_else(|_| Err(PendingError::Lost))
    }

    /// The same, together with the decision of an arena: both, or neither.
    ///
    /// # Errors
    /// As [`Pending::apply`]; the arena is decided already.
    pub async fn adopt(
        &self,
        session: &str,
        selection: Selection,
        adoption: Adoption,
    ) -> Result<Applied, PendingError> {
        let (this, session) = (self.clone(), session.to_owned());
        let done = tokio::spawn(async move {
            let then = Some(adoption.to_text()?);
            let applied = this.take_over(&session, selection, Run::Real { then }).await?;
            this.record(&session, applied, Some(adoption)).await
        });
        done.await.unwrap_or_else(|_| Err(PendingError::Lost))
    }

    async fn take_over(
        &self,
        session: &str,
        selection: Selection,
        run: Run,
    ) -> Result<Applied, PendingError> {
        let (found, _line) = self.enter(session).await?;
        let seen = self.seen(&found).await?;
        Ok(self.0.worktrees.apply(&found.known, seen, selection, run).await?)
    }

    /// Records that the checkout has it, and forgets how it got there.
    async fn record(
        &self,
        session: &str,
        applied: Applied,
        adoption: Option<Adoption>,
    ) -> Result<Applied, PendingError> {
        if !applied.conflicts.is_empty() || (applied.baseline.is_none() && adoption.is_none()) {
            return Ok(applied);
        }
        let known = self.of_session(session).await?.known;
        let (baseline, store) = (applied.baseline.clone(), &self.0.store);
        let recorded = store.record_applied(&known.id, baseline.clone(), adoption).await;
        crash_point!("swap.recorded");
        // What is not recorded now is listed as pending still; nothing later is to meet it.
        self.0.worktrees.settle(applied.ticket.clone()).await?;
        let top = path_text::text(&known.top);
        let Some(baseline) = baseline else { return Ok(recorded.map(|()| applied)?) };
        recorded.map_err(|error| PendingError::Unrecorded { top: top.clone(), error })?;
        let reference = format!("refs/hob/baseline/{}", known.id);
        // Kept under another name already.
        if let Err(error) = self.0.worktrees.keep_tree(&known, &reference, &baseline, "hob: applied").await {
            tracing::warn!(worktree = known.id, %error, "the baseline is kept as a tree only");
        }
        self.say(session, format!("{} applied to `{top}`", files(&applied.paths)));
        Ok(applied)
    }

    /// Finishes or takes back what an earlier daemon did not come to the end of, and says so.
    pub async fn resume(&self) {
        for found in self.0.worktrees.cut_short().await {
            if let Err(error) = self.end(&found).await {
                let top = found.top.display();
                tracing::warn!(%top, error = chain(&error), "what was applied is not recorded");
            }
        }
    }

    async fn end(&self, found: &CutShort) -> Result<(), PendingError> {
        let (top, store) = (found.top.display(), &self.0.store);
        let text = match &found.ending {
            Ending::Finished { baseline, then } => {
                let adoption = then.as_deref().map(Adoption::of_text).transpose()?;
                let recorded = store.record_applied(&found.worktree, baseline.clone(), adoption).await;
                match recorded {
                    // Decided before the daemon ended; the rest may not be recorded yet.
                    Err(StoreError::Conflict(_)) => {
                        store.record_applied(&found.worktree, baseline.clone(), None).await?;
                    }
                    // It was deleted meanwhile.
                    Err(StoreError::NotFound { .. }) => {}
                    done => done?,
                }
                format!("a hobd was ended while it replaced files in `{top}`; that is finished now")
            }
            Ending::TakenBack => {
                format!("a hobd was ended while it replaced files in `{top}`; they are as before")
            }
            Ending::LeftAlone(place) => format!(
                "a hobd was ended while it replaced files in `{top}`, and they were changed since; what was \
                 there before is in `{}`: put it back, or remove it",
                place.display()
            ),
        };
        if !matches!(found.ending, Ending::LeftAlone(_)) {
            self.0.worktrees.settle(found.ticket()).await?;
        }
        tracing::warn!("{text}");
        let session = store.worktree(&found.worktree).await?.and_then(|row| row.session);
        if let Some(session) = session {
            self.warn(&session, &[text]);
        }
        Ok(())
    }
}
