//! The end of worktrees and their way back, as a person meets it: guards, consents, hooks, the trash.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::daemon::{Session, TestDaemon};
use crate::support::demo::{DEMO, say};
use crate::support::home::Setup;
use crate::support::repo::{Repo, git};
use crate::support::wait::until;

/// A reaper that comes round only when it is asked.
const BY_HAND: &str = "[reaper]\ninterval = \"1h\"";

struct Desk {
    daemon: TestDaemon,
    repo: Repo,
    session: Session,
    worktree: String,
}

impl Desk {
    fn set(config: &str) -> Self {
        let daemon = Setup::new().config(config).start();
        let repo = daemon.repo("repo");
        let session = daemon.session(&repo);
        let shown = daemon.rpc("session/show", json!({"session": session.id}));
        let worktree = shown["worktree"]["id"].as_str().unwrap().to_owned();
        Self { daemon, repo, session, worktree }
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.session.worktree.join(path), text).unwrap();
    }

    fn row(&self) -> Value {
        let rows = self.daemon.rpc("worktree/list", json!({"all": true}));
        let found = rows.as_array().unwrap().iter().find(|row| row["id"] == *self.worktree);
        found.unwrap_or_else(|| panic!("{rows:#}")).clone()
    }

    fn close(&self) {
        self.daemon.rpc("session/close", json!({"session": self.session.id}));
    }

    fn reap(&self) -> Value {
        let reaped = self.daemon.rpc("worktree/reap", json!({"worktree": self.worktree}));
        reaped.as_array().unwrap().first().cloned().unwrap_or_default()
    }

    fn notices(&self) -> Vec<String> {
        let notices = self.daemon.events(json!({"types": ["notice"]}));
        notices.iter().filter_map(|notice| notice["text"].as_str().map(str::to_owned)).collect()
    }
}

#[test]
fn a_session_with_work_is_not_deleted_without_the_consent_for_that_work() {
    let desk = Desk::set(BY_HAND);
    desk.write("new.txt", "mine\n");
    git(&desk.session.worktree, &["commit", "--quiet", "--allow-empty", "-m", "work"]);
    let rm = |arguments: &[&str]| {
        let all = [&["session", "rm", &desk.session.id], arguments].concat();
        desk.daemon.hob(&all)
    };
    rm(&[]).exit(4).says(&["untracked", "unpushed", "--discard-changes", "--discard-unpushed"]);
    rm(&["--discard-changes"]).exit(4).says(&["unpushed"]);
    rm(&["--discard-unpushed"]).exit(4).says(&["untracked"]);
    assert!(desk.session.worktree.join("new.txt").exists());
    let gone = rm(&["--discard-changes", "--discard-unpushed"]).ok();
    assert!(gone.stdout.contains(&format!("refs/hob/salvage/{}", desk.worktree)), "{gone:?}");
    assert!(!desk.session.worktree.exists());
    assert_eq!(desk.row()["session"], Value::Null);
    let salvage = desk.row()["salvage_ref"].as_str().unwrap().to_owned();
    assert_eq!(desk.repo.git(&["show", &format!("{salvage}:new.txt")]), "mine");
    desk.daemon.hob(&["session", "show", &desk.session.id]).exit(5);

    desk.daemon.hob(&["worktree", "restore", &desk.worktree]).ok();
    let row = desk.row();
    assert_eq!(row["state"], "active");
    let made = desk.daemon.rpc("session/show", json!({"session": row["session"]}));
    assert_eq!((&made["state"], &made["repo"]), (&json!("open"), &json!(desk.repo.str())));
    assert_eq!(fs::read_to_string(desk.session.worktree.join("new.txt")).unwrap(), "mine\n");
    assert_eq!(git(&desk.session.worktree, &["log", "-1", "--format=%s"]), "work");
}

