//! The pool actor: get-or-create of session actors, single flight, in least recently used order.
//!
//! **Invariant:** it holds references only. Session actors belong to [`crate::sessions`], so
//! nothing of an agent's dies with a bug in here; a restarted pool asks who lives.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::entry::Entry;
pub use super::messages::{Acquired, HandedOut, LiveView, PoolMsg};
use super::policy::{self, Admission, Claim, Refusal, Standing};
use crate::dispatch::actor::DispatchMsg;
use crate::event::{AgentStatus, Wait};
use crate::id::{AgentKey, ChatId};
use crate::links::{CALL_TIMEOUT, Links, ask, ask_actor, tell};
use crate::persist::insist;
use crate::ports::{AgentMove, Ports};
use crate::restart::RestartBudget;
use crate::session::actor::{SessionArgs, SessionMsg, View};
use crate::session::state::Leave;
use crate::sessions::SessionsMsg;

/// How often the actor of one agent session may fail in [`ACTOR_PERIOD`] before it is left alone.
const ACTOR_RESTARTS_MAX: usize = 5;
/// The sliding period of [`ACTOR_RESTARTS_MAX`].
const ACTOR_PERIOD: Duration = Duration::from_secs(60);
/// How long an ordered stop of one agent session may take: its stop grace and its records.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(60);
/// The same without any grace: nobody who is in a hurry waits for a disk that takes nothing.
const LEAVE_NOW_TIMEOUT: Duration = Duration::from_secs(10);

/// Keeps the agent sessions.
pub struct Pool;

/// The memory of the pool.
pub struct Kept {
    pub(super) ports: Ports,
    pub(super) links: Links,
    pub(super) entries: BTreeMap<AgentKey, Entry>,
    /// Who was told to wait for a place since one was freed last.
    pub(super) waiting: BTreeSet<AgentKey>,
    pub(super) waits_for_memory: bool,
    pub(super) is_ticking: bool,
    pub(super) stopping: bool,
    pub(super) effects: JoinSet<()>,
    budgets: BTreeMap<AgentKey, RestartBudget>,
    left_alone: BTreeMap<AgentKey, Instant>,
    /// Counts uses.
    clock: u64,
    /// Counts hand-outs, of all.
    n_handed: u64,
}

impl Actor for Pool {
    type Msg = PoolMsg;
    type State = Kept;
    type Arguments = (Ports, Links);

    async fn pre_start(
        &self,
        _me: ActorRef<PoolMsg>,
        (ports, links): (Ports, Links),
    ) -> Result<Kept, ActorProcessingErr> {
        Ok(Kept {
            ports,
            links,
            entries: BTreeMap::new(),
            waiting: BTreeSet::new(),
            waits_for_memory: false,
            is_ticking: false,
            stopping: false,
            effects: JoinSet::new(),
            budgets: BTreeMap::new(),
            left_alone: BTreeMap::new(),
            clock: 0,
            n_handed: 0,
        })
    }

    async fn post_start(&self, me: ActorRef<PoolMsg>, kept: &mut Kept) -> Result<(), ActorProcessingErr> {
        kept.adopt(&me);
        Ok(())
    }

