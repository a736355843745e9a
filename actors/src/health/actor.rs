//! Probes every server process in turn, and asks the owners of those that are ill to start them
//! again. Decides nothing itself: see [`super::policy`].
//!
//! **Invariant:** it keeps nobody alive. It holds weak references, upgraded only to send a probe.
//! **Invariant:** of each process one probe at most is waiting for its moment or its answer, so an
//! idle process costs one wake-up per interval.
//!
//! Agent sessions that live in one process have a record each, and whatever is seen of the process
//! is taken in by all of them alike. So they agree, and each owner is told.

use std::collections::BTreeMap;
use std::future::Future;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use super::messages::{EndCause, HealthMsg, Patient, Sign};
use super::pace::first_probe;
use super::policy::{Decision, Machine, Seen};
use super::records::{self, Record};
use crate::event::{Event, Exit, HealthState, NewEvent, Scope};
use crate::id::{AgentKey, ChatId, Generation};
use crate::links::{Links, ask};
use crate::ports::{FailureClass, HealthRules, Permit, Ports, ProbeFailed};
use crate::session::actor::SessionMsg;
use crate::sessions::SessionsMsg;
use crate::words::duration;

/// Watches over the health of server processes.
pub struct HealthActor;

/// The memory of the health actor.
pub struct Watched {
    ports: Ports,
    links: Links,
    records: BTreeMap<AgentKey, Record>,
    /// Processes that were ever begun: the place of the next one in its interval.
    n_begun: u32,
    effects: JoinSet<()>,
}

impl Actor for HealthActor {
    type Msg = HealthMsg;
    type State = Watched;
    type Arguments = (Ports, Links);

    async fn pre_start(
        &self,
        _me: ActorRef<HealthMsg>,
        (ports, links): (Ports, Links),
    ) -> Result<Watched, ActorProcessingErr> {
        Ok(Watched { ports, links, records: BTreeMap::new(), n_begun: 0, effects: JoinSet::new() })
    }

    async fn post_start(
        &self,
        me: ActorRef<HealthMsg>,
        watched: &mut Watched,
    ) -> Result<(), ActorProcessingErr> {
        watched.ask_who_lives(&me);
        Ok(())
    }

    async fn handle(
        &self,
        me: ActorRef<HealthMsg>,
        message: HealthMsg,
        watched: &mut Watched,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            HealthMsg::Began(patient) => watched.began(&me, patient),
            HealthMsg::Busy { key, generation, busy } => watched.busy(&key, generation, busy),
            HealthMsg::Ended { key, generation, exit, cause, why } => {
                watched.ended(&me, key, generation, (exit, cause, why));
            }
            HealthMsg::StartFailed { key, message, exit } => watched.start_failed(key, message, exit),
            HealthMsg::Forget(chat) => watched.forget(&me, &chat),
            HealthMsg::Probed { key, generation, asked, sign } => {
                watched.probed(&me, key, generation, (asked, sign));
            }
            HealthMsg::List(reply) => {
                reply.send(records::views(&watched.records)).ok();
            }
            HealthMsg::EffectPanicked => return Err("an effect of the health actor panicked".into()),
        }
        Ok(())
    }
}

/// Tells the actor if its effect panicked, so that no process goes without probes for ever.
struct Alarm(ActorRef<HealthMsg>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.cast(HealthMsg::EffectPanicked).ok();
        }
    }
}

