//! The real `hobd`, in a home of its own, and what a test does with it.
//!
//! It hangs on a pipe that the test holds, so it ends with the test however that ends. A test
//! fails when a process of its daemon is left behind.

use std::fs::File;
use std::ops::Deref;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::client::Client;
use super::home::Home;
use super::leftovers;
use super::wait::{PATIENCE, until, within};

/// After the daemon is gone, nothing of its agents is left after this time on a machine that has much
/// else to do. The promise is a second, and is held to in `it_process`.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// How long the daemon itself may take to stop, agents included.
const STOP_WITHIN: Duration = Duration::from_secs(15);

/// How much of the journal a failed test shows.
const LINES_SHOWN_MAX: usize = 60;

/// A running daemon.
pub struct TestDaemon {
    home: Home,
    child: Option<Child>,
    dress: Box<dyn Fn(&mut Command)>,
}

impl Deref for TestDaemon {
    type Target = Home;

    fn deref(&self) -> &Home {
        &self.home
    }
}

impl TestDaemon {
    /// Starts one in `home` and waits until it answers.
    pub fn start(home: Home) -> Self {
        Self::start_with(home, |_| {})
    }

    /// The same, with a command that `dress` has changed: the environment, the limits.
    pub fn start_with(home: Home, dress: impl Fn(&mut Command) + 'static) -> Self {
        let mut daemon = Self { home, child: None, dress: Box::new(dress) };
        daemon.launch();
        daemon
    }

    fn launch(&mut self) {
        let log = File::options().create(true).append(true).open(self.log_path()).unwrap();
        let mut command = self.home.command(env!("CARGO_BIN_EXE_hobd"));
        command.arg("--exit-with-stdin");
        (self.dress)(&mut command);
        command.stdin(Stdio::piped()).stdout(log.try_clone().unwrap()).stderr(log);
        let mut child = command.spawn().unwrap();
        let pid = child.id();
        let socket = self.home.socket();
        until("the daemon to answer", || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("hobd ended at its start with {status}:\n{}", self.log());
            }
            let mut client = Client::connect(&socket).ok()?;
            let hello = client.call("daemon/hello", json!({"client": "a test", "protocol": 1})).ok()?;
            (hello["pid"] == pid).then_some(())
        });
        self.child = Some(child);
    }

    fn log_path(&self) -> std::path::PathBuf {
        self.home.root().join("hobd.log")
    }

    /// What the daemon said so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// The pid of the daemon.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("a running daemon").id()
    }

    /// Ends the daemon the way a crash would, and starts none.
    pub fn sigkill(&mut self) {
        let mut child = self.child.take().expect("a running daemon");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Sends the daemon a signal.
    pub fn signal(&self, signal: Signal) {
        nix::sys::signal::kill(Pid::from_raw(self.pid().try_into().unwrap()), signal).unwrap();
    }

    /// Waits until the daemon has ended by itself, for at most `limit`, and says how.
    #[track_caller]
    pub fn wait_end(&mut self, limit: Duration) -> ExitStatus {
        let child = self.child.as_mut().expect("a running daemon");
        let status = within(limit, "the daemon to end", || child.try_wait().unwrap());
        self.child = None;
        status
    }

    /// Asks the daemon to stop and waits until it is gone.
    pub fn stop(&mut self) {
        let mut child = self.child.take().expect("a running daemon");
        drop(child.stdin.take());
        let status = within(STOP_WITHIN, "the daemon to stop", || child.try_wait().unwrap());
        assert!(status.success(), "hobd ended with {status}:\n{}", self.log());
    }

    /// Starts a daemon in the same home again.
    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "the daemon runs");
        self.launch();
    }

    /// Waits until no process of this home is left.
    #[track_caller]
    pub fn wait_nothing_left(&self) {
        let mut left = Vec::new();
        let start = std::time::Instant::now();
        while start.elapsed() < GONE_WITHIN {
            left = self.processes();
            if left.is_empty() {
                return;
            }
            // Those who end them need the processor.
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("left behind after {GONE_WITHIN:?}: {left:#?}");
    }

    // ---- sessions, chats, tasks

    /// Makes a session on a repository.
    #[track_caller]
    pub fn session(&self, repo: &super::repo::Repo) -> Session {
        let session = self.rpc("session/create", json!({"repo": repo.str()}));
        Session {
            id: session["id"].as_str().unwrap().to_owned(),
            worktree: session["worktree"]["path"].as_str().unwrap().into(),
        }
    }

    /// Makes a chat in a session.
    #[track_caller]
    pub fn chat(&self, session: &Session) -> String {
        let chat = self.rpc("chat/create", json!({"session": session.id}));
        chat["id"].as_str().unwrap().to_owned()
    }

    /// A chat in a session of its own, in a repository of its own.
    #[track_caller]
    pub fn lone_chat(&self) -> String {
        let number = std::fs::read_dir(self.root()).unwrap().count();
        let repo = self.repo(&format!("repo-{number}"));
        self.chat(&self.session(&repo))
    }

    /// Submits a prompt and returns the task's id.
    #[track_caller]
    pub fn submit(&self, chat: &str, agent: &str, prompt: &str) -> String {
        let task = self.rpc("task/submit", json!({"chat": chat, "agent": agent, "prompt": prompt}));
        task["id"].as_str().unwrap().to_owned()
    }

    /// Waits until a task is terminal, and returns it.
    #[track_caller]
    pub fn wait_task(&self, task: &str) -> Value {
        let params = json!({"task": task, "timeout_ms": PATIENCE.as_millis() as u64});
        let row = self.rpc("task/wait", params);
        assert!(is_terminal(&row), "{task} is still {} after {PATIENCE:?}: {row:#}", row["state"]);
        row
    }

    /// Runs a prompt to its end, whatever that is.
    #[track_caller]
    pub fn run(&self, chat: &str, agent: &str, prompt: &str) -> Value {
        self.wait_task(&self.submit(chat, agent, prompt))
    }

    /// Runs a prompt that must complete, and returns the agent's final message.
    #[track_caller]
    pub fn ask(&self, chat: &str, agent: &str, prompt: &str) -> String {
        let task = self.run(chat, agent, prompt);
        assert_eq!(task["state"], "completed", "{prompt:?}: {task:#}");
        task["text"].as_str().unwrap_or_default().to_owned()
    }

    /// Every event so far that `filter` (chat, session, task, types) lets through.
    #[track_caller]
    pub fn events(&self, filter: Value) -> Vec<Value> {
        let mut client = self.connect();
        let (mut events, mut after) = (Vec::new(), json!(0));
        while !after.is_null() {
            let mut params = filter.clone();
            params["after"] = after;
            let page = client.call("events/list", params).unwrap();
            events.extend(page["events"].as_array().unwrap().iter().cloned());
            after = page["next"].clone();
        }
        events
    }

    /// Waits until the first event of a type in a task.
    #[track_caller]
    pub fn wait_event(&self, task: &str, kind: &str) -> Value {
        let mut client = self.connect();
        client.call("events/subscribe", json!({"task": task, "after": 0, "types": [kind]})).unwrap();
        client.event(|event| event["type"] == kind)
    }

    /// Subscribes to a chat as somebody who answers permissions.
    #[track_caller]
    pub fn watch(&self, chat: &str) -> Client {
        let mut client = self.connect();
        let params = json!({"chat": chat, "after": 0, "answers_permissions": true});
        client.call("events/subscribe", params).unwrap();
        client
    }

    /// The row of an agent session, also when it has no process.
    #[track_caller]
    pub fn agent_session(&self, chat: &str, agent: &str) -> Value {
        let rows = self.rpc("pool/list", json!({"all": true}));
        let row = rows.as_array().unwrap().iter().find(|r| r["chat"] == chat && r["agent"] == agent);
        row.unwrap_or_else(|| panic!("no agent session ({chat}, {agent}) in {rows:#}")).clone()
    }

    /// The pid of an agent that is running.
    #[track_caller]
    pub fn agent_pid(&self, chat: &str, agent: &str) -> u32 {
        let row = self.agent_session(chat, agent);
        let pid = row["pid"].as_u64().unwrap_or_else(|| panic!("no process: {row:#}")) as u32;
        assert!(leftovers::is_alive(pid), "{row:#}");
        pid
    }
}

