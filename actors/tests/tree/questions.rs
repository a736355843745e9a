//! Questions of an agent: who answers them, and when.

use std::time::Duration;

use hob_actors::event::{PermissionOption, TaskState};
use hob_actors::fake::Script;
use hob_actors::id::AgentKey;
use hob_actors::ports::{PermissionAsk, PermissionPolicy, StandingAnswer};
use hob_actors::tree::{Answered, PermissionReply};

use crate::stage::{ended, stage, submit, until};

fn ask() -> PermissionAsk {
    let option =
        |kind: &str| PermissionOption { id: format!("id-{kind}"), name: kind.into(), kind: kind.into() };
    PermissionAsk {
        title: "rm -rf".into(),
        kind: "execute".into(),
        options: vec![option("allow_once"), option("reject_once")],
        call: None,
        input: None,
        content: None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_question_waits_for_its_watcher_and_the_first_answer_wins() {
    let script =
        Script { asks: Some(ask()), watched: true, turn: Some(Duration::from_secs(5)), ..Script::default() };
    let (world, tree) = stage(script).await;
    let task = submit(&world, &tree, "c-1", "demo");
    until("it asks", || world.memory().permissions.len() == 1).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let key = AgentKey::new("c-1", "demo");
    let answer = |option: &str| PermissionReply {
        permission: "p-0".into(),
        option: option.into(),
        by: "test".into(),
        remember: None,
    };
    let handle = tree.handle();
    let unknown = handle.answer_permission(key.clone(), answer("id-nonsense")).await.expect("answered");
    assert_eq!(unknown, Answered::NotOffered(vec!["id-allow_once".into(), "id-reject_once".into()]));
    assert_eq!(
        handle.answer_permission(key.clone(), answer("allow_once")).await.expect("answered"),
        Answered::Accepted
    );
    assert_eq!(
        handle.answer_permission(key, answer("id-reject_once")).await.expect("answered"),
        Answered::Late
    );
    assert_eq!(ended(&world, &task).await, TaskState::Completed);
    assert_eq!(world.memory().answers, [(7, Some("id-allow_once".to_owned()))]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_a_question_that_was_settled_meanwhile_allows_nothing() {
    let script =
        Script { asks: Some(ask()), watched: true, turn: Some(Duration::from_secs(5)), ..Script::default() };
    let (world, tree) = stage(script).await;
    let task = submit(&world, &tree, "c-1", "demo");
    until("it asks", || world.memory().permissions.len() == 1).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    // As when its chat is closed: the record comes before the actor hears of it.
    world.memory().permissions[0].1 = Some((None, "turn_ended".into()));
    let answer = PermissionReply {
        permission: "p-0".into(),
        option: "allow_once".into(),
        by: "test".into(),
        remember: None,
    };
    let told = tree.handle().answer_permission(AgentKey::new("c-1", "demo"), answer).await;
    assert_eq!(told.expect("answered"), Answered::Late);
    ended(&world, &task).await;
    assert_eq!(world.memory().answers, [(7, None)]);
}

#[tokio::test(start_paused = true)]
async fn a_question_that_nobody_watches_is_answered_by_the_unattended_policy() {
    let (world, tree) = stage(Script { asks: Some(ask()), ..Script::default() }).await;
    let task = submit(&world, &tree, "c-1", "demo");
    assert_eq!(ended(&world, &task).await, TaskState::Completed);
    assert_eq!(world.memory().answers, [(7, Some("id-reject_once".to_owned()))]);
    let by = world.memory().permissions[0].1.clone().expect("resolved").1;
    assert_eq!(by, "unattended");
}

#[tokio::test(start_paused = true)]
async fn the_deadline_answers_for_a_watcher_who_does_not() {
    let script = Script {
        asks: Some(ask()),
        watched: true,
        turn: Some(Duration::from_secs(3600)),
        ..Script::default()
    };
    let (world, tree) = stage(script).await;
    submit(&world, &tree, "c-1", "demo");
    until("it asks", || world.memory().permissions.len() == 1).await;
    tokio::time::sleep(Duration::from_secs(1799)).await;
    assert!(world.memory().answers.is_empty());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(world.memory().answers, [(7, Some("id-reject_once".to_owned()))]);
    drop(tree);
}

#[tokio::test(start_paused = true)]
async fn cancel_answers_waiting_questions_cancelled() {
    let script = Script { asks: Some(ask()), watched: true, turn: None, ..Script::default() };
    let (world, tree) = stage(script).await;
    let task = submit(&world, &tree, "c-1", "demo");
    until("it asks", || world.memory().permissions.len() == 1).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    tree.handle().cancel(task.clone()).await.expect("cancelled");
    assert_eq!(ended(&world, &task).await, TaskState::Cancelled);
    until("the agent is answered", || !world.memory().answers.is_empty()).await;
    assert_eq!(world.memory().answers, [(7, None)]);
}

#[tokio::test(start_paused = true)]
async fn an_allowed_kind_is_allowed_without_a_question_to_anybody() {
    let (world, tree) =
        stage(Script { asks: Some(ask()), policy: PermissionPolicy::Allow, ..Script::default() }).await;
    let task = submit(&world, &tree, "c-1", "demo");
    ended(&world, &task).await;
    assert_eq!(world.memory().answers, [(7, Some("id-allow_once".to_owned()))]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_faster_than_the_word_of_the_store_counts() {
    let script = Script {
        asks: Some(ask()),
        watched: true,
        turn: Some(Duration::from_secs(5)),
        recorded_after: Duration::from_secs(1),
        ..Script::default()
    };
    let (world, tree) = stage(script).await;
    let task = submit(&world, &tree, "c-1", "demo");
    until("it asks", || world.memory().permissions.len() == 1).await;
    let answer = PermissionReply {
        permission: "p-0".into(),
        option: "allow_once".into(),
        by: "test".into(),
        remember: None,
    };
    let answered = tree.handle().answer_permission(AgentKey::new("c-1", "demo"), answer).await;
    assert_eq!(answered.expect("answered"), Answered::Accepted);
    assert_eq!(ended(&world, &task).await, TaskState::Completed);
    assert_eq!(world.memory().answers, [(7, Some("id-allow_once".to_owned()))]);
}

#[tokio::test(start_paused = true)]
async fn an_always_reaches_the_agent_as_once_and_holds_for_its_chat_alone_whatever_dies() {
    let option =
        |kind: &str| PermissionOption { id: format!("id-{kind}"), name: kind.into(), kind: kind.into() };
    let asks = PermissionAsk {
        options: ["allow_always", "allow_once", "reject_once", "reject_always"].map(option).to_vec(),
        ..ask()
    };
    let script =
        Script { asks: Some(asks), watched: true, turn: Some(Duration::from_secs(5)), ..Script::default() };
    let (world, tree) = stage(script).await;
    let task = submit(&world, &tree, "c-1", "demo");
    until("it asks", || world.memory().permissions.len() == 1).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let key = AgentKey::new("c-1", "demo");
    let always = PermissionReply {
        permission: "p-0".into(),
        option: "allow_always".into(),
        by: "test".into(),
        remember: None,
    };
    let answered = tree.handle().answer_permission(key.clone(), always).await;
    assert_eq!(answered.expect("answered"), Answered::Accepted);
    ended(&world, &task).await;
    let once = (7, Some("id-allow_once".to_owned()));
    assert_eq!(world.memory().answers, std::slice::from_ref(&once));
    assert_eq!(
        world.memory().permissions[0].1.clone().expect("resolved").0.as_deref(),
        Some("id-allow_always")
    );
    let said = world.memory().remembered.get(&(key.clone(), "execute".into())).copied();
    assert_eq!(said, Some(StandingAnswer::Allow));

    // Whoever comes back in that chat is not asked again; nobody watches, and it is a yes.
    world.script().watched = false;
    tree.handle().evict(key, false).await.expect("asked").expect("let go");
    let again = submit(&world, &tree, "c-1", "demo");
    ended(&world, &again).await;
    assert_eq!(world.memory().answers, [once.clone(), once.clone()]);
    let elsewhere = submit(&world, &tree, "c-2", "demo");
    ended(&world, &elsewhere).await;
    assert_eq!(world.memory().answers, [once.clone(), once, (7, Some("id-reject_once".to_owned()))]);
}
