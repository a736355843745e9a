//! Random histories of an agent session: what holds in every one of them.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{LATER, exited, turn};
use crate::event::Wait;
use crate::id::{Generation, TaskId, TurnId};
use crate::session::lifecycle::{observe, request};
use crate::session::state::{Backend, Decision, Effect, Leave, Machine, Observation, Request};

/// What a history does next.
#[derive(Debug, Clone)]
enum Step {
    Run(bool, Option<Wait>),
    Cancel,
    GiveUp,
    Restart(bool, bool),
    Evict(bool),
    Leave(Leave),
    /// The n-th outstanding effect comes back, well or badly.
    Return(usize, bool),
    Exit,
    Hang,
    Settle,
    LogOut,
    Lose,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any::<bool>(), prop::option::weighted(0.2, Just(Wait::Backoff)))
            .prop_map(|(recycle, wait)| Step::Run(recycle, wait)),
        2 => Just(Step::Cancel),
        1 => Just(Step::GiveUp),
        2 => any::<(bool, bool)>().prop_map(|(interrupt, revive)| Step::Restart(interrupt, revive)),
        1 => any::<bool>().prop_map(Step::Evict),
        1 => prop_oneof![Just(Leave::Closed), Just(Leave::DaemonStops)].prop_map(Step::Leave),
        12 => (0usize..8, prop::bool::weighted(0.8)).prop_map(|(n, well)| Step::Return(n, well)),
        2 => Just(Step::Exit),
        1 => Just(Step::Hang),
        4 => Just(Step::Settle),
        1 => Just(Step::LogOut),
        1 => Just(Step::Lose),
    ]
}

/// A world that does what the effects ask, in any order, and counts.
#[derive(Default)]
struct World {
    machine: Machine,
    outstanding: Vec<Effect>,
    process: bool,
    tasks: u32,
    open: Option<TaskId>,
    sent: Vec<TaskId>,
    /// The backend that was started last.
    generation: Generation,
    /// The turns that are open, and under which generation.
    turns: BTreeMap<TurnId, Generation>,
    n_turns: u32,
    finished: bool,
}

impl World {
    fn apply(&mut self, decision: Decision) -> Result<(), TestCaseError> {
        self.machine = decision.next;
        for effect in decision.effects {
            match &effect {
                Effect::Start => {
                    prop_assert!(!self.process, "two processes");
                    self.generation.0 += 1;
                }
                Effect::SendPrompt => {
                    let task = self.machine.job.task().expect("a job").clone();
                    prop_assert!(!self.sent.contains(&task), "a prompt was sent twice");
                    prop_assert!(self.process, "a prompt was sent to nobody");
                    let open: Vec<_> = self.turns.values().copied().collect();
                    prop_assert_eq!(open, [self.generation], "a prompt was sent to another process");
                    self.sent.push(task);
                }
                Effect::ReturnJob(task, _) | Effect::ReportDone(task) => {
                    let open = self.open.take();
                    prop_assert_eq!(open.as_ref(), Some(task), "a job ended twice, or never began");
                }
                Effect::RetractTurn { of, .. } => {
                    let under = self.turns.remove(&of.turn);
                    prop_assert_eq!(under, Some(of.generation), "a turn was taken back that was not open so");
                    // Nothing ran, so the next turn of the task may send its prompt.
                    self.sent.retain(|sent| *sent != of.task);
                }
                Effect::EndTurn { turn, generation, .. } => {
                    let under = self.turns.remove(turn);
                    prop_assert_eq!(under, Some(*generation), "a turn ended that was not open so");
                }
                Effect::AbortStart => {
                    self.outstanding.retain(|effect| *effect != Effect::Start);
                    self.process = false;
                }
                Effect::RecordCrash { .. } => self.process = false,
                Effect::Finish(_) => {
                    prop_assert!(!self.process && self.open.is_none(), "finished with something left");
                    prop_assert!(self.turns.is_empty(), "a turn is open for ever");
                    self.finished = true;
                }
                _ => {}
            }
            if effect == Effect::Start {
                self.process = true;
            }
            if !matches!(
                effect,
                Effect::ReturnJob(..)
                    | Effect::ReportDone(_)
                    | Effect::AbortStart
                    | Effect::SendPrompt
                    | Effect::Rest(_)
            ) {
                self.outstanding.push(effect);
            }
        }
        Ok(())
    }

