//! Which session is meant: one rule for prompts and for everything that is done with changes.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::daemon::TestDaemon;
use crate::support::demo::{DEMO, say};
use crate::support::home::{Ran, Setup};
use crate::support::repo::Repo;
use crate::support::wait::until;

struct Desk {
    daemon: TestDaemon,
    repo: Repo,
}

impl Desk {
    fn set(config: &str) -> Self {
        let daemon = Setup::new().config(config).start();
        let repo = daemon.repo("repo");
        fs::create_dir(repo.path.join("sub")).unwrap();
        fs::write(repo.path.join("sub/file"), "x\n").unwrap();
        repo.git(&["add", "."]);
        repo.git(&["commit", "--quiet", "-m", "a directory"]);
        Self { daemon, repo }
    }

    fn hob_in(&self, directory: &Path, arguments: &[&str]) -> Ran {
        let mut command = self.daemon.hob_command(arguments);
        Ran::of(command.current_dir(directory).output().unwrap())
    }

    fn hob(&self, arguments: &[&str]) -> Ran {
        self.hob_in(&self.repo.path, arguments)
    }

    /// Prompts in a directory; the session that it went to.
    #[track_caller]
    fn prompt_in(&self, directory: &Path, more: &[&str], text: &str) -> String {
        let said = self.hob_in(directory, &[&["prompt", "-a", DEMO], more, &[text]].concat()).ok().stderr;
        named(&said)
    }

    #[track_caller]
    fn prompt(&self, text: &str) -> String {
        self.prompt_in(&self.repo.path, &[], text)
    }

    fn new_session(&self) -> String {
        self.hob(&["session", "new"]).ok();
        let sessions = self.daemon.rpc("session/list", json!({}));
        sessions.as_array().unwrap().last().unwrap()["id"].as_str().unwrap().to_owned()
    }

    fn worktree(&self, session: &str) -> std::path::PathBuf {
        let shown = self.daemon.rpc("session/show", json!({"session": session}));
        shown["worktree"]["path"].as_str().unwrap().into()
    }

    fn n_sessions(&self) -> usize {
        self.daemon.rpc("session/list", json!({"all": true})).as_array().unwrap().len()
    }
}

/// The session that a command names on stderr.
#[track_caller]
fn named(said: &str) -> String {
    let id = said.split("session s-").nth(1).unwrap_or_else(|| panic!("names no session: {said}"));
    format!("s-{}", id.chars().take_while(char::is_ascii_alphanumeric).collect::<String>())
}

#[test]
fn a_prompt_and_what_is_done_with_changes_mean_the_same_session() {
    let desk = Desk::set("");
    let first = desk.prompt("write: first.txt: 1");
    let second = desk.new_session();
    assert_ne!(first, second);
    assert_eq!(desk.prompt("write: second.txt: 2"), second, "made by hand since");
    let diff = desk.hob(&["diff", "--stat"]).ok();
    assert!(diff.stdout.contains("second.txt") && !diff.stdout.contains("first.txt"), "{diff:?}");
    assert!(diff.stderr.contains(&format!("session {second} (hob/w-")), "{diff:?}");
    // In a directory of the checkout it is the same.
    assert_eq!(named(&desk.hob_in(&desk.repo.path.join("sub"), &["worktree", "risk"]).ok().stderr), second);

    // Named with -s, the other is the one used last.
    assert_eq!(named(&desk.hob(&["diff", "-s", &first]).ok().stderr), first);
    assert_eq!(desk.prompt("write: third.txt: 3"), first);
    let said = desk.hob(&["discard", "-y"]).ok();
    assert_eq!(named(&said.stderr), first);
    assert!(said.stdout.contains("first.txt") && !said.stdout.contains("second.txt"), "{said:?}");
    assert!(desk.worktree(&second).join("second.txt").exists(), "nobody meant that one");
    for (arguments, field) in [(vec!["apply"], "applied"), (vec!["worktree", "stash"], "files")] {
        desk.prompt("write: more.txt: 4");
        let ran = desk.hob(&[&["--json"], arguments.as_slice()].concat()).ok();
        let answer: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(
            (&answer["session"], &answer[field][0]),
            (&json!(first), &json!("more.txt")),
            "{answer:#}"
        );
        fs::remove_file(desk.repo.path.join("more.txt")).ok();
    }
    assert_eq!(named(&desk.hob(&["worktree", "unstash"]).ok().stderr), first);

    // A closed one is not meant, and where there is none only a prompt makes one.
    desk.hob(&["session", "close", &first]).ok();
    assert_eq!(named(&desk.hob(&["diff"]).ok().stderr), second);
    desk.hob(&["session", "close", &second]).ok();
    desk.hob(&["diff"]).exit(5).says(&["no open session belongs to", "hob session ls"]);
    let third = desk.prompt(&say("x"));
    assert_eq!(named(&desk.hob(&["diff"]).ok().stderr), third);
}

