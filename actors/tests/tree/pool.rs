//! Who may live: the cap, waiting in order, idleness, pins, memory, and eviction by hand.

use std::collections::BTreeSet;
use std::time::Duration;

use hob_actors::event::{AgentStatus, Event, TaskState, Wait};
use hob_actors::fake::{Script, World};
use hob_actors::id::AgentKey;
use hob_actors::ports::{Limits, ProcessTree};
use hob_actors::tree::{Refusal, Tree, Unwilling};

use crate::stage::{ended, stage, submit, until};

fn key(chat: &str) -> AgentKey {
    AgentKey::new(chat, "demo")
}

fn capped(max_live: usize, max_running: usize) -> Script {
    let limits = Limits { max_live, min_available: 0, max_running, max_running_per_agent: 0 };
    Script { limits, ..Script::default() }
}

/// Runs a turn in each of these chats, one after the other.
async fn warm_up(world: &World, tree: &Tree, chats: &[&str]) {
    for chat in chats {
        let task = submit(world, tree, chat, "demo");
        assert_eq!(ended(world, &task).await, TaskState::Completed);
    }
}

fn alive(world: &World) -> Vec<String> {
    world.memory().alive.iter().map(|(key, _)| key.chat.to_string()).collect()
}

fn n_evicted(world: &World) -> usize {
    world.memory().moves.iter().filter(|(_, to)| *to == AgentStatus::Evicted).count()
}

#[tokio::test(start_paused = true)]
async fn a_start_past_the_cap_evicts_the_least_recently_used() {
    let (world, tree) = stage(capped(2, 100)).await;
    warm_up(&world, &tree, &["c-1", "c-2", "c-1", "c-3"]).await;
    assert_eq!(alive(&world), ["c-1", "c-3"], "c-1 was used after c-2");
    warm_up(&world, &tree, &["c-2"]).await;
    assert_eq!(alive(&world), ["c-2", "c-3"]);
}

#[tokio::test(start_paused = true)]
async fn where_all_are_busy_a_start_waits_in_order_and_says_so() {
    let (world, tree) = stage(Script { turn: Some(Duration::from_secs(10)), ..capped(1, 100) }).await;
    let first = submit(&world, &tree, "c-1", "demo");
    until("it runs", || world.state(&first) == Some(TaskState::Running)).await;
    let second = submit(&world, &tree, "c-2", "demo");
    let third = submit(&world, &tree, "c-3", "demo");
    tokio::time::sleep(Duration::from_secs(5)).await;
    let waiting = tree.handle().waiting().await.expect("the dispatcher answers");
    assert_eq!((waiting[&second].1, waiting[&third].1), ("slot", "slot"));
    let says_so = |event: &Event| matches!(event, Event::AgentState { reason: Some(reason), .. } if reason == "waiting_for_slot");
    assert_eq!(world.memory().events.iter().filter(|e| says_so(&e.event)).count(), 2, "each once");
    for task in [&first, &second, &third] {
        assert_eq!(ended(&world, task).await, TaskState::Completed);
    }
    let order: Vec<_> = world.memory().prompts.iter().map(|(key, _)| key.chat.to_string()).collect();
    assert_eq!(order, ["c-1", "c-2", "c-3"]);
}

#[tokio::test(start_paused = true)]
async fn the_smallest_limits_with_full_queues_lock_nobody_out() {
    let (world, tree) = stage(capped(1, 1)).await;
    let mut tasks = Vec::new();
    for _ in 0..2 {
        for chat in ["c-1", "c-2", "c-3"] {
            tasks.push(submit(&world, &tree, chat, "demo"));
        }
    }
    for task in &tasks {
        assert_eq!(ended(&world, task).await, TaskState::Completed);
    }
    let memory = world.memory();
    let order: Vec<_> = memory.prompts.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(order, ["say: 0", "say: 1", "say: 2", "say: 3", "say: 4", "say: 5"], "oldest first");
}

