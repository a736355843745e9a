//! The pool actor: get-or-create of session actors, single flight, in least recently used order.
//!
//! **Invariant:** it holds references only. Session actors belong to [`crate::sessions`], so
//! nothing of an agent's dies with a bug in here; a restarted pool asks who lives.

use std::collections::BTreeMap;
use std::time::Duration;

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use super::messages::{Acquired, LiveView, PoolMsg};
use super::policy::{self, Facts, Lru, Refusal};
use crate::dispatch::actor::DispatchMsg;
use crate::event::AgentStatus;
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
/// How long a promise to a client holds a place before its task has come to start.
const PROMISE: Duration = Duration::from_secs(60);
/// How long an ordered stop of one agent session may take: its stop grace and its records.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(60);
/// The same without any grace: nobody who is in a hurry waits for a disk that takes nothing.
const LEAVE_NOW_TIMEOUT: Duration = Duration::from_secs(10);

/// Keeps the agent sessions.
pub struct Pool;

struct Entry {
    actor: Option<ActorRef<SessionMsg>>,
    waiters: Vec<RpcReplyPort<Acquired>>,
    view: Option<View>,
    since: Instant,
}

/// The memory of the pool.
pub struct Kept {
    ports: Ports,
    links: Links,
    entries: BTreeMap<AgentKey, Entry>,
    promised: BTreeMap<AgentKey, Instant>,
    budgets: BTreeMap<AgentKey, RestartBudget>,
    left_alone: BTreeMap<AgentKey, Instant>,
    lru: Lru,
    stopping: bool,
    effects: JoinSet<()>,
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
            promised: BTreeMap::new(),
            budgets: BTreeMap::new(),
            left_alone: BTreeMap::new(),
            lru: Lru::default(),
            stopping: false,
            effects: JoinSet::new(),
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
            PoolMsg::Admit(key, reply) => {
                reply.send(kept.admit(&key)).ok();
            }
            PoolMsg::Acquire(key, reply) => kept.acquire(&me, key, reply),
            PoolMsg::Find(key, reply) => {
                reply.send(kept.entries.get(&key).and_then(|entry| entry.actor.clone())).ok();
            }
            PoolMsg::Created(key, result) => kept.created(key, result),
            PoolMsg::Moved(key, view) => kept.moved(key, view),
            PoolMsg::Passed { key, actor, failure } => kept.passed(key, actor, failure),
            PoolMsg::Readopt => kept.adopt(&me),
            PoolMsg::Adopted(live) => kept.adopted(live),
            PoolMsg::Live(reply) => {
                reply.send(kept.live()).ok();
            }
            PoolMsg::CloseChat(chat, reply) => kept.close_chat(&chat, reply),
            PoolMsg::AudienceLeft(chat) => kept.audience_left(&chat),
            PoolMsg::StopAll(now, reply) => {
                kept.stopping = true;
                kept.let_go(|_| true, Leave::DaemonStops, now, reply);
            }
        }
        Ok(())
    }
}

impl Kept {
    fn admit(&mut self, key: &AgentKey) -> Result<(), Refusal> {
        self.judge(key)?;
        if !self.entries.contains_key(key) {
            self.promised.insert(key.clone(), Instant::now());
        }
        Ok(())
    }

    fn judge(&mut self, key: &AgentKey) -> Result<(), Refusal> {
        if self.stopping {
            return Err(Refusal::Stopping);
        }
        let now = Instant::now();
        self.promised.retain(|_, since| now.duration_since(*since) < PROMISE);
        self.left_alone.retain(|_, since| now.duration_since(*since) < ACTOR_PERIOD);
        if self.left_alone.contains_key(key) {
            return Err(Refusal::FailedTooOften("again and again".into()));
        }
        let facts = Facts {
            live: self.entries.iter().filter(|(_, entry)| entry.may_live()).map(|(key, _)| key).collect(),
            promised: self.promised.keys().collect(),
            max_live: self.ports.settings.limits().max_live,
        };
        policy::admit(&facts, key)
    }

