//! Carries out what [`super::lifecycle`] decides for one agent session: gathers facts, records,
//! then acts. Decides nothing itself.
//!
//! **Invariant:** no handler waits for an effect. Effects run in the actor's `JoinSet`, so they
//! die with it, and come back as messages; one that panics takes the actor down instead of
//! leaving it waiting for ever.

use std::collections::BTreeSet;
use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

pub use super::comeback::{EvictRequest, Unwilling};
use super::lifecycle;
use super::looks::Looks;
pub use super::messages::{SessionArgs, SessionMsg, View};
pub use super::permission::{Answered, PermissionReply, Remember};
use super::spending::Spending;
use super::state::{Backend, Decision, Denied, Effect, Ending, Job, Machine, Observation, Request};
use super::turn::Turn;
pub use super::wish::Wish;
use crate::backoff::{Cause, Failures};
use crate::dispatch::actor::Back;
use crate::event::{AgentStatus, Context, Exit};
use crate::health::messages::{EndCause, Pulse};
use crate::id::{Generation, HostId, TaskId};
use crate::ports::{Agent, AgentRecord, Choice, Launched, Route, StartFailed, TaskCard, TurnEnd, TurnName};

/// Drives one agent session.
pub struct SessionActor;

/// The memory of a session actor.
pub struct Memory {
    pub(super) args: SessionArgs,
    pub(super) machine: Machine,
    pub(super) card: Option<TaskCard>,
    pub(super) record: Option<AgentRecord>,
    pub(super) generation: Generation,
    pub(super) begun: u64,
    pub(super) agent: Option<Arc<dyn Agent>>,
    pub(super) pid: Option<u32>,
    pub(super) host: Option<HostId>,
    pub(super) config_hash: String,
    /// The mode and model that were chosen last since this actor lives, if any were.
    pub(super) choice: Option<Choice>,
    /// Choices that are under way.
    pub(super) choosing: usize,
    pub(super) context: Option<Context>,
    pub(super) turn: Option<Turn>,
    pub(super) prompts: u64,
    pub(super) cost_total: f64,
    pub(super) resting: AgentStatus,
    pub(super) recorded: AgentStatus,
    pub(super) last_exit: Option<Exit>,
    pub(super) after_stop: Option<(AgentStatus, String)>,
    pub(super) leavers: Vec<RpcReplyPort<()>>,
    pub(super) effects: JoinSet<()>,
    pub(super) start: Option<AbortHandle>,
    pub(super) cancelling: Option<AbortHandle>,
    pub(super) told: u64,
    /// Questions on their way through the store, and answers that came before its word.
    pub(super) asking: usize,
    pub(super) early: Vec<(PermissionReply, RpcReplyPort<Answered>)>,
    pub(super) settled_usage: Option<crate::event::Usage>,
    pub(super) failures: Failures,
    /// The last failure, in words, and the configuration that the last start was made with.
    pub(super) failure: String,
    /// A start came through.
    pub(super) has_started: bool,
    /// The task whose prompt was sent once more, because the agent had lost its conversation.
    pub(super) sent_again: Option<TaskId>,
    /// What the conversation cost, as its agent tells it.
    pub(super) spending: Spending,
    /// Prompts in a row that were answered with an error at once.
    pub(super) n_refused: u32,
    pub(super) tried_hash: Option<String>,
    /// What was told last of a task that waits for a start.
    pub(super) told_waiting: Option<(TaskId, String)>,
    pub(super) retry: Option<AbortHandle>,
    /// What people wish for that waits for the record of an end, and for how long it still does.
    pub(super) wishes: Vec<Wish>,
    pub(super) patience: Option<AbortHandle>,
    pub(super) restarters: Vec<RpcReplyPort<Result<(), Unwilling>>>,
    pub(super) helpers: BTreeSet<u32>,
    pub(super) pulse: Arc<Pulse>,
    pub(super) end_cause: EndCause,
    pub(super) watching: Option<AbortHandle>,
    pub(super) reported: Option<View>,
    pub(super) looks: Looks,
}

