//! Agents that live and do not answer: told from those that work, started again, and explained.

use serde_json::{Value, json};

use crate::support::daemon::{TestDaemon, is_terminal, suspend};
use crate::support::demo::{DEMO, say, slow};
use crate::support::home::Setup;
use crate::support::leftovers::is_alive;
use crate::support::wait::until;

const FAULT: &str = "fault";

/// Short enough for a test, long enough that a live agent on a loaded machine is never ill.
const PATIENT: &str = "interval = \"100ms\"\ntimeout = \"1s\"\nfailures_max = 2\nstale_grace = \"1s\"";

/// A daemon with an agent of that mode, and a chat with it.
fn stage(mode: &str, health: &str) -> (TestDaemon, String) {
    let config = format!(
        "[process]\nstop_grace = \"500ms\"\ncancel_grace = \"500ms\"\n[agents.{FAULT}.health]\n{health}\n\
         [agents.{FAULT}.restart]\nbackoff_min = \"10ms\"\nbackoff_max = \"50ms\""
    );
    let daemon = Setup::new().config(&config).fault(FAULT, &[mode]).start();
    let chat = daemon.lone_chat();
    (daemon, chat)
}

/// The states of health that the journal tells of, in order.
fn states(daemon: &TestDaemon, chat: &str) -> Vec<String> {
    let events = daemon.events(json!({"chat": chat, "types": ["health"]}));
    events.iter().map(|event| event["to"].as_str().unwrap().to_owned()).collect()
}

/// The row of `hob health --json`.
fn row(daemon: &TestDaemon, chat: &str) -> Value {
    let rows = daemon.hob_json(&["health", "--json"]);
    let row = rows.as_array().unwrap().iter().find(|row| row["chat"] == chat);
    row.unwrap_or_else(|| panic!("no row of {chat}: {rows:#}")).clone()
}

/// Waits until another process than `old` serves the chat.
fn successor(daemon: &TestDaemon, chat: &str, old: u32) -> u32 {
    until("another process", || {
        let row = daemon.agent_session(chat, FAULT);
        let pid = row["pid"].as_u64().map(|pid| pid as u32)?;
        (pid != old && row["status"] == "idle").then_some(pid)
    })
}

#[test]
fn an_idle_agent_that_is_stopped_is_replaced_and_its_story_stays_readable() {
    let (daemon, chat) = stage("well", PATIENT);
    assert_eq!(daemon.ask(&chat, FAULT, "hello"), "well");
    let old = daemon.agent_pid(&chat, FAULT);
    suspend(old);
    let new = successor(&daemon, &chat, old);
    assert!(!is_alive(old));
    until("its health to be told", || {
        (states(&daemon, &chat) == ["suspect", "restarting", "healthy"]).then_some(())
    });
    assert_eq!(daemon.ask(&chat, FAULT, "hello again"), "well");
    assert_eq!(daemon.agent_pid(&chat, FAULT), new);
    let resets = daemon.events(json!({"chat": chat, "types": ["context_reset"]}));
    assert_eq!(resets.len(), 1, "it cannot load, and that is told: {resets:#?}");

    let row = row(&daemon, &chat);
    assert_eq!((&row["state"], &row["status"]), (&json!("healthy"), &json!("idle")), "{row:#}");
    assert_eq!((&row["restarts"], &row["failures"]), (&json!(1), &json!(0)), "{row:#}");
    assert_eq!(row["last_failure"]["class"], "timed_out", "{row:#}");
    assert!(row["last_exit"]["signal"].is_u64(), "{row:#}");
    assert!(row["reason"].as_str().unwrap().contains("2 probes in a row were not answered"), "{row:#}");
    let table = daemon.hob(&["health"]).ok().stdout;
    assert!(table.contains("2 probes in a row were not answered, "), "{table}");
    let log = daemon.hob(&["log", &chat]).ok().stdout;
    assert!(log.contains("health suspect → restarting: 2 probes in a row were not answered"), "{log}");
}

#[test]
fn a_turn_whose_agent_is_stopped_is_interrupted_after_the_grace_and_told_once() {
    let (daemon, chat) = stage("well", PATIENT);
    let task = daemon.submit(&chat, FAULT, "fault: never-answer");
    daemon.wait_event(&task, "text");
    let old = daemon.agent_pid(&chat, FAULT);
    suspend(old);
    let row_of_task = daemon.wait_task(&task);
    assert_eq!(row_of_task["state"], "interrupted", "{row_of_task:#}");
    let error = row_of_task["outcome"]["error"].as_str().unwrap_or_default();
    assert!(error.contains("not answered"), "{row_of_task:#}");
    let events = daemon.events(json!({"task": task}));
    let n = |kind: &str| events.iter().filter(|event| event["type"] == kind).count();
    let ends = events.iter().filter(|e| e["type"] == "task_state" && is_terminal(&json!({"state": e["to"]})));
    assert_eq!((n("turn_started"), n("turn_ended"), ends.count()), (1, 1, 1), "{events:#?}");
    assert_eq!(states(&daemon, &chat)[..3], ["suspect", "stale_busy", "restarting"]);
    assert_eq!(daemon.ask(&chat, FAULT, "hello"), "well");
    assert!(!is_alive(old));
    assert_eq!(row(&daemon, &chat)["restarts"], 1);
}

