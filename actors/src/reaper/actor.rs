//! Makes passes over the worktrees, one at a time, and carries out what [`super::policy`] decides.
//!
//! **Invariant:** no handler waits for a pass; it runs in the actor's `JoinSet` and comes back as a
//! message. A reaper that is started anew has seen nothing clean yet, so that it only waits longer.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::task::JoinSet;

use super::messages::{Action, ByHand, PassResult, Reaped, ReaperMsg};
use super::policy::{Step, Then, first, then};
use crate::id::WorktreeId;
use crate::ports::{PortError, Ports, Settings, Stand, Worktrees};
use crate::worktree::{Reason, ReasonKind};

/// Requests of people that wait for the pass before them.
const WAITING_MAX: usize = 64;

/// Retires worktrees.
pub struct Reaper;

/// The memory of the reaper.
pub struct Memory {
    ports: Ports,
    effects: JoinSet<()>,
    /// Found clean in the last pass.
    clean: BTreeSet<WorktreeId>,
    is_at_work: bool,
    waiting: VecDeque<(ByHand, RpcReplyPort<PassResult>)>,
    is_due: bool,
}

impl Actor for Reaper {
    type Msg = ReaperMsg;
    type State = Memory;
    type Arguments = Ports;

    async fn pre_start(&self, me: ActorRef<ReaperMsg>, ports: Ports) -> Result<Memory, ActorProcessingErr> {
        let mut memory = Memory {
            ports,
            effects: JoinSet::new(),
            clean: BTreeSet::new(),
            is_at_work: false,
            waiting: VecDeque::new(),
            is_due: false,
        };
        memory.set_clock(&me);
        Ok(memory)
    }

    async fn handle(
        &self,
        me: ActorRef<ReaperMsg>,
        message: ReaperMsg,
        memory: &mut Memory,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ReaperMsg::Due => {
                memory.is_due = true;
                memory.set_clock(&me);
            }
            ReaperMsg::Reap(wish, reply) if memory.waiting.len() < WAITING_MAX => {
                memory.waiting.push_back((wish, reply));
            }
            // Whoever asked hears that nobody answers.
            ReaperMsg::Reap(_, reply) => drop(reply),
            ReaperMsg::Done(clean) => {
                memory.is_at_work = false;
                memory.clean = clean;
            }
            ReaperMsg::Failed => return Err("a pass of the reaper panicked".into()),
        }
        memory.next(&me);
        Ok(())
    }
}

/// Tells the actor if its pass panicked, so that it does not wait for ever.
struct Alarm(ActorRef<ReaperMsg>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.cast(ReaperMsg::Failed).ok();
        }
    }
}

impl Memory {
    fn set_clock(&mut self, me: &ActorRef<ReaperMsg>) {
        let (interval, to) = (self.ports.settings.reaper().interval, me.clone());
        self.effects.spawn(async move {
            tokio::time::sleep(interval).await;
            to.cast(ReaperMsg::Due).ok();
        });
    }

    /// Begins the next pass if none is under way: a person's first.
    fn next(&mut self, me: &ActorRef<ReaperMsg>) {
        while self.effects.try_join_next().is_some() {}
        if self.is_at_work {
            return;
        }
        let (by_hand, reply) = match self.waiting.pop_front() {
            Some((wish, reply)) => (Some(wish), Some(reply)),
            None if std::mem::take(&mut self.is_due) => (None, None),
            None => return,
        };
        self.is_at_work = true;
        let pass = Pass {
            worktrees: self.ports.worktrees.clone(),
            settings: self.ports.settings.clone(),
            before: self.clean.clone(),
            by_hand,
        };
        let (alarm, to) = (Alarm(me.clone()), me.clone());
        self.effects.spawn(async move {
            let is_whole = pass.by_hand.is_none();
            let before = pass.before.clone();
            let (reaped, clean) = pass.run().await;
            if let Some(reply) = reply {
                reply.send(reaped).ok();
            }
            // A person's pass says nothing of two in a row.
            to.cast(ReaperMsg::Done(if is_whole { clean } else { before })).ok();
            drop(alarm);
        });
    }
}

/// One pass.
struct Pass {
    worktrees: Arc<dyn Worktrees>,
    settings: Arc<dyn Settings>,
    before: BTreeSet<WorktreeId>,
    by_hand: Option<ByHand>,
}