#[test]
fn a_session_at_work_is_not_deleted_and_one_with_an_idle_agent_is() {
    let desk = Desk::set(BY_HAND);
    let chat = desk.daemon.chat(&desk.session);
    let task = desk.daemon.submit(&chat, DEMO, "slow: 2000 25");
    desk.daemon.wait_event(&task, "text");
    let refused = desk.daemon.try_rpc("session/delete", json!({"session": desk.session.id})).unwrap_err();
    assert!(refused.data["reasons"].as_array().unwrap().contains(&json!("live")), "{refused:?}");
    desk.daemon.rpc("task/cancel", json!({"task": task}));
    desk.daemon.wait_task(&task);
    desk.daemon.ask(&chat, DEMO, &say("idle now"));
    desk.daemon.rpc("session/delete", json!({"session": desk.session.id}));
    assert_eq!(desk.row()["state"], "archived");
}

#[test]
fn a_clean_orphan_is_retired_by_itself_and_comes_back_with_its_session() {
    let desk = Desk::set("[reaper]\ninterval = \"200ms\"\ngrace = \"400ms\"");
    desk.close();
    until("its retirement", || (desk.row()["state"] == "archived").then_some(()));
    assert!(!desk.session.worktree.exists());
    let refused = desk.daemon.hob(&["session", "reopen", &desk.session.id]).exit(6);
    assert!(refused.stderr.contains("restore"), "{refused:?}");
    desk.daemon.hob(&["worktree", "restore", &desk.session.id]).ok();
    let shown = desk.daemon.rpc("session/show", json!({"session": desk.session.id}));
    assert_eq!((&shown["state"], &shown["worktree"]["state"]), (&json!("open"), &json!("active")));
    let chat = desk.daemon.chat(&desk.session);
    assert_eq!(desk.daemon.ask(&chat, DEMO, &say("back")), "back");
}

#[test]
fn what_was_applied_or_discarded_is_retired() {
    let desk = Desk::set(BY_HAND);
    let chat = desk.daemon.chat(&desk.session);
    desk.daemon.run(&chat, DEMO, "write: applied.txt: one");
    desk.daemon.run(&chat, DEMO, "write: discarded.txt: two");
    desk.close();
    let kept = desk.reap();
    assert_eq!(kept["action"], "kept", "{kept:#}");
    desk.daemon.rpc("change/apply", json!({"session": desk.session.id, "paths": ["applied.txt"]}));
    desk.daemon.rpc("change/discard", json!({"session": desk.session.id, "paths": ["discarded.txt"]}));
    assert_eq!(desk.reap()["action"], "archived");
    assert_eq!(fs::read_to_string(desk.repo.path.join("applied.txt")).unwrap().trim_end(), "one");
}

#[test]
fn the_trash_is_emptied_in_its_time_and_the_salvage_brings_everything_back() {
    let desk = Desk::set(&format!("{BY_HAND}\nretention = \"0s\""));
    desk.write("new.txt", "mine\n");
    let consents = json!({"session": desk.session.id, "discard_changes": true});
    desk.daemon.rpc("session/delete", consents);
    assert_eq!(desk.reap()["action"], "purged");
    assert_eq!(desk.row()["state"], "purged");
    let trash = desk.session.worktree.parent().unwrap().join(".trash").join(&desk.worktree);
    assert!(!trash.exists());
    desk.daemon.hob(&["worktree", "restore", &desk.worktree]).ok();
    assert_eq!(fs::read_to_string(desk.session.worktree.join("new.txt")).unwrap(), "mine\n");
    assert_eq!(git(&desk.session.worktree, &["status", "--porcelain"]), "?? new.txt");
}

#[test]
fn a_salvage_goes_when_its_time_is_over() {
    let mut desk = Desk::set(&format!("{BY_HAND}\nretention = \"0s\"\nsalvage_retention = \"0s\""));
    desk.write("new.txt", "given up\n");
    desk.daemon.hob(&["discard", "--yes", "-s", &desk.session.id]).ok();
    assert!(desk.repo.git(&["for-each-ref", "refs/hob/rescue"]).contains(&desk.worktree));
    desk.close();
    for _ in 0..3 {
        desk.reap();
    }
    assert_eq!((&desk.row()["state"], desk.row()["salvage_ref"].is_string()), (&json!("purged"), true));
    let kept = desk.reap();
    assert!(kept.to_string().contains("stays for the next"), "both copies in one life: {kept:#}");
    desk.daemon.stop();
    desk.daemon.start_again();
    desk.reap();
    assert_eq!((&desk.row()["state"], &desk.row()["salvage_ref"]), (&json!("purged"), &Value::Null));
    assert_eq!(desk.repo.git(&["for-each-ref", "refs/hob"]), "");
    let nothing = desk.daemon.hob(&["worktree", "restore", &desk.worktree]).exit(6);
    assert!(nothing.stderr.contains("nothing is left"), "{nothing:?}");
}

