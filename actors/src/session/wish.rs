//! What a person asks for in the instant in which a task has ended and the actor was not told yet that
//! this is recorded. Whoever waited for the end knows of it already and may ask at once, so such a wish
//! is judged when the record is made, and not refused for a task that nobody sees any more.

use std::time::Duration;

use ractor::{ActorRef, RpcReplyPort};

use super::actor::{EvictRequest, Memory, SessionMsg, Unwilling};
use super::state::Job;

/// A record takes milliseconds. One that takes longer than this waits for a disk, and whoever asks
/// is told that the agent session is busy.
const RECORD_PATIENCE: Duration = Duration::from_secs(2);

/// What a person may wish for.
pub enum Wish {
    /// That the backend is let go.
    Evict(EvictRequest),
    /// That it is started again, busy or not; answered when it is up.
    Restart(bool, RpcReplyPort<Result<(), Unwilling>>),
}

impl Wish {
    fn is_forced(&self) -> bool {
        match self {
            Self::Evict(request) => request.force,
            Self::Restart(force, _) => *force,
        }
    }
}

impl Memory {
    /// Judges a wish, now or when the end of the task is recorded.
    pub(super) fn wished(&mut self, me: &ActorRef<SessionMsg>, wish: Wish) {
        if wish.is_forced() || !matches!(self.machine.job, Job::Ending(_)) {
            self.judge(me, wish);
            return;
        }
        self.wishes.push(wish);
        if self.patience.is_none() {
            let to = me.clone();
            self.patience = Some(self.spawn(me, async move {
                tokio::time::sleep(RECORD_PATIENCE).await;
                to.cast(SessionMsg::Impatient).ok();
            }));
        }
    }

    /// Judges what has waited, as things are.
    pub(super) fn judge_wishes(&mut self, me: &ActorRef<SessionMsg>) {
        if let Some(patience) = self.patience.take() {
            patience.abort();
        }
        for wish in std::mem::take(&mut self.wishes) {
            self.judge(me, wish);
        }
    }

    fn judge(&mut self, me: &ActorRef<SessionMsg>, wish: Wish) {
        match wish {
            Wish::Evict(request) => self.evict(me, request),
            Wish::Restart(force, reply) => self.restart(me, force, reply),
        }
    }
}