#[test]
fn inside_a_worktree_its_session_is_meant_and_none_is_made_on_top() {
    let desk = Desk::set("");
    let (inner, outer) = (desk.new_session(), desk.new_session());
    let inside = desk.worktree(&inner).join("sub");
    let before = desk.n_sessions();
    assert_eq!(desk.prompt_in(&inside, &[], "shell: pwd > here"), inner);
    assert_eq!(fs::read_to_string(inside.join("here")).unwrap().trim(), inside.to_str().unwrap());
    assert_eq!(desk.prompt_in(&inside, &["--new"], "write: new.txt: x"), inner);
    let made = desk.daemon.rpc("chat/create", json!({"repo": inside}));
    assert_eq!(made["session"], json!(inner));
    assert_eq!(named(&desk.hob_in(&inside, &["discard", "-y", "here"]).ok().stderr), inner);
    assert!(!inside.join("here").exists());
    assert_eq!(desk.n_sessions(), before);
    assert_eq!(desk.prompt(&say("x")), inner, "prompted last");

    desk.hob(&["session", "close", &inner]).ok();
    let refused = desk.hob_in(&inside, &["prompt", "-a", DEMO, "x"]).exit(6);
    refused.says(&[&inner, "hob session reopen"]);
    assert_eq!(desk.prompt(&say("x")), outer);
    assert_eq!(desk.n_sessions(), before);
}

#[test]
fn neither_an_arena_nor_an_agent_changes_which_session_is_meant() {
    let (hob, allow) = (env!("CARGO_BIN_EXE_hob"), "[permissions]\ndefault = \"allow\"");
    let desk = Desk::set(&format!("{allow}\n[agents.left]\ncommand = [\"{hob}\", \"demo-agent\"]"));
    let (busy, mine) = (desk.new_session(), desk.new_session());
    let socket = desk.daemon.socket();
    let chat = desk.daemon.rpc("chat/create", json!({"session": busy}))["id"].as_str().unwrap().to_owned();
    let go = desk.daemon.root().join("go");
    let submit = format!(
        "shell: until [ -e {} ]; do sleep 0.05; done; {hob} --no-start --socket {} --json rpc task/submit '{}'",
        go.display(),
        socket.display(),
        json!({"agent": DEMO, "prompt": say("child")}),
    );
    let parent = desk.daemon.submit(&chat, DEMO, &submit);
    assert_eq!(named(&desk.hob(&["diff"]).ok().stderr), busy, "a person prompted there last");
    desk.hob(&["diff", "-s", &mine]).ok();
    fs::write(&go, "").unwrap();
    until("the agent's own prompt", || {
        let rows = desk.daemon.rpc("task/list", json!({"session": busy}));
        rows.as_array().unwrap().iter().any(|row| row["parent"] == json!(parent)).then_some(())
    });
    desk.daemon.wait_task(&parent);
    assert_eq!(desk.prompt(&say("x")), mine, "what an agent prompts is no use");

    // An arena of the checkout: its entries are nobody's work, before and after one is adopted.
    let arena = |more: &[&str]| {
        let run = ["--json", "arena", "run", "-a", "left", "-a", DEMO];
        let ran = desk.hob(&[&run, more, &["write: who.txt: me"]].concat()).ok();
        let arena: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(desk.prompt(&say("x")), mine, "an arena runs");
        desk.hob(&["diff", "-s", arena["entries"][0]["session"].as_str().unwrap()]).ok();
        assert_eq!(desk.prompt(&say("x")), mine, "an entry was looked at");
        desk.hob(&["arena", "adopt", arena["id"].as_str().unwrap(), "left"]).ok();
    };
    arena(&[]);
    assert_eq!(named(&desk.hob(&["diff"]).ok().stderr), mine);
    assert_eq!(desk.prompt(&say("x")), mine);
    // One over a session is adopted into that.
    arena(&["-s", &busy]);
    assert_eq!(desk.prompt(&say("x")), busy);
}
