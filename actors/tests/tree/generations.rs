//! What an older process of an agent session says is none of the present one's, and what failed
//! under an older configuration is no reason not to try the present one.

use std::time::Duration;

use hob_actors::event::{AgentStatus, Event, Exit, Outcome, TaskState, Usage};
use hob_actors::fake::{Script, World};
use hob_actors::id::AgentKey;
use hob_actors::ports::{News, Permit, Settled};
use tokio::time::Instant;

use crate::stage::{ended, stage, submit, until};

fn key() -> AgentKey {
    AgentKey::new("c-1", "demo")
}

fn count(world: &World, status: AgentStatus) -> usize {
    world.memory().moves.iter().filter(|(_, to)| *to == status).count()
}

fn said(text: &str) -> News {
    News::Said(Event::Text { text: text.into(), message: None })
}

#[tokio::test(start_paused = true)]
async fn late_news_of_an_older_process_never_reach_the_present_turn() {
    let (world, tree) = stage(Script { turn: None, ..Script::default() }).await;
    let first = submit(&world, &tree, "c-1", "demo");
    until("it runs", || world.memory().open_turns.len() == 1).await;
    let old = world.voice(&key()).expect("it was started");
    old(News::Exited(Exit { signal: Some(9), ..Exit::default() }), Permit::free());
    ended(&world, &first).await;

    let second = submit(&world, &tree, "c-1", "demo");
    until("the second runs", || world.memory().prompts.len() == 2).await;
    // The numbers of prompts begin anew with each process: the first answer would fit.
    for prompt in 0..4 {
        old(said("from the grave"), Permit::free());
        let result = Ok("end_turn".to_owned());
        let usage = Some(Usage { input: Some(1_000_000), ..Usage::default() });
        old(News::Settled(Settled { prompt, result, usage }), Permit::free());
    }
    old(News::Hung("closed its output".into()), Permit::free());
    old(News::Exited(Exit::default()), Permit::free());
    world.tell(&key(), said("alive"));
    until("the present one is heard", || {
        world.memory().events.iter().any(|e| matches!(&e.event, Event::Text { text, .. } if text == "alive"))
    })
    .await;
    assert_eq!(world.state(&second), Some(TaskState::Running), "nothing ended it");
    tree.handle().cancel(second.clone()).await.expect("the dispatcher answers");
    assert_eq!(ended(&world, &second).await, TaskState::Cancelled);
    let memory = world.memory();
    let grave = |event: &Event| matches!(event, Event::Text { text, .. } if text == "from the grave");
    assert!(!memory.events.iter().any(|e| grave(&e.event)));
    let ends: Vec<_> = memory.turn_ends.iter().filter(|(task, _)| *task == second).collect();
    assert_eq!(ends, [&(second.clone(), Outcome::Cancelled)], "one end, and its own");
    assert_eq!(count_of(&memory.moves, AgentStatus::Crashed), 1);
}

fn count_of(moves: &[(AgentKey, AgentStatus)], status: AgentStatus) -> usize {
    moves.iter().filter(|(_, to)| *to == status).count()
}

#[tokio::test(start_paused = true)]
async fn a_changed_configuration_is_tried_whatever_failed_before_it() {
    let (world, tree) = stage(Script::default()).await;
    world.script().start_fails = Some("it exits with code 1".into());
    let task = submit(&world, &tree, "c-1", "demo");
    until("the circuit opens", || count(&world, AgentStatus::CircuitOpen) == 1).await;
    let since = Instant::now();
    let n_starts = count(&world, AgentStatus::Starting);
    // Something else in the configuration has changed: that is no reason to try again.
    tree.handle().configured();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(count(&world, AgentStatus::Starting), n_starts);
    world.script().start_fails = None;
    world.script().config_hash = "mended".into();
    tree.handle().configured();
    assert_eq!(ended(&world, &task).await, TaskState::Completed);
    assert!(since.elapsed() < Duration::from_secs(60), "long before the cool-down is over");
}

#[tokio::test(start_paused = true)]
async fn a_configuration_that_changed_during_a_start_is_not_blamed_for_its_failure() {
    let start = Duration::from_secs(5);
    let (world, tree) = stage(Script { start, ..Script::default() }).await;
    world.script().start_fails = Some("no such program".into());
    world.script().fails_for_good = true;
    let first = submit(&world, &tree, "c-1", "demo");
    let second = submit(&world, &tree, "c-1", "demo");
    until("it is being started", || count(&world, AgentStatus::Starting) == 1).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.script().start_fails = None;
    world.script().config_hash = "mended".into();
    tree.handle().configured();
    let since = Instant::now();
    assert_eq!(ended(&world, &first).await, TaskState::Failed);
    assert_eq!(ended(&world, &second).await, TaskState::Completed);
    assert!(since.elapsed() < Duration::from_secs(60), "long before the cool-down is over");
}
