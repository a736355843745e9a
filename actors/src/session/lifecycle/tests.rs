//! The rules of an agent session's life: named cases.

mod histories;
mod opening;

use super::{AGENT_CRASHED, judge, observe, request};
use crate::event::{AgentStatus, Outcome, Wait};
use crate::id::{Generation, TaskId, TurnId};
use crate::session::state::{
    After, Backend, Decision, Denied, Effect, Ending, Job, Leave, Machine, Observation, Request, Unsent,
};

const FIRST: Generation = Generation(1);

fn dispatching(unsent: Option<Unsent>) -> Job {
    Job::Dispatching { task: task(), generation: FIRST, unsent }
}

fn opening(unsent: Option<Unsent>) -> Job {
    Job::Opening { task: task(), generation: FIRST, unsent }
}

fn task() -> TaskId {
    "t-1".into()
}

fn turn() -> TurnId {
    "u-1".into()
}

fn machine(backend: Backend, job: Job) -> Machine {
    Machine { backend, generation: FIRST, job, leaving: None }
}

fn running(cancelled: bool) -> Job {
    Job::Running {
        task: task(),
        turn: turn(),
        generation: FIRST,
        ending: cancelled.then_some(Ending::Cancelled),
    }
}

fn run(recycle: bool) -> Request {
    Request::Run { task: task(), recycle, wait: None, refusal: None }
}

fn granted(state: &Machine, asked: Request) -> Decision {
    request(state, asked).expect("granted")
}

const LATER: After = After { wait: Wait::Backoff, keep_warm: false };
const NEVER: After = After { wait: Wait::Circuit, keep_warm: false };
const WARM: After = After { wait: Wait::Backoff, keep_warm: true };

fn exited(produced: bool) -> Observation {
    Observation::Exited { produced, how: "killed by SIGKILL".into(), after: LATER }
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
    assert_eq!(first.next, Machine { generation: Generation(0), ..machine(STARTING, Job::Waiting(task())) });
    assert_eq!(
        request(&first.next, Request::Run { task: "t-2".into(), recycle: false, wait: None, refusal: None }),
        Err(Denied::Busy)
    );
}

#[test]
fn the_prompt_leaves_only_after_dispatched_and_the_turn_are_recorded() {
    let sending = observe(&machine(STARTING, Job::Waiting(task())), Observation::Launched(FIRST));
    assert_eq!(sending.effects, [Effect::Dispatch(task(), FIRST)]);
    let turning = observe(&sending.next, Observation::Dispatched(true));
    assert_eq!(turning.effects, [Effect::OpenTurn(task(), FIRST)]);
    let sent = observe(&turning.next, Observation::Opened(turn()));
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
    let state = machine(Backend::Up, dispatching(None));
    let back = observe(&state, Observation::Dispatched(false));
    assert_eq!(back.effects, [Effect::ReturnJob(task(), None)]);
    assert_eq!(back.next, machine(Backend::Up, Job::None));
}

#[test]
fn cancel_means_the_right_thing_at_each_stage() {
    let before = granted(&machine(STARTING, Job::Waiting(task())), Request::Cancel(task()));
    assert!(matches!(&before.effects[..], [Effect::EndTask { outcome: Outcome::Cancelled, .. }]));

    let remembered = granted(&machine(Backend::Up, dispatching(None)), Request::Cancel(task()));
    assert_eq!(remembered.effects, []);
    let applied = observe(&remembered.next, Observation::Dispatched(true));
    assert!(matches!(&applied.effects[..], [Effect::EndTask { outcome: Outcome::Cancelled, .. }]));

    let cancelled = machine(Backend::Up, opening(Some(Unsent::Cancelled)));
    let unsent = observe(&cancelled, Observation::Opened(turn()));
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
        assert_eq!(judge(Some(&Ending::Cancelled), answer).0, Outcome::Cancelled);
    }
}

#[test]
fn answers_without_a_cancel_mean_what_they_say() {
    let cases = [
        (Ok("end_turn"), Outcome::Completed),
        (Ok("max_tokens"), Outcome::Completed),
        (Ok("a_reason_nobody_knows"), Outcome::Completed),
        (Ok("refusal"), Outcome::Failed),
        (Ok("cancelled"), Outcome::Interrupted),
        (Err("it broke"), Outcome::Failed),
    ];
    for (answer, expected) in cases {
        let answer: Result<String, String> = answer.map(str::to_owned).map_err(str::to_owned);
        assert_eq!(judge(None, answer.clone()).0, expected, "{answer:?}");
    }
}

