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

impl Desk {
    /// A prompt that must not reach the agent; says why.
    #[track_caller]
    fn refused(&self, chat: &str, prompt: &str) -> String {
        let task = self.daemon.submit(chat, DEMO, prompt);
        let row = self.daemon.wait_task(&task);
        assert_eq!(row["state"], "failed", "{row:#}");
        row["outcome"]["error"].as_str().unwrap().to_owned()
    }

    fn restore(&self) {
        self.daemon.hob(&["worktree", "restore", &self.worktree]).ok();
    }
}

#[test]
fn a_directory_that_is_removed_under_a_warm_agent_gets_no_prompt_and_comes_back_as_it_was_last_seen() {
    let desk = Desk::set();
    let chat = desk.daemon.chat(&desk.session);
    desk.daemon.ask(&chat, DEMO, "write: a.txt: one");
    git(desk.path(), &["add", "a.txt"]);
    fs::remove_dir_all(desk.path()).unwrap();
    let why = desk.refused(&chat, "write: b.txt: two");
    assert!(why.contains(&format!("hob worktree restore {}", desk.worktree)), "{why}");
    assert!(!desk.path().exists(), "no plain directory comes back");
    let shown = desk.daemon.hob(&["ps"]).ok().stdout;
    assert!(shown.contains("cannot work") && shown.contains("hob worktree restore"), "{shown}");
    // A cold one is not started there either, and is not held back when it is.
    desk.daemon.rpc("pool/evict", json!({"chat": chat, "agent": DEMO}));
    desk.refused(&chat, "write: b.txt: two");
    desk.restore();
    assert_eq!(fs::read_to_string(desk.path().join("a.txt")).unwrap().trim_end(), "one");
    assert_eq!(git(desk.path(), &["status", "--porcelain"]), "A  a.txt", "staged as it was");
    desk.daemon.ask(&chat, DEMO, "write: b.txt: two");
    assert_eq!(fs::read_to_string(desk.path().join("b.txt")).unwrap().trim_end(), "two");
    assert!(!desk.daemon.hob(&["ps"]).ok().stdout.contains("cannot work"));
}

#[test]
fn what_stands_in_the_place_of_a_worktree_gets_no_prompt_and_is_not_touched() {
    let desk = Desk::set();
    let other = desk.daemon.session(&desk.repo);
    let chat = desk.daemon.chat(&desk.session);
    desk.daemon.ask(&chat, DEMO, "write: a.txt: one");
    let aside = desk.path().with_file_name("aside");
    let swap = |to: &Path| {
        fs::rename(desk.path(), &aside).unwrap();
        if to.exists() {
            fs::rename(to, desk.path()).unwrap();
        } else {
            fs::create_dir(desk.path()).unwrap();
        }
    };
    // A plain directory.
    swap(Path::new("/nowhere"));
    let why = desk.refused(&chat, "write: b.txt: two");
    assert!(why.contains("hob worktree restore") && why.contains(".aside"), "{why}");
    assert_eq!(fs::read_dir(desk.path()).unwrap().count(), 0);
    desk.daemon.hob(&["worktree", "restore", &desk.worktree]).exit(4);
    fs::remove_dir(desk.path()).unwrap();
    fs::rename(&aside, desk.path()).unwrap();
    // Another worktree.
    swap(&other.worktree);
    desk.refused(&chat, "write: b.txt: two");
    assert!(!desk.path().join("b.txt").exists());
    fs::rename(desk.path(), &other.worktree).unwrap();
    fs::rename(&aside, desk.path()).unwrap();
    desk.daemon.ask(&chat, DEMO, "write: b.txt: two");
}

#[test]
fn a_worktree_that_lost_its_pointer_its_entry_or_its_place_is_made_whole_or_moved_back() {
    let desk = Desk::set();
    let chat = desk.daemon.chat(&desk.session);
    desk.daemon.ask(&chat, DEMO, "write: a.txt: one");
    let dot_git = desk.path().join(".git");
    fs::remove_file(&dot_git).unwrap();
    assert!(desk.refused(&chat, "write: b.txt: two").contains("hob worktree restore"));
    desk.restore();
    fs::write(&dot_git, "gitdir: /somewhere/else\n").unwrap();
    desk.refused(&chat, "write: b.txt: two");
    desk.restore();
    fs::remove_dir_all(desk.repo.path.join(".git/worktrees").join(&desk.worktree)).unwrap();
    desk.refused(&chat, "write: b.txt: two");
    desk.restore();
    assert_eq!(git(desk.path(), &["status", "--porcelain"]), "?? a.txt");
    // By its owner, with git.
    let to = desk.daemon.root().join("moved");
    let (from, to) = (desk.path().to_str().unwrap(), to.to_str().unwrap());
    desk.repo.git(&["worktree", "move", "--force", "--force", from, to]);
    let why = desk.refused(&chat, "write: b.txt: two");
    assert!(why.contains("worktree move") && why.contains(to), "{why}");
    desk.repo.git(&["worktree", "move", "--force", "--force", to, from]);
    desk.daemon.ask(&chat, DEMO, "write: b.txt: two");
    assert_eq!(desk.pending(), ["a.txt", "b.txt"]);
}

/// A program in a mount namespace of its own, which has a directory under another path.
fn container(at: &Path, program: &str) -> std::process::Child {
    let script = format!("mount --bind '{}' /mnt && cd / && echo in && {program}", at.display());
    let mut child = std::process::Command::new("unshare")
        .args(["-m", "sh", "-c", &script])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line)
        .unwrap();
    assert_eq!(line, "in\n");
    child
}

#[test]
fn a_container_that_has_a_worktree_mounted_is_inside_whatever_it_calls_it() {
    let name = "places::a_container_that_has_a_worktree_mounted_is_inside_whatever_it_calls_it";
    if !crate::support::namespace::is_inside(name) {
        return;
    }
    let desk = Desk::set();
    desk.daemon.rpc("session/close", json!({"session": desk.session.id}));
    let found = || {
        let risk = desk.daemon.rpc("worktree/risk", json!({"worktree": desk.worktree}));
        risk["reasons"].as_array().unwrap().iter().any(|reason| reason["kind"] == "in_use")
    };
    assert!(!found());
    // Its mount is gone again, and what it has open is left.
    for program in [
        "exec sleep 60",
        "cd /mnt && umount -l /mnt && exec sleep 60",
        "exec 3>/mnt/open && umount -l /mnt && exec sleep 60",
    ] {
        let mut child = container(desk.path(), program);
        crate::support::wait::until(program, || found().then_some(()));
        let kept = desk.daemon.rpc("worktree/reap", json!({"worktree": desk.worktree}));
        assert_eq!(kept[0]["action"], "kept", "{program}: {kept:#}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
    fs::remove_file(desk.path().join("open")).unwrap();
    let gone = desk.daemon.rpc("worktree/reap", json!({"worktree": desk.worktree}));
    assert_eq!(gone[0]["action"], "archived", "{gone:#}");
}
