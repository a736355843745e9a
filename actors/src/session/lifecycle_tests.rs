//! The rules of an agent session's life: named cases, and what holds in every history.

use proptest::prelude::*;

use super::lifecycle::{AGENT_CRASHED, judge, observe, request};
use super::state::{Backend, Decision, Denied, Effect, Job, Leave, Machine, Observation, Request};
use crate::event::{AgentStatus, Outcome};
use crate::id::{TaskId, TurnId};

fn task() -> TaskId {
    "t-1".into()
}

fn turn() -> TurnId {
    "u-1".into()
}

fn machine(backend: Backend, job: Job) -> Machine {
    Machine { backend, job, leaving: None }
}

fn running(cancelled: bool) -> Job {
    Job::Running { task: task(), turn: turn(), cancelled }
}

fn run(recycle: bool) -> Request {
    Request::Run { task: task(), recycle }
}

fn granted(state: &Machine, asked: Request) -> Decision {
    request(state, asked).expect("granted")
}

fn exited(produced: bool) -> Observation {
    Observation::Exited { produced, how: "killed by SIGKILL".into() }
}

fn turn_end(effects: &[Effect]) -> (Outcome, Option<&str>) {
    effects
        .iter()
        .find_map(|effect| match effect {
            Effect::EndTurn { outcome, error, .. } => Some((*outcome, error.as_deref())),
            _ => None,
        })
        .expect("the turn ends")
}

/// Where the agent session stands after the ordered stop, if there is one.
fn stops(effects: &[Effect]) -> Option<AgentStatus> {
    effects.iter().find_map(|effect| match effect {
        Effect::StopBackend { to, .. } => Some(*to),
        _ => None,
    })
}

const STARTING: Backend = Backend::Starting { died: false };

#[test]
fn a_first_prompt_starts_the_backend_and_a_second_is_refused() {
    let first = granted(&Machine::default(), run(false));
    assert_eq!(first.effects, [Effect::Start]);
    assert_eq!(first.next, machine(STARTING, Job::Waiting(task())));
    assert_eq!(request(&first.next, Request::Run { task: "t-2".into(), recycle: false }), Err(Denied::Busy));
}

#[test]
fn the_prompt_leaves_only_after_dispatched_and_the_turn_are_recorded() {
    let dispatching = observe(&machine(STARTING, Job::Waiting(task())), Observation::Launched);
    assert_eq!(dispatching.effects, [Effect::Dispatch(task())]);
    let opening = observe(&dispatching.next, Observation::Dispatched(true));
    assert_eq!(opening.effects, [Effect::OpenTurn(task())]);
    let sent = observe(&opening.next, Observation::Opened(turn()));
    assert_eq!(sent.effects, [Effect::SendPrompt]);
    assert_eq!(sent.next, machine(Backend::Up, running(false)));
}

#[test]
fn another_configuration_retires_the_idle_backend_before_the_turn() {
    let stopping = granted(&machine(Backend::Up, Job::None), run(true));
    assert_eq!(stops(&stopping.effects), Some(AgentStatus::Evicted));
    let starting = observe(&stopping.next, Observation::Gone);
    assert_eq!(starting.effects, [Effect::Start]);
    assert_eq!(starting.next, machine(STARTING, Job::Waiting(task())));
}

#[test]
fn a_task_that_was_held_meanwhile_goes_back_unrun() {
    let state = machine(Backend::Up, Job::Dispatching { task: task(), cancelled: false });
    let back = observe(&state, Observation::Dispatched(false));
    assert_eq!(back.effects, [Effect::ReturnJob(task())]);
    assert_eq!(back.next, machine(Backend::Up, Job::None));
}

