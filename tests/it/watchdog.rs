//! Turns that are alive and come to nothing: warned of, cancelled, told as interrupted.

use serde_json::{Value, json};

use crate::support::daemon::TestDaemon;
use crate::support::demo::{DEMO, say, slow};
use crate::support::home::Setup;
use crate::support::wait::until;

const FAULT: &str = "fault";

fn stage(watchdog: &str) -> (TestDaemon, String) {
    let config =
        format!("[process]\ncancel_grace = \"500ms\"\nstop_grace = \"500ms\"\n[watchdog]\n{watchdog}");
    let daemon = Setup::new().config(&config).fault(FAULT, &["well"]).start();
    let chat = daemon.lone_chat();
    (daemon, chat)
}

fn notices(daemon: &TestDaemon, task: &str) -> Vec<String> {
    let events = daemon.events(json!({"task": task, "types": ["notice"]}));
    events.iter().map(|event| event["text"].as_str().unwrap().to_owned()).collect()
}

/// The task is interrupted, its reason names the limit, and there was a warning before.
#[track_caller]
fn is_given_up(daemon: &TestDaemon, task: &str, what: &str) -> Value {
    let row = daemon.wait_task(task);
    assert_eq!(row["state"], "interrupted", "{row:#}");
    assert!(row["outcome"]["error"].as_str().unwrap().contains(what), "{row:#}");
    let told = notices(daemon, task);
    assert_eq!(told.len(), 2, "a warning, and the end: {told:?}");
    assert!(told[0].contains("half of the limit") && told[1].contains("given up"), "{told:?}");
    row
}

#[test]
fn a_silent_turn_whose_agent_ignores_the_cancel_is_interrupted_and_its_agent_replaced() {
    let (daemon, chat) = stage("silence = \"2s\"");
    let task = daemon.submit(&chat, FAULT, "fault: never-answer");
    daemon.wait_event(&task, "text");
    let old = daemon.agent_pid(&chat, FAULT);
    is_given_up(&daemon, &task, "nothing was heard of the agent");
    until("another process", || {
        let row = daemon.agent_session(&chat, FAULT);
        (row["status"] == "idle" && row["pid"] != old).then_some(())
    });
    assert_eq!(daemon.ask(&chat, FAULT, "hello"), "well");
}

#[test]
fn a_tool_that_runs_too_long_is_cancelled_and_its_agent_stays() {
    let (daemon, chat) = stage("silence = \"2s\"\ntool = \"4s\"");
    daemon.ask(&chat, DEMO, &say("hello"));
    let pid = daemon.agent_pid(&chat, DEMO);
    let params = json!({"chat": chat, "agent": DEMO, "prompt": "shell: sleep 1000", "permissions": "allow"});
    let task = daemon.rpc("task/submit", params)["id"].as_str().unwrap().to_owned();
    is_given_up(&daemon, &task, "a tool has been running");
    assert_eq!(daemon.ask(&chat, DEMO, &say("still here")), "still here");
    assert_eq!(daemon.agent_pid(&chat, DEMO), pid);
}

#[test]
fn a_turn_that_goes_on_speaking_is_left_alone() {
    let (daemon, chat) = stage("silence = \"4s\"");
    let row = daemon.run(&chat, DEMO, &slow(100, 50));
    assert_eq!(row["state"], "completed", "{row:#}");
    assert_eq!(notices(&daemon, row["id"].as_str().unwrap()), [""; 0]);
}