#[test]
fn a_cancel_that_is_never_answered_costs_the_backend() {
    let over = observe(&machine(Backend::Up, running(true)), Observation::CancelGraceOver);
    assert_eq!(turn_end(&over.effects).0, Outcome::Cancelled);
    assert_eq!(stops(&over.effects), Some(AgentStatus::Evicted));
    assert_eq!(over.next.backend, Backend::Stopping { again: false });
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
    assert_eq!(died.next.backend, Backend::Starting { died: true });
    let launched = observe(&died.next, Observation::LaunchedDead(FIRST, LATER));
    assert_eq!(launched.next, machine(Backend::Down, Job::None));
    assert!(launched.effects.contains(&Effect::ReturnJob(task(), Some(Wait::Backoff))), "it was never sent");
    assert!(launched.effects.contains(&Effect::Rest(Wait::Backoff)));
}

#[test]
fn an_agent_that_closes_its_output_is_ended() {
    let hung = observe(
        &machine(Backend::Up, running(false)),
        Observation::Hung { produced: true, how: "closed its output".into(), after: LATER },
    );
    assert_eq!(turn_end(&hung.effects).0, Outcome::Interrupted);
    assert_eq!(stops(&hung.effects), Some(AgentStatus::Crashed));
}

#[test]
fn an_agent_that_wants_a_log_in_for_a_prompt_is_ended_and_not_started_again() {
    let seen = || Observation::LoggedOut { why: "auth_required: no".into() };
    let out = observe(&machine(Backend::Up, running(false)), seen());
    assert_eq!(turn_end(&out.effects), (Outcome::Failed, Some("auth_required: no")));
    assert_eq!(stops(&out.effects), Some(AgentStatus::CircuitOpen));
    assert_eq!(out.next.backend, Backend::Stopping { again: false });
    let cancelled = observe(&machine(Backend::Up, running(true)), seen());
    assert_eq!(turn_end(&cancelled.effects).0, Outcome::Cancelled);
    let late = observe(&machine(Backend::Up, Job::None), seen());
    assert_eq!((late.next, late.effects), (machine(Backend::Up, Job::None), vec![]));
}

