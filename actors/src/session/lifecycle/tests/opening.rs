//! A job that is being committed, and everything that can be asked of its agent session or happen to
//! its backend meanwhile: how it ends, each pair of them.

use super::*;

const SECOND: Generation = Generation(2);

/// What comes in between.
#[derive(Debug, Clone)]
enum Meanwhile {
    Asked(Request),
    Seen(Observation),
}

use Meanwhile::{Asked, Seen};

/// How the job ends then; `None` where it goes on to its prompt.
type End = Option<Outcome>;

fn cases() -> Vec<(Meanwhile, End)> {
    let restart = |revive| Request::Restart { interrupt: true, revive, why: "by hand".into() };
    let leave = |why, now| Request::Leave { why, now };
    let hung = Observation::Hung { produced: false, how: "closed its output".into(), after: LATER };
    vec![
        (Asked(Request::Cancel(task())), Some(Outcome::Cancelled)),
        (Asked(Request::Cancel("t-other".into())), None),
        (Asked(Request::Run { task: "t-2".into(), recycle: false, wait: None, refusal: None }), None),
        (
            Asked(Request::Run {
                task: "t-2".into(),
                recycle: true,
                wait: Some(Wait::Circuit),
                refusal: None,
            }),
            None,
        ),
        (Asked(Request::GiveUp { turn: turn(), why: "silent".into() }), None),
        (Asked(Request::Restart { interrupt: false, revive: true, why: "ill".into() }), None),
        (Asked(Request::Evict { force: false, why: "idle".into() }), None),
        (Asked(restart(true)), Some(Outcome::Interrupted)),
        (Asked(restart(false)), Some(Outcome::Interrupted)),
        (Asked(Request::Evict { force: true, why: "by hand".into() }), Some(Outcome::Cancelled)),
        (Asked(leave(Leave::Closed, false)), Some(Outcome::Cancelled)),
        (Asked(leave(Leave::DaemonStops, false)), Some(Outcome::Cancelled)),
        (Asked(leave(Leave::DaemonStops, true)), Some(Outcome::Cancelled)),
        (Asked(leave(Leave::Evicted, false)), Some(Outcome::Cancelled)),
        (Seen(exited(false)), Some(Outcome::Failed)),
        (Seen(hung), Some(Outcome::Failed)),
        (Seen(Observation::CancelGraceOver), None),
        (Seen(Observation::Settled(Ok("end_turn".into()))), None),
        (Seen(Observation::Ended), None),
        (Seen(Observation::Gone), None),
    ]
}

/// The state after `meanwhile`, and what happens when the backend that was stopped comes back.
fn after(state: &Machine, meanwhile: &Meanwhile) -> Vec<Machine> {
    let next = match meanwhile {
        Asked(asked) => {
            request(state, asked.clone()).map_or_else(|_| state.clone(), |decision| decision.next)
        }
        Seen(seen) => observe(state, seen.clone()).next,
    };
    let gone = observe(&next, Observation::Gone).next;
    let launched = observe(&gone, Observation::Launched(SECOND)).next;
    vec![next, gone, launched]
}

#[test]
fn a_turn_that_is_being_opened_ends_under_its_own_generation_whatever_comes_between() {
    for (meanwhile, end) in cases() {
        for state in after(&machine(Backend::Up, opening(None)), &meanwhile) {
            let opened = observe(&state, Observation::Opened(turn()));
            match (&opened.effects[..], end) {
                ([Effect::SendPrompt], None) => assert_eq!(state.generation, FIRST, "{meanwhile:?}"),
                ([Effect::EndTurn { task: of, turn: open, generation, outcome, .. }], Some(end)) => {
                    assert_eq!((of, open, *generation), (&task(), &turn(), FIRST), "{meanwhile:?}");
                    assert_eq!(*outcome, end, "{meanwhile:?} {state:?}");
                }
                (effects, end) => panic!("{meanwhile:?} {state:?}: {effects:?}, and not {end:?}"),
            }
        }
    }
}

#[test]
fn a_task_that_is_being_dispatched_ends_without_a_turn_whatever_comes_between() {
    for (meanwhile, end) in cases() {
        for state in after(&machine(Backend::Up, dispatching(None)), &meanwhile) {
            let granted = observe(&state, Observation::Dispatched(true));
            match (&granted.effects[..], end) {
                ([Effect::OpenTurn(of, generation)], None) => {
                    assert_eq!((of, *generation), (&task(), FIRST), "{meanwhile:?}");
                }
                ([Effect::EndTask { task: of, outcome, .. }], Some(end)) => {
                    assert_eq!((of, *outcome), (&task(), end), "{meanwhile:?} {state:?}");
                }
                (effects, end) => panic!("{meanwhile:?} {state:?}: {effects:?}, and not {end:?}"),
            }
        }
    }
}

#[test]
fn of_two_reasons_the_first_is_told_and_a_cancel_by_a_person_before_any() {
    let interrupted = Unsent::Interrupted("by hand".into());
    let lost = Unsent::Lost("it died".into());
    let restart = Asked(Request::Restart { interrupt: true, revive: true, why: "again".into() });
    let let_go = Unsent::LetGo("evicted".into());
    let cases = [
        (let_go.clone(), restart.clone(), Outcome::Cancelled),
        (
            interrupted.clone(),
            Asked(Request::Evict { force: true, why: "idle".into() }),
            Outcome::Interrupted,
        ),
        (interrupted.clone(), Seen(exited(false)), Outcome::Interrupted),
        (lost.clone(), restart.clone(), Outcome::Failed),
        (Unsent::Cancelled, restart, Outcome::Cancelled),
        (interrupted, Asked(Request::Cancel(task())), Outcome::Cancelled),
        (lost, Asked(Request::Cancel(task())), Outcome::Cancelled),
    ];
    for (first, then, expected) in cases {
        let state = machine(Backend::Up, opening(Some(first.clone())));
        let opened = observe(&after(&state, &then)[0], Observation::Opened(turn()));
        assert_eq!(turn_end(&opened.effects).0, expected, "{first:?}, then {then:?}");
    }
}

#[test]
fn a_prompt_never_goes_to_another_backend_than_its_turn_was_opened_for() {
    // No history leads here; if one did, the prompt would be another backend's.
    let state = Machine { generation: SECOND, ..machine(Backend::Up, opening(None)) };
    let opened = observe(&state, Observation::Opened(turn()));
    assert_eq!(turn_end(&opened.effects).0, Outcome::Failed);
    assert!(!opened.effects.contains(&Effect::SendPrompt));
}

#[test]
fn a_task_that_ended_before_its_turn_was_opened_is_handed_back() {
    for unsent in [None, Some(Unsent::Cancelled)] {
        let back = observe(&machine(Backend::Up, opening(unsent)), Observation::NotOpened);
        assert_eq!(back.effects, [Effect::ReturnJob(task(), None)]);
        assert_eq!(back.next, machine(Backend::Up, Job::None));
    }
}