#[test]
fn a_branch_that_moved_meanwhile_is_left_alone() {
    let desk = Desk::set(BY_HAND);
    let before = git(&desk.session.worktree, &["rev-parse", "HEAD"]);
    desk.close();
    desk.reap();
    fs::write(desk.repo.path.join("more"), "more\n").unwrap();
    desk.repo.git(&["add", "."]);
    desk.repo.git(&["commit", "--quiet", "-m", "more"]);
    let branch = format!("hob/{}", desk.worktree);
    desk.repo.git(&["branch", "--force", &branch, "main"]);
    desk.daemon.hob(&["worktree", "restore", &desk.worktree]).ok();
    assert_eq!(git(&desk.session.worktree, &["rev-parse", "HEAD"]), before);
    assert_eq!(desk.repo.git(&["rev-parse", &branch]), desk.repo.git(&["rev-parse", "main"]));
    assert!(desk.notices().iter().any(|text| text.contains("detached")), "{:?}", desk.notices());
}

#[test]
fn hooks_run_in_the_worktree_and_their_failure_is_told() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let script = format!("echo $HOB_EVENT $HOB_SESSION $PWD >> {}", log.path().display());
    let config = format!(
        "{BY_HAND}\n[hooks]\nworktree_created = [\"sh\", \"-c\", \"{script}; echo made ready\"]\n\
         before_archive = [\"sh\", \"-c\", \"{script}; echo no room >&2; exit 3\"]\n\
         before_archive_blocks = true\ntimeout = \"20s\""
    );
    let desk = Desk::set(&config);
    let told = fs::read_to_string(log.path()).unwrap();
    assert!(told.starts_with("worktree_created s-"), "{told}");
    until("what the hook said", || {
        desk.notices().iter().any(|text| text.contains("said: made ready")).then_some(())
    });
    assert!(told.trim_end().ends_with(desk.session.worktree.to_str().unwrap()), "{told}");
    desk.close();
    let kept = desk.reap();
    assert_eq!(kept["action"], "kept", "{kept:#}");
    assert!(kept["reasons"][0]["detail"].as_str().unwrap().contains("no room"), "{kept:#}");
    assert!(desk.notices().iter().any(|text| text.contains("hooks.before_archive")));
    assert!(desk.session.worktree.exists());
}

#[test]
fn a_hook_that_fails_stands_in_no_way_unless_it_is_told_to_and_one_that_hangs_is_ended() {
    let config = format!("{BY_HAND}\n[hooks]\nbefore_archive = [\"sleep\", \"600\"]\ntimeout = \"500ms\"");
    let desk = Desk::set(&config);
    desk.close();
    assert_eq!(desk.reap()["action"], "archived");
    assert!(desk.notices().iter().any(|text| text.contains("was ended after")), "{:?}", desk.notices());
}

#[test]
fn what_somebody_else_removed_is_written_off_and_what_nobody_wrote_down_is_taken_in() {
    let desk = Desk::set(BY_HAND);
    desk.close();
    desk.repo.git(&["worktree", "remove", "--force", "--force", desk.session.worktree.to_str().unwrap()]);
    assert_eq!(desk.reap()["action"], "archived");
    let root: PathBuf = desk.session.worktree.parent().unwrap().to_owned();
    let stray = root.join("w-stray");
    desk.repo.git(&["worktree", "add", "--quiet", "-b", "stray", stray.to_str().unwrap()]);
    fs::create_dir(root.join("no-worktree")).unwrap();
    let reaped = desk.daemon.rpc("worktree/reap", json!({}));
    let of_stray = reaped.as_array().unwrap().iter().find(|row| row["worktree"] == "w-stray");
    assert_eq!(of_stray.unwrap()["action"], "archived", "{reaped:#}");
    assert!(!stray.exists() && root.join("no-worktree").exists());
    let foreign = reaped.as_array().unwrap().iter().find(|row| row["worktree"] == "no-worktree").unwrap();
    assert_eq!((&foreign["action"], &foreign["reasons"][0]["kind"]), (&json!("kept"), &json!("foreign")));
}

