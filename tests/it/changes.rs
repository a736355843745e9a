//! Pending changes on the command line, with the built-in agent: seen, applied, given up, undone.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::daemon::{Session, TestDaemon};
use crate::support::demo::DEMO;
use crate::support::home::{Ran, Setup};
use crate::support::repo::Repo;

struct Desk {
    daemon: TestDaemon,
    repo: Repo,
    session: Session,
    chat: String,
}

impl Desk {
    fn set() -> Self {
        let daemon = Setup::new().config("[reaper]\ninterval = \"1h\"").start();
        let repo = daemon.repo("repo");
        let lines: String = (1..=40).map(|n| format!("line {n}\n")).collect();
        fs::write(repo.path.join("text"), lines).unwrap();
        repo.git(&["add", "."]);
        repo.git(&["commit", "--quiet", "-m", "a text"]);
        let session = daemon.session(&repo);
        let chat = daemon.chat(&session);
        Self { daemon, repo, session, chat }
    }

    #[track_caller]
    fn run(&self, prompt: &str) -> Value {
        let task = self.daemon.run(&self.chat, DEMO, prompt);
        assert_eq!(task["state"], "completed", "{task:#}");
        task
    }

    /// `hob`, in the user's checkout.
    fn hob(&self, arguments: &[&str]) -> Ran {
        let mut command: Command = self.daemon.hob_command(arguments);
        Ran::of(command.current_dir(&self.repo.path).output().unwrap())
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.hob(&[&["--json"], arguments].concat()).ok().stdout).unwrap()
    }

    fn checkout(&self, path: &str) -> String {
        fs::read_to_string(self.repo.path.join(path)).unwrap_or_default()
    }
}

#[test]
fn what_an_agent_changed_is_told_shown_and_applied_by_path_and_hunk() {
    let desk = Desk::set();
    let nothing = desk.hob(&["diff"]).ok();
    assert!(nothing.stdout.is_empty() && nothing.stderr.contains("no pending changes"), "{nothing:?}");
    let edit = "shell: sed -i 's/^line 3$/three/; s/^line 30$/thirty/' text";
    let told = desk.hob(&["prompt", "-a", DEMO, "-s", &desk.session.id, edit]).ok();
    assert!(told.stderr.contains("changed 1 file: text (hob diff --turn u-"), "{told:?}");
    desk.run("write: new.txt: new");
    let stat = desk.hob(&["diff", "--stat"]).ok().stdout;
    assert!(stat.contains("text") && stat.contains(DEMO) && stat.contains("2 files changed"), "{stat}");
    let diff = desk.hob(&["diff", "text"]).ok().stdout;
    assert!(diff.starts_with("diff --git a/text b/text") && diff.contains("+three"), "{diff}");
    assert!(!diff.contains('\u{1b}'), "no colours where nobody sees them");

    let hunks = desk.json(&["diff", "--hunks", "text"]);
    let first = hunks[0]["hunks"][0]["id"].as_str().unwrap();
    desk.hob(&["apply", "--dry-run", "--hunk", first]).ok();
    assert!(desk.checkout("text").contains("line 3\n"));
    desk.hob(&["apply", "--hunk", first]).ok();
    assert!(desk.checkout("text").contains("three\n") && desk.checkout("text").contains("line 30\n"));
    desk.hob(&["apply", "new.txt"]).ok();
    assert_eq!(desk.checkout("new.txt").trim_end(), "new");
    assert_eq!(desk.json(&["diff", "--hunks"]).as_array().unwrap().len(), 1);
    assert_eq!(desk.repo.git(&["diff", "--cached", "--name-only"]), "", "the index is the user's");
}

#[test]
fn a_conflict_exits_6_and_changes_nothing() {
    let desk = Desk::set();
    desk.run("shell: sed -i 's/^line 3$/three/' text");
    desk.run("write: new.txt: new");
    fs::write(desk.repo.path.join("text"), desk.checkout("text").replace("line 3\n", "mine\n")).unwrap();
    let before = desk.checkout("text");
    let refused = desk.hob(&["apply"]).exit(6).says(&["conflict text", "nothing was applied"]);
    assert!(refused.stdout.is_empty(), "{refused:?}");
    assert_eq!((desk.checkout("text"), desk.checkout("new.txt")), (before, String::new()));
}

