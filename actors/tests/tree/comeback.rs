//! How agent sessions come back: backoff, the circuit, restarts by hand and of the ill.

use std::time::Duration;

use hob_actors::event::{AgentStatus, Exit, TaskState};
use hob_actors::fake::{Script, World};
use hob_actors::id::AgentKey;
use hob_actors::ports::{Limits, News};
use hob_actors::tree::{NotRestarted, Refusal, Tree, Unwilling};
use tokio::time::Instant;

use crate::stage::{ended, stage, submit, until};

const LONG: Duration = Duration::from_secs(300);

fn key() -> AgentKey {
    AgentKey::new("c-1", "demo")
}

fn count(world: &World, status: AgentStatus) -> usize {
    world.memory().moves.iter().filter(|(_, to)| *to == status).count()
}

fn kill(world: &World) {
    world.tell(&key(), News::Exited(Exit { signal: Some(9), ..Exit::default() }));
}

async fn word(tree: &Tree) -> Option<&'static str> {
    let waiting = tree.handle().waiting().await.expect("the dispatcher answers");
    waiting.values().next().map(|(_, word)| *word)
}

#[tokio::test(start_paused = true)]
async fn a_start_that_fails_for_a_while_keeps_its_task_and_is_tried_again() {
    let (world, tree) = stage(Script::default()).await;
    world.script().start_fails = Some("it exits with code 1".into());
    let task = submit(&world, &tree, "c-1", "demo");
    let neighbour = submit(&world, &tree, "c-2", "other");
    until("it backs off", || count(&world, AgentStatus::Backoff) >= 2).await;
    assert_eq!(world.state(&task), Some(TaskState::Queued));
    world.script().start_fails = None;
    assert_eq!(ended(&world, &task).await, TaskState::Completed);
    assert_eq!(ended(&world, &neighbour).await, TaskState::Completed);
}

