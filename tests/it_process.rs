//! Process ownership with real processes: what an agent gets, and that nothing of it outlives the
//! will of the daemon, whoever is killed.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hob::backend::process::{
    KeeperProgram, MemoryLedger, Process, ProcessRow, RawExit, SpawnError, SpawnRequest, Spawner,
    SpawnerOptions, is_agent_peer, mark, tree_rss,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// How long anything may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// Says what installation the test's daemon in a process of its own is.
const ROLE: &str = "IT_PROCESS_INSTALLATION";

/// What no keeper of old days could hold: its own session, twice forked, deaf to TERM, and without
/// an environment. Writes its number to `$1`.
const ESCAPEE: &str = r#"env -i setsid /bin/sh -c '(trap "" TERM HUP INT; sh -c "echo \$\$" > /dev/null; setsid /bin/sh -c "trap \"\" TERM HUP INT; echo \$\$ > $0.new; mv $0.new $0; while :; do sleep 1000; done" $0 &) & ' "$1" < /dev/null > /dev/null 2>&1"#;

struct Stage {
    spawner: Spawner,
    ledger: Arc<MemoryLedger>,
    installation: u32,
    dir: tempfile::TempDir,
}

impl Stage {
    async fn new() -> Self {
        let installation = fastrand::u32(1..1 << 20);
        let ledger = Arc::new(MemoryLedger::new(installation));
        let spawner = spawner(&ledger).await;
        let dir = tempfile::tempdir().expect("a directory");
        Self { spawner, ledger, installation, dir }
    }

    async fn sh(&self, script: &str) -> Process {
        self.spawner.spawn(sh(script, self.dir.path())).await.expect("starts")
    }

    /// Starts an agent with an escapee, and waits for that; the answer is its number.
    async fn with_escapee(&self, then: &str) -> (Process, u32) {
        let file = self.dir.path().join("escapee");
        let process = self.sh(&format!("set -- {}; {ESCAPEE}; {then}", file.display())).await;
        let pid = until("the escapee", || number_in(&file)).await;
        (process, pid)
    }
}

async fn spawner(ledger: &Arc<MemoryLedger>) -> Spawner {
    Spawner::start(SpawnerOptions {
        keeper: KeeperProgram::Path(env!("CARGO_BIN_EXE_hobd").into()),
        ledger: Arc::clone(ledger) as _,
        orphan_grace: Duration::from_millis(50),
        debug: true,
    })
    .await
    .expect("starts")
}

fn sh(script: &str, cwd: &Path) -> SpawnRequest {
    SpawnRequest {
        label: "a test".to_owned(),
        program: "/bin/sh".into(),
        args: vec!["-c".to_owned(), script.to_owned()],
        env: [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into(),
        cwd: cwd.to_owned(),
        stop_grace: Duration::from_millis(100),
        ..SpawnRequest::default()
    }
}

async fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = condition() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

fn number_in(file: &Path) -> Option<u32> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

fn field(pid: u32, number: usize) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(number - 3).map(str::to_owned)
}

fn is_alive(pid: u32) -> bool {
    field(pid, 3).is_some_and(|state| state != "Z" && state != "X")
}

fn parent_of(pid: u32) -> Option<u32> {
    field(pid, 4)?.parse().ok()
}

fn start_time(pid: u32) -> u64 {
    field(pid, 22).and_then(|ticks| ticks.parse().ok()).expect("is there")
}

/// Every living process that bears the mark of an installation.
fn marked(installation: u32) -> BTreeSet<u32> {
    fs::read_dir("/proc")
        .expect("is there")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| mark::read(*pid).is_some_and(|mark| mark.installation == installation))
        .filter(|pid| is_alive(*pid))
        .collect()
}

fn fds(pid: u32) -> BTreeSet<u32> {
    fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

fn kill_9(pid: u32) {
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).expect("is ours");
}

async fn output(mut process: Process) -> (String, RawExit) {
    let mut text = String::new();
    soon("the output", process.stdout.read_to_string(&mut text)).await.expect("is text");
    let exit = soon("the exit", process.handle.exited()).await;
    soon("the end", process.handle.gone()).await;
    (text, exit)
}

