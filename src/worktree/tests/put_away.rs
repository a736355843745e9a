//! What the person had before is not told as taken away where it was only put away in the worktree, and
//! goes from the checkout only if a turn took it away.

use std::fs;

use super::changes::*;
use super::*;
use crate::worktree::{ChangeKind, Deletion};

/// A worktree that the person's uncommitted work was carried into: an edit, a removal, a new file.
pub(super) async fn carried(format: &[&str]) -> Desk {
    let stage = Stage::with(&[&["init", "--quiet"][..], format].concat(), &[]);
    stage.first_commit();
    stage.write("text", numbered(&[]));
    stage.write("gone.txt", "gone\n");
    stage.commit("more");
    stage.write("text", numbered(&[(3, "mine")]));
    stage.write("notes.txt", "mine\n");
    fs::remove_file(stage.repo.join("gone.txt")).unwrap();
    let created = stage.create(|request| request.carry_changes = true).await.unwrap();
    let mut known = known(&stage, &created);
    let last = stage.worktrees.snapshot(&known).await.unwrap().tree;
    known.baseline = Some(last.clone());
    Desk { stage, known, history: Vec::new(), last }
}

async fn stash(desk: &mut Desk) {
    desk.stage.worktrees.stash(&desk.known, None).await.unwrap();
    desk.look(&[]).await;
}

/// That everything of the person's is in the checkout as it was.
fn is_whole(desk: &Desk) {
    assert_eq!(desk.checkout("text"), numbered(&[(3, "mine")]));
    assert_eq!(desk.checkout("notes.txt"), "mine\n");
    assert!(!desk.stage.repo.join("gone.txt").exists());
}

fn deletion(path: &str, agents: &[&str]) -> Deletion {
    Deletion { path: path.to_owned(), agents: agents.iter().map(|agent| (*agent).to_owned()).collect() }
}

#[tokio::test]
async fn what_was_carried_and_put_away_is_no_change() {
    for format in FORMATS {
        let mut desk = carried(format).await;
        stash(&mut desk).await;
        assert!(!desk.known.path.join("notes.txt").exists());
        assert_eq!(desk.pending().await, []);
        let applied = desk.apply(all()).await;
        assert_eq!((applied.paths, applied.kept, applied.conflicts), (vec![], vec![], vec![]));
        is_whole(&desk);
        // And once it is back, neither.
        desk.stage.worktrees.unstash(&desk.known, None).await.unwrap();
        desk.look(&[]).await;
        assert_eq!((desk.pending().await, desk.read("notes.txt")), (vec![], "mine\n".to_owned()));
    }
}

#[tokio::test]
async fn an_edit_beside_what_was_put_away_is_merged_with_it() {
    let mut desk = carried(&[]).await;
    stash(&mut desk).await;
    desk.write("text", &numbered(&[(30, "agent")]));
    desk.write("new", "new\n");
    desk.look(&["demo"]).await;
    let pending = desk.pending().await;
    let listed: Vec<_> = pending.iter().map(|change| (&*change.path, change.hunks.len())).collect();
    assert_eq!(listed, [("new", 1), ("text", 1)]);
    let applied = desk.apply(all()).await;
    assert_eq!((applied.conflicts, applied.deletions, applied.paths.len()), (vec![], vec![], 2));
    assert_eq!(desk.checkout("text"), numbered(&[(3, "mine"), (30, "agent")]));
    assert_eq!(desk.checkout("notes.txt"), "mine\n");
    assert_eq!(desk.pending().await, []);
}

#[tokio::test]
async fn work_that_was_applied_and_put_away_stays_applied() {
    let mut desk = carried(&[]).await;
    desk.write("text", &numbered(&[(3, "mine"), (30, "agent")]));
    desk.write("new", "new\n");
    desk.look(&["demo"]).await;
    desk.apply(all()).await;
    stash(&mut desk).await;
    assert_eq!(desk.pending().await, []);
    desk.write("a.txt", "two\n");
    desk.look(&["demo"]).await;
    assert_eq!(desk.apply(all()).await.paths, ["a.txt"]);
    assert_eq!(desk.checkout("text"), numbered(&[(3, "mine"), (30, "agent")]));
    assert_eq!((desk.checkout("new"), desk.checkout("notes.txt")), ("new\n".into(), "mine\n".into()));
}

