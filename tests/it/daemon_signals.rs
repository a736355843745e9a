//! How a daemon is told to end, and to read its configuration again: by signals and by `hob down`.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::daemon::TestDaemon;
use crate::support::demo::{DEMO, long, say, slow};
use crate::support::home::Setup;
use crate::support::wait::until;

/// What an ordered end may take on a busy machine. Far below [`LONG_GRACE`].
const END_WITHIN: Duration = Duration::from_secs(20);

/// Agents that do not end would be waited for so long.
const LONG_GRACE: &str = "[process]\nstop_grace = \"10m\"\ncancel_grace = \"10m\"";

#[test]
fn sigterm_cancels_what_runs_keeps_what_waits_and_leaves_nothing_behind() {
    let mut daemon = Setup::new().start();
    let chat = daemon.lone_chat();
    let running = daemon.submit(&chat, DEMO, &long());
    let queued = daemon.submit(&chat, DEMO, &say("later"));
    daemon.wait_event(&running, "text");

    daemon.signal(Signal::SIGTERM);
    let status = daemon.wait_end(END_WITHIN);
    assert_eq!(status.code(), Some(0), "{}", daemon.log());
    daemon.wait_nothing_left();
    assert!(!daemon.socket().exists(), "the socket is removed");

    daemon.start_again();
    let row = daemon.rpc("task/show", json!({"task": running}));
    assert_eq!(row["state"], "cancelled", "{row:#}");
    // It was never sent to an agent, so it may be now.
    assert_eq!(daemon.wait_task(&queued)["text"], "later");
    let attempts = daemon.events(json!({"task": queued, "types": ["turn_started"]}));
    assert_eq!(attempts.len(), 1, "{attempts:#?}");
}

#[test]
fn a_second_sigterm_does_not_wait_for_an_agent_that_does_not_end() {
    let mut daemon = Setup::new().config(LONG_GRACE).fault("stubborn", &["ignore-term"]).start();
    let (idle, busy) = (daemon.lone_chat(), daemon.lone_chat());
    daemon.ask(&idle, "stubborn", "hello");
    let running = daemon.submit(&busy, "stubborn", "fault: never-answer");
    daemon.wait_event(&running, "text");

    daemon.signal(Signal::SIGTERM);
    until("the daemon to begin to end", || daemon.log().contains("stopping").then_some(()));
    daemon.signal(Signal::SIGTERM);
    let status = daemon.wait_end(END_WITHIN);
    assert_eq!(status.code(), Some(0), "{}", daemon.log());
    daemon.wait_nothing_left();

    daemon.start_again();
    let row = daemon.rpc("task/show", json!({"task": running}));
    assert!(["cancelled", "interrupted"].iter().any(|state| row["state"] == *state), "{row:#}");
}

/// `hob down --drain` while a turn runs and another waits behind it.
fn drained(prompt: &str, seconds: &str) -> (TestDaemon, String, String) {
    let mut daemon = Setup::new().start();
    let chat = daemon.lone_chat();
    let running = daemon.submit(&chat, DEMO, prompt);
    let queued = daemon.submit(&chat, DEMO, &say("later"));
    daemon.wait_event(&running, "text");
    daemon.hob(&["--no-start", "down", "--drain", seconds]).ok();
    assert_eq!(daemon.wait_end(END_WITHIN).code(), Some(0), "{}", daemon.log());
    daemon.wait_nothing_left();
    daemon.start_again();
    (daemon, running, queued)
}

#[test]
fn a_drain_lets_the_running_turn_end_and_begins_no_other() {
    let (daemon, running, queued) = drained(&slow(160, 25), "60");
    let row = daemon.rpc("task/show", json!({"task": running}));
    assert_eq!(row["state"], "completed", "{row:#}");
    let ended = daemon.wait_task(&queued);
    assert_eq!(ended["text"], "later", "{ended:#}");
    // The one that waited was begun by the next daemon only, in a process of its own.
    let starts = daemon.events(json!({"types": ["agent_state"]}));
    assert_eq!(starts.iter().filter(|event| event["to"] == "starting").count(), 2, "{starts:#?}");
}

#[test]
fn a_drain_that_has_reached_its_limit_cancels() {
    let (daemon, running, queued) = drained(&long(), "1");
    let row = daemon.rpc("task/show", json!({"task": running}));
    assert_eq!(row["state"], "cancelled", "{row:#}");
    assert_eq!(daemon.wait_task(&queued)["text"], "later");
}

#[test]
fn nothing_new_is_taken_during_a_drain_and_a_second_request_hurries_it() {
    let mut daemon = Setup::new().start();
    let chat = daemon.lone_chat();
    let running = daemon.submit(&chat, DEMO, &long());
    daemon.wait_event(&running, "text");
    let mut client = daemon.connect();
    client.call("daemon/shutdown", json!({"drain_s": 600})).unwrap();
    let params = json!({"chat": chat, "agent": DEMO, "prompt": say("too late")});
    let refused = client.call("task/submit", params).unwrap_err();
    assert_eq!((refused.kind.as_str(), &refused.data["retryable"]), ("shutting_down", &json!(true)));
    assert_eq!(client.call("task/show", json!({"task": running})).unwrap()["state"], "running");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait_end(END_WITHIN).code(), Some(0), "{}", daemon.log());
    daemon.wait_nothing_left();
}

#[test]
fn sighup_takes_a_good_file_over_and_keeps_the_old_one_where_the_new_one_is_bad() {
    let daemon = Setup::new().config("[pool]\nmax_live = 1").start();
    let chat = daemon.lone_chat();
    daemon.ask(&chat, DEMO, &say("here"));
    let max_live = || daemon.rpc("daemon/status", json!({}))["limits"]["max_live"].clone();
    assert_eq!(max_live(), 1);

    daemon.write_config("[pool]\nmax_live = 2\nmin_available = \"0B\"\n");
    daemon.signal(Signal::SIGHUP);
    until("the new limit", || (max_live() == 2).then_some(()));
    // The limit that changed is the one that holds, and what ran is as it was.
    assert_eq!(daemon.ask(&daemon.lone_chat(), DEMO, &say("also here")), "also here");
    assert_eq!(daemon.rpc("pool/list", json!({})).as_array().unwrap().len(), 2);

    daemon.write_config("[pool]\nmax_live = 3\nmax_lively = 4\n");
    daemon.signal(Signal::SIGHUP);
    until("the word about the bad file", || daemon.log().contains("the old one stays").then_some(()));
    assert!(daemon.log().contains("max_lively"), "{}", daemon.log());
    assert_eq!(max_live(), 2);
    daemon.hob(&["reload"]).exit(78).says(&["max_lively", "config.toml:3"]);
    assert_eq!(max_live(), 2);
    assert_eq!(daemon.ask(&chat, DEMO, &say("still here")), "still here");
}