#[tokio::test(start_paused = true)]
async fn starts_that_fail_too_often_open_the_circuit_and_the_task_waits_for_it() {
    let (world, tree) = stage(Script::default()).await;
    world.script().start_fails = Some("it exits with code 1".into());
    let task = submit(&world, &tree, "c-1", "demo");
    until("the circuit opens", || count(&world, AgentStatus::CircuitOpen) == 1).await;
    assert_eq!(count(&world, AgentStatus::Starting), 6, "the first, and five again");
    assert_eq!(word(&tree).await, Some("circuit"));
    let refused = tree.handle().admit(key(), true).await.expect("the pool answers");
    assert!(matches!(&refused, Err(Refusal::CircuitOpen(why)) if why.contains("code 1")), "{refused:?}");
    assert_eq!(tree.handle().admit(key(), false).await.expect("the pool answers"), Ok(()));
    let live = tree.handle().live().await.expect("the pool answers");
    assert_eq!((live[0].status, live[0].failures), (AgentStatus::CircuitOpen, (0, 6)));
    assert!(live[0].retry_in_ms.is_some_and(|ms| ms > 290_000 && ms <= 300_000));

    tokio::time::sleep(Duration::from_secs(280)).await;
    assert_eq!(count(&world, AgentStatus::Starting), 6, "nothing is tried while it is open");
    world.script().start_fails = None;
    assert_eq!(ended(&world, &task).await, TaskState::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_failure_for_good_ends_its_task_and_opens_the_circuit_at_once() {
    let (world, tree) = stage(Script::default()).await;
    world.script().start_fails = Some("no such program".into());
    world.script().fails_for_good = true;
    let task = submit(&world, &tree, "c-1", "demo");
    let behind = submit(&world, &tree, "c-1", "demo");
    assert_eq!(ended(&world, &task).await, TaskState::Failed);
    assert_eq!(world.memory().task_ends[0].2, "no such program");
    assert_eq!(ended(&world, &behind).await, TaskState::Failed, "what waits behind it is not kept waiting");
    assert_eq!(count(&world, AgentStatus::Starting), 2);
    world.script().start_fails = None;
    let mended = submit(&world, &tree, "c-1", "demo");
    assert_eq!(ended(&world, &mended).await, TaskState::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_fails_by_hand_says_why() {
    let (world, tree) = stage(Script::default()).await;
    world.script().start_fails = Some("no such program".into());
    let failed = tree.handle().restart(key(), false, LONG).await.expect("the tree answers");
    assert_eq!(failed, Err(NotRestarted::Unwilling(Unwilling::Failed("no such program".into()))));
}

#[tokio::test(start_paused = true)]
async fn a_crash_with_nothing_waiting_rests_until_the_next_prompt() {
    let (world, tree) = stage(Script::default()).await;
    let first = submit(&world, &tree, "c-1", "demo");
    ended(&world, &first).await;
    kill(&world);
    until("it is told", || count(&world, AgentStatus::Crashed) == 1).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!((count(&world, AgentStatus::Starting), count(&world, AgentStatus::Backoff)), (1, 0));
    let before = Instant::now();
    let second = submit(&world, &tree, "c-1", "demo");
    assert_eq!(ended(&world, &second).await, TaskState::Completed);
    assert!(before.elapsed() < Duration::from_secs(1), "the wait was over long ago");
}

#[tokio::test(start_paused = true)]
async fn a_crash_with_a_queue_behind_it_backs_off_and_goes_on() {
    let (world, tree) = stage(Script { turn: None, ..Script::default() }).await;
    let running = submit(&world, &tree, "c-1", "demo");
    let behind = submit(&world, &tree, "c-1", "demo");
    until("it runs", || !world.memory().events.is_empty()).await;
    world.script().turn = Some(Duration::from_millis(10));
    kill(&world);
    assert_eq!(ended(&world, &running).await, TaskState::Interrupted);
    assert_eq!(ended(&world, &behind).await, TaskState::Completed);
    assert_eq!(count(&world, AgentStatus::Backoff), 1);
    assert_eq!(world.memory().prompts.len(), 2, "nothing was sent twice");
}

#[tokio::test(start_paused = true)]
async fn crashes_that_come_too_often_open_the_circuit() {
    let (world, tree) = stage(Script { turn: None, ..Script::default() }).await;
    for n in 0..6 {
        let task = submit(&world, &tree, "c-1", "demo");
        until("it runs", || world.memory().prompts.len() > n).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        kill(&world);
        assert_eq!(ended(&world, &task).await, TaskState::Interrupted);
    }
    until("the circuit opens", || count(&world, AgentStatus::CircuitOpen) == 1).await;
    assert!(world.memory().alive.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_exit_that_blames_the_configuration_opens_the_circuit_at_once() {
    let (world, tree) = stage(Script::default()).await;
    let task = submit(&world, &tree, "c-1", "demo");
    ended(&world, &task).await;
    world.tell(&key(), News::Exited(Exit { code: Some(78), ..Exit::default() }));
    until("the circuit opens", || count(&world, AgentStatus::CircuitOpen) == 1).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_warm_is_started_again_though_nothing_waits() {
    let mut script = Script::default();
    script.agent.keep_warm = true;
    let (world, tree) = stage(script).await;
    let task = submit(&world, &tree, "c-1", "demo");
    ended(&world, &task).await;
    kill(&world);
    until("it is back", || count(&world, AgentStatus::Starting) == 2 && !world.memory().alive.is_empty())
        .await;
    assert_eq!(count(&world, AgentStatus::Backoff), 1);
}

#[tokio::test(start_paused = true)]
async fn by_hand_a_busy_backend_is_started_again_only_by_force() {
    let (world, tree) = stage(Script { turn: None, ..Script::default() }).await;
    let running = submit(&world, &tree, "c-1", "demo");
    until("it runs", || world.state(&running) == Some(TaskState::Running)).await;
    let refused = tree.handle().restart(key(), false, LONG).await.expect("the tree answers");
    assert_eq!(refused, Err(NotRestarted::Unwilling(Unwilling::Busy(vec!["turn"]))));
    let forced = tree.handle().restart(key(), true, LONG).await.expect("the tree answers");
    assert_eq!(forced, Ok(()));
    assert_eq!(ended(&world, &running).await, TaskState::Interrupted);
    assert_eq!(world.memory().alive.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_task_does_not_come_back_from_its_backoff() {
    let (world, tree) = stage(Script::default()).await;
    world.script().start_fails = Some("it exits with code 1".into());
    let task = submit(&world, &tree, "c-1", "demo");
    until("it backs off", || count(&world, AgentStatus::Backoff) == 2).await;
    tree.handle().cancel(task.clone()).await.expect("cancelled");
    assert_eq!(ended(&world, &task).await, TaskState::Cancelled);
    let n_starts = count(&world, AgentStatus::Starting);
    tokio::time::sleep(LONG).await;
    assert!(count(&world, AgentStatus::Starting) <= n_starts + 1, "a start that had begun comes through");
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_warm_takes_no_place_that_another_has() {
    let limits = Limits { max_live: 1, min_available: 0, max_running: 100, max_running_per_agent: 0 };
    let mut script = Script { limits, ..Script::default() };
    script.agent.keep_warm = true;
    script.agent.restart.backoff_min = Duration::from_secs(5);
    let (world, tree) = stage(script).await;
    let task = submit(&world, &tree, "c-1", "demo");
    ended(&world, &task).await;
    kill(&world);
    until("it backs off", || count(&world, AgentStatus::Backoff) == 1).await;
    world.script().turn = None;
    let other = submit(&world, &tree, "c-2", "demo");
    until("the other runs", || world.state(&other) == Some(TaskState::Running)).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.memory().alive.len(), 1, "over the cap");
}
