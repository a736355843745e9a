//! A disk that is full, under a daemon that runs: nothing that was acknowledged is lost, nothing is
//! taken, agents wait in their own pipes, and it all goes on when there is room.

use std::time::Duration;

use nix::errno::Errno;
use serde_json::{Value, json};

use crate::support::client::RpcError;
use crate::support::daemon::TestDaemon;
use crate::support::demo::{DEMO, long, say};
use crate::support::growth::Growth;
use crate::support::home::{Ran, Setup};
use crate::support::machine::Machine;
use crate::support::namespace::{Disk, is_inside};
use crate::support::wait::{until, within};

/// Room for the database, its log, and some worktrees.
const DISK_KIB: u64 = 24 << 10;

/// What agents that cannot be read may cost the daemon. As for everything else that they do.
const GROWTH_BYTES_MAX: u64 = 16 << 20;

/// `hob down` on a disk that takes nothing.
const DOWN_WITHIN: Duration = Duration::from_secs(25);

fn degraded(daemon: &TestDaemon) -> Option<String> {
    daemon.rpc("daemon/status", json!({}))["degraded"].as_str().map(str::to_owned)
}

fn try_submit(daemon: &TestDaemon, chat: &str, name: &str, prompt: &str) -> Result<Value, RpcError> {
    let params = json!({"chat": chat, "agent": DEMO, "prompt": prompt, "request_id": name});
    daemon.try_rpc("task/submit", params)
}

/// The daemon takes nothing, and says that it is worth trying again.
#[track_caller]
fn is_refused(daemon: &TestDaemon, chat: &str, name: &str, word: &str) {
    let refused = try_submit(daemon, chat, name, &say(name)).unwrap_err();
    assert_eq!(refused.kind, "overloaded", "{refused}");
    assert_eq!(refused.data["retryable"], true, "{refused}");
    assert!(refused.message.contains(word), "{refused}");
}

/// The texts of a turn that said `tok1` to `tokN`, each once and in order.
#[track_caller]
fn said_everything(daemon: &TestDaemon, task: &str, n: usize) {
    let texts = daemon.events(json!({"task": task, "types": ["text"]}));
    let all: String = texts.iter().filter_map(|event| event["text"].as_str()).collect();
    let wanted: Vec<String> = (1..=n).map(|n| format!("tok{n}")).collect();
    assert_eq!(all.split_whitespace().collect::<Vec<_>>(), wanted);
}

/// Whether a thread of a process waits for somebody to read its pipe.
fn is_held_back(pid: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let waits = |path: std::path::PathBuf| std::fs::read_to_string(path.join("wchan")).unwrap_or_default();
    threads.flatten().any(|thread| waits(thread.path()).contains("pipe_write"))
}

/// Every refusal takes as long as an attempt to write, so this is time in which an agent that was
/// read could have gone on.
fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn a_disk_that_fills_up_in_mid_stream_holds_agents_back_and_loses_no_word() {
    if !is_inside("storage_full::a_disk_that_fills_up_in_mid_stream_holds_agents_back_and_loses_no_word") {
        return;
    }
    let config = "[process]\ncancel_grace = \"500ms\"\nstop_grace = \"500ms\"";
    let home = Setup::new().config(config).fault("flood", &["flood-stdout"]).home();
    let at = home.hob_home();
    let disk = Disk::mount(&at, DISK_KIB);
    let daemon = TestDaemon::start(home);
    let (steady, flooding) = (daemon.lone_chat(), daemon.lone_chat());
    let told = daemon.submit(&steady, DEMO, "slow: 400 5");
    let flood = daemon.submit(&flooding, "flood", "do it");
    for task in [&told, &flood] {
        daemon.wait_event(task, "text");
    }
    let agent = daemon.agent_pid(&flooding, "flood");
    let growth = Growth::watch(daemon.pid());
    disk.fill(0);
    let why = until("the daemon to notice", || degraded(&daemon));
    assert!(why.contains("full") || why.contains("free"), "{why}");
    until("the agent to be held back", || is_held_back(agent).then_some(()));

    let newest = daemon.events(json!({})).len();
    let ticks = cpu_ticks(agent);
    for name in ["one", "two", "three"] {
        is_refused(&daemon, &steady, name, "full");
        assert!(degraded(&daemon).is_some());
    }
    assert!(cpu_ticks(agent) <= ticks + 1, "an agent that is not read does nothing");
    assert_eq!(daemon.events(json!({})).len(), newest, "nothing is shown that is not written");
    daemon.hob(&["status"]).ok();
    growth.stays_under(GROWTH_BYTES_MAX);

    // A flood would fill up again what is merely cleared.
    disk.resize(1 << 20);
    until("the daemon to recover", || degraded(&daemon).is_none().then_some(()));
    daemon.rpc("task/cancel", json!({"task": flood}));
    assert_eq!(daemon.wait_task(&flood)["state"], "cancelled");
    let row = daemon.wait_task(&told);
    assert_eq!(row["state"], "completed", "{row:#}");
    said_everything(&daemon, &told, 400);
    let again = try_submit(&daemon, &steady, "one", &say("one")).unwrap();
    assert_eq!(daemon.wait_task(again["id"].as_str().unwrap())["text"], "one");
    assert_eq!(daemon.rpc("task/list", json!({"chat": steady})).as_array().unwrap().len(), 2);
}

