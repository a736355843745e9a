//! Worktrees whose file system has another number since a boot, whose repository was moved, or whose
//! directory somebody took away or replaced.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::daemon::{Session, TestDaemon};
use crate::support::demo::{DEMO, say};
use crate::support::home::Setup;
use crate::support::repo::{Repo, git};

struct Desk {
    daemon: TestDaemon,
    repo: Repo,
    session: Session,
    worktree: String,
}

impl Desk {
    fn set() -> Self {
        let daemon = Setup::new().config("[reaper]\ninterval = \"1h\"").start();
        let repo = daemon.repo("repo");
        let session = daemon.session(&repo);
        let worktree = session.worktree.file_name().unwrap().to_str().unwrap().to_owned();
        Self { daemon, repo, session, worktree }
    }

    fn path(&self) -> &Path {
        &self.session.worktree
    }

    fn pending(&self) -> Vec<String> {
        let listed = self.daemon.rpc("change/list", json!({"session": self.session.id}));
        let rows = listed["changes"].as_array().or(listed.as_array()).unwrap();
        rows.iter().map(|row| row["path"].as_str().unwrap().to_owned()).collect()
    }
}

#[test]
fn a_boot_that_numbers_the_disks_anew_leaves_every_worktree_the_one_that_it_was() {
    let mut desk = Desk::set();
    fs::write(desk.path().join("new.txt"), "mine\n").unwrap();
    desk.daemon.stop();
    let database = rusqlite::Connection::open(desk.daemon.hob_home().join("hob.db")).unwrap();
    let number =
        || database.query_row("SELECT device FROM worktrees", [], |row| row.get::<_, i64>(0)).unwrap();
    let here = number();
    database.execute("UPDATE worktrees SET device = device + 1", []).unwrap();
    desk.daemon.start_again();
    assert_eq!(number(), here, "the new number is written down");
    drop(database);
    assert_eq!(desk.pending(), ["new.txt"]);
    desk.daemon.hob(&["apply", "-s", &desk.session.id, "new.txt"]).ok();
    desk.daemon.rpc("session/delete", json!({"session": desk.session.id}));
    desk.daemon.hob(&["worktree", "restore", &desk.worktree]).ok();
    assert_eq!(fs::read_to_string(desk.path().join("new.txt")).unwrap(), "mine\n");
}

#[test]
fn a_repository_that_is_renamed_under_its_sessions_goes_on() {
    let desk = Desk::set();
    let chat = desk.daemon.chat(&desk.session);
    desk.daemon.ask(&chat, DEMO, "write: a.txt: one");
    let renamed: PathBuf = desk.repo.path.with_file_name("renamed");
    fs::rename(&desk.repo.path, &renamed).unwrap();
    desk.daemon.ask(&chat, DEMO, "write: b.txt: two");
    assert_eq!(desk.pending(), ["a.txt", "b.txt"]);
    desk.daemon.hob(&["apply", "-s", &desk.session.id]).ok();
    assert_eq!(fs::read_to_string(renamed.join("b.txt")).unwrap().trim_end(), "two");
    let shown: Value = desk.daemon.rpc("session/show", json!({"session": desk.session.id}));
    assert_eq!(shown["repo"], renamed.to_str().unwrap());
    assert_eq!(desk.daemon.ask(&chat, DEMO, &say("still here")), "still here");
    assert_eq!(git(desk.path(), &["rev-parse", "--abbrev-ref", "HEAD"]), format!("hob/{}", desk.worktree));
}
