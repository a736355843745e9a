//! An opencode server that answers with errors and pages, is too old, or has another password.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::contexts;
use crate::support::agents::{Consent, RealAgent};
use crate::support::daemon::TestDaemon;
use crate::support::home::Setup;
use crate::support::wait::until;

const AGENT: RealAgent = RealAgent::OpencodeServer;

#[test]
fn a_server_that_is_none_or_too_old_is_told_with_what_is_needed() {
    // mode, what the failure says, whether another start could help
    let cases: [(&[&str], &[&str], bool); 4] = [
        (&["html"], &["answers with a page", "opencode 1.18.0 or a later 1.x"], true),
        (&["version", "1.2.3"], &["opencode 1.2.3", "1.18.0 or newer"], true),
        (&["status", "401"], &["refuses the password"], true),
        (&["status", "500"], &["was not ready within"], false),
    ];
    for (mode, words, for_good) in cases {
        let daemon = Setup::new()
            .real(AGENT, Consent::Assumes)
            .fault_server(AGENT, mode)
            .config(if for_good { "" } else { "[process]\nstart_timeout = \"2s\"" })
            .config("[restart]\nmax = 1\n")
            .start();
        let chat = daemon.lone_chat();
        let params = json!({"chat": chat, "agent": AGENT.name(), "prompt": "say: hi", "no_wait": true});
        let task = daemon.rpc("task/submit", params);
        let ended = daemon.wait_task(task["id"].as_str().unwrap());
        assert_eq!(ended["state"], "failed", "{mode:?}: {ended:#}");
        if for_good {
            circuit_opens(&daemon, &chat);
        }
        let row = daemon.agent_session(&chat, AGENT.name());
        let told = format!("{ended:#} {row:#}");
        assert!(words.iter().all(|word| told.contains(word)), "{mode:?}: {told}");
        assert_eq!(row["pid"], Value::Null);
    }
}

#[test]
fn what_is_no_server_that_hob_can_drive_is_run_for_each_prompt_where_that_is_configured() {
    let oneshot = format!("[agents.{}]\noneshot = [\"/bin/echo\", \"once: {{prompt}}\"]", AGENT.name());
    let cases: [(&[&str], bool); 3] =
        [(&["html"], true), (&["version", "1.2.3"], true), (&["status", "401"], false)];
    for (mode, falls_back) in cases {
        let daemon =
            Setup::new().real(AGENT, Consent::Assumes).fault_server(AGENT, mode).config(&oneshot).start();
        let chat = daemon.lone_chat();
        let params = json!({"chat": chat, "agent": AGENT.name(), "prompt": "hi", "no_wait": true});
        let task = daemon.rpc("task/submit", params);
        let ended = daemon.wait_task(task["id"].as_str().unwrap());
        let (state, backend) = if falls_back { ("completed", "oneshot") } else { ("failed", "warm") };
        assert_eq!(
            (&ended["state"], &ended["backend"]),
            (&json!(state), &json!(backend)),
            "{mode:?}: {ended:#}"
        );
        if falls_back {
            assert_eq!(ended["text"], "once: hi\n", "{mode:?}: {ended:#}");
            let notices = daemon.events(json!({"chat": chat, "types": ["notice"]}));
            let told = |event: &Value| event["text"].as_str().unwrap().contains("is run for each prompt");
            assert!(notices.iter().any(told), "{mode:?}: {notices:#?}");
        }
    }
}

/// The server takes most of the time that a start has, so little is left for the session.
#[test]
fn server_and_session_share_the_time_of_one_start() {
    let daemon = Setup::new()
        .real(AGENT, Consent::Assumes)
        .fault_server(AGENT, &["slow", "7"])
        .config("[process]\nstart_timeout = \"8s\"\n[restart]\nmax = 1\n")
        .start();
    let chat = daemon.lone_chat();
    let since = Instant::now();
    let params = json!({"chat": chat, "agent": AGENT.name(), "prompt": "say: hi", "no_wait": true});
    let task = daemon.rpc("task/submit", params);
    let ended = daemon.wait_task(task["id"].as_str().unwrap());
    let told = format!("{ended:#} {:#}", daemon.agent_session(&chat, AGENT.name()));
    assert!(told.contains("no session could be opened: no answer within 8 s"), "{told}");
    assert!(since.elapsed() < Duration::from_secs(14), "{:?}", since.elapsed());
}

