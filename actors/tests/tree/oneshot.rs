//! Tasks that are run once, beside a kept backend or without one.

use std::time::Duration;

use hob_actors::event::{AgentStatus, Context, TaskState};
use hob_actors::fake::{Script, World};
use hob_actors::id::TaskId;
use hob_actors::ports::Route;
use hob_actors::tree::Tree;
use tokio::time::Instant;

use crate::stage::{ended, stage, submit};

fn submit_once(world: &World, tree: &Tree) -> TaskId {
    let mut card = world.add_task("c-1", "demo");
    card.route = Route::Oneshot;
    let task = card.task.clone();
    if let Some(kept) = world.memory().tasks.iter_mut().find(|kept| kept.task == task) {
        kept.route = Route::Oneshot;
    }
    tree.handle().submitted(card);
    task
}

#[tokio::test(start_paused = true)]
async fn a_run_of_its_own_is_fresh_and_what_is_kept_stays_as_it_was() {
    let (world, tree) = stage(Script::default()).await;
    let tasks = [
        submit(&world, &tree, "c-1", "demo"),
        submit_once(&world, &tree),
        submit(&world, &tree, "c-1", "demo"),
    ];
    for task in &tasks {
        assert_eq!(ended(&world, task).await, TaskState::Completed);
    }
    let [first, alone, second] = tasks;
    assert_eq!(
        world.memory().routes,
        [
            (first, Route::Warm, Context::Fresh),
            (alone, Route::Oneshot, Context::Fresh),
            (second, Route::Warm, Context::Warm),
        ]
    );
    assert_eq!(world.memory().n_starts, 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_kept_backend_has_to_wait_for_a_run_of_its_own_does_not() {
    let (world, tree) = stage(Script::default()).await;
    world.script().start_fails = Some("not logged in".into());
    world.script().fails_for_good = true;
    let kept = submit(&world, &tree, "c-1", "demo");
    assert_eq!(ended(&world, &kept).await, TaskState::Failed);
    let is_open = || world.memory().moves.iter().any(|(_, to)| *to == AgentStatus::CircuitOpen);
    crate::stage::until("the circuit opens", is_open).await;

    world.script().start_fails = None;
    let begun = Instant::now();
    let alone = submit_once(&world, &tree);
    assert_eq!(ended(&world, &alone).await, TaskState::Completed);
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_a_run_of_its_own_costs_is_no_part_of_what_the_kept_conversation_has_cost() {
    let (world, tree) = stage(Script::default()).await;
    let told = |cost| world.script().cost = Some(cost);
    told(1.0);
    let first = submit(&world, &tree, "c-1", "demo");
    assert_eq!(ended(&world, &first).await, TaskState::Completed);
    told(5.0);
    let alone = submit_once(&world, &tree);
    assert_eq!(ended(&world, &alone).await, TaskState::Completed);
    told(1.5);
    let second = submit(&world, &tree, "c-1", "demo");
    assert_eq!(ended(&world, &second).await, TaskState::Completed);
    let costs = [(first, Some(1.0)), (alone, Some(5.0)), (second, Some(0.5))];
    assert_eq!(world.memory().turn_costs, costs);
}
