//! Agents that die, hang and hide while they run: what they worked on ends once, what waits behind
//! it goes on, and nothing of them is left.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::daemon::{TestDaemon, kill};
use crate::support::leftovers::{is_alive, parent};
use crate::support::stage::{FAULT, Stage};
use crate::support::wait::until;

/// More than fits into a pipe, and into what an agent of a test reads ahead.
const PROMPT_BYTES: usize = 256 << 10;

/// How often a cancel may be quicker than a prompt.
const CANCELS_MAX: usize = 20;

/// How the last process of the bad agent ended.
fn last_exit(stage: &Stage) -> Value {
    stage.agent()["last_exit"].clone()
}

#[test]
fn an_agent_that_is_killed_while_idle_comes_back_with_the_next_prompt() {
    let stage = Stage::with("well");
    stage.ask("hello");
    let before = stage.kill_agent();
    let row = stage.wait_status("crashed");
    assert_eq!((&row["pid"], row["restarts"].as_u64()), (&json!(null), Some(0)), "{row:#}");
    assert_eq!(last_exit(&stage)["detail"], "killed by SIGKILL");
    assert_eq!(stage.moves("starting").len(), 1, "nobody needs it");
    assert_eq!(stage.ask("hello"), "well");
    assert_ne!(stage.pid(), before);
    stage.end();
}

#[test]
fn an_agent_that_is_killed_with_output_interrupts_its_task_and_the_queue_goes_on() {
    let stage = Stage::with("well");
    let task = stage.prompt_and_hear("fault: never-answer");
    let behind = [stage.submit(), stage.submit()];
    stage.kill_agent();
    let row = stage.daemon.wait_task(&task);
    assert_eq!(row["state"], "interrupted", "{row:#}");
    assert!(row["outcome"]["error"].as_str().unwrap().contains("signal 9"), "{row:#}");
    assert_eq!(row["text"], "before");
    for task in behind {
        assert_eq!(stage.daemon.wait_task(&task)["state"], "completed");
    }
    stage.end();
}

#[test]
fn an_agent_that_is_killed_before_it_said_anything_fails_its_task() {
    let stage = Stage::with("well");
    let task = stage.prompt("fault: silent");
    until("the turn to begin", || stage.events("turn_started").pop());
    let behind = stage.submit();
    stage.kill_agent();
    let row = stage.daemon.wait_task(&task);
    assert_eq!(row["state"], "failed", "{row:#}");
    assert!(row["outcome"]["error"].as_str().unwrap().contains("agent_crashed"), "{row:#}");
    assert_eq!(stage.daemon.wait_task(&behind)["state"], "completed");
    stage.end();
}

#[test]
fn an_agent_that_crashes_again_and_again_is_left_alone_until_a_person_says_so() {
    let stage = Stage::with("well");
    for _ in 0..3 {
        let row = stage.daemon.wait_task(&stage.prompt("fault: exit 9"));
        assert_eq!(row["state"], "interrupted", "{row:#}");
    }
    let waits = stage.submit();
    stage.wait_waiting(&waits, "circuit");
    let row = stage.wait_status("circuit_open");
    assert!(row["reason"].as_str().unwrap().contains("exited with code 9"), "{row:#}");
    assert!(row["last_exit"]["stderr_tail"].as_str().unwrap().contains("told to exit"), "{row:#}");
    assert_eq!(stage.moves("starting").len(), 3);
    stage.neighbour_is_well();
    stage.daemon.hob(&["restart", &stage.chat, FAULT]).ok();
    assert_eq!(stage.daemon.wait_task(&waits)["state"], "completed");
    stage.end();
}

#[test]
fn an_agent_that_stops_reading_costs_no_memory_and_can_be_cancelled() {
    let stage = Stage::with("well");
    let deaf = stage.prompt_and_hear("fault: deaf");
    let pid = stage.pid();
    stage.daemon.rpc("task/cancel", json!({"task": deaf}));
    assert_eq!(stage.daemon.wait_task(&deaf)["state"], "cancelled");
    stage.wait_gone(pid);

    // Deaf from before the prompt, which is more than a pipe holds.
    assert_eq!(stage.ask("fault: well-and-deaf"), "well");
    let pid = stage.pid();
    let is_gone = |n: usize| {
        let long = stage.prompt(&"long ".repeat(PROMPT_BYTES / 5));
        until("the turn to begin", || {
            stage.events("turn_started").pop().filter(|turn| turn["task"] == *long)
        });
        // It leaves once the files were looked at, however long that takes.
        std::thread::sleep(Duration::from_millis(10) * u32::try_from(n).unwrap());
        stage.daemon.rpc("task/cancel", json!({"task": long}));
        assert_eq!(stage.daemon.wait_task(&long)["state"], "cancelled");
        let settled = |row: &Value| row["status"] == "idle" || row["status"] == "evicted";
        until("the agent to settle", || Some(stage.agent()).filter(settled))["status"] == "evicted"
    };
    // A cancel may come before the prompt has left, and then costs no process.
    assert!((0..CANCELS_MAX).any(is_gone), "a prompt of {PROMPT_BYTES} bytes fits into a pipe");
    stage.wait_gone(pid);
    assert_eq!(stage.ask("hello"), "well");
    stage.end();
}

