//! A day of prompts, crashes and evictions in paused time: the same seed gives the same log.

use std::time::Duration;

use hob_actors::event::{AgentStatus, Exit, TaskState};
use hob_actors::fake::Script;
use hob_actors::id::AgentKey;
use hob_actors::ports::{Limits, News};

use crate::stage::{stage, submit, until};

/// A day of 288 steps of five minutes.
const STEPS: u64 = 288;

/// What became of each agent session, and which prompts were sent, in order.
async fn day(seed: u64) -> (Vec<(AgentKey, AgentStatus)>, Vec<(AgentKey, String)>) {
    let limits = Limits { max_live: 2, min_available: 0, max_running: 2, max_running_per_agent: 0 };
    let (world, tree) = stage(Script { limits, ..Script::default() }).await;
    let mut dice = seed;
    let mut tasks = Vec::new();
    for _ in 0..STEPS {
        // Knuth's generator: what matters is only that it repeats.
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let chat = format!("c-{}", (dice >> 33) % 4);
        match (dice >> 40) % 4 {
            0 => world.tell(
                &AgentKey::new(chat.as_str(), "demo"),
                News::Exited(Exit { signal: Some(9), ..Exit::default() }),
            ),
            _ => tasks.push(submit(&world, &tree, &chat, "demo")),
        }
        tokio::time::sleep(Duration::from_secs(300)).await;
        assert!(world.memory().alive.len() <= 2, "over the cap");
    }
    until("all end", || tasks.iter().all(|task| world.state(task).is_some_and(TaskState::is_terminal))).await;
    tree.stop(false).await;
    let memory = world.memory();
    assert!(memory.alive.is_empty(), "a process was lost");
    (memory.moves.clone(), memory.prompts.clone())
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_log() {
    let (moves, prompts) = day(7).await;
    let count = |status| moves.iter().filter(|(_, to)| *to == status).count();
    assert!(count(AgentStatus::Evicted) > 10 && count(AgentStatus::Crashed) > 10, "{}", moves.len());
    assert_eq!(day(7).await, (moves, prompts.clone()));
    assert_ne!(day(8).await.1, prompts);
}