#[test]
fn cancel_means_the_right_thing_at_each_stage() {
    let before = granted(&machine(STARTING, Job::Waiting(task())), Request::Cancel(task()));
    assert!(matches!(&before.effects[..], [Effect::EndTask { outcome: Outcome::Cancelled, .. }]));

    let remembered = granted(
        &machine(Backend::Up, Job::Dispatching { task: task(), cancelled: false }),
        Request::Cancel(task()),
    );
    assert_eq!(remembered.effects, []);
    let applied = observe(&remembered.next, Observation::Dispatched(true));
    assert!(matches!(&applied.effects[..], [Effect::EndTask { outcome: Outcome::Cancelled, .. }]));

    let opening = machine(Backend::Up, Job::Opening { task: task(), cancelled: true });
    let unsent = observe(&opening, Observation::Opened(turn()));
    assert_eq!(turn_end(&unsent.effects), (Outcome::Cancelled, None));
    assert!(!unsent.effects.contains(&Effect::SendPrompt));

    let sent = granted(&machine(Backend::Up, running(false)), Request::Cancel(task()));
    assert_eq!(sent.effects, [Effect::SendCancel]);
    let again = granted(&sent.next, Request::Cancel(task()));
    assert_eq!(again.effects, [], "a second cancel changes nothing");

    let other = granted(&machine(Backend::Up, running(false)), Request::Cancel("t-other".into()));
    assert_eq!(other.effects, [], "a cancel hits its own task alone");
}

#[test]
fn after_our_cancel_every_answer_is_the_cancel() {
    for answer in
        [Ok("end_turn".to_owned()), Ok("cancelled".into()), Err("-32603 Request was aborted.".into())]
    {
        assert_eq!(judge(true, answer).0, Outcome::Cancelled);
    }
}

#[test]
fn answers_without_a_cancel_mean_what_they_say() {
    let cases = [
        (Ok("end_turn"), Outcome::Completed),
        (Ok("max_tokens"), Outcome::Completed),
        (Ok("a_reason_nobody_knows"), Outcome::Completed),
        (Ok("refusal"), Outcome::Failed),
        (Ok("cancelled"), Outcome::Cancelled),
        (Err("it broke"), Outcome::Failed),
    ];
    for (answer, expected) in cases {
        let answer: Result<String, String> = answer.map(str::to_owned).map_err(str::to_owned);
        assert_eq!(judge(false, answer.clone()).0, expected, "{answer:?}");
    }
}

#[test]
fn a_cancel_that_is_never_answered_costs_the_backend() {
    let over = observe(&machine(Backend::Up, running(true)), Observation::CancelGraceOver);
    assert_eq!(turn_end(&over.effects).0, Outcome::Cancelled);
    assert_eq!(stops(&over.effects), Some(AgentStatus::Evicted));
    assert_eq!(over.next.backend, Backend::Stopping);
    let late = observe(&over.next, Observation::Settled(Ok("end_turn".into())));
    assert_eq!(late.effects, [], "the answer of a turn that ended is late");
}

#[test]
fn a_crash_interrupts_a_turn_that_had_output_and_fails_one_that_had_none() {
    let with = observe(&machine(Backend::Up, running(false)), exited(true));
    assert_eq!(turn_end(&with.effects), (Outcome::Interrupted, Some("killed by SIGKILL")));
    let without = observe(&machine(Backend::Up, running(false)), exited(false));
    let (outcome, error) = turn_end(&without.effects);
    assert_eq!(outcome, Outcome::Failed);
    assert!(error.is_some_and(|error| error.starts_with(AGENT_CRASHED)));
    let cancelled = observe(&machine(Backend::Up, running(true)), exited(true));
    assert_eq!(turn_end(&cancelled.effects).0, Outcome::Cancelled);
    for decision in [with, without, cancelled] {
        assert!(decision.effects.iter().any(|effect| matches!(effect, Effect::RecordCrash { .. })));
        assert_eq!(decision.next.backend, Backend::Down);
    }
}

#[test]
fn an_end_that_is_seen_before_the_start_is_not_lost() {
    let died = observe(&machine(STARTING, Job::Waiting(task())), exited(false));
    let launched = observe(&died.next, Observation::Launched);
    assert_eq!(launched.next.backend, Backend::Down);
    assert!(matches!(launched.next.job, Job::Ending(_)));
}

#[test]
fn an_agent_that_closes_its_output_is_ended() {
    let hung = observe(
        &machine(Backend::Up, running(false)),
        Observation::Hung { produced: true, how: "closed its output".into() },
    );
    assert_eq!(turn_end(&hung.effects).0, Outcome::Interrupted);
    assert_eq!(stops(&hung.effects), Some(AgentStatus::Crashed));
}

