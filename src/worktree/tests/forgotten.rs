//! Commits of a worktree that hardly anything names: dropped stashes, and what only a log has.

use std::fs;
use std::time::Duration;

use hob_actors::worktree::{Preflight, ReasonKind};

use super::*;
use crate::worktree::PreflightAsk;

/// What libgit2 reads, and what is left to the program in two ways.
const INITS: [&[&str]; 3] = [
    &["init", "--quiet", "--initial-branch=main"],
    &["init", "--quiet", "--object-format=sha256", "--initial-branch=main"],
    &["init", "--quiet", "--ref-format=reftable", "--initial-branch=main"],
];

async fn scene(init: &[&str]) -> (Stage, Known) {
    let stage = Stage::with(init, &[]);
    stage.first_commit();
    let created = stage.create(|_| {}).await.unwrap();
    let known = known(&stage, &created);
    (stage, known)
}

async fn judged(stage: &Stage, known: &Known) -> Preflight {
    let ask = PreflightAsk {
        known: known.clone(),
        disposable: Vec::new(),
        timeout: Duration::from_secs(20),
        live: Vec::new(),
    };
    stage.worktrees.preflight(ask).await
}

/// Whether the salvage leads to a commit.
async fn is_salvaged(stage: &Stage, known: &Known, commit: &str) -> bool {
    stage.worktrees.salvage(known, &[]).await.unwrap();
    let reached = stage.git(&["rev-list", &stage.worktrees.salvage_ref(known)]);
    reached.lines().any(|line| line == commit)
}

#[tokio::test]
async fn a_stash_that_was_dropped_is_salvaged_and_asks_for_nothing() {
    for init in INITS {
        for (drop, message) in [("drop", None), ("pop", None), ("clear", Some("mine"))] {
            let (stage, known) = scene(init).await;
            fs::write(known.path.join("a.txt"), "put away\n").unwrap();
            let mut push = vec!["stash", "push", "--quiet", "--include-untracked"];
            push.extend(message.iter().flat_map(|message| ["-m", message]));
            fs::write(known.path.join("new"), "untracked\n").unwrap();
            git(&known.path, &push);
            let stash = git(&known.path, &["rev-parse", "refs/stash"]);
            assert!(judged(&stage, &known).await.reasons.iter().any(|r| r.kind == ReasonKind::StashHere));
            git(&known.path, &["stash", drop]);
            git(&known.path, &["checkout", "--quiet", "."]);
            fs::remove_file(known.path.join("new")).ok();
            assert_eq!(judged(&stage, &known).await.reasons, [], "{init:?} {drop}");
            assert!(is_salvaged(&stage, &known, &stash).await, "{init:?} {drop}");
        }
    }
}

#[tokio::test]
async fn a_stash_of_another_branch_is_left_alone() {
    for init in INITS {
        let (stage, known) = scene(init).await;
        stage.write("a.txt", "the user's\n");
        stage.git(&["stash", "push", "--quiet"]);
        let stash = stage.git(&["rev-parse", "refs/stash"]);
        stage.git(&["stash", "drop", "--quiet"]);
        assert!(!is_salvaged(&stage, &known, &stash).await, "{init:?}");
    }
}

#[tokio::test]
async fn what_only_a_log_of_the_branch_has_is_seen_and_salvaged() {
    for init in INITS {
        let (stage, known) = scene(init).await;
        let commit = |message: &str| {
            git(&known.path, &["commit", "--quiet", "--allow-empty", "-m", message]);
            git(&known.path, &["rev-parse", "HEAD"])
        };
        let lost = commit("lost");
        git(&known.path, &["reset", "--quiet", "--hard", "HEAD~"]);
        // From that of HEAD it is gone.
        git(&known.path, &["reflog", "expire", "--expire=now", "HEAD"]);
        fs::remove_file(known.admin().join("ORIG_HEAD")).ok();
        let kinds: Vec<_> = judged(&stage, &known).await.reasons.iter().map(|reason| reason.kind).collect();
        assert!(kinds.contains(&ReasonKind::Unreachable), "{init:?}: {kinds:?}");
        assert!(is_salvaged(&stage, &known, &lost).await, "{init:?}");
    }
}
