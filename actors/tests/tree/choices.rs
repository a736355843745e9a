//! Another mode or model: in place where the agent can, with another start where it cannot, and not
//! at all where it refuses.

use std::time::Duration;

use hob_actors::event::{AgentStatus, Event, TaskState};
use hob_actors::fake::{Script, World};
use hob_actors::id::AgentKey;
use hob_actors::ports::{Choice, News, NotChosen};
use hob_actors::tree::{Chosen, Handle, Unchanged};

use crate::stage::{ended, stage, submit, until};

fn key() -> AgentKey {
    AgentKey::new("c-1", "demo")
}

fn mode(mode: &str) -> Choice {
    Choice { mode: Some(mode.to_owned()), model: None }
}

async fn choose(tree: &Handle, choice: Choice) -> Result<(), Unchanged> {
    let chosen = Chosen { asked: Some(choice.clone()), choice };
    let result = tree.choose(key(), chosen).await.expect("the pool answers");
    result.expect("there is an actor")
}

fn n_starts(world: &World) -> usize {
    world.memory().moves.iter().filter(|(_, to)| *to == AgentStatus::Starting).count()
}

/// A world in which a turn was run, so that an idle backend is there.
async fn warm(chooses: Option<Result<(), NotChosen>>) -> (World, hob_actors::tree::Tree) {
    let (world, tree) = stage(Script { chooses, ..Script::default() }).await;
    let task = submit(&world, &tree, "c-1", "demo");
    assert_eq!(ended(&world, &task).await, TaskState::Completed);
    (world, tree)
}

#[tokio::test(start_paused = true)]
async fn a_choice_comes_to_what_the_agent_makes_of_it() {
    let refused = NotChosen::Refused("no such mode".into());
    let in_part = NotChosen::InPart("no such model".into());
    // how the agent answers, what is told, starts after the next turn, what is remembered
    let cases = [
        (Some(Ok(())), Ok(()), 1, mode("plan")),
        (Some(Err(NotChosen::NeedsStart)), Ok(()), 2, mode("plan")),
        (Some(Err(refused)), Err(Unchanged::Refused("no such mode".into())), 1, Choice::default()),
        (Some(Err(in_part)), Err(Unchanged::InPart("no such model".into())), 2, Choice::default()),
        // It may have been taken: only another start makes sure that it was not.
        (None, Err(Unchanged::Unanswered), 2, Choice::default()),
    ];
    for (answer, told, n, remembered) in cases {
        let (world, tree) = warm(answer.clone()).await;
        assert_eq!(choose(&tree.handle(), mode("plan")).await, told, "{answer:?}");
        let task = submit(&world, &tree, "c-1", "demo");
        assert_eq!(ended(&world, &task).await, TaskState::Completed);
        assert_eq!(n_starts(&world), n, "{answer:?}");
        let memory = world.memory();
        assert_eq!(memory.chosen, [mode("plan")], "it was asked once");
        assert_eq!(memory.agents[&key()].choice, remembered, "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_running_turn_is_not_disturbed() {
    let (world, tree) = stage(Script { turn: Some(Duration::from_secs(5)), ..Script::default() }).await;
    world.script().chooses = Some(Err(NotChosen::NeedsStart));
    let first = submit(&world, &tree, "c-1", "demo");
    let second = submit(&world, &tree, "c-1", "demo");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(choose(&tree.handle(), mode("plan")).await, Ok(()));
    assert_eq!(world.state(&first), Some(TaskState::Running));
    assert_eq!(ended(&world, &first).await, TaskState::Completed);
    assert_eq!(n_starts(&world), 1);
    // It was queued before the choice, and runs as was chosen since.
    assert_eq!(ended(&world, &second).await, TaskState::Completed);
    assert_eq!(n_starts(&world), 2);
}

#[tokio::test(start_paused = true)]
async fn a_choice_during_a_start_is_kept_and_takes_another() {
    let (world, tree) = stage(Script { start: Duration::from_secs(5), ..Script::default() }).await;
    let first = submit(&world, &tree, "c-1", "demo");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(choose(&tree.handle(), mode("plan")).await, Ok(()));
    assert_eq!(ended(&world, &first).await, TaskState::Completed);
    // What it tells of itself now is what it was started with, and no way out of what was chosen.
    let told = Event::Mode { current: Some("build".to_owned()), available: None };
    world.tell(&key(), News::Said(told));
    let second = submit(&world, &tree, "c-1", "demo");
    assert_eq!(ended(&world, &second).await, TaskState::Completed);
    assert_eq!(n_starts(&world), 2);
    assert_eq!(world.memory().agents[&key()].choice, mode("plan"));
    assert!(world.memory().chosen.is_empty(), "nothing that runs was asked");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_recorded_is_not_left_in_place() {
    let (world, tree) = warm(Some(Ok(()))).await;
    world.refuse(1);
    let unchanged = choose(&tree.handle(), mode("plan")).await.expect_err("the disk is full");
    assert!(matches!(unchanged, Unchanged::Unrecorded(_)), "{unchanged}");
    let task = submit(&world, &tree, "c-1", "demo");
    assert_eq!(ended(&world, &task).await, TaskState::Completed);
    assert_eq!(n_starts(&world), 2);
}

#[tokio::test(start_paused = true)]
async fn nobody_who_drives_it_is_told_apart() {
    let (_, tree) = stage(Script::default()).await;
    let chosen = Chosen { choice: mode("plan"), asked: None };
    assert_eq!(tree.handle().choose(key(), chosen).await.expect("the pool answers"), None);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_chosen_any_more_takes_another_start() {
    let (world, tree) = warm(Some(Ok(()))).await;
    assert_eq!(choose(&tree.handle(), mode("plan")).await, Ok(()));
    let chosen = Chosen { choice: Choice::default(), asked: None };
    assert_eq!(tree.handle().choose(key(), chosen).await.expect("the pool answers"), Some(Ok(())));
    let task = submit(&world, &tree, "c-1", "demo");
    assert_eq!(ended(&world, &task).await, TaskState::Completed);
    assert_eq!(n_starts(&world), 2);
    assert_eq!(world.memory().chosen, [mode("plan")]);
}

#[tokio::test(start_paused = true)]
async fn a_mode_that_the_agent_leaves_is_not_chosen_any_more() {
    let told = |mode: &str| News::Said(Event::Mode { current: Some(mode.to_owned()), available: None });
    let (world, tree) = warm(Some(Ok(()))).await;
    // Nothing was chosen: nothing is remembered.
    world.tell(&key(), told("build"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.memory().agents[&key()].choice, Choice::default());
    assert_eq!(choose(&tree.handle(), mode("plan")).await, Ok(()));
    world.tell(&key(), told("plan"));
    world.tell(&key(), told("build"));
    until("it is remembered", || world.memory().agents[&key()].choice == mode("build")).await;
    let task = submit(&world, &tree, "c-1", "demo");
    assert_eq!(ended(&world, &task).await, TaskState::Completed);
    assert_eq!(n_starts(&world), 1);
}

#[tokio::test(start_paused = true)]
async fn what_an_agent_tells_of_a_choice_under_way_takes_nothing_of_it_back() {
    let (world, tree) = warm(Some(Ok(()))).await;
    assert_eq!(choose(&tree.handle(), mode("plan")).await, Ok(()));
    // The agent tells the mode before it answers.
    world.script().tells_chosen = true;
    let both = Choice { mode: Some("build".into()), model: Some("m".into()) };
    assert_eq!(choose(&tree.handle(), both.clone()).await, Ok(()));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.memory().agents[&key()].choice, both);
}