    async fn handle(
        &self,
        me: ActorRef<PoolMsg>,
        message: PoolMsg,
        kept: &mut Kept,
    ) -> Result<(), ActorProcessingErr> {
        while kept.effects.try_join_next().is_some() {}
        match message {
            PoolMsg::Admit { key, no_wait, reply } => {
                reply.send(kept.admit(&key, no_wait)).ok();
            }
            PoolMsg::Acquire { key, claim, reply } => kept.acquire(&me, key, claim, reply),
            PoolMsg::Find(key, reply) => {
                reply.send(kept.entries.get(&key).and_then(|entry| entry.actor.clone())).ok();
            }
            PoolMsg::Touch(key) => kept.touch(&key),
            PoolMsg::Configured => kept.tell_all(|_| true, || SessionMsg::Configured),
            PoolMsg::Judged(key, actor, willing) => kept.judged(&key, actor, willing),
            PoolMsg::Expired(keys) => kept.let_expired_go(&me, &keys),
            PoolMsg::Weighed(weights) => kept.weighed(&me, weights),
            PoolMsg::Tick => kept.tick(&me),
            PoolMsg::Created(key, result) => kept.created(key, result),
            PoolMsg::Moved(key, view) => kept.moved(&key, view),
            PoolMsg::Taken(key, number) => {
                kept.see(&key, |entry, _| {
                    entry.taken(number);
                    false
                });
            }
            PoolMsg::Passed { key, actor, failure } => kept.passed(key, actor, failure),
            PoolMsg::Readopt => kept.adopt(&me),
            PoolMsg::Adopted(live) => kept.adopted(live),
            PoolMsg::Live(reply) => {
                reply.send(kept.live()).ok();
            }
            PoolMsg::CloseChat(chat, reply) => kept.close_chat(&chat, reply),
            PoolMsg::AudienceLeft(chat) => {
                kept.tell_all(|key| key.chat == chat, || SessionMsg::AudienceLeft);
            }
            PoolMsg::StopAll(now, reply) => {
                kept.stopping = true;
                kept.let_go(|_| true, Leave::DaemonStops, now, reply);
            }
        }
        kept.keep_ticking(&me);
        Ok(())
    }
}

impl Kept {
    fn admit(&mut self, key: &AgentKey, no_wait: bool) -> Result<(), Refusal> {
        self.check(key)?;
        self.touch(key);
        if !no_wait {
            return Ok(());
        }
        let view = self.entries.get(key).and_then(|entry| entry.view.as_ref());
        if let Some(view) = view.filter(|view| view.status == AgentStatus::CircuitOpen) {
            let why = view.reason.as_deref().unwrap_or("it failed too often");
            return Err(Refusal::CircuitOpen(format!("no start of {} for now: {why}", key.agent)));
        }
        let facts = self.facts(Instant::now());
        let decision = policy::admit(&facts, key, self.host_of(key).as_ref(), Claim::default());
        match policy::refusal(&facts, &decision) {
            Some(Refusal::NoPlace { coming: true, .. }) | None => Ok(()),
            Some(refusal) => Err(refusal),
        }
    }

    /// Whether anything at all may be started for a key.
    fn check(&mut self, key: &AgentKey) -> Result<(), Refusal> {
        if self.stopping {
            return Err(Refusal::Stopping);
        }
        let now = Instant::now();
        self.left_alone.retain(|_, since| now.duration_since(*since) < ACTOR_PERIOD);
        if self.left_alone.contains_key(key) {
            return Err(Refusal::FailedTooOften("again and again".into()));
        }
        Ok(())
    }

    /// It was used now.
    fn touch(&mut self, key: &AgentKey) {
        self.clock += 1;
        if let Some(entry) = self.entries.get_mut(key) {
            entry.used = self.clock;
            entry.used_at = Instant::now();
        }
    }

    fn acquire(
        &mut self,
        me: &ActorRef<PoolMsg>,
        key: AgentKey,
        claim: Claim,
        reply: RpcReplyPort<Acquired>,
    ) {
        if let Err(refusal) = self.check(&key).and_then(|()| self.find_place(me, &key, claim)) {
            reply.send(Err(refusal)).ok();
            return;
        }
        let now = Instant::now();
        self.n_handed += 1;
        match self.entries.get_mut(&key) {
            Some(entry) => match entry.hand_out(self.n_handed, now) {
                Some(handed) => {
                    reply.send(Ok(handed)).ok();
                }
                // Single flight: the start that is under way serves everybody who asks.
                None => entry.waiters.push(reply),
            },
            None => {
                let mut entry = Entry::new(None, None, now);
                entry.waiters.push(reply);
                self.entries.insert(key.clone(), entry);
                self.create(me, key.clone());
            }
        }
        self.touch(&key);
    }