    fn acquire(&mut self, me: &ActorRef<PoolMsg>, key: AgentKey, reply: RpcReplyPort<Acquired>) {
        if let Err(refusal) = self.judge(&key) {
            reply.send(Err(refusal)).ok();
            return;
        }
        self.promised.remove(&key);
        self.lru.touch(&key);
        match self.entries.get_mut(&key) {
            Some(Entry { actor: Some(actor), .. }) => {
                reply.send(Ok(actor.clone())).ok();
            }
            // Single flight: the start that is under way serves everybody who asks.
            Some(entry) => entry.waiters.push(reply),
            None => {
                let entry = Entry { actor: None, waiters: vec![reply], view: None, since: Instant::now() };
                self.entries.insert(key.clone(), entry);
                self.create(me, key);
            }
        }
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
        let answer = match &result {
            Ok(actor) => {
                entry.actor = Some(actor.clone());
                Ok(actor.clone())
            }
            Err(why) => Err(Refusal::FailedTooOften(why.clone())),
        };
        for waiter in std::mem::take(&mut entry.waiters) {
            waiter.send(answer.clone()).ok();
        }
        if result.is_err() {
            self.forget(&key);
        }
    }

    fn moved(&mut self, key: AgentKey, view: View) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        if entry.view.as_ref().is_none_or(|old| old.status != view.status) {
            entry.since = Instant::now();
        }
        let held_place = entry.may_live();
        if entry.view.as_ref().map(|old| &old.turn) != Some(&view.turn) {
            self.lru.touch(&key);
        }
        entry.view = Some(view);
        if held_place && !entry.may_live() {
            tell(&self.links.dispatcher, DispatchMsg::PlaceFreed);
        }
    }

    fn passed(&mut self, key: AgentKey, actor: ActorId, failure: Option<String>) {
        let current = self.entries.get(&key).and_then(|entry| entry.actor.as_ref());
        if current.is_some_and(|current| current.get_id() != actor) {
            return;
        }
        let entry = self.entries.remove(&key);
        self.lru.forget(&key);
        if let Some(failure) = failure {
            self.record_failure(&key, entry.and_then(|entry| entry.view), failure);
        }
        tell(&self.links.dispatcher, DispatchMsg::Lost { key });
        tell(&self.links.dispatcher, DispatchMsg::PlaceFreed);
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

    fn forget(&mut self, key: &AgentKey) {
        self.entries.remove(key);
        self.lru.forget(key);
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
            self.lru.touch(&key);
            let entry = Entry { actor: Some(actor), waiters: Vec::new(), view, since: Instant::now() };
            self.entries.entry(key).or_insert(entry);
        }
        // Deaths that nobody told while there was no pool.
        tell(&self.links.dispatcher, DispatchMsg::Living(self.entries.keys().cloned().collect()));
        tell(&self.links.dispatcher, DispatchMsg::PlaceFreed);
    }

    fn live(&self) -> Vec<LiveView> {
        let now = Instant::now();
        self.lru
            .order()
            .into_iter()
            .filter_map(|key| {
                let entry = self.entries.get(&key)?;
                let view = entry.view.as_ref()?;
                let idle = now.duration_since(entry.since).as_millis();
                Some(LiveView {
                    status: view.status,
                    generation: view.generation,
                    pid: view.pid,
                    idle_ms: (view.status == AgentStatus::Idle)
                        .then(|| u64::try_from(idle).unwrap_or(u64::MAX)),
                    turn: view.turn.clone(),
                    restarts: view.restarts,
                    context: view.context,
                    key,
                })
            })
            .collect()
    }

    fn close_chat(&mut self, chat: &ChatId, reply: RpcReplyPort<()>) {
        self.let_go(|key| key.chat == *chat, Leave::Closed, false, reply);
    }

    fn let_go(&mut self, which: impl Fn(&AgentKey) -> bool, why: Leave, now: bool, reply: RpcReplyPort<()>) {
        self.promised.retain(|key, _| !which(key));
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

    fn audience_left(&self, chat: &ChatId) {
        for (_, entry) in self.entries.iter().filter(|(key, _)| key.chat == *chat) {
            if let Some(actor) = &entry.actor {
                actor.cast(SessionMsg::AudienceLeft).ok();
            }
        }
    }
}

impl Entry {
    /// Whether a backend of it may be alive: also while its actor is only being made.
    fn may_live(&self) -> bool {
        self.view.as_ref().is_none_or(|view| view.live || view.task.is_some())
    }
}