#[tokio::test(start_paused = true)]
async fn a_chat_that_never_runs_dry_does_not_keep_the_place_from_an_older_task() {
    let (world, tree) = stage(Script { turn: Some(Duration::from_secs(1)), ..capped(1, 100) }).await;
    let mut greedy = vec![submit(&world, &tree, "c-1", "demo")];
    until("it runs", || world.state(&greedy[0]) == Some(TaskState::Running)).await;
    let patient = submit(&world, &tree, "c-2", "demo");
    for _ in 0..20 {
        greedy.push(submit(&world, &tree, "c-1", "demo"));
    }
    assert_eq!(ended(&world, &patient).await, TaskState::Completed);
    let n_before = greedy.iter().filter(|task| world.state(task).is_some_and(TaskState::is_terminal)).count();
    assert_eq!(n_before, 1, "only the one that ran already went before it");
    for task in &greedy {
        assert_eq!(ended(&world, task).await, TaskState::Completed);
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_not_to_wait_is_refused_where_all_are_busy_and_not_where_one_can_go() {
    let (world, tree) = stage(capped(1, 100)).await;
    warm_up(&world, &tree, &["c-1"]).await;
    assert_eq!(tree.handle().admit(key("c-2"), true).await.expect("the pool answers"), Ok(()));
    world.script().turn = None;
    submit(&world, &tree, "c-1", "demo");
    until("it runs", || !world.memory().open_turns.is_empty()).await;
    let refused = tree.handle().admit(key("c-2"), true).await.expect("the pool answers");
    assert!(matches!(refused, Err(Refusal::NoPlace { wait: Wait::Slot, coming: false, .. })), "{refused:?}");
    assert_eq!(tree.handle().admit(key("c-2"), false).await.expect("the pool answers"), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn what_is_idle_for_too_long_is_evicted_and_comes_back_at_the_next_prompt() {
    let (world, tree) = stage(Script::default()).await;
    warm_up(&world, &tree, &["c-1"]).await;
    tokio::time::sleep(Duration::from_secs(1790)).await;
    assert_eq!(alive(&world), ["c-1"]);
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(alive(&world).is_empty());
    assert_eq!(n_evicted(&world), 1);
    assert_eq!(tree.handle().live().await.expect("the pool answers"), [], "its actor is gone, too");
    warm_up(&world, &tree, &["c-1"]).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_idle_while_a_turn_runs_or_a_pin_is_held() {
    let mut script = Script { turn: Some(Duration::from_secs(4000)), ..Script::default() };
    script.agent.watchdog.silence = None;
    let (world, tree) = stage(script).await;
    let long = submit(&world, &tree, "c-1", "demo");
    tokio::time::sleep(Duration::from_secs(3950)).await;
    assert_eq!(alive(&world), ["c-1"]);
    ended(&world, &long).await;
    world.script().pinned = BTreeSet::from([key("c-1")]);
    tokio::time::sleep(Duration::from_secs(4000)).await;
    assert_eq!(alive(&world), ["c-1"]);
    world.script().pinned.clear();
    until("it goes", || alive(&world).is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn a_pin_protects_against_the_cap_and_its_end_lets_the_waiting_start() {
    let (world, tree) = stage(capped(1, 100)).await;
    warm_up(&world, &tree, &["c-1"]).await;
    world.script().pinned = BTreeSet::from([key("c-1")]);
    let waiting = submit(&world, &tree, "c-2", "demo");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.state(&waiting), Some(TaskState::Queued));
    world.script().pinned.clear();
    assert_eq!(ended(&world, &waiting).await, TaskState::Completed);
    assert_eq!(alive(&world), ["c-2"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_warm_or_never_idle_stays() {
    let mut script = Script::default();
    script.agent.keep_warm = true;
    let (world, tree) = stage(script).await;
    warm_up(&world, &tree, &["c-1"]).await;
    tokio::time::sleep(Duration::from_secs(86_400)).await;
    world.script().agent.keep_warm = false;
    world.script().agent.idle_ttl = Duration::ZERO;
    tokio::time::sleep(Duration::from_secs(86_400)).await;
    assert_eq!(alive(&world), ["c-1"]);
}

#[tokio::test(start_paused = true)]
async fn low_memory_evicts_the_largest_idle_ones_and_starts_nobody() {
    let (world, tree) = stage(Script::default()).await;
    warm_up(&world, &tree, &["c-1", "c-2", "c-3"]).await;
    {
        let mut script = world.script();
        for (pid, rss_bytes) in [(1, 10), (2, 30), (3, 20)] {
            script
                .trees
                .insert(pid, ProcessTree { rss_bytes, pss_bytes: rss_bytes, ..ProcessTree::default() });
        }
        script.limits.min_available = 100;
        script.available_bytes = Some(50);
    }
    until("the largest goes", || alive(&world) == ["c-1", "c-3"]).await;
    until("then the next", || alive(&world) == ["c-1"]).await;
    until("then the last", || alive(&world).is_empty()).await;
    warm_up(&world, &tree, &["c-4"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_start_waits_for_memory_while_others_are_busy_and_goes_when_there_is_some() {
    let (world, tree) = stage(Script { turn: Some(Duration::from_secs(100)), ..Script::default() }).await;
    let busy = submit(&world, &tree, "c-1", "demo");
    until("it runs", || world.state(&busy) == Some(TaskState::Running)).await;
    world.script().limits.min_available = 100;
    world.script().available_bytes = Some(50);
    let waiting = submit(&world, &tree, "c-2", "demo");
    tokio::time::sleep(Duration::from_secs(10)).await;
    let words = tree.handle().waiting().await.expect("the dispatcher answers");
    assert_eq!(words[&waiting].1, "memory");
    world.script().available_bytes = Some(100);
    until("it runs", || world.state(&waiting) == Some(TaskState::Running)).await;
    assert_eq!(world.state(&busy), Some(TaskState::Running));
}

#[tokio::test(start_paused = true)]
async fn what_runs_on_after_a_turn_keeps_the_agent_where_that_counts() {
    let mut script = Script::default();
    script.agent.count_background = true;
    script.trees.insert(1, ProcessTree { descendants: BTreeSet::from([50]), ..ProcessTree::default() });
    let (world, tree) = stage(script).await;
    warm_up(&world, &tree, &["c-1"]).await;
    // A server that the turn left running, beside the helper that the agent always had.
    world.script().trees.get_mut(&1).expect("set above").descendants.insert(51);
    tokio::time::sleep(Duration::from_secs(4000)).await;
    assert_eq!(alive(&world), ["c-1"]);
    let refused = tree.handle().evict(key("c-1"), false).await.expect("the tree answers");
    assert_eq!(refused, Err(Unwilling::Busy(vec!["background"])));
    world.script().trees.get_mut(&1).expect("set above").descendants.remove(&51);
    until("it goes", || alive(&world).is_empty()).await;
}

/// Whoever sees that a task has ended may ask before its actor knows that this is recorded.
#[tokio::test(start_paused = true)]
async fn by_hand_right_after_an_end_waits_for_its_record() {
    let script = Script { ended_after: Duration::from_secs(1), ..Script::default() };
    let (world, tree) = stage(script).await;
    let task = submit(&world, &tree, "c-1", "demo");
    assert_eq!(ended(&world, &task).await, TaskState::Completed);
    let restarted = tree.handle().restart(key("c-1"), false, Duration::from_secs(60)).await;
    assert_eq!(restarted.expect("the tree answers"), Ok(()));
    let again = submit(&world, &tree, "c-1", "demo");
    assert_eq!(ended(&world, &again).await, TaskState::Completed);
    assert_eq!(tree.handle().evict(key("c-1"), false).await.expect("the tree answers"), Ok(()));
    assert!(alive(&world).is_empty());
}

#[tokio::test(start_paused = true)]
async fn by_hand_a_record_that_does_not_come_is_not_waited_for() {
    let script = Script { ended_after: Duration::from_secs(1000), ..Script::default() };
    let (world, tree) = stage(script).await;
    let task = submit(&world, &tree, "c-1", "demo");
    assert_eq!(ended(&world, &task).await, TaskState::Completed);
    let refused = tree.handle().evict(key("c-1"), false).await.expect("the tree answers");
    assert_eq!(refused, Err(Unwilling::Busy(vec!["dispatched"])));
    assert_eq!(alive(&world), ["c-1"]);
}

#[tokio::test(start_paused = true)]
async fn by_hand_only_the_idle_are_evicted_unless_forced() {
    let (world, tree) = stage(Script { turn: None, ..Script::default() }).await;
    let running = submit(&world, &tree, "c-1", "demo");
    let behind = submit(&world, &tree, "c-1", "demo");
    until("it runs", || world.state(&running) == Some(TaskState::Running)).await;
    let refused = tree.handle().evict(key("c-1"), false).await.expect("the tree answers");
    assert_eq!(refused, Err(Unwilling::Busy(vec!["turn"])));
    world.script().turn = Some(Duration::from_millis(10));
    let forced = tree.handle().evict(key("c-1"), true).await.expect("the tree answers");
    assert_eq!(forced, Ok(()));
    assert_eq!(world.state(&running), Some(TaskState::Cancelled));
    assert_eq!(ended(&world, &behind).await, TaskState::Completed, "its queue goes on");
    assert_eq!(tree.handle().evict(key("c-9"), false).await.expect("the tree answers"), Ok(()));
}
