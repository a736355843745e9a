//! How many events a second go from an agent through the journal to its subscribers, each of whom
//! must see every one.
//!
//! ```text
//! agent ─▶ hobd ─▶ journal ─▶ 1 or 16 subscribers
//!   │                 │             ▲
//!   drained          insert       deliver        (what cannot be avoided, in the same run)
//! ```

mod limits;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use criterion::{Criterion, SamplingMode, Throughput};
use serde_json::json;

use self::limits::{Delivery, Insertion};
use crate::support::agent::Agent;
use crate::support::client::{Client, request};
use crate::support::daemon::{AGENT, Daemon};
use crate::support::has;
use crate::support::pairs::Pairs;
use crate::support::wait::PATIENCE;

/// Words that the agent says, each of them an event: so many that the turn's beginning and end do
/// not count.
const WORDS: usize = 20_000;

/// Runs it.
pub fn run(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("events");
    group.sample_size(10).sampling_mode(SamplingMode::Flat).measurement_time(Duration::from_secs(20));
    for n_subscribers in [1, 16] {
        let mut bench = None;
        let (mut drained, mut inserted, mut delivered) = <(Pairs, Pairs, Pairs)>::default();
        group.throughput(Throughput::Elements(WORDS as u64));
        group.bench_function(format!("to {n_subscribers}"), |bencher| {
            let bench: &mut Bench = bench.get_or_insert_with(|| Bench::start(n_subscribers));
            bencher.iter_custom(|rounds| {
                let round = |_| {
                    let ours = bench.turn();
                    drained.push(ours, bench.direct.prompt(&bench.prompt).whole);
                    inserted.push(ours, bench.insertion.run());
                    delivered.push(ours, bench.delivery.run());
                    ours
                };
                (0..rounds).map(round).sum()
            });
        });
        let Some(bench) = bench else { continue };
        let n = bench.n_events as f64;
        let ours = format!("{n} events to {n_subscribers} subscribers");
        drained.report_rate(&ours, "the agent into a pipe that is drained", n);
        inserted.report_rate(&ours, "the same rows into SQLite", n);
        delivered.report_rate(&ours, "the same lines over as many sockets", n);
    }
    group.finish();
}

struct Bench {
    prompt: String,
    n_events: usize,
    subscribers: Vec<Subscriber>,
    client: Client,
    submit: Vec<u8>,
    direct: Agent,
    insertion: Insertion,
    delivery: Delivery,
    // Ends last: subscribers end with their connections.
    _daemon: Daemon,
}

impl Bench {
    fn start(n_subscribers: usize) -> Self {
        let daemon = Daemon::start("");
        let chat = daemon.chat(&daemon.session());
        let mut client = daemon.connect();
        let prompt = format!("say: {}", "word ".repeat(WORDS));
        let submit = request("task/submit", json!({"chat": chat, "agent": AGENT, "prompt": prompt}));
        let mut subscribers: Vec<_> = (0..n_subscribers).map(|_| Subscriber::start(&daemon, &chat)).collect();
        client.send(&submit);
        client.receive();
        let seen: Vec<Seen> = subscribers.iter_mut().map(Subscriber::turn).collect();
        let mut direct = Agent::start(daemon.root());
        let n_texts = direct.prompt(&prompt).n_texts;
        assert_eq!((n_texts, seen[0].n_texts), (WORDS, WORDS), "every word is an event");
        let insertion = Insertion::of(daemon.root(), seen[0].n_events);
        let delivery = Delivery::to(n_subscribers, insertion.lines());
        let n_events = insertion.n_events();
        Self { prompt, n_events, subscribers, client, submit, direct, insertion, delivery, _daemon: daemon }
    }

    /// Runs a turn, and returns how long it took until its last event was with the last subscriber.
    fn turn(&mut self) -> Duration {
        let begin = Instant::now();
        self.client.exchange(&self.submit);
        let seen: Vec<Seen> = self.subscribers.iter_mut().map(Subscriber::turn).collect();
        let first = &seen[0];
        for other in &seen {
            assert_eq!((other.n_events, other.last), (first.n_events, first.last), "all see the same");
            assert_eq!(other.n_texts, WORDS, "every word is an event");
        }
        seen.iter().map(|seen| seen.at).max().unwrap() - begin
    }
}

/// What a subscriber saw of a turn.
struct Seen {
    n_events: usize,
    n_texts: usize,
    last: u64,
    at: Instant,
}

/// Reads events in a thread of its own.
struct Subscriber {
    turns: Receiver<Seen>,
    #[expect(dead_code, reason = "it ends with its connection")]
    thread: JoinHandle<()>,
}

impl Subscriber {
    fn start(daemon: &Daemon, chat: &str) -> Self {
        let mut client = daemon.connect();
        client.call("events/subscribe", json!({"chat": chat}));
        let (told, turns) = channel();
        let thread = std::thread::spawn(move || follow(&mut client, &told));
        Self { turns, thread }
    }

    fn turn(&mut self) -> Seen {
        self.turns.recv_timeout(PATIENCE).expect("the end of a turn")
    }
}

fn follow(client: &mut Client, told: &Sender<Seen>) {
    let (mut n_events, mut n_texts, mut last) = (0, 0, 0);
    loop {
        let line = client.receive();
        if line.is_empty() {
            return;
        }
        let seq = seq(line);
        assert!(seq > last, "event {seq} after event {last}");
        last = seq;
        n_events += 1;
        if has(line, "\"type\":\"text\"") {
            n_texts += 1;
        } else if has(line, "\"type\":\"turn_ended\"") {
            // The next turn may have begun when this one is told; then nobody listens any more.
            if told.send(Seen { n_events, n_texts, last, at: Instant::now() }).is_err() {
                return;
            }
            (n_events, n_texts) = (0, 0);
        }
    }
}

/// The number of an event, without parsing the line.
fn seq(line: &[u8]) -> u64 {
    const KEY: &[u8] = b"\"seq\":";
    let at = memchr::memmem::find(line, KEY).expect("an event has a number") + KEY.len();
    line[at..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0, |n, byte| n * 10 + u64::from(byte - b'0'))
}
