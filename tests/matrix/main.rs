//! The matrix of worktree states: each is made with the real git, judged by the real daemon, and left to
//! the real reaper with short times. What must be kept is kept to the last byte and commit; what is safe
//! is retired, because a reaper that keeps everything is useless.
//!
//! It runs as whoever runs the tests, and once more as an ordinary user if that is root: other users'
//! processes are unreadable to one.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]
#![expect(clippy::disallowed_methods, reason = "tests start programs and look again, the product does not")]
#![expect(clippy::result_large_err, reason = "an error is read once and shown whole")]
#![expect(unreachable_pub, reason = "a program whose modules are each other's library")]

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "it holds what the other tests need as well")]
mod support;

mod cases;
mod site;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use cases::{Case, Needs};
use site::Site;
use support::daemon::TestDaemon;
use support::home::Setup;
use support::wait::until;

/// The user that the matrix runs as once more.
const NOBODY: u32 = 65534;
/// States at the least, by the issue that asked for them.
const STATES_MIN: usize = 80;

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// A state that was made, and what was there.
struct Made {
    case: Case,
    site: Site,
    manifest: BTreeMap<String, String>,
}

fn start() -> TestDaemon {
    let config = "[reaper]\ninterval = \"1s\"\ngrace = \"1s\"";
    Setup::new().config(config).start()
}

fn make(daemon: &TestDaemon, number: usize, case: Case) -> Option<Result<Made, String>> {
    let is_possible = match case.needs {
        Needs::Nothing => true,
        Needs::Root => is_root() && can_mount(),
        Needs::NoRoot => !is_root(),
    };
    if !is_possible {
        eprintln!("SKIPPED: {} cannot be made here as this user", case.name);
        return None;
    }
    let mut site = Site::new(daemon.root().join(format!("case-{number}")));
    (case.prepare)(&site);
    let session = daemon.rpc("session/create", json!({"repo": site.repo, "carry_changes": case.carries}));
    site.tree = session["worktree"]["path"].as_str().unwrap().into();
    site.id = session["worktree"]["id"].as_str().unwrap().to_owned();
    (case.make)(&site);
    let manifest = site.manifest();
    daemon.rpc("session/close", json!({"session": session["id"]}));
    let made = Made { case, site, manifest };
    // Before the reaper comes round.
    Some(judge(daemon, &made).map(|()| made))
}

fn can_mount() -> bool {
    let dir = tempfile::tempdir().unwrap();
    let bind = |arguments: &[&str]| {
        Command::new("mount")
            .args(arguments)
            .arg(dir.path())
            .arg(dir.path())
            .output()
            .unwrap()
            .status
            .success()
    };
    let can = bind(&["--bind"]);
    if can {
        Command::new("umount").arg(dir.path()).status().unwrap();
    }
    can
}

/// The verdict and the reasons are those that are expected.
fn judge(daemon: &TestDaemon, made: &Made) -> Result<(), String> {
    let risk = daemon.rpc("worktree/risk", json!({"worktree": made.site.id}));
    let reasons = risk["reasons"].as_array().unwrap();
    let kinds: BTreeSet<&str> = reasons.iter().map(|reason| reason["kind"].as_str().unwrap()).collect();
    let expected: BTreeSet<&str> = made.case.kinds.iter().copied().collect();
    let verdict = if kinds.is_empty() {
        "clean"
    } else if kinds.contains("unreadable") {
        "unknown"
    } else {
        "blocked"
    };
    let is_right = if expected.is_empty() { kinds.is_empty() } else { expected.is_subset(&kinds) };
    if !is_right || risk["verdict"] != verdict {
        return Err(format!("{}: expected {expected:?}, found {risk:#}", made.case.name));
    }
    if reasons.iter().any(|reason| reason["detail"] == "" || reason["count"] == 0) {
        return Err(format!("{}: a reason without words: {risk:#}", made.case.name));
    }
    Ok(())
}