#[tokio::test]
async fn an_agent_has_three_descriptors_no_blocked_signal_and_a_group_of_its_own() {
    let stage = Stage::new().await;
    let process = stage.sh("echo ready; read line").await;
    let pid = process.pid;
    assert_eq!(until("three descriptors", || Some(fds(pid)).filter(|fds| fds.len() == 3)).await, [0, 1, 2].into());
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("is there");
    // The C library keeps the signals 32 and 33 for itself, and ignores them in what it starts.
    for (line, but_for) in [("SigBlk", 0), ("SigIgn", 0b11 << 31)] {
        let value = status.lines().find_map(|text| text.strip_prefix(line)).expect("is there");
        let signals = u64::from_str_radix(value.trim_matches([':', '\t']), 16).expect("is a number");
        assert_eq!(signals & !but_for, 0, "{line}: {signals:x}");
    }
    assert_eq!(field(pid, 5), Some(pid.to_string()));
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("is there");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("is there");
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"]);
    process.handle.stop(false);
    soon("the end", process.handle.gone()).await;
}

#[tokio::test]
async fn memory_pressure_meets_the_agent_before_its_keeper_and_the_daemon() {
    let stage = Stage::new().await;
    let process = stage.sh("read line").await;
    let score = |pid: u32| -> i32 {
        let text = fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).expect("is there");
        text.trim().parse().expect("is a number")
    };
    let own = score(std::process::id());
    assert_eq!(score(process.pid), (own + 500).min(1000));
    assert_eq!(score(parent_of(process.pid).expect("has one")), own);
}

#[tokio::test]
async fn an_agent_gets_the_directory_the_arguments_and_the_environment_and_nothing_more() {
    let stage = Stage::new().await;
    let mut request = sh("pwd; echo \"$0\"; cat /proc/$$/environ | tr '\\0' '\\n'", stage.dir.path());
    request.args.push("it's".to_owned());
    request.env.insert("GREETING".to_owned(), "good\nday".to_owned());
    let (text, exit) = output(stage.spawner.spawn(request).await.expect("starts")).await;
    let cwd = stage.dir.path().canonicalize().expect("is there");
    assert_eq!(text, format!("{}\nit's\nGREETING=good\nday\nPATH=/usr/bin:/bin\n", cwd.display()));
    assert_eq!(exit, RawExit { code: Some(0), signal: None });
}

#[tokio::test]
async fn bytes_go_in_and_come_out() {
    let stage = Stage::new().await;
    let mut process = stage.sh("cat; cat >&2").await;
    process.stdin.write_all(b"hello").await.expect("is open");
    drop(process.stdin);
    let mut text = String::new();
    soon("the echo", process.stdout.read_to_string(&mut text)).await.expect("is text");
    assert_eq!(text, "hello");
    assert_eq!(soon("the exit", process.handle.exited()).await.code, Some(0));
}

#[tokio::test]
async fn a_large_environment_arrives() {
    let stage = Stage::new().await;
    let mut request = sh("env | wc -c", stage.dir.path());
    for n in 0..10 {
        request.env.insert(format!("BIG_{n}"), "x".repeat(100_000));
    }
    let (text, _) = output(stage.spawner.spawn(request).await.expect("starts")).await;
    assert!(text.trim().parse::<usize>().expect("is a number") > 1_000_000);
}

#[tokio::test]
async fn an_environment_past_the_limit_of_the_system_is_refused_by_name() {
    let stage = Stage::new().await;
    let mut request = sh("true", stage.dir.path());
    request.env.insert("BIG".to_owned(), "x".repeat(8 << 20));
    let error = stage.spawner.spawn(request).await.expect_err("is too much");
    assert!(matches!(error, SpawnError::Limit(_)) && error.permanent(), "{error:?}");
    assert_eq!(marked(stage.installation), BTreeSet::new());
}

#[tokio::test]
async fn a_nul_byte_is_refused() {
    let stage = Stage::new().await;
    let error = stage.spawner.spawn(sh("true\0false", stage.dir.path())).await.expect_err("cannot be");
    assert!(matches!(error, SpawnError::Other(..)), "{error:?}");
}