#[test]
fn changes_are_given_up_and_turns_undone_and_both_can_be_found_again() {
    let desk = Desk::set();
    let first = desk.run("write: one.txt: one");
    desk.run("write: two.txt: two");
    desk.hob(&["discard", "two.txt"]).ok().says(&["refs/hob/rescue/"]);
    assert!(!desk.session.worktree.join("two.txt").exists());
    let turn = first["turn"].as_str().unwrap();
    let shown = desk.hob(&["diff", "--turn", turn, "--stat"]).ok().stdout;
    assert!(shown.contains("one.txt") && !shown.contains("two.txt"), "{shown}");
    // As all ids, it may be shortened.
    let short = &turn[..turn.len() - 3];
    assert_eq!(desk.hob(&["diff", "--turn", short, "--stat"]).ok().stdout, shown);
    assert!(desk.hob(&["diff", "--turn", short]).ok().stdout.contains("+one"));
    desk.hob(&["diff", "--turn", "u-nowhere"]).exit(5).says(&["u-nowhere"]);
    desk.hob(&["undo", "u-nowhere"]).exit(5).says(&["u-nowhere"]);
    desk.hob(&["undo", "u-"]).exit(2).says(&["more than one turn begins with `u-`"]);
    let undone = desk.hob(&["undo", short]).ok();
    assert!(undone.stdout.contains("restored one.txt"), "{undone:?}");
    assert!(!desk.session.worktree.join("one.txt").exists());
    let rescue = undone.stderr.split_whitespace().last().unwrap();
    assert_eq!(desk.repo.git(&["show", &format!("{rescue}:one.txt")]), "one");
}

#[test]
fn nothing_is_given_up_while_an_agent_works() {
    let desk = Desk::set();
    desk.run("write: one.txt: one");
    let task = desk.daemon.submit(&desk.chat, DEMO, "slow: 2000 25");
    desk.daemon.wait_event(&task, "text");
    let refused = desk.daemon.try_rpc("change/discard", json!({"session": desk.session.id})).unwrap_err();
    assert_eq!(refused.code, -32004, "{refused:?}");
    assert_eq!(desk.json(&["diff", "--hunks"]).as_array().unwrap().len(), 1, "but it is shown");
    desk.daemon.rpc("task/cancel", json!({"task": task}));
    desk.daemon.wait_task(&task);
    desk.hob(&["discard"]).ok();
}

#[test]
fn uncommitted_work_is_put_away_and_comes_back() {
    let desk = Desk::set();
    desk.run("write: one.txt: one");
    let stashed = desk.hob(&["worktree", "stash", "-m", "later"]).ok().stdout;
    assert!(stashed.starts_with("refs/hob/stash/"), "{stashed}");
    assert!(!desk.session.worktree.join("one.txt").exists());
    desk.hob(&["worktree", "unstash"]).ok();
    assert!(desk.session.worktree.join("one.txt").exists());
    desk.hob(&["worktree", "unstash"]).exit(6);
}

#[test]
fn hunks_are_asked_for_on_a_terminal_alone() {
    let desk = Desk::set();
    desk.run("write: one.txt: one");
    desk.hob(&["apply", "-p"]).exit(2).says(&["--hunk"]);
    desk.hob(&["apply", "../outside"]).exit(2).says(&["../outside"]);
}

#[test]
fn what_was_carried_into_a_worktree_is_no_change_of_an_agent() {
    let daemon = Setup::new().start();
    let repo = daemon.repo("repo");
    fs::write(repo.path.join("README.md"), "changed by hand\n").unwrap();
    fs::write(repo.path.join("untracked"), "by hand\n").unwrap();
    let session = daemon.rpc("session/create", json!({"repo": repo.str(), "carry_changes": true}));
    let pending = daemon.rpc("change/list", json!({"session": session["id"]}));
    assert_eq!(pending, json!([]));
    let tree = session["worktree"]["path"].as_str().unwrap();
    fs::write(std::path::Path::new(tree).join("new"), "by hand, in the worktree\n").unwrap();
    let pending = daemon.rpc("change/list", json!({"session": session["id"]}));
    let row = &pending.as_array().unwrap()[0];
    assert_eq!((&row["path"], &row["by_user"], &row["agents"]), (&json!("new"), &json!(true), &json!([])));
}

#[test]
fn into_the_worktree_of_another_session_nothing_is_applied_while_a_turn_works_there() {
    let desk = Desk::set();
    let inner = desk.daemon.rpc("session/create", json!({"repo": desk.session.worktree}));
    let chat = desk.daemon.rpc("chat/create", json!({"session": inner["id"]}));
    let written = desk.daemon.run(chat["id"].as_str().unwrap(), DEMO, "write: new.txt: new");
    assert_eq!(written["state"], "completed", "{written:#}");
    let busy = desk.daemon.submit(&desk.chat, DEMO, "slow: 4000 25");
    desk.daemon.wait_event(&busy, "text");
    let session = inner["id"].as_str().unwrap();
    desk.hob(&["apply", "-s", session]).exit(4).says(&["a turn is under way", "hob task cancel"]);
    assert!(!desk.session.worktree.join("new.txt").exists());
    desk.daemon.rpc("task/cancel", json!({"task": busy}));
    desk.daemon.wait_task(&busy);
    desk.hob(&["apply", "-s", session]).ok();
    assert_eq!(fs::read_to_string(desk.session.worktree.join("new.txt")).unwrap(), "new\n");
}

