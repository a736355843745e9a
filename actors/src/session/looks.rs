//! The looks at a session's files around a turn: one before its prompt leaves, one after its end, so
//! that it is known who changed what.
//!
//! ```text
//! turn committed ─ look ─▶ prompt … answer ─ look ─▶ end of the turn
//!                          agent lost ─▶ end of the turn ─ its tree is gone ─ look
//! ```
//!
//! The answer of the agent waits for the second look, so that what a turn changed is told before its
//! end; anything else that happens meanwhile does not, and the look is late then.

use ractor::ActorRef;

use super::actor::{Memory, SessionMsg};
use super::lifecycle;
use super::state::{Backend, Observation};
use crate::id::TurnId;
use crate::ports::TurnRef;

/// How far the looks of the present turn have come.
#[derive(Debug, Default)]
pub(super) struct Looks {
    /// The open turn, until its second look is begun.
    of: Option<TurnRef>,
    /// The answer to its prompt, which waits for the second look.
    held: Option<Result<String, String>>,
    /// A turn that ended while its agent could still write.
    due: Option<TurnRef>,
}

impl Looks {
    /// Whether the agent has answered, so that nothing it says now can be about the turn.
    pub(super) fn is_answered(&self) -> bool {
        self.held.is_some()
    }
}

impl Memory {
    /// The turn is committed: its prompt leaves after the look.
    pub(super) fn turn_opened(&mut self, me: &ActorRef<SessionMsg>, turn: TurnId) {
        let job = &self.machine.job;
        let of = job.task().cloned().zip(job.turn_generation());
        let Some((task, generation)) = of.filter(|_| !job.is_unsent()) else {
            // Nobody will work on it, so there is nothing to compare.
            self.saw(me, Observation::Opened(turn));
            return;
        };
        let of = TurnRef { turn: turn.clone(), task, key: self.args.key.clone(), generation };
        let look = self.args.ports.snapshots.before_turn(of.clone());
        self.looks.of = Some(of);
        let to = me.clone();
        self.spawn(me, async move {
            let seen = match look.await {
                Ok(()) => Observation::Opened(turn),
                Err(why) => Observation::Refused { turn, why },
            };
            to.cast(SessionMsg::Seen(seen)).ok();
        });
    }

    /// A turn that was refused has nothing to look at.
    pub(super) fn look_at_nothing(&mut self) {
        self.looks.of = None;
    }

    /// The agent has answered the prompt: it is neither cancelled nor watched any more.
    pub(super) fn answered(&mut self, me: &ActorRef<SessionMsg>, result: Result<String, String>) {
        for pending in [self.cancelling.take(), self.watching.take()].into_iter().flatten() {
            pending.abort();
        }
        if let Some(turn) = &mut self.turn {
            turn.answered = Some(Self::now());
        }
        self.looks.held = Some(result);
        if !self.look_after(me) {
            self.settle(me);
        }
    }

    /// Begins the second look of the open turn; false if there is none to begin.
    fn look_after(&mut self, me: &ActorRef<SessionMsg>) -> bool {
        let Some(of) = self.looks.of.take() else { return false };
        let (turn, to) = (of.turn.clone(), me.clone());
        let look = self.args.ports.snapshots.after_turn(of);
        self.spawn(me, async move {
            look.await;
            to.cast(SessionMsg::LookedAfter(turn)).ok();
        });
        true
    }

    /// The second look is done.
    pub(super) fn looked_after(&mut self, me: &ActorRef<SessionMsg>, turn: &TurnId) {
        if self.machine.job.running_turn() == Some(turn) {
            self.settle(me);
        }
    }

    /// Takes note of an answer that waited. Whatever else is asked or seen comes behind it.
    pub(super) fn settle(&mut self, me: &ActorRef<SessionMsg>) {
        if let Some(result) = self.looks.held.take() {
            let decision = lifecycle::observe(&self.machine, Observation::Settled(result));
            self.apply(me, decision);
        }
    }

    /// The turn has ended. One that was not looked at yet is looked at as soon as its agent can no
    /// longer write.
    pub(super) fn look_at_end(&mut self, me: &ActorRef<SessionMsg>) {
        if matches!(self.machine.backend, Backend::Stopping { .. }) {
            self.looks.due = self.looks.of.take();
        } else {
            self.look_after(me);
        }
    }

    /// The agent's tree is gone.
    pub(super) fn look_when_gone(&mut self, me: &ActorRef<SessionMsg>) {
        if let Some(of) = self.looks.due.take() {
            self.looks.of = Some(of);
            self.look_after(me);
        }
    }
}