fn state(daemon: &TestDaemon, made: &Made) -> Value {
    let rows = daemon.rpc("worktree/list", json!({"all": true}));
    let row = rows.as_array().unwrap().iter().find(|row| row["id"] == *made.site.id);
    row.unwrap_or_else(|| panic!("{} is not listed", made.case.name)).clone()
}

/// Whether everything that was there can be reached as it was.
fn is_whole(made: &Made) -> Result<(), String> {
    let now = made.site.manifest();
    for (name, was) in &made.manifest {
        if now.get(name) != Some(was) {
            return Err(format!("{}: {name} is not as it was: {:?}", made.case.name, now.get(name)));
        }
    }
    Ok(())
}

fn report(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "{} states went wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn what_must_be_kept_is_kept_and_what_is_safe_is_retired() {
    let daemon = start();
    let cases = cases::all();
    assert!(cases.len() >= STATES_MIN, "{} states", cases.len());
    let names: BTreeSet<_> = cases.iter().map(|case| case.name).collect();
    assert_eq!(names.len(), cases.len(), "every state has a name of its own");
    let made = cases.into_iter().enumerate().filter_map(|(number, case)| make(&daemon, number, case));
    let (made, wrong): (Vec<_>, Vec<_>) = made.partition(Result::is_ok);
    report(wrong.into_iter().filter_map(Result::err).collect());
    let made: Vec<Made> = made.into_iter().flatten().collect();

    let (safe, kept): (Vec<&Made>, Vec<&Made>) = made.iter().partition(|made| made.case.kinds.is_empty());
    eprintln!("{} safe states, {} that must be kept", safe.len(), kept.len());
    for made in &safe {
        until(&format!("{} to be retired", made.case.name), || {
            (state(&daemon, made)["state"] == "archived").then_some(())
        });
    }
    // And once more by hand, which waits for nothing.
    daemon.rpc("worktree/reap", json!({}));
    let mut wrong = Vec::new();
    for made in &kept {
        let row = state(&daemon, made);
        if row["state"] != "orphaned" || row["kept_because"].as_array().is_none_or(Vec::is_empty) {
            wrong.push(format!("{}: {row:#}", made.case.name));
        }
        wrong.extend(is_whole(made).err());
        if made.site.marker().exists() {
            wrong.push(format!("{}: what was configured to run did run", made.case.name));
        }
    }
    for made in &safe {
        let row = daemon.try_rpc("worktree/restore", json!({"worktree": made.site.id}));
        match row {
            Ok(row) if row["state"] == "active" => wrong.extend(is_whole(made).err()),
            other => wrong.push(format!("{} did not come back: {other:?}", made.case.name)),
        }
    }
    report(wrong);
}

#[test]
fn the_same_as_an_ordinary_user() {
    if !is_root() {
        eprintln!("SKIPPED: the tests run as an ordinary user anyway");
        return;
    }
    // Programs and temporary files must be within reach of that user.
    let place = tempfile::Builder::new().prefix("hob-nobody-").tempdir_in("/tmp").unwrap();
    chown(place.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let program = std::env::current_exe().unwrap();
    if !is_within_reach(&program) || !is_within_reach(Path::new(env!("CARGO_BIN_EXE_hobd"))) {
        eprintln!("SKIPPED: {} cannot be started by an ordinary user", program.display());
        return;
    }
    let ran = Command::new("setpriv")
        .args(["--reuid", &NOBODY.to_string(), "--regid", &NOBODY.to_string(), "--clear-groups"])
        .arg(&program)
        .args(["--exact", "what_must_be_kept_is_kept_and_what_is_safe_is_retired", "--nocapture"])
        .env("TMPDIR", place.path())
        .env("HOME", place.path())
        .current_dir(place.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stderr).into_owned() + &String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && said.contains("1 passed"), "{said}");
}

/// Whether everybody may pass through every directory above a program, and run it.
fn is_within_reach(program: &Path) -> bool {
    program.ancestors().all(|path| fs::metadata(path).is_ok_and(|found| found.mode() & 0o001 != 0))
}
