//! A private home for hob in a temporary directory, and the `hob` command line in it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use super::agents::{Consent, RealAgent};
use super::client::{Client, RpcError};
use super::model::Model;
use super::repo::Repo;
use super::{fault, leftovers};

/// How a home is to be furnished.
pub struct Setup {
    root: TempDir,
    config: toml::Table,
    model: Option<Model>,
    path: String,
}

impl Setup {
    /// Nothing configured: only the built-in agent is there.
    pub fn new() -> Self {
        // Short, because the path of a socket must be.
        let root = tempfile::Builder::new().prefix("hob-").tempdir().unwrap();
        for folder in ["hob", "home", "tmp"] {
            std::fs::create_dir(root.path().join(folder)).unwrap();
        }
        // What the machine has left is no part of any test but those that say so.
        let config = "[pool]\nmin_available = \"0B\"".parse().unwrap();
        Self { root, config, model: None, path: std::env::var("PATH").unwrap_or_default() }
    }

    /// The directory that the home will be in.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Adds to the configuration.
    pub fn config(mut self, toml: &str) -> Self {
        let more: toml::Table = toml.parse().unwrap();
        merge(&mut self.config, more);
        self
    }

    /// Makes a real agent available, with a scripted model behind it.
    pub fn real(mut self, agent: RealAgent, consent: Consent) -> Self {
        let model = self.model.get_or_insert_with(Model::start);
        let home = self.root.path().join("agents").join(agent.name());
        let table = agent.config(&home, model, consent);
        self.agent(agent.name(), table)
    }

    /// Makes an agent available that misbehaves in one way.
    pub fn fault(self, name: &str, arguments: &[&str]) -> Self {
        let table = fault::config(arguments);
        self.agent(name, table)
    }

    /// Puts an opencode server that misbehaves in the place of the real one, or in front of it:
    /// `{}` among the arguments stands for the real program.
    pub fn fault_server(mut self, agent: RealAgent, arguments: &[&str]) -> Self {
        let table = &mut self.config["agents"][agent.name()];
        let program = table["command"][0].as_str().unwrap().to_owned();
        let arguments: Vec<&str> =
            arguments.iter().map(|&word| if word == "{}" { &*program } else { word }).collect();
        table["command"] = fault::server(&arguments);
        self
    }

    fn agent(mut self, name: &str, table: toml::Table) -> Self {
        let agents = toml::Table::from_iter([(name.to_owned(), toml::Value::Table(table))]);
        merge(&mut self.config, toml::Table::from_iter([("agents".to_owned(), toml::Value::Table(agents))]));
        self
    }

    /// A home without a daemon.
    pub fn home(self) -> Home {
        let home = Home { root: self.root, model: self.model, path: self.path };
        home.write_config(&self.config.to_string());
        home
    }

    /// A home with a daemon that serves it.
    pub fn start(self) -> super::daemon::TestDaemon {
        super::daemon::TestDaemon::start(self.home())
    }
}

fn merge(into: &mut toml::Table, more: toml::Table) {
    for (key, value) in more {
        match (into.get_mut(&key), value) {
            (Some(toml::Value::Table(there)), toml::Value::Table(here)) => merge(there, here),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// A home. Dropping it ends a daemon that a command started in it, and removes the directory.
pub struct Home {
    root: TempDir,
    model: Option<Model>,
    path: String,
}

impl Home {
    /// The directory that everything of the test is in.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// `HOB_HOME`.
    pub fn hob_home(&self) -> PathBuf {
        self.root().join("hob")
    }

    /// `HOME`, also of the agents.
    pub fn user_home(&self) -> PathBuf {
        self.root().join("home")
    }

    /// The control socket.
    pub fn socket(&self) -> PathBuf {
        self.hob_home().join("hob.sock")
    }

    /// The model behind the real agents.
    pub fn model(&self) -> &Model {
        self.model.as_ref().expect("a setup with a real agent")
    }

    /// Makes a repository of the user's.
    pub fn repo(&self, name: &str) -> Repo {
        Repo::create(self.root().join(name))
    }

    /// Replaces the configuration file.
    pub fn write_config(&self, text: &str) {
        std::fs::write(self.hob_home().join("config.toml"), text).unwrap();
    }

    /// A command with nothing in its environment but this home.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", &self.path)
            .env("HOME", self.user_home())
            .env("TMPDIR", self.root().join("tmp"))
            .env("LANG", "C.UTF-8")
            .env("HOB_HOME", self.hob_home())
            .env("RUST_BACKTRACE", "1")
            .env("LLVM_PROFILE_FILE", "/dev/null")
            .current_dir(self.root())
            .stdin(Stdio::null());
        command
    }

    /// The `hob` command, ready to be run.
    pub fn hob_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_hob"));
        command.args(arguments);
        command
    }

    /// Runs `hob`.
    #[track_caller]
    pub fn hob(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.hob_command(arguments).output().unwrap())
    }

    /// Runs `hob --json`, which must succeed, and returns what it printed.
    #[track_caller]
    pub fn hob_json(&self, arguments: &[&str]) -> serde_json::Value {
        let mut all = vec!["--json"];
        all.extend(arguments);
        let ran = self.hob(&all).ok();
        serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("hob {all:?}: {e}: {ran:?}"))
    }

    /// Connects to the control socket.
    #[track_caller]
    pub fn connect(&self) -> Client {
        Client::connect(&self.socket()).expect("the daemon answers on its socket")
    }

    /// One call on a connection of its own.
    #[track_caller]
    pub fn try_rpc(&self, method: &str, params: serde_json::Value) -> Result<serde_json::Value, RpcError> {
        self.connect().call(method, params)
    }

    /// Like [`Home::try_rpc`], and must succeed.
    #[track_caller]
    pub fn rpc(&self, method: &str, params: serde_json::Value) -> serde_json::Value {
        self.try_rpc(method, params).unwrap_or_else(|e| panic!("{method}: {e}"))
    }

    /// The number that marks this home's processes, once a daemon has run here.
    pub fn installation(&self) -> Option<u32> {
        let path = self.hob_home().join("hob.db");
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
        let database = rusqlite::Connection::open_with_flags(path, flags).ok()?;
        database.query_row("SELECT value FROM meta WHERE key = 'installation'", [], |row| row.get(0)).ok()
    }

    /// Every process of this home.
    pub fn processes(&self) -> Vec<leftovers::Leftover> {
        leftovers::find(self.root(), self.installation())
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // A daemon that a command started by itself does not hang on the test's stdin.
        if Client::connect(&self.socket()).is_ok() {
            let _ = self.hob_command(&["down", "--now"]).output();
        }
    }
}

/// What a command did.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it said.
    pub stderr: String,
}

impl Ran {
    /// Reads what a finished program left.
    pub fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// It must have succeeded.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.exit(0)
    }

    /// It must have ended with this code.
    #[track_caller]
    pub fn exit(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }

    /// It must have said all of this on stderr.
    #[track_caller]
    pub fn says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is missing in {self:?}");
        }
        self
    }
}
