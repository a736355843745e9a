//! How an agent session gets its conversation back: resume, else load, else a new one. Pure.
//!
//! ```text
//! saved id ─▶ resume ──ok──▶ resumed
//!               │ not offered, or any error
//!               ▼
//!             list ──not in it──────────────┐
//!               │ in it, not offered, error │
//!               ▼                           ▼
//!             load ──error, empty──▶ new (the context is lost, if there was any)
//!               │ ok
//!               ▼
//!             loaded
//! ```
//! A step that times out is no step here: the whole start fails then, and the saved id is kept.

use hob_actors::event::Context;

use super::errors::NOT_FOUND;
use crate::jsonrpc::message::METHOD_NOT_FOUND;

/// What is known before the first step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    /// There is a conversation to take up.
    pub(super) saved: bool,
    /// A turn was completed in it.
    pub(super) has_history: bool,
    /// `session/resume` is advertised.
    pub(super) resume: bool,
    /// `session/load` is advertised.
    pub(super) load: bool,
    /// `session/list` is advertised.
    pub(super) list: bool,
}

/// What to try next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Look whether the agent knows the saved id.
    List,
    /// `session/resume`.
    Resume,
    /// `session/load`.
    Load,
    /// `session/new`; with why the old context is lost, if there was one.
    New(Option<String>),
    /// There is a conversation.
    Done(Context),
}

/// How a step came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    /// Whether the saved id is in the agent's list.
    Listed(bool),
    /// The conversation was resumed.
    Resumed,
    /// The conversation was loaded, with this many pieces of replay.
    Loaded(u64),
    /// The step was refused: the code and the words.
    Refused(i64, String),
}

/// The first step.
pub(super) fn first(facts: Facts) -> Step {
    match facts {
        Facts { saved: false, .. } => Step::New(None),
        Facts { resume: true, .. } => Step::Resume,
        _ => before_load(facts, || "the agent can neither resume nor load a conversation".to_owned()),
    }
}

/// The step after `step`.
pub(super) fn next(facts: Facts, step: &Step, seen: Seen) -> Step {
    match (step, seen) {
        (Step::Resume, Seen::Resumed) => Step::Done(Context::Resumed),
        (Step::Resume, Seen::Refused(code, words)) => before_load(facts, || refused("resume", code, &words)),
        (Step::List, Seen::Listed(false)) => {
            lost(facts, || "the agent does not list the conversation any more".to_owned())
        }
        // A list that cannot be had is no reason not to try.
        (Step::List, _) => Step::Load,
        (Step::Load, Seen::Loaded(0)) if facts.has_history => {
            Step::New(Some("the agent loaded the conversation without anything in it".to_owned()))
        }
        (Step::Load, Seen::Loaded(0)) => Step::Done(Context::Fresh),
        (Step::Load, Seen::Loaded(_)) => Step::Done(Context::Loaded),
        (Step::Load, Seen::Refused(code, words)) => lost(facts, || refused("load", code, &words)),
        // Nothing else can come of these steps; a new conversation is always an answer.
        (step, _) => match step {
            Step::New(reason) => Step::New(reason.clone()),
            _ => lost(facts, || "the conversation could not be taken up".to_owned()),
        },
    }
}

fn before_load(facts: Facts, why_not: impl FnOnce() -> String) -> Step {
    match facts {
        Facts { load: false, .. } => lost(facts, why_not),
        Facts { list: true, .. } => Step::List,
        _ => Step::Load,
    }
}

/// Where no turn was ever completed nothing is lost, and nobody needs to be told.
fn lost(facts: Facts, why: impl FnOnce() -> String) -> Step {
    Step::New(facts.has_history.then(why))
}

