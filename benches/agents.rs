//! What it is worth to keep the real agents warm, and to have many conversations in one opencode
//! server: against a scripted model on loopback, so that only the agents' own time is in it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::agents::{Consent, RealAgent};
use crate::support::client::Client;
use crate::support::daemon::Daemon;
use crate::support::model::Model;
use crate::support::pairs::Pairs;
use crate::support::wait::PATIENCE;
use crate::support::{leftovers, say};

/// What is measured.
pub struct Plan {
    /// Agents, each started cold so many times.
    agents: &'static [RealAgent],
    rounds: usize,
    /// Chats with opencode, in one server and in one each.
    chats: usize,
}

/// All of them.
pub const WHOLE: Plan = Plan {
    agents: &[RealAgent::Goose, RealAgent::Qwen, RealAgent::Opencode, RealAgent::OpencodeServer],
    rounds: 5,
    chats: 10,
};

/// To see that it works.
pub const SMALL: Plan = Plan { agents: &[RealAgent::Goose], rounds: 1, chats: 0 };

/// Runs it.
pub fn run(plan: &Plan) {
    let model = Model::start();
    for agent in plan.agents {
        warm_against_cold(&model, *agent, plan.rounds);
    }
    if plan.chats > 0 {
        shared_against_alone(&model, plan.chats);
    }
}

/// A daemon that knows one agent, which keeps what it has below the daemon's home.
fn daemon(model: &Model, agent: RealAgent, more: &[(&str, &str)]) -> (Daemon, tempfile::TempDir) {
    let home = tempfile::Builder::new().prefix("hob-").tempdir().unwrap();
    let mut table = agent.config(home.path(), model, Consent::Assumes);
    for (key, value) in more {
        table.insert((*key).to_owned(), (*value).into());
    }
    let agents = toml::Table::from_iter([(agent.name().to_owned(), toml::Value::Table(table))]);
    let mut config = toml::Table::from_iter([("agents".to_owned(), toml::Value::Table(agents))]);
    let pool: toml::Table = "max_live = 64\nmin_available = \"0B\"".parse().unwrap();
    config.insert("pool".to_owned(), toml::Value::Table(pool));
    (Daemon::start(&config.to_string()), home)
}

/// From the submission to the first piece of text.
fn first_text(client: &mut Client, chat: &str, agent: RealAgent) -> Duration {
    let begin = Instant::now();
    let params = json!({"chat": chat, "agent": agent.name(), "prompt": "say: hello"});
    let task = client.call("task/submit", params);
    let params = json!({"task": task["id"], "after": 0, "types": ["text", "turn_ended"]});
    client.call("events/subscribe", params);
    let line: Value = serde_json::from_slice(client.receive()).unwrap();
    let took = begin.elapsed();
    assert_eq!(line["params"]["event"]["type"], "text", "{line:#}");
    client.call("events/unsubscribe", json!({"subscription": line["params"]["subscription"]}));
    let timeout = PATIENCE.as_millis() as u64;
    client.call("task/wait", json!({"task": task["id"], "timeout_ms": timeout}));
    took
}

fn warm_against_cold(model: &Model, agent: RealAgent, rounds: usize) {
    let (daemon, _home) = daemon(model, agent, &[]);
    let session = daemon.session();
    let mut pairs = Pairs::default();
    // The first start on a fresh home makes databases and caches.
    first_text(&mut daemon.connect(), &daemon.chat(&session), agent);
    for _ in 0..rounds {
        let mut client = daemon.connect();
        for row in client.call("pool/list", json!({})).as_array().unwrap() {
            client.call("pool/evict", json!({"chat": row["chat"], "agent": row["agent"], "force": true}));
        }
        let chat = daemon.chat(&session);
        let cold = first_text(&mut daemon.connect(), &chat, agent);
        // The second turn still warms something up inside some agents.
        first_text(&mut daemon.connect(), &chat, agent);
        pairs.push(cold, first_text(&mut daemon.connect(), &chat, agent));
    }
    pairs.report(&format!("{}: to the first text, cold", agent.name()), "warm");
}

fn shared_against_alone(model: &Model, n: usize) {
    let [(shared_s, shared_bytes), (alone_s, alone_bytes)] = ["all", "none"].map(|share| {
        let agent = RealAgent::OpencodeServer;
        let (daemon, _home) = daemon(model, agent, &[("share", share)]);
        let session = daemon.session();
        first_text(&mut daemon.connect(), &daemon.chat(&session), agent);
        let chats: Vec<String> = (1..n).map(|_| daemon.chat(&session)).collect();
        let begin = Instant::now();
        for chat in &chats {
            first_text(&mut daemon.connect(), chat, agent);
        }
        let took = begin.elapsed().as_secs_f64();
        let rows = daemon.connect().call("pool/list", json!({}));
        let mut pids: Vec<u64> =
            rows.as_array().unwrap().iter().filter_map(|row| row["pid"].as_u64()).collect();
        pids.sort_unstable();
        pids.dedup();
        assert_eq!(pids.len(), if share == "all" { 1 } else { n }, "{rows:#}");
        let bytes = pids.iter().map(|pid| leftovers::rss_bytes(u32::try_from(*pid).unwrap())).sum::<u64>();
        (took, bytes)
    });
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    say(&format!(
        "{n} chats with opencode in one server / in {n}: memory {:.2} ({:.0} against {:.0} MiB), from the second chat to the first text of the last {:.2} ({shared_s:.1} against {alone_s:.1} s)",
        shared_bytes as f64 / alone_bytes as f64,
        mib(shared_bytes),
        mib(alone_bytes),
        shared_s / alone_s,
    ));
}
