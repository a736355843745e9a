//! How long an agent is gone that was killed: from the SIGKILL until it is `idle` again, against the
//! bare start of the same agent over pipes.
//!
//! It is kept warm, so it comes back by itself. The wait before a restart is random, between nothing
//! and `restart.backoff_min` for the first failure: once with next to none of it, which leaves what
//! hob itself needs, and once with the default.

use std::time::{Duration, Instant};

use criterion::{Criterion, SamplingMode};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::support::agent::Agent;
use crate::support::client::Client;
use crate::support::daemon::{AGENT, Daemon};
use crate::support::machine::sync_time;
use crate::support::pairs::Pairs;
use crate::support::wait::until;
use crate::support::{has, say};

/// Every failure is the first one, or the circuit would open after some rounds.
const CONFIG: &str = "[agents.demo]\nkeep_warm = true\n[restart]\nperiod = \"1ms\"\nmax = 1000000\n";

/// Runs it.
pub fn run(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("recovery");
    group.measurement_time(Duration::from_secs(10)).sample_size(20).sampling_mode(SamplingMode::Flat);
    for (name, backoff) in
        [("without a wait", "backoff_min = \"1ms\"\nbackoff_max = \"1ms\""), ("by default", "")]
    {
        let mut bench = None;
        let (mut wholes, mut noticed) = (Pairs::default(), Pairs::default());
        group.bench_function(name, |bencher| {
            let bench: &mut Bench = bench.get_or_insert_with(|| Bench::start(backoff));
            bencher.iter_custom(|rounds| {
                let round = |_| {
                    let (crashed, idle) = bench.kill();
                    let bare = bench.bare_start();
                    noticed.push(crashed, bare);
                    wholes.push(idle, bare);
                    idle
                };
                (0..rounds).map(round).sum()
            });
        });
        wholes.report(&format!("from SIGKILL to idle, {name}"), "a bare start of the agent");
        noticed.report(&format!("from SIGKILL to crashed, {name}"), "a bare start of the agent");
        if let Some(bench) = bench {
            // Some steps of a start are on the disk before the next one is taken.
            let time = sync_time(bench.daemon.root());
            say(&format!("  a page safe on the disk: {:.0} µs", time.as_secs_f64() * 1e6));
        }
    }
    group.finish();
}

struct Bench {
    events: Client,
    client: Client,
    daemon: Daemon,
}

impl Bench {
    fn start(backoff: &str) -> Self {
        let daemon = Daemon::start(&format!("{CONFIG}{backoff}"));
        let chat = daemon.chat(&daemon.session());
        let (mut events, mut client) = (daemon.connect(), daemon.connect());
        events.call("events/subscribe", json!({"chat": chat}));
        // It has a conversation, which each new process takes up again.
        let task = json!({"chat": chat, "agent": AGENT, "prompt": "say: hello"});
        let task = client.call("task/submit", task);
        let row = client.call("task/wait", json!({"task": task["id"]}));
        assert_eq!(row["state"], "completed", "{row:#}");
        Self { events, client, daemon }
    }

    /// The agent's own process, once it is idle.
    fn pid(&mut self) -> Option<u32> {
        let rows = self.client.call("pool/list", json!({}));
        let row = rows.as_array().unwrap().iter().find(|row| row["status"] == "idle")?;
        Some(u32::try_from(row["pid"].as_u64()?).unwrap())
    }

    /// Kills the agent; the time until it is known to have crashed, and until it is idle again.
    fn kill(&mut self) -> (Duration, Duration) {
        let pid = until("the agent to be idle", || self.pid());
        let begin = Instant::now();
        kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).unwrap();
        self.await_state("crashed");
        let crashed = begin.elapsed();
        self.await_state("idle");
        (crashed, begin.elapsed())
    }

    fn await_state(&mut self, state: &str) {
        let to = format!("\"to\":\"{state}\"");
        loop {
            let line = self.events.receive();
            assert!(!line.is_empty(), "the daemon closed the connection");
            if has(line, "\"type\":\"agent_state\"") && has(line, &to) {
                return;
            }
        }
    }

    fn bare_start(&self) -> Duration {
        let begin = Instant::now();
        let agent = Agent::start(self.daemon.root());
        let took = begin.elapsed();
        drop(agent);
        took
    }
}
