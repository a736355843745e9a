//! The wall clock jumps under a running daemon: nobody's turn ends, nothing is due, and no trash is emptied.

use serde_json::{Value, json};

use crate::support::daemon::TestDaemon;
use crate::support::demo::{DEMO, say};
use crate::support::home::Setup;
use crate::support::machine::Machine;
use crate::support::repo::Repo;

const DAY_S: i64 = 24 * 3600;

/// Every limit that is measured in time, at its shortest that a busy machine keeps.
const LIMITS: &str = "[permissions]\ndeadline = \"10m\"\n[process]\ncancel_grace = \"5m\"";

/// A daemon whose clock the test sets.
fn daemon_with_clock() -> (TestDaemon, Machine) {
    daemon_with(LIMITS)
}

fn daemon_with(config: &str) -> (TestDaemon, Machine) {
    let home = Setup::new().config(config).home();
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

/// A worktree that was removed, and has a salvage.
fn removed(daemon: &TestDaemon) -> (Repo, String) {
    let repo = daemon.repo("repo");
    let session = daemon.session(&repo);
    std::fs::write(session.worktree.join("new.txt"), "mine\n").unwrap();
    let worktree = session.worktree.file_name().unwrap().to_str().unwrap().to_owned();
    daemon.rpc("session/delete", json!({"session": session.id, "discard_changes": true}));
    (repo, worktree)
}

fn stands(daemon: &TestDaemon, worktree: &str) -> (String, bool) {
    let rows = daemon.rpc("worktree/list", json!({"all": true}));
    let row = rows.as_array().unwrap().iter().find(|row| row["id"] == worktree).unwrap();
    (row["state"].as_str().unwrap().to_owned(), row["salvage_ref"].is_string())
}

#[test]
fn a_wrong_clock_empties_no_trash_and_lets_go_of_no_salvage() {
    let (mut daemon, machine) = daemon_with("[reaper]\ninterval = \"1h\"");
    let (repo, worktree) = removed(&daemon);
    let kept = ("archived".to_owned(), true);
    assert_eq!(stands(&daemon, &worktree), kept);
    for offset_s in [100 * DAY_S, -100 * DAY_S, 8 * DAY_S, 0] {
        machine.set_clock(offset_s);
        for _ in 0..2 {
            daemon.rpc("worktree/reap", json!({}));
        }
        assert_eq!(stands(&daemon, &worktree), kept, "{offset_s} s");
    }
    // Nor one that is wrong when the daemon starts.
    daemon.stop();
    machine.set_clock(400 * DAY_S);
    daemon.start_again();
    for _ in 0..2 {
        daemon.rpc("worktree/reap", json!({}));
    }
    assert_eq!(stands(&daemon, &worktree), kept);
    let told = daemon.events(json!({"types": ["notice"]}));
    let jumps =
        told.iter().filter(|event| event["text"].as_str().unwrap().contains("the clock was set")).count();
    assert_eq!(jumps, 5, "each jump is told once: {told:#?}");
    let refs = repo.git(&["for-each-ref", "refs/hob/salvage"]);
    assert!(refs.contains(&worktree), "{refs}");
    machine.set_clock(0);
    daemon.hob(&["worktree", "restore", &worktree]).ok();
}

#[test]
fn a_reaper_that_comes_round_by_itself_purges_nothing_by_a_wrong_clock_either() {
    let (daemon, machine) = daemon_with("[reaper]\ninterval = \"100ms\"\nretention = \"2m\"");
    let (_repo, worktree) = removed(&daemon);
    machine.set_clock(DAY_S);
    let told = || daemon.events(json!({"types": ["notice"]}));
    crate::support::wait::until("a pass that saw the jump", || {
        told()
            .iter()
            .any(|event| event["text"].as_str().unwrap().contains("set forward by 1day"))
            .then_some(())
    });
    // A person's pass waits for the one before it.
    let reaped = daemon.rpc("worktree/reap", json!({"worktree": worktree}));
    assert_eq!(reaped[0]["action"], "kept", "{reaped:#}");
    assert_eq!(stands(&daemon, &worktree), ("archived".to_owned(), true));
}

#[test]
fn after_a_jump_a_trash_whose_time_is_over_stays_and_whoever_asks_hears_why() {
    let (daemon, machine) = daemon_with("[reaper]\ninterval = \"1h\"\nretention = \"0s\"");
    let (_repo, worktree) = removed(&daemon);
    machine.set_clock(DAY_S);
    let reaped = daemon.rpc("worktree/reap", json!({"worktree": worktree}));
    assert_eq!(reaped[0]["action"], "kept", "{reaped:#}");
    assert!(reaped.to_string().contains("a clock was set"), "{reaped:#}");
    assert_eq!(stands(&daemon, &worktree), ("archived".to_owned(), true));
}
