//! Named cases, and histories.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

const fn mins(n: u64) -> Duration {
    Duration::from_secs(n * 60)
}

fn rules() -> WatchdogRules {
    WatchdogRules { silence: Some(mins(15)), tool: Some(mins(120)), permission: None }
}

/// Minutes since the start, of: progress, tool, question.
fn facts(start: Instant, progress: u64, tool: Option<u64>, question: Option<u64>, stage: Stage) -> Facts {
    let at = |n| start + mins(n);
    Facts { progress: at(progress), tool: tool.map(at), question: question.map(at), stage }
}

#[test]
fn the_table_holds() {
    let start = Instant::now();
    let at = |n| start + mins(n);
    let half = |n| at(n) + Duration::from_secs(450);
    let of = |progress, tool, question, stage| facts(start, progress, tool, question, stage);
    let quiet = Stage::Quiet;
    let (warn, cancel) = (|s: &str| Step::Warn(s.into()), |s: &str| Step::Cancel(s.into()));
    let silent = "nothing was heard of the agent for";
    let cases = [
        ("a fresh turn", of(0, None, None, quiet), at(0), Step::Sleep(half(0))),
        ("it said something", of(7, None, None, quiet), at(8), Step::Sleep(half(7))),
        (
            "half of the silence",
            of(0, None, None, quiet),
            half(0),
            warn(&format!("{silent} 7m 30s, half of the limit of 15m")),
        ),
        ("warned", of(0, None, None, Stage::Warned(half(0))), half(0), Step::Sleep(at(15))),
        (
            "the whole of it",
            of(0, None, None, Stage::Warned(half(0))),
            at(15),
            cancel(&format!("{silent} 15m, the limit of 15m")),
        ),
        (
            "looked at late, and not warned yet",
            of(0, None, None, quiet),
            at(40),
            warn(&format!("{silent} 40m, half of the limit of 15m")),
        ),
        (
            "it came forward after the warning",
            of(9, None, None, Stage::Warned(at(8))),
            at(15),
            Step::Sleep(half(9)),
        ),
        ("it was cancelled", of(0, None, None, Stage::Cancelled), at(500), Step::Off),
        ("a tool silences the model", of(1, Some(1), None, quiet), at(40), Step::Sleep(at(61))),
        (
            "a tool for an hour",
            of(1, Some(1), None, quiet),
            at(61),
            warn("a tool has been running without a word for 1h, half of the limit of 2h"),
        ),
        ("a tool that talks", of(50, Some(1), None, quiet), at(61), Step::Sleep(at(110))),
        (
            "a tool for two hours",
            of(1, Some(1), None, Stage::Warned(at(61))),
            at(121),
            cancel("a tool has been running without a word for 2h, the limit of 2h"),
        ),
        ("a question silences both", of(1, Some(1), Some(1), quiet), at(5000), Step::Off),
        ("the question was answered", of(300, None, None, Stage::Quiet), at(301), Step::Sleep(half(300))),
        (
            "a warning from before the tool began",
            of(10, Some(10), None, Stage::Warned(at(8))),
            at(20),
            Step::Sleep(at(70)),
        ),
    ];
    for (name, facts, now, step) in cases {
        assert_eq!(next(&facts, &rules(), now), step, "{name}");
    }
}

#[test]
fn each_limit_may_be_off_and_one_may_be_on_alone() {
    let start = Instant::now();
    let now = start + mins(100_000);
    let (none, one) = (None, Some(mins(10)));
    let cases = [
        (WatchdogRules { silence: none, ..rules() }, facts(start, 0, None, None, Stage::Quiet), true),
        (WatchdogRules { tool: none, ..rules() }, facts(start, 0, Some(0), None, Stage::Quiet), true),
        (WatchdogRules { permission: none, ..rules() }, facts(start, 0, None, Some(0), Stage::Quiet), true),
        (WatchdogRules { permission: one, ..rules() }, facts(start, 0, None, Some(0), Stage::Quiet), false),
        (
            WatchdogRules { silence: none, tool: one, permission: none },
            facts(start, 0, Some(0), None, Stage::Quiet),
            false,
        ),
        (
            WatchdogRules { silence: Some(Duration::MAX), ..rules() },
            facts(start, 0, None, None, Stage::Quiet),
            true,
        ),
    ];
    for (rules, facts, off) in cases {
        assert_eq!(next(&facts, &rules, now) == Step::Off, off, "{rules:?} {facts:?}");
    }
}

proptest! {
    /// An agent that does things at random minutes, and a session actor that does as it is told.
    #[test]
    fn a_turn_is_warned_before_it_is_cancelled_and_cancelled_exactly_when_nothing_came_for_the_limit(
        acts in prop::collection::vec((1u64..40, 0u8..3), 0..20),
        permission in prop::option::of(1u64..60),
    ) {
        let rules = WatchdogRules { permission: permission.map(mins), ..rules() };
        let start = Instant::now();
        let mut facts = Facts { progress: start, tool: None, question: None, stage: Stage::Quiet };
        let mut coming = acts.into_iter();
        let mut act = coming.next().map(|(wait, what)| (start + mins(wait), what));
        let mut now = start;
        loop {
            let step = next(&facts, &rules, now);
            let alarm = match step {
                Step::Warn(_) => {
                    prop_assert!(!matches!(facts.stage, Stage::Warned(at) if at >= facts.progress), "warned once");
                    facts.stage = Stage::Warned(now);
                    continue;
                }
                Step::Cancel(_) => {
                    let limit = if facts.question.is_some() { rules.permission } else if facts.tool.is_some() { rules.tool } else { rules.silence };
                    let warned = matches!(facts.stage, Stage::Warned(at) if at >= facts.progress && at < now);
                    prop_assert!(warned, "warned before");
                    prop_assert_eq!(Some(now - facts.progress), limit);
                    break;
                }
                Step::Sleep(at) => {
                    prop_assert!(at > now, "a sleep goes forward");
                    Some(at)
                }
                Step::Off => {
                    prop_assert!(facts.question.is_some() && rules.permission.is_none());
                    None
                }
            };
            match (act, alarm) {
                (Some((at, what)), alarm) if alarm.is_none_or(|alarm| at <= alarm) => {
                    now = at;
                    facts.progress = now;
                    match what {
                        0 => {}
                        1 => facts.tool = if facts.tool.is_some() { None } else { Some(now) },
                        _ => facts.question = if facts.question.is_some() { None } else { Some(now) },
                    }
                    act = coming.next().map(|(wait, what)| (at + mins(wait), what));
                }
                (_, Some(alarm)) => now = alarm,
                (_, None) => break,
            }
        }
    }
}