#[test]
fn an_agent_that_closes_stdout_and_lives_on_is_ended() {
    let stage = Stage::with("well");
    let task = stage.prompt_and_hear("fault: close-stdout");
    let pid = stage.pid();
    let row = stage.daemon.wait_task(&task);
    assert_eq!(row["state"], "interrupted", "{row:#}");
    assert!(row["outcome"]["error"].as_str().unwrap().contains("closed its output"), "{row:#}");
    stage.wait_gone(pid);
    assert_eq!(stage.ask("hello"), "well");
    stage.end();
}

#[test]
fn an_exit_behind_an_output_that_a_grandchild_holds_open_is_seen() {
    let stage = Stage::with("well");
    let row = stage.daemon.wait_task(&stage.prompt("fault: held-stdout"));
    assert_eq!(row["state"], "interrupted", "{row:#}");
    assert_eq!(stage.ask("hello"), "well");
    stage.end();
}

#[test]
fn what_a_dead_agent_left_behind_says_nothing_in_the_name_of_the_next() {
    let stage = Stage::with("well");
    let task = stage.prompt("fault: haunt");
    let behind = [stage.submit(), stage.submit()];
    assert_eq!(stage.daemon.wait_task(&task)["state"], "interrupted");
    for task in behind {
        assert_eq!(stage.daemon.wait_task(&task)["state"], "completed");
        assert_eq!(stage.said(&task), "well");
    }
    stage.end();
}

#[test]
fn an_agent_that_ignores_term_is_killed_after_the_grace() {
    let stage = Stage::with("ignore-term");
    assert_eq!(stage.ask("hello"), "well");
    let pid = stage.pid();
    stage.daemon.hob(&["evict", &stage.chat, FAULT]).ok();
    assert!(!is_alive(pid), "evict returns when it is gone");
    assert_eq!(stage.agent()["status"], "evicted");
    assert_eq!(stage.ask("hello"), "well");
    stage.end();
}

fn is_hiding(daemon: &TestDaemon) -> bool {
    daemon.processes().iter().any(|process| process.command.contains("while :; do sleep 1000"))
}

/// Children that left their session and their environment, and cannot be told to end.
#[test]
fn a_killed_agent_takes_along_what_hides_from_it() {
    let stage = Stage::with("daemonise");
    stage.ask("hello");
    assert!(is_hiding(&stage.daemon), "{:#?}", stage.daemon.processes());
    // The agent is a shell; below it are the agent proper, the child that hides, and what that runs.
    until("all to be counted", || stage.agent()["descendants"].as_u64().filter(|n| *n >= 2));
    stage.kill_agent();
    stage.wait_status("crashed");
    assert!(!is_hiding(&stage.daemon), "{:#?}", stage.daemon.processes());
    assert_eq!(stage.ask("hello"), "well");
    stage.daemon.hob(&["evict", &stage.chat, FAULT]).ok();
    assert!(!is_hiding(&stage.daemon), "{:#?}", stage.daemon.processes());
    stage.end();
}

#[test]
fn a_killed_daemon_takes_along_what_hides_from_it() {
    let mut stage = Stage::with("daemonise");
    stage.ask("hello");
    assert!(is_hiding(&stage.daemon), "{:#?}", stage.daemon.processes());
    stage.daemon.sigkill();
    stage.daemon.wait_nothing_left();
    stage.daemon.start_again();
    assert_eq!(stage.ask("hello"), "well");
    stage.daemon.stop();
    stage.daemon.wait_nothing_left();
}

#[test]
fn a_keeper_that_is_killed_alone_takes_its_agent_along_and_no_other() {
    let stage = Stage::with("well");
    let task = stage.prompt_and_hear("fault: never-answer");
    let behind = stage.submit();
    let pid = stage.pid();
    let keeper = parent(pid).unwrap();
    assert_ne!(keeper, stage.daemon.pid());
    kill(keeper);
    let row = stage.daemon.wait_task(&task);
    assert_eq!(row["state"], "interrupted", "{row:#}");
    stage.wait_gone(pid);
    assert_eq!(stage.daemon.wait_task(&behind)["state"], "completed");

    // The same with nothing to do.
    let pid = stage.pid();
    kill(parent(pid).unwrap());
    stage.wait_gone(pid);
    until("the end to be known", || (stage.agent()["pid"] != pid).then_some(()));
    assert_eq!(stage.ask("hello"), "well");
    stage.end();
}