#[tokio::test]
async fn every_way_a_program_cannot_be_started_has_its_own_error() {
    let stage = Stage::new().await;
    let file = |name: &str, text: &[u8], mode: u32| -> PathBuf {
        let path = stage.dir.path().join(name);
        fs::write(&path, text).expect("is writable");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("is ours");
        path
    };
    let missing = stage.dir.path().join("missing");
    let plain = file("plain", b"#!/bin/sh\n", 0o644);
    let garbage = file("garbage", b"no program\n", 0o755);
    let orphan = file("orphan", b"#!/no/such/interpreter\n", 0o755);
    let cwd = stage.dir.path().to_owned();
    let attempt = async |program: &Path, cwd: &Path| {
        let request = SpawnRequest { program: program.to_owned(), ..sh("true", cwd) };
        stage.spawner.spawn(request).await.expect_err("cannot start")
    };

    assert!(matches!(attempt(&missing, &cwd).await, SpawnError::NotFound(path) if path == missing));
    assert!(matches!(attempt(&plain, &cwd).await, SpawnError::NotExecutable(path) if path == plain));
    assert!(matches!(attempt(&cwd, &cwd).await, SpawnError::NotExecutable(path) if path == cwd));
    assert!(matches!(attempt(&garbage, &cwd).await, SpawnError::WrongFormat(path) if path == garbage));
    assert!(matches!(attempt(&orphan, &cwd).await, SpawnError::NoInterpreter(path) if path == orphan));
    let error = attempt(Path::new("/bin/sh"), &missing).await;
    assert!(matches!(&error, SpawnError::Cwd(path, _) if *path == missing) && error.permanent(), "{error:?}");
    assert_eq!(marked(stage.installation), BTreeSet::new());
    for attempt in 1..=6 {
        let detail = stage.ledger.end_of(attempt).expect("is settled");
        assert!(detail.starts_with("not started: "), "{detail}");
    }
}

#[tokio::test]
async fn exit_codes_and_signals_are_told() {
    let stage = Stage::new().await;
    for (script, code, signal) in [
        ("exit 0", Some(0), None),
        ("exit 78", Some(78), None),
        ("kill -SEGV $$", None, Some(11)),
        ("kill -35 $$", None, Some(35)),
    ] {
        let (_, exit) = output(stage.sh(script).await).await;
        assert_eq!(exit, RawExit { code, signal }, "{script}");
    }
    assert_eq!(stage.ledger.end_of(4).as_deref(), Some("ended"));
}

#[tokio::test]
async fn a_grandchild_that_holds_stdout_does_not_delay_the_exit_and_ends_with_the_agent() {
    let stage = Stage::new().await;
    let file = stage.dir.path().join("holder");
    let script = format!("setsid sh -c 'trap \"\" TERM; echo $$ > {0}.new; mv {0}.new {0}; sleep 1000' & while ! [ -e {0} ]; do sleep 0.01; done; exit 3", file.display());
    let mut request = sh(&script, stage.dir.path());
    // So long that the exit could not wait for it unseen.
    request.stop_grace = PATIENCE * 10;
    let mut process = stage.spawner.spawn(request).await.expect("starts");
    assert_eq!(soon("the exit", process.handle.exited()).await.code, Some(3));
    let holder = number_in(&file).expect("was told");
    assert!(is_alive(holder), "deaf to TERM, and the grace is long");
    process.handle.stop(true);
    let mut rest = Vec::new();
    soon("the end of file", process.stdout.read_to_end(&mut rest)).await.expect("closes");
    soon("the end", process.handle.gone()).await;
    assert!(!is_alive(holder));
}

#[tokio::test]
async fn an_agent_that_ends_in_time_is_not_killed() {
    let stage = Stage::new().await;
    let mut request = sh("trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.01; done", stage.dir.path());
    request.stop_grace = PATIENCE;
    let mut process = stage.spawner.spawn(request).await.expect("starts");
    let mut ready = [0; 6];
    soon("the trap", process.stdout.read_exact(&mut ready)).await.expect("speaks");
    process.handle.stop(false);
    let (text, exit) = output(process).await;
    assert_eq!((text.as_str(), exit.code), ("bye\n", Some(7)));
}

#[tokio::test]
async fn a_stop_leaves_nothing_of_the_tree() {
    let stage = Stage::new().await;
    let (process, escapee) = stage.with_escapee("trap '' TERM; while :; do sleep 1000; done").await;
    assert!(marked(stage.installation).contains(&escapee), "env -i does not shed the mark");
    process.handle.stop(false);
    soon("the end", process.handle.gone()).await;
    assert_eq!(marked(stage.installation), BTreeSet::new());
    assert!(!is_alive(escapee));
    assert_eq!(process.handle.exited().await.signal, Some(9));
}

#[tokio::test]
async fn letting_go_of_the_handle_ends_the_tree() {
    let stage = Stage::new().await;
    let (process, escapee) = stage.with_escapee("while :; do sleep 1000; done").await;
    let watching = process.handle.clone();
    drop(process);
    assert!(is_alive(escapee));
    drop(watching);
    until("the end", || stage.ledger.end_of(1)).await;
    assert_eq!(marked(stage.installation), BTreeSet::new());
}