impl Actor for SessionActor {
    type Msg = SessionMsg;
    type State = Memory;
    type Arguments = SessionArgs;

    async fn pre_start(
        &self,
        _me: ActorRef<SessionMsg>,
        args: SessionArgs,
    ) -> Result<Memory, ActorProcessingErr> {
        Ok(Memory::new(args))
    }

    async fn handle(
        &self,
        me: ActorRef<SessionMsg>,
        message: SessionMsg,
        memory: &mut Memory,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SessionMsg::Run(card, reply) => memory.run(&me, card, reply),
            SessionMsg::Taken(number) => memory.taken(number),
            SessionMsg::Cancel(task) => memory.ask(&me, Request::Cancel(task)),
            SessionMsg::Leave(why, now, reply) => {
                memory.leavers.push(reply);
                memory.ask(&me, Request::Leave { why, now });
            }
            SessionMsg::Wish(wish) => memory.wished(&me, wish),
            SessionMsg::Impatient => memory.judge_wishes(&me),
            SessionMsg::Looked(below, request) => {
                let n_background = below.difference(&memory.helpers).count();
                memory.let_go(&me, n_background, request);
            }
            SessionMsg::Helpers(generation, helpers) if generation == memory.generation => {
                memory.helpers = helpers;
            }
            SessionMsg::Helpers(..) => {}
            SessionMsg::Ill { generation, why, interrupt } if generation == memory.generation => {
                memory.ill(&me, why, interrupt);
            }
            SessionMsg::Ill { .. } => {}
            SessionMsg::Choose(choice, reply) => memory.choose(&me, choice, reply),
            SessionMsg::Chosen(choice, how) => memory.chosen(choice, how),
            SessionMsg::Present => memory.present(&me),
            SessionMsg::Configured => memory.configured(&me),
            SessionMsg::Rested => memory.rested(&me),
            SessionMsg::Warm if memory.machine.backend == Backend::Down => {
                memory.ask(&me, Request::Restart { interrupt: false, revive: true, why: "kept warm".into() });
            }
            // A prompt was faster.
            SessionMsg::Warm => {}
            SessionMsg::Watch(turn) => memory.watch_turn(&me, &turn),
            SessionMsg::Answer(answer, reply) => memory.answer(&me, answer, reply),
            SessionMsg::AudienceLeft => memory.audience_left(&me),
            SessionMsg::Inspect(reply) => {
                reply.send(memory.view()).ok();
            }
            SessionMsg::Heard(generation, news, permit) => memory.heard(&me, generation, news, permit),
            SessionMsg::Begun(generation, record, hash) => memory.begun(generation, *record, hash),
            SessionMsg::Started(generation, result) => memory.started(&me, generation, result),
            SessionMsg::TurnOpened(Some(turn)) => memory.turn_opened(&me, turn),
            SessionMsg::TurnOpened(None) => memory.not_opened(&me),
            SessionMsg::EndRefused(task, error) => memory.end_refused(&me, task, &error),
            SessionMsg::LookedAfter(turn) => memory.looked_after(&me, &turn),
            SessionMsg::Seen(seen) => memory.saw(&me, seen),
            SessionMsg::Stopped(generation, exit) => memory.stopped(&me, generation, exit),
            SessionMsg::Recorded(turn, asked, question, title) => {
                memory.recorded(&me, &turn, asked, (question, title));
                memory.asked_for_good(&me);
            }
            SessionMsg::NotRecorded(number) => memory.not_recorded(&me, number),
            SessionMsg::Due(permission) => memory.due(&me, &permission),
            SessionMsg::Unrecorded(error) => return Err(error.chain().into()),
            SessionMsg::EffectPanicked => return Err("an effect of the session panicked".into()),
            SessionMsg::Finished => {
                for leaver in memory.leavers.drain(..) {
                    leaver.send(()).ok();
                }
                me.stop(None);
            }
        }
        memory.report();
        Ok(())
    }
}

