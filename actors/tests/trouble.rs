//! The tree over a store that answers late, or not at all.

use std::time::Duration;

use hob_actors::event::TaskState;
use hob_actors::fake::{Script, World};
use hob_actors::tree;
use tokio::time::{Instant, sleep, timeout};

/// Waits, in paused time, until a condition holds.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let held = async {
        while !holds() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(100), held).await.unwrap_or_else(|_| panic!("never: {what}"));
}

#[tokio::test(start_paused = true)]
async fn a_cancel_that_comes_before_the_queue_was_read_is_not_lost() {
    let world = World::new(Script::default());
    let card = world.add_task("c-1", "demo");
    // The first read of the queue fails, and the next is half a second later.
    world.refuse(1);
    let tree = tree::start(world.ports()).await.expect("the tree starts");
    tree.handle().cancel(card.task.clone()).await.expect("a dispatcher");
    until("it ends", || world.state(&card.task).is_some_and(TaskState::is_terminal)).await;
    assert_eq!(world.state(&card.task), Some(TaskState::Cancelled));
    assert!(world.memory().prompts.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_stop_at_once_does_not_wait_for_a_store_that_takes_nothing() {
    let world = World::new(Script { turn: None, ..Script::default() });
    world.add_task("c-1", "demo");
    let tree = tree::start(world.ports()).await.expect("the tree starts");
    until("a turn runs", || !world.memory().open_turns.is_empty()).await;
    world.refuse(usize::MAX);
    let before = Instant::now();
    tree.stop(true).await;
    assert!(before.elapsed() < Duration::from_secs(15), "it took {:?}", before.elapsed());
    assert!(world.memory().alive.is_empty());
}
