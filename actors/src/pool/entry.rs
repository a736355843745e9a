//! What the pool remembers of one agent session.

use std::collections::BTreeMap;
use std::time::Duration;

use ractor::{ActorRef, RpcReplyPort};
use tokio::time::Instant;

use super::messages::{Acquired, HandedOut, LiveView};
use super::policy::Standing;
use crate::event::AgentStatus;
use crate::id::{AgentKey, HostId};
use crate::session::actor::{SessionMsg, View};
use crate::session::busy::Busy;

/// From handing out an actor to hearing of its task; past it, the task did not come.
const HANDED_OUT: Duration = Duration::from_secs(10);
/// Who was asked to go and is busy is not asked again for so long.
const UNWILLING: Duration = Duration::from_secs(5);

/// One agent session.
pub(super) struct Entry {
    pub(super) actor: Option<ActorRef<SessionMsg>>,
    pub(super) waiters: Vec<RpcReplyPort<Acquired>>,
    pub(super) view: Option<View>,
    /// When it was used last, by the pool's counter and by the clock.
    pub(super) used: u64,
    pub(super) used_at: Instant,
    pub(super) bytes: Option<u64>,
    /// Since when it has its status.
    since: Instant,
    /// The hand-outs of which nothing was heard yet, by number.
    handed_out: BTreeMap<u64, Instant>,
    asked_to_go: bool,
    unwilling: Option<Instant>,
}

impl Entry {
    pub(super) fn new(actor: Option<ActorRef<SessionMsg>>, view: Option<View>, now: Instant) -> Self {
        Self {
            actor,
            waiters: Vec::new(),
            view,
            used: 0,
            used_at: now,
            bytes: None,
            since: now,
            handed_out: BTreeMap::new(),
            asked_to_go: false,
            unwilling: None,
        }
    }

    /// Its actor is given to somebody who has a task for it, if it is there by now.
    pub(super) fn hand_out(&mut self, number: u64, now: Instant) -> Option<HandedOut> {
        let actor = self.actor.clone()?;
        self.handed_out.insert(number, now);
        Some(HandedOut::new(actor, number))
    }

    /// What it was handed out for has come, and how it looks since was told before.
    pub(super) fn taken(&mut self, number: u64) {
        self.handed_out.remove(&number);
    }

    /// It was asked to let its backend go.
    pub(super) fn ask_to_go(&mut self) {
        self.asked_to_go = true;
    }

    /// It would not.
    pub(super) fn stays(&mut self, now: Instant) {
        self.asked_to_go = false;
        self.unwilling = Some(now);
    }

    /// Takes note of how it looks now; whether it was used. That may be from before it was handed out,
    /// so it takes no hand-out back.
    pub(super) fn moved(&mut self, view: View, now: Instant) -> bool {
        if self.view.as_ref().is_none_or(|old| old.status != view.status) {
            self.since = now;
        }
        let is_used = self.view.as_ref().map(|old| &old.turn) != Some(&view.turn);
        self.view = Some(view);
        is_used
    }

    /// The process that it shares: what it lives in, else what it would move into.
    pub(super) fn host(&self, configured: impl FnOnce() -> Option<HostId>) -> Option<HostId> {
        let view = self.view.as_ref().filter(|view| view.pid.is_some());
        view.map_or_else(configured, |view| view.host.clone())
    }

    /// What stands in its place. `pinned`: a connection holds a pin on it.
    pub(super) fn standing(&self, pinned: bool, now: Instant) -> Standing {
        let within = |since: Option<Instant>, limit| since.is_some_and(|at| now.duration_since(at) < limit);
        let Some(view) = &self.view else { return Standing::Busy };
        if view.leaving || self.asked_to_go {
            return Standing::Leaving;
        }
        if self.handed_out.values().any(|at| within(Some(*at), HANDED_OUT)) {
            return Standing::Busy;
        }
        if !view.live && view.task.is_none() {
            return Standing::Down;
        }
        let is_busy = view.busy.any() || pinned || within(self.unwilling, UNWILLING);
        if is_busy { Standing::Busy } else { Standing::Free }
    }

    /// How it looks, for lists; `None` before its actor said anything.
    pub(super) fn live_view(&self, key: AgentKey, pinned: bool, now: Instant) -> Option<LiveView> {
        let view = self.view.as_ref()?;
        let idle = now.duration_since(self.since);
        Some(LiveView {
            status: view.status,
            generation: view.generation,
            pid: view.pid,
            idle_ms: (view.status == AgentStatus::Idle).then(|| millis(idle)),
            turn: view.turn.clone(),
            restarts: view.restarts,
            context: view.context,
            busy: Busy { pinned, ..view.busy },
            reason: view.reason.clone(),
            retry_in_ms: view.retry_at.map(|at| millis(at.saturating_duration_since(now))),
            failures: view.failures,
            key,
        })
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Generation;
    use crate::session::actor::SessionActor;

    fn view(status: AgentStatus, live: bool) -> View {
        View {
            status,
            live,
            generation: Generation(1),
            pid: None,
            host: None,
            task: None,
            turn: None,
            context: None,
            restarts: 0,
            leaving: false,
            busy: Busy::default(),
            reason: None,
            retry_at: None,
            failures: (0, 0),
        }
    }

    async fn entry(now: Instant) -> Entry {
        let world = crate::fake::World::new(crate::fake::Script::default());
        let args = crate::session::actor::SessionArgs {
            key: AgentKey::new("c-1", "demo"),
            ports: world.ports(),
            links: crate::links::Links::to_nobody(),
        };
        let (actor, _) = ractor::Actor::spawn(None, SessionActor, args).await.expect("spawned");
        Entry::new(Some(actor), None, now)
    }

    #[tokio::test(start_paused = true)]
    async fn a_report_from_before_a_hand_out_does_not_take_it_back() {
        let now = Instant::now();
        let mut entry = entry(now).await;
        entry.moved(view(AgentStatus::Backoff, false), now);
        assert_eq!(entry.standing(false, now), Standing::Down);
        let first = entry.hand_out(1, now).expect("an actor");
        // The end of the wait, told before the actor heard of the task, and once more.
        for status in [AgentStatus::Crashed, AgentStatus::Backoff] {
            entry.moved(view(status, false), now);
            assert_eq!(entry.standing(false, now), Standing::Busy, "the place is kept");
        }
        let second = entry.hand_out(2, now).expect("an actor");
        entry.taken(1);
        assert_eq!(entry.standing(false, now), Standing::Busy, "the other is on its way");
        entry.taken(2);
        assert_eq!(entry.standing(false, now), Standing::Down);
        drop((first, second));
    }

    #[tokio::test(start_paused = true)]
    async fn a_hand_out_of_which_nothing_comes_keeps_its_place_for_a_while_only() {
        let now = Instant::now();
        let mut entry = entry(now).await;
        entry.moved(view(AgentStatus::Idle, true), now);
        let _handed = entry.hand_out(1, now).expect("an actor");
        assert_eq!(entry.standing(false, now + HANDED_OUT / 2), Standing::Busy);
        assert_eq!(entry.standing(false, now + HANDED_OUT), Standing::Free);
    }
}