#[test]
fn a_daemon_that_stops_leaves_waiting_tasks_queued_and_cancels_running_ones() {
    let leave = Request::Leave { why: Leave::DaemonStops, now: false };
    let waiting = granted(&machine(STARTING, Job::Waiting(task())), leave.clone());
    assert_eq!(
        waiting.effects,
        [Effect::ReturnJob(task()), Effect::AbortStart, Effect::Finish(Leave::DaemonStops)]
    );
    let running = granted(&machine(Backend::Up, running(false)), leave);
    assert_eq!(turn_end(&running.effects).0, Outcome::Cancelled);
    assert!(!running.effects.contains(&Effect::Finish(Leave::DaemonStops)), "not before both are recorded");
    let ended = observe(&running.next, Observation::Ended);
    let gone = observe(&ended.next, Observation::Gone);
    assert!(gone.effects.contains(&Effect::Finish(Leave::DaemonStops)));
}

#[test]
fn a_closed_chat_ends_its_waiting_task() {
    let leave = Request::Leave { why: Leave::Closed, now: false };
    let closed = granted(&machine(Backend::Stopping, Job::Waiting(task())), leave);
    assert!(matches!(closed.effects[0], Effect::EndTask { outcome: Outcome::Cancelled, .. }));
    assert_eq!(request(&closed.next, run(false)), Err(Denied::Leaving));
}

/// What a history does next.
#[derive(Debug, Clone)]
enum Step {
    Run(bool),
    Cancel,
    Leave(Leave),
    /// The n-th outstanding effect comes back, well or badly.
    Return(usize, bool),
    Exit,
    Hang,
    Settle,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any::<bool>().prop_map(Step::Run),
        2 => Just(Step::Cancel),
        1 => prop_oneof![Just(Leave::Closed), Just(Leave::DaemonStops)].prop_map(Step::Leave),
        12 => (0usize..8, prop::bool::weighted(0.8)).prop_map(|(n, well)| Step::Return(n, well)),
        2 => Just(Step::Exit),
        1 => Just(Step::Hang),
        4 => Just(Step::Settle),
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
    finished: bool,
}

impl World {
    fn apply(&mut self, decision: Decision) -> Result<(), TestCaseError> {
        self.machine = decision.next;
        for effect in decision.effects {
            match &effect {
                Effect::Start => prop_assert!(!self.process, "two processes"),
                Effect::SendPrompt => {
                    let task = self.machine.job.task().expect("a job").clone();
                    prop_assert!(!self.sent.contains(&task), "a prompt was sent twice");
                    prop_assert!(self.process, "a prompt was sent to nobody");
                    self.sent.push(task);
                }
                Effect::ReturnJob(task) | Effect::ReportDone(task) => {
                    let open = self.open.take();
                    prop_assert_eq!(open.as_ref(), Some(task), "a job ended twice, or never began");
                }
                Effect::AbortStart => {
                    self.outstanding.retain(|effect| *effect != Effect::Start);
                    self.process = false;
                }
                Effect::RecordCrash { .. } => self.process = false,
                Effect::Finish(_) => {
                    prop_assert!(!self.process && self.open.is_none(), "finished with something left");
                    self.finished = true;
                }
                _ => {}
            }
            if effect == Effect::Start {
                self.process = true;
            }
            if !matches!(
                effect,
                Effect::ReturnJob(_) | Effect::ReportDone(_) | Effect::AbortStart | Effect::SendPrompt
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
            Effect::Start if well => self.see(Observation::Launched),
            Effect::Start => {
                self.process = false;
                self.see(Observation::LaunchFailed { message: "no".into() })
            }
            Effect::Dispatch(_) => self.see(Observation::Dispatched(well)),
            Effect::OpenTurn(_) => self.see(Observation::Opened(turn())),
            Effect::SendCancel if !well => self.see(Observation::CancelGraceOver),
            Effect::EndTurn { .. } | Effect::EndTask { .. } => self.see(Observation::Ended),
            Effect::StopBackend { .. } => {
                self.process = false;
                self.see(Observation::Gone)
            }
            _ => Ok(()),
        }
    }

    fn take(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Run(recycle) => {
                let task = TaskId::from(format!("t-{}", self.tasks));
                if let Ok(decision) = request(&self.machine, Request::Run { task: task.clone(), recycle }) {
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
            Step::Leave(why) => {
                let leave = Request::Leave { why, now: false };
                let decision = request(&self.machine, leave).expect("leaving is never denied");
                self.apply(decision)
            }
            Step::Return(n, well) => self.come_back(n, well),
            Step::Exit if self.process => self.see(exited(true)),
            Step::Hang if self.process => self.see(Observation::Hung { produced: false, how: "x".into() }),
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
    }
}
