//! The limit of open files: the daemon raises its own, agents get the one that it was given, and
//! one that is used up refuses what is new and harms nothing that runs.

use std::process::Command;

use serde_json::json;

use crate::support::client::{Client, RpcError};
use crate::support::daemon::TestDaemon;
use crate::support::demo::{DEMO, say};
use crate::support::home::Setup;
use crate::support::wait::until;

/// What the daemon is started with: below any hard limit.
const GIVEN: u64 = 256;

/// Descriptors that are left when the limit comes down.
const LEFT: u64 = 3;

/// Puts a program that executes what follows it before a command.
fn behind(command: &mut Command, program: &str, arguments: &[&str]) {
    let mut whole = Command::new(program);
    whole.args(arguments).arg(command.get_program()).args(command.get_args());
    whole.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    whole.current_dir(command.get_current_dir().unwrap());
    *command = whole;
}

/// A daemon that is started with a low soft limit, as from a login shell, and that may be looked
/// into.
fn with_low_limit() -> TestDaemon {
    TestDaemon::start_with(Setup::new().home(), |command| {
        command.arg("--debug").env("HOB_LOG", "info");
        behind(command, "prlimit", &[&format!("--nofile={GIVEN}:")]);
    })
}

/// The soft and the hard limit of a process.
fn limits(pid: u32) -> (String, String) {
    let text = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let mut numbers = line.split_whitespace().map(str::to_owned);
    (numbers.next().unwrap(), numbers.next().unwrap())
}

fn set_limit(pid: u32, soft: &str) {
    let set =
        Command::new("prlimit").args(["--pid", &pid.to_string(), &format!("--nofile={soft}:")]).status();
    assert!(set.unwrap().success());
}

/// The highest descriptor that a process has.
fn highest(pid: u32) -> u64 {
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).max().unwrap()
}

#[test]
fn the_daemon_takes_as_many_descriptors_as_it_may_and_its_agents_get_what_it_was_given() {
    let daemon = with_low_limit();
    let (soft, hard) = limits(daemon.pid());
    assert_eq!(soft, hard);
    assert_ne!(soft, GIVEN.to_string());
    let chat = daemon.lone_chat();
    daemon.ask(&chat, DEMO, &say("here"));
    assert_eq!(limits(daemon.agent_pid(&chat, DEMO)), (GIVEN.to_string(), hard));
}

/// Greets the daemon on a connection of its own.
fn greet(daemon: &TestDaemon) -> Result<Client, RpcError> {
    let mut client = daemon.connect();
    client.call("daemon/hello", json!({"client": "a test", "protocol": 1})).map(|_| client)
}

/// The word that a client gets in place of an answer.
fn refusal(daemon: &TestDaemon) -> Option<serde_json::Value> {
    let mut client = daemon.connect();
    // It may be turned away before it has said anything.
    let _ = client.send(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"daemon/status\",\"params\":{}}\n");
    client.receive().filter(|answer| answer["error"].is_object())
}

#[test]
fn without_a_descriptor_what_is_new_is_refused_and_what_runs_goes_on() {
    let daemon = with_low_limit();
    let (busy, fresh) = (daemon.lone_chat(), daemon.lone_chat());
    let running = daemon.submit(&busy, DEMO, "slow: 600 20");
    daemon.wait_event(&running, "text");
    let mut there = greet(&daemon).unwrap();
    let hard = limits(daemon.pid()).1;
    set_limit(daemon.pid(), &(highest(daemon.pid()) + 1 + LEFT).to_string());

    let mut clients = Vec::new();
    let refused = until("a client that is refused", || match refusal(&daemon) {
        Some(answer) => Some(answer),
        None => {
            clients.push(daemon.connect());
            None
        }
    });
    assert_eq!(refused["error"]["data"]["kind"], "overloaded", "{refused:#}");
    assert_eq!(refused["error"]["data"]["retryable"], true, "{refused:#}");
    assert!(refused["error"]["message"].as_str().unwrap().contains("descriptor"), "{refused:#}");

    // An agent cannot be started now: its task waits, and why is told.
    let params = json!({"chat": fresh, "agent": DEMO, "prompt": say("hello")});
    let waiting = there.call("task/submit", params).unwrap();
    let row = until("the start to back off", || {
        let rows = there.call("pool/list", json!({"all": true})).unwrap();
        rows.as_array().unwrap().iter().find(|row| row["status"] == "backoff").cloned()
    });
    assert!(row["reason"].as_str().unwrap().contains("open files"), "{row:#}");
    let row = there.call("task/show", json!({"task": running})).unwrap();
    assert_eq!(row["state"], "running", "{row:#}");

    set_limit(daemon.pid(), &hard);
    let end = daemon.wait_task(&running);
    assert_eq!(end["state"], "completed", "{end:#}");
    assert!(end["text"].as_str().unwrap().ends_with("tok600 "), "{end:#}");
    let end = daemon.wait_task(waiting["id"].as_str().unwrap());
    assert_eq!((end["state"].as_str(), end["text"].as_str()), (Some("completed"), Some("hello")), "{end:#}");
    drop(clients);
}
