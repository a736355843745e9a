//! The looks at the files around a turn: one before its prompt, one before its end is told, and none
//! that anything has to wait for.

use std::time::Duration;

use hob_actors::event::{Event, Exit, TaskState};
use hob_actors::fake::{Script, World};
use hob_actors::id::AgentKey;
use hob_actors::ports::News;
use tokio::time::Instant;

use crate::stage::{ended, stage, submit, until};

const LOOK: Duration = Duration::from_secs(5);

fn looks(world: &World) -> Vec<&'static str> {
    world.memory().looks.iter().map(|(_, when)| *when).collect()
}

fn key() -> AgentKey {
    AgentKey::new("c-1", "demo")
}

#[tokio::test(start_paused = true)]
async fn a_turn_is_looked_at_before_its_prompt_and_before_its_end() {
    let (world, tree) = stage(Script { look_takes: LOOK, ..Script::default() }).await;
    let task = submit(&world, &tree, "c-1", "demo");
    until("the first look is begun", || looks(&world) == ["before"]).await;
    assert!(world.memory().prompts.is_empty(), "the prompt waits for the look");
    until("the prompt is sent", || world.memory().prompts.len() == 1).await;
    until("the second look is begun", || looks(&world) == ["before", "after"]).await;
    assert_eq!(world.state(&task), Some(TaskState::Running), "the end waits for the look");
    assert_eq!(ended(&world, &task).await, TaskState::Completed);
    assert_eq!(looks(&world), ["before", "after"]);
}

#[tokio::test(start_paused = true)]
async fn a_cancel_after_the_answer_is_not_sent_and_does_not_change_how_the_turn_ended() {
    let (world, tree) = stage(Script { look_takes: LOOK, ..Script::default() }).await;
    let task = submit(&world, &tree, "c-1", "demo");
    until("it is answered", || looks(&world) == ["before", "after"]).await;
    let since = Instant::now();
    tree.handle().cancel(task.clone()).await.expect("the dispatcher answers");
    assert_eq!(ended(&world, &task).await, TaskState::Completed);
    assert!(since.elapsed() < LOOK, "nobody waits for the look any more");
    assert_eq!(world.memory().cancels, 0);
    assert_eq!(world.memory().turn_ends.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_dies_after_its_answer_has_completed_its_turn() {
    let (world, tree) = stage(Script { look_takes: LOOK, ..Script::default() }).await;
    let task = submit(&world, &tree, "c-1", "demo");
    until("it is answered", || looks(&world) == ["before", "after"]).await;
    world.tell(&key(), News::Exited(Exit { signal: Some(9), ..Exit::default() }));
    assert_eq!(ended(&world, &task).await, TaskState::Completed);
    assert_eq!(looks(&world), ["before", "after"]);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_dies_in_its_turn_is_looked_at_then() {
    let (world, tree) = stage(Script { turn: None, ..Script::default() }).await;
    let task = submit(&world, &tree, "c-1", "demo");
    until("it runs", || world.memory().prompts.len() == 1).await;
    world.tell(&key(), News::Exited(Exit { signal: Some(9), ..Exit::default() }));
    assert_eq!(ended(&world, &task).await, TaskState::Interrupted);
    until("it is looked at", || looks(&world) == ["before", "after"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_is_given_up_is_looked_at_when_it_is_gone() {
    let (world, tree) = stage(Script { turn: None, obeys_cancel: false, ..Script::default() }).await;
    let task = submit(&world, &tree, "c-1", "demo");
    until("it runs", || world.memory().prompts.len() == 1).await;
    tree.handle().cancel(task.clone()).await.expect("the dispatcher answers");
    assert_eq!(ended(&world, &task).await, TaskState::Cancelled);
    until("it is looked at", || looks(&world).len() == 2).await;
    assert!(world.memory().alive.is_empty(), "nothing can write any more");
}

#[tokio::test(start_paused = true)]
async fn what_an_agent_says_after_its_answer_is_no_part_of_the_turn() {
    let (world, tree) = stage(Script { look_takes: LOOK, ..Script::default() }).await;
    let task = submit(&world, &tree, "c-1", "demo");
    until("it is answered", || looks(&world) == ["before", "after"]).await;
    world.tell(&key(), News::Said(Event::Text { text: "one more thing".into(), message: None }));
    assert_eq!(ended(&world, &task).await, TaskState::Completed);
    let memory = world.memory();
    let more = |event: &Event| matches!(event, Event::Text { text, .. } if text == "one more thing");
    assert!(!memory.events.iter().any(|e| more(&e.event)));
}

#[tokio::test(start_paused = true)]
async fn no_prompt_leaves_for_a_place_that_is_gone_and_the_next_one_does_when_it_is_back() {
    let (world, tree) = stage(Script::default()).await;
    let first = submit(&world, &tree, "c-1", "demo");
    assert_eq!(ended(&world, &first).await, TaskState::Completed);
    let before = looks(&world).len();
    world.script().place_is_gone = Some("it is gone: `bring it back`");
    let refused = submit(&world, &tree, "c-1", "demo");
    assert_eq!(ended(&world, &refused).await, TaskState::Failed);
    assert_eq!(world.memory().prompts.len(), 1, "it never left");
    assert_eq!(looks(&world).len(), before, "there is nothing to look at");
    assert_eq!(world.memory().turn_ends.last().unwrap().1, hob_actors::event::Outcome::Failed);
    world.script().place_is_gone = None;
    let again = submit(&world, &tree, "c-1", "demo");
    assert_eq!(ended(&world, &again).await, TaskState::Completed);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_started_in_a_place_that_is_gone_and_nothing_is_held_against_the_agent() {
    let (world, tree) = stage(Script { place_is_gone: Some("it is gone"), ..Script::default() }).await;
    for _ in 0..10 {
        let refused = submit(&world, &tree, "c-1", "demo");
        assert_eq!(ended(&world, &refused).await, TaskState::Failed);
    }
    assert!(world.memory().prompts.is_empty());
    world.script().place_is_gone = None;
    let begin = Instant::now();
    let again = submit(&world, &tree, "c-1", "demo");
    assert_eq!(ended(&world, &again).await, TaskState::Completed);
    assert!(begin.elapsed() < Duration::from_secs(1), "no start was waited for");
}
