//! A home with a daemon in it that is made to be killed: starts it, waits for its death, ends it,
//! and finds what it leaves behind.

use std::fs::File;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant, SystemTime};

use hob::backend::process::mark;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::link::Link;
use crate::support::fault;
use crate::support::home::{Home, Setup};
use crate::support::leftovers;
use crate::support::repo::Repo;

/// The chats of a stage.
pub const CHATS: usize = 8;
/// The name that the misbehaving agent is configured under.
pub const FAULT: &str = "fault";
/// A daemon that does not answer after this time does not start any more.
const START_WITHIN: Duration = Duration::from_secs(60);
/// What a killed daemon leaves is gone after this time. The promise is a second; this is measured
/// on a machine that runs four of these beside each other.
const GONE_WITHIN: Duration = Duration::from_secs(10);
/// An ordered stop takes no longer.
const STOP_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// What the environment of a daemon says besides the home.
pub type Variables<'a> = &'a [(&'a str, String)];

/// How a daemon died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// SIGKILL.
    Killed,
    /// By its own will.
    Ended,
}

/// A home, its chats, and the daemon of the moment.
pub struct Stage {
    home: Home,
    /// The chats of the load.
    pub chats: Vec<String>,
    /// What is set for every daemon from the next on.
    pub always: Vec<(&'static str, String)>,
    child: Option<Child>,
    /// When the daemon of the moment was started, by the clock of the database.
    started_ms: i64,
}

impl Stage {
    /// Makes a home, starts a daemon in it, and makes the chats, in two sessions.
    pub fn set() -> Self {
        let home = Setup::new().home();
        home.write_config(&config(&home));
        let mut stage = Self { home, chats: Vec::new(), always: Vec::new(), child: None, started_ms: 0 };
        stage.start(&[]).expect("the first start");
        let repo = Repo::create(stage.home.root().join("repo"));
        let mut session = Value::Null;
        for n in 0..CHATS {
            if n % (CHATS / 2) == 0 {
                session = stage.home.rpc("session/create", json!({"repo": repo.str()}))["id"].clone();
            }
            let chat = stage.home.rpc("chat/create", json!({ "session": session }));
            stage.chats.push(chat["id"].as_str().unwrap().to_owned());
        }
        stage
    }

    /// The control socket.
    pub fn socket(&self) -> PathBuf {
        self.home.socket()
    }

    /// Launches a daemon and does not wait for it.
    pub fn launch(&mut self, variables: Variables<'_>) {
        assert!(self.child.is_none(), "the daemon runs");
        let log = File::options().create(true).append(true).open(self.log_path()).unwrap();
        let mut command = self.home.command(env!("CARGO_BIN_EXE_hobd"));
        let variables = self.always.iter().chain(variables).map(|(name, value)| (*name, value));
        command.envs(variables).arg("--exit-with-stdin").stdin(Stdio::piped());
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        self.started_ms = i64::try_from(now.as_millis()).unwrap();
        self.child = Some(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
    }

    /// Waits until the daemon answers; how long that took from `exec`. `Err` if it died before.
    pub fn answered(&mut self) -> Result<Duration, Death> {
        let start = Instant::now();
        loop {
            if let Some(death) = self.dead() {
                return Err(death);
            }
            let asked = Link::to(&self.socket())
                .and_then(|mut link| link.call("daemon/hello", json!({"client": "campaign", "protocol": 1})));
            if let Ok(Ok(hello)) = asked
                && hello["pid"] == self.pid()
            {
                return Ok(start.elapsed());
            }
            assert!(start.elapsed() < START_WITHIN, "the daemon does not answer:\n{}", self.log());
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Both.
    pub fn start(&mut self, variables: Variables<'_>) -> Result<Duration, Death> {
        self.launch(variables);
        self.answered()
    }

    fn pid(&self) -> u32 {
        self.child.as_ref().expect("a running daemon").id()
    }

    fn dead(&mut self) -> Option<Death> {
        let status = self.child.as_mut().expect("a running daemon").try_wait().unwrap()?;
        self.child = None;
        let killed = status.signal() == Some(Signal::SIGKILL as i32);
        assert!(killed || status.success(), "hobd ended with {status}:\n{}", self.log());
        Some(if killed { Death::Killed } else { Death::Ended })
    }

    /// Waits until the daemon is dead; `None` if it is not by then.
    pub fn dies(&mut self, within: Duration) -> Option<Death> {
        let start = Instant::now();
        while start.elapsed() < within {
            if let Some(death) = self.dead() {
                return Some(death);
            }
            std::thread::sleep(LOOK_EVERY);
        }
        None
    }

    /// SIGKILL, for the daemon alone or for its keepers in the same instant: it stands still while
    /// they die, so it sees nothing of it.
    pub fn kill(&mut self, keepers: bool) {
        let mut child = self.child.take().expect("a running daemon");
        let pid = Pid::from_raw(child.id().cast_signed());
        if keepers {
            kill(pid, Signal::SIGSTOP).ok();
            for keeper in children(child.id()) {
                kill(Pid::from_raw(keeper.cast_signed()), Signal::SIGKILL).ok();
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Asks the daemon to stop as a service manager would, and does not wait.
    pub fn tell_to_stop(&self) {
        kill(Pid::from_raw(self.pid().cast_signed()), Signal::SIGTERM).ok();
    }

    /// Stops the daemon in an orderly way.
    pub fn stop(&mut self) {
        self.tell_to_stop();
        let death = self.dies(STOP_WITHIN);
        assert_eq!(death, Some(Death::Ended), "hobd did not stop:\n{}", self.log());
    }

    /// What the daemons said so far, its end.
    pub fn log(&self) -> String {
        let log = std::fs::read_to_string(self.log_path()).unwrap_or_default();
        let n_skipped = log.lines().count().saturating_sub(60);
        log.lines().skip(n_skipped).collect::<Vec<_>>().join("\n")
    }

    fn log_path(&self) -> PathBuf {
        self.home.root().join("hobd.log")
    }

    // ------------------------------------------------------------------------------ what is left

    /// Processes of this home that are still there when all of them had time to go: after the
    /// death of a daemon whose keepers live, or a stop. And how long it took.
    pub fn left_of_all(&self) -> (Vec<String>, Duration) {
        let start = Instant::now();
        loop {
            let left = self.home.processes();
            if left.is_empty() || start.elapsed() > GONE_WITHIN {
                return (left.iter().map(|left| format!("{left:?}")).collect(), start.elapsed());
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Processes of earlier daemons that the start of the present one has left alive.
    pub fn left_by_sweep(&self) -> Vec<String> {
        let Some(installation) = self.home.installation() else { return Vec::new() };
        let last = self.last_attempt_before_start();
        let pids = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let is_old = |pid: &u32| {
            let mark = mark::read(*pid);
            mark.is_some_and(|mark| mark.installation == installation && mark.attempt <= last)
                && leftovers::is_alive(*pid)
        };
        let describe = |pid: u32| format!("{pid} {} after the sweep", leftovers::command(pid));
        pids.filter(is_old).map(describe).collect()
    }

    fn last_attempt_before_start(&self) -> u32 {
        let sql = "SELECT coalesce(max(attempt), 0) FROM processes WHERE created_at < ?1";
        self.database().query_row(sql, [self.started_ms], |row| row.get(0)).unwrap()
    }

    /// The database, through SQLite.
    fn database(&self) -> rusqlite::Connection {
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
        let path = self.home.hob_home().join("hob.db");
        rusqlite::Connection::open_with_flags(path, flags).unwrap()
    }

    /// What SQLite says of the database: `ok`.
    pub fn integrity(&self) -> String {
        self.database().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap()
    }

    /// Every prompt that reached an agent: by the ledger of the fault agent, and by the memory of
    /// the built-in one.
    pub fn reached(&self) -> Vec<String> {
        let ledger = std::fs::read_to_string(ledger(&self.home)).unwrap_or_default();
        let mut reached: Vec<String> = ledger.lines().map(str::to_owned).collect();
        let memories = std::fs::read_dir(self.home.hob_home().join("demo")).into_iter().flatten().flatten();
        for memory in memories {
            let memory = std::fs::read_to_string(memory.path()).unwrap_or_default();
            let lines = memory.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            reached.extend(lines.filter_map(|line| Some(line["prompt"].as_str()?.to_owned())));
        }
        reached
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill(false);
        }
        // What a daemon that was made not to sweep has left.
        for left in self.home.processes() {
            kill(Pid::from_raw(left.pid.cast_signed()), Signal::SIGKILL).ok();
        }
        if std::thread::panicking() {
            eprintln!("---- the daemon's log\n{}\n----", self.log());
        }
    }
}

fn children(parent: u32) -> Vec<u32> {
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let parent_of = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse::<u32>().ok()
    };
    pids.filter(|pid| parent_of(pid) == Some(parent)).collect()
}

fn ledger(home: &Home) -> PathBuf {
    home.root().join("ledger")
}

/// Short graces; a budget of restarts that the load, which crashes agents on purpose, never spends.
fn config(home: &Home) -> String {
    let mut agent = fault::config(&["well"]);
    let ledger = toml::Table::from_iter([(
        "FAULT_LEDGER".to_owned(),
        toml::Value::from(ledger(home).to_str().unwrap()),
    )]);
    agent.insert("env".into(), ledger.into());
    let agents = toml::Table::from_iter([(FAULT.to_owned(), toml::Value::from(agent))]);
    let text = toml::Table::from_iter([("agents".to_owned(), toml::Value::from(agents))]).to_string();
    format!(
        "[process]\ncancel_grace = \"500ms\"\nstop_grace = \"500ms\"\n\
         [restart]\nmax = 100000\nbackoff_min = \"10ms\"\nbackoff_max = \"50ms\"\n\n{text}"
    )
}
