//! Uncommitted work that was carried into a worktree counts there as soon as it is nowhere else.

use std::fs;
use std::time::Duration;

use hob_actors::worktree::ReasonKind;

use super::changes::*;
use super::put_away::carried;
use super::*;

/// The kinds of the reasons to keep the worktree, and whether they name a file.
async fn reasons(desk: &Desk, named: &str) -> (Vec<ReasonKind>, bool) {
    let known = desk.known.clone();
    let ask =
        PreflightAsk { known, disposable: Vec::new(), timeout: Duration::from_secs(60), live: Vec::new() };
    let reasons = desk.stage.worktrees.preflight(ask).await.reasons;
    let is_named = reasons.iter().any(|reason| reason.detail.contains(named));
    (reasons.into_iter().map(|reason| reason.kind).collect(), is_named)
}

async fn is_clean(desk: &Desk) -> bool {
    reasons(desk, "").await.0.is_empty()
}

#[tokio::test]
async fn carried_work_is_pending_once_the_checkout_has_it_no_more() {
    for format in FORMATS {
        let desk = carried(format).await;
        assert!(is_clean(&desk).await, "{format:?}");
        desk.stage.git(&["checkout", "--quiet", "text"]);
        let expected = vec![ReasonKind::Dirty, ReasonKind::PendingChanges];
        assert_eq!(reasons(&desk, "`text`").await, (expected, true), "{format:?}");
        desk.stage.write("text", numbered(&[(3, "mine")]));
        assert!(is_clean(&desk).await, "{format:?}");
        fs::remove_file(desk.stage.repo.join("notes.txt")).unwrap();
        let expected = vec![ReasonKind::Untracked, ReasonKind::PendingChanges];
        assert_eq!(reasons(&desk, "`notes.txt`").await, (expected, true), "{format:?}");
    }
}

#[tokio::test]
async fn carried_work_that_was_only_staged_is_pending_too() {
    let stage = Stage::new();
    stage.write("a.txt", "mine\n");
    stage.git(&["add", "a.txt"]);
    let created = stage.create(|request| request.carry_changes = true).await.unwrap();
    let mut known = known(&stage, &created);
    let last = stage.worktrees.snapshot(&known).await.unwrap().tree;
    known.baseline = Some(last.clone());
    let desk = Desk { stage, known, history: Vec::new(), last };
    assert!(is_clean(&desk).await);
    desk.stage.git(&["reset", "--quiet", "--hard"]);
    assert_eq!(reasons(&desk, "`a.txt`").await, (vec![ReasonKind::PendingChanges], true));
}

#[tokio::test]
async fn a_checkout_that_went_on_from_it_has_it() {
    let desk = carried(&[]).await;
    desk.stage.write("text", numbered(&[(3, "mine"), (20, "more")]));
    assert!(is_clean(&desk).await);
    desk.stage.write("text", numbered(&[(3, "another"), (20, "more")]));
    assert!(!is_clean(&desk).await);
}

#[tokio::test]
async fn what_was_committed_to_a_branch_that_stays_is_kept_there() {
    for format in FORMATS {
        let desk = carried(format).await;
        desk.stage.git(&["checkout", "--quiet", "-b", "mine"]);
        desk.stage.commit("mine");
        desk.stage.write("text", numbered(&[(9, "later")]));
        desk.stage.commit("later");
        desk.stage.git(&["checkout", "--quiet", "-"]);
        assert!(is_clean(&desk).await, "{format:?}");
        desk.stage.git(&["branch", "-D", "mine"]);
        assert!(!is_clean(&desk).await, "{format:?}");
    }
}

#[tokio::test]
async fn carried_work_that_was_applied_on_top_of_is_kept_until_the_checkout_is_as_committed() {
    let mut desk = carried(&[]).await;
    desk.write("text", &numbered(&[(3, "mine"), (30, "agent")]));
    desk.look(&["demo"]).await;
    desk.apply(all()).await;
    desk.known.made_with = Some(desk.history[0].from.clone());
    assert!(is_clean(&desk).await);
    desk.stage.write("text", numbered(&[(3, "mine"), (30, "agent, and me")]));
    assert!(is_clean(&desk).await);
    desk.stage.git(&["checkout", "--quiet", "text"]);
    assert!(!is_clean(&desk).await);
}