/// A session of a test.
pub struct Session {
    /// Its id.
    pub id: String,
    /// The directory that its agents work in.
    pub worktree: std::path::PathBuf,
}

/// Whether nothing will change a task any more.
pub fn is_terminal(task: &Value) -> bool {
    ["completed", "failed", "cancelled", "interrupted"].iter().any(|state| task["state"] == *state)
}

/// Sends SIGKILL.
pub fn kill(pid: u32) {
    nix::sys::signal::kill(Pid::from_raw(pid.try_into().unwrap()), Signal::SIGKILL).unwrap();
}

/// Sends SIGSTOP: it lives, and does nothing any more.
pub fn suspend(pid: u32) {
    let pid = nix::unistd::Pid::from_raw(pid.try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).unwrap();
}

impl Drop for TestDaemon {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        if failed && self.child.is_some() {
            for arguments in [&["task", "ls"][..], &["ps", "-a"], &["log"]] {
                let mut command = self.home.hob_command(&["--no-start"]);
                if let Ok(output) = command.args(arguments).output() {
                    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
                    let skipped = lines.lines().count().saturating_sub(LINES_SHOWN_MAX);
                    let shown: Vec<&str> = lines.lines().skip(skipped).collect();
                    eprintln!("---- hob {arguments:?}\n{}", shown.join("\n"));
                }
            }
        }
        if let Some(mut child) = self.child.take() {
            drop(child.stdin.take());
            let end = std::time::Instant::now() + STOP_WITHIN;
            while child.try_wait().is_ok_and(|status| status.is_none()) && std::time::Instant::now() < end {
                std::thread::sleep(Duration::from_millis(5));
            }
            // Only a daemon that did not stop is still there to be killed.
            let stuck = child.try_wait().is_ok_and(|status| status.is_none());
            let _ = child.kill();
            let _ = child.wait();
            if stuck && !failed {
                panic!("hobd did not stop within {STOP_WITHIN:?}:\n{}", self.log());
            }
        }
        if failed {
            eprintln!("---- the daemon's log\n{}----", self.log());
            return;
        }
        self.wait_nothing_left();
        super::ends::check(&self.hob_home(), &self.user_home());
    }
}
