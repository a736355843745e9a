//! The dispatcher actor: keeps the queue in step with the store and hands tasks to session actors.
//!
//! The store is the queue; what is in memory here is a copy that a restarted dispatcher reads
//! anew. **Invariant:** a task is handed over only while the store says `queued`; whether it may
//! be sent is decided by the store's own `queued` → `dispatched`, so no bug in here sends it twice.

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::task::JoinSet;

pub use super::messages::{Back, DispatchMsg};
use super::queue::{Errand, PutBack, Queue, Stage};
use crate::event::{AgentStatus, Event, NewEvent, Outcome, Scope, TaskState, Wait};
use crate::id::{AgentKey, TaskId};
use crate::links::{CALL_TIMEOUT, Links, ask, ask_actor, request};
use crate::persist::insist;
use crate::pool::actor::{Acquired, PoolMsg};
use crate::pool::policy::{Claim, Refusal};
use crate::ports::{Ended, Permit, PortError, Ports, TaskCard};
use crate::session::actor::SessionMsg;
use crate::session::state::Denied;

/// Why a task that was cancelled in the queue ended.
const NOT_BEGUN: &str = "cancelled before it began";
/// The reason of an `agent_state` event by which a start says that it waits for a place.
const WAITING_FOR_SLOT: &str = "waiting_for_slot";
/// The same for memory.
const WAITING_FOR_MEMORY: &str = "waiting_for_memory";

/// Runs tasks in order.
pub struct Dispatcher;

/// The memory of the dispatcher.
pub struct Desk {
    ports: Ports,
    links: Links,
    queue: Queue,
    loaded: bool,
    /// What came about tasks before the queue was read: it is heard in the same order then, or a word
    /// would be lost on what is only being read.
    early: Vec<DispatchMsg>,
    quiet: bool,
    /// The pool gives no places any more.
    stopped: bool,
    effects: JoinSet<()>,
}

impl Actor for Dispatcher {
    type Msg = DispatchMsg;
    type State = Desk;
    type Arguments = (Ports, Links);

    async fn pre_start(
        &self,
        _me: ActorRef<DispatchMsg>,
        (ports, links): (Ports, Links),
    ) -> Result<Desk, ActorProcessingErr> {
        Ok(Desk {
            ports,
            links,
            queue: Queue::default(),
            loaded: false,
            early: Vec::new(),
            quiet: false,
            stopped: false,
            effects: JoinSet::new(),
        })
    }

    async fn post_start(&self, me: ActorRef<DispatchMsg>, desk: &mut Desk) -> Result<(), ActorProcessingErr> {
        desk.load(&me);
        Ok(())
    }

    async fn handle(
        &self,
        me: ActorRef<DispatchMsg>,
        message: DispatchMsg,
        desk: &mut Desk,
    ) -> Result<(), ActorProcessingErr> {
        while desk.effects.try_join_next().is_some() {}
        if !desk.loaded && message.is_news_of_tasks() {
            desk.early.push(message);
        } else {
            desk.hear(&me, message);
        }
        desk.start_next(&me);
        Ok(())
    }
}

