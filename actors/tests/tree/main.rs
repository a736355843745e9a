//! The whole tree over fake ports and a paused clock: order, limits, cancels, deaths.

mod bugs;
mod choices;
mod comeback;
mod day;
mod generations;
mod health;
mod health_shared;
mod ill;
mod lent;
mod looks;
mod oneshot;
mod opening;
mod pool;
mod questions;
mod reaper;
mod stage;
mod watchdog;

use std::time::Duration;

use hob_actors::event::{AgentStatus, Event, Exit, Outcome, TaskState};
use hob_actors::fake::Script;
use hob_actors::id::AgentKey;
use hob_actors::ports::{Limits, News};

use stage::{ended, stage, submit, until};

#[tokio::test(start_paused = true)]
async fn tasks_of_one_agent_session_run_in_order_on_one_backend() {
    let (world, tree) = stage(Script::default()).await;
    let tasks: Vec<_> = (0..5).map(|_| submit(&world, &tree, "c-1", "demo")).collect();
    for task in &tasks {
        assert_eq!(ended(&world, task).await, TaskState::Completed);
    }
    let memory = world.memory();
    let prompts: Vec<_> = memory.prompts.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(prompts, ["say: 0", "say: 1", "say: 2", "say: 3", "say: 4"]);
    assert_eq!(memory.moves.iter().filter(|(_, to)| *to == AgentStatus::Starting).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn no_more_turns_run_at_once_than_allowed_and_all_run_in_the_end() {
    let limits = Limits { max_live: 100, min_available: 0, max_running: 2, max_running_per_agent: 0 };
    let (world, tree) = stage(Script { limits, ..Script::default() }).await;
    let tasks: Vec<_> = (0..10).map(|n| submit(&world, &tree, &format!("c-{n}"), "demo")).collect();
    until("all end", || {
        assert!(world.memory().open_turns.len() <= 2);
        tasks.iter().all(|task| world.state(task).is_some_and(TaskState::is_terminal))
    })
    .await;
    assert_eq!(world.memory().turn_ends.len(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_keeps_no_limit_of_its_own_is_given_up_and_tried_again() {
    let (world, tree) = stage(Script { start: Duration::from_secs(86_400), ..Script::default() }).await;
    let task = submit(&world, &tree, "c-1", "demo");
    until("the start is given up", || world.memory().moves.iter().any(|(_, to)| *to == AgentStatus::Backoff))
        .await;
    assert!(world.memory().alive.is_empty());
    world.script().start = Duration::from_millis(10);
    assert_eq!(ended(&world, &task).await, TaskState::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_cancelled_on_its_way_gives_its_place_back() {
    let limits = Limits { max_live: 1, min_available: 0, max_running: 100, max_running_per_agent: 0 };
    let (world, tree) = stage(Script { limits, ..Script::default() }).await;
    let warm_up = submit(&world, &tree, "c-last", "demo");
    ended(&world, &warm_up).await;
    tree.handle().close_chat("c-last".into()).await.expect("closed");
    for n in 0..20 {
        let first = submit(&world, &tree, &format!("c-{n}"), "demo");
        for _ in 0..n {
            tokio::task::yield_now().await;
        }
        tree.handle().cancel(first.clone()).await.expect("cancelled");
        ended(&world, &first).await;
        // A start that had begun comes through, and its warm agent holds the place by right.
        tokio::time::sleep(Duration::from_secs(1)).await;
        if !world.memory().alive.is_empty() {
            tree.handle().close_chat(format!("c-{n}").as_str().into()).await.expect("closed");
        }
        let second = submit(&world, &tree, "c-last", "demo");
        until(&format!("a place after {n} steps"), || world.state(&second) != Some(TaskState::Queued)).await;
        ended(&world, &second).await;
        tree.handle().close_chat("c-last".into()).await.expect("closed");
    }
}

#[tokio::test(start_paused = true)]
async fn cancel_ends_its_turn_and_leaves_queue_and_backend() {
    let (world, tree) = stage(Script { turn: None, ..Script::default() }).await;
    let first = submit(&world, &tree, "c-1", "demo");
    let second = submit(&world, &tree, "c-1", "demo");
    until("the first runs", || world.state(&first) == Some(TaskState::Running)).await;
    world.script().turn = Some(Duration::from_millis(10));
    tree.handle().cancel(first.clone()).await.expect("cancelled");
    assert_eq!(ended(&world, &first).await, TaskState::Cancelled);
    assert_eq!(ended(&world, &second).await, TaskState::Completed);
    assert_eq!(world.memory().moves.iter().filter(|(_, to)| *to == AgentStatus::Starting).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn cancel_at_once_after_submit_cancels_without_a_prompt_or_ends_its_turn() {
    let (world, tree) = stage(Script { turn: None, ..Script::default() }).await;
    let task = submit(&world, &tree, "c-1", "demo");
    tree.handle().cancel(task.clone()).await.expect("cancelled");
    assert_eq!(ended(&world, &task).await, TaskState::Cancelled);
    let memory = world.memory();
    assert_eq!(memory.turn_ends.len() + memory.task_ends.len(), 1, "exactly one end");
}

#[tokio::test(start_paused = true)]
async fn a_cancel_that_is_never_answered_is_sent_again_and_then_costs_the_backend() {
    let (world, tree) = stage(Script { turn: None, obeys_cancel: false, ..Script::default() }).await;
    let first = submit(&world, &tree, "c-1", "demo");
    until("it runs", || !world.memory().prompts.is_empty()).await;
    tree.handle().cancel(first.clone()).await.expect("cancelled");
    assert_eq!(ended(&world, &first).await, TaskState::Cancelled);
    // 10 s of grace, a cancel every 250 ms.
    let cancels = world.memory().cancels;
    assert!((39..=41).contains(&cancels), "{cancels} cancels");
    world.script().turn = Some(Duration::from_millis(10));
    let second = submit(&world, &tree, "c-1", "demo");
    assert_eq!(ended(&world, &second).await, TaskState::Completed);
    assert_eq!(world.memory().moves.iter().filter(|(_, to)| *to == AgentStatus::Starting).count(), 2);
    assert_eq!(world.memory().cancels, cancels, "no cancel after the turn had ended");
}

#[tokio::test(start_paused = true)]
async fn a_crash_mid_turn_interrupts_it_and_the_next_prompt_finds_the_agent_back() {
    let (world, tree) = stage(Script { turn: None, ..Script::default() }).await;
    let first = submit(&world, &tree, "c-1", "demo");
    until("it runs", || !world.memory().events.is_empty()).await;
    let key = AgentKey::new("c-1", "demo");
    world.tell(&key, News::Exited(Exit { signal: Some(9), ..Exit::default() }));
    assert_eq!(ended(&world, &first).await, TaskState::Interrupted);
    assert!(world.memory().alive.is_empty());
    world.script().turn = Some(Duration::from_millis(10));
    let second = submit(&world, &tree, "c-1", "demo");
    assert_eq!(ended(&world, &second).await, TaskState::Completed);
    assert!(world.memory().moves.contains(&(key, AgentStatus::Crashed)));
}

#[tokio::test(start_paused = true)]
async fn output_outside_of_a_turn_is_dropped_and_told_once() {
    let (world, tree) = stage(Script::default()).await;
    let task = submit(&world, &tree, "c-1", "demo");
    ended(&world, &task).await;
    let key = AgentKey::new("c-1", "demo");
    let late = || News::Said(Event::Text { text: "late".into(), message: None });
    world.tell(&key, late());
    world.tell(&key, late());
    let next = submit(&world, &tree, "c-1", "demo");
    ended(&world, &next).await;
    let memory = world.memory();
    assert!(!memory.events.iter().any(|e| matches!(&e.event, Event::Text { text, .. } if text == "late")));
    assert_eq!(memory.events.iter().filter(|e| matches!(&e.event, Event::Notice { .. })).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_refuses_for_a_while_loses_nothing() {
    let (world, tree) = stage(Script::default()).await;
    let warm = submit(&world, &tree, "c-1", "demo");
    ended(&world, &warm).await;
    world.refuse(5);
    let task = submit(&world, &tree, "c-1", "demo");
    assert_eq!(ended(&world, &task).await, TaskState::Completed);
    assert_eq!(world.memory().prompts.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn stopping_cancels_what_runs_keeps_what_waits_and_leaves_no_process() {
    let (world, tree) = stage(Script { turn: None, ..Script::default() }).await;
    let running = submit(&world, &tree, "c-1", "demo");
    let waiting = submit(&world, &tree, "c-1", "demo");
    until("it runs", || world.state(&running) == Some(TaskState::Running)).await;
    tree.stop(false).await;
    assert_eq!(world.state(&running), Some(TaskState::Cancelled));
    assert_eq!(world.state(&waiting), Some(TaskState::Queued));
    assert!(world.memory().alive.is_empty());
}

#[tokio::test(start_paused = true)]
async fn draining_lets_running_turns_end_and_starts_no_other() {
    let (world, tree) = stage(Script { turn: Some(Duration::from_secs(30)), ..Script::default() }).await;
    let running = submit(&world, &tree, "c-1", "demo");
    let waiting = submit(&world, &tree, "c-1", "demo");
    until("it runs", || world.state(&running) == Some(TaskState::Running)).await;
    tree.drain(Duration::from_secs(300)).await;
    assert_eq!(world.state(&running), Some(TaskState::Completed));
    tree.stop(false).await;
    assert_eq!(world.state(&waiting), Some(TaskState::Queued));
    assert_eq!(world.memory().turn_ends, [(running, Outcome::Completed)]);
}
