//! The daemon in a container: as its first process, stopped from outside, under a limit of file sizes.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::client::Client;
use crate::support::daemon::TestDaemon;
use crate::support::demo::{DEMO, say, slow};
use crate::support::home::Setup;
use crate::support::wait::until;

/// `hob down` waits for a minute where it takes another process for the daemon.
const DOWN_WITHIN: Duration = Duration::from_secs(30);

/// The flags of `unshare` for a pid namespace; `None`, loudly, where there can be none.
fn unshare(test: &str) -> Option<&'static [&'static str]> {
    const WAYS: [&[&str]; 2] = [
        &["--pid", "--fork", "--mount-proc", "--kill-child"],
        &["-Ur", "--pid", "--fork", "--mount-proc", "--kill-child"],
    ];
    let works = |flags: &&&[&str]| {
        Command::new("unshare").args(**flags).arg("true").output().is_ok_and(|tried| tried.status.success())
    };
    let found = WAYS.iter().find(works).copied();
    if found.is_none() {
        // Written past the capture of the test harness, so that it is seen.
        let _ = writeln!(std::io::stderr(), "SKIPPED {test}: no pid namespace can be made here");
    }
    found
}

/// Zombies whose parent is a process of that name.
fn zombies_of(pid: u32) -> Vec<String> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let state = |pid: &str| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
    };
    children.split_whitespace().filter(|pid| state(pid)).map(str::to_owned).collect()
}

/// The only child of a process.
fn child_of(pid: u32) -> Option<u32> {
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?.trim().parse().ok()
}

#[test]
fn as_the_first_process_it_collects_orphans_and_is_stopped_from_outside() {
    let Some(flags) = unshare("as_the_first_process_it_collects_orphans_and_is_stopped_from_outside") else {
        return;
    };
    let home = Setup::new().home();
    let mut command = home.command("unshare");
    command.args(flags).arg(env!("CARGO_BIN_EXE_hobd")).arg("--exit-with-stdin").stdin(Stdio::piped());
    let mut container = command.spawn().unwrap();
    until("the daemon to answer", || Client::connect(&home.socket()).ok());
    let told = home.rpc("daemon/hello", json!({"client": "a test", "protocol": 1}))["pid"].as_u64().unwrap();
    assert_ne!(told, 1, "the first process is not the daemon");
    let first = child_of(container.id()).expect("the first process");

    // Orphans that no agent and no hook left: whatever else enters the container.
    let ended = |n: usize| home.root().join(format!("ended-{n}"));
    for n in 0..5 {
        let orphan = format!("(sh -c 'sleep 0.1; touch {}' &) ; exit 0", ended(n).display());
        let entered = Command::new("nsenter")
            .args(["--pid", "--target", &first.to_string(), "sh", "-c", &orphan])
            .status()
            .unwrap();
        assert!(entered.success());
    }
    until("the orphans to end", || (0..5).all(|n| ended(n).exists()).then_some(()));
    until("the orphans to be collected", || zombies_of(first).is_empty().then_some(()));

    let began = Instant::now();
    home.hob(&["down"]).ok();
    assert!(began.elapsed() < DOWN_WITHIN, "{:?}", began.elapsed());
    assert!(container.wait().unwrap().success(), "the exit code of the daemon is passed on");
}

#[test]
fn a_signal_to_the_first_process_stops_the_daemon_in_order() {
    let Some(flags) = unshare("a_signal_to_the_first_process_stops_the_daemon_in_order") else { return };
    let home = Setup::new().home();
    let mut command = home.command("unshare");
    command.args(flags).arg(env!("CARGO_BIN_EXE_hobd")).arg("--exit-with-stdin").stdin(Stdio::piped());
    let mut container = command.spawn().unwrap();
    until("the daemon to answer", || Client::connect(&home.socket()).ok());
    let first = child_of(container.id()).expect("the first process");
    let first = nix::unistd::Pid::from_raw(first.try_into().unwrap());
    nix::sys::signal::kill(first, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(container.wait().unwrap().success());
    assert!(!home.socket().exists(), "it stopped in order");
}

#[test]
fn a_limit_of_file_sizes_is_a_full_disk_and_not_the_end() {
    let home = Setup::new().home();
    let daemon = TestDaemon::start(home);
    let chat = daemon.lone_chat();
    daemon.ask(&chat, DEMO, &say("here"));
    let size = |name: &str| fs::metadata(daemon.hob_home().join(name)).map_or(0, |found| found.len());
    let limit = |bytes: String| {
        let pid = daemon.pid().to_string();
        let set =
            Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={bytes}:")]).status().unwrap();
        assert!(set.success());
    };
    let task = daemon.submit(&chat, DEMO, &slow(150, 20));
    daemon.wait_event(&task, "text");
    limit((size("hob.db").max(size("hob.db-wal")) + 4096).to_string());
    let degraded = || daemon.rpc("daemon/status", json!({}))["degraded"].as_str().map(str::to_owned);
    let why = until("the daemon to say that it cannot write", degraded);
    assert!(why.contains("full") && why.contains("File too large"), "{why}");
    limit("unlimited".to_owned());
    until("it to recover", || degraded().is_none().then_some(()));
    assert_eq!(daemon.wait_task(&task)["state"], "completed");
}
