//! Tasks and turns: accepted once, ended once, held and released, settled after a crash.

use super::*;
use hob_actors::ports::{Ended, PermissionAsk, PermissionPolicy, TaskCard, TurnRef};

#[tokio::test]
async fn a_request_id_runs_once_whatever_comes_again() {
    let mut stage = Stage::set().await;
    let with_id = |prompt: &str| NewTask { request: Some(asked(Owner::Person)), ..prompt_to("c", prompt) };
    // Both in line before either is answered.
    let (first, second) = (stage.store.submit(with_id("one")), stage.store.submit(with_id("two")));
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert!(first.fresh && !second.fresh);
    assert_eq!((second.task.id.as_str(), second.task.prompt.as_str()), (first.task.id.as_str(), "one"));
    stage.reopen().await;
    let third = stage.store.submit(with_id("three")).await.unwrap();
    assert_eq!((third.fresh, third.card.task.as_str()), (false, first.task.id.as_str()));
    assert_eq!(stage.store.tasks(TaskFilter::default()).await.unwrap().len(), 1);
    assert_eq!(stage.told_of(&first.card.task).await, ["task_state queued"]);
}

fn asked(owner: Owner) -> Request {
    Request { owner, id: "r".to_owned() }
}

#[tokio::test]
async fn the_same_request_id_of_another_owner_is_another_request() {
    let stage = Stage::set().await;
    let family = |root: &str| Owner::Family(root.to_owned());
    let owners = [family("t-1"), Owner::Person, family("t-2")];
    let mut made = Vec::new();
    for owner in &owners {
        let new = NewTask { request: Some(asked(owner.clone())), ..prompt_to("c", "x") };
        made.push(stage.store.submit(new).await.unwrap());
    }
    assert!(made.iter().all(|made| made.fresh));
    for (owner, made) in owners.into_iter().zip(made) {
        let found = stage.store.task_of_request(&asked(owner.clone())).await.unwrap().unwrap();
        assert_eq!(found.id, made.task.id, "{owner:?}");
    }
    assert!(stage.store.task_of_request(&asked(family("t-3"))).await.unwrap().is_none());
}

