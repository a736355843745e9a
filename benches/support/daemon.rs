//! The real `hobd` in a home of its own. It hangs on a pipe of the bench, so it ends with it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use super::client::Client;
use super::leftovers;
use super::repo::Repo;
use super::wait::{PATIENCE, until, within};

/// The built-in agent.
pub const AGENT: &str = "demo";

/// How long the daemon may take to stop with all of its agents.
const STOP_WITHIN: Duration = Duration::from_secs(30);

/// After the daemon is gone, this long until nothing of its agents is left.
const GONE_WITHIN: Duration = Duration::from_secs(1);

/// While the daemon starts, it is tried this often; a client that never rested would take the core
/// that the daemon needs.
const TRY_EVERY: Duration = Duration::from_micros(200);

/// A running daemon.
pub struct Daemon {
    root: Rc<TempDir>,
    child: Child,
}

/// A home for daemons, one after the other.
pub fn home_in(directory: &Path, config: &str) -> Rc<TempDir> {
    // Short, because the path of a socket must be.
    let root = tempfile::Builder::new().prefix("hob-").tempdir_in(directory).unwrap();
    std::fs::write(root.path().join("config.toml"), config).unwrap();
    Rc::new(root)
}

impl Daemon {
    /// Starts one with this configuration and waits until it answers.
    pub fn start(config: &str) -> Self {
        Self::start_in(&std::env::temp_dir(), config)
    }

    /// The same, with its home in a directory of this one.
    pub fn start_in(directory: &Path, config: &str) -> Self {
        let mut daemon = Self::spawn(home_in(directory, config));
        until("the daemon to answer", || daemon.try_connect());
        daemon
    }

    /// Starts one in a home that is there; also tells how long it took from its start until it
    /// answered a call.
    pub fn start_timed(home: &Rc<TempDir>) -> (Self, Duration) {
        let begin = Instant::now();
        let mut daemon = Self::spawn(Rc::clone(home));
        let mut client = loop {
            match daemon.try_connect() {
                Some(client) => break client,
                None => std::thread::sleep(TRY_EVERY),
            }
            assert!(begin.elapsed() < PATIENCE, "the daemon does not answer:\n{}", daemon.log());
        };
        client.call("daemon/hello", json!({"client": "a bench", "protocol": 1}));
        (daemon, begin.elapsed())
    }

    fn spawn(root: Rc<TempDir>) -> Self {
        let log = File::create(root.path().join("hobd.log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_hobd"))
            .arg("--exit-with-stdin")
            .env_clear()
            .env("PATH", std::env::var("PATH").unwrap_or_default())
            .env("HOME", root.path())
            .env("HOB_HOME", root.path())
            .current_dir(root.path())
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { root, child }
    }

    fn try_connect(&mut self) -> Option<Client> {
        let ended = self.child.try_wait().unwrap();
        assert!(ended.is_none(), "hobd ended at its start:\n{}", self.log());
        Client::connect(&self.socket()).ok()
    }

    /// Its home.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Its control socket.
    pub fn socket(&self) -> PathBuf {
        self.root().join("hob.sock")
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A new connection.
    pub fn connect(&self) -> Client {
        Client::connect(&self.socket()).unwrap()
    }

    /// A session on a repository with one file.
    pub fn session(&self) -> String {
        let repo = Repo::create(self.root().join("repo"));
        let session = self.connect().call("session/create", json!({"repo": repo.str()}));
        session["id"].as_str().unwrap().to_owned()
    }

    /// A chat in a session.
    pub fn chat(&self, session: &str) -> String {
        let chat = self.connect().call("chat/create", json!({"session": session}));
        chat["id"].as_str().unwrap().to_owned()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.root().join("hobd.log")).unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let failed = std::thread::panicking();
        if failed {
            // Its agents end with it.
            let _ = self.child.kill();
            let _ = self.child.wait();
            super::say(&format!("the log of hobd:\n{}", self.log()));
            return;
        }
        let status = within(STOP_WITHIN, "the daemon to stop", || self.child.try_wait().unwrap());
        assert!(status.success(), "hobd ended with {status}:\n{}", self.log());
        let mut left = Vec::new();
        within(GONE_WITHIN, "every process of the bench to be gone", || {
            left = leftovers::find(self.root(), None);
            left.is_empty().then_some(())
        });
    }
}
