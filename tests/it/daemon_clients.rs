//! Clients that leave at a bad moment, and clients that do not read: nobody else notices.

use std::collections::BTreeMap;
use std::io::Read;
use std::process::Stdio;
use std::thread;

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::demo::{DEMO, big, say, slow};
use crate::support::growth::Growth;
use crate::support::home::Setup;
use crate::support::wait::until;

/// What fifty watchers and one that is stuck may cost: a window and a page each, and no more
/// however much there is to be read.
const GROWTH_BYTES_MAX: u64 = 64 << 20;

/// Watchers that read.
const LIVE: usize = 50;

#[test]
fn a_client_that_is_killed_in_mid_stream_leaves_its_task_behind() {
    let daemon = Setup::new().start();
    let chat = daemon.lone_chat();
    let arguments = ["prompt", "-c", &chat, "-a", DEMO, &slow(400, 10)];
    let mut client = daemon.hob_command(&arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 1];
    client.stdout.take().unwrap().read_exact(&mut first).unwrap();
    client.kill().unwrap();
    client.wait().unwrap();

    let tasks = daemon.rpc("task/list", json!({"chat": chat}));
    assert_eq!(tasks[0]["state"], "running", "{tasks:#}");
    let row = daemon.wait_task(tasks[0]["id"].as_str().unwrap());
    assert_eq!(row["state"], "completed", "{row:#}");
    assert!(row["text"].as_str().unwrap().contains("tok400"), "{row:#}");
}

/// A line that submits, as a client would send it.
fn submit_line(chat: &str, name: &str) -> String {
    let params = json!({"chat": chat, "agent": DEMO, "prompt": say(name), "request_id": name});
    format!("{}\n", json!({"jsonrpc": "2.0", "id": 1, "method": "task/submit", "params": params}))
}

