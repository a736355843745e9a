//! The whole tree with agents that fall silent: who is started again, and when.

use std::time::Duration;

use hob_actors::event::{AgentStatus, HealthState, TaskState};
use hob_actors::fake::{Script, World};
use hob_actors::id::TaskId;
use hob_actors::tree::{EndCause, HealthView, Tree};
use tokio::time::Instant;

use crate::stage::{ended, stage, submit, until};

const SECOND: Duration = Duration::from_secs(1);

/// A tree with one warm agent session, whose process begins to be silent then.
async fn a_silent_agent(turn: Option<Duration>) -> (World, Tree, TaskId) {
    let (world, tree) = stage(Script { turn, ..Script::default() }).await;
    let task = submit(&world, &tree, "c-1", "demo");
    until("it runs", || world.state(&task) == Some(TaskState::Running)).await;
    if turn.is_some() {
        ended(&world, &task).await;
    }
    world.script().ping = None;
    (world, tree, task)
}

/// Waits, in paused time, for more than a `stale_grace`.
async fn patiently(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..3600 {
        if holds() {
            return;
        }
        tokio::time::sleep(SECOND).await;
    }
    panic!("never: {what}");
}

fn n_starts(world: &World) -> usize {
    world.memory().moves.iter().filter(|(_, to)| *to == AgentStatus::Starting).count()
}

async fn row(tree: &Tree) -> HealthView {
    tree.handle().health().await.expect("the health actor answers").remove(0)
}

#[tokio::test(start_paused = true)]
async fn an_idle_session_whose_agent_is_silent_gets_a_new_one_by_itself() {
    let (world, tree, _) = a_silent_agent(Some(Duration::from_millis(10))).await;
    patiently("a second start", || n_starts(&world) == 2).await;
    world.script().ping = Some(Ok(()));
    tokio::time::sleep(600 * SECOND).await;
    assert_eq!((n_starts(&world), world.memory().alive.len()), (2, 1), "once");
    let row = row(&tree).await;
    assert_eq!((row.state, row.restarts), (Some(HealthState::Healthy), 1));
    assert_eq!(row.last_end.map(|end| end.cause), Some(EndCause::Ill));
    let next = submit(&world, &tree, "c-1", "demo");
    assert_eq!(ended(&world, &next).await, TaskState::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_turn_of_a_silent_agent_is_interrupted_after_the_grace_and_nothing_is_sent_again() {
    let (world, tree, task) = a_silent_agent(None).await;
    let behind = submit(&world, &tree, "c-1", "demo");
    let start = Instant::now();
    patiently("the turn ends", || world.state(&task).is_some_and(TaskState::is_terminal)).await;
    assert_eq!(world.state(&task), Some(TaskState::Interrupted));
    assert!(start.elapsed() >= 120 * SECOND + 7 * 15 * SECOND, "{:?}", start.elapsed());
    world.script().ping = Some(Ok(()));
    world.script().turn = Some(Duration::from_millis(10));
    patiently("what waited is sent", || world.memory().prompts.len() == 2).await;
    tree.handle().cancel(behind.clone()).await.expect("cancelled");
    ended(&world, &behind).await;
    let next = submit(&world, &tree, "c-1", "demo");
    assert_eq!(ended(&world, &next).await, TaskState::Completed);
    assert_eq!(world.memory().prompts.len(), 3, "no prompt was sent twice");
    assert_eq!(row(&tree).await.restarts, 1);
}

#[tokio::test(start_paused = true)]
async fn a_health_actor_that_fails_is_replaced_and_learns_again_who_lives() {
    let (world, tree) = stage(Script { turn: Some(Duration::from_millis(10)), ..Script::default() }).await;
    for chat in ["c-1", "c-2"] {
        let task = submit(&world, &tree, chat, "demo");
        ended(&world, &task).await;
    }
    world.script().pings_panic = 1;
    patiently("the bug struck", || world.script().pings_panic == 0).await;
    tokio::time::sleep(SECOND).await;
    assert_eq!(tree.handle().health().await.expect("it is back").len(), 2);
    assert_eq!((n_starts(&world), world.memory().alive.len()), (2, 2), "and nobody was harmed");
    world.script().ping = None;
    patiently("the new one probes, too", || n_starts(&world) == 4).await;
}

#[tokio::test(start_paused = true)]
async fn who_was_let_go_is_probed_no_more_and_a_closed_chat_leaves_no_record() {
    let (world, tree, _) = a_silent_agent(Some(Duration::from_millis(10))).await;
    tree.handle().close_chat("c-1".into()).await.expect("closed");
    tokio::time::sleep(3600 * SECOND).await;
    assert_eq!(n_starts(&world), 1);
    assert_eq!(tree.handle().health().await.expect("the health actor answers"), []);
}
