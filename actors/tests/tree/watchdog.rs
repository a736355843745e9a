//! Turns that are alive but stuck: warned, cancelled, settled, and the agent started again.

use std::time::Duration;

use hob_actors::event::{Event, Level, Outcome, PermissionOption, TaskState, ToolCall, ToolUpdate};
use hob_actors::fake::{Script, World};
use hob_actors::id::{AgentKey, TaskId};
use hob_actors::ports::{News, PermissionAsk};
use hob_actors::tree::Tree;

use crate::stage::{ended, stage, submit, until};

const fn mins(n: u64) -> Duration {
    Duration::from_secs(60 * n)
}

/// A turn that never ends by itself, with the default limits.
async fn stuck(script: Script) -> (World, Tree, TaskId) {
    let (world, tree) = stage(Script { turn: None, ..script }).await;
    let task = submit(&world, &tree, "c-1", "demo");
    until("it runs", || !world.memory().events.is_empty()).await;
    (world, tree, task)
}

fn say(world: &World, event: Event) {
    world.tell(&AgentKey::new("c-1", "demo"), News::Said(event));
}

fn tool(status: &str) -> ToolCall {
    ToolCall { call: "1".into(), status: status.into(), ..ToolCall::default() }
}

fn n_warnings(world: &World) -> usize {
    let is_one = |event: &Event| matches!(event, Event::Notice { level: Level::Warning, .. });
    world.memory().events.iter().filter(|event| is_one(&event.event)).count()
}

#[tokio::test(start_paused = true)]
async fn a_silent_turn_is_warned_of_cancelled_and_interrupted_and_its_agent_stays() {
    let (world, tree, task) = stuck(Script::default()).await;
    tokio::time::sleep(mins(8)).await;
    assert_eq!((n_warnings(&world), world.memory().cancels), (1, 0));
    tokio::time::sleep(mins(8)).await;
    assert_eq!(world.state(&task), Some(TaskState::Interrupted));
    assert_eq!(world.memory().turn_ends, [(task, Outcome::Interrupted)]);
    world.script().turn = Some(Duration::from_millis(10));
    let next = submit(&world, &tree, "c-1", "demo");
    assert_eq!(ended(&world, &next).await, TaskState::Completed);
    assert_eq!(world.memory().n_starts, 1, "it listened to the cancel");
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_does_not_even_hear_the_cancel_is_started_again() {
    let (world, _tree, task) = stuck(Script { obeys_cancel: false, ..Script::default() }).await;
    tokio::time::sleep(mins(16)).await;
    assert_eq!(world.state(&task), Some(TaskState::Interrupted));
    until("it is back", || world.memory().n_starts == 2).await;
    assert_eq!(world.memory().prompts.len(), 1, "nothing is sent again");
}

#[tokio::test(start_paused = true)]
async fn a_word_now_and_then_is_progress() {
    let (world, _tree, task) = stuck(Script::default()).await;
    for _ in 0..20 {
        tokio::time::sleep(mins(7)).await;
        say(&world, Event::Reasoning { text: "hm".into(), message: None });
    }
    assert_eq!((n_warnings(&world), world.state(&task)), (0, Some(TaskState::Running)));
}

#[tokio::test(start_paused = true)]
async fn an_open_tool_has_a_limit_of_its_own() {
    let (world, _tree, task) = stuck(Script::default()).await;
    say(&world, Event::ToolCall(tool("in_progress")));
    tokio::time::sleep(mins(55)).await;
    assert_eq!((n_warnings(&world), world.state(&task)), (0, Some(TaskState::Running)));
    let update = ToolUpdate { call: "1".into(), status: Some("completed".into()), ..ToolUpdate::default() };
    say(&world, Event::ToolUpdate(update));
    tokio::time::sleep(mins(16)).await;
    assert_eq!(world.state(&task), Some(TaskState::Interrupted), "the model is silent now");

    let (world, _tree, task) = stuck(Script::default()).await;
    say(&world, Event::ToolCall(tool("in_progress")));
    tokio::time::sleep(mins(121)).await;
    assert_eq!(world.state(&task), Some(TaskState::Interrupted));
}

#[tokio::test(start_paused = true)]
async fn a_question_that_waits_suppresses_everything_and_has_no_limit_unless_it_is_given_one() {
    let option = PermissionOption { id: "y".into(), name: "yes".into(), kind: "allow_once".into() };
    let ask = PermissionAsk {
        title: "write".into(),
        kind: "edit".into(),
        options: vec![option],
        call: None,
        input: None,
        content: None,
    };
    let mut script = Script { asks: Some(ask), watched: true, ..Script::default() };
    script.agent.permissions.deadline = Some(mins(100_000));
    let (world, _tree, task) = stuck(script.clone()).await;
    tokio::time::sleep(mins(1000)).await;
    assert_eq!((n_warnings(&world), world.state(&task)), (0, Some(TaskState::Running)));

    script.agent.watchdog.permission = Some(mins(10));
    let (world, _tree, task) = stuck(script).await;
    tokio::time::sleep(mins(11)).await;
    assert_eq!(world.state(&task), Some(TaskState::Interrupted));
    assert!(world.memory().permissions.iter().all(|(_, answer)| answer.is_some()), "no question is left");
}

#[tokio::test(start_paused = true)]
async fn what_is_off_is_off() {
    let mut script = Script::default();
    script.agent.watchdog.silence = None;
    let (world, _tree, task) = stuck(script).await;
    tokio::time::sleep(mins(10_000)).await;
    assert_eq!((n_warnings(&world), world.state(&task)), (0, Some(TaskState::Running)));
}