impl Memory {
    fn new(args: SessionArgs) -> Self {
        Self {
            args,
            machine: Machine::default(),
            card: None,
            record: None,
            generation: Generation::default(),
            begun: 0,
            agent: None,
            pid: None,
            host: None,
            config_hash: String::new(),
            choice: None,
            choosing: 0,
            context: None,
            turn: None,
            prompts: 0,
            cost_total: 0.0,
            resting: AgentStatus::Evicted,
            recorded: AgentStatus::Evicted,
            last_exit: None,
            after_stop: None,
            leavers: Vec::new(),
            effects: JoinSet::new(),
            start: None,
            cancelling: None,
            told: 0,
            asking: 0,
            early: Vec::new(),
            settled_usage: None,
            failures: Failures::default(),
            failure: String::new(),
            has_started: false,
            sent_again: None,
            spending: Spending::default(),
            n_refused: 0,
            tried_hash: None,
            told_waiting: None,
            retry: None,
            wishes: Vec::new(),
            patience: None,
            restarters: Vec::new(),
            helpers: BTreeSet::new(),
            pulse: Arc::default(),
            end_cause: EndCause::Ordered,
            watching: None,
            reported: None,
            looks: Looks::default(),
        }
    }

    fn run(&mut self, me: &ActorRef<SessionMsg>, card: TaskCard, reply: RpcReplyPort<Result<(), Denied>>) {
        if self.machine.job.task() == Some(&card.task) {
            // Asked again by a dispatcher that was restarted: granted, and nothing changes.
            reply.send(Ok(())).ok();
            return;
        }
        let recycle = self.machine.backend == Backend::Up && self.is_unfit_for(&card);
        // A run of its own waits for nothing that the kept backend has to wait for, and the kept one
        // waits also where such runs are all that is up.
        let alone = self.agent.as_ref().is_some_and(|agent| agent.route() == Route::Oneshot);
        let starts = self.machine.backend == Backend::Down || recycle && alone;
        let wait = if starts && card.route == Route::Warm { self.start_waits() } else { None };
        let refusal = self.refusal(&card);
        let request = Request::Run { task: card.task.clone(), recycle, wait, refusal };
        match lifecycle::request(&self.machine, request) {
            Ok(decision) => {
                self.card = Some(card);
                reply.send(Ok(())).ok();
                self.apply(me, decision);
            }
            Err(denied) => {
                reply.send(Err(denied)).ok();
            }
        }
    }

    /// Whether another backend is needed: the live one was started with something else than a start
    /// would use now, or keeps nothing where something is to be kept.
    fn is_unfit_for(&self, card: &TaskCard) -> bool {
        let keeps = self.agent.as_ref().is_none_or(|agent| agent.route() == Route::Warm);
        if card.route == Route::Warm && !keeps {
            return true;
        }
        self.args.ports.backend.config_hash(&self.args.key.agent, &card.cwd, &self.wanted())
            != self.config_hash
    }

    pub(super) fn ask(&mut self, me: &ActorRef<SessionMsg>, request: Request) {
        self.settle(me);
        match lifecycle::request(&self.machine, request) {
            Ok(decision) => self.apply(me, decision),
            Err(denied) => tracing::debug!(key = %self.args.key, %denied, "request denied"),
        }
    }

    pub(super) fn saw(&mut self, me: &ActorRef<SessionMsg>, seen: Observation) {
        self.settle(me);
        if matches!(seen, Observation::Refused { .. }) {
            self.look_at_nothing();
        }
        let stuck = matches!(self.machine.job, Job::Running { ending: Some(Ending::Stuck(_)), .. });
        if stuck && seen == Observation::CancelGraceOver {
            self.end_cause = EndCause::Ill;
        }
        let decision = lifecycle::observe(&self.machine, seen);
        self.apply(me, decision);
        if !matches!(self.machine.job, Job::Ending(_)) {
            self.judge_wishes(me);
        }
    }

