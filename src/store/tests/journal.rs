//! The journal: order, numbers, pages, shape.

use hob_actors::event::{Exit, Json, Level, PlanEntry, ToolCall, ToolUpdate};
use serde_json::json;

use super::*;
use crate::control::wire::Moment;

#[tokio::test]
async fn the_end_of_a_turn_is_behind_everything_that_was_appended_before_it() {
    let stage = Stage::set().await;
    let (task, turn) = stage.running("go").await;
    let scope = scope_of(&task, &turn);
    for n in 0..3000 {
        stage.store.append(text(&scope, &n.to_string()), Permit::free());
    }
    // In line when called: the answer is awaited only after another event was appended.
    let end = stage.store.end_turn(ending(&task, &turn, Outcome::Completed));
    stage.store.append(text(&scope, "late"), Permit::free());
    assert_eq!(end.await.unwrap(), hob_actors::ports::Ended::Now);
    stage.store.open_tasks().await.unwrap();

    let told = stage.told_of(&task).await;
    let streamed: Vec<_> =
        stage.journal().await.into_iter().filter(|event| event["type"] == "text").collect();
    assert!((0..3000).all(|n| streamed[n]["text"].as_str() == Some(&n.to_string())));
    assert_eq!(told.len(), 4 + 3000 + 2 + 1);
    assert_eq!(
        told[..4],
        ["task_state queued", "task_state dispatched", "task_state running", "turn_started"]
    );
    assert_eq!(told[3004..], ["turn_ended", "task_state completed", "text"]);
}

#[tokio::test]
async fn numbers_rise_over_restarts_and_none_is_given_twice() {
    let mut stage = Stage::set().await;
    let scope = Arc::new(Scope::default());
    let mut last = 0;
    for _ in 0..3 {
        stage.store.append(text(&scope, "tail"), Permit::free());
        stage.store.open_tasks().await.unwrap();
        let newest = *stage.store.head().borrow();
        assert!(newest > last);
        last = newest;
        stage.store.close().await.unwrap();
        // What power loss may do: cut the tail that was only written.
        peek(&stage.path()).execute("DELETE FROM events WHERE type = 'text'", []).unwrap();
        stage.reopen_closed();
    }
    let events = stage.journal().await;
    let numbers: Vec<i64> = events.iter().map(|event| event["seq"].as_i64().unwrap()).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b));
}

impl Stage {
    fn reopen_closed(&mut self) {
        self.store = Store::open(&self.path()).unwrap();
    }
}

#[tokio::test]
async fn a_number_is_reserved_on_the_disk_before_it_is_shown() {
    let stage = Stage::set().await;
    let conn = peek(&stage.path());
    let scope = Arc::new(Scope::default());
    for _ in 0..40_000 {
        stage.store.append(text(&scope, "x"), Permit::free());
    }
    let mut head = stage.store.head();
    while *head.borrow_and_update() < 40_000 {
        let shown = *head.borrow();
        let reserved: i64 = conn
            .query_row("SELECT value FROM meta WHERE key = 'events_reserved'", [], |row| row.get(0))
            .unwrap();
        assert!(shown <= reserved, "{shown} was shown and only {reserved} reserved");
        head.changed().await.unwrap();
    }
}

