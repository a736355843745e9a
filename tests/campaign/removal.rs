//! SIGKILL at every step of a removal, of both ways back, and of a purge: the next start finishes or
//! undoes it, and every byte, every commit and the index are where they were or come back.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::link::Link;
use super::points::{PURGE, REMOVAL, RESTORE, SALVAGE};
use super::site::Site;
use crate::support::daemon::TestDaemon;
use crate::support::home::Setup;

/// By then the daemon has come to the point where it dies.
const DIES_WITHIN: Duration = Duration::from_secs(20);

/// Where the daemons to come die.
type Point = Arc<Mutex<Option<&'static str>>>;

pub(super) struct Scene {
    pub(super) daemon: TestDaemon,
    point: Point,
    n_sites: usize,
}

/// A worktree with work in it.
struct Work {
    site: Site,
    session: String,
    manifest: BTreeMap<String, String>,
}

impl Scene {
    pub(super) fn set() -> Self {
        Self::with(Setup::new().config("[reaper]\ninterval = \"1h\"\nretention = \"0s\""))
    }

    pub(super) fn with(setup: Setup) -> Self {
        let point = Point::default();
        let there = point.clone();
        let home = setup.home();
        let daemon = TestDaemon::start_with(home, move |command| {
            if let Some(name) = *there.lock().unwrap() {
                command.env("HOB_CRASH_AT", name);
            }
        });
        Self { daemon, point, n_sites: 0 }
    }

    /// Another daemon, which dies at a point, or lives.
    fn again(&mut self, point: Option<&'static str>) {
        *self.point.lock().unwrap() = point;
        self.daemon.stop();
        self.daemon.start_again();
    }

    /// Makes the call that leads to the point, and starts a daemon that lives after it has died.
    pub(super) fn die(&mut self, point: &'static str, method: &str, params: Value) {
        self.again(Some(point));
        let answer = Link::to(&self.daemon.socket()).and_then(|mut link| link.call(method, params));
        // Whoever is dead does not answer.
        assert!(answer.is_err(), "{method} never came to {point}: {answer:?}");
        self.daemon.wait_end(DIES_WITHIN);
        *self.point.lock().unwrap() = None;
        self.daemon.start_again();
    }

    /// A session of a repository of its own.
    pub(super) fn site(&mut self) -> (Site, String) {
        self.n_sites += 1;
        let mut site = Site::new(self.daemon.root().join(format!("site-{}", self.n_sites)));
        site.ordinary(&[]);
        let session = self.daemon.rpc("session/create", json!({"repo": site.repo}));
        site.tree = session["worktree"]["path"].as_str().unwrap().into();
        site.id = session["worktree"]["id"].as_str().unwrap().to_owned();
        (site, session["id"].as_str().unwrap().to_owned())
    }

    fn work(&mut self) -> Work {
        let (site, session) = self.site();
        site.commit("committed");
        site.commit("reset away");
        site.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
        site.write("README.md", "staged\n");
        site.git(&["add", "README.md"]);
        site.write("README.md", "staged, and changed\n");
        site.write("untracked/deep", "untracked\n");
        site.write(".env", "SECRET=1\n");
        site.remove("run.sh");
        let manifest = site.manifest();
        Work { site, session, manifest }
    }

    fn state(&self, work: &Work) -> String {
        let rows = self.daemon.rpc("worktree/list", json!({"all": true}));
        let row = rows.as_array().unwrap().iter().find(|row| row["id"] == *work.site.id);
        row.unwrap()["state"].as_str().unwrap().to_owned()
    }

    fn restore(&self, work: &Work) {
        self.daemon.rpc("worktree/restore", json!({"worktree": work.site.id}));
    }

    fn remove(&self, work: &Work) {
        self.daemon.rpc("session/delete", consented(work));
        assert_eq!(self.state(work), "archived");
    }
}

fn consented(work: &Work) -> Value {
    json!({"session": work.session, "discard_changes": true, "discard_unpushed": true})
}

