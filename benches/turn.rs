//! What supervision adds to a turn: from submitting a prompt to its end, against the same agent
//! driven directly over pipes.
//!
//! A supervised turn is committed to the disk several times on its way (accepted, dispatched,
//! started, ended), which is most of what it adds; the time of one such write is told beside it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use criterion::{Criterion, SamplingMode};
use serde_json::json;

use crate::support::agent::Agent;
use crate::support::client::{Client, request};
use crate::support::daemon::{AGENT, Daemon};
use crate::support::machine::sync_time;
use crate::support::pairs::Pairs;
use crate::support::{has, say};

/// A turn of which the agent's own part is as small as it can be.
const PROMPT: &str = "say: hello";

/// Files that are kept in memory, where the system has such a place.
const MEMORY: &str = "/dev/shm";

/// Runs it: with the home of the daemon on a disk, and in memory to see what is left without one.
pub fn run(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("turn");
    group.measurement_time(Duration::from_secs(10)).sample_size(30).sampling_mode(SamplingMode::Flat);
    let places = [("on the disk", std::env::temp_dir()), ("in memory", PathBuf::from(MEMORY))];
    for (name, place) in places.into_iter().filter(|(_, place)| place.is_dir()) {
        let mut bench = None;
        let (mut firsts, mut wholes) = (Pairs::default(), Pairs::default());
        group.bench_function(name, |bencher| {
            let bench: &mut Bench = bench.get_or_insert_with(|| Bench::start(&place));
            bencher.iter_custom(|rounds| {
                let round = |_| {
                    let (ours, direct) = (bench.supervised(), bench.direct.prompt(PROMPT));
                    firsts.push(ours.0, direct.first);
                    wholes.push(ours.1, direct.whole);
                    ours.1
                };
                (0..rounds).map(round).sum()
            });
        });
        wholes.report(&format!("a supervised turn, {name}"), "the agent over pipes");
        firsts.report(&format!("its first text, {name}"), "the agent over pipes");
        if let Some(bench) = bench {
            let time = sync_time(bench.daemon.root());
            say(&format!("  a page safe {name}: {:.0} µs", time.as_secs_f64() * 1e6));
        }
    }
    group.finish();
}

struct Bench {
    client: Client,
    submit: Vec<u8>,
    direct: Agent,
    daemon: Daemon,
}

impl Bench {
    fn start(place: &Path) -> Self {
        let daemon = Daemon::start_in(place, "");
        let chat = daemon.chat(&daemon.session());
        let mut client = daemon.connect();
        client.call("events/subscribe", json!({"chat": chat}));
        let submit = request("task/submit", json!({"chat": chat, "agent": AGENT, "prompt": PROMPT}));
        let direct = Agent::start(daemon.root());
        let mut bench = Self { client, submit, direct, daemon };
        // The first turn starts the agent.
        bench.supervised();
        bench
    }

    /// The time to the first text and to the end of a turn, as a subscriber sees them.
    fn supervised(&mut self) -> (Duration, Duration) {
        let begin = Instant::now();
        let mut first = None;
        self.client.send(&self.submit);
        let whole = loop {
            match self.next() {
                Line::Text => _ = first.get_or_insert_with(|| begin.elapsed()),
                Line::TurnEnded => break begin.elapsed(),
                _ => {}
            }
        };
        // The next turn is not to wait for what follows the end of this one.
        while self.next() != Line::Idle {}
        (first.expect("a text before the end"), whole)
    }

    fn next(&mut self) -> Line {
        let line = self.client.receive();
        assert!(!line.is_empty(), "the daemon closed the connection");
        if has(line, "\"type\":\"text\"") {
            Line::Text
        } else if has(line, "\"type\":\"turn_ended\"") {
            Line::TurnEnded
        } else if has(line, "\"type\":\"agent_state\"") && has(line, "\"to\":\"idle\"") {
            Line::Idle
        } else {
            Line::Other
        }
    }
}

/// What a line from the daemon tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Text,
    TurnEnded,
    Idle,
    Other,
}