impl Desk {
    fn hear(&mut self, me: &ActorRef<DispatchMsg>, message: DispatchMsg) {
        match message {
            DispatchMsg::Loaded(open, held) => self.fill(me, open, &held),
            DispatchMsg::Submitted(card) => self.queue.insert(card),
            DispatchMsg::Cancel(task, reply) => self.cancel(me, task, reply),
            DispatchMsg::Held(chat, word) => self.queue.set_held(&chat, word),
            DispatchMsg::Lend(id, loan) => self.queue.lend(id, loan),
            DispatchMsg::GiveBack(id) => self.queue.give_back(id),
            DispatchMsg::Asking(task, waits) => self.queue.set_asking(&task, waits),
            DispatchMsg::Acquired(errand, acquired) => self.acquired(me, errand, acquired),
            DispatchMsg::Handed(errand, result) => self.handed(me, &errand, result),
            DispatchMsg::Back { task, back: Back::Ended } | DispatchMsg::Ended(task) => {
                self.queue.remove(&task);
            }
            DispatchMsg::Back { task, back: Back::Unrun(wait) } => self.reread(me, &task, wait),
            DispatchMsg::Reread(errand, card, wait) => self.put_back(me, errand, card, wait),
            DispatchMsg::Ready(key) => self.queue.ready(&key),
            DispatchMsg::Wanted(reply) => {
                reply.send(self.queue.wanted()).ok();
            }
            DispatchMsg::Lost { key } => self.lost(me, |lost| *lost == key),
            DispatchMsg::Living(keys) => self.lost(me, |key| !keys.contains(key)),
            DispatchMsg::PlaceFreed => self.queue.place_freed(),
            DispatchMsg::Configured => self.queue.configured(),
            DispatchMsg::Waiting(reply) => {
                reply.send(self.queue.waiting()).ok();
            }
            DispatchMsg::InFlight(reply) => {
                reply.send(self.queue.iter().filter(|entry| entry.stage == Stage::InFlight).count()).ok();
            }
            DispatchMsg::Quiesce(reply) => {
                self.quiet = true;
                reply.send(()).ok();
            }
        }
    }

    /// Reads the open tasks, and asks every live session actor what it holds.
    fn load(&mut self, me: &ActorRef<DispatchMsg>) {
        let (store, links, me) = (self.ports.store.clone(), self.links.clone(), me.clone());
        self.effects.spawn(async move {
            let Ok(open) = insist(store.open_tasks(), || store.open_tasks()).await else {
                // Without the queue there is nothing to dispatch: Root starts another, or gives up.
                me.kill();
                return;
            };
            let (mut held, mut asking) = (Vec::new(), Vec::new());
            let live = ask("session supervisor", &links.sessions, crate::sessions::SessionsMsg::Live).await;
            for (_, actor) in live.unwrap_or_default() {
                let view = ask_actor("session", &actor, SessionMsg::Inspect, CALL_TIMEOUT).await;
                let Ok(view) = view else { continue };
                asking.extend(view.task.clone().filter(|_| view.busy.permission));
                held.extend(view.task);
            }
            me.cast(DispatchMsg::Loaded(open, held)).ok();
            for task in asking {
                me.cast(DispatchMsg::Asking(task, true)).ok();
            }
        });
    }

    fn fill(&mut self, me: &ActorRef<DispatchMsg>, open: Vec<TaskCard>, held: &[TaskId]) {
        for card in open {
            let task = card.task.clone();
            let begun = matches!(card.state, TaskState::Dispatched | TaskState::Running);
            self.queue.insert(card);
            if held.contains(&task) {
                self.queue.send_for(&task);
            } else if begun {
                // Nobody holds it, so nobody will end it: at most once means never again.
                self.end(me, task, Outcome::Interrupted, "nobody was left who ran it");
            }
        }
        self.loaded = true;
        for message in std::mem::take(&mut self.early) {
            self.hear(me, message);
        }
    }

    fn start_next(&mut self, me: &ActorRef<DispatchMsg>) {
        if self.stopped || !self.loaded {
            return;
        }
        for task in self.queue.next(self.ports.settings.limits()) {
            // What runs may run to its end, and with it whom it waits for.
            if self.quiet && self.queue.n_lent_to(&task) == 0 {
                continue;
            }
            let claim = Claim { behind: self.queue.is_behind(&task), n_lent: self.queue.n_lent_to(&task) };
            let Some(key) = self.queue.get(&task).map(|entry| entry.card.key.clone()) else { continue };
            let Some(errand) = self.queue.begin(&task) else { continue };
            let me = me.clone();
            // Sent now: the pool serves in the order of asking.
            let asked = request("pool", &self.links.pool, |reply| PoolMsg::Acquire { key, claim, reply });
            self.effects.spawn(async move {
                // A pool that is being restarted has no place just now; it tells when it has.
                let acquired = asked.await.unwrap_or(Err(Refusal::NoPlace {
                    wait: Wait::Slot,
                    coming: true,
                    why: "the pool is being restarted".into(),
                }));
                me.cast(DispatchMsg::Acquired(errand, acquired)).ok();
            });
        }
    }