fn refused(what: &str, code: i64, words: &str) -> String {
    match code {
        METHOD_NOT_FOUND => format!("the agent cannot {what} a conversation although it says so"),
        NOT_FOUND => format!("the agent does not know the conversation any more: {words}"),
        _ => format!("the agent could not {what} the conversation: {words}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOSE: Facts = Facts { saved: true, has_history: true, resume: false, load: true, list: true };
    const OPENCODE: Facts = Facts { resume: true, ..GOOSE };
    const QWEN: Facts = OPENCODE;

    fn refusal(code: i64) -> Seen {
        Seen::Refused(code, "no".into())
    }

    /// The steps that are taken when they come out like this.
    fn walk(facts: Facts, seen: &[Seen]) -> Vec<Step> {
        let mut steps = vec![first(facts)];
        for seen in seen {
            let step = next(facts, steps.last().unwrap(), seen.clone());
            steps.push(step);
        }
        steps
    }

    #[test]
    fn the_ladder_case_by_case() {
        use Seen::{Listed, Loaded, Resumed};
        use Step::{Done, List, Load, Resume};
        let fresh = Facts { saved: false, ..OPENCODE };
        let turnless = Facts { has_history: false, ..GOOSE };
        let blind = Facts { list: false, ..GOOSE };
        let cases: [(&str, Facts, &[Seen], &[Step]); 11] = [
            ("nothing saved", fresh, &[], &[Step::New(None)]),
            ("resumed", OPENCODE, &[Resumed], &[Resume, Done(Context::Resumed)]),
            (
                "advertised but unknown (qwen)",
                QWEN,
                &[refusal(-32601), Listed(true), Loaded(4)],
                &[Resume, List, Load, Done(Context::Loaded)],
            ),
            ("loaded (goose)", GOOSE, &[Listed(true), Loaded(2)], &[List, Load, Done(Context::Loaded)]),
            ("the list fails", GOOSE, &[refusal(-32603), Loaded(2)], &[List, Load, Done(Context::Loaded)]),
            ("no list", blind, &[Loaded(1)], &[Load, Done(Context::Loaded)]),
            ("no turn yet, not listed", turnless, &[Listed(false)], &[List, Step::New(None)]),
            (
                "no turn yet, loaded empty",
                turnless,
                &[Listed(true), Loaded(0)],
                &[List, Load, Done(Context::Fresh)],
            ),
            (
                "interrupted first turn",
                turnless,
                &[Listed(true), Loaded(1)],
                &[List, Load, Done(Context::Loaded)],
            ),
            (
                "new without history",
                turnless,
                &[Listed(true), refusal(-32002)],
                &[List, Load, Step::New(None)],
            ),
            (
                "resume, no load",
                Facts { load: false, has_history: false, ..OPENCODE },
                &[refusal(-32603)],
                &[Resume, Step::New(None)],
            ),
        ];
        for (name, facts, seen, steps) in cases {
            assert_eq!(walk(facts, seen), steps, "{name}");
        }
    }

    #[test]
    fn a_lost_context_says_why() {
        let cases: [(&str, Facts, &[Seen], &str); 5] = [
            ("silent loss", GOOSE, &[Seen::Listed(true), Seen::Loaded(0)], "without anything"),
            ("not listed", GOOSE, &[Seen::Listed(false)], "does not list"),
            ("not found", GOOSE, &[Seen::Listed(true), refusal(-32002)], "does not know"),
            ("failure", OPENCODE, &[refusal(-32002), Seen::Listed(true), refusal(-32603)], "could not load"),
            ("neither", Facts { load: false, ..GOOSE }, &[], "neither resume nor load"),
        ];
        for (name, facts, seen, words) in cases {
            let steps = walk(facts, seen);
            let Some(Step::New(Some(reason))) = steps.last() else { panic!("{name}: {steps:?}") };
            assert!(reason.contains(words), "{name}: {reason}");
        }
    }

    fn any_seen() -> impl Strategy<Value = Seen> {
        prop_oneof![
            any::<bool>().prop_map(Seen::Listed),
            Just(Seen::Resumed),
            (0u64..3).prop_map(Seen::Loaded),
            prop_oneof![Just(-32601i64), Just(-32002), Just(-32603)].prop_map(refusal),
        ]
    }

    proptest! {
        #[test]
        fn every_ladder_ends_within_three_steps_and_only_climbs_what_is_offered(
            flags in any::<[bool; 5]>(), seen in proptest::collection::vec(any_seen(), 3..4),
        ) {
            let [saved, has_history, resume, load, list] = flags;
            let facts = Facts { saved, has_history, resume, load, list };
            let mut step = first(facts);
            for seen in seen {
                match &step {
                    Step::New(_) | Step::Done(_) => break,
                    Step::Resume => prop_assert!(facts.resume && facts.saved),
                    Step::Load => prop_assert!(facts.load && facts.saved),
                    Step::List => prop_assert!(facts.list && facts.load),
                }
                step = next(facts, &step, seen);
            }
            prop_assert!(matches!(step, Step::New(_) | Step::Done(_)), "{step:?}");
            // A reason is given exactly where something was lost.
            if let Step::New(reason) = step {
                prop_assert_eq!(reason.is_some(), saved && has_history);
            }
        }
    }
}