    pub(super) fn apply(&mut self, me: &ActorRef<SessionMsg>, decision: Decision) {
        if decision.next != self.machine {
            tracing::debug!(key = %self.args.key, from = ?self.machine, to = ?decision.next, "session moved");
        }
        self.machine = decision.next;
        for effect in decision.effects {
            self.perform(me, effect);
        }
    }

    fn perform(&mut self, me: &ActorRef<SessionMsg>, effect: Effect) {
        match effect {
            Effect::Start => self.start(me),
            Effect::AbortStart => self.abort_start(),
            Effect::Dispatch(task, generation) => self.dispatch(me, task, generation),
            Effect::OpenTurn(task, generation) => self.open_turn(me, task, generation),
            Effect::SendPrompt => self.send_prompt(me),
            Effect::SendCancel => self.send_cancel(me),
            Effect::EndTurn { task, turn, generation, outcome, stop_reason, error } => {
                let end = TurnEnd::new(TurnName { task, turn, generation }, outcome);
                self.end_turn(me, TurnEnd { stop_reason, error, ..end });
            }
            Effect::RetractTurn { of, why } => self.retract_turn(me, of, why),
            Effect::EndTask { task, outcome, reason } => self.end_task(me, task, outcome, reason),
            Effect::ReturnJob(task, waits) => self.hand_back(task, Back::Unrun(waits)),
            Effect::ReportDone(task) => self.hand_back(task, Back::Ended),
            Effect::Rest(wait) => self.rest(me, wait),
            Effect::StopBackend { now, to, why } => self.stop_backend(me, now, (to, why)),
            Effect::RecordCrash { how } => self.record_crash(me, how),
            Effect::Finish(why) => self.finish(me, why),
        }
    }

    fn begun(&mut self, generation: Generation, record: AgentRecord, hash: String) {
        self.generation = generation;
        self.begun += 1;
        self.tried_hash = Some(hash);
        self.helpers.clear();
        self.record = Some(record);
        self.resting = AgentStatus::Starting;
    }

    fn started(
        &mut self,
        me: &ActorRef<SessionMsg>,
        generation: Generation,
        result: Result<Launched, StartFailed>,
    ) {
        // A start that was given up: dropping the handle ends what it started.
        if !matches!(self.machine.backend, Backend::Starting { .. }) || generation != self.generation {
            return;
        }
        self.start = None;
        let died = self.machine.backend == Backend::Starting { died: true };
        match result {
            Ok(launched) => {
                self.up(me, launched);
                let seen = if died {
                    let exit = self.last_exit.clone();
                    let after = self.crashed(exit.as_ref(), "the agent ended right after its start");
                    Observation::LaunchedDead(generation, after)
                } else {
                    Observation::Launched(generation)
                };
                self.saw(me, seen);
            }
            Err(failed) => {
                let after = self.not_up(&failed);
                let is_refused = self.card.as_ref().is_some_and(|card| self.refusal(card).is_some());
                let permanent = failed.cause == Cause::Place || is_refused;
                let message = failed.message;
                self.saw(me, Observation::LaunchFailed { message, permanent, after });
            }
        }
    }

    fn stopped(&mut self, me: &ActorRef<SessionMsg>, generation: Generation, exit: Exit) {
        if generation != self.generation || !matches!(self.machine.backend, Backend::Stopping { .. }) {
            return;
        }
        self.agent = None;
        (self.pid, self.host) = (None, None);
        self.look_when_gone(me);
        self.record_stopped(me, exit);
        self.saw(me, Observation::Gone);
    }

    pub(super) fn now() -> Instant {
        Instant::now()
    }
}