#[test]
fn what_was_acknowledged_on_a_disk_that_fills_up_is_there_after_a_crash() {
    if !is_inside("storage_full::what_was_acknowledged_on_a_disk_that_fills_up_is_there_after_a_crash") {
        return;
    }
    let home = Setup::new().home();
    let at = home.hob_home();
    let disk = Disk::mount(&at, DISK_KIB);
    let mut daemon = TestDaemon::start(home);
    let chat = daemon.lone_chat();
    daemon.rpc("task/hold", json!({"chat": chat}));
    let cut = daemon.submit(&daemon.lone_chat(), DEMO, &long());
    daemon.wait_event(&cut, "text");
    disk.fill(1 << 20);
    let padding = "x".repeat(8 << 10);
    let mut acknowledged = Vec::new();
    let refused = loop {
        let name = format!("r-{}", acknowledged.len());
        match try_submit(&daemon, &chat, &name, &format!("{padding}\nsay: {name}")) {
            Ok(task) => acknowledged.push(task["id"].as_str().unwrap().to_owned()),
            Err(error) => break error,
        }
    };
    assert_eq!(
        (refused.kind.as_str(), &refused.data["retryable"]),
        ("overloaded", &json!(true)),
        "{refused}"
    );
    assert!(!acknowledged.is_empty());
    daemon.sigkill();

    // A start needs room too. It says so, and harms nothing.
    disk.fill(0);
    let mut command = daemon.command(env!("CARGO_BIN_EXE_hobd"));
    let failed = Ran::of(command.arg("--exit-with-stdin").output().unwrap());
    failed.exit(1).says(&["full", "hint: df -h"]);

    disk.clear();
    daemon.start_again();
    assert_eq!(daemon.rpc("task/show", json!({"task": cut}))["state"], "interrupted");
    let listed = daemon.rpc("task/list", json!({"chat": chat, "limit": 1000}));
    let mut there: Vec<&str> =
        listed.as_array().unwrap().iter().map(|task| task["id"].as_str().unwrap()).collect();
    there.reverse();
    assert_eq!(there, acknowledged, "each once, and nothing that was refused");
    daemon.rpc("task/release", json!({"chat": chat}));
    for (n, task) in acknowledged.iter().enumerate() {
        assert_eq!(daemon.wait_task(task)["text"], format!("r-{n}"));
    }
}

#[test]
fn a_daemon_on_a_full_disk_can_be_stopped_and_says_what_it_could_not_record() {
    if !is_inside("storage_full::a_daemon_on_a_full_disk_can_be_stopped_and_says_what_it_could_not_record") {
        return;
    }
    let home = Setup::new().home();
    let at = home.hob_home();
    let disk = Disk::mount(&at, DISK_KIB);
    let mut daemon = TestDaemon::start(home);
    let chat = daemon.lone_chat();
    let running = daemon.submit(&chat, DEMO, "slow: 20000 2");
    daemon.wait_event(&running, "text");
    disk.fill(0);
    until("the daemon to notice", || degraded(&daemon));
    let mut down = daemon.hob_command(&["--no-start", "down"]).spawn().unwrap();
    let status = daemon.wait_end(DOWN_WITHIN);
    within(DOWN_WITHIN, "`hob down` to return", || down.try_wait().unwrap());
    daemon.wait_nothing_left();
    let log = daemon.log();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("could not record the end of the turn") || log.contains("record the end"), "{log}");
    let last_words = log.lines().rfind(|line| line.starts_with("error: ")).unwrap_or_default();
    assert!(last_words.contains("before the end"), "{log}");

    disk.clear();
    daemon.start_again();
    let row = daemon.wait_task(&running);
    assert_eq!(row["state"], "interrupted", "{row:#}");
    assert_eq!(daemon.ask(&chat, DEMO, &say("again")), "again");
}

/// What SQLite only calls an I/O error: looked into, and waited for if it passes.
#[track_caller]
fn waits_out(errno: Errno, word: &str) {
    let home = Setup::new().home();
    let machine = Machine::calm(&home);
    let daemon = TestDaemon::start_with(home, machine.below());
    let chat = daemon.lone_chat();
    let told = daemon.submit(&chat, DEMO, "slow: 300 5");
    daemon.wait_event(&told, "text");
    machine.fail_writes(errno as i32);
    let why = until("the daemon to notice", || degraded(&daemon));
    assert!(why.contains(word), "{why}");
    is_refused(&daemon, &chat, "one", word);
    machine.fail_writes(0);
    until("the daemon to recover", || degraded(&daemon).is_none().then_some(()));
    assert_eq!(daemon.wait_task(&told)["state"], "completed");
    said_everything(&daemon, &told, 300);
    assert_eq!(daemon.ask(&chat, DEMO, &say("again")), "again");
}

#[test]
fn a_file_system_that_turns_read_only_is_waited_out() {
    waits_out(Errno::EROFS, "read-only");
}

#[test]
fn a_quota_that_is_used_up_is_a_full_disk() {
    waits_out(Errno::EDQUOT, "full");
}