#[tokio::test]
async fn a_start_that_nobody_waits_for_is_undone() {
    let stage = Stage::new().await;
    let request = sh("while :; do sleep 1000; done", stage.dir.path());
    {
        let mut start = Box::pin(stage.spawner.spawn(request));
        // Begun, and given up at its first wait.
        tokio::select! { biased; _ = &mut start => panic!("cannot be so soon"), () = std::future::ready(()) => {} }
    }
    until("the end", || stage.ledger.end_of(1)).await;
    assert_eq!(marked(stage.installation), BTreeSet::new());
}

#[tokio::test]
async fn a_killed_keeper_takes_its_tree_with_it() {
    let stage = Stage::new().await;
    let (process, escapee) = stage.with_escapee("trap '' TERM; while :; do sleep 1000; done").await;
    kill_9(parent_of(process.pid).expect("has a keeper"));
    assert_eq!(soon("the exit", process.handle.exited()).await, RawExit { code: None, signal: Some(9) });
    soon("the end", process.handle.gone()).await;
    assert_eq!(marked(stage.installation), BTreeSet::new());
    assert!(!is_alive(process.pid) && !is_alive(escapee));
    assert_eq!(stage.ledger.end_of(1).as_deref(), Some("the keeper was lost"));
}

#[tokio::test]
async fn a_keeper_that_was_stopped_cannot_hold_up_a_stop() {
    let stage = Stage::new().await;
    let (process, escapee) = stage.with_escapee("trap '' TERM; while :; do sleep 1000; done").await;
    let keeper = parent_of(process.pid).expect("has a keeper");
    kill(Pid::from_raw(keeper.cast_signed()), Signal::SIGSTOP).expect("is ours");
    process.handle.stop(true);
    soon("the end", process.handle.gone()).await;
    assert!(!is_alive(escapee) && !is_alive(keeper));
}

#[tokio::test]
async fn a_keeper_that_gets_term_ends_its_tree() {
    let stage = Stage::new().await;
    let (process, escapee) = stage.with_escapee("while :; do sleep 1000; done").await;
    let keeper = parent_of(process.pid).expect("has a keeper");
    kill(Pid::from_raw(keeper.cast_signed()), Signal::SIGTERM).expect("is ours");
    soon("the end", process.handle.gone()).await;
    assert!(!is_alive(escapee));
    assert_eq!(process.handle.exited().await.signal, Some(15));
}

#[tokio::test]
async fn a_keeper_holds_no_secret_and_no_descriptor_of_the_daemon() {
    let stage = Stage::new().await;
    let process = stage.sh("read line").await;
    let keeper = parent_of(process.pid).expect("has a keeper");
    assert_eq!(fs::read(format!("/proc/{keeper}/environ")).expect("is ours"), b"");
    // The control pipe twice (as stdin), nothing for output, the daemon's pidfd, the signals.
    assert_eq!(fds(keeper).len(), 6);
    assert_eq!(fs::read_link(format!("/proc/{keeper}/cwd")).expect("is ours"), Path::new("/"));
}

#[tokio::test]
async fn a_keeper_that_nobody_started_refuses() {
    let status = Command::new(env!("CARGO_BIN_EXE_hobd")).arg("keeper").stderr(Stdio::null()).status();
    assert_eq!(status.expect("runs").code(), Some(64));
}

#[tokio::test]
async fn a_keeper_whose_daemon_dies_before_go_starts_nothing_and_ends() {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
    let mut command = Command::new(env!("CARGO_BIN_EXE_hobd"));
    command.args(["keeper", &std::process::id().to_string()]);
    let mut keeper = command.stdin(std::os::fd::OwnedFd::from(theirs)).spawn().expect("starts");
    drop(command);
    drop(ours);
    assert!(keeper.wait().expect("ends").success());
}

#[tokio::test]
async fn the_own_program_is_the_keeper_s() {
    let stage = Stage::new().await;
    let program = stage.spawner.own_program();
    let request = SpawnRequest { program, args: vec!["keeper".to_owned()], ..sh("", stage.dir.path()) };
    let (_, exit) = output(stage.spawner.spawn(request).await.expect("starts")).await;
    assert_eq!(exit.code, Some(64));
}