    fn see(&mut self, seen: Observation) -> Result<(), TestCaseError> {
        let decision = observe(&self.machine, seen);
        self.apply(decision)
    }

    fn come_back(&mut self, n: usize, well: bool) -> Result<(), TestCaseError> {
        if self.outstanding.is_empty() {
            return Ok(());
        }
        match self.outstanding.remove(n % self.outstanding.len()) {
            Effect::Start if well => {
                let died = self.machine.backend == Backend::Starting { died: true };
                let of = self.generation;
                self.see(if died { Observation::LaunchedDead(of, LATER) } else { Observation::Launched(of) })
            }
            Effect::Start => {
                self.process = false;
                let permanent = n.is_multiple_of(2);
                self.see(Observation::LaunchFailed { message: "no".into(), permanent, after: LATER })
            }
            Effect::Dispatch(..) => self.see(Observation::Dispatched(well)),
            // The store has it under the generation that was named, however late the actor hears of it.
            Effect::OpenTurn(_, generation) if well => {
                self.n_turns += 1;
                let turn = TurnId::from(format!("u-{}", self.n_turns));
                self.turns.insert(turn.clone(), generation);
                self.see(Observation::Opened(turn))
            }
            Effect::OpenTurn(..) => self.see(Observation::NotOpened),
            Effect::RetractTurn { .. } => self.see(Observation::Retracted),
            Effect::SendCancel if !well => self.see(Observation::CancelGraceOver),
            Effect::EndTurn { .. } | Effect::EndTask { .. } => self.see(Observation::Ended),
            Effect::StopBackend { .. } => {
                self.process = false;
                self.see(Observation::Gone)
            }
            _ => Ok(()),
        }
    }

    fn try_to(&mut self, asked: Request) -> Result<(), TestCaseError> {
        match request(&self.machine, asked) {
            Ok(decision) => self.apply(decision),
            Err(_) => Ok(()),
        }
    }

    fn take(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Run(recycle, wait) => {
                let task = TaskId::from(format!("t-{}", self.tasks));
                if let Ok(decision) =
                    request(&self.machine, Request::Run { task: task.clone(), recycle, wait, refusal: None })
                {
                    self.tasks += 1;
                    self.open = Some(task);
                    self.apply(decision)?;
                }
                Ok(())
            }
            Step::Cancel => match self.machine.job.task().cloned() {
                Some(task) => {
                    let decision =
                        request(&self.machine, Request::Cancel(task)).expect("a cancel is never denied");
                    self.apply(decision)
                }
                None => Ok(()),
            },
            Step::GiveUp => {
                let open = self.machine.job.running_turn().cloned().unwrap_or_else(turn);
                let give_up = Request::GiveUp { turn: open, why: "silent".into() };
                let decision = request(&self.machine, give_up).expect("never denied");
                self.apply(decision)
            }
            Step::Restart(interrupt, revive) => {
                self.try_to(Request::Restart { interrupt, revive, why: "ill".into() })
            }
            Step::Evict(force) => self.try_to(Request::Evict { force, why: "idle".into() }),
            Step::Leave(why) => {
                let leave = Request::Leave { why, now: false };
                let decision = request(&self.machine, leave).expect("leaving is never denied");
                self.apply(decision)
            }
            Step::Return(n, well) => self.come_back(n, well),
            Step::Exit if self.process => self.see(exited(true)),
            Step::Hang if self.process => {
                self.see(Observation::Hung { produced: false, how: "x".into(), after: LATER })
            }
            Step::Lose => self.see(Observation::Lost { why: "x".into() }),
            Step::LogOut => self.see(Observation::LoggedOut { why: "x".into() }),
            Step::Settle => self.see(Observation::Settled(Ok("end_turn".into()))),
            Step::Exit | Step::Hang => Ok(()),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_history_sends_twice_loses_a_process_or_leaves_a_job_open(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::default();
        for step in steps {
            if world.finished {
                break;
            }
            world.take(step)?;
        }
        // Whatever is outstanding comes back in the end, and then a leave must finish it all.
        if !world.finished {
            world.take(Step::Leave(Leave::Closed))?;
        }
        for _ in 0..40 {
            world.come_back(0, true)?;
        }
        prop_assert!(world.finished, "never finished: {:?}", world.machine);
        prop_assert!(world.open.is_none());
        prop_assert!(world.turns.is_empty(), "turns are open for ever: {:?}", world.turns);
    }
}