    /// What comes too late, or for a task that was cancelled, is dropped: an actor hears by that that
    /// nothing comes.
    fn acquired(&mut self, me: &ActorRef<DispatchMsg>, errand: Errand, acquired: Acquired) {
        if !self.queue.is_on(&errand) {
            return;
        }
        let task = errand.task.clone();
        let Some(entry) = self.queue.get_mut(&task) else { return };
        match acquired {
            _ if entry.cancelled => self.end(me, task, Outcome::Cancelled, NOT_BEGUN),
            Ok(handed) => {
                let (card, me) = (entry.card.clone(), me.clone());
                self.effects.spawn(async move {
                    let run = |reply| SessionMsg::Run(card, reply);
                    let taken = ask_actor("session", handed.actor(), run, CALL_TIMEOUT).await;
                    // An actor that is going away: the task is for its successor.
                    me.cast(DispatchMsg::Handed(errand, taken.unwrap_or(Err(Denied::Leaving)))).ok();
                });
            }
            Err(Refusal::NoPlace { wait, coming, .. }) if coming || !entry.card.no_wait => {
                self.park(&task, wait);
            }
            Err(Refusal::Stopping) => {
                entry.stage = Stage::Waiting;
                self.stopped = true;
            }
            Err(refusal) => self.end(me, task, Outcome::Failed, &refusal.to_string()),
        }
    }

    fn handed(&mut self, me: &ActorRef<DispatchMsg>, errand: &Errand, result: Result<(), Denied>) {
        match result {
            Ok(()) => {
                if let Some(entry) = self.queue.get(&errand.task).filter(|entry| entry.cancelled) {
                    let key = entry.card.key.clone();
                    self.pass_cancel_on(key, errand.task.clone());
                }
            }
            // Who is sent for it meanwhile finds it where it is now.
            Err(_) if !self.queue.is_on(errand) => {}
            Err(_) => self.reread(me, &errand.task, None),
        }
    }

    /// A task waits for a place, and says so once.
    fn park(&mut self, task: &TaskId, wait: Wait) {
        let reason = match wait {
            Wait::Slot => WAITING_FOR_SLOT,
            Wait::Memory => WAITING_FOR_MEMORY,
            // The session actor says that, which knows why.
            Wait::Backoff | Wait::Circuit => "",
        };
        if !self.queue.park(task, wait) || reason.is_empty() {
            return;
        }
        let Some(card) = self.queue.get(task).map(|entry| &entry.card) else { return };
        let scope = Scope {
            session: Some(card.session.clone()),
            chat: Some(card.key.chat.clone()),
            agent: Some(card.key.agent.clone()),
            task: Some(card.task.clone()),
            ..Scope::default()
        };
        let event = Event::AgentState {
            from: None,
            to: AgentStatus::Starting,
            reason: Some(reason.to_owned()),
            pid: None,
            exit: None,
        };
        self.ports.store.append(NewEvent { scope: Arc::new(scope), event }, Permit::free());
    }