#[test]
fn bad_calls_are_answered_with_what_is_wrong() {
    let desk = Desk::set(BY_HAND);
    let code = |method: &str, params: Value| desk.daemon.try_rpc(method, params).unwrap_err().code;
    assert_eq!(code("worktree/risk", json!({})), -32602);
    assert_eq!(code("worktree/risk", json!({"worktree": "w-nowhere"})), -32002);
    assert_eq!(code("worktree/reap", json!({"worktree": "w-nowhere"})), -32002);
    assert_eq!(code("worktree/restore", json!({"worktree": "w-nowhere"})), -32002);
    assert_eq!(code("worktree/restore", json!({"worktree": desk.worktree})), -32003);
    assert_eq!(code("change/list", json!({"session": "s-nowhere"})), -32002);
    assert_eq!(code("change/list", json!({"session": desk.session.id, "turn": "u-nowhere"})), -32002);
    assert_eq!(code("change/apply", json!({"session": desk.session.id, "hunks": []})), -32602);
    assert_eq!(code("change/apply", json!({"session": desk.session.id, "hunks": ["h-x"]})), -32002);
    assert_eq!(code("change/undo", json!({"session": desk.session.id, "turn": "u-nowhere"})), -32002);
    assert_eq!(code("worktree/stash", json!({"session": desk.session.id})), -32003);
    assert_eq!(code("session/delete", json!({"session": "s-nowhere"})), -32002);
    assert!(Path::new(&desk.session.worktree).exists());
}

#[test]
fn a_removal_that_fails_half_way_is_settled_by_the_next_start() {
    let mut desk = Desk::set(BY_HAND);
    desk.write("new.txt", "mine\n");
    let in_the_way = desk.repo.path.join(".git/hob-trash").join(&desk.worktree);
    fs::create_dir_all(in_the_way.join("x")).unwrap();
    let consents = json!({"session": desk.session.id, "discard_changes": true});
    let failed = desk.daemon.try_rpc("session/delete", consents).unwrap_err();
    assert!(failed.message.contains("could not be moved back"), "{failed:?}");
    assert!(!desk.session.worktree.exists());
    fs::remove_dir_all(in_the_way).unwrap();
    desk.daemon.stop();
    desk.daemon.start_again();
    assert_ne!(desk.row()["state"], "archived");
    assert_eq!(fs::read_to_string(desk.session.worktree.join("new.txt")).unwrap(), "mine\n");
    assert_eq!(git(&desk.session.worktree, &["status", "--porcelain"]), "?? new.txt");
}

#[test]
fn what_is_in_the_trash_comes_back_whatever_its_row_says() {
    let mut desk = Desk::set(BY_HAND);
    desk.write("new.txt", "mine\n");
    desk.daemon.stop();
    let root = desk.session.worktree.parent().unwrap();
    let git_dir = desk.repo.path.join(".git");
    for (from, trash) in
        [(root.to_owned(), root.join(".trash")), (git_dir.join("worktrees"), git_dir.join("hob-trash"))]
    {
        fs::create_dir_all(&trash).unwrap();
        fs::rename(from.join(&desk.worktree), trash.join(&desk.worktree)).unwrap();
    }
    desk.daemon.start_again();
    assert_eq!(desk.row()["state"], "active");
    desk.daemon.hob(&["worktree", "restore", &desk.worktree]).ok();
    assert_eq!(git(&desk.session.worktree, &["status", "--porcelain"]), "?? new.txt");
    desk.daemon.hob(&["worktree", "restore", &desk.worktree]).exit(6);
}
