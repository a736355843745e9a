//! What many idle agents cost the daemon: to start them, in memory, and in processor time while
//! nobody wants anything. Agents' own costs are not counted.
//!
//! An idle minute has in it the probes of all (`health.interval`) and the pool's look at who is idle.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::support::agent::Agent;
use crate::support::daemon::{AGENT, Daemon};
use crate::support::wait::{PATIENCE, until};
use crate::support::{leftovers, processes, say};

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub struct Crowd {
    /// Idle agents in the end.
    pub n_agents: usize,
    /// How long they are left alone before, and how long it is looked at what that costs.
    pub settle: Duration,
    /// See `settle`. Two intervals of the probes, so that as many fall into it wherever it begins.
    pub window: Duration,
}

/// Few, and a thousand: what grows faster than their number is seen.
pub const WHOLE: [Crowd; 2] = [Crowd::of(200, 30), Crowd::of(1000, 30)];

/// To see that it works.
pub const SMALL: [Crowd; 1] = [Crowd::of(5, 1)];

impl Crowd {
    const fn of(n_agents: usize, seconds: u64) -> Self {
        Self { n_agents, settle: Duration::from_secs(seconds / 2), window: Duration::from_secs(seconds) }
    }
}

/// Bare agents that are started for comparison, at most.
const BARE_MAX: usize = 200;

const PROMPT: &str = "say: hello";

/// Runs it.
pub fn run(crowds: &[Crowd]) {
    for crowd in crowds {
        measure(crowd);
    }
}

fn measure(crowd: &Crowd) {
    let n = crowd.n_agents;
    let daemon = Daemon::start(&config(n, ""));
    let pid = daemon.pid();
    let bare = leftovers::rss_bytes(pid);
    let session = daemon.session();
    let chats: Vec<String> = (0..n).map(|_| daemon.chat(&session)).collect();
    let without = leftovers::rss_bytes(pid);
    let empty_ms = idle(pid, crowd.window / 3);
    let (before, begin) = (processes::cpu_ms(pid), Instant::now());
    start_all(&daemon, &chats);
    let (took, cpu) = (begin.elapsed(), processes::cpu_ms(pid) - before);
    let with = leftovers::rss_bytes(pid);
    let rate = n as f64 / took.as_secs_f64();
    let bare_rate = bare_rate(&daemon, n.min(BARE_MAX));
    say(&format!(
        "crowd: {n} agents started and prompted once: {rate:.0} a second, {:.2} of the {bare_rate:.0} without hob; hobd {:.2} ms of processor time for each",
        rate / bare_rate,
        cpu / n as f64,
    ));
    report_memory(pid, n, [bare, without, with]);
    std::thread::sleep(crowd.settle);
    let idle_ms = idle(pid, crowd.window);
    std::fs::write(daemon.root().join("config.toml"), config(n, "[health]\ninterval = \"1h\"")).unwrap();
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGHUP).unwrap();
    // Those that were planned before are still made.
    std::thread::sleep(crowd.settle);
    let unprobed_ms = idle(pid, crowd.window);
    say(&format!(
        "  an idle minute: {idle_ms:.0} ms of processor time of hobd, {unprobed_ms:.0} ms of it without probes, {empty_ms:.0} ms without agents; from {} s",
        crowd.window.as_secs(),
    ));
    let begin = Instant::now();
    drop(daemon);
    say(&format!("  all of them ended in {:.1} s", begin.elapsed().as_secs_f64()));
}

fn config(n_agents: usize, more: &str) -> String {
    format!("[pool]\nmax_live = {n_agents}\nmin_available = \"0B\"\n{more}")
}

/// Starts an agent in each chat, prompts it, and waits until all are idle.
fn start_all(daemon: &Daemon, chats: &[String]) {
    let mut client = daemon.connect();
    let tasks: Vec<Value> = chats
        .iter()
        .map(|chat| client.call("task/submit", json!({"chat": chat, "agent": AGENT, "prompt": PROMPT})))
        .collect();
    for task in tasks {
        let timeout = PATIENCE.as_millis() as u64;
        let row = client.call("task/wait", json!({"task": task["id"], "timeout_ms": timeout}));
        assert_eq!(row["state"], "completed", "{row:#}");
    }
    until("all agents to be idle", || {
        let rows = client.call("pool/list", json!({}));
        let rows = rows.as_array().unwrap();
        let idle = rows.iter().filter(|row| row["status"] == "idle" && row["pid"].is_u64());
        (idle.count() == chats.len()).then_some(())
    });
}

/// How many bare agents start and answer one prompt in a second, on all cores; none ends before the
/// last has begun.
fn bare_rate(daemon: &Daemon, n_agents: usize) -> f64 {
    let n_threads = std::thread::available_parallelism().map_or(1, usize::from).min(n_agents);
    let (home, begin) = (daemon.root(), Instant::now());
    let started: Vec<Vec<Agent>> = std::thread::scope(|scope| {
        let start = || {
            let start = |_| {
                let mut agent = Agent::start(home);
                agent.prompt(PROMPT);
                agent
            };
            (0..n_agents / n_threads).map(start).collect()
        };
        let threads: Vec<_> = (0..n_threads).map(|_| scope.spawn(start)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    started.iter().flatten().count() as f64 / begin.elapsed().as_secs_f64()
}

fn report_memory(pid: u32, n_agents: usize, [bare, without, with]: [u64; 3]) {
    let keepers: Vec<u32> = processes::children(pid)
        .into_iter()
        .filter(|pid| leftovers::command(*pid).contains("keeper"))
        .collect();
    assert_eq!(keepers.len(), n_agents, "one keeper for each agent");
    let private: u64 = keepers.iter().map(|pid| processes::private_bytes(*pid)).sum();
    let kib = |bytes: u64| bytes as f64 / 1024.0;
    say(&format!(
        "  memory: hobd {:.0} KiB at its start, {:.0} KiB with {n_agents} chats and 0 agents, {:.0} KiB with {n_agents} idle agents",
        kib(bare),
        kib(without),
        kib(with),
    ));
    say(&format!(
        "  hobd for each idle agent {:.1} KiB, its keeper {:.0} KiB private",
        kib(with.saturating_sub(without)) / n_agents as f64,
        kib(private) / n_agents as f64,
    ));
}

/// Processor time that a process takes in a minute of what goes on now, in milliseconds.
fn idle(pid: u32, window: Duration) -> f64 {
    let (before, begin) = (processes::cpu_ms(pid), Instant::now());
    std::thread::sleep(window);
    (processes::cpu_ms(pid) - before) * 60.0 / begin.elapsed().as_secs_f64()
}
