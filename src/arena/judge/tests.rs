//! What holds of arenas, as tables, and what no history of one may break.

use proptest::prelude::*;

use super::*;
use crate::control::wire::{Moment, UsageRow};

fn names(agents: &[&str]) -> Vec<String> {
    agents.iter().map(|agent| (*agent).to_owned()).collect()
}

fn task(state: &str, turn: Option<&str>) -> TaskRow {
    TaskRow {
        id: "t-1".into(),
        chat: "c-1".into(),
        session: "s-1".into(),
        agent: "a".into(),
        state: state.into(),
        waiting: None,
        backend: None,
        source: "arena".into(),
        prompt: "do it".into(),
        request_id: None,
        parent: None,
        created_at: Moment(0),
        started_at: None,
        ended_at: None,
        turn: turn.map(str::to_owned),
        context_lost: None,
        rejected: 0,
        outcome: None,
        text: None,
        usage: UsageRow::default(),
        turns: None,
    }
}

fn passed() -> StoredCheck {
    StoredCheck { outcome: "passed".into(), exit_code: Some(0), output: String::new(), ended_at: Moment(9) }
}

fn entry(agent: &str, state: &str) -> StoredEntry {
    StoredEntry {
        agent: agent.into(),
        session: Some(format!("s-{agent}")),
        worktree: None,
        task: Some(task(state, Some("u-1"))),
        won: false,
        check_started_at: None,
        check_leader: None,
        check: None,
        figures: None,
    }
}

fn arena(entries: Vec<StoredEntry>) -> StoredArena {
    StoredArena {
        id: "a-1".into(),
        request_id: None,
        repo: "/r".into(),
        base_commit: None,
        prompt: "do it".into(),
        carry_changes: false,
        check: None,
        state: "open".into(),
        parent: None,
        created_at: Moment(0),
        closed_at: None,
        entries,
    }
}

#[test]
fn two_agents_or_more_compete_and_each_once() {
    let many: Vec<String> = (0..=ENTRIES_MAX).map(|n| n.to_string()).collect();
    let cases = [
        (names(&[]), Err(Unfit::TooFew(0))),
        (names(&["a"]), Err(Unfit::TooFew(1))),
        (names(&["a", "b"]), Ok(())),
        (names(&["a", "b", "a"]), Err(Unfit::Twice("a".into()))),
        (many[..ENTRIES_MAX].to_vec(), Ok(())),
        (many, Err(Unfit::TooMany(ENTRIES_MAX + 1))),
    ];
    for (agents, wanted) in cases {
        assert_eq!(entrants(&agents), wanted, "{agents:?}");
    }
}

#[test]
fn only_trees_that_are_known_and_equal_are_one_baseline() {
    let cases = [
        (vec![Some("x"), Some("x"), Some("x")], true),
        (vec![Some("x"), Some("y")], false),
        (vec![Some("x"), None], false),
        (vec![None, None], false),
        (vec![], false),
    ];
    for (trees, wanted) in cases {
        assert_eq!(is_one_baseline(trees.clone()), wanted, "{trees:?}");
    }
}

#[test]
fn a_check_is_due_once_a_turn_has_ended_that_nobody_cancelled() {
    let turn = Some("u-1");
    let cases = [
        ("queued", None, Check::Waiting),
        ("held", None, Check::Waiting),
        ("dispatched", None, Check::Waiting),
        ("running", turn, Check::Waiting),
        ("completed", turn, Check::Due),
        ("failed", turn, Check::Due),
        ("interrupted", turn, Check::Due),
        ("failed", None, Check::Skipped),
        ("interrupted", None, Check::Skipped),
        ("cancelled", None, Check::Skipped),
        ("cancelled", turn, Check::Skipped),
    ];
    for (state, turn, wanted) in cases {
        assert_eq!(check(Some(&task(state, turn)), None), wanted, "{state} {turn:?}");
        assert_eq!(check(Some(&task(state, turn)), Some(&passed())), Check::Recorded, "{state}");
    }
    assert_eq!(check(None, None), Check::Skipped);
}

#[test]
fn an_entry_is_adopted_when_all_are_done_and_nothing_is_decided() {
    let open = arena(vec![entry("a", "completed"), entry("b", "failed")]);
    assert_eq!(may_adopt(&open, "a").map(|entry| &*entry.agent), Ok("a"));
    assert_eq!(may_adopt(&open, "c"), Err(Unadopted::NoEntry("c".into())));

    let at_work = arena(vec![entry("a", "completed"), entry("b", "running")]);
    let wanted = Unadopted::AtWork { agent: "b".into(), state: "running".into() };
    assert_eq!(may_adopt(&at_work, "a"), Err(wanted));

    let mut checked = open.clone();
    checked.check = Some("true".into());
    checked.entries[0].check = Some(passed());
    assert_eq!(may_adopt(&checked, "a"), Err(Unadopted::Checking("b".into())));
    checked.entries[1].check = Some(passed());
    assert!(may_adopt(&checked, "a").is_ok());

    let mut decided = open.clone();
    decided.state = "adopted".into();
    decided.entries[1].won = true;
    assert_eq!(may_adopt(&decided, "a"), Err(Unadopted::Decided("b".into())));

    let mut gone = open;
    (gone.entries[0].session, gone.entries[0].task) = (None, None);
    assert_eq!(may_adopt(&gone, "a"), Err(Unadopted::Gone("a".into())));
    assert!(may_adopt(&gone, "b").is_ok(), "the others can still be adopted");
}

proptest! {
    /// Nothing is adopted while anybody works or is judged, nor after a decision.
    #[test]
    fn nothing_is_adopted_too_early_or_twice(
        states in proptest::collection::vec(
            prop::sample::select(vec!["queued", "running", "completed", "failed", "cancelled"]), 2..6),
        is_open in any::<bool>(),
        with_check in any::<bool>(),
        n_checked in 0_usize..6,
    ) {
        let mut entries: Vec<_> =
            states.iter().enumerate().map(|(at, state)| entry(&at.to_string(), state)).collect();
        for entry in entries.iter_mut().take(n_checked) {
            entry.check = Some(passed());
        }
        let mut arena = arena(entries);
        arena.check = with_check.then(|| "true".to_owned());
        arena.state = if is_open { "open".into() } else { "adopted".into() };
        if may_adopt(&arena, "0").is_ok() {
            prop_assert!(is_open);
            for entry in &arena.entries {
                let task = entry.task.as_ref().expect("has one");
                prop_assert!(is_terminal(&task.state) || entry.check.is_some());
                let judged = entry.check.is_some() || task.state == "cancelled";
                prop_assert!(!with_check || judged);
            }
        }
    }
}
