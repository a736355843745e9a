//! Paths that are no UTF-8: files and directories in a repository, the repository itself, the working
//! directory, and what an agent makes. They are told as git tells them, and taken back so.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::daemon::TestDaemon;
use crate::support::home::{Ran, Setup};
use crate::support::repo::git;

const FILE: &[u8] = b"caf\xe9.txt";
const FOLDER: &[u8] = b"d\xff";

fn name(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}

/// `hob` with these words, from a directory.
fn hob_in(daemon: &TestDaemon, dir: &Path, words: &[&OsStr]) -> Ran {
    let output = daemon.hob_command(&[]).args(words).current_dir(dir).output().unwrap();
    Ran::of(output)
}

fn words<const N: usize>(words: [&str; N]) -> Vec<&OsStr> {
    words.into_iter().map(OsStr::new).collect()
}

/// A repository of that name with a file and a directory whose names are no UTF-8.
fn repository(daemon: &TestDaemon, called: &[u8]) -> std::path::PathBuf {
    let plain = daemon.repo("plain");
    let top = plain.path.with_file_name(name(called));
    std::fs::rename(&plain.path, &top).unwrap();
    std::fs::write(top.join(name(FILE)), "as committed\n").unwrap();
    std::fs::create_dir(top.join(name(FOLDER))).unwrap();
    std::fs::write(top.join(name(FOLDER)).join("in.txt"), "in\n").unwrap();
    git(&top, &["add", "."]);
    git(&top, &["commit", "--quiet", "-m", "odd names"]);
    top
}

/// The end of a path as the contract has it: quoted, with octal digits.
fn text_of(path: &Path) -> String {
    let bytes = path.as_os_str().as_bytes().iter();
    let letters = bytes
        .map(|byte| if byte.is_ascii() { char::from(*byte).to_string() } else { format!("\\{byte:03o}") });
    letters.collect::<String>() + "\""
}

fn paths(rows: &Value) -> Vec<&str> {
    rows.as_array().unwrap().iter().map(|row| row["path"].as_str().unwrap()).collect()
}

/// Everything that one does in a session, in a repository whose own name is such.
fn whole_life(called: &[u8]) {
    let rival = format!("[agents.rival]\ncommand = [\"{}\", \"demo-agent\"]", env!("CARGO_BIN_EXE_hob"));
    let daemon = Setup::new().config(&rival).start();
    let top = repository(&daemon, called);
    let script = r"shell: printf 'more\n' >> $(printf 'caf\351.txt'); echo new > $(printf 'n\377w'); rm $(printf 'd\377/in.txt')";
    hob_in(&daemon, &top, &words(["prompt", script])).ok();
    let session = daemon.rpc("session/list", json!({}))[0]["id"].as_str().unwrap().to_owned();
    let pending = daemon.rpc("change/list", json!({"session": session}));
    assert_eq!(paths(&pending), [r#""caf\351.txt""#, r#""d\377/in.txt""#, r#""n\377w""#]);

    // By the name as it is told, and by the name as it is.
    let diff = daemon.rpc("change/diff", json!({"session": session, "path": r#""n\377w""#}));
    assert!(diff["diff"].as_str().unwrap().contains("+new"), "{diff:#}");
    let applied = daemon.rpc("change/apply", json!({"session": session, "paths": [r#""n\377w""#]}));
    assert_eq!(applied["applied"], json!([r#""n\377w""#]));
    hob_in(&daemon, &top, &[OsStr::new("apply"), name(FILE)]).ok();
    assert_eq!(std::fs::read_to_string(top.join(name(FILE))).unwrap(), "as committed\nmore\n");
    hob_in(&daemon, &top, &words(["discard", "-y"])).ok();
    assert_eq!(daemon.rpc("change/list", json!({"session": session})), json!([]));

    // From inside of a directory whose name no agent can be told.
    let below = top.join(name(FOLDER));
    hob_in(&daemon, &below, &words(["prompt", "write: made.txt: made"])).ok();
    assert!(hob_in(&daemon, &below, &words(["diff"])).ok().stdout.contains("made.txt"));
    hob_in(&daemon, &below, &words(["apply"])).ok();
    assert!(top.join("made.txt").exists());

    let arena = daemon.rpc(
        "arena/start",
        json!({"agents": ["demo", "rival"], "prompt": "write: of.txt: arena",
        "repo": format!("\"{}", text_of(&below))}),
    );
    for entry in arena["entries"].as_array().unwrap() {
        assert_eq!(daemon.wait_task(entry["task"].as_str().unwrap())["state"], "completed");
    }

    // It goes, and comes back whole.
    let worktree = daemon.rpc("session/show", json!({"session": session}))["worktree"].clone();
    hob_in(&daemon, &top, &words(["session", "rm", &session])).ok();
    hob_in(&daemon, &top, &words(["worktree", "restore", worktree["id"].as_str().unwrap()])).ok();
    let back = Path::new(worktree["path"].as_str().unwrap());
    assert_eq!(std::fs::read_to_string(back.join(name(FILE))).unwrap(), "as committed\nmore\n");
}

#[test]
fn names_that_are_no_text_are_changed_applied_and_removed() {
    whole_life(b"repo");
}

#[test]
fn a_repository_whose_name_is_no_text_is_one_like_any_other() {
    whole_life(b"r\xe9po");
}

#[test]
fn what_an_agent_calls_so_is_in_nobodys_way() {
    let daemon = Setup::new().start();
    let repo = daemon.repo("repo");
    let session = daemon.session(&repo);
    let chat = daemon.chat(&session);
    daemon.run(&chat, "demo", r"shell: mkdir $(printf 'a\374b') && touch $(printf 'a\374b/\200')");
    let risk = daemon.hob(&["session", "rm", &session.id]).exit(4);
    risk.says(&[r#""a\374b/\200""#]);
    daemon.hob(&["session", "rm", &session.id, "--discard-changes"]).ok();
}

#[test]
fn a_place_of_ours_that_is_no_text_is_refused_by_its_name() {
    let home = Setup::new().home();
    for variable in ["HOB_HOME", "HOB_SOCKET", "HOB_CONFIG"] {
        let mut value = OsString::from("/tmp/");
        value.push(name(b"\xff"));
        let ran = Ran::of(home.hob_command(&["ps"]).env(variable, &value).output().unwrap());
        ran.exit(78).says(&[variable, "UTF-8"]);
        let ran = Ran::of(home.hob_command(&["ps"]).env(variable, "relative").output().unwrap());
        ran.exit(78).says(&[variable, "begins with a slash"]);
    }
}
