//! A tree over a fake world, and how a test talks to it.

use std::time::Duration;

use hob_actors::event::TaskState;
use hob_actors::fake::{Script, World};
use hob_actors::id::TaskId;
use hob_actors::tree::{self, Tree};

pub(crate) async fn stage(script: Script) -> (World, Tree) {
    let world = World::new(script);
    let tree = tree::start(world.ports()).await.expect("the tree starts");
    (world, tree)
}

pub(crate) fn submit(world: &World, tree: &Tree, chat: &str, agent: &str) -> TaskId {
    let card = world.add_task(chat, agent);
    let task = card.task.clone();
    tree.handle().submitted(card);
    task
}

/// Waits, in paused time, until a condition holds.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..20_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never: {what}");
}

pub(crate) async fn ended(world: &World, task: &TaskId) -> TaskState {
    until(&format!("{task} ends"), || world.state(task).is_some_and(TaskState::is_terminal)).await;
    world.state(task).expect("a known task")
}
