//! `acpx`, a client of somebody else, drives a real agent through the bridge.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::NO_START;
use crate::support::agents::{CAREFUL_MODE, Consent, RealAgent, acpx};
use crate::support::daemon::TestDaemon;
use crate::support::home::{Ran, Setup};
use crate::support::leftovers::is_alive;
use crate::support::model::{End, OTHER_MODEL_NAME};
use crate::support::repo::Repo;
use crate::support::wait::until;

/// A turn that is still under way when a test looks.
const LONG: &str = "slow: 2000 25";

/// A daemon with an agent, and a repository that `acpx` stands in.
struct Stage {
    daemon: TestDaemon,
    agent: RealAgent,
    repo: Repo,
}

impl Stage {
    fn new(agent: RealAgent, consent: Consent) -> Self {
        let daemon = Setup::new().real(agent, consent).start();
        let repo = daemon.repo("repo");
        Self { daemon, agent, repo }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let bridge = format!("{} acp -a {} {NO_START}", env!("CARGO_BIN_EXE_hob"), self.agent.name());
        let mut command = self.daemon.command(acpx());
        command.args(["--agent", &bridge, "--cwd", self.repo.str(), "--format", "quiet", "--ttl", "60"]);
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    #[track_caller]
    fn acpx(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments).output().unwrap()).ok()
    }

    /// The only chat.
    fn chat(&self) -> String {
        let chats = self.daemon.rpc("chat/list", json!({}));
        assert_eq!(chats.as_array().unwrap().len(), 1, "{chats:#}");
        chats[0]["id"].as_str().unwrap().to_owned()
    }

    fn worktree(&self) -> PathBuf {
        let of = self.daemon.rpc("chat/show", json!({"chat": self.chat()}))["session"].clone();
        let session = self.daemon.rpc("session/show", json!({"session": of}));
        PathBuf::from(session["worktree"]["path"].as_str().unwrap())
    }

    fn newest_task(&self) -> Value {
        self.daemon.rpc("task/list", json!({"limit": 1}))[0].clone()
    }

    /// Kills `acpx` and what it started: it keeps its agent for a while.
    fn kill_acpx(&self) {
        let own = |command: &str| command.contains("acpx") || command.contains("hob acp");
        let processes = self.daemon.processes().into_iter();
        let killed: Vec<_> = processes.filter(|process| own(&process.command)).collect();
        assert!(!killed.is_empty(), "acpx stays for a while");
        for process in killed {
            // Its bridge ends by itself when acpx is gone, and may have.
            if is_alive(process.pid) {
                kill(Pid::from_raw(process.pid.cast_signed()), Signal::SIGKILL).ok();
            }
            until("a killed client to be gone", || (!is_alive(process.pid)).then_some(()));
        }
    }
}

#[test]
fn acpx_drives_goose_through_the_bridge_over_every_death() {
    let mut stage = Stage::new(RealAgent::Goose, Consent::Asks);
    stage.acpx(&["sessions", "new"]);
    let said = stage.acpx(&["prompt", "say: hello there"]);
    assert_eq!(said.stdout.trim(), "hello there", "{said:?}");
    let (chat, worktree) = (stage.chat(), stage.worktree());

    for (flag, name, exists) in [("--approve-all", "yes.txt", true), ("--deny-all", "no.txt", false)] {
        // It says with its exit code whether a question was answered with no.
        let mut command = stage.command(&[flag, "prompt", &format!("write: {name}: asked for")]);
        let ran = Ran::of(command.output().unwrap());
        assert_eq!(ran.code == Some(0), exists, "{ran:?}");
        assert_eq!(worktree.join(name).exists(), exists, "{name}");
        assert_eq!(stage.newest_task()["state"], "completed");
    }
    let asked = stage.daemon.rpc("permission/list", json!({"chat": chat, "state": "answered"}));
    assert_eq!(asked.as_array().unwrap().len(), 2, "{asked:#}");

    // In this mode it asks nobody.
    stage.acpx(&["set-mode", "auto"]);
    stage.acpx(&["--deny-all", "prompt", "write: auto.txt: unasked"]);
    assert!(worktree.join("auto.txt").exists());

    let running = stage.command(&["prompt", LONG]).spawn().unwrap();
    let task = until("the turn to run", || {
        let task = stage.newest_task();
        (task["prompt"] == LONG && task["state"] == "running")
            .then(|| task["id"].as_str().unwrap().to_owned())
    });
    stage.daemon.wait_event(&task, "text");
    stage.acpx(&["cancel"]);
    assert_eq!(stage.daemon.wait_task(&task)["state"], "cancelled");
    Ran::of(running.wait_with_output().unwrap()).ok();
    let seen = stage.daemon.model().wait_for(LONG, |exchange| exchange.end.is_some());
    assert_eq!(seen.end, Some(End::ClientGone));

    stage.kill_acpx();
    stage.daemon.sigkill();
    stage.daemon.start_again();
    let said = stage.acpx(&["prompt", "count"]);
    assert_eq!(said.stdout.trim(), "prompts=6", "{said:?}");
    assert_eq!(stage.chat(), chat, "it went on in the same chat");
    stage.acpx(&["--deny-all", "prompt", "write: again.txt: unasked"]);
    assert!(worktree.join("again.txt").exists(), "and in the same mode");
    stage.acpx(&["set", "mode", "approve"]);
    let refused = stage.command(&["--deny-all", "prompt", "write: asked.txt: asked for"]).output().unwrap();
    assert!(!worktree.join("asked.txt").exists(), "{refused:?}");
    stage.kill_acpx();
}

#[test]
fn acpx_chooses_the_mode_and_the_model_of_the_server_of_opencode() {
    let stage = Stage::new(RealAgent::OpencodeServer, Consent::Assumes);
    stage.acpx(&["sessions", "new"]);
    assert_eq!(stage.acpx(&["prompt", "say: hello there"]).stdout.trim(), "hello there");
    stage.acpx(&["set", "model", &format!("scripted/{OTHER_MODEL_NAME}")]);
    stage.acpx(&["set-mode", CAREFUL_MODE]);
    stage.command(&["prompt", "write: a.txt: too bold"]).output().unwrap();
    assert!(!stage.worktree().join("a.txt").exists());
    stage.acpx(&["set", "mode", "build"]);
    stage.acpx(&["prompt", "write: b.txt: as asked"]);
    assert!(stage.worktree().join("b.txt").exists());
    assert_eq!(stage.daemon.model().wait_for("write: b.txt: as asked", |_| true).model, OTHER_MODEL_NAME);
    stage.kill_acpx();
}
