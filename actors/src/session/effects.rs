//! What a session actor does in the world: each effect records first and acts then, in a task that
//! ends with the actor, and comes back as a message.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use ractor::ActorRef;

use super::actor::{Memory, SessionMsg, Unwilling};
use super::launch;
use super::state::{Backend, Leave, Observation};
use super::turn::Turn;
use crate::dispatch::actor::{Back, DispatchMsg};

use crate::event::{AgentStatus, Context, Event, Exit, Level, NewEvent, Outcome, Usage, Wait};
use crate::health::messages::EndCause;
use crate::id::{Generation, TaskId};
use crate::links::tell;
use crate::persist::insist;
use crate::ports::{AgentMove, Answer, Ended, Permit, PortError, Route, TurnEnd, TurnName};

/// A cancel is sent again as often as this until the prompt is answered: the first is lost by some
/// agents when it follows the prompt closely (goose, measured).
const CANCEL_AGAIN: Duration = Duration::from_millis(250);

/// Tells the actor if its effect panicked, so that it does not wait for ever.
struct Alarm(ActorRef<SessionMsg>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.cast(SessionMsg::EffectPanicked).ok();
        }
    }
}

impl Memory {
    /// Runs `work` for as long as the actor lives.
    pub(super) fn spawn(
        &mut self,
        me: &ActorRef<SessionMsg>,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> tokio::task::AbortHandle {
        while self.effects.try_join_next().is_some() {}
        let alarm = Alarm(me.clone());
        self.effects.spawn(async move {
            work.await;
            drop(alarm);
        })
    }

    /// Takes a place in the store's line now, insists until it is written, and then says `then`.
    /// A state that can never be recorded ends the actor: nothing may follow from it.
    pub(super) fn persist<T: Send + 'static>(
        &mut self,
        me: &ActorRef<SessionMsg>,
        call: impl Fn() -> Answer<T> + Send + 'static,
        then: impl FnOnce(T) -> Option<SessionMsg> + Send + 'static,
    ) {
        self.try_persist(me, call, |result| match result {
            Ok(value) => then(value),
            Err(error) => Some(SessionMsg::Unrecorded(error)),
        });
    }

