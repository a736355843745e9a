//! Filters of the person's: the real git-lfs and git-crypt. An agent's edit of such a file is applied, undone,
//! put away and given up as any other; what is missing for it is named.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::json;

use crate::support::daemon::TestDaemon;
use crate::support::home::{Ran, Setup};
use crate::support::repo::{Repo, git};

/// What the person's file has, and what an agent makes of it.
const BEFORE: &str = "as it was\n";
const AFTER: &str = "as it was\nby the agent\n";
const EDIT: &str = "shell: echo 'by the agent' >> kept.bin; echo new > new.bin; echo more >> README.md";

/// A repository whose `*.bin` go through a filter, which is set up by these calls of git.
fn filtered(daemon: &TestDaemon, filter: &str, calls: &[&[&str]]) -> Repo {
    let repo = daemon.repo("repo");
    calls.iter().for_each(|call| drop(git(&repo.path, call)));
    fs::write(repo.path.join(".gitattributes"), format!("*.bin filter={filter} diff={filter}\n")).unwrap();
    fs::write(repo.path.join("kept.bin"), BEFORE).unwrap();
    git(&repo.path, &["add", "."]);
    git(&repo.path, &["commit", "--quiet", "-m", "filtered"]);
    assert!(is_filtered(&repo));
    repo
}

/// The filter is real: git keeps something else than the file.
fn is_filtered(repo: &Repo) -> bool {
    let plain = git(&repo.path, &["hash-object", "--no-filters", "kept.bin"]);
    git(&repo.path, &["rev-parse", ":kept.bin"]).trim() != plain.trim()
}

fn read(dir: &Path, name: &str) -> String {
    fs::read_to_string(dir.join(name)).unwrap_or_default()
}

/// Everything that one does with an agent's changes.
fn is_like_any_other(filter: &str, calls: &[&[&str]]) {
    let daemon = Setup::new().start();
    let repo = filtered(&daemon, filter, calls);
    let session = daemon.session(&repo);
    let chat = daemon.chat(&session);
    assert_eq!(daemon.rpc("change/list", json!({"session": session.id})), json!([]), "nothing before a turn");
    assert_eq!(read(&session.worktree, "kept.bin"), BEFORE);

    let task = daemon.run(&chat, "demo", EDIT);
    daemon.rpc("change/undo", json!({"session": session.id, "turn": task["turn"]}));
    assert_eq!(read(&session.worktree, "kept.bin"), BEFORE);
    daemon.run(&chat, "demo", EDIT);
    daemon.rpc("worktree/stash", json!({"session": session.id}));
    assert_eq!(
        (read(&session.worktree, "kept.bin"), read(&session.worktree, "new.bin")),
        (BEFORE.into(), String::new())
    );
    daemon.rpc("worktree/unstash", json!({"session": session.id}));
    assert_eq!(read(&session.worktree, "kept.bin"), AFTER);

    let applied = daemon.rpc("change/apply", json!({"session": session.id}));
    assert_eq!(applied["conflicts"], json!([]), "{applied:#}");
    assert_eq!((read(&repo.path, "kept.bin"), read(&repo.path, "new.bin")), (AFTER.into(), "new\n".into()));
    git(&repo.path, &["add", "."]);
    assert!(is_filtered(&repo));

    daemon.run(&chat, "demo", "shell: echo again >> kept.bin");
    daemon.rpc("change/discard", json!({"session": session.id}));
    assert_eq!(read(&session.worktree, "kept.bin"), AFTER);
    daemon.hob(&["session", "rm", &session.id]).ok();
}

const LFS: [&[&str]; 1] = [&["lfs", "install", "--local"]];
const CRYPT: [&[&str]; 1] = [&["crypt", "init"]];

#[test]
fn a_file_of_git_lfs_is_applied_undone_and_put_away() {
    is_like_any_other("lfs", &LFS);
}

#[test]
fn a_file_of_git_crypt_is_applied_undone_and_put_away() {
    is_like_any_other("git-crypt", &CRYPT);
}

/// The programs of a machine that has neither filter.
fn programs_without_filters(into: &Path) {
    fs::create_dir(into).unwrap();
    let path = std::env::var_os("PATH").unwrap();
    for program in ["git", "sh", "cat", "echo"] {
        let found = std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.exists());
        symlink(found.unwrap(), into.join(program)).unwrap();
    }
}

#[test]
fn a_filter_whose_program_is_missing_is_named_with_what_to_install() {
    let home = Setup::new().home();
    let bin = home.root().join("bin-without");
    let path = bin.clone();
    let mut daemon = TestDaemon::start_with(home, move |command| {
        if path.exists() {
            command.env("PATH", &path);
        }
    });
    let repo = filtered(&daemon, "lfs", &LFS);
    let session = daemon.session(&repo);
    let chat = daemon.chat(&session);
    daemon.run(&chat, "demo", "shell: echo more >> kept.bin");
    daemon.stop();
    programs_without_filters(&bin);
    daemon.start_again();

    for words in [&["diff"][..], &["apply"], &["session", "new"]] {
        let ran = daemon.hob_command(words).current_dir(&repo.path).output().unwrap();
        Ran::of(ran).exit(4).says(&["`git-lfs` is not on the PATH of the daemon", "apt install git-lfs"]);
    }
    // The agent goes on, and nothing of its work goes.
    assert_eq!(daemon.run(&chat, "demo", "say: still here")["state"], "completed");
    daemon.hob(&["session", "rm", &session.id, "--discard-changes"]).exit(4).says(&["`git-lfs`"]);
}
