//! What the tests of processes share: a spawner with a ledger of its own, and a look at `/proc`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hob::backend::process::{
    KeeperProgram, MemoryLedger, Process, RawExit, SpawnRequest, Spawner, SpawnerOptions, mark,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt;

/// How long anything may take on a slow machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What no keeper of old days could hold: its own session, twice forked, deaf to TERM, and without
/// an environment. Writes its number to `$1`.
pub(crate) const ESCAPEE: &str = r#"env -i setsid /bin/sh -c '(trap "" TERM HUP INT; sh -c "echo \$\$" > /dev/null; setsid /bin/sh -c "trap \"\" TERM HUP INT; echo \$\$ > $0.new; mv $0.new $0; while :; do sleep 1000; done" $0 &) & ' "$1" < /dev/null > /dev/null 2>&1"#;

pub(crate) struct Stage {
    pub(crate) spawner: Spawner,
    pub(crate) ledger: Arc<MemoryLedger>,
    pub(crate) installation: u32,
    pub(crate) dir: tempfile::TempDir,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        let installation = fastrand::u32(1..1 << 20);
        let ledger = Arc::new(MemoryLedger::new(installation));
        let spawner = spawner(&ledger).await;
        let dir = tempfile::tempdir().expect("a directory");
        Self { spawner, ledger, installation, dir }
    }

    pub(crate) async fn sh(&self, script: &str) -> Process {
        self.spawner.spawn(sh(script, self.dir.path())).await.expect("starts")
    }

    /// Starts an agent with an escapee, and waits for that; the answer is its number.
    pub(crate) async fn with_escapee(&self, then: &str) -> (Process, u32) {
        self.escaped("", then).await
    }

    /// The same with an agent that SIGTERM does not end, from before there is an escapee.
    pub(crate) async fn deaf_with_escapee(&self, then: &str) -> (Process, u32) {
        self.escaped("trap '' TERM; ", then).await
    }

    async fn escaped(&self, first: &str, then: &str) -> (Process, u32) {
        let file = self.dir.path().join("escapee");
        let process = self.sh(&format!("set -- {}; {first}{ESCAPEE}; {then}", file.display())).await;
        let pid = until("the escapee", || number_in(&file)).await;
        (process, pid)
    }
}

pub(crate) async fn spawner(ledger: &Arc<MemoryLedger>) -> Spawner {
    Spawner::start(SpawnerOptions {
        keeper: KeeperProgram::Path(env!("CARGO_BIN_EXE_hobd").into()),
        ledger: Arc::clone(ledger) as _,
        orphan_grace: Duration::from_millis(50),
        debug: true,
    })
    .await
    .expect("starts")
}

pub(crate) fn sh(script: &str, cwd: &Path) -> SpawnRequest {
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

pub(crate) async fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = condition() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

pub(crate) fn number_in(file: &Path) -> Option<u32> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

pub(crate) fn field(pid: u32, number: usize) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(number - 3).map(str::to_owned)
}

pub(crate) fn is_alive(pid: u32) -> bool {
    field(pid, 3).is_some_and(|state| state != "Z" && state != "X")
}

pub(crate) fn parent_of(pid: u32) -> Option<u32> {
    field(pid, 4)?.parse().ok()
}

pub(crate) fn start_time(pid: u32) -> u64 {
    field(pid, 22).and_then(|ticks| ticks.parse().ok()).expect("is there")
}

/// Every living process that bears the mark of an installation.
pub(crate) fn marked(installation: u32) -> BTreeSet<u32> {
    fs::read_dir("/proc")
        .expect("is there")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| mark::read(*pid).is_some_and(|mark| mark.installation == installation))
        .filter(|pid| is_alive(*pid))
        .collect()
}

pub(crate) fn fds(pid: u32) -> BTreeSet<u32> {
    fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

pub(crate) fn kill_9(pid: u32) {
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).expect("is ours");
}

pub(crate) async fn output(mut process: Process) -> (String, RawExit) {
    let mut text = String::new();
    soon("the output", process.stdout.read_to_string(&mut text)).await.expect("is text");
    let exit = soon("the exit", process.handle.exited()).await;
    soon("the end", process.handle.gone()).await;
    (text, exit)
}
