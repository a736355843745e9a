//! Variables of git's in the environment of the daemon, which it was started with by a hook of git's or from
//! a shell: they lead git to another repository, another index, other settings, and must lead hob nowhere.

use std::fs;

use serde_json::json;

use crate::support::daemon::TestDaemon;
use crate::support::home::Setup;
use crate::support::repo::{Repo, git};

/// Each leads a git that heeds it astray.
const VARIABLES: [(&str, &str); 9] = [
    ("GIT_DIR", "/nowhere/.git"),
    ("GIT_WORK_TREE", "/nowhere"),
    ("GIT_INDEX_FILE", "/nowhere/index"),
    ("GIT_OBJECT_DIRECTORY", "/nowhere/objects"),
    ("GIT_COMMON_DIR", "/nowhere"),
    ("GIT_NAMESPACE", "elsewhere"),
    ("GIT_CEILING_DIRECTORIES", "/"),
    ("GIT_CONFIG_PARAMETERS", "'core.bare=true' 'core.worktree=/nowhere'"),
    ("GIT_ATTR_SOURCE", "4b825dc642cb6eb9a060e54bf8d69288fbee4904"),
];

/// A repository that libgit2 reads, and one that is left to the program.
fn repositories(daemon: &TestDaemon) -> [Repo; 2] {
    let plain = daemon.repo("plain");
    let converted = daemon.repo("converted");
    fs::write(converted.path.join(".gitattributes"), "*.txt text eol=crlf\n").unwrap();
    converted.git(&["add", "."]);
    converted.git(&["commit", "--quiet", "-m", "attributes"]);
    [plain, converted]
}

#[test]
fn what_git_is_told_by_its_environment_leads_no_worktree_elsewhere() {
    let daemon = TestDaemon::start_with(Setup::new().home(), |command| {
        command.envs(VARIABLES);
    });
    for repo in repositories(&daemon) {
        let session = daemon.session(&repo);
        let top = git(&session.worktree, &["rev-parse", "--show-toplevel"]);
        assert_eq!(top, session.worktree.to_str().unwrap());
        assert_eq!(git(&session.worktree, &["status", "--porcelain"]), "");
        fs::write(session.worktree.join("new.txt"), "a\r\n").unwrap();
        let listed = daemon.rpc("change/list", json!({"session": session.id}));
        assert_eq!(listed[0]["path"], "new.txt", "{listed:#}");
        daemon.hob(&["apply", "-s", &session.id]).ok();
        assert_eq!(fs::read_to_string(repo.path.join("new.txt")).unwrap(), "a\r\n");
        daemon.hob(&["session", "rm", &session.id, "--discard-changes"]).ok();
        assert!(!session.worktree.exists());
    }
}
