//! How an agent session comes back after a failure, and how it is let go or started again on
//! request: gathers the facts for the rules, and tells whoever waits.

use std::sync::Arc;

use ractor::{ActorRef, RpcReplyPort};
use tokio::time::Instant;

use super::actor::{Memory, SessionMsg};
use super::busy::Busy;
use super::state::{After, Backend, Denied, Request};
use super::{lifecycle, news};
use crate::backoff::{Cause, Gate};
use crate::dispatch::actor::DispatchMsg;
use crate::event::{AgentStatus, Context, Event, Exit, Level, NewEvent, Wait};
use crate::health::messages::{EndCause, HealthMsg, Patient};
use crate::id::{AgentKey, TaskId};
use crate::links::{request, tell};
use crate::pool::actor::PoolMsg;
use crate::pool::policy::Claim;
use crate::ports::{Launched, Permit, Route, StartFailed, TaskCard};

/// An exit with this code says that the configuration is wrong (EX_CONFIG of sysexits.h).
const EXIT_CONFIG: i32 = 78;

/// Why a backend was not let go, or not started again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unwilling {
    /// It is busy: with these.
    #[error("the agent session is busy ({})", .0.join(", "))]
    Busy(Vec<&'static str>),
    /// It is being let go.
    #[error("the agent session is closing")]
    Leaving,
    /// The start failed.
    #[error("{0}")]
    Failed(String),
}

/// Somebody wants a backend to be let go.
pub struct EvictRequest {
    /// Whatever it has to do.
    pub force: bool,
    /// Why, in words.
    pub why: String,
    /// Told at once whether it will be.
    pub judged: RpcReplyPort<Result<(), Unwilling>>,
    /// Told when it is gone.
    pub gone: Option<RpcReplyPort<()>>,
}

impl Memory {
    // -------------------------------------------------------------------------------- failures

    /// What follows a failure, which is counted.
    fn failed(&mut self, cause: Cause, what: &str) -> After {
        let settings = self.args.ports.settings.agent(&self.args.key.agent);
        let roll = self.args.ports.machine.roll();
        let gate = self.failures.fail(cause, &settings.restart, Self::now(), roll);
        self.failure = what.to_owned();
        let wait = waits(gate).unwrap_or(Wait::Backoff);
        After { wait, keep_warm: settings.keep_warm }
    }

    /// What follows the end of a backend that was up.
    pub(super) fn crashed(&mut self, exit: Option<&Exit>, how: &str) -> After {
        let is_config = exit.is_some_and(|exit| exit.code == Some(EXIT_CONFIG));
        self.failed(if is_config { Cause::Configuration } else { Cause::Crash }, how)
    }

    /// The backend is up, and cannot work as it is.
    pub(super) fn unfit(&mut self, why: &str) {
        self.failed(Cause::Configuration, why);
    }

    /// Whether what waits for a start waits in vain.
    fn gives_up(&self) -> bool {
        let ever_started = self.has_started || self.record.as_ref().is_some_and(|record| record.ever_started);
        self.failures.gives_up(Self::now(), ever_started)
    }

    /// Why a task is failed rather than kept waiting for another start, if it is.
    pub(super) fn refusal(&self, card: &TaskCard) -> Option<String> {
        (card.no_wait || card.no_retry || self.gives_up()).then(|| self.failure.clone())
    }

    /// What the next start has to wait for.
    pub(super) fn start_waits(&mut self) -> Option<Wait> {
        if self.tried_hash.is_some() && self.tried_hash != self.present_hash() {
            // What did not work was changed since: what failed is not what would be started.
            self.failures.forgive();
        }
        if self.gives_up() {
            // A task would be failed for what was so before. Somebody may have mended that, and one
            // start tells.
            return None;
        }
        waits(self.failures.gate(Self::now()))
    }

    pub(super) fn present_hash(&self) -> Option<String> {
        let cwd = &self.record.as_ref()?.cwd;
        Some(self.args.ports.backend.config_hash(&self.args.key.agent, cwd, &self.wanted()))
    }

    /// Records that the next start waits, and comes back when it may be made.
    pub(super) fn rest(&mut self, me: &ActorRef<SessionMsg>, wait: Wait) {
        let to = if wait == Wait::Circuit { AgentStatus::CircuitOpen } else { AgentStatus::Backoff };
        let (Gate::Backoff { until } | Gate::Circuit { until }) = self.failures.gate(Self::now()) else {
            // Over already, as a wait of nothing is: the dispatcher tries again when it is told.
            self.rested(me);
            return;
        };
        if self.resting != to {
            self.resting = to;
            let reason = match wait {
                Wait::Circuit => format!("no more starts for now: {}", self.failure),
                _ => self.failure.clone(),
            };
            self.record_move(me, to, Some(reason), None);
        }
        let again = me.clone();
        let timer = self.spawn(me, async move {
            tokio::time::sleep_until(until).await;
            again.cast(SessionMsg::Rested).ok();
        });
        if let Some(before) = self.retry.replace(timer) {
            before.abort();
        }
    }