    /// The same for what may be refused for good: `then` hears of it.
    pub(super) fn try_persist<T: Send + 'static>(
        &mut self,
        me: &ActorRef<SessionMsg>,
        call: impl Fn() -> Answer<T> + Send + 'static,
        then: impl FnOnce(Result<T, PortError>) -> Option<SessionMsg> + Send + 'static,
    ) {
        let first = call();
        let to = me.clone();
        self.spawn(me, async move {
            if let Some(message) = then(insist(first, call).await) {
                to.cast(message).ok();
            }
        });
    }

    pub(super) fn start(&mut self, me: &ActorRef<SessionMsg>) {
        let (args, to) = (self.args.clone(), me.clone());
        let route = self.card.as_ref().map(|card| card.route).unwrap_or_default();
        let handle = self.spawn(me, async move {
            if let Err(error) = launch::start(&args, &to, route).await {
                to.cast(SessionMsg::Unrecorded(error)).ok();
            }
        });
        self.start = Some(handle);
    }

    pub(super) fn abort_start(&mut self) {
        if let Some(start) = self.start.take() {
            start.abort();
        }
    }

    pub(super) fn dispatch(&mut self, me: &ActorRef<SessionMsg>, task: TaskId, generation: Generation) {
        let store = self.args.ports.store.clone();
        self.persist(
            me,
            move || store.dispatch_task(task.clone(), generation),
            |granted| Some(SessionMsg::Seen(Observation::Dispatched(granted))),
        );
    }

    /// Which kind of backend runs the job: what was asked for, unless there is only the other.
    pub(super) fn turn_route(&self) -> Route {
        let has_no_other = self.agent.as_ref().is_some_and(|agent| agent.route() == Route::Oneshot);
        let asked = self.card.as_ref().is_some_and(|card| card.route == Route::Oneshot);
        if has_no_other || asked { Route::Oneshot } else { Route::Warm }
    }

    pub(super) fn open_turn(&mut self, me: &ActorRef<SessionMsg>, task: TaskId, generation: Generation) {
        let store = self.args.ports.store.clone();
        let route = self.turn_route();
        let context = match route {
            Route::Warm => self.context.unwrap_or(Context::Warm),
            // Whatever is kept beside it, a run of its own knows nothing of it.
            Route::Oneshot => Context::Fresh,
        };
        self.persist(
            me,
            move || store.start_turn(task.clone(), generation, context, route),
            |turn| Some(SessionMsg::TurnOpened(turn)),
        );
        self.record_move(me, AgentStatus::Busy, None, None);
    }

    /// The store opened no turn: the task had ended, and the agent has nothing to do.
    pub(super) fn not_opened(&mut self, me: &ActorRef<SessionMsg>) {
        if self.machine.backend == Backend::Up {
            self.record_move(me, AgentStatus::Idle, None, None);
        }
        self.saw(me, Observation::NotOpened);
    }

    pub(super) fn send_prompt(&mut self, me: &ActorRef<SessionMsg>) {
        let job = &self.machine.job;
        let (Some(turn), Some(generation), Some(card), Some(agent)) =
            (job.running_turn(), job.turn_generation(), &self.card, &self.agent)
        else {
            // No turn may wait for an answer to a prompt that never left.
            tracing::error!(key = %self.args.key, "a prompt has nobody to go to");
            let failed = Observation::Settled(Err("the prompt could not be sent".into()));
            me.cast(SessionMsg::Seen(failed)).ok();
            return;
        };
        self.prompts += 1;
        let mut scope = self.scope(generation);
        scope.task = Some(card.task.clone());
        scope.turn = Some(turn.clone());
        match self.turn_route() {
            Route::Warm => agent.prompt(self.prompts, &card.prompt),
            Route::Oneshot => agent.prompt_alone(self.prompts, &card.prompt),
        }
        self.tell_busy(true);
        let cost = match self.turn_route() {
            Route::Warm => self.cost_total,
            // A conversation of its own, which has cost nothing yet.
            Route::Oneshot => 0.0,
        };
        self.turn = Some(Turn::new(turn.clone(), Arc::new(scope), self.prompts, cost, Self::now()));
        self.watch(me);
        if self.turn_route() == Route::Warm {
            // The next turn on this backend finds it warm.
            self.context = Some(Context::Warm);
        }
    }

    pub(super) fn send_cancel(&mut self, me: &ActorRef<SessionMsg>) {
        self.dismiss_questions(me);
        let Some(agent) = self.agent.clone() else { return };
        let grace = self.args.ports.settings.agent(&self.args.key.agent).cancel_grace;
        let to = me.clone();
        let handle = self.spawn(me, async move {
            let resend = async {
                loop {
                    agent.cancel();
                    tokio::time::sleep(CANCEL_AGAIN).await;
                }
            };
            // Never returns `Ok`: the loop is ended by the grace, or by the turn's end.
            if tokio::time::timeout(grace, resend).await.is_err() {
                to.cast(SessionMsg::Seen(Observation::CancelGraceOver)).ok();
            }
        });
        self.cancelling = Some(handle);
    }

    /// Ends a turn under the generation that it was opened for, whoever lives by now.
    pub(super) fn end_turn(&mut self, me: &ActorRef<SessionMsg>, mut end: TurnEnd) {
        if let Some(cancelling) = self.cancelling.take() {
            cancelling.abort();
        }
        if let Some(watching) = self.watching.take() {
            watching.abort();
        }
        self.tell_busy(false);
        let task_says = self.card.as_ref().is_some_and(|card| card.permissions.is_some());
        if let Some(told) = self.turn.as_ref().and_then(|turn| turn.refused.told(task_says)) {
            self.notice(Level::Warning, told);
        }
        if let Some(mut open) = self.turn.take() {
            let told = self.settled_usage.take();
            end.usage = open.usage(told.map(|told| self.spent_in_turn(told)));
            end.duration_ms = millis(open.answered.unwrap_or_else(Self::now) - open.since);
            end.first_token_ms = open.first_output.map(millis);
            end.text = open.final_text();
            if self.turn_route() == Route::Warm {
                self.cost_total = open.cost_total();
            }
        }
        let (store, task) = (self.args.ports.store.clone(), end.task.clone());
        self.try_persist(
            me,
            move || store.end_turn(end.clone()),
            |ended| match ended {
                // Before: its chat was closed meanwhile, which ended it.
                Ok(Ended::Now | Ended::Before) => Some(SessionMsg::Seen(Observation::Ended)),
                Err(error) => Some(SessionMsg::EndRefused(task, error)),
            },
        );
        self.look_at_end(me);
        if self.machine.backend == Backend::Up {
            self.record_move(me, AgentStatus::Idle, None, None);
        }
    }

    /// What a turn cost, of what its agent told with its answer.
    fn spent_in_turn(&mut self, told: Usage) -> Usage {
        if told.is_empty() || self.turn_route() == Route::Oneshot {
            return told;
        }
        let tells = self.args.ports.settings.agent(&self.args.key.agent).tells;
        self.spending.turn(told, tells)
    }

    /// Takes a turn back in which nothing ran: its task is queued again.
    pub(super) fn retract_turn(&mut self, me: &ActorRef<SessionMsg>, of: TurnName, why: String) {
        if let Some(watching) = self.watching.take() {
            watching.abort();
        }
        self.tell_busy(false);
        self.turn = None;
        self.settled_usage = None;
        let (store, task) = (self.args.ports.store.clone(), of.task.clone());
        self.try_persist(
            me,
            move || store.retract_turn(of.clone(), why.clone()),
            |retracted| match retracted {
                Ok(()) => Some(SessionMsg::Seen(Observation::Retracted)),
                Err(error) => Some(SessionMsg::EndRefused(task, error)),
            },
        );
        self.look_at_end(me);
    }

    /// The store did not take the end of a turn. That is a fault of ours, and no task stays open for it.
    pub(super) fn end_refused(&mut self, me: &ActorRef<SessionMsg>, task: TaskId, error: &PortError) {
        tracing::error!(key = %self.args.key, %task, error = error.chain(), "the end of a turn was refused");
        let reason = format!("how its turn ended could not be recorded: {}", error.chain());
        self.end_task(me, task, Outcome::Interrupted, reason);
    }

    pub(super) fn end_task(
        &mut self,
        me: &ActorRef<SessionMsg>,
        task: TaskId,
        outcome: Outcome,
        reason: String,
    ) {
        let store = self.args.ports.store.clone();
        self.persist(
            me,
            move || store.end_task(task.clone(), outcome, reason.clone()),
            // Over is over, whoever ended it.
            |(Ended::Now | Ended::Before)| Some(SessionMsg::Seen(Observation::Ended)),
        );
    }

    /// Gives the task back to the dispatcher: ended, or as it was.
    pub(super) fn hand_back(&mut self, task: TaskId, back: Back) {
        if let Back::Unrun(Some(wait)) = back {
            self.tell_waiting(&task, wait);
        }
        self.card = None;
        tell(&self.args.links.dispatcher, DispatchMsg::Back { task, back });
    }

    pub(super) fn stop_backend(
        &mut self,
        me: &ActorRef<SessionMsg>,
        now: bool,
        after: (AgentStatus, String),
    ) {
        // A second request hurries the first, and does not change why.
        self.after_stop.get_or_insert(after);
        let (agent, generation, to) = (self.agent.clone(), self.generation, me.clone());
        self.spawn(me, async move {
            let exit = match agent {
                Some(agent) => agent.stop(now).await,
                None => Exit::default(),
            };
            to.cast(SessionMsg::Stopped(generation, exit)).ok();
        });
    }

    pub(super) fn record_crash(&mut self, me: &ActorRef<SessionMsg>, how: String) {
        // Dropping the handle ends whatever is left of the tree.
        self.agent = None;
        (self.pid, self.host) = (None, None);
        self.resting = AgentStatus::Crashed;
        let exit = self.last_exit.take();
        self.tell_ended(exit.clone().unwrap_or_default(), EndCause::Crashed, &how);
        self.record_move(me, AgentStatus::Crashed, Some(how), exit);
    }

    pub(super) fn record_stopped(&mut self, me: &ActorRef<SessionMsg>, exit: Exit) {
        let Some((to, why)) = self.after_stop.take() else { return };
        self.resting = to;
        let cause = std::mem::replace(&mut self.end_cause, EndCause::Ordered);
        self.tell_ended(exit.clone(), cause, &why);
        self.record_move(me, to, Some(why), Some(exit));
        if to == AgentStatus::CircuitOpen {
            self.rest(me, Wait::Circuit);
        }
    }

    pub(super) fn finish(&mut self, me: &ActorRef<SessionMsg>, why: Leave) {
        for restarter in self.restarters.drain(..) {
            restarter.send(Err(Unwilling::Leaving)).ok();
        }
        let rested = matches!(self.recorded, AgentStatus::Backoff | AgentStatus::CircuitOpen);
        if self.resting == AgentStatus::Crashed && rested {
            self.record_move(me, AgentStatus::Crashed, Some("nothing waits for it".into()), None);
        }
        if matches!(self.resting, AgentStatus::Starting | AgentStatus::Idle) {
            self.resting = AgentStatus::Evicted;
            self.record_move(me, AgentStatus::Evicted, Some(why.reason().into()), None);
        }
        // Behind everything that is in the store's line already.
        let (store, key) = (self.args.ports.store.clone(), self.args.key.clone());
        self.persist(me, move || store.agent_record(key.clone()), |_| Some(SessionMsg::Finished));
    }

    /// Records a move of the agent session. The order of moves is the order of calls.
    pub(super) fn record_move(
        &mut self,
        me: &ActorRef<SessionMsg>,
        to: AgentStatus,
        reason: Option<String>,
        exit: Option<Exit>,
    ) {
        let step = AgentMove {
            key: self.args.key.clone(),
            generation: self.generation,
            to,
            reason,
            pid: self.pid,
            exit,
        };
        self.recorded = to;
        let store = self.args.ports.store.clone();
        self.persist(me, move || store.move_agent(step.clone()), |()| None);
    }

    /// Puts a notice of this agent session into the journal.
    pub(super) fn notice(&self, level: Level, text: String) {
        let scope =
            self.turn.as_ref().map_or_else(|| Arc::new(self.scope_of_news()), |turn| turn.scope.clone());
        let event = Event::Notice { level, text };
        self.args.ports.store.append(NewEvent { scope, event }, Permit::free());
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
