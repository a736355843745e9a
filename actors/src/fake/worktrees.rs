//! A fake of what becomes of worktrees: the script says what there is, and what was done is remembered.

use std::future::Future;
use std::pin::Pin;

use super::{World, later};
use crate::id::WorktreeId;
use crate::ports::{Answer, Candidate, PortError, Preflight, Reason, Worktrees};

impl World {
    fn did(&self, what: &str, worktree: &WorktreeId) {
        self.memory().reaped.push(format!("{what} {worktree}"));
    }
}

impl Worktrees for World {
    fn survey(&self) -> Answer<Vec<Candidate>> {
        let script = self.script();
        let found = script.worktrees.iter().map(|(candidate, _)| candidate.clone()).collect();
        later(match script.survey_fails {
            Some(why) => Err(PortError::new("survey the worktrees", why)),
            None => Ok(found),
        })
    }

    fn preflight(&self, worktree: WorktreeId) -> Pin<Box<dyn Future<Output = Preflight> + Send>> {
        self.did("looked into", &worktree);
        let script = self.script();
        let found = script.worktrees.iter().find(|(candidate, _)| candidate.worktree == worktree);
        let found = found.map_or_else(|| Preflight::unknown("gone"), |(_, found)| found.clone());
        let takes = script.preflight_takes;
        Box::pin(async move {
            tokio::time::sleep(takes).await;
            found
        })
    }

    fn kept(&self, worktree: WorktreeId, reasons: Vec<Reason>) -> Answer<()> {
        let why: Vec<_> = reasons.iter().map(|reason| reason.kind.word()).collect();
        self.did(&format!("kept ({})", why.join(", ")), &worktree);
        later(Ok(()))
    }

    fn retire(&self, worktree: WorktreeId) -> Answer<Result<Option<String>, Vec<Reason>>> {
        self.did("retired", &worktree);
        self.script().worktrees.retain(|(candidate, _)| candidate.worktree != worktree);
        later(Ok(Ok(Some(format!("refs/hob/salvage/{worktree}")))))
    }

    fn purge(&self, worktree: WorktreeId) -> Answer<()> {
        self.did("purged", &worktree);
        later(Ok(()))
    }

    fn drop_salvage(&self, worktree: WorktreeId) -> Answer<()> {
        self.did("forgot", &worktree);
        later(Ok(()))
    }
}