    /// Whoever waits for a task hears why it is not begun.
    pub(super) fn tell_waiting(&mut self, task: &TaskId, wait: Wait) {
        let AgentKey { chat, agent } = &self.args.key;
        let text = match wait {
            Wait::Circuit => format!(
                "{agent} is not started for now, and the task waits: {}; `hob restart {chat} {agent}` tries at once",
                self.failure
            ),
            _ => format!("{agent} could not be started and is tried again: {}", self.failure),
        };
        let told = (task.clone(), text);
        if self.told_waiting.as_ref() == Some(&told) {
            // The same again and again says nothing new.
            return;
        }
        let text = told.1.clone();
        self.told_waiting = Some(told);
        let mut scope = self.scope(self.generation);
        scope.task = Some(task.clone());
        let event = Event::Notice { level: Level::Warning, text };
        self.args.ports.store.append(NewEvent { scope: Arc::new(scope), event }, Permit::free());
    }

    /// Another configuration ends the wait, where the one that failed is not the one that would be
    /// started.
    pub(super) fn configured(&mut self, me: &ActorRef<SessionMsg>) {
        if self.retry.is_some() && self.machine.backend == Backend::Down && self.start_waits().is_none() {
            self.rested(me);
        }
    }

    /// A start may be made again: by whoever has a task for it, or at once to keep it warm.
    pub(super) fn rested(&mut self, me: &ActorRef<SessionMsg>) {
        self.retry = None;
        if self.failures.gate(Self::now()) != Gate::Open {
            return;
        }
        if matches!(self.resting, AgentStatus::Backoff | AgentStatus::CircuitOpen) {
            self.resting = AgentStatus::Crashed;
        }
        let key = self.args.key.clone();
        if self.args.ports.settings.agent(&key.agent).keep_warm && self.machine.backend == Backend::Down {
            // Its place went with its process. Where there is none, the next prompt starts it.
            let acquire = |reply| PoolMsg::Acquire { key: key.clone(), claim: Claim::default(), reply };
            let (asked, me) = (request("pool", &self.args.links.pool, acquire), me.clone());
            let to = me.clone();
            self.spawn(&me, async move {
                if let Ok(Ok(handed)) = asked.await {
                    to.cast(SessionMsg::Warm).ok();
                    drop(handed);
                }
            });
        }
        tell(&self.args.links.dispatcher, DispatchMsg::Ready(key));
    }

    // ----------------------------------------------------------------------------------- starts

    /// A start came through: who waits for it is told.
    pub(super) fn up(&mut self, me: &ActorRef<SessionMsg>, launched: Launched) {
        self.agent = Some(launched.agent);
        self.has_started = true;
        self.pid = launched.pid;
        self.host = launched.host;
        self.config_hash = launched.config_hash;
        self.context = Some(launched.context);
        self.spending.opened(matches!(launched.context, Context::Fresh | Context::Reset));
        self.cost_total = 0.0;
        self.resting = AgentStatus::Idle;
        if self.agent.as_ref().is_some_and(|agent| agent.route() == Route::Warm) {
            // Of the kept backend nothing is proved by a run that starts nothing yet.
            self.failures.started();
        }
        if let Some(timer) = self.retry.take() {
            // A person did not wait for it: whoever does is told.
            timer.abort();
            tell(&self.args.links.dispatcher, DispatchMsg::Ready(self.args.key.clone()));
        }
        for restarter in self.restarters.drain(..) {
            restarter.send(Ok(())).ok();
        }
        self.present(me);
    }

    /// A start failed: what follows, and who waits for it is told.
    pub(super) fn not_up(&mut self, failed: &StartFailed) -> After {
        self.resting = AgentStatus::Crashed;
        for restarter in self.restarters.drain(..) {
            restarter.send(Err(Unwilling::Failed(failed.message.clone()))).ok();
        }
        let (key, message) = (self.args.key.clone(), failed.message.clone());
        tell(
            &self.args.links.health,
            HealthMsg::StartFailed { key, message: message.clone(), exit: failed.exit.clone() },
        );
        self.failed(failed.cause, &message)
    }

    /// Tells the health actor what runs here.
    pub(super) fn present(&self, me: &ActorRef<SessionMsg>) {
        let (Some(agent), Backend::Up | Backend::Starting { .. }) = (&self.agent, self.machine.backend)
        else {
            return;
        };
        let patient = Patient {
            key: self.args.key.clone(),
            generation: self.generation,
            pid: self.pid,
            host: self.host.clone(),
            agent: Arc::downgrade(agent),
            pulse: self.pulse.clone(),
            busy: self.turn.is_some(),
            session: me.clone(),
        };
        tell(&self.args.links.health, HealthMsg::Began(patient));
    }

    pub(super) fn tell_busy(&self, busy: bool) {
        let (key, generation) = (self.args.key.clone(), self.generation);
        tell(&self.args.links.health, HealthMsg::Busy { key, generation, busy });
    }

