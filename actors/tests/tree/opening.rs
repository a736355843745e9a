//! What is asked of an agent session while a turn is being opened: the turn ends all the same, under
//! the process that it was opened for, and its prompt goes to no other.

use std::time::Duration;

use hob_actors::event::{Exit, Outcome, TaskState};
use hob_actors::fake::{Script, World};
use hob_actors::id::{AgentKey, TaskId};
use hob_actors::ports::News;
use hob_actors::tree::Tree;

use crate::stage::{ended, stage, submit, until};

const LOOK: Duration = Duration::from_secs(5);
const LIMIT: Duration = Duration::from_secs(60);

fn key() -> AgentKey {
    AgentKey::new("c-1", "demo")
}

/// A turn that is committed and whose prompt has not left: the files are being looked at.
async fn opening(look: Duration) -> (World, Tree, TaskId) {
    let (world, tree) = stage(Script { look_takes: look, ..Script::default() }).await;
    let task = submit(&world, &tree, "c-1", "demo");
    until("it is looked at", || world.memory().looks.len() == 1).await;
    (world, tree, task)
}

/// Nothing is stuck: the next task of the same agent session runs to its end.
async fn goes_on(world: &World, tree: &Tree) {
    world.script().look_takes = Duration::ZERO;
    let next = submit(world, tree, "c-1", "demo");
    assert_eq!(ended(world, &next).await, TaskState::Completed);
    let memory = world.memory();
    assert_eq!(memory.faults, [""; 0]);
    assert!(memory.open_turns.is_empty(), "{:?}", memory.open_turns);
}

#[tokio::test(start_paused = true)]
async fn a_restart_while_a_turn_is_opened_interrupts_it_unsent() {
    // The look outlasts the new start; it ends in the start; it ends in the stop before it.
    for look in [LOOK, Duration::from_millis(15), Duration::from_millis(7)] {
        let (world, tree, task) = opening(look).await;
        tree.handle().restart(key(), true, LIMIT).await.expect("asked").expect("restarted");
        assert_eq!(ended(&world, &task).await, TaskState::Interrupted, "{look:?}");
        assert_eq!(world.memory().turn_ends, [(task, Outcome::Interrupted)], "{look:?}");
        assert!(world.memory().prompts.is_empty(), "{look:?}");
        goes_on(&world, &tree).await;
    }
}

#[tokio::test(start_paused = true)]
async fn restarts_again_and_again_leave_no_turn_open() {
    let (world, tree, first) = opening(LOOK).await;
    for _ in 0..3 {
        tree.handle().restart(key(), true, LIMIT).await.expect("asked").expect("restarted");
    }
    tree.handle().cancel(first.clone()).await.expect("the dispatcher answers");
    assert_eq!(ended(&world, &first).await, TaskState::Cancelled, "a person's cancel is the last word");
    goes_on(&world, &tree).await;
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_dies_while_a_turn_is_opened_fails_it_and_says_how() {
    let (world, tree, task) = opening(LOOK).await;
    world.tell(&key(), News::Exited(Exit { signal: Some(9), ..Exit::default() }));
    tree.handle().restart(key(), true, LIMIT).await.expect("asked").expect("restarted");
    assert_eq!(ended(&world, &task).await, TaskState::Failed);
    assert!(world.memory().prompts.is_empty());
    goes_on(&world, &tree).await;
}

#[tokio::test(start_paused = true)]
async fn an_eviction_by_force_while_a_turn_is_opened_ends_it() {
    let (world, tree, task) = opening(LOOK).await;
    tree.handle().evict(key(), true).await.expect("asked").expect("evicted");
    assert_eq!(ended(&world, &task).await, TaskState::Cancelled);
    goes_on(&world, &tree).await;
}

#[tokio::test(start_paused = true)]
async fn a_task_whose_end_the_store_refuses_is_interrupted_and_says_why() {
    let (world, tree) = stage(Script { turn: None, ..Script::default() }).await;
    let task = submit(&world, &tree, "c-1", "demo");
    until("it runs", || world.memory().prompts.len() == 1).await;
    // The record is another than the actor believes: whatever it ends, the task must not stay open.
    world.memory().opened_under.values_mut().for_each(|under| under.0 += 7);
    tree.handle().cancel(task.clone()).await.expect("the dispatcher answers");
    assert_eq!(ended(&world, &task).await, TaskState::Interrupted);
    let reason = world.memory().task_ends[0].2.clone();
    assert!(reason.contains("another backend"), "{reason}");
    assert_eq!(std::mem::take(&mut world.memory().faults).len(), 1, "a fault, and told as one");
    world.script().turn = Some(Duration::from_millis(10));
    goes_on(&world, &tree).await;
}
