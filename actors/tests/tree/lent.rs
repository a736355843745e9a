//! Turns that wait for tasks of their own making, with fewer slots than turns.

use std::time::Duration;

use hob_actors::dispatch::queue::Word;
use hob_actors::event::TaskState;
use hob_actors::fake::{Script, World};
use hob_actors::id::TaskId;
use hob_actors::ports::Limits;
use hob_actors::tree::{LentSlot, Tree};

use crate::stage::{ended, stage, submit, until};

const HELD: Word = Word { held: true, as_of: 1 };
const RELEASED: Word = Word { held: false, as_of: 2 };

const ONE: Limits = Limits { max_live: 100, min_available: 0, max_running: 1, max_running_per_agent: 1 };

/// A turn that goes on until it is cancelled, and a task behind it that has no slot.
async fn one_runs_one_waits() -> (World, Tree, TaskId, TaskId) {
    let (world, tree) = stage(Script { turn: None, limits: ONE, ..Script::default() }).await;
    let parent = submit(&world, &tree, "c-parent", "demo");
    until("the parent runs", || world.state(&parent) == Some(TaskState::Running)).await;
    world.script().turn = Some(Duration::from_millis(10));
    let child = submit(&world, &tree, "c-child", "demo");
    (world, tree, parent, child)
}

/// Waits with the slot lent, as the control server does.
async fn keep(mut slot: LentSlot) {
    slot.keep().await;
}

#[tokio::test(start_paused = true)]
async fn with_one_slot_the_child_runs_while_its_parent_waits_and_nobody_else_does() {
    let (world, tree, parent, child) = one_runs_one_waits().await;
    let stranger = submit(&world, &tree, "c-stranger", "demo");
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(world.state(&child), Some(TaskState::Queued), "no slot before the wait");
    let wait = tokio::spawn(keep(tree.handle().lend(parent.clone(), child.clone())));
    assert_eq!(ended(&world, &child).await, TaskState::Completed);
    wait.abort();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(world.state(&stranger), Some(TaskState::Queued), "the slot is the parent's again");
    tree.handle().cancel(parent.clone()).await.expect("cancelled");
    assert_eq!(ended(&world, &stranger).await, TaskState::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_slot_comes_back_when_the_wait_is_given_up() {
    let (world, tree, parent, child) = one_runs_one_waits().await;
    tree.handle().held("c-child".into(), HELD);
    let wait = tokio::spawn(keep(tree.handle().lend(parent, child.clone())));
    tokio::time::sleep(Duration::from_secs(1)).await;
    wait.abort();
    wait.await.expect_err("given up");
    tree.handle().held("c-child".into(), RELEASED);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(world.state(&child), Some(TaskState::Queued));
}

#[tokio::test(start_paused = true)]
async fn a_new_dispatcher_hears_of_the_waits_that_are_under_way() {
    let (world, tree, parent, child) = one_runs_one_waits().await;
    tree.handle().held("c-child".into(), HELD);
    let wait = tokio::spawn(keep(tree.handle().lend(parent, child.clone())));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let links = tree.handle().links().clone();
    let first = links.dispatcher.borrow().clone().expect("a dispatcher");
    first.kill();
    until("there is another", || {
        links.dispatcher.borrow().as_ref().is_some_and(|now| now.get_id() != first.get_id())
    })
    .await;
    // The store never held the chat: the new one runs the child, if it knows of the slot.
    assert_eq!(ended(&world, &child).await, TaskState::Completed);
    wait.abort();
}

#[tokio::test(start_paused = true)]
async fn with_one_place_the_child_gets_one_beside_its_parent_and_leaves_it_when_it_is_idle() {
    let limits = Limits { max_live: 1, max_running: 8, max_running_per_agent: 0, ..ONE };
    let (world, tree) = stage(Script { turn: None, limits, ..Script::default() }).await;
    let parent = submit(&world, &tree, "c-parent", "demo");
    until("the parent runs", || world.state(&parent) == Some(TaskState::Running)).await;
    world.script().turn = Some(Duration::from_millis(10));
    let stranger = submit(&world, &tree, "c-stranger", "demo");
    let child = submit(&world, &tree, "c-child", "demo");
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(world.state(&child), Some(TaskState::Queued), "no place before the wait");
    let wait = tokio::spawn(keep(tree.handle().lend(parent.clone(), child.clone())));
    assert_eq!(ended(&world, &child).await, TaskState::Completed);
    wait.abort();
    until("one is left", || world.memory().alive.len() == 1).await;
    assert_eq!(world.state(&stranger), Some(TaskState::Queued), "the place is the parent's");
    tree.handle().cancel(parent).await.expect("cancelled");
    assert_eq!(ended(&world, &stranger).await, TaskState::Completed);
}

#[tokio::test(start_paused = true)]
async fn draining_lets_whom_a_turn_waits_for_run_and_nobody_else() {
    let (world, tree, parent, child) = one_runs_one_waits().await;
    let stranger = submit(&world, &tree, "c-stranger", "demo");
    let handle = tree.handle();
    let waits = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let wait = tokio::spawn(keep(handle.lend(parent.clone(), child.clone())));
        assert_eq!(ended(&world, &child).await, TaskState::Completed);
        wait.abort();
        handle.cancel(parent).await.expect("cancelled");
    };
    tokio::join!(tree.drain(Duration::from_secs(300)), waits);
    tree.stop(false).await;
    assert_eq!(world.state(&stranger), Some(TaskState::Queued));
}

#[tokio::test(start_paused = true)]
async fn stopping_starts_nobody_also_if_a_turn_waits_for_it() {
    let (world, tree, parent, child) = one_runs_one_waits().await;
    tree.handle().held("c-child".into(), HELD);
    let wait = tokio::spawn(keep(tree.handle().lend(parent, child.clone())));
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.script().obeys_cancel = false;
    let release = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        tree.handle().held("c-child".into(), RELEASED);
    };
    tokio::join!(tree.stop(false), release);
    assert_eq!(world.state(&child), Some(TaskState::Queued));
    assert!(world.memory().alive.is_empty());
    wait.abort();
}