#[tokio::test]
async fn a_subscriber_never_sees_a_head_that_is_not_committed() {
    let stage = Stage::set().await;
    let conn = peek(&stage.path());
    let scope = Arc::new(Scope::default());
    let mut head = stage.store.head();
    let first = *head.borrow_and_update();
    for _ in 0..5000 {
        stage.store.append(text(&scope, "x"), Permit::free());
    }
    loop {
        head.changed().await.unwrap();
        let shown = *head.borrow_and_update();
        let committed: i64 = conn.query_row("SELECT max(seq) FROM events", [], |row| row.get(0)).unwrap();
        assert!(shown <= committed, "{shown} was shown and only {committed} committed");
        if shown >= first + 5000 {
            break;
        }
    }
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_duplicate() {
    let stage = Stage::set().await;
    let scope = Arc::new(Scope::default());
    for n in 0..250 {
        stage.store.append(text(&scope, &n.to_string()), Permit::free());
    }
    stage.store.open_tasks().await.unwrap();
    let (mut after, mut seen) = (0, Vec::new());
    loop {
        let page = stage.store.events(EventFilter::default(), after, 100).await.unwrap();
        assert!(page.events.len() <= 100);
        seen.extend(page.events.iter().map(|event| event.seq));
        after = page.scanned_to;
        if after == page.head {
            break;
        }
    }
    let everything = stage.journal().await;
    assert_eq!(seen.len(), everything.len());
    assert!(seen.is_sorted_by(|a, b| a < b));
    let rest = stage.store.events(EventFilter::default(), after, 100).await.unwrap();
    assert_eq!((rest.events.len(), rest.scanned_to, rest.oldest_kept), (0, after, 1));
}

#[tokio::test]
async fn a_filter_passes_what_was_asked_for_and_its_cursor_passes_the_rest() {
    let stage = Stage::set().await;
    stage.chat("d").await;
    let mine = stage.submit("mine").await;
    let theirs: TaskId = stage.store.submit(prompt_to("d", "theirs")).await.unwrap().task.id.into();
    stage.store.end_task(mine.clone(), Outcome::Cancelled, "enough".to_owned()).await.unwrap();

    let of_chat = EventFilter { chat: Some("d".to_owned()), ..EventFilter::default() };
    let page = stage.store.events(of_chat.clone(), 0, 10).await.unwrap();
    assert_eq!((page.events.len(), page.scanned_to), (1, page.head));
    assert_eq!(stage.events(of_chat).await[0]["task"], theirs.as_str());

    assert_eq!(stage.told_of(&mine).await, ["task_state queued", "task_state cancelled"]);
    let types = |types: &[&str]| Some(types.iter().map(|&word| word.to_owned()).collect());
    let of_types = EventFilter { types: types(&["worktree_state", "nonsense"]), ..EventFilter::default() };
    assert_eq!(stage.events(of_types).await.len(), 1);
    let both = EventFilter {
        session: Some("s".to_owned()),
        agent: Some("demo".to_owned()),
        types: types(&["task_state"]),
        ..EventFilter::default()
    };
    assert_eq!(stage.events(both).await.len(), 3);
    let nobody = EventFilter { session: Some("nobody".to_owned()), ..EventFilter::default() };
    assert_eq!(stage.events(nobody).await.len(), 0);
}

#[tokio::test]
async fn an_event_is_shown_with_its_common_fields_and_its_own() {
    let stage = Stage::set().await;
    let (task, turn) = stage.running("say \"hi\"\n").await;
    let scope = scope_of(&task, &turn);
    stage.store.append(
        NewEvent {
            scope,
            event: Event::Text { text: "\u{1F980} \"quoted\"\n".to_owned(), message: Some("m".to_owned()) },
        },
        Permit::free(),
    );
    stage.store.open_tasks().await.unwrap();
    let event = stage.journal().await.pop().unwrap();
    let expected = json!({
        "seq": event["seq"], "at": event["at"], "session": "s", "chat": "c", "agent": "demo", "generation": 1,
        "task": task.as_str(), "turn": turn.as_str(), "type": "text", "text": "\u{1F980} \"quoted\"\n", "message": "m",
    });
    assert_eq!(event, expected);
    let at = event["at"].as_str().unwrap();
    assert!(at.len() == "2026-01-01T00:00:00.000Z".len() && at.ends_with('Z'), "{at}");
}

/// The fields that only this type has.
fn payload_of(event: &Event) -> serde_json::Value {
    let mut out = b"left over".to_vec();
    payload::write(event, &mut out).unwrap();
    serde_json::from_slice(&out).unwrap()
}

#[test]
fn every_type_of_event_has_the_fields_of_the_contract() {
    let raw = |text: &str| Json::from_valid(text);
    let call = ToolCall {
        call: "1".into(),
        title: "t".into(),
        kind: "edit".into(),
        status: "pending".into(),
        ..ToolCall::default()
    };
    let update = ToolUpdate {
        call: "1".into(),
        locations: Some(raw(r#"[{"path":"/a"}]"#)),
        input: Some(raw("{}")),
        output: Some(raw(r#"{"a":[1]}"#)),
        ..ToolUpdate::default()
    };
    let plan = PlanEntry { content: "c".into(), status: "pending".into(), priority: "high".into() };
    let exit = Exit { code: None, signal: Some(9), stderr_tail: "boom".into() };
    let table = [
        (
            Event::ToolCall(ToolCall { input: Some(raw("[1]")), ..call }),
            json!({"call": "1", "title": "t", "kind": "edit", "status": "pending", "locations": [], "input": [1]}),
        ),
        (
            Event::ToolUpdate(update),
            json!({"call": "1", "status": null, "locations": [{"path": "/a"}], "input": {}, "output": {"a": [1]}}),
        ),
        (
            Event::Plan { entries: vec![plan] },
            json!({"entries": [{"content": "c", "status": "pending", "priority": "high"}]}),
        ),
        (Event::Commands { commands: raw("[]") }, json!({"commands": []})),
        (
            Event::Mode { current: Some("auto".into()), available: None },
            json!({"current": "auto", "available": null}),
        ),
        (Event::Raw { update: raw(r#"{"x":1e400}"#) }, serde_json::Value::Null),
        (
            Event::AgentState {
                from: None,
                to: hob_actors::event::AgentStatus::Crashed,
                reason: None,
                pid: None,
                exit: Some(exit),
            },
            json!({"from": null, "to": "crashed", "exit":
                {"code": null, "signal": 9, "detail": "killed by SIGKILL", "stderr_tail": "boom"}}),
        ),
        (Event::ContextReset { reason: "r".into() }, json!({"reason": "r"})),
        (Event::Notice { level: Level::Warning, text: "t".into() }, json!({"level": "warning", "text": "t"})),
        (
            Event::WorktreeState { worktree: "w-1".into(), from: None, to: "active", reasons: vec![] },
            json!({"worktree": "w-1", "from": null, "to": "active"}),
        ),
        (
            Event::Usage(Usage { input: Some(1), ..Usage::default() }),
            json!({"input": 1, "output": null, "reasoning": null, "cached_read": null, "cached_write": null,
                "context_used": null, "context_size": null, "cost": null, "currency": null}),
        ),
    ];
    for (event, expected) in table {
        if let Event::Raw { .. } = event {
            // A value that no parser of ours could hold comes through as it was.
            let mut out = Vec::new();
            payload::write(&event, &mut out).unwrap();
            assert_eq!(out, br#"{"update":{"x":1e400}}"#);
        } else {
            assert_eq!(payload_of(&event), expected, "{event:?}");
        }
    }
}

/// Forgets everything that may go now; how many events that were.
async fn forget_all(stage: &Stage) -> u64 {
    let later = Moment(Moment::now().0 + 60_000);
    let (mut n, mut after) = (0, Some(0));
    while let Some(from) = after {
        let step = stage.store.forgettable_events(later, from).await.unwrap();
        n += stage.store.forget_events(later, step.events).await.unwrap();
        after = step.next;
    }
    n
}

#[tokio::test]
async fn retention_takes_no_event_that_may_still_be_asked_for() {
    let mut stage = Stage::set().await;
    let before = stage.store.events(EventFilter::default(), 0, 1000).await.unwrap();
    assert_eq!(forget_all(&stage).await, 0, "its chat is open");
    let chat = "c".to_owned();
    let first = stage.submit("first").await;
    stage.store.end_task(first.clone(), Outcome::Cancelled, "enough".to_owned()).await.unwrap();
    stage.store.close_session("s").await.unwrap();
    let worktrees = stage.store.worktrees(true).await.unwrap();
    if !worktrees.is_empty() {
        assert_eq!(forget_all(&stage).await, 0, "its files may be pending");
        for worktree in &worktrees {
            stage.store.worktree_purged(&worktree.id).await.unwrap();
        }
    }
    let n = forget_all(&stage).await;
    assert!(n > 0, "{before:?}");
    let old = Moment(0);
    assert_eq!(stage.store.forgettable_events(old, 0).await.unwrap().events, [0; 0]);
    stage.reopen().await;
    let page = stage
        .store
        .events(EventFilter { chat: Some(chat), ..EventFilter::default() }, 0, 1000)
        .await
        .unwrap();
    assert!(page.oldest_kept > 1 && page.head >= page.oldest_kept - 1, "{page:?}");
}

#[tokio::test]
async fn a_retention_is_told_once_before_it_takes_anything() {
    let stage = Stage::set().await;
    let tell = |ms| stage.store.tell_retention(ms, "it will go".to_owned());
    assert_eq!(
        [tell(1).await.unwrap(), tell(1).await.unwrap(), tell(2).await.unwrap()],
        [false, true, false]
    );
    let wanted = EventFilter { types: Some(vec!["notice".to_owned()]), ..EventFilter::default() };
    assert_eq!(stage.store.events(wanted, 0, 10).await.unwrap().events.len(), 2);
}