impl Watched {
    fn spawn(
        &mut self,
        me: &ActorRef<HealthMsg>,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> AbortHandle {
        while self.effects.try_join_next().is_some() {}
        let alarm = Alarm(me.clone());
        self.effects.spawn(async move {
            work.await;
            drop(alarm);
        })
    }

    /// This actor may be the successor of one that failed: what it knew is asked for.
    fn ask_who_lives(&mut self, me: &ActorRef<HealthMsg>) {
        let sessions = self.links.sessions.clone();
        self.spawn(me, async move {
            // While the session supervisor is being restarted nobody lives.
            let live = ask("session supervisor", &sessions, SessionsMsg::Live).await.unwrap_or_default();
            for (_, actor) in live {
                actor.cast(SessionMsg::Present).ok();
            }
        });
    }

    fn rules(&self, key: &AgentKey) -> HealthRules {
        self.ports.settings.agent(&key.agent).health
    }

    fn record(&mut self, key: &AgentKey, now: Instant) -> &mut Record {
        let machine = || Machine::new(false, now);
        self.records.entry(key.clone()).or_insert_with(|| Record::new(machine(), now))
    }

    fn began(&mut self, me: &ActorRef<HealthMsg>, patient: Patient) {
        let now = Instant::now();
        let (key, busy) = (patient.key.clone(), patient.busy);
        let record = self.record(&key, now);
        if patient.generation < record.generation {
            return;
        }
        let is_known = record.patient.is_some() && patient.generation == record.generation;
        if !is_known {
            record.lose(now);
        }
        record.begin(patient, now);
        record.busy = busy;
        if !is_known {
            self.take_in(&key, Seen::RestartDone, None, now);
            self.settle_in(&key);
            self.n_begun = self.n_begun.wrapping_add(1);
            let first = now + first_probe(self.rules(&key).interval, self.n_begun);
            self.keep_probing(me, &key, first);
        }
        self.busy_changed(&key, now);
    }

    fn busy(&mut self, key: &AgentKey, generation: Generation, busy: bool) {
        let now = Instant::now();
        if self.is_present(key, generation) {
            self.record(key, now).busy = busy;
            self.look_at_pulse(key, now);
            self.busy_changed(key, now);
        }
    }

    /// Those who live in the same process, `key` itself included; nobody if it has none.
    fn tenants(&self, key: &AgentKey) -> Vec<AgentKey> {
        records::tenants(&self.records, key)
    }

    /// Who moves in with others is as well as they are.
    fn settle_in(&mut self, key: &AgentKey) {
        let others = self.tenants(key).into_iter().find(|other| other != key);
        let machine = others.and_then(|other| self.records.get(&other)).map(|record| record.machine);
        if let (Some(machine), Some(record)) = (machine, self.records.get_mut(key)) {
            record.machine = machine;
        }
    }

    /// A process is at work while one of its tenants is.
    fn busy_changed(&mut self, key: &AgentKey, now: Instant) {
        let tenants = self.tenants(key);
        let busy = tenants.iter().filter_map(|key| self.records.get(key)).any(|record| record.busy);
        self.take_in_all(&tenants, Seen::BusyChanged(busy), None, now);
    }

    fn take_in_all(&mut self, keys: &[AgentKey], seen: Seen, words: Option<&str>, now: Instant) {
        for key in keys {
            self.take_in(key, seen, words.map(str::to_owned), now);
        }
    }

    /// Sees to it that the process is probed, if somebody lives in it and nobody has it probed yet.
    fn keep_probing(&mut self, me: &ActorRef<HealthMsg>, key: &AgentKey, at: Instant) {
        let tenants = self.tenants(key);
        let is_probed = |key: &AgentKey| self.records.get(key).is_some_and(|it| it.probe.is_some());
        if let (Some(first), false) = (tenants.first(), tenants.iter().any(is_probed)) {
            self.probe_at(me, first, at);
        }
    }

    /// One left a process that others may live on in.
    fn moved_out(&mut self, me: &ActorRef<HealthMsg>, rest: &[AgentKey], now: Instant) {
        if let Some(other) = rest.first() {
            self.busy_changed(other, now);
            self.keep_probing(me, other, now + self.rules(other).interval);
        }
        records::forget_oldest(&mut self.records);
    }

    fn others(&self, key: &AgentKey) -> Vec<AgentKey> {
        self.tenants(key).into_iter().filter(|other| other != key).collect()
    }

    /// Whether this is news of the process that runs now.
    fn is_present(&self, key: &AgentKey, generation: Generation) -> bool {
        self.records.get(key).is_some_and(|it| it.generation == generation && it.patient.is_some())
    }

    fn look_at_pulse(&mut self, key: &AgentKey, now: Instant) {
        let tenants = self.tenants(key);
        let mut has_progressed = false;
        for key in &tenants {
            has_progressed |= self.records.get_mut(key).is_some_and(Record::has_progressed);
        }
        if has_progressed {
            self.take_in_all(&tenants, Seen::Progress, None, now);
        }
    }

    fn ended(
        &mut self,
        me: &ActorRef<HealthMsg>,
        key: AgentKey,
        generation: Generation,
        (exit, cause, why): (Exit, EndCause, String),
    ) {
        let now = Instant::now();
        let others = self.others(&key);
        let record = self.record(&key, now);
        if generation < record.generation {
            return;
        }
        record.generation = generation;
        record.end(cause, Some(exit), why.clone(), now);
        self.take_in(&key, Seen::Exited { again: cause == EndCause::Ill }, Some(why), now);
        self.moved_out(me, &others, now);
    }

    fn start_failed(&mut self, key: AgentKey, message: String, exit: Option<Exit>) {
        let now = Instant::now();
        self.record(&key, now).end(EndCause::Crashed, exit, message, now);
        self.take_in(&key, Seen::RestartFailed, None, now);
        records::forget_oldest(&mut self.records);
    }

    fn forget(&mut self, me: &ActorRef<HealthMsg>, chat: &ChatId) {
        let now = Instant::now();
        let gone: Vec<AgentKey> = self.records.keys().filter(|key| key.chat == *chat).cloned().collect();
        for key in gone {
            let others = self.others(&key);
            if let Some(mut record) = self.records.remove(&key) {
                record.lose(now);
            }
            self.moved_out(me, &others, now);
        }
    }

    fn probed(
        &mut self,
        me: &ActorRef<HealthMsg>,
        key: AgentKey,
        generation: Generation,
        (asked, sign): (Instant, Sign),
    ) {
        if !self.is_present(&key, generation) {
            return;
        }
        let now = Instant::now();
        let tenants = self.tenants(&key);
        if let Some(record) = self.records.get_mut(&key) {
            record.probe = None;
        }
        self.look_at_pulse(&key, now);
        match sign {
            Sign::Alive => self.take_in_all(&tenants, Seen::ProbeOk, None, now),
            Sign::Failed(failure) => self.failed(&tenants, asked, &failure, now),
            // Its owner failed and let go of it; nobody is left to say so.
            Sign::Gone => {
                let others = self.others(&key);
                self.record(&key, now).lose(now);
                self.take_in(&key, Seen::Exited { again: false }, None, now);
                self.moved_out(me, &others, now);
                return;
            }
        }
        let next = asked + self.rules(&key).interval;
        self.keep_probing(me, &key, next.max(now));
    }

    fn failed(&mut self, tenants: &[AgentKey], asked: Instant, failure: &ProbeFailed, now: Instant) {
        for key in tenants {
            let record = self.record(key, now);
            // What is seen of it while it is being ended does not hide why it is.
            if record.machine.state() != Some(HealthState::Restarting) {
                record.failed(failure, now);
            }
        }
        let seen = Seen::ProbeFailed { class: failure.class, asked };
        self.take_in_all(tenants, seen, Some(&failure.message), now);
    }

    /// Applies what was seen; `words` say what it was, where it was bad.
    fn take_in(&mut self, key: &AgentKey, seen: Seen, words: Option<String>, now: Instant) {
        let rules = self.rules(key);
        let Some(record) = self.records.get_mut(key) else { return };
        let before = record.machine.state();
        let Decision { next, restart } = record.machine.observe(&rules, seen, now);
        record.machine = next;
        let why = restart.as_ref().map(|restart| restart.why.clone()).or(words);
        let after = record.machine.state();
        let (generation, session) =
            (record.generation, record.patient.as_ref().map(|patient| patient.session.clone()));
        // Told before what follows from it, so that the journal has the reason before the end.
        if let (Some(from), Some(to)) = (before, after) {
            self.tell_move(key, from, to, why);
        }
        if let (Some(restart), Some(session)) = (restart, session) {
            let ill = SessionMsg::Ill { generation, why: restart.why, interrupt: restart.interrupt };
            // An owner that is gone took the process along, as the next probe will find.
            session.cast(ill).ok();
        }
    }

    fn tell_move(&self, key: &AgentKey, from: HealthState, to: HealthState, why: Option<String>) {
        if from == to {
            return;
        }
        tracing::info!(key = %key, ?from, ?to, why, "health moved");
        let generation = self.records.get(key).map(|record| record.generation);
        let scope = Scope {
            chat: Some(key.chat.clone()),
            agent: Some(key.agent.clone()),
            generation,
            ..Scope::default()
        };
        let failure = why.filter(|_| to != HealthState::Healthy);
        let event = Event::Health { from, to, failure };
        self.ports.store.append(NewEvent { scope: scope.into(), event }, Permit::free());
    }

    /// Sends the next probe of a process at that moment, and brings back what comes of it.
    fn probe_at(&mut self, me: &ActorRef<HealthMsg>, key: &AgentKey, at: Instant) {
        let Some(record) = self.records.get(key) else { return };
        let Some(patient) = &record.patient else { return };
        let (agent, generation) = (patient.agent.clone(), record.generation);
        let (settings, to, of) = (self.ports.settings.clone(), me.clone(), key.clone());
        let probe = self.spawn(me, async move {
            tokio::time::sleep_until(at).await;
            let asked = Instant::now();
            let limit = settings.agent(&of.agent).health.timeout;
            // The strong reference ends with this statement.
            let ping = agent.upgrade().map(|agent| agent.ping());
            let sign = match ping {
                None => Sign::Gone,
                Some(ping) => match tokio::time::timeout(limit, ping).await {
                    Ok(Ok(())) => Sign::Alive,
                    Ok(Err(failure)) => Sign::Failed(failure),
                    Err(_) => Sign::Failed(ProbeFailed {
                        class: FailureClass::TimedOut,
                        message: format!("no answer within {}", duration(limit)),
                    }),
                },
            };
            to.cast(HealthMsg::Probed { key: of, generation, asked, sign }).ok();
        });
        if let Some(record) = self.records.get_mut(key) {
            record.probe = Some(probe);
        }
    }
}
