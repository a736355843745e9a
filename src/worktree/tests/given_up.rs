//! What becomes of pending changes but being applied: given up, undone, put away; and where they come
//! from repositories and files of other kinds.

use std::fs;

use super::changes::*;
use super::*;
use crate::worktree::Content;

#[tokio::test]
async fn a_dry_run_says_the_same_and_does_nothing() {
    let desk = Desk::set().await;
    desk.write("a", "new\n");
    let present = desk.tree().await;
    let before = desk.state_of_checkout();
    let applied =
        desk.stage.worktrees.apply(&desk.known, desk.seen(&present), all(), Run::Dry).await.unwrap();
    assert_eq!((applied.paths, applied.baseline), (vec!["a".to_owned()], None));
    let discarded =
        desk.stage.worktrees.discard(&desk.known, desk.seen(&present), all(), true).await.unwrap();
    assert_eq!((discarded.paths, discarded.rescue_ref), (vec!["a".to_owned()], None));
    assert_eq!((desk.state_of_checkout(), desk.read("a")), (before, "new\n".to_owned()));
}

#[tokio::test]
async fn what_is_discarded_is_gone_from_the_worktree_and_on_the_rescue_ref() {
    let mut desk = Desk::with(|stage| {
        fs::write(stage.repo.join("text"), numbered(&[])).unwrap();
        stage.commit("a text");
    })
    .await;
    desk.write("text", &numbered(&[(2, "left"), (30, "right")]));
    desk.write("new", "new\n");
    git(&desk.known.path, &["add", "."]);
    let ids: Vec<_> = desk.pending().await[1].hunks.iter().map(|hunk| hunk.id.clone()).collect();
    let discarded = desk.discard(hunk(&ids[0])).await;
    assert_eq!((discarded.paths, desk.read("text")), (vec!["text".to_owned()], numbered(&[(30, "right")])));
    let rescue = discarded.rescue_ref.unwrap();
    assert_eq!(
        desk.stage.git(&["show", &format!("{rescue}:text")]),
        numbered(&[(2, "left"), (30, "right")]).trim_end()
    );
    desk.discard(all()).await;
    assert_eq!((desk.read("text"), desk.known.path.join("new").exists()), (numbered(&[]), false));
    assert_eq!(git(&desk.known.path, &["status", "--porcelain"]), "", "nothing is left in the index");
    assert!(desk.pending().await.is_empty());
}

#[tokio::test]
async fn an_undone_turn_leaves_the_files_as_before_it() {
    let mut desk = Desk::set().await;
    desk.write("kept", "kept\n");
    let before = desk.look(&["demo"]).await;
    desk.write("kept", "changed\n");
    desk.write("new", "new\n");
    let present = desk.look(&["demo"]).await;
    let undone = desk.stage.worktrees.undo(&desk.known, &present, &before).await.unwrap();
    assert_eq!(undone.restored, ["kept", "new"]);
    assert_eq!((desk.read("kept"), desk.known.path.join("new").exists()), ("kept\n".to_owned(), false));
    assert_eq!(desk.stage.git(&["show", &format!("{}:new", undone.rescue_ref)]), "new");
    assert_eq!(desk.tree().await, before);
}

#[tokio::test]
async fn work_that_is_put_away_comes_back_as_it_was() {
    let desk = Desk::with(|stage| {
        fs::write(stage.repo.join("text"), numbered(&[])).unwrap();
        stage.commit("a text");
    })
    .await;
    desk.write("text", &numbered(&[(2, "staged")]));
    git(&desk.known.path, &["add", "text"]);
    desk.write("text", &numbered(&[(2, "staged"), (9, "not staged")]));
    desk.write("untracked", "untracked\n");
    let before = git(&desk.known.path, &["status", "--porcelain=v2"]);
    let stashed = desk.stage.worktrees.stash(&desk.known, Some("for later")).await.unwrap();
    assert_eq!((git(&desk.known.path, &["status", "--porcelain"]).as_str(), stashed.files.len()), ("", 2));
    let again = desk.stage.worktrees.stash(&desk.known, None).await.unwrap_err();
    assert!(again.message.contains("nothing is uncommitted"), "{again}");
    desk.write("untracked", "in the way\n");
    let refused = desk.stage.worktrees.unstash(&desk.known, None).await.unwrap_err();
    assert!(refused.message.contains("untracked"), "{refused}");
    assert_eq!((desk.read("untracked"), desk.read("text")), ("in the way\n".to_owned(), numbered(&[])));
    fs::remove_file(desk.known.path.join("untracked")).unwrap();
    let files = desk.stage.worktrees.unstash(&desk.known, None).await.unwrap().files;
    assert_eq!(files, ["text", "untracked"]);
    assert_eq!(git(&desk.known.path, &["status", "--porcelain=v2"]), before);
    assert!(desk.stage.worktrees.unstash(&desk.known, None).await.is_err(), "the ref is gone");
}

