//! Actors that panic, and agents that go silent: what is lost, and what must not be.

use std::time::Duration;

use hob_actors::event::{AgentStatus, TaskState};
use hob_actors::fake::Script;
use hob_actors::id::AgentKey;
use hob_actors::ports::News;
use hob_actors::tree::Refusal;

use crate::stage::{ended, stage, submit, until};

#[tokio::test(start_paused = true)]
async fn a_bug_in_one_session_ends_its_turn_and_disturbs_no_other() {
    let (world, tree) = stage(Script { turn: Some(Duration::from_secs(5)), ..Script::default() }).await;
    let neighbour = submit(&world, &tree, "c-1", "demo");
    until("the neighbour runs", || world.state(&neighbour) == Some(TaskState::Running)).await;
    world.script().poison = Some("say: 1".into());
    let poisoned = submit(&world, &tree, "c-2", "demo");
    let behind = submit(&world, &tree, "c-2", "demo");
    assert_eq!(ended(&world, &poisoned).await, TaskState::Interrupted);
    assert_eq!(ended(&world, &behind).await, TaskState::Completed, "a new actor takes its place");
    assert_eq!(ended(&world, &neighbour).await, TaskState::Completed);
    let memory = world.memory();
    let of_neighbour =
        |(key, to): &&(AgentKey, AgentStatus)| key.chat.as_str() == "c-1" && *to == AgentStatus::Starting;
    assert_eq!(memory.moves.iter().filter(of_neighbour).count(), 1, "its process is the same");
    assert_eq!(memory.alive.len(), 2, "and the poisoned one was not leaked");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_fails_again_and_again_is_left_alone_and_told_so() {
    let (world, tree) = stage(Script::default()).await;
    for n in 0..6 {
        world.script().poison = Some(format!("say: {n}"));
        let task = submit(&world, &tree, "c-1", "demo");
        assert_eq!(ended(&world, &task).await, TaskState::Interrupted);
    }
    let refused = tree.handle().admit(AgentKey::new("c-1", "demo"), false).await.expect("the pool answers");
    assert!(matches!(refused, Err(Refusal::FailedTooOften(_))), "{refused:?}");
    let other = submit(&world, &tree, "c-2", "demo");
    assert_eq!(ended(&world, &other).await, TaskState::Completed);
    tokio::time::sleep(Duration::from_secs(61)).await;
    let again = submit(&world, &tree, "c-1", "demo");
    assert_eq!(ended(&world, &again).await, TaskState::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_bug_in_a_coordinator_costs_no_running_turn_and_no_queued_task() {
    // The dispatcher asks for the limits at every message, the pool at every admission.
    let (world, tree) = stage(Script { turn: Some(Duration::from_secs(5)), ..Script::default() }).await;
    let running = submit(&world, &tree, "c-1", "demo");
    until("it runs", || world.state(&running) == Some(TaskState::Running)).await;
    world.script().limits_panic = 1;
    let dispatcher_dies = submit(&world, &tree, "c-2", "demo");
    until("the bug struck", || world.script().limits_panic == 0).await;
    until("the dispatcher is back", || world.state(&dispatcher_dies) == Some(TaskState::Running)).await;
    world.script().limits_panic = 1;
    // Whoever of the two asks first dies; an answer may be lost with it.
    tree.handle().admit(AgentKey::new("c-3", "demo"), true).await.ok();
    let pool_dies = submit(&world, &tree, "c-3", "demo");
    for task in [&running, &dispatcher_dies, &pool_dies] {
        assert_eq!(ended(&world, task).await, TaskState::Completed, "{task}");
    }
    let memory = world.memory();
    assert_eq!(memory.prompts.len(), 3, "each prompt was sent once");
    assert_eq!(memory.turn_ends.len(), 3);
    assert_eq!(memory.alive.len(), 3, "no process was started anew");
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_never_recovers_ends_the_tree() {
    let (world, tree) = stage(Script::default()).await;
    world.script().limits_panic = usize::MAX;
    submit(&world, &tree, "c-1", "demo");
    tokio::time::timeout(Duration::from_secs(30), tree.ended()).await.expect("the tree gives up");
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_closes_its_output_is_told_as_crashed_and_replaced() {
    let (world, tree) = stage(Script { turn: None, ..Script::default() }).await;
    let first = submit(&world, &tree, "c-1", "demo");
    until("it runs", || !world.memory().events.is_empty()).await;
    let key = AgentKey::new("c-1", "demo");
    world.tell(&key, News::Hung("it closed its output".into()));
    assert_eq!(ended(&world, &first).await, TaskState::Interrupted);
    world.script().turn = Some(Duration::from_millis(10));
    let second = submit(&world, &tree, "c-1", "demo");
    assert_eq!(ended(&world, &second).await, TaskState::Completed);
    assert!(world.memory().moves.contains(&(key, AgentStatus::Crashed)));
    assert_eq!(world.memory().alive.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_log_in_that_a_prompt_needs_is_a_configuration_that_cannot_work_and_no_crash() {
    let (world, tree) = stage(Script { turn: None, ..Script::default() }).await;
    let first = submit(&world, &tree, "c-1", "demo");
    until("it runs", || !world.memory().events.is_empty()).await;
    let key = AgentKey::new("c-1", "demo");
    world.tell(&key, News::LogIn { prompt: 1, why: "log in: run `a`".into() });
    assert_eq!(ended(&world, &first).await, TaskState::Failed);
    until("it is let go", || world.memory().moves.contains(&(key.clone(), AgentStatus::CircuitOpen))).await;
    assert_eq!(processes(&world), (0, 1), "it is not started again by itself");
    assert!(!world.memory().moves.contains(&(key.clone(), AgentStatus::Crashed)));
    // The next prompt says at once whether a person has logged in since.
    world.script().turn = Some(Duration::from_millis(10));
    let second = submit(&world, &tree, "c-1", "demo");
    assert_eq!(ended(&world, &second).await, TaskState::Completed);
    assert_eq!(world.memory().n_starts, 2);
}

/// The processes that are alive, and how many were ever started.
fn processes(world: &hob_actors::fake::World) -> (usize, u32) {
    let memory = world.memory();
    (memory.alive.len(), memory.n_starts)
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_is_killed_in_mid_turn_costs_nobody_anything() {
    let (world, tree) = stage(Script { turn: Some(Duration::from_secs(60)), ..Script::default() }).await;
    let mut tasks = Vec::new();
    for chat in ["c-1", "c-2", "c-1"] {
        tasks.push(submit(&world, &tree, chat, "demo"));
    }
    until("both run", || world.memory().open_turns.len() == 2).await;
    let handle = tree.handle();
    let pool = handle.links().pool.borrow().clone().expect("a pool");
    pool.kill();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let health = handle.links().health.borrow().clone().expect("a health actor");
    health.kill();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let dispatcher = handle.links().dispatcher.borrow().clone().expect("a dispatcher");
    dispatcher.kill();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(processes(&world), (2, 2));
    assert_eq!(handle.live().await.expect("the new pool answers").len(), 2, "it adopted both");
    assert_eq!(handle.health().await.expect("the new one answers").len(), 2, "it watches both again");
    for task in &tasks {
        assert_eq!(ended(&world, task).await, TaskState::Completed);
    }
    assert_eq!((processes(&world), world.memory().prompts.len()), ((2, 2), 3));
}

#[tokio::test(start_paused = true)]
async fn a_session_supervisor_that_is_killed_leaks_no_process_and_its_queues_go_on() {
    let (world, tree) = stage(Script { turn: Some(Duration::from_secs(60)), ..Script::default() }).await;
    let running: Vec<_> = ["c-1", "c-2"].map(|chat| submit(&world, &tree, chat, "demo")).into();
    let behind = submit(&world, &tree, "c-1", "demo");
    until("both run", || world.memory().open_turns.len() == 2).await;
    let sessions = tree.handle().links().sessions.borrow().clone().expect("a supervisor");
    sessions.kill();
    for task in &running {
        assert_eq!(ended(&world, task).await, TaskState::Interrupted, "their agents went with it");
    }
    assert_eq!(ended(&world, &behind).await, TaskState::Completed);
    assert_eq!(processes(&world), (1, 3));
    let memory = world.memory();
    assert_eq!(memory.turn_ends.len() + memory.task_ends.len(), 3, "each ended once");
}
