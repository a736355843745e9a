//! The stage of the demo: a private home, a throw-away repository, and the daemon in between.
//!
//! The daemon holds the other end of a pipe of ours, so that it ends with us however we end.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use super::processes;
use crate::backend::{DEMO_COMMAND, DEMO_STATE};
use crate::cli::error::CliError;
use crate::cli::link::Link;
use crate::cli::start;
use crate::control::client::SocketPlace;
use crate::daemon::READY;

/// How long the daemon may take to come up or to end.
const DAEMON_TIMEOUT: Duration = Duration::from_secs(20);

/// How often it is looked whether it has ended.
const PAUSE: Duration = Duration::from_millis(5);

/// Directories with longer names leave no room for the path of a socket.
const DIR_BYTES_MAX: usize = 60;

/// How much of the daemon's log a failure shows.
const LOG_LINES_SHOWN: usize = 15;

/// What lies in the repository.
const README: &str = "# A throw-away repository\n\nMade by `hob demo`.\n";

/// The second agent.
pub(super) const OTHER: &str = "other";

/// Home, repository, daemon.
pub(super) struct Stage {
    // The daemon goes before the directory that it lives in.
    daemon: Option<Daemon>,
    dir: Option<tempfile::TempDir>,
    path: PathBuf,
    is_kept: bool,
}