impl Pass {
    /// What became of each, and which were found clean; or why the worktrees could not be looked over.
    async fn run(self) -> (PassResult, BTreeSet<WorktreeId>) {
        let only = self.by_hand.as_ref().and_then(|wish| wish.worktree.clone());
        let (mut reaped, mut clean) = (Vec::new(), BTreeSet::new());
        let candidates = match self.worktrees.survey().await {
            Ok(candidates) => candidates,
            Err(error) => {
                tracing::warn!(error = error.chain(), "the worktrees could not be looked over");
                return (Err(error), clean);
            }
        };
        for candidate in candidates {
            if only.as_ref().is_some_and(|only| *only != candidate.worktree) {
                continue;
            }
            let id = candidate.worktree.clone();
            let step = first(&candidate, &self.settings.reaper(), self.by_hand.is_some());
            match step {
                Step::Leave if only.is_some() => reaped.push(left(&id, candidate.stand)),
                Step::Leave => {}
                Step::Wait(why) => {
                    reaped.push(self.keep(&id, vec![Reason::one(ReasonKind::Live, why)]).await);
                }
                Step::Keep(why) => {
                    let reasons = vec![Reason::one(ReasonKind::Foreign, why)];
                    reaped.push(self.keep(&id, reasons).await);
                }
                Step::Look => reaped.push(self.look(&id, &mut clean).await),
                Step::Purge => reaped.extend(self.purge(&id).await),
                Step::DropSalvage => self.drop_salvage(&id).await,
            }
        }
        (Ok(reaped), clean)
    }

    fn is_dry(&self) -> bool {
        self.by_hand.as_ref().is_some_and(|wish| wish.dry_run)
    }

    async fn look(&self, id: &WorktreeId, clean: &mut BTreeSet<WorktreeId>) -> Reaped {
        let found = self.worktrees.preflight(id.clone()).await;
        let before = self.before.contains(id);
        match then(&found, before, self.by_hand.is_some()) {
            Then::Keep => self.keep(id, found.reasons).await,
            Then::Again => {
                clean.insert(id.clone());
                self.keep(id, Vec::new()).await
            }
            Then::Retire if self.is_dry() => archived(id, None),
            Then::Retire => match self.worktrees.retire(id.clone()).await {
                Ok(Ok(salvage)) => archived(id, salvage),
                Ok(Err(reasons)) => self.keep(id, reasons).await,
                Err(error) => self.keep(id, vec![failed(&error)]).await,
            },
        }
    }

    /// It stays, and whoever lists it sees why.
    async fn keep(&self, id: &WorktreeId, reasons: Vec<Reason>) -> Reaped {
        if !self.is_dry()
            && let Err(error) = self.worktrees.kept(id.clone(), reasons.clone()).await
        {
            tracing::warn!(worktree = %id, error = error.chain(), "why it is kept was not recorded");
        }
        Reaped { worktree: id.clone(), action: Action::Kept, reasons, salvage: None }
    }

    async fn purge(&self, id: &WorktreeId) -> Option<Reaped> {
        let mut purged =
            Reaped { worktree: id.clone(), action: Action::Purged, reasons: Vec::new(), salvage: None };
        if self.is_dry() {
            return Some(purged);
        }
        if let Err(error) = self.worktrees.purge(id.clone()).await {
            tracing::warn!(worktree = %id, error = error.chain(), "the trash keeps it");
            purged.action = Action::Kept;
            purged.reasons.push(failed(&error));
        }
        Some(purged)
    }

    async fn drop_salvage(&self, id: &WorktreeId) {
        if self.is_dry() {
            return;
        }
        if let Err(error) = self.worktrees.drop_salvage(id.clone()).await {
            tracing::warn!(worktree = %id, error = error.chain(), "its salvage is kept");
        }
    }
}

/// The answer to who named one that there is nothing to do with.
fn left(id: &WorktreeId, stand: Stand) -> Reaped {
    let why = match stand {
        Stand::Active | Stand::Orphaned => "its session is open",
        Stand::Archived => "it is in the trash, whose time is not over",
        Stand::Purged => "nothing is left of it but its salvage, if that",
    };
    let reasons = vec![Reason::one(ReasonKind::Live, why)];
    Reaped { worktree: id.clone(), action: Action::Kept, reasons, salvage: None }
}

fn archived(id: &WorktreeId, salvage: Option<String>) -> Reaped {
    Reaped { worktree: id.clone(), action: Action::Archived, reasons: Vec::new(), salvage }
}

fn failed(error: &PortError) -> Reason {
    Reason::one(ReasonKind::Unreadable, error.chain())
}
