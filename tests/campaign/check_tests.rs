//! The checker reports each kind of violation when the facts are doctored, and nothing else.

use serde_json::{Value, json};

use super::super::facts::{Submit, Task};
use super::*;

const CHAT: &str = "c-1";

fn entry(seq: i64, mut event: Value) -> Entry {
    event["seq"] = json!(seq);
    event["chat"] = json!(if seq == 5 { "c-2" } else { CHAT });
    Entry::of(event)
}

/// A run in which everything is as it should be: one task that completed, with a question, and one
/// that was cancelled before it began.
fn good() -> Facts {
    let journal = vec![
        entry(1, json!({"type": "task_state", "task": "t-1", "to": "queued"})),
        entry(2, json!({"type": "turn_started", "task": "t-1", "turn": "u-1"})),
        entry(3, json!({"type": "turn_ended", "task": "t-1", "turn": "u-1", "outcome": "completed"})),
        entry(4, json!({"type": "task_state", "task": "t-1", "turn": "u-1", "to": "completed"})),
        entry(5, json!({"type": "task_state", "task": "t-2", "to": "queued"})),
        entry(9, json!({"type": "task_state", "task": "t-2", "to": "cancelled"})),
    ];
    let of_chat = journal.iter().filter(|entry| entry.text("chat") == CHAT).cloned().collect();
    let submit = |request: &str, task: &str| Submit {
        request: request.to_owned(),
        answers: vec![task.to_owned()],
        ..Submit::default()
    };
    let task = |id: &str, state: &str, request: &str| Task {
        id: id.to_owned(),
        state: state.to_owned(),
        prompt: format!("[{request}]\nsay: x"),
        error: String::new(),
    };
    let cancelled = Submit { cancelled: true, ..submit("r-1-2", "t-2") };
    Facts {
        submits: vec![submit("r-1-1", "t-1"), cancelled],
        tasks: vec![task("t-1", "completed", "r-1-1"), task("t-2", "cancelled", "r-1-2")],
        followers: vec![
            Followed { name: "all".into(), chat: None, seen: journal.clone() },
            Followed { name: "one".into(), chat: Some(CHAT.into()), seen: of_chat },
        ],
        journal,
        reached: vec!["[r-1-1]\nsay: x".into()],
        told_ends: vec![("t-1".into(), "completed".into())],
        told_answers: vec![("p-1".into(), "allow_once".into())],
        permissions: vec![("p-1".into(), "answered".into(), Some("allow_once".into()))],
        integrity: "ok".into(),
        ..Facts::default()
    }
}

/// What is found when one thing is otherwise.
fn doctored(change: impl FnOnce(&mut Facts)) -> Vec<Violation> {
    let mut facts = good();
    change(&mut facts);
    check(&facts)
}

fn names(found: &[Violation]) -> Vec<String> {
    let name = |violation: &Violation| {
        let words = violation.to_string();
        words.split(' ').next().unwrap_or_default().to_owned()
    };
    let mut names: Vec<String> = found.iter().map(name).collect();
    names.dedup();
    names
}

#[test]
fn nothing_is_wrong_with_a_good_run() {
    assert_eq!(check(&good()), []);
}

#[test]
fn a_prompt_says_which_request_it_is_of() {
    assert_eq!(request_of("[r-3-17]\nsay: x"), Some("r-3-17"));
    assert_eq!(request_of("\"[r-3-17] fault: well\""), Some("r-3-17"));
    assert_eq!(request_of("hello"), None);
}

#[test]
fn what_is_wrong_with_submits_is_found() {
    let lost = doctored(|facts| {
        facts.submits.push(Submit {
            request: "r-9-9".into(),
            answers: vec!["t-9".into()],
            ..Submit::default()
        });
    });
    assert_eq!(lost, [Violation::Lost { request: "r-9-9".into(), task: "t-9".into() }]);
    let unanswered =
        doctored(|facts| facts.submits.push(Submit { request: "r-9-9".into(), ..Submit::default() }));
    assert_eq!(unanswered, [], "who was never answered may have nothing");
    let tasks = vec!["t-1".to_owned(), "t-2".to_owned()];
    let doubled = Violation::Doubled { request: "r-1-1".into(), tasks };
    assert!(doctored(|facts| facts.tasks[1].prompt = "[r-1-1]".into()).contains(&doubled));
    assert_eq!(doctored(|facts| facts.submits[0].answers.push("t-2".into())), [doubled]);
}

#[test]
fn what_is_wrong_with_prompts_is_found() {
    let twice = doctored(|facts| facts.reached.push("again [r-1-1]".into()));
    assert_eq!(twice, [Violation::Repeated { request: "r-1-1".into(), n: 2 }]);
    let unrecorded = doctored(|facts| facts.reached.push("[r-7-7]".into()));
    assert_eq!(unrecorded, [Violation::Unrecorded { request: "r-7-7".into() }]);
}

/// Changes an event where the journal and all followers have it.
fn edit(facts: &mut Facts, seq: i64, change: impl Fn(&mut Value)) {
    let followed = facts.followers.iter_mut().flat_map(|follower| &mut follower.seen);
    for entry in facts.journal.iter_mut().chain(followed).filter(|entry| entry.seq == seq) {
        change(&mut entry.event);
    }
}

