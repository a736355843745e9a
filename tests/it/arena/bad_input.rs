//! What is refused, and that nothing is made then.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::{Ring, SIGN, both};

#[test]
fn what_cannot_be_is_refused_before_anything_is_made() {
    let ring = Ring::set("[agents.absent]\ncommand = [\"/nowhere/agent\"]");
    let two = || json!(["left", "right"]);
    let repo = || json!(ring.repo.str());
    let nowhere = json!(ring.daemon.root().to_str().unwrap());
    let long = "x".repeat(70_000);
    let cases = [
        (json!({"agents": [], "repo": repo()}), "invalid_params", "two agents"),
        (json!({"agents": ["left"], "repo": repo()}), "invalid_params", "two agents"),
        (json!({"agents": ["left", "right", "left"], "repo": repo()}), "invalid_params", "named twice"),
        (json!({"agents": ["left", "nobody"], "repo": repo()}), "not_found", "no agent `nobody`"),
        (json!({"agents": ["left", "absent"], "repo": repo()}), "unavailable", "`absent`"),
        (json!({"agents": two()}), "invalid_params", "`repo` and `session`"),
        (json!({"agents": two(), "repo": repo(), "session": "s-1"}), "invalid_params", "only one"),
        (json!({"agents": two(), "session": "s-1"}), "not_found", "session"),
        (json!({"agents": two(), "repo": nowhere}), "invalid_params", "repository"),
        (json!({"agents": two(), "repo": "relative"}), "invalid_params", "absolute"),
        (json!({"agents": two(), "repo": repo(), "prompt": " "}), "invalid_params", "prompt is empty"),
        (json!({"agents": two(), "repo": repo(), "check": " "}), "invalid_params", "check is empty"),
        (json!({"agents": two(), "repo": repo(), "check": long}), "invalid_params", "longer than"),
        (json!({"agents": two(), "repo": repo(), "request_id": ""}), "invalid_params", "request id"),
        (json!({"agents": two(), "repo": repo(), "chekc": "x"}), "invalid_params", "chekc"),
    ];
    for (mut params, kind, word) in cases {
        if params.get("prompt").is_none() {
            params["prompt"] = json!(SIGN);
        }
        let refused = ring.daemon.try_rpc("arena/start", params.clone()).unwrap_err();
        assert_eq!(refused.kind, kind, "{params}: {refused}");
        assert!(refused.message.contains(word), "{word:?} is missing: {refused}");
    }
    ring.nothing_was_made();
    let hob = |arguments: &[&str]| ring.hob(&[&["arena"], arguments].concat());
    hob(&["run", "-a", "left", SIGN]).exit(2).says(&["two agents"]);
    hob(&["run", "-a", "left", "-a", "left", SIGN]).exit(2).says(&["named twice", "second name"]);
    hob(&["run", "-a", "left", "-a", "nobody", SIGN]).exit(5).says(&["nobody", "hob agent ls"]);
    hob(&["run", "-a", "left", "-a", "absent", SIGN]).exit(69).says(&["absent"]);
    hob(&["run", "-a", "left", "-a", "right", "-C", "/", SIGN]).exit(2);
    hob(&["show", "a-nothing"]).exit(5).says(&["a-nothing", "hob arena ls"]);
    ring.nothing_was_made();

    let arena = ring.run(SIGN, json!({}));
    let id = arena["id"].as_str().unwrap();
    hob(&["adopt", id, "nobody"]).exit(5).says(&["nobody"]);
    let refused =
        ring.daemon.try_rpc("arena/adopt", json!({"arena": id, "agent": "left", "paths": []})).unwrap_err();
    assert_eq!(refused.kind, "invalid_params", "{refused}");
    hob(&["adopt", id, "left", "../elsewhere"]).exit(2);
    assert_eq!(ring.show(id)["state"], "open");
}

#[test]
fn where_one_worktree_cannot_be_made_there_is_none() {
    let ring = Ring::set("");
    // A branch called `hob` leaves no room for branches below `hob/`.
    ring.repo.git(&["branch", "hob"]);
    let params = json!({"agents": ["left", "right"], "prompt": SIGN, "repo": ring.repo.str()});
    let refused = ring.daemon.try_rpc("arena/start", params.clone()).unwrap_err();
    assert_eq!(refused.kind, "conflict", "{refused}");
    ring.repo.git(&["branch", "-D", "hob"]);
    ring.nothing_was_made();
    ring.daemon.rpc("arena/start", params);
}

#[test]
fn a_checkout_that_changes_meanwhile_gives_equal_entries_or_none() {
    let ring = Ring::set("");
    let stop = Arc::new(AtomicBool::new(false));
    let (path, stopped) = (ring.repo.path.join("moving"), Arc::clone(&stop));
    let writer = std::thread::spawn(move || {
        let mut n = 0_u64;
        while !stopped.load(Ordering::Relaxed) {
            n += 1;
            // Beside it and renamed, so that nobody reads a half.
            fs::write(path.with_extension("new"), n.to_string()).unwrap();
            fs::rename(path.with_extension("new"), &path).unwrap();
        }
    });
    let params = json!({
        "agents": ["left", "right"], "prompt": SIGN, "repo": ring.repo.str(), "carry_changes": true,
    });
    let started = ring.daemon.try_rpc("arena/start", params);
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    match started {
        Ok(arena) => {
            let moving = |entry: &Value| fs::read_to_string(ring.worktree(entry).join("moving")).ok();
            assert_eq!(moving(both(&arena).0), moving(both(&arena).1));
        }
        Err(refused) => {
            assert_eq!(refused.kind, "conflict", "{refused}");
            ring.nothing_was_made();
        }
    }
}