/// A start that cannot come to anything is not made again; told after the end of the task.
fn circuit_opens(daemon: &TestDaemon, chat: &str) {
    until("the circuit to be open", || {
        (daemon.agent_session(chat, AGENT.name())["status"] == "circuit_open").then_some(())
    });
}

#[test]
fn a_prompt_that_the_server_answers_with_an_error_fails_and_costs_nothing_else() {
    let daemon = Setup::new()
        .real(AGENT, Consent::Assumes)
        .fault_server(AGENT, &["refuse", "prompt_async", "2", "500", "{}"])
        .start();
    let chat = daemon.lone_chat();
    // Under the same ids it is sent again, and run once.
    assert_eq!(daemon.ask(&chat, AGENT.name(), "count"), "prompts=1");
    let pid = daemon.agent_pid(&chat, AGENT.name());
    assert_eq!(daemon.ask(&chat, AGENT.name(), "count"), "prompts=2");
    assert_eq!(daemon.agent_pid(&chat, AGENT.name()), pid);

    let daemon = Setup::new()
        .real(AGENT, Consent::Assumes)
        .fault_server(AGENT, &["refuse", "prompt_async", "4", "500", "{}"])
        .start();
    let chat = daemon.lone_chat();
    let task = daemon.run(&chat, AGENT.name(), "say: lost");
    let error = task["outcome"]["error"].as_str().unwrap_or_default();
    assert!(task["state"] == "failed" && error.contains("answered 500"), "{task:#}");
    assert_eq!(daemon.ask(&chat, AGENT.name(), "count"), "prompts=1");
}

#[test]
fn the_real_server_with_another_password_is_refused_for_good() {
    let daemon = Setup::new().real(AGENT, Consent::Assumes).fault_server(AGENT, &["password", "{}"]).start();
    let chat = daemon.lone_chat();
    let task = daemon.run(&chat, AGENT.name(), "say: hi");
    let error = task["outcome"]["error"].as_str().unwrap_or_default();
    assert!(task["state"] == "failed" && error.contains("refuses the password"), "{task:#}");
    circuit_opens(&daemon, &chat);
    assert_eq!(daemon.agent_session(&chat, AGENT.name())["pid"], Value::Null);
}

#[test]
fn whatever_else_the_server_answers_with_an_error_or_a_page_is_asked_again() {
    // of which request, with which status the page comes, so many times
    let cases = [
        ("POST /session?", "500", "2"),
        ("POST /session?", "200", "1"),
        ("GET /global/event", "500", "2"),
        ("GET /config", "200", "2"),
        ("GET /session/ses", "503", "1"),
        ("GET /session/status", "200", "1"),
    ];
    for (request, status, times) in cases {
        let daemon = Setup::new()
            .real(AGENT, Consent::Assumes)
            .fault_server(AGENT, &["refuse", request, times, status, "{}"])
            .config("[restart]\nbackoff_min = \"10ms\"\nbackoff_max = \"50ms\"")
            .start();
        let chat = daemon.lone_chat();
        assert_eq!(daemon.ask(&chat, AGENT.name(), "count"), "prompts=1", "{request} {status}");
        daemon.rpc("pool/evict", json!({"chat": chat, "agent": AGENT.name()}));
        assert_eq!(daemon.ask(&chat, AGENT.name(), "count"), "prompts=2", "{request} {status}");
        assert_eq!(contexts(&daemon, &chat), ["fresh", "resumed"], "{request} {status}");
    }
}