struct Daemon {
    child: Child,
    stdin: Option<ChildStdin>,
    _stdout: ChildStdout,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail only for a process that is gone already. Its keepers see it go.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Stage {
    /// Makes the directories and the repository.
    pub(super) fn set() -> Result<Self, CliError> {
        let mut root = std::env::temp_dir();
        if root.as_os_str().len() > DIR_BYTES_MAX {
            root = PathBuf::from("/tmp");
        }
        let dir = tempfile::Builder::new().prefix("hob-demo-").tempdir_in(&root)?;
        // What the daemon resolves must compare equal to what we look for.
        let path = dir.path().canonicalize()?;
        let stage = Self { daemon: None, dir: Some(dir), path, is_kept: false };
        std::fs::create_dir(stage.home())?;
        std::fs::write(stage.home().join("config.toml"), stage.config()?)?;
        make_repository(&stage.repo())
            .map_err(|error| CliError::failed(format!("cannot make a repository: {error}")))?;
        Ok(stage)
    }

    /// Whether the directory stays when all is over.
    pub(super) fn keep(&mut self, keep: bool) {
        self.is_kept = keep;
    }

    pub(super) fn dir(&self) -> &Path {
        &self.path
    }

    pub(super) fn home(&self) -> PathBuf {
        self.path.join("home")
    }

    pub(super) fn repo(&self) -> PathBuf {
        self.path.join("repo")
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.home().join("hob.sock")
    }

    /// The configuration: the built-in agent once more, under another name and with a memory of its own.
    fn config(&self) -> Result<String, CliError> {
        let (program, _) = start::program()?;
        let agent = BTreeMap::from([
            ("command", json!([program, DEMO_COMMAND])),
            ("env", json!({DEMO_STATE: self.path.join("other")})),
        ]);
        let config = BTreeMap::from([("agents", BTreeMap::from([(OTHER, agent)]))]);
        toml::to_string(&config)
            .map_err(|error| CliError::failed(format!("cannot write the configuration: {error}")))
    }

    fn log(&self) -> PathBuf {
        self.path.join("hobd.log")
    }

    /// The daemon's process.
    pub(super) fn daemon_pid(&self) -> Option<u32> {
        self.daemon.as_ref().map(|daemon| daemon.child.id())
    }

    /// A new connection to the daemon.
    pub(super) async fn link(&self) -> Result<Link, CliError> {
        Link::to(&self.socket(), SocketPlace::Named).await
    }

    /// Starts a daemon and returns when it is ready.
    pub(super) async fn start_daemon(&mut self) -> Result<(), CliError> {
        let (program, args) = start::program()?;
        let log = File::options().create(true).append(true).open(self.log())?;
        #[expect(clippy::disallowed_methods, reason = "a daemon is no agent")]
        let mut command = Command::new(program);
        command.args(args).arg("--exit-with-stdin").current_dir("/");
        for (name, _) in std::env::vars_os() {
            // The person's own settings have no part in this.
            if name.to_str().is_some_and(|name| name.starts_with("HOB_")) {
                command.env_remove(name);
            }
        }
        // It has two small agents: a machine that is short of memory can show them, too.
        command.env("HOB_HOME", self.home()).env("HOB_POOL__MIN_AVAILABLE", "0B");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn()?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let Some(stdout) = stdout else { return Err(CliError::failed("the daemon has no stdout")) };
        let listening = tokio::task::spawn_blocking(move || first_line(stdout));
        let heard = tokio::time::timeout(DAEMON_TIMEOUT, listening).await;
        let (line, stdout) = match heard {
            Ok(Ok(heard)) => heard?,
            _ => {
                child.kill().ok();
                return Err(CliError::failed("expected a daemon that says `ready`, heard nothing"));
            }
        };
        self.daemon = Some(Daemon { child, stdin, _stdout: stdout });
        if line == READY {
            Ok(())
        } else {
            Err(CliError::failed(format!("expected `ready` of the daemon, heard `{line}`")))
        }
    }

    /// Kills the daemon as hard as possible and collects it.
    pub(super) fn kill_daemon(&mut self) -> Result<(), CliError> {
        if let Some(pid) = self.daemon_pid() {
            processes::sigkill(pid)?;
        }
        self.daemon = None;
        Ok(())
    }

    /// Waits until the daemon has ended by itself.
    pub(super) async fn daemon_ended(&mut self) -> Result<ExitStatus, CliError> {
        let Some(daemon) = &mut self.daemon else { return Err(CliError::failed("there is no daemon")) };
        let began = Instant::now();
        while began.elapsed() < DAEMON_TIMEOUT {
            if let Some(status) = daemon.child.try_wait()? {
                self.daemon = None;
                return Ok(status);
            }
            tokio::time::sleep(PAUSE).await;
        }
        daemon.stdin = None;
        Err(CliError::failed(format!("expected the daemon to end within {} s", DAEMON_TIMEOUT.as_secs())))
    }

    /// The end of what the daemon wrote to its log.
    pub(super) fn daemon_said(&self) -> String {
        let text = std::fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }

    /// Takes everything away. `false` where it was to be kept.
    pub(super) fn clear(&mut self) -> Result<bool, CliError> {
        self.daemon = None;
        match self.dir.take() {
            Some(dir) if self.is_kept => drop(dir.keep()),
            Some(dir) => dir.close()?,
            None => {}
        }
        Ok(!self.path.exists())
    }
}

fn first_line(stdout: ChildStdout) -> Result<(String, ChildStdout), CliError> {
    let mut reader = BufReader::new(stdout);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    Ok((line, reader.into_inner()))
}

/// A repository with one commit, made without the `git` program and without anybody's settings.
fn make_repository(path: &Path) -> Result<(), git2::Error> {
    let mut options = git2::RepositoryInitOptions::new();
    options.initial_head("main").external_template(false);
    let repository = git2::Repository::init_opts(path, &options)?;
    std::fs::write(path.join("README.md"), README)
        .map_err(|error| git2::Error::from_str(&error.to_string()))?;
    let mut index = repository.index()?;
    index.add_path(Path::new("README.md"))?;
    index.write()?;
    let tree = repository.find_tree(index.write_tree()?)?;
    let author = git2::Signature::now("hob demo", "demo@hob.invalid")?;
    repository.commit(Some("HEAD"), &author, &author, "Begin", &tree, &[])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_that_is_kept_stays() {
        let mut stage = Stage::set().unwrap();
        stage.keep(true);
        assert!(!stage.clear().unwrap());
        assert!(stage.repo().exists());
        std::fs::remove_dir_all(stage.dir()).unwrap();
    }

    #[test]
    fn a_stage_has_a_repository_with_a_commit_and_goes_away() {
        let mut stage = Stage::set().unwrap();
        let repository = git2::Repository::open(stage.repo()).unwrap();
        let head = repository.head().unwrap();
        assert_eq!(head.shorthand(), Ok("main"));
        assert!(stage.repo().join("README.md").exists());
        assert!(stage.clear().unwrap());
        assert!(!stage.dir().exists());
    }
}