#[test]
fn a_daemon_that_stops_leaves_waiting_tasks_queued_and_cancels_running_ones() {
    let leave = Request::Leave { why: Leave::DaemonStops, now: false };
    let waiting = granted(&machine(STARTING, Job::Waiting(task())), leave.clone());
    assert_eq!(
        waiting.effects,
        [Effect::ReturnJob(task(), None), Effect::AbortStart, Effect::Finish(Leave::DaemonStops)]
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
    let closed = granted(&machine(Backend::Stopping { again: true }, Job::Waiting(task())), leave);
    assert!(matches!(closed.effects[0], Effect::EndTask { outcome: Outcome::Cancelled, .. }));
    assert_eq!(request(&closed.next, run(false)), Err(Denied::Leaving));
}

#[test]
fn what_has_to_wait_for_its_start_does_not_end_the_runs_that_are_up() {
    let up = machine(Backend::Up, Job::None);
    let waits =
        granted(&up, Request::Run { task: task(), recycle: true, wait: Some(Wait::Circuit), refusal: None });
    assert_eq!(waits.effects, [Effect::ReturnJob(task(), Some(Wait::Circuit)), Effect::Rest(Wait::Circuit)]);
    assert_eq!(waits.next, up);
}

#[test]
fn a_start_that_has_to_wait_gives_its_task_back() {
    let run = Request::Run { task: task(), recycle: false, wait: Some(Wait::Circuit), refusal: None };
    let waits = granted(&Machine::default(), run.clone());
    assert_eq!(waits.effects, [Effect::ReturnJob(task(), Some(Wait::Circuit)), Effect::Rest(Wait::Circuit)]);
    assert_eq!(waits.next, Machine::default());
    let lives = granted(&machine(Backend::Up, Job::None), run);
    assert_eq!(lives.effects, [Effect::Dispatch(task(), FIRST)], "who lives needs no start");
}

#[test]
fn a_failed_start_ends_its_task_only_where_another_cannot_help() {
    let state = machine(STARTING, Job::Waiting(task()));
    let failed = |permanent, after| {
        observe(&state, Observation::LaunchFailed { message: "no".into(), permanent, after })
    };
    let passing = failed(false, LATER);
    assert_eq!(
        passing.effects,
        [Effect::ReturnJob(task(), Some(Wait::Backoff)), Effect::Rest(Wait::Backoff)]
    );
    let spent = failed(false, NEVER);
    assert_eq!(spent.effects, [Effect::ReturnJob(task(), Some(Wait::Circuit)), Effect::Rest(Wait::Circuit)]);
    let permanent = failed(true, NEVER);
    assert!(matches!(
        &permanent.effects[..],
        [Effect::EndTask { outcome: Outcome::Failed, .. }, Effect::Rest(Wait::Circuit)]
    ));
}

#[test]
fn a_crash_of_an_idle_backend_rests_only_where_somebody_wants_it() {
    let idle = machine(Backend::Up, Job::None);
    let crash =
        |after| observe(&idle, Observation::Exited { produced: false, how: "x".into(), after }).effects;
    let rests = |effects: &[Effect]| effects.iter().any(|effect| matches!(effect, Effect::Rest(_)));
    assert!(!rests(&crash(LATER)));
    assert!(rests(&crash(WARM)) && rests(&crash(NEVER)));
}

#[test]
fn a_restart_spares_a_job_unless_it_is_to_interrupt_it() {
    let restart = |interrupt, revive| Request::Restart { interrupt, revive, why: "ill".into() };
    let busy = machine(Backend::Up, running(false));
    assert_eq!(request(&busy, restart(false, false)), Err(Denied::Busy));
    let interrupted = granted(&busy, restart(true, false));
    assert_eq!(turn_end(&interrupted.effects), (Outcome::Interrupted, Some("ill")));
    let gone = observe(&interrupted.next, Observation::Gone);
    assert_eq!(gone.effects, [Effect::Start]);

    let idle = granted(&machine(Backend::Up, Job::None), restart(false, false));
    assert_eq!(stops(&idle.effects), Some(AgentStatus::Crashed));
    let gone = observe(&idle.next, Observation::Gone);
    assert_eq!((gone.next.backend, &gone.effects[..]), (STARTING, &[Effect::Start][..]));

    assert_eq!(granted(&Machine::default(), restart(false, false)).effects, []);
    assert_eq!(granted(&Machine::default(), restart(false, true)).effects, [Effect::Start]);
    assert_eq!(granted(&machine(STARTING, Job::None), restart(false, true)).effects, [], "joined");
}

#[test]
fn an_eviction_is_denied_by_whatever_is_under_way() {
    let evict = |force| Request::Evict { force, why: "idle".into() };
    for busy in [
        machine(Backend::Up, running(false)),
        machine(Backend::Up, Job::Ending(task())),
        machine(STARTING, Job::None),
        machine(Backend::Stopping { again: true }, Job::None),
        machine(STARTING, Job::Waiting(task())),
    ] {
        assert_eq!(request(&busy, evict(false)), Err(Denied::Busy), "{busy:?}");
    }
    let idle = granted(&machine(Backend::Up, Job::None), evict(false));
    assert_eq!(stops(&idle.effects), Some(AgentStatus::Evicted));
    let gone = observe(&idle.next, Observation::Gone);
    assert_eq!(gone.effects, [Effect::Finish(Leave::Evicted)]);
    assert_eq!(request(&idle.next, run(false)), Err(Denied::Leaving));
    let forced = granted(&machine(STARTING, Job::Waiting(task())), evict(true));
    assert!(forced.effects.contains(&Effect::ReturnJob(task(), None)), "it was never sent");
    assert!(granted(&Machine::default(), evict(false)).effects.contains(&Effect::Finish(Leave::Evicted)));
}

#[test]
fn a_stuck_turn_is_interrupted_whatever_its_agent_says() {
    let give_up = |turn: &str| Request::GiveUp { turn: turn.into(), why: "silent".into() };
    let busy = machine(Backend::Up, running(false));
    assert_eq!(granted(&busy, give_up("u-other")).effects, []);
    let cancelled = granted(&busy, give_up("u-1"));
    assert_eq!(cancelled.effects, [Effect::SendCancel]);
    let obeyed = observe(&cancelled.next, Observation::Settled(Ok("cancelled".into())));
    assert_eq!(turn_end(&obeyed.effects), (Outcome::Interrupted, Some("silent")));
    assert_eq!(obeyed.next.backend, Backend::Up, "it listens, so it stays");
    let ignored = observe(&cancelled.next, Observation::CancelGraceOver);
    assert_eq!(turn_end(&ignored.effects).0, Outcome::Interrupted);
    assert_eq!(ignored.next.backend, Backend::Stopping { again: true });
    let by_hand = granted(&cancelled.next, Request::Cancel(task()));
    assert_eq!(by_hand.effects, [], "a cancel is on its way already");
    let settled = observe(&by_hand.next, Observation::Settled(Ok("cancelled".into())));
    assert_eq!(turn_end(&settled.effects).0, Outcome::Cancelled);
}
