//! The wall clock jumps by a day under a running daemon: nobody's turn ends, nothing is due.

use serde_json::{Value, json};

use crate::support::daemon::TestDaemon;
use crate::support::demo::{DEMO, say};
use crate::support::home::Setup;
use crate::support::machine::Machine;

const DAY_S: i64 = 24 * 3600;

/// Every limit that is measured in time, at its shortest that a busy machine keeps.
const LIMITS: &str = "[permissions]\ndeadline = \"10m\"\n[process]\ncancel_grace = \"5m\"";

/// A daemon whose clock the test sets.
fn daemon_with_clock() -> (TestDaemon, Machine) {
    let home = Setup::new().config(LIMITS).home();
    let machine = Machine::calm(&home);
    let below = machine.below();
    let start = move |command: &mut std::process::Command| {
        below(command);
        // So that it can be looked into without being root.
        command.arg("--debug").env("HOB_LOG", "info");
    };
    (TestDaemon::start_with(home, start), machine)
}

/// A turn that begins before the jump and ends after it.
#[track_caller]
fn outlives_a_jump(daemon: &TestDaemon, machine: &Machine, offset_s: i64) {
    let chat = daemon.lone_chat();
    let asking = daemon.lone_chat();
    let mut person = daemon.watch(&asking);
    let asked = daemon.submit(&asking, DEMO, "ask: may I");
    let question = person.event(|event| event["type"] == "permission_requested");
    let running = daemon.submit(&chat, DEMO, "slow: 600 5");
    daemon.wait_event(&running, "text");

    machine.set_clock(offset_s);
    // An event that the clock after the jump has stamped, in mid-turn.
    daemon.ask(&daemon.lone_chat(), DEMO, &say("after the jump"));
    assert_eq!(daemon.rpc("task/show", json!({"task": running}))["state"], "running");
    let all = daemon.rpc("permission/list", json!({}));
    let row = all.as_array().unwrap().iter().find(|row| row["id"] == question["permission"]).unwrap();
    assert_eq!(row["state"], "pending", "{row:#}");
    let option = question["options"][0]["id"].clone();
    person
        .call("permission/answer", json!({"permission": question["permission"], "option": option}))
        .unwrap();
    for task in [&running, &asked] {
        let row = daemon.wait_task(task);
        assert_eq!(row["state"], "completed", "{row:#}");
    }
    let status = daemon.rpc("daemon/status", json!({}));
    let uptime_s = status["uptime_s"].as_i64().unwrap();
    assert!((0..DAY_S / 2).contains(&uptime_s), "{status:#}");
    let ends = daemon.events(json!({"types": ["turn_ended"]}));
    for end in ends {
        let duration_ms = end["duration_ms"].as_i64().unwrap();
        assert!((0..DAY_S * 1000 / 2).contains(&duration_ms), "{end:#}");
    }
}

#[test]
fn a_clock_that_jumps_by_a_day_ends_no_turn_and_turns_no_order_around() {
    let (mut daemon, machine) = daemon_with_clock();
    for offset_s in [DAY_S, 0, -DAY_S] {
        outlives_a_jump(&daemon, &machine, offset_s);
    }
    // The jump was really seen: the journal holds the day that was ahead.
    let events = daemon.events(json!({}));
    let days: std::collections::BTreeSet<&str> =
        events.iter().map(|event| &event["at"].as_str().unwrap()[..10]).collect();
    assert!(days.len() >= 2, "{days:?}");
    let seqs: Vec<i64> = events.iter().map(|event| event["seq"].as_i64().unwrap()).collect();
    assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]));
    let times: Vec<&str> = events.iter().map(|event| event["at"].as_str().unwrap()).collect();
    assert!(times.is_sorted(), "the times of the journal never go back");

    // What the next daemon finds was written a day ahead of its clock.
    daemon.stop();
    daemon.start_again();
    let chat = daemon.lone_chat();
    assert_eq!(daemon.ask(&chat, DEMO, &say("after")), "after");
    let later = daemon.events(json!({"chat": chat}));
    assert!(later.iter().all(|event| event["seq"].as_i64() > seqs.last().copied()), "{later:#?}");
}

#[test]
fn what_is_loaded_into_the_daemon_is_not_passed_on_to_its_agents() {
    let (daemon, machine) = daemon_with_clock();
    let chat = daemon.lone_chat();
    daemon.ask(&chat, DEMO, &say("here"));
    let pid = daemon.agent_pid(&chat, DEMO);
    let preload = machine.preload().to_str().unwrap();
    let of = |pid: u32, file: &str| {
        String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/{file}")).unwrap()).into_owned()
    };
    assert!(of(daemon.pid(), "maps").contains(preload), "the daemon has it");
    assert!(!of(pid, "environ").contains("LD_PRELOAD"));
    assert!(!of(pid, "maps").contains(preload));
    let asked: Value = json!(daemon.ask(&chat, DEMO, "shell: env"));
    assert!(!asked.to_string().contains("LD_"), "{asked}");
}