#[test]
fn what_is_wrong_with_ends_is_found() {
    let open = doctored(|facts| facts.tasks[1].state = "queued".into());
    assert_eq!(open, [Violation::Open { task: "t-2".into(), state: "queued".into() }]);
    let none = doctored(|facts| edit(facts, 9, |event| event["to"] = json!("held")));
    assert_eq!(none, [Violation::TaskEnds { task: "t-2".into(), n: 0 }]);
    let two = doctored(|facts| edit(facts, 5, |event| event["to"] = json!("failed")));
    assert_eq!(two, [Violation::TaskEnds { task: "t-2".into(), n: 2 }]);
    let other = doctored(|facts| edit(facts, 9, |event| event["task"] = json!("t-9")));
    assert_eq!(names(&other), ["TaskEnds"]);
    let differs = doctored(|facts| edit(facts, 9, |event| event["to"] = json!("failed")));
    let ends = vec!["cancelled".to_owned(), "failed".to_owned()];
    assert_eq!(differs, [Violation::EndsDiffer { task: "t-2".into(), ends }]);
    let turn = doctored(|facts| edit(facts, 3, |event| event["outcome"] = json!("failed")));
    assert_eq!(names(&turn), ["EndsDiffer"]);
    let endless = doctored(|facts| edit(facts, 3, |event| event["type"] = json!("text")));
    assert_eq!(endless, [Violation::TurnEnds { turn: "u-1".into(), n_starts: 1, n_ends: 0 }]);
    let again = doctored(|facts| edit(facts, 2, |event| event["type"] = json!("text")));
    assert_eq!(again, [Violation::TurnEnds { turn: "u-1".into(), n_starts: 0, n_ends: 1 }]);
}

#[test]
fn what_was_told_and_is_not_so_is_found() {
    let end = doctored(|facts| facts.told_ends[0].1 = "cancelled".into());
    assert_eq!(names(&end), ["Undone"]);
    let gone = doctored(|facts| facts.told_ends.push(("t-9".into(), "failed".into())));
    assert_eq!(names(&gone), ["Undone"]);
    let stale = doctored(|facts| facts.permissions[0].1 = "stale".into());
    assert_eq!(names(&stale), ["Undone"]);
    let option = doctored(|facts| facts.permissions[0].2 = Some("reject_once".into()));
    assert_eq!(names(&option), ["Undone"]);
}

#[test]
fn what_is_wrong_with_what_followers_saw_is_found() {
    let missed = doctored(|facts| _ = facts.followers[0].seen.remove(2));
    assert_eq!(missed, [Violation::Missed { follower: "all".into(), seq: 3 }]);
    let short = doctored(|facts| _ = facts.followers[1].seen.pop());
    assert_eq!(short, [Violation::Missed { follower: "one".into(), seq: 9 }]);
    let twice = doctored(|facts| {
        let again = facts.followers[0].seen[1].clone();
        facts.followers[0].seen.insert(3, again);
    });
    assert_eq!(twice, [Violation::OutOfOrder { follower: "all".into(), seq: 2 }]);
    let swapped = doctored(|facts| facts.followers[0].seen.swap(1, 2));
    assert_eq!(names(&swapped), ["Missed", "OutOfOrder"]);
    let other = doctored(|facts| facts.followers[0].seen[3].event["to"] = json!("failed"));
    assert_eq!(other, [Violation::Invented { follower: "all".into(), seq: 4 }]);
    let invented = doctored(|facts| facts.followers[1].seen.insert(4, entry(7, json!({"type": "text"}))));
    assert_eq!(invented, [Violation::Invented { follower: "one".into(), seq: 7 }]);
    let later = doctored(|facts| facts.followers[0].seen.push(entry(10, json!({"type": "text"}))));
    assert_eq!(later, [], "it came after the journal was read");
}

#[test]
fn what_is_wrong_with_the_rest_is_found() {
    assert_eq!(names(&doctored(|facts| facts.left.push("sleep".into()))), ["Left"]);
    assert_eq!(names(&doctored(|facts| facts.integrity = "row 1 missing".into())), ["Damaged"]);
    assert_eq!(names(&doctored(|facts| facts.complaints.push("refused".into()))), ["Complaint"]);
}

/// A task that ends badly for nothing.
fn disturb(facts: &mut Facts) {
    facts.tasks[1].state = "interrupted".into();
    edit(facts, 9, |event| event["to"] = json!("interrupted"));
}

#[test]
fn an_interruption_without_a_cause_is_found_and_one_with_a_cause_is_none() {
    assert_eq!(names(&doctored(disturb)), ["Disturbed"]);
    let asked_for = doctored(|facts| {
        disturb(facts);
        facts.submits[1].breaks = true;
    });
    assert_eq!(asked_for, []);
    let killed = doctored(|facts| {
        disturb(facts);
        facts.done.killed = true;
    });
    assert_eq!(names(&killed), ["Disturbed"], "not by the death of the daemon");
    let settled = doctored(|facts| {
        disturb(facts);
        facts.done.killed = true;
        facts.tasks[1].error = SETTLED.into();
    });
    assert_eq!(settled, []);
    assert_eq!(names(&doctored(|facts| facts.submits[1].cancelled = false)), ["Disturbed"]);
}
