//! What is kept of a long history: the last turns whole, of older ones enough to tell whose a change is.

use super::changes::{Desk, numbered};
use super::*;

const MIB: usize = 1 << 20;

/// Content that does not shrink, other for each seed.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..)).take(bytes).collect()
}

fn reachable_bytes(stage: &Stage) -> u64 {
    stage.git(&["reflog", "expire", "--expire=now", "--all"]);
    stage.git(&["gc", "--quiet", "--prune=now"]);
    let objects = walkdir::WalkDir::new(stage.repo.join(".git/objects")).into_iter().flatten();
    objects.filter(|entry| entry.file_type().is_file()).map(|entry| entry.metadata().unwrap().len()).sum()
}

/// As the looks around turns keep it.
async fn keep(desk: &Desk, tree: &str) {
    let name = desk.known.tree_ref("look", tree);
    desk.stage.worktrees.keep_tree(&desk.known, &name, tree, "hob: a look").await.unwrap();
}

/// Trims, and writes down what it gives.
async fn trim(desk: &mut Desk) -> Option<Trimmed> {
    let trimmed = desk.stage.worktrees.trim(&desk.known, desk.history.clone()).await.unwrap()?;
    for (segment, span) in desk.history.iter_mut().zip(&trimmed.oldest) {
        (segment.from, segment.to) = (span.from.clone(), span.to.clone());
    }
    let spans = trimmed.oldest.iter().flat_map(|span| [span.from.clone(), span.to.clone()]);
    let kept = trimmed.whole.iter().cloned().chain(spans).chain([desk.last.clone()]).collect();
    desk.stage.worktrees.drop_trees(&desk.known, kept).await.unwrap();
    Some(trimmed)
}

#[tokio::test]
async fn a_long_history_is_small_and_tells_whose_each_change_is_as_before() {
    let mut desk = Desk::with(|stage| {
        stage.write("text", numbered(&[]));
        stage.write("asset", noise(1_000, 2 * MIB));
        stage.commit("a text and an asset");
    })
    .await;
    let n_turns = TURNS_KEPT + 8;
    for n in 0..n_turns {
        fs::write(desk.known.path.join("big"), noise(n as u64, MIB + 1024)).unwrap();
        let agent = if n % 2 == 0 { "even" } else { "odd" };
        if n < 4 {
            desk.write("text", &numbered(&(0..=n).map(|n| (n * 10, "new")).collect::<Vec<_>>()));
        }
        let tree = desk.look(&[agent]).await;
        keep(&desk, &tree).await;
    }
    let (before, pending) = (reachable_bytes(&desk.stage), desk.pending().await);
    let trimmed = trim(&mut desk).await.expect("it is longer than is kept");
    assert_eq!((trimmed.oldest.len(), trimmed.whole.len()), (8, TURNS_KEPT + 1));
    let after = reachable_bytes(&desk.stage);
    assert!(after + 6 * (MIB as u64) < before, "{before} bytes became {after}");
    assert_eq!(desk.pending().await, pending, "owners and turns are the same");
    assert_eq!(pending.iter().map(|change| change.path.as_str()).collect::<Vec<_>>(), ["big", "text"]);
    assert!(pending[1].hunks.iter().any(|hunk| hunk.agents == ["even"] && !hunk.shared));
    // Once more, nothing is made anew.
    let refs = desk.stage.git(&["for-each-ref", "refs/hob"]);
    assert_eq!(trim(&mut desk).await, Some(trimmed));
    assert_eq!(desk.stage.git(&["for-each-ref", "refs/hob"]), refs);
    desk.stage.worktrees.forget_trees(&desk.known).await.unwrap();
    assert_eq!(desk.stage.git(&["for-each-ref", "refs/hob"]), "");
    assert!(reachable_bytes(&desk.stage) < 3 * MIB as u64);
}

#[tokio::test]
async fn a_short_history_is_left_as_it_is() {
    let mut desk = Desk::set().await;
    for n in 0..3 {
        desk.write("text", &format!("{n}\n"));
        let tree = desk.look(&["demo"]).await;
        keep(&desk, &tree).await;
    }
    let refs = desk.stage.git(&["for-each-ref", "refs/hob"]);
    assert_eq!(trim(&mut desk).await, None);
    assert_eq!(desk.stage.git(&["for-each-ref", "refs/hob"]), refs);
}