    pub(super) fn tell_ended(&self, exit: Exit, cause: EndCause, why: &str) {
        let (key, generation) = (self.args.key.clone(), self.generation);
        tell(&self.args.links.health, HealthMsg::Ended { key, generation, exit, cause, why: why.to_owned() });
    }

    // --------------------------------------------------------------------------------- requests

    /// What keeps it from being let go, as far as this actor knows.
    pub(super) fn busy(&self) -> Busy {
        let mut busy = Busy::of(&self.machine);
        busy.permission = self.turn.as_ref().is_some_and(|turn| !turn.questions.is_empty());
        busy
    }

    /// Judges an eviction at the moment of release; what runs in the background is looked up first.
    pub(super) fn evict(&mut self, me: &ActorRef<SessionMsg>, request: EvictRequest) {
        let settings = self.args.ports.settings.agent(&self.args.key.agent);
        match self.pid {
            Some(pid) if settings.count_background && !request.force => {
                let (machine, to) = (self.args.ports.machine.clone(), me.clone());
                self.spawn(me, async move {
                    let tree = machine.trees(vec![pid]).await.pop().flatten();
                    to.cast(SessionMsg::Looked(tree.unwrap_or_default().descendants, request)).ok();
                });
            }
            _ => self.let_go(me, 0, request),
        }
    }

    pub(super) fn let_go(&mut self, me: &ActorRef<SessionMsg>, n_background: usize, request: EvictRequest) {
        let mut busy = self.busy();
        busy.pinned = self.args.ports.audience.pinned(&self.args.key);
        busy.background = n_background;
        if !request.force && busy.any() {
            request.judged.send(Err(Unwilling::Busy(busy.words()))).ok();
            return;
        }
        let EvictRequest { force, why, judged, gone } = request;
        match lifecycle::request(&self.machine, Request::Evict { force, why }) {
            Ok(decision) => {
                judged.send(Ok(())).ok();
                self.leavers.extend(gone);
                self.apply(me, decision);
            }
            // It goes already: whoever waits for that is told.
            Err(Denied::Leaving) => {
                judged.send(Ok(())).ok();
                self.leavers.extend(gone);
            }
            Err(Denied::Busy) => {
                judged.send(Err(Unwilling::Busy(busy.words()))).ok();
            }
        }
    }

    /// Starts the backend again because a person wants it; answered when it is up, or is not.
    pub(super) fn restart(
        &mut self,
        me: &ActorRef<SessionMsg>,
        force: bool,
        reply: RpcReplyPort<Result<(), Unwilling>>,
    ) {
        let request =
            Request::Restart { interrupt: force, revive: true, why: "started again by hand".to_owned() };
        match lifecycle::request(&self.machine, request) {
            Ok(decision) => {
                self.failures.forgive();
                self.restarters.push(reply);
                self.apply(me, decision);
            }
            Err(Denied::Busy) => {
                reply.send(Err(Unwilling::Busy(self.busy().words()))).ok();
            }
            Err(Denied::Leaving) => {
                reply.send(Err(Unwilling::Leaving)).ok();
            }
        }
    }

    /// The health actor wants the backend started again.
    pub(super) fn ill(&mut self, me: &ActorRef<SessionMsg>, why: String, interrupt: bool) {
        let is_up = self.machine.backend == Backend::Up;
        let request = Request::Restart { interrupt, revive: false, why: why.clone() };
        match lifecycle::request(&self.machine, request) {
            Ok(decision) => {
                if let (true, Some(agent)) = (is_up, &self.agent) {
                    // Whoever comes back first must not move into the same process again.
                    agent.condemn();
                    self.end_cause = EndCause::Ill;
                    tracing::warn!(key = %self.args.key, why, "an ill backend is started again");
                }
                self.apply(me, decision);
            }
            // Busy again by now: its health is judged again at the next probe.
            Err(denied) => tracing::debug!(key = %self.args.key, %denied, "not started again"),
        }
    }

    /// When the next start may be made, if one waits.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        match self.failures.gate(Self::now()) {
            Gate::Backoff { until } | Gate::Circuit { until } => Some(until),
            Gate::Open => None,
        }
    }

    /// The end of a backend by itself, told to the rules.
    pub(super) fn exited(&mut self, me: &ActorRef<SessionMsg>, exit: Exit) {
        let how = news::describe(&exit);
        let seen = super::state::Observation::Exited {
            produced: self.produced(),
            after: self.crashed_if_up(Some(&exit), &how),
            how,
        };
        self.last_exit = Some(exit);
        self.saw(me, seen);
    }

    /// Counts a crash only where it is one: an ordered stop ends with an exit, too.
    pub(super) fn crashed_if_up(&mut self, exit: Option<&Exit>, how: &str) -> After {
        if self.machine.backend == Backend::Up {
            self.crashed(exit, how)
        } else {
            After { wait: Wait::Backoff, keep_warm: false }
        }
    }
}

fn waits(gate: Gate) -> Option<Wait> {
    match gate {
        Gate::Open => None,
        Gate::Backoff { .. } => Some(Wait::Backoff),
        Gate::Circuit { .. } => Some(Wait::Circuit),
    }
}
