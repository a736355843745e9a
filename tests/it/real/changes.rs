//! Two real agents in one worktree: whose each change is, when their turns are apart and when they
//! overlap, and what is left after a part of it was applied.

use serde_json::{Value, json};

use crate::support::agents::{Consent, RealAgent};
use crate::support::daemon::{Session, TestDaemon};
use crate::support::home::Setup;
use crate::support::repo::Repo;
use crate::support::wait::until;

/// Two agents, each in a chat of its own, in the worktree of one session.
struct Pair {
    daemon: TestDaemon,
    repo: Repo,
    session: Session,
    left: (String, &'static str),
    right: (String, &'static str),
}

const LINES: usize = 40;

/// A text of many lines, some of them replaced.
fn lines(changed: &[(usize, &str)]) -> String {
    let line = |n: usize| match changed.iter().find(|(at, _)| *at == n) {
        Some((_, text)) => format!("{text}\n"),
        None => format!("line {n}\n"),
    };
    (1..=LINES).map(line).collect()
}

/// What an agent is told to replace a line with another.
fn replace(n: usize, text: &str) -> String {
    format!("shell: sed -i '{n}s/.*/{text}/' lib.txt")
}

impl Pair {
    fn of(left: RealAgent, right: RealAgent) -> Self {
        let daemon = Setup::new().real(left, Consent::Assumes).real(right, Consent::Assumes).start();
        let repo = daemon.repo("repo");
        std::fs::write(repo.path.join("lib.txt"), lines(&[])).unwrap();
        repo.git(&["add", "."]);
        repo.git(&["commit", "--quiet", "--message", "a library"]);
        let session = daemon.session(&repo);
        let (left, right) = ((daemon.chat(&session), left.name()), (daemon.chat(&session), right.name()));
        Self { daemon, repo, session, left, right }
    }

    /// Runs a prompt that must complete; its turn.
    #[track_caller]
    fn run(&self, (chat, agent): &(String, &'static str), prompt: &str) -> String {
        let task = self.daemon.run(chat, agent, prompt);
        assert_eq!(task["state"], "completed", "{task:#}");
        task["turn"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    fn pending(&self) -> Vec<Value> {
        let rows = self.daemon.rpc("change/list", json!({"session": self.session.id}));
        rows.as_array().unwrap().clone()
    }

    #[track_caller]
    fn pending_of(&self, path: &str) -> Value {
        let rows = self.pending();
        let row = rows.iter().find(|row| row["path"] == path);
        row.unwrap_or_else(|| panic!("{path} is not pending: {rows:#?}")).clone()
    }

    fn checkout(&self, path: &str) -> String {
        std::fs::read_to_string(self.repo.path.join(path)).unwrap_or_default()
    }

    fn apply(&self, mut params: Value) -> Value {
        params["session"] = json!(self.session.id);
        self.daemon.rpc("change/apply", params)
    }
}

#[track_caller]
fn owned(row: &Value, agents: &[&str], turns: &[&str]) {
    assert_eq!((&row["agents"], &row["turns"]), (&json!(agents), &json!(turns)), "{row:#}");
    assert_eq!((&row["shared"], &row["by_user"]), (&json!(false), &json!(false)), "{row:#}");
}

/// One after the other, in the same file: each hunk is its own agent's, and goes by itself.
fn apart(left: RealAgent, right: RealAgent) {
    let pair = Pair::of(left, right);
    let first = pair.run(&pair.left, &replace(2, "the first was here"));
    std::fs::write(pair.session.worktree.join("notes.txt"), "by hand\n").unwrap();
    let second = pair.run(&pair.right, &replace(38, "the second was here"));

    let file = pair.pending_of("lib.txt");
    let hunks = file["hunks"].as_array().unwrap();
    assert_eq!(hunks.len(), 2, "{file:#}");
    owned(&hunks[0], &[left.name()], &[&first]);
    owned(&hunks[1], &[right.name()], &[&second]);
    let notes = pair.pending_of("notes.txt");
    assert_eq!((&notes["by_user"], &notes["agents"]), (&json!(true), &json!([])), "{notes:#}");
    let told = pair.daemon.events(json!({"session": pair.session.id, "types": ["changes"]}));
    assert_eq!(told.len(), 2, "{told:#?}");
    assert_eq!((&told[0]["turn"], &told[0]["agent"]), (&json!(first), &json!(left.name())));
    assert_eq!(told[0]["files"], json!([{"path": "lib.txt", "kind": "modified", "shared": false}]));

    let applied = pair.apply(json!({"hunks": [hunks[0]["id"]]}));
    assert_eq!(applied["applied"], json!(["lib.txt"]), "{applied:#}");
    assert_eq!(pair.checkout("lib.txt"), lines(&[(2, "the first was here")]));
    let left_over = pair.pending_of("lib.txt");
    assert_eq!(left_over["hunks"].as_array().unwrap().len(), 1, "{left_over:#}");
    owned(&left_over["hunks"][0], &[right.name()], &[&second]);

    pair.apply(json!({}));
    assert_eq!(pair.pending(), [] as [Value; 0]);
    assert_eq!(pair.checkout("lib.txt"), lines(&[(2, "the first was here"), (38, "the second was here")]));
    let third = pair.run(&pair.left, &replace(20, "once more"));
    let later = pair.pending();
    assert_eq!(later.len(), 1, "{later:#?}");
    owned(&later[0]["hunks"][0], &[left.name()], &[&third]);
}

/// One within the other: what was written while both were under way is shared, the rest is not.
fn overlapping(left: RealAgent, right: RealAgent) {
    let pair = Pair::of(left, right);
    // Started before, so that the turn within is short.
    pair.run(&pair.right, "say: ready");
    let gate = pair.daemon.root().join("gate");
    let prompt = format!(
        "write: early.txt: left alone ;; shell: until test -e {}; do sleep 0.1; done ;; \
         write: late.txt: left alone again",
        gate.display()
    );
    let task = pair.daemon.submit(&pair.left.0, pair.left.1, &prompt);
    until("the first file", || pair.session.worktree.join("early.txt").exists().then_some(()));
    let within = pair.run(&pair.right, "write: within.txt: who wrote this?");
    assert!(!pair.session.worktree.join("late.txt").exists(), "the turns did not overlap as meant");
    std::fs::write(gate, "").unwrap();
    let outer = pair.daemon.wait_task(&task);
    assert_eq!(outer["state"], "completed", "{outer:#}");
    let outer = outer["turn"].as_str().unwrap();

    owned(&pair.pending_of("early.txt"), &[left.name()], &[outer]);
    owned(&pair.pending_of("late.txt"), &[left.name()], &[outer]);
    let both = pair.pending_of("within.txt");
    assert_eq!(both["shared"], true, "{both:#}");
    for (name, turn) in [(left.name(), outer), (right.name(), within.as_str())] {
        assert!(both["agents"].as_array().unwrap().contains(&json!(name)), "{both:#}");
        assert!(both["turns"].as_array().unwrap().contains(&json!(turn)), "{both:#}");
    }
    let told = pair.daemon.wait_event(&task, "changes");
    let shared = |path: &str| {
        let files = told["files"].as_array().unwrap();
        files.iter().find(|file| file["path"] == path).map(|file| file["shared"] == true)
    };
    assert_eq!((shared("early.txt"), shared("within.txt")), (Some(false), Some(true)), "{told:#}");
}

#[test]
fn the_turns_of_goose_and_qwen_are_told_apart() {
    apart(RealAgent::Goose, RealAgent::Qwen);
}

#[test]
fn the_turns_of_opencode_and_goose_are_told_apart() {
    apart(RealAgent::Opencode, RealAgent::Goose);
}

#[test]
fn what_goose_and_qwen_write_at_once_is_shared() {
    overlapping(RealAgent::Goose, RealAgent::Qwen);
}

#[test]
fn what_qwen_and_opencode_write_at_once_is_shared() {
    overlapping(RealAgent::Qwen, RealAgent::Opencode);
}