/// Everything is as it was.
#[track_caller]
fn whole(work: &Work, point: &str) {
    let now = work.site.manifest();
    for (name, was) in &work.manifest {
        assert_eq!(now.get(name), Some(was), "{point}: {name}");
    }
}

/// Files with their bytes, and commits: what comes back from a salvage alone.
#[track_caller]
fn salvaged(work: &Work, point: &str) {
    let now = work.site.manifest();
    let status = work.site.git(&["status", "--porcelain"]);
    for (name, was) in &work.manifest {
        // The repository's own file of times, and the link to it, are written anew.
        if name != "index" && name != "file .git" && name != "file " {
            assert_eq!(now.get(name), Some(was), "{point}: {name}");
        }
    }
    assert!(status.contains("MM README.md") && status.contains(" D run.sh"), "{point}: {status}");
}

#[test]
#[cfg_attr(not(feature = "campaign"), ignore = "needs the cargo feature `campaign`")]
fn a_removal_that_is_killed_is_finished_or_undone() {
    let mut scene = Scene::set();
    for point in REMOVAL {
        let work = scene.work();
        scene.die(point, "session/delete", consented(&work));
        match scene.state(&work).as_str() {
            "archived" => {
                assert!(!work.site.tree.exists(), "{point}");
                scene.restore(&work);
            }
            "active" | "orphaned" => {}
            other => panic!("{point}: {other}"),
        }
        whole(&work, point);
        // Nothing is left that would stand in the way of another try.
        let reaped = scene.daemon.rpc("worktree/risk", json!({"worktree": work.site.id}));
        assert_eq!(reaped["verdict"], "blocked", "{point}: {reaped:#}");
    }
}

#[test]
#[cfg_attr(not(feature = "campaign"), ignore = "needs the cargo feature `campaign`")]
fn a_restore_that_is_killed_is_finished() {
    let mut scene = Scene::set();
    for point in RESTORE {
        let work = scene.work();
        scene.remove(&work);
        scene.die(point, "worktree/restore", json!({"worktree": work.site.id}));
        assert_eq!(scene.state(&work), "active", "{point}");
        whole(&work, point);
    }
    for point in SALVAGE {
        let work = scene.work();
        scene.remove(&work);
        let trash = work.site.tree.parent().unwrap().join(".trash").join(&work.site.id);
        fs::remove_dir_all(trash).unwrap();
        fs::remove_dir_all(work.site.repo.join(".git/hob-trash").join(&work.site.id)).unwrap();
        scene.die(point, "worktree/restore", json!({"worktree": work.site.id}));
        assert_eq!(scene.state(&work), "active", "{point}");
        salvaged(&work, point);
    }
}

#[test]
#[cfg_attr(not(feature = "campaign"), ignore = "needs the cargo feature `campaign`")]
fn a_purge_that_is_killed_is_made_again_and_leaves_the_salvage() {
    let mut scene = Scene::set();
    for point in PURGE {
        let work = scene.work();
        scene.remove(&work);
        scene.die(point, "worktree/reap", json!({}));
        scene.daemon.rpc("worktree/reap", json!({}));
        assert_eq!(scene.state(&work), "purged", "{point}");
        scene.restore(&work);
        salvaged(&work, point);
    }
}

#[test]
#[cfg_attr(not(feature = "campaign"), ignore = "needs the cargo feature `campaign`")]
fn what_a_killed_purge_leaves_is_never_taken_for_the_whole() {
    let mut scene = Scene::set();
    for point in PURGE {
        let work = scene.work();
        scene.remove(&work);
        scene.die(point, "worktree/reap", json!({}));
        scene.restore(&work);
        salvaged(&work, point);
    }
    // Nothing of it stays for ever.
    scene.daemon.rpc("worktree/reap", json!({}));
    let trash = scene.daemon.rpc("worktree/list", json!({}))[0]["path"].as_str().unwrap().to_owned();
    let trash = std::path::Path::new(&trash).parent().unwrap().join(".trash");
    let left: Vec<_> = fs::read_dir(trash).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.is_empty(), "{left:?}");
}
