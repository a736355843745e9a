//! What an idle agent costs the daemon in memory, agents' own memory not counted.

use std::time::Instant;

use serde_json::{Value, json};

use crate::support::daemon::{AGENT, Daemon};
use crate::support::wait::{PATIENCE, until};
use crate::support::{leftovers, say};

/// How many idle agents there are in the end.
pub const AGENTS: usize = 200;

/// Runs it with so many agents.
pub fn run(n_agents: usize) {
    let daemon = Daemon::start(&format!("[pool]\nmax_live = {}\nmin_available = \"0B\"", n_agents + 1));
    let bare = leftovers::rss_bytes(daemon.pid());
    let session = daemon.session();
    let chats: Vec<String> = (0..n_agents).map(|_| daemon.chat(&session)).collect();
    let without = leftovers::rss_bytes(daemon.pid());
    let begin = Instant::now();
    let mut client = daemon.connect();
    let tasks: Vec<Value> = chats
        .iter()
        .map(|chat| client.call("task/submit", json!({"chat": chat, "agent": AGENT, "prompt": "say: hello"})))
        .collect();
    for task in tasks {
        let timeout = PATIENCE.as_millis() as u64;
        let row = client.call("task/wait", json!({"task": task["id"], "timeout_ms": timeout}));
        assert_eq!(row["state"], "completed", "{row:#}");
    }
    let started = begin.elapsed();
    until("all agents to be idle", || {
        let rows = client.call("pool/list", json!({}));
        let rows = rows.as_array().unwrap();
        let idle = rows.iter().filter(|row| row["status"] == "idle" && row["pid"].is_u64());
        (idle.count() == n_agents).then_some(())
    });
    let with = leftovers::rss_bytes(daemon.pid());
    let keepers: Vec<u32> = children(daemon.pid())
        .into_iter()
        .filter(|pid| leftovers::command(*pid).contains("keeper"))
        .collect();
    assert_eq!(keepers.len(), n_agents, "one keeper for each agent");
    let private: u64 = keepers.iter().map(|pid| private_bytes(*pid)).sum();
    let kib = |bytes: u64| bytes as f64 / 1024.0;
    say(&format!(
        "memory: hobd {:.0} KiB at its start, {:.0} KiB with {n_agents} chats and 0 agents, {:.0} KiB with {n_agents} idle agents",
        kib(bare),
        kib(without),
        kib(with),
    ));
    say(&format!(
        "  hobd for each idle agent {:.1} KiB, its keeper {:.0} KiB private",
        kib(with.saturating_sub(without)) / n_agents as f64,
        kib(private) / n_agents as f64,
    ));
    say(&format!("  {n_agents} agents started and prompted once in {:.1} s", started.as_secs_f64()));
}

/// The processes that a process started, from all of its threads.
fn children(pid: u32) -> Vec<u32> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let lists =
        threads.map(|thread| std::fs::read_to_string(thread.unwrap().path().join("children")).unwrap());
    lists
        .flat_map(|list| list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>())
        .collect()
}

/// What a process shares with no other, in bytes.
fn private_bytes(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let lines = text.lines().filter(|line| line.starts_with("Private_"));
    let sizes = lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    sizes.sum::<u64>() * 1024
}