#[tokio::test]
async fn what_an_agent_puts_away_is_no_change_either() {
    let ways: [&[&str]; 3] =
        [&["stash", "--include-untracked"], &["checkout", "."], &["reset", "--quiet", "--hard"]];
    for way in ways {
        let mut desk = carried(&[]).await;
        git(&desk.known.path, way);
        desk.look(&["demo"]).await;
        assert_eq!(desk.pending().await, [], "{way:?}");
        desk.apply(all()).await;
        is_whole(&desk);
    }
}

#[tokio::test]
async fn what_a_turn_removed_is_named_as_its_removal() {
    let mut desk = carried(&[]).await;
    fs::remove_file(desk.known.path.join("notes.txt")).unwrap();
    fs::remove_file(desk.known.path.join("a.txt")).unwrap();
    desk.look(&["demo"]).await;
    let told = Selection { deletions: Some(vec!["a.txt".to_owned()]), ..all() };
    let conflicts = desk.apply(told).await.conflicts;
    assert!(matches!(&conflicts[..], [(path, _)] if path == "notes.txt"), "{conflicts:?}");
    is_whole(&desk);
    let applied = desk.apply(all()).await;
    assert_eq!(applied.deletions, [deletion("a.txt", &["demo"]), deletion("notes.txt", &["demo"])]);
    assert!(!desk.stage.repo.join("notes.txt").exists() && !desk.stage.repo.join("a.txt").exists());
}

#[tokio::test]
async fn what_no_turn_removed_stays_unless_it_is_named() {
    let mut desk = carried(&[]).await;
    fs::remove_file(desk.known.path.join("a.txt")).unwrap();
    fs::rename(desk.known.path.join("dir/b.txt"), desk.known.path.join("c.txt")).unwrap();
    desk.look(&[]).await;
    assert_eq!(desk.pending().await[0].kind, ChangeKind::Deleted, "it is shown");
    let applied = desk.apply(all()).await;
    assert_eq!((applied.paths, applied.deletions), (vec!["c.txt".to_owned()], vec![]));
    assert_eq!(applied.kept, ["a.txt", "dir/b.txt"]);
    assert_eq!((desk.checkout("a.txt"), desk.checkout("dir/b.txt")), ("one\n".into(), "b\n".into()));
    let applied = desk.apply(paths(&["a.txt"])).await;
    assert_eq!(applied.deletions, [deletion("a.txt", &[])]);
    assert!(!desk.stage.repo.join("a.txt").exists());
}

#[tokio::test]
async fn a_removal_that_was_not_looked_at_for_sure_is_nobodys() {
    let mut desk = carried(&[]).await;
    fs::remove_file(desk.known.path.join("a.txt")).unwrap();
    desk.look(&["demo"]).await;
    desk.history.last_mut().unwrap().doubt = true;
    assert_eq!(desk.apply(all()).await.kept, ["a.txt"]);
    assert_eq!(desk.checkout("a.txt"), "one\n");
}

#[tokio::test]
async fn a_turn_that_was_applied_and_undone_can_be_taken_back_from_the_checkout() {
    let mut desk = carried(&[]).await;
    let before = desk.last.clone();
    desk.write("text", &numbered(&[(3, "mine"), (30, "agent")]));
    let present = desk.look(&["demo"]).await;
    desk.apply(all()).await;
    desk.stage.worktrees.undo(&desk.known, &present, &before).await.unwrap();
    desk.look(&[]).await;
    assert_eq!(desk.apply(all()).await.paths, ["text"]);
    is_whole(&desk);
}