    fn cancel(&mut self, me: &ActorRef<DispatchMsg>, task: TaskId, reply: RpcReplyPort<()>) {
        match self.queue.get_mut(&task) {
            Some(entry) if entry.stage == Stage::InFlight => {
                // Remembered, for a task that is only on its way to its actor.
                entry.cancelled = true;
                let key = entry.card.key.clone();
                self.pass_cancel_on(key, task);
                reply.send(()).ok();
            }
            Some(_) => {
                self.queue.send_for(&task);
                let (store, me) = (self.ports.store.clone(), me.clone());
                let end = move |task: TaskId| store.end_task(task, Outcome::Cancelled, NOT_BEGUN.into());
                let first = end(task.clone());
                self.effects.spawn(async move {
                    note(&task, insist(first, || end(task.clone())).await);
                    reply.send(()).ok();
                    me.cast(DispatchMsg::Ended(task)).ok();
                });
            }
            // Terminal, or never heard of: nothing to do.
            None => {
                reply.send(()).ok();
            }
        }
    }

    fn pass_cancel_on(&mut self, key: AgentKey, task: TaskId) {
        let pool = self.links.pool.clone();
        self.effects.spawn(async move {
            if let Ok(Some(actor)) = ask("pool", &pool, |reply| PoolMsg::Find(key, reply)).await {
                actor.cast(SessionMsg::Cancel(task)).ok();
            }
        });
    }

    /// The store says what became of a task that nobody holds any more.
    fn reread(&mut self, me: &ActorRef<DispatchMsg>, task: &TaskId, wait: Option<Wait>) {
        let Some(errand) = self.queue.send_for(task) else { return };
        let (store, task, me) = (self.ports.store.clone(), task.clone(), me.clone());
        let first = store.task(task.clone());
        self.effects.spawn(async move {
            let card = insist(first, || store.task(task.clone())).await.unwrap_or_else(|error| {
                tracing::error!(task = %task, error = error.chain(), "a task cannot be read");
                None
            });
            me.cast(DispatchMsg::Reread(errand, card, wait)).ok();
        });
    }

    fn put_back(
        &mut self,
        me: &ActorRef<DispatchMsg>,
        errand: Errand,
        card: Option<TaskCard>,
        wait: Option<Wait>,
    ) {
        let no_wait = card.as_ref().is_some_and(|card| card.no_wait);
        match (self.queue.put_back(&errand, card), wait) {
            (PutBack::Late | PutBack::Over, _) | (PutBack::Back, None) => {}
            (PutBack::Begun, _) => {
                let why = "the supervisor of its agent session failed";
                self.end(me, errand.task, Outcome::Interrupted, why);
            }
            (PutBack::Cancelled, _) => self.end(me, errand.task, Outcome::Cancelled, NOT_BEGUN),
            (PutBack::Back, Some(wait)) if no_wait => {
                let why = format!("it would have to wait ({}), and was not to", wait.word());
                self.end(me, errand.task, Outcome::Failed, &why);
            }
            (PutBack::Back, Some(wait)) => self.park(&errand.task, wait),
        }
    }

    fn lost(&mut self, me: &ActorRef<DispatchMsg>, is_lost: impl Fn(&AgentKey) -> bool) {
        let held: Vec<_> = self
            .queue
            .iter()
            .filter(|entry| entry.stage == Stage::InFlight && is_lost(&entry.card.key))
            .map(|entry| entry.card.task.clone())
            .collect();
        for task in held {
            self.reread(me, &task, None);
        }
    }

    /// Records the end of a task that has no actor. It blocks its agent session until then.
    fn end(&mut self, me: &ActorRef<DispatchMsg>, task: TaskId, outcome: Outcome, reason: &str) {
        self.queue.send_for(&task);
        let (store, reason, me) = (self.ports.store.clone(), reason.to_owned(), me.clone());
        let first = store.end_task(task.clone(), outcome, reason.clone());
        self.effects.spawn(async move {
            note(&task, insist(first, || store.end_task(task.clone(), outcome, reason.clone())).await);
            me.cast(DispatchMsg::Ended(task)).ok();
        });
    }
}

/// A task whose end cannot be recorded is unknown to the store: there is nothing left to end.
fn note(task: &TaskId, result: Result<Ended, PortError>) {
    if let Err(error) = result {
        tracing::error!(task = %task, error = error.chain(), "the end of a task cannot be recorded");
    }
}
