//! What is left after the daemon was killed, and what the sweep does about it.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hob::backend::process::{MemoryLedger, ProcessRow};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::stage::*;

/// Says what installation the test's daemon in a process of its own is.
const ROLE: &str = "IT_PROCESS_INSTALLATION";
/// Where it is set, that daemon cannot mark its processes.
const WEAK: &str = "IT_PROCESS_WEAK";

/// How long it takes from the death of a daemon until nothing is left of what it started.
async fn time_to_nothing() -> Duration {
    let installation = fastrand::u32(1..1 << 20);
    let mut daemon = daemon(installation);
    let escapee = wait_for_daemon(&mut daemon).escapee;
    assert!(marked(installation).contains(&escapee));
    daemon.kill().expect("is ours");
    let killed = Instant::now();
    daemon.wait().expect("is ours");
    until("nothing", || marked(installation).is_empty().then_some(())).await;
    let time = killed.elapsed();
    assert!(!is_alive(escapee));
    time
}

#[tokio::test]
async fn a_killed_daemon_leaves_nothing_within_a_second() {
    let mut times = Vec::new();
    // A machine may be busy with something else for that long.
    while times.len() < 5 {
        let time = time_to_nothing().await;
        if time < Duration::from_secs(1) {
            return;
        }
        times.push(time);
    }
    panic!("never within a second: {times:?}");
}

#[tokio::test]
async fn the_sweep_ends_what_a_killed_daemon_and_its_killed_keeper_left() {
    let installation = fastrand::u32(1..1 << 20);
    let mut daemon = daemon(installation);
    let told = wait_for_daemon(&mut daemon);
    assert_eq!(told.containment, "strong");
    abandon(&mut daemon, &told);

    let spawner = spawner(&Arc::new(MemoryLedger::new(installation))).await;
    let report = spawner.sweep().await;
    assert_eq!(marked(installation), BTreeSet::new());
    assert!(report.ended.iter().any(|found| found.pid == told.escapee), "{report:?}");
    assert!(report.left.is_empty(), "{report:?}");
}

#[tokio::test]
async fn where_the_limit_cannot_carry_the_mark_the_environment_does() {
    let installation = fastrand::u32(1..1 << 20);
    let mut daemon = start_daemon(installation, |command| _ = command.env(WEAK, "1"));
    let told = wait_for_daemon(&mut daemon);
    assert_eq!(told.containment, "weak");
    abandon(&mut daemon, &told);

    let spawner = spawner(&Arc::new(MemoryLedger::new(installation))).await;
    let report = spawner.sweep().await;
    assert!(!is_alive(told.agent) && !is_alive(told.escapee), "{report:?}");
}

#[tokio::test]
async fn the_sweep_touches_nothing_else() {
    let stage = Stage::new().await;
    let stranger = Stage::new().await;
    let live = stage.sh("read line").await;
    let foreign = stranger.sh("read line").await;
    let mut named = sleeper();
    let mut reused = sleeper();
    let mut earlier = sleeper();
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("is there").trim().to_owned();
    let row = |attempt: u32, child: &Child, off: u64, boot_id: &str| ProcessRow {
        attempt,
        pid: Some(child.id()),
        start_time: Some(start_time(child.id()) + off),
        boot_id: Some(boot_id.to_owned()),
        ..ProcessRow::default()
    };
    stage.ledger.plant(row(100, &named, 0, &boot_id));
    stage.ledger.plant(row(101, &reused, 1, &boot_id));
    stage.ledger.plant(row(102, &earlier, 0, "another boot"));

    let report = stage.spawner.sweep().await;
    let ended: Vec<u32> = report.ended.iter().map(|found| found.pid).collect();
    assert_eq!(ended, [named.id()]);
    assert!(!named.wait().expect("is ours").success());
    assert!([live.pid, foreign.pid, reused.id(), earlier.id()].into_iter().all(is_alive));
    assert!((100..=102).all(|attempt| stage.ledger.end_of(attempt).is_some()));
    assert_eq!(stage.ledger.end_of(1), None, "it lives");
    for child in [&mut reused, &mut earlier] {
        child.kill().expect("is ours");
        child.wait().expect("is ours");
    }
}

fn sleeper() -> Child {
    Command::new("/bin/sleep").arg("1000").spawn().expect("starts")
}

/// What the daemon in the role below says of itself.
struct Told {
    agent: u32,
    escapee: u32,
    containment: String,
}

/// A daemon in a process of its own: this test program, in the role below.
fn daemon(installation: u32) -> Child {
    start_daemon(installation, |_| {})
}

fn start_daemon(installation: u32, adjust: impl FnOnce(&mut Command)) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("is known"));
    command
        .args(["--ignored", "--exact", "--nocapture", "sweeping::the_daemon_s_role"])
        .env(ROLE, installation.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    adjust(&mut command);
    command.spawn().expect("starts")
}

/// Waits until its agent runs.
fn wait_for_daemon(daemon: &mut Child) -> Told {
    let lines = BufReader::new(daemon.stdout.as_mut().expect("is piped")).lines();
    let line = lines.map_while(Result::ok).find_map(|line| Some(line.split_once("told: ")?.1.to_owned()));
    let line = line.expect("the daemon speaks");
    let mut words = line.split_whitespace();
    let mut word = || words.next().expect("is there");
    Told {
        agent: word().parse().expect("is a number"),
        escapee: word().parse().expect("is a number"),
        containment: word().to_owned(),
    }
}

/// Kills the daemon and the keeper so that neither can do anything about the other's death.
fn abandon(daemon: &mut Child, told: &Told) {
    kill(Pid::from_raw(daemon.id().cast_signed()), Signal::SIGSTOP).expect("is ours");
    kill_9(parent_of(told.agent).expect("has a keeper"));
    daemon.kill().expect("is ours");
    daemon.wait().expect("is ours");
    assert!(is_alive(told.agent) && is_alive(told.escapee));
}

#[tokio::test]
#[ignore = "a role for other tests: runs an agent until it is killed, or until its stdin closes"]
async fn the_daemon_s_role() {
    let installation: u32 = std::env::var(ROLE).expect("is set").parse().expect("is a number");
    let weak = std::env::var_os(WEAK).is_some();
    if weak {
        setrlimit(Resource::RLIMIT_LOCKS, 1000, 1000).expect("is lower");
    }
    let ledger = Arc::new(MemoryLedger::new(installation));
    let dir = tempfile::tempdir().expect("a directory");
    // An ordinary daemon cannot be read by its agents.
    hob::sys::set_undumpable();
    let stage = Stage { spawner: spawner(&ledger).await, ledger, installation, dir };
    let deaf = "trap '' TERM; while :; do sleep 1000; done";
    let (process, escapee) = if weak {
        let file = stage.dir.path().join("child");
        let script = format!(
            "setsid sh -c 'echo $$ > {0}.new; mv {0}.new {0}; {1}' & {1}",
            file.display(),
            deaf.replace('\'', "\"")
        );
        let process = stage.sh(&script).await;
        let child = until("the child", || number_in(&file)).await;
        (process, child)
    } else {
        stage.with_escapee(deaf).await
    };
    println!("told: {} {escapee} {}", process.pid, stage.spawner.kin().containment());
    tokio::task::spawn_blocking(|| std::io::stdin().lines().for_each(drop)).await.expect("ends");
}