#[tokio::test]
async fn an_agent_is_told_from_other_peers_by_its_mark() {
    let stage = Stage::new().await;
    assert_eq!(stage.spawner.containment(), "strong");
    let process = stage.sh("read line").await;
    let own = mark::own();
    let mark = mark::read(process.pid).expect("is marked");
    assert_eq!((mark.installation, mark.attempt), (stage.installation, 1));
    assert_eq!(mark.depth, own.map_or(0, |own| own.depth + 1));
    assert!(own.is_none_or(|own| mark.to_limit() < own.to_limit()), "nesting only lowers");
    assert!(is_agent_peer(process.pid).expect("is readable"));
    assert!(!is_agent_peer(std::process::id()).expect("is readable"));
}

#[tokio::test]
async fn the_memory_of_a_tree_includes_what_escaped() {
    let stage = Stage::new().await;
    let (process, escapee) = stage.with_escapee("while :; do sleep 1000; done").await;
    let of = |pid: u32| field(pid, 24).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096;
    assert!(tree_rss(process.pid).expect("is there") >= of(process.pid) + of(escapee));
}

#[tokio::test]
async fn a_killed_daemon_leaves_nothing_within_a_second() {
    let installation = fastrand::u32(1..1 << 20);
    let mut daemon = daemon(installation);
    let escapee = wait_for_daemon(&mut daemon);
    assert!(marked(installation).contains(&escapee));
    daemon.kill().expect("is ours");
    let killed = Instant::now();
    daemon.wait().expect("is ours");
    until("nothing", || marked(installation).is_empty().then_some(())).await;
    assert!(killed.elapsed() < Duration::from_secs(1), "{:?}", killed.elapsed());
    assert!(!is_alive(escapee));
}

#[tokio::test]
async fn the_sweep_ends_what_a_killed_daemon_and_its_killed_keeper_left() {
    let installation = fastrand::u32(1..1 << 20);
    let mut daemon = daemon(installation);
    let escapee = wait_for_daemon(&mut daemon);
    let keeper = until("the keeper", || {
        marked(installation).into_iter().find(|pid| parent_of(*pid) == Some(daemon.id()))
    })
    .await;
    // The keeper first is told to stand still, so that it cannot do its work.
    kill(Pid::from_raw(keeper.cast_signed()), Signal::SIGSTOP).expect("is ours");
    daemon.kill().expect("is ours");
    daemon.wait().expect("is ours");
    assert!(is_alive(escapee));

    let spawner = spawner(&Arc::new(MemoryLedger::new(installation))).await;
    let begun = Instant::now();
    let report = spawner.sweep().await.expect("works");
    let took = begun.elapsed();
    assert_eq!(marked(installation), BTreeSet::new());
    assert!(report.ended.iter().any(|found| found.pid == escapee), "{report:?}");
    assert!(report.left.is_empty(), "{report:?}");
    println!("the sweep took {took:?}");
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

    let report = stage.spawner.sweep().await.expect("works");
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

/// A daemon in a process of its own: this test program, in the role below.
fn daemon(installation: u32) -> Child {
    Command::new(std::env::current_exe().expect("is known"))
        .args(["--ignored", "--exact", "--nocapture", "the_daemon_s_role"])
        .env(ROLE, installation.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts")
}

/// Waits until its agent runs; the answer is the escapee.
fn wait_for_daemon(daemon: &mut Child) -> u32 {
    let lines = BufReader::new(daemon.stdout.as_mut().expect("is piped")).lines();
    lines
        .map_while(Result::ok)
        .find_map(|line| line.split_once("escapee ")?.1.trim().parse().ok())
        .expect("the daemon speaks")
}

#[tokio::test]
#[ignore = "a role for other tests: runs an agent until it is killed, or until its stdin closes"]
async fn the_daemon_s_role() {
    let installation: u32 = std::env::var(ROLE).expect("is set").parse().expect("is a number");
    let ledger = Arc::new(MemoryLedger::new(installation));
    let dir = tempfile::tempdir().expect("a directory");
    // An ordinary daemon cannot be read by its agents.
    hob::sys::set_undumpable().expect("is possible");
    let stage = Stage { spawner: spawner(&ledger).await, ledger, installation, dir };
    let (_process, escapee) = stage.with_escapee("trap '' TERM; while :; do sleep 1000; done").await;
    println!("escapee {escapee}");
    tokio::task::spawn_blocking(|| std::io::stdin().lines().for_each(drop)).await.expect("ends");
}
