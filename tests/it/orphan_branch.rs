//! An agent on a branch without a commit yet: its work is told as its own, is applied, goes and comes back.

use serde_json::{Value, json};

use crate::support::home::Setup;

fn paths(rows: &Value) -> Vec<&str> {
    rows.as_array().unwrap().iter().map(|row| row["path"].as_str().unwrap()).collect()
}

#[test]
fn a_branch_without_a_commit_is_in_nobodys_way() {
    let daemon = Setup::new().start();
    for (n, switch) in [
        "checkout -q --orphan new",
        "switch -q --orphan new",
        "switch -q --orphan one; git commit -q --allow-empty -m one; git switch -q --orphan new",
    ]
    .into_iter()
    .enumerate()
    {
        let repo = daemon.repo(&format!("repo-{n}"));
        let session = daemon.session(&repo);
        let chat = daemon.chat(&session);
        daemon.run(&chat, "demo", &format!("shell: export GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b; git {switch}"));
        // In a turn of its own: what went before is not taken for lost.
        daemon.run(&chat, "demo", "write: made.txt: made");
        let pending = daemon.rpc("change/list", json!({"session": session.id}));
        let own = pending
            .as_array()
            .unwrap()
            .iter()
            .all(|row| row["agents"] == json!(["demo"]) && row["shared"] == false);
        assert!(own && paths(&pending).contains(&"made.txt"), "{switch}: {pending:#}");
        let applied = daemon.rpc("change/apply", json!({"session": session.id}));
        assert_eq!(
            (&applied["conflicts"], &applied["kept"]),
            (&json!([]), &Value::Null),
            "{switch}: {applied:#}"
        );
        assert!(repo.path.join("made.txt").exists());

        let worktree = daemon.rpc("session/show", json!({"session": session.id}))["worktree"]["id"].clone();
        daemon.hob(&["session", "rm", &session.id, "--discard-unpushed", "--discard-changes"]).ok();
        daemon.hob(&["worktree", "restore", worktree.as_str().unwrap()]).ok();
        assert!(session.worktree.join("made.txt").exists(), "{switch}");
    }
}
