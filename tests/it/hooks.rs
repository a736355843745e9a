//! The person's own commands around the life of a worktree, and what they leave: processes, files, commits.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::daemon::{Session, TestDaemon};
use crate::support::home::Setup;
use crate::support::repo::Repo;
use crate::support::wait::until;

const BY_HAND: &str = "[reaper]\ninterval = \"1h\"";

/// What no group holds: its own session, twice forked, deaf to TERM. Writes its number to `$1`.
const ESCAPEE: &str = r#"(setsid sh -c 'trap "" TERM HUP; echo $$ > $0; while :; do sleep 1; done' "$1" &)"#;

struct Desk {
    daemon: TestDaemon,
    repo: Repo,
    session: Session,
    scratch: tempfile::TempDir,
}

impl Desk {
    /// A session under hooks whose scripts find `$1`, a file outside of everything.
    fn set(hooks: &[(&str, &str)], more: &str) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("told");
        let lines: String = hooks
            .iter()
            .map(|(name, script)| format!("{name} = {}\n", json!(["sh", "-c", script, "hook", file])))
            .collect();
        let daemon = Setup::new().config(&format!("{BY_HAND}\n[hooks]\n{lines}{more}")).start();
        let repo = daemon.repo("repo");
        let session = daemon.session(&repo);
        Self { daemon, repo, session, scratch }
    }

    fn told(&self) -> PathBuf {
        self.scratch.path().join("told")
    }

    fn changes(&self) -> Vec<Value> {
        let listed = self.daemon.rpc("change/list", json!({"session": self.session.id}));
        listed.as_array().unwrap_or_else(|| panic!("{listed:#}")).clone()
    }

    fn remove(&self) {
        self.daemon.hob(&["session", "rm", &self.session.id]).ok();
        assert!(!self.session.worktree.exists());
    }
}

fn number_in(file: &Path) -> Option<u32> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

#[test]
fn what_a_hook_leaves_running_holds_nothing_up_and_ends_with_it() {
    for (name, leaves) in [("in its group", "sleep 600 & echo $! > $1"), ("escaped", ESCAPEE)] {
        let began = Instant::now();
        let desk = Desk::set(&[("worktree_created", &format!("{leaves}; sleep 0.2"))], "timeout = \"60s\"");
        assert!(began.elapsed() < Duration::from_secs(30), "{name}: {:?}", began.elapsed());
        let pid = number_in(&desk.told()).unwrap();
        until("the end of what a hook left", || (!is_alive(pid)).then_some(()));
        desk.remove();
    }
}

#[test]
fn a_hook_whose_time_is_over_is_ended_with_everything() {
    let script = format!("trap '' TERM; {ESCAPEE}; sleep 600");
    let desk = Desk::set(&[("worktree_created", &script)], "timeout = \"3s\"");
    let pid = number_in(&desk.told()).unwrap();
    until("the end of what a hook left", || (!is_alive(pid)).then_some(()));
    until("what is told of it", || {
        let notices = desk.daemon.events(json!({"types": ["notice"]}));
        let is_told = |n: &Value| n["text"].as_str().unwrap().contains("was ended after 3 s");
        notices.iter().any(is_told).then_some(())
    });
}

#[test]
fn nothing_of_a_hook_outlives_a_daemon_that_is_killed() {
    let mut desk = Desk::set(&[("before_archive", &format!("{ESCAPEE}; sleep 600"))], "timeout = \"60s\"");
    let mut deleting = desk.daemon.hob_command(&["session", "rm", &desk.session.id]).spawn().unwrap();
    let pid = until("the hook", || number_in(&desk.told()));
    desk.daemon.sigkill();
    deleting.wait().unwrap();
    until("the end of what a hook left", || (!is_alive(pid)).then_some(()));
    desk.daemon.start_again();
    assert!(desk.session.worktree.exists());
}

#[test]
fn what_a_hook_changes_is_the_hooks_and_not_the_persons() {
    let script = "echo made > made.txt; echo line >> README.md";
    let desk = Desk::set(&[("worktree_created", script)], "");
    fs::write(desk.session.worktree.join("mine.txt"), "mine\n").unwrap();
    let whose: Vec<_> = desk
        .changes()
        .iter()
        .map(|file| {
            (file["path"].clone(), file["by_hook"].clone(), file["by_user"].clone(), file["shared"].clone())
        })
        .collect();
    let row = |path: &str, hook: bool| (json!(path), json!(hook), json!(!hook), json!(false));
    assert_eq!(whose, [row("README.md", true), row("made.txt", true), row("mine.txt", false)]);
    let shown = desk.daemon.hob(&["diff", "-s", &desk.session.id, "--stat"]).ok().stdout;
    assert!(shown.contains("a hook") && shown.contains("you"), "{shown}");
}

#[test]
fn a_hook_before_the_archive_that_writes_makes_no_clean_session_dirty() {
    for script in [
        "echo log > last.log; echo line >> README.md; git add last.log",
        "echo log > last.log; git add -A; git -c user.name=h -c user.email=h@h commit --quiet -m hook",
        "rm README.md",
    ] {
        let desk = Desk::set(&[("before_archive", script)], "");
        desk.remove();
        let refs = desk.repo.git(&["for-each-ref", "--format=%(refname)", "refs/hob/salvage/"]);
        if script.contains("last.log") {
            assert_eq!(desk.repo.git(&["show", &format!("{refs}:last.log")]), "log", "{script}");
        }
    }
    // What was there before is asked for as ever.
    let desk = Desk::set(&[("before_archive", "echo log > last.log")], "");
    fs::write(desk.session.worktree.join("mine.txt"), "mine\n").unwrap();
    desk.daemon.hob(&["session", "rm", &desk.session.id]).exit(4).says(&["untracked"]);
    assert!(!desk.session.worktree.join("last.log").exists());
}

#[test]
fn a_hook_speaks_to_the_daemon_as_the_person_does() {
    let hob = env!("CARGO_BIN_EXE_hob");
    // An agent may read only what is its own.
    let script = format!("{hob} --json session ls > $1.new && mv $1.new $1");
    let desk = Desk::set(&[("worktree_created", &script)], "");
    let told = fs::read_to_string(desk.told()).unwrap();
    let listed: Value = serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}"));
    assert_eq!(listed[0]["id"], *desk.session.id, "{listed:#}");
    let script = format!("{hob} --json task submit > $1 2>&1; {hob} session new >> $1 2>&1; echo $? >> $1");
    let desk = Desk::set(&[("before_archive", &script)], "");
    desk.remove();
    let told = fs::read_to_string(desk.told()).unwrap();
    assert!(!told.contains("an agent"), "{told}");
}