#[test]
fn what_was_carried_and_stashed_stays_in_the_checkout_and_what_a_turn_removed_is_named() {
    let daemon = Setup::new().start();
    let repo = daemon.repo("repo");
    fs::write(repo.path.join("README.md"), "changed by hand\n").unwrap();
    fs::write(repo.path.join("notes.txt"), "by hand\n").unwrap();
    let hob = |arguments: &[&str]| {
        Ran::of(daemon.hob_command(arguments).current_dir(&repo.path).output().unwrap()).ok()
    };
    let state = |name: &str| fs::read_to_string(repo.path.join(name)).unwrap_or_default();
    let session = daemon.rpc("session/create", json!({"repo": repo.str(), "carry_changes": true}));
    let id = session["id"].as_str().unwrap();
    hob(&["worktree", "stash", "-s", id]);
    hob(&["apply", "-s", id]).says(&["no pending changes"]);
    assert_eq!((state("README.md"), state("notes.txt")), ("changed by hand\n".into(), "by hand\n".into()));
    hob(&["worktree", "unstash", "-s", id]);
    hob(&["prompt", "-a", DEMO, "-s", id, "shell: rm notes.txt"]);
    let applied = hob(&["apply", "-s", id]).says(&["deletes notes.txt (removed by demo)"]);
    assert_eq!(applied.stdout.trim_end(), "applied notes.txt");
    assert_eq!((state("README.md"), state("notes.txt")), ("changed by hand\n".into(), String::new()));
}

#[test]
fn carried_work_that_is_nowhere_else_goes_with_its_session_only_by_consent() {
    let daemon = Setup::new().start();
    let repo = daemon.repo("repo");
    fs::write(repo.path.join("README.md"), "changed by hand\n").unwrap();
    let session = daemon.rpc("session/create", json!({"repo": repo.str(), "carry_changes": true}));
    let risk = || daemon.rpc("worktree/risk", json!({"worktree": session["worktree"]["id"]}));
    let kinds = |risk: &Value| {
        let reasons = risk["reasons"].as_array().unwrap().iter();
        reasons.map(|reason| reason["kind"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let id = session["id"].as_str().unwrap();
    daemon.rpc("session/close", json!({"session": id}));
    assert_eq!(kinds(&risk()), [] as [&str; 0]);
    repo.git(&["checkout", "--quiet", "README.md"]);
    assert_eq!(kinds(&risk()), ["dirty", "pending_changes"]);
    daemon.hob(&["session", "rm", id]).exit(4).says(&["README.md"]);
    daemon.hob(&["session", "rm", id, "--discard-changes"]).ok();
}

#[test]
fn a_diff_in_a_pipe_is_what_git_applies_and_on_a_terminal_it_steers_nothing() {
    let daemon = Setup::new().start();
    let repo = daemon.repo("repo");
    let session = daemon.session(&repo);
    let chat = daemon.chat(&session);
    let script = r"shell: printf 'a\033]52;c;AAAA\007b\r\n\351t\351 latin\n\342\200\256txt.exe\n' > odd.txt";
    daemon.run(&chat, DEMO, script);
    let piped = daemon.hob_command(&["diff", "-s", &session.id]).output().unwrap();
    let patch = daemon.root().join("patch");
    std::fs::write(&patch, &piped.stdout).unwrap();
    repo.git(&["apply", "--whitespace=nowarn", patch.to_str().unwrap()]);
    let written = std::fs::read(repo.path.join("odd.txt")).unwrap();
    assert_eq!(written, std::fs::read(session.worktree.join("odd.txt")).unwrap());

    let words = format!("{} diff --no-pager -s {}", env!("CARGO_BIN_EXE_hob"), session.id);
    let mut script = daemon.command("script");
    let shown =
        script.args(["-qec", &words, "/dev/null"]).stdin(std::process::Stdio::null()).output().unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(
        shown.contains("a␛]52;c;AAAA␇b␍") && shown.contains("<U+202E>txt.exe"),
        "{}",
        shown.escape_debug()
    );
    assert!(
        !shown.contains('\u{7}') && !shown.contains("\u{1b}]") && !shown.contains('\u{202e}'),
        "{}",
        shown.escape_debug()
    );
}