#[tokio::test]
async fn a_large_file_is_listed_and_copied_and_not_kept() {
    let mut desk = Desk::set().await;
    let file = fs::File::create(desk.known.path.join("big.bin")).unwrap();
    file.set_len((100 << 20) + 7).unwrap();
    let snapshot = desk.stage.worktrees.snapshot(&desk.known).await.unwrap();
    assert!(snapshot.notices[0].contains("big.bin"), "{:?}", snapshot.notices);
    let listed = desk.pending().await;
    assert_eq!((listed[0].content, listed[0].size_bytes), (Content::Large, Some((100 << 20) + 7)));
    let diff = desk.stage.worktrees.diff(&desk.known, &desk.last, &snapshot.tree, None).await.unwrap();
    assert_eq!((diff.text.as_slice(), diff.left_out.len()), (&b""[..], 1));
    let discarded = desk.discard(all()).await;
    assert!(discarded.conflicts[0].1.contains("too large"), "{:?}", discarded.conflicts);
    assert!(desk.known.path.join("big.bin").exists());
    assert_eq!(desk.apply(all()).await.paths, ["big.bin"]);
    assert_eq!(fs::metadata(desk.stage.repo.join("big.bin")).unwrap().len(), (100 << 20) + 7);
    assert!(desk.pending().await.is_empty());
}

#[tokio::test]
async fn what_names_no_change_is_an_error_that_names_it() {
    let desk = Desk::set().await;
    desk.write("a", "new\n");
    let present = desk.tree().await;
    for (selection, name) in [(paths(&["b"]), "`b`"), (hunk("h-none"), "`h-none`")] {
        let error = desk
            .stage
            .worktrees
            .apply(&desk.known, desk.seen(&present), selection, Run::Real { then: None })
            .await
            .unwrap_err();
        assert!(error.message.contains(name), "{error}");
    }
}

#[tokio::test]
async fn repositories_that_libgit2_cannot_read_are_served_by_the_program() {
    for format in ["--object-format=sha256", "--ref-format=reftable"] {
        let stage = Stage::with(&["init", "--quiet", "--initial-branch=main", format], &[]);
        fs::write(stage.repo.join("text"), numbered(&[])).unwrap();
        stage.commit("a text");
        let mut desk = Desk::at(stage).await;
        desk.write("text", &numbered(&[(2, "left"), (30, "right")]));
        desk.write("new", "new\n");
        let present = desk.look(&["demo"]).await;
        let pending = desk.pending().await;
        assert_eq!(pending.iter().map(|c| c.path.as_str()).collect::<Vec<_>>(), ["new", "text"]);
        assert_eq!(pending[1].hunks[0].agents, ["demo"]);
        let diff =
            desk.stage.worktrees.diff(&desk.known, &desk.history[0].from, &present, None).await.unwrap();
        let text = String::from_utf8_lossy(&diff.text);
        assert!(text.contains("+left"), "{text}");
        let id = pending[1].hunks[0].id.clone();
        assert_eq!(desk.apply(hunk(&id)).await.paths, ["text"]);
        assert_eq!(desk.checkout("text"), numbered(&[(2, "left")]));
        let stashed = desk.stage.worktrees.stash(&desk.known, None).await.unwrap();
        assert_eq!(stashed.files, ["new", "text"]);
        desk.stage.worktrees.unstash(&desk.known, None).await.unwrap();
        desk.discard(all()).await;
        assert!(desk.pending().await.is_empty());
        assert_eq!(desk.read("text"), numbered(&[(2, "left")]));
    }
}