#[tokio::test]
async fn a_task_is_refused_without_an_open_chat_and_leaves_no_trace() {
    let stage = Stage::set().await;
    let before = stage.journal().await.len();
    assert!(matches!(
        stage.store.submit(prompt_to("nowhere", "x")).await,
        Err(StoreError::NotFound { what: "chat", .. })
    ));
    stage.store.close_chat("c").await.unwrap();
    assert!(matches!(stage.store.submit(prompt_to("c", "x")).await, Err(StoreError::Conflict(_))));
    assert_eq!(stage.journal().await.len(), before);
    assert!(stage.store.open_tasks().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_card_carries_what_the_tree_needs_in_order_of_acceptance() {
    let stage = Stage::set().await;
    let new = NewTask { permissions: Some(PermissionPolicy::Allow), no_wait: true, ..prompt_to("c", "one") };
    let first = stage.store.submit(new).await.unwrap().card;
    let second = stage.store.submit(prompt_to("c", "two")).await.unwrap().card;
    assert!(first.order < second.order);
    // Read again, it is a later copy of the same.
    assert!(first.as_of < second.as_of);
    let first = TaskCard { as_of: second.as_of, ..first };
    assert_eq!((first.permissions, first.no_wait), (Some(PermissionPolicy::Allow), true));
    assert_eq!((first.key.clone(), first.session.as_str(), &*first.prompt), (key(), "s", "one"));
    assert_eq!(stage.store.task(first.task.clone()).await.unwrap(), Some(first.clone()));
    assert_eq!(stage.store.open_tasks().await.unwrap(), [first, second]);
}

#[tokio::test]
async fn only_a_queued_task_is_dispatched_and_only_a_dispatched_one_started() {
    let stage = Stage::set().await;
    let task = stage.submit("x").await;
    assert!(stage.store.start_turn(task.clone(), Generation(1), Context::Fresh, Route::Warm).await.is_err());
    assert!(stage.store.dispatch_task(task.clone(), Generation(1)).await.unwrap());
    assert!(!stage.store.dispatch_task(task.clone(), Generation(2)).await.unwrap());
    assert!(stage.store.start_turn(task.clone(), Generation(2), Context::Fresh, Route::Warm).await.is_err());
    let turn =
        stage.store.start_turn(task.clone(), Generation(1), Context::Loaded, Route::Warm).await.unwrap();
    let turn = turn.expect("the task is open");
    let row = stage.task(&task).await;
    assert_eq!((row.state.as_str(), row.turn.as_deref()), ("running", Some(turn.as_str())));
    assert_eq!(row.turns.unwrap()[0].context.as_deref(), Some("loaded"));
}

#[tokio::test]
async fn a_turn_ends_once_and_tells_of_it_once() {
    let stage = Stage::set().await;
    let (task, turn) = stage.running("x").await;
    let stale = TurnEnd { generation: Generation(9), ..ending(&task, &turn, Outcome::Failed) };
    for wrong in [stale, ending(&task, &TurnId::from("u-other"), Outcome::Failed)] {
        let refused = stage.store.end_turn(wrong).await.unwrap_err();
        assert!(refused.chain().contains(turn.as_str()), "{}", refused.chain());
    }
    assert_eq!(stage.task(&task).await.state, "running");
    let (one, two) = (
        stage.store.end_turn(ending(&task, &turn, Outcome::Completed)),
        stage.store.end_turn(ending(&task, &turn, Outcome::Interrupted)),
    );
    assert_eq!((one.await.unwrap(), two.await.unwrap()), (Ended::Now, Ended::Before));
    let late = stage.store.end_task(task.clone(), Outcome::Failed, "late".to_owned()).await.unwrap();
    assert_eq!(late, Ended::Before);
    let row = stage.task(&task).await;
    assert_eq!(
        (row.state.as_str(), row.text.as_deref(), row.usage.input),
        ("completed", Some("done"), Some(3))
    );
    assert_eq!(row.outcome.unwrap().stop_reason.as_deref(), Some("end_turn"));
    let told = stage.told_of(&task).await;
    assert_eq!(told.iter().filter(|word| *word == "turn_ended").count(), 1);
    assert_eq!(told.last().unwrap(), "task_state completed");
}

#[tokio::test]
async fn an_end_that_fits_no_turn_is_refused_and_none_is_opened_for_a_task_that_is_over() {
    let stage = Stage::set().await;
    let task = stage.submit("x").await;
    let none = stage.store.end_turn(ending(&task, &TurnId::from("u-1"), Outcome::Completed)).await;
    assert!(none.unwrap_err().chain().contains("has no open turn"));
    assert!(stage.store.dispatch_task(task.clone(), Generation(1)).await.unwrap());
    // Its chat is closed between the dispatch and the turn.
    stage.store.close_chat("c").await.unwrap();
    let turn =
        stage.store.start_turn(task.clone(), Generation(1), Context::Fresh, Route::Warm).await.unwrap();
    assert_eq!(turn, None);
    assert_eq!(stage.task(&task).await.state, "cancelled");
    let late = stage.store.end_turn(ending(&task, &TurnId::from("u-1"), Outcome::Completed)).await.unwrap();
    assert_eq!(late, Ended::Before);
}

#[tokio::test]
async fn ending_a_task_ends_its_open_turn_with_the_same_outcome() {
    let stage = Stage::set().await;
    let (task, _) = stage.running("x").await;
    let reason = "the agent died".to_owned();
    let ended = stage.store.end_task(task.clone(), Outcome::Interrupted, reason).await.unwrap();
    assert_eq!(ended, Ended::Now);
    let row = stage.task(&task).await;
    let turn = &row.turns.unwrap()[0];
    assert_eq!((row.state.as_str(), turn.outcome.as_deref()), ("interrupted", Some("interrupted")));
    assert_eq!(turn.error.as_deref(), Some("the agent died"));
    assert!(
        stage.told_of(&task).await.ends_with(&["turn_ended".to_owned(), "task_state interrupted".to_owned()])
    );

    let queued = stage.submit("y").await;
    let no = stage.store.end_task(queued.clone(), Outcome::Cancelled, "no".to_owned());
    assert_eq!(no.await.unwrap(), Ended::Now);
    assert_eq!(stage.told_of(&queued).await, ["task_state queued", "task_state cancelled"]);
    let unknown = stage.store.end_task("t-none".into(), Outcome::Failed, String::new()).await;
    assert!(unknown.unwrap_err().source.to_string().contains("t-none"));
}

#[tokio::test]
async fn a_word_on_a_chat_is_later_than_every_copy_from_before_it() {
    let stage = Stage::set().await;
    let before = stage.store.submit(prompt_to("c", "one")).await.unwrap().card;
    let held = stage.store.set_held("c".into(), true).await.unwrap();
    let read = stage.store.task(before.task.clone()).await.unwrap().unwrap();
    assert!(before.as_of < held && held <= read.as_of, "{} {held} {}", before.as_of, read.as_of);
    let released = stage.store.set_held("c".into(), false).await.unwrap();
    assert!(read.as_of < released);
    // It moves nothing now, and what comes then is later all the same.
    let empty = stage.store.set_held("other".into(), true).await;
    assert!(empty.is_err(), "no such chat");
    let after = stage.store.submit(prompt_to("c", "two")).await.unwrap().card;
    assert!(released < after.as_of);
}

#[tokio::test]
async fn a_held_chat_holds_what_waits_and_what_comes_and_gives_it_back() {
    let stage = Stage::set().await;
    let (running, _) = stage.running("running").await;
    let waiting = stage.submit("waiting").await;
    stage.store.set_held("c".into(), true).await.unwrap();
    let later = stage.submit("later").await;
    let state = async |task: &TaskId| stage.task(task).await.state;
    assert_eq!(
        (state(&running).await, state(&waiting).await, state(&later).await),
        ("running".into(), "held".into(), "held".into())
    );
    assert!(!stage.store.dispatch_task(later.clone(), Generation(1)).await.unwrap());
    assert!(stage.store.chat("c").await.unwrap().unwrap().held);
    stage.store.set_held("c".into(), false).await.unwrap();
    assert_eq!((state(&waiting).await, state(&later).await), ("queued".into(), "queued".into()));
    assert_eq!(stage.told_of(&later).await, ["task_state held", "task_state queued"]);
    assert_eq!(stage.told_of(&running).await.len(), 4);
}

fn turn_ref(turn: &TurnId, task: &TaskId) -> TurnRef {
    TurnRef { turn: turn.clone(), task: task.clone(), key: key(), generation: Generation(1) }
}

fn question() -> PermissionAsk {
    let option = hob_actors::event::PermissionOption {
        id: "yes".into(),
        name: "Yes".into(),
        kind: "allow_once".into(),
    };
    PermissionAsk {
        title: "write a file".to_owned(),
        kind: "edit".to_owned(),
        options: vec![option],
        call: Some("call-1".to_owned()),
        input: Some(hob_actors::event::Json::from_valid(r#"{"path":"a"}"#)),
        content: None,
    }
}

#[tokio::test]
async fn a_question_is_answered_once_and_expires_with_its_turn() {
    let stage = Stage::set().await;
    let (task, turn) = stage.running("x").await;
    let ask = async || stage.store.ask_permission(turn_ref(&turn, &task), question()).await;
    let (first, second) = (ask().await.unwrap().id, ask().await.unwrap().id);
    assert!(
        stage
            .store
            .resolve_permission(first.clone(), Some("yes".to_owned()), "cli".to_owned())
            .await
            .unwrap()
    );
    assert!(!stage.store.resolve_permission(first.clone(), None, "late".to_owned()).await.unwrap());
    let row = stage.store.permission(first.as_str()).await.unwrap().unwrap();
    assert_eq!(
        (row.state.as_str(), row.option.as_deref(), row.by.as_deref()),
        ("answered", Some("yes"), Some("cli"))
    );
    assert_eq!((row.input.unwrap().0.get(), row.options[0].kind.as_str()), (r#"{"path":"a"}"#, "allow_once"));
    assert_eq!(stage.store.permissions(Some("c"), Some("pending")).await.unwrap().len(), 1);

    stage.store.end_turn(ending(&task, &turn, Outcome::Completed)).await.unwrap();
    assert_eq!(stage.store.permission(second.as_str()).await.unwrap().unwrap().state, "expired");
    assert!(
        !stage.store.resolve_permission(second, Some("yes".to_owned()), "late".to_owned()).await.unwrap()
    );
    assert!(ask().await.is_err());
    let told = stage.told_of(&task).await;
    let from = told.len() - 3;
    assert_eq!(told[from..], ["permission_resolved", "turn_ended", "task_state completed"]);
}

#[tokio::test]
async fn a_start_accounts_for_every_task_exactly_once() {
    let mut stage = Stage::set().await;
    let (done, turn) = stage.running("done").await;
    stage.store.end_turn(ending(&done, &turn, Outcome::Completed)).await.unwrap();
    stage.store.begin_generation(key()).await.unwrap();
    let (running, turn) = stage.running("running").await;
    stage.store.ask_permission(turn_ref(&turn, &running), question()).await.unwrap();
    let dispatched = stage.submit("dispatched").await;
    stage.store.dispatch_task(dispatched.clone(), Generation(1)).await.unwrap();
    let queued = stage.submit("queued").await;
    begin(&stage.store, &worktree("w-half")).await.unwrap();

    stage.reopen().await;
    let settled = stage.store.settle("the daemon ended").await.unwrap();
    assert_eq!(settled, Settled { tasks: 2, turns: 1, permissions: 1, agents: 1, worktrees: 1 });
    assert_eq!(stage.store.settle("again").await.unwrap(), Settled::default());

    for (task, state) in
        [(&done, "completed"), (&running, "interrupted"), (&dispatched, "interrupted"), (&queued, "queued")]
    {
        assert_eq!(stage.task(task).await.state, state);
    }
    let told = stage.told_of(&running).await;
    assert_eq!(told[told.len() - 3..], ["permission_resolved", "turn_ended", "task_state interrupted"]);
    assert_eq!(stage.told_of(&dispatched).await.last().unwrap(), "task_state interrupted");
    assert_eq!(stage.store.permissions(None, Some("stale")).await.unwrap().len(), 1);
    assert_eq!(stage.store.agent_session("c", "demo").await.unwrap().unwrap().status, "crashed");
    assert_eq!(stage.store.worktree("w-half").await.unwrap().unwrap().state, "orphaned");
    assert_eq!(stage.store.open_tasks().await.unwrap()[0].task, queued);
}

#[tokio::test]
async fn tasks_are_listed_newest_first_by_what_is_asked_for() {
    let stage = Stage::set().await;
    let first = stage.submit("1").await;
    let second = stage.submit("2").await;
    let third = stage.submit("3").await;
    stage.store.end_task(second.clone(), Outcome::Cancelled, "x".to_owned()).await.unwrap();
    let list = async |filter: TaskFilter| -> Vec<TaskId> {
        stage.store.tasks(filter).await.unwrap().into_iter().map(|row| row.id.into()).collect()
    };
    assert_eq!(
        list(TaskFilter { limit: Some(2), ..TaskFilter::default() }).await,
        [third.clone(), second.clone()]
    );
    let before =
        TaskFilter { before: Some(third.to_string()), session: Some("s".into()), ..TaskFilter::default() };
    assert_eq!(list(before).await, [second.clone(), first.clone()]);
    let queued = TaskFilter { state: Some("queued".into()), chat: Some("c".into()), ..TaskFilter::default() };
    assert_eq!(list(queued).await, [third, first]);
}

#[tokio::test]
async fn an_id_is_found_by_its_beginning() {
    let stage = Stage::set().await;
    for id in ["ab", "abc", "abd", "b"] {
        stage.chat(id).await;
    }
    let find = async |prefix: &str| stage.store.find_prefix(Kind::Chat, prefix).await.unwrap();
    assert_eq!(find("a").await, ["ab", "abc", "abd"]);
    assert_eq!(find("ab").await, ["ab"]);
    assert_eq!(find("b").await, ["b"]);
    assert!(find("x%").await.is_empty());
    assert_eq!(find("").await.len(), 5);
}

#[tokio::test]
async fn what_was_spent_is_added_up_and_what_nobody_told_is_null() {
    let stage = Stage::set().await;
    assert_eq!(stage.store.chat_usage("c").await.unwrap().input, None);
    for _ in 0..2 {
        let (task, turn) = stage.running("x").await;
        let mut end = ending(&task, &turn, Outcome::Completed);
        end.usage.context_used = Some(100);
        stage.store.end_turn(end).await.unwrap();
    }
    let usage = stage.store.agent_usage("c", "demo").await.unwrap();
    assert_eq!(
        (usage.input, usage.output, usage.cost, usage.context_used),
        (Some(6), None, Some(1.0), Some(100))
    );
    assert_eq!(usage.currency.as_deref(), Some("USD"));
    let session = stage.store.session("s").await.unwrap().unwrap().usage;
    assert_eq!((session.input, session.context_used), (Some(6), None));
    assert_eq!(stage.store.agent_usage("c", "other").await.unwrap().input, None);
}