#[test]
fn an_agent_that_streams_and_answers_no_probe_is_left_alone() {
    let deaf = "interval = \"100ms\"\ntimeout = \"100ms\"\nfailures_max = 8\nstale_grace = \"2s\"";
    let (daemon, chat) = stage("deaf-ping", deaf);
    // Four seconds of words: more than it takes to be unhealthy and then silent for the grace.
    let task = daemon.submit(&chat, FAULT, "fault: stream 160");
    let row_of_task = daemon.wait_task(&task);
    assert_eq!(row_of_task["state"], "completed", "{row_of_task:#}");
    let events = daemon.events(json!({"chat": chat, "types": ["health", "turn_ended"]}));
    let stale = events.iter().position(|event| event["to"] == "stale_busy").expect("it was found unhealthy");
    let ended = events.iter().position(|event| event["type"] == "turn_ended").unwrap();
    assert!(stale < ended, "{events:#?}");
    assert!(events[..ended].iter().all(|event| event["to"] != "restarting"), "{events:#?}");
}

#[test]
fn an_idle_agent_that_closes_its_input_and_lives_on_is_replaced() {
    let (daemon, chat) = stage("close-stdin", PATIENT);
    assert_eq!(daemon.ask(&chat, FAULT, "hello"), "well");
    let old = daemon.agent_session(&chat, FAULT)["pid"].as_u64();
    // Nothing but a probe would be written to it.
    until("it to be noticed", || (row(&daemon, &chat)["last_failure"]["class"] == "refused").then_some(()));
    if let Some(old) = old {
        until("the old one to be ended", || (!is_alive(old as u32)).then_some(()));
    }
    assert_eq!(daemon.ask(&chat, FAULT, "hello again"), "well");
}

#[test]
fn a_turn_whose_agent_closes_its_input_and_lives_on_is_interrupted() {
    let (daemon, chat) = stage("close-stdin", PATIENT);
    let row_of_task = daemon.run(&chat, FAULT, "fault: never-answer");
    assert_eq!(row_of_task["state"], "interrupted", "{row_of_task:#}");
}

#[test]
fn the_built_in_agent_answers_probes_idle_and_in_mid_turn_and_nothing_is_told_of_it() {
    let hobd = env!("CARGO_BIN_EXE_hobd");
    let script = format!("tee \"$HOME/asked\" | {hobd} demo-agent | tee \"$HOME/answered\"");
    let config = format!(
        "[agents.wrapped]\nbackend = \"acp\"\ncommand = [\"/bin/sh\", \"-c\", {script:?}]\n\
         [agents.wrapped.health]\ninterval = \"20ms\"\n[agents.{DEMO}.health]\ninterval = \"20ms\""
    );
    let daemon = Setup::new().config(&config).start();
    let chat = daemon.lone_chat();
    let heard = |file: &str, word: &str| {
        let text = std::fs::read_to_string(daemon.root().join("home").join(file)).unwrap_or_default();
        text.lines().filter(|line| line.contains(word)).count()
    };
    assert_eq!(daemon.ask(&chat, "wrapped", &say("hello")), "hello");
    until("probes while it is idle", || (heard("answered", "-32601") >= 5).then_some(()));
    let before = heard("answered", "-32601");
    let task = daemon.submit(&chat, "wrapped", &slow(100, 20));
    daemon.wait_event(&task, "text");
    until("probes while it talks", || (heard("answered", "-32601") >= before + 5).then_some(()));
    assert_eq!(daemon.rpc("task/show", json!({"task": task}))["state"], "running");
    assert_eq!(daemon.wait_task(&task)["state"], "completed");
    assert!(heard("asked", "_hob/ping") >= heard("answered", "-32601"));
    assert_eq!(daemon.events(json!({"chat": chat, "types": ["health", "notice", "raw"]})), [] as [Value; 0]);
    assert!(!daemon.log().contains("WARN"), "{}", daemon.log());
    let row = row(&daemon, &chat);
    assert_eq!((&row["state"], &row["last_failure"]), (&json!("healthy"), &Value::Null), "{row:#}");
}