    /// Finds a place, or says what to wait for and asks somebody to go.
    fn find_place(&mut self, me: &ActorRef<PoolMsg>, key: &AgentKey, claim: Claim) -> Result<(), Refusal> {
        self.waiting.remove(key);
        let facts = self.facts(Instant::now());
        let decision = policy::admit(&facts, key, self.host_of(key).as_ref(), claim);
        let refusal = policy::refusal(&facts, &decision);
        for evicted in &decision.evict {
            self.ask_to_go(me, evicted, format!("to make room for {key}"));
        }
        let Some(refusal) = refusal else { return Ok(()) };
        match decision.admission {
            Admission::Wait(Wait::Memory) => {
                self.waits_for_memory = true;
                self.weigh(me);
            }
            _ => {
                self.waiting.insert(key.clone());
            }
        }
        Err(refusal)
    }

    fn create(&mut self, me: &ActorRef<PoolMsg>, key: AgentKey) {
        let args = SessionArgs { key: key.clone(), ports: self.ports.clone(), links: self.links.clone() };
        let (sessions, me) = (self.links.sessions.clone(), me.clone());
        self.effects.spawn(async move {
            let started =
                ask("session supervisor", &sessions, |reply| SessionsMsg::Start(Box::new(args), reply)).await;
            let result = started.map_err(|error| error.to_string()).and_then(|result| result);
            me.cast(PoolMsg::Created(key, result)).ok();
        });
    }

