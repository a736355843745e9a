//! What a row says of whom.

use hob_actors::event::{Exit, HealthState};
use hob_actors::id::{AgentKey, Generation};
use hob_actors::ports::FailureClass;
use hob_actors::tree::{EndCause, LastEnd, LastFailure};

use super::*;

fn clock() -> Clock {
    Clock { moment: Moment(1_000_000), instant: Instant::now() + Duration::from_secs(1000) }
}

fn session(status: &str) -> AgentSessionRow {
    let row = serde_json::json!({
        "chat": "c-1", "agent": "goose", "session": "s-1", "backend": "acp", "status": status,
        "generation": 3, "shared_with": 0, "queued": 0, "restarts": 0,
    });
    serde_json::from_value(row).unwrap()
}

fn view(at: Instant) -> HealthView {
    HealthView {
        key: AgentKey::new("c-1", "goose"),
        generation: Generation(3),
        pid: Some(42),
        state: Some(HealthState::Healthy),
        since: at,
        failures: 0,
        last_failure: None,
        restarts: 0,
        last_end: None,
        stderr_tail: String::new(),
    }
}

fn troubled(at: Instant) -> HealthView {
    let exit = Exit { signal: Some(9), stderr_tail: "old words".into(), ..Exit::default() };
    HealthView {
        last_failure: Some(LastFailure {
            class: FailureClass::TimedOut,
            message: "no answer within 5s".into(),
            at: at - Duration::from_secs(2),
        }),
        restarts: 1,
        last_end: Some(LastEnd {
            cause: EndCause::Ill,
            exit: Some(exit),
            why: "8 probes in a row were not answered".into(),
            at: at - Duration::from_secs(1),
        }),
        stderr_tail: "old words".into(),
        ..view(at)
    }
}

#[test]
fn what_went_wrong_stays_readable_when_all_is_well_again() {
    let clock = clock();
    let row = row(session("idle"), Some(&troubled(clock.instant)), clock);
    assert_eq!((row.state.as_deref(), row.since), (Some("healthy"), Some(Moment(1_000_000))));
    assert_eq!((row.restarts, row.failures, row.stderr_tail.as_str()), (1, 0, "old words"));
    assert_eq!(row.reason.as_deref(), Some("8 probes in a row were not answered"));
    let failure = row.last_failure.unwrap();
    assert_eq!((failure.class.as_str(), failure.at), ("timed_out", Moment(998_000)));
    let exit = row.last_exit.unwrap();
    assert_eq!((exit.detail.as_str(), exit.at), ("killed by SIGKILL", Some(Moment(999_000))));
}

#[test]
fn who_may_not_be_started_says_why_and_has_no_health() {
    let clock = clock();
    let mut open = session("circuit_open");
    (open.reason, open.retry_in_ms) = (Some("it failed 5 times within 1m".into()), Some(250_000));
    let ill = HealthView { state: Some(HealthState::Restarting), pid: None, ..troubled(clock.instant) };
    let row = row(open, Some(&ill), clock);
    assert_eq!((row.state, row.since, row.retry_in_ms), (None, None, Some(250_000)));
    assert_eq!(row.reason.as_deref(), Some("it failed 5 times within 1m"));
}

#[test]
fn a_crash_under_an_earlier_daemon_is_told_from_the_record() {
    let mut crashed = session("crashed");
    let exit = Exit { code: Some(3), stderr_tail: "no licence".into(), ..Exit::default() };
    crashed.last_exit = Some(words::exit_row(&exit, Some(Moment(5))));
    let row = row(crashed, None, clock());
    assert_eq!((row.reason.as_deref(), row.stderr_tail.as_str()), (Some("exited with code 3"), "no licence"));
}

#[test]
fn a_live_process_does_not_wear_the_exit_of_one_that_went_on_purpose() {
    let clock = clock();
    let mut idle = session("idle");
    idle.last_exit = Some(words::exit_row(&Exit { signal: Some(15), ..Exit::default() }, None));
    let row = row(idle, Some(&view(clock.instant)), clock);
    assert_eq!((row.last_exit, row.reason), (None, None));
}

#[test]
fn who_has_a_process_or_trouble_has_a_row() {
    let at = clock().instant;
    let (well, ill) = (view(at), troubled(at));
    let cases = [
        ("idle", None, true),
        ("starting", None, true),
        ("backoff", Some(&well), true),
        ("crashed", None, true),
        ("circuit_open", None, true),
        ("evicted", None, false),
        ("evicted", Some(&well), false),
        ("evicted", Some(&ill), true),
        ("closed", Some(&ill), false),
    ];
    for (status, view, shown) in cases {
        assert_eq!(is_worth_a_row(&session(status), view), shown, "{status}");
    }
}