#[test]
fn a_submit_whose_client_is_gone_exists_once_or_not_at_all() {
    let daemon = Setup::new().start();
    let chat = daemon.lone_chat();
    for n in 0..20 {
        let line = submit_line(&chat, &format!("whole-{n}"));
        daemon.connect().send(line.as_bytes()).unwrap();
        let half = submit_line(&chat, &format!("half-{n}"));
        daemon.connect().send(&half.as_bytes()[..half.len() * 2 / 3]).unwrap();
    }
    let count = || {
        let mut n_of: BTreeMap<String, usize> = BTreeMap::new();
        for task in daemon.rpc("task/list", json!({"chat": chat, "limit": 1000})).as_array().unwrap() {
            *n_of.entry(task["prompt"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        n_of
    };
    assert!(count().values().all(|n| *n == 1), "{:?}", count());
    // Whoever does not know asks again with the same name, and gets the first or a first.
    let mut client = daemon.connect();
    for n in 0..20 {
        client.send(submit_line(&chat, &format!("whole-{n}")).as_bytes()).unwrap();
        let answer = client.receive().unwrap();
        let task = answer["result"]["id"].as_str().unwrap_or_else(|| panic!("{answer:#}"));
        assert_eq!(daemon.wait_task(task)["state"], "completed");
    }
    let n_of = count();
    assert_eq!(n_of.len(), 20, "{n_of:?}");
    assert!(n_of.iter().all(|(prompt, n)| prompt.contains("whole") && *n == 1), "{n_of:?}");
    let turns = daemon.events(json!({"chat": chat, "types": ["turn_started"]}));
    assert_eq!(turns.len(), 20);
}

fn seq(event: &Value) -> i64 {
    event["seq"].as_i64().unwrap()
}

/// Reads until the last turn has ended.
fn read_to_the_end(client: &mut Client, last: &str) -> Vec<i64> {
    let mut seqs = Vec::new();
    loop {
        let event = client.next_event().expect("an event, not a closed connection");
        seqs.push(seq(&event));
        if event["type"] == "turn_ended" && event["task"] == *last {
            return seqs;
        }
    }
}

#[test]
fn fifty_watchers_hear_everything_beside_one_that_is_stuck_and_it_misses_nothing() {
    let daemon = Setup::new().start();
    let chat = daemon.lone_chat();
    daemon.ask(&chat, DEMO, &say("here"));
    let subscribe = || {
        let mut client = daemon.connect();
        client.call("events/subscribe", json!({"chat": chat, "after": 0})).unwrap();
        client
    };
    let growth = Growth::watch(daemon.pid());
    let mut stuck = subscribe();
    let live: Vec<Client> = (0..LIVE).map(|_| subscribe()).collect();
    // Far more than a socket and a window take in.
    let task = daemon.submit(&chat, DEMO, &big(1536));
    let readers: Vec<_> = live
        .into_iter()
        .map(|mut client| {
            let task = task.clone();
            thread::spawn(move || read_to_the_end(&mut client, &task))
        })
        .collect();
    // The stuck one has not read a byte when all others are done.
    let heard: Vec<Vec<i64>> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
    growth.stays_under(GROWTH_BYTES_MAX);
    assert_eq!(daemon.wait_task(&task)["state"], "completed");
    let wanted = daemon.events(json!({"chat": chat}));
    let end =
        wanted.iter().position(|event| event["type"] == "turn_ended" && event["task"] == *task).unwrap();
    let wanted: Vec<i64> = wanted[..=end].iter().map(seq).collect();
    assert!(heard.iter().all(|seqs| *seqs == wanted), "every event once and in order");
    assert_eq!(read_to_the_end(&mut stuck, &task), wanted);
}

/// How many clients the daemon counts, the one who asks among them.
fn n_clients(client: &mut Client) -> u64 {
    client.call("daemon/status", json!({})).unwrap()["counts"]["clients"].as_u64().unwrap()
}

#[test]
fn clients_that_fall_silent_with_a_subscription_and_then_go_leave_nothing() {
    let daemon = Setup::new().start();
    let chat = daemon.lone_chat();
    let mut asks = daemon.connect();
    for _ in 0..40 {
        let mut client = daemon.connect();
        client.call("events/subscribe", json!({"chat": chat})).unwrap();
        client.fall_silent();
        // It has read that there is nothing more when it answers somebody else.
        n_clients(&mut asks);
        drop(client);
    }
    // A wait instead of a subscription, and nothing at all.
    let task = daemon.submit(&chat, DEMO, &slow(200, 50));
    let mut waits = daemon.connect();
    let line = json!({"jsonrpc": "2.0", "id": 1, "method": "task/wait", "params": {"task": task}});
    waits.send(format!("{line}\n").as_bytes()).unwrap();
    waits.fall_silent();
    n_clients(&mut asks);
    drop(waits);
    until("all but one to be gone", || (n_clients(&mut asks) == 1).then_some(()));
    // Who fell silent and is still there is still served.
    let mut listens = daemon.connect();
    listens.call("events/subscribe", json!({"chat": chat})).unwrap();
    listens.fall_silent();
    daemon.rpc("task/cancel", json!({"task": task}));
    listens.event(|event| event["type"] == "task_state" && event["to"] == "cancelled");
}

#[test]
fn when_all_places_are_taken_the_owner_can_still_look_and_stop_the_daemon() {
    let mut daemon = Setup::new().config("[control]\nmax_clients = 4").start();
    // Whoever waited for the start has to be gone, else the last of the crowd is one too many.
    let mut first = daemon.connect();
    until("the first to be alone", || (n_clients(&mut first) == 1).then_some(()));
    let mut crowd: Vec<Client> = (0..3).map(|_| daemon.connect()).collect();
    for client in &mut crowd {
        client.call("daemon/hello", json!({"client": "a test", "protocol": 1})).unwrap();
    }
    daemon.hob(&["ps"]).exit(75).says(&["4 clients are connected"]);
    daemon.hob(&["status"]).ok();
    daemon.hob(&["down"]).ok();
    assert!(daemon.wait_end(std::time::Duration::from_secs(15)).success());
}