    fn created(&mut self, key: AgentKey, result: Result<ActorRef<SessionMsg>, String>) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        entry.actor = result.as_ref().ok().cloned();
        let why = result.err().unwrap_or_else(|| "it has no actor".into());
        for waiter in std::mem::take(&mut entry.waiters) {
            self.n_handed += 1;
            let handed = entry.hand_out(self.n_handed, Instant::now());
            waiter.send(handed.ok_or_else(|| Refusal::FailedTooOften(why.clone()))).ok();
        }
        if entry.actor.is_none() {
            self.entries.remove(&key);
        }
    }

    fn moved(&mut self, key: &AgentKey, view: View) {
        self.see(key, |entry, now| entry.moved(view, now));
    }

    /// Takes note of something about an agent session, which says whether it was used by that, and of
    /// what it means for those who wait for a place.
    fn see(&mut self, key: &AgentKey, note: impl FnOnce(&mut Entry, Instant) -> bool) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let (pinned, now) = (self.ports.audience.pinned(key), Instant::now());
        let before = entry.standing(pinned, now);
        let is_used = note(entry, now);
        let after = entry.standing(pinned, now);
        if is_used {
            self.touch(key);
        }
        match (before, after) {
            (Standing::Busy | Standing::Free | Standing::Leaving, Standing::Down) => self.place_freed(),
            // It may go now for somebody who waits.
            (Standing::Busy, Standing::Free) => self.retry_waiting(),
            _ => {}
        }
    }

    fn passed(&mut self, key: AgentKey, actor: ActorId, failure: Option<String>) {
        let current = self.entries.get(&key).and_then(|entry| entry.actor.as_ref());
        if current.is_some_and(|current| current.get_id() != actor) {
            return;
        }
        let entry = self.entries.remove(&key);
        if let Some(failure) = failure {
            self.record_failure(&key, entry.and_then(|entry| entry.view), failure);
        }
        tell(&self.links.dispatcher, DispatchMsg::Lost { key });
        self.place_freed();
    }

    /// The actor died by a bug: its guard ended its process; the record must say so.
    fn record_failure(&mut self, key: &AgentKey, view: Option<View>, failure: String) {
        let budget = self.budgets.entry(key.clone());
        let budget = budget.or_insert_with(|| RestartBudget::new(ACTOR_RESTARTS_MAX, ACTOR_PERIOD));
        if budget.spend(Instant::now()).is_err() {
            tracing::error!(key = %key, "the actor of this agent session fails again and again");
            self.left_alone.insert(key.clone(), Instant::now());
        }
        let Some(view) = view else { return };
        let step = AgentMove {
            key: key.clone(),
            generation: view.generation,
            to: AgentStatus::Crashed,
            reason: Some(format!("its supervisor failed: {failure}")),
            pid: view.pid,
            exit: None,
        };
        let store = self.ports.store.clone();
        let first = store.move_agent(step.clone());
        self.effects.spawn(async move {
            if let Err(error) = insist(first, || store.move_agent(step.clone())).await {
                tracing::error!(error = error.chain(), "the end of an agent session cannot be recorded");
            }
        });
    }

    fn adopt(&mut self, me: &ActorRef<PoolMsg>) {
        let (sessions, me) = (self.links.sessions.clone(), me.clone());
        self.effects.spawn(async move {
            let mut adopted = Vec::new();
            for (key, actor) in
                ask("session supervisor", &sessions, SessionsMsg::Live).await.unwrap_or_default()
            {
                let view = ask_actor("session", &actor, SessionMsg::Inspect, CALL_TIMEOUT).await.ok();
                adopted.push((key, actor, view));
            }
            me.cast(PoolMsg::Adopted(adopted)).ok();
        });
    }

    fn adopted(&mut self, live: Vec<(AgentKey, ActorRef<SessionMsg>, Option<View>)>) {
        let ids: BTreeMap<_, _> = live.iter().map(|(key, actor, _)| (key.clone(), actor.get_id())).collect();
        let gone: Vec<_> = self
            .entries
            .iter()
            .filter_map(|(key, entry)| {
                let actor = entry.actor.as_ref()?.get_id();
                (ids.get(key) != Some(&actor)).then(|| (key.clone(), actor))
            })
            .collect();
        for (key, actor) in gone {
            self.passed(key, actor, Some("its supervisor was replaced".into()));
        }
        for (key, actor, view) in live {
            let entry = Entry::new(Some(actor), view, Instant::now());
            self.entries.entry(key.clone()).or_insert(entry);
            self.touch(&key);
        }
        // Deaths that nobody told while there was no pool.
        tell(&self.links.dispatcher, DispatchMsg::Living(self.entries.keys().cloned().collect()));
        self.place_freed();
    }

    fn live(&self) -> Vec<LiveView> {
        let now = Instant::now();
        let mut live: Vec<_> = self.entries.iter().collect();
        live.sort_by_key(|(_, entry)| entry.used);
        live.into_iter()
            .filter_map(|(key, entry)| entry.live_view(key.clone(), self.ports.audience.pinned(key), now))
            .collect()
    }

    fn close_chat(&mut self, chat: &ChatId, reply: RpcReplyPort<()>) {
        self.let_go(|key| key.chat == *chat, Leave::Closed, false, reply);
    }

    fn let_go(&mut self, which: impl Fn(&AgentKey) -> bool, why: Leave, now: bool, reply: RpcReplyPort<()>) {
        let actors: Vec<_> =
            self.entries.iter().filter(|(key, _)| which(key)).filter_map(|(_, e)| e.actor.clone()).collect();
        let limit = if now { LEAVE_NOW_TIMEOUT } else { LEAVE_TIMEOUT };
        self.effects.spawn(async move {
            let mut leaving = JoinSet::new();
            for actor in actors {
                leaving.spawn(async move {
                    // An actor that is gone already has left.
                    ask_actor("session", &actor, |reply| SessionMsg::Leave(why, now, reply), limit)
                        .await
                        .ok();
                });
            }
            leaving.join_all().await;
            reply.send(()).ok();
        });
    }

    fn tell_all(&self, whom: impl Fn(&AgentKey) -> bool, message: impl Fn() -> SessionMsg) {
        for (_, entry) in self.entries.iter().filter(|(key, _)| whom(key)) {
            if let Some(actor) = &entry.actor {
                // One that has ended needs no word.
                actor.cast(message()).ok();
            }
        }
    }
}
