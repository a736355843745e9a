//! What is given up is kept: nothing goes from the worktree that its rescue does not have, and nothing
//! that was done is told as not done.

use std::fs;

use super::changes::*;
use super::*;

/// Discards everything, which must be refused with these words for this path.
async fn refused(desk: &Desk, path: &str, words: &str) {
    let present = desk.tree().await;
    let discarded =
        desk.stage.worktrees.discard(&desk.known, desk.seen(&present), all(), false).await.unwrap();
    let conflict = discarded.conflicts.iter().find(|(of, _)| of == path);
    assert!(conflict.is_some_and(|(_, why)| why.contains(words)), "{:?}", discarded.conflicts);
    assert_eq!((discarded.rescue_ref, discarded.paths), (None, vec![]));
}

#[tokio::test]
async fn what_git_ignores_is_not_given_up_in_the_place_of_a_file() {
    // A file that came to be ignored.
    let desk = Desk::with(|stage| stage.write("secret", "one\n")).await;
    git(&desk.known.path, &["rm", "--quiet", "--cached", "a.txt"]);
    desk.write(".gitignore", "a.txt\n");
    desk.write("a.txt", "nobody else has it\n");
    refused(&desk, "a.txt", "git ignores").await;
    assert_eq!(desk.read("a.txt"), "nobody else has it\n");

    // A directory with ignored files, and a repository, where a file was.
    for repository in [false, true] {
        let desk = Desk::set().await;
        fs::remove_file(desk.known.path.join("a.txt")).unwrap();
        desk.write("a.txt/deep/x.ignored", "nobody else has it\n");
        if repository {
            git(&desk.known.path.join("a.txt"), &["init", "--quiet"]);
        }
        refused(&desk, "a.txt", "a directory is there").await;
        assert_eq!(desk.read("a.txt/deep/x.ignored"), "nobody else has it\n");
        let present = desk.tree().await;
        let error = desk.stage.worktrees.undo(&desk.known, &present, &desk.last).await.unwrap_err();
        assert!(error.message.contains("a directory is there"), "{error}");
        let error = desk.stage.worktrees.stash(&desk.known, None).await.unwrap_err();
        assert!(error.message.contains("a directory is there"), "{error}");
        assert_eq!(desk.read("a.txt/deep/x.ignored"), "nobody else has it\n");
    }
}

#[tokio::test]
async fn what_was_written_after_the_look_is_not_given_up() {
    let desk = Desk::set().await;
    desk.write("a.txt", "seen\n");
    let present = desk.tree().await;
    desk.write("a.txt", "written since\n");
    let error =
        desk.stage.worktrees.discard(&desk.known, desk.seen(&present), all(), false).await.unwrap_err();
    assert!(error.message.contains("changed just now"), "{error}");
    let error = desk.stage.worktrees.undo(&desk.known, &present, &desk.last).await.unwrap_err();
    assert!(error.message.contains("changed just now"), "{error}");
    assert_eq!(desk.read("a.txt"), "written since\n");
    assert_eq!(desk.stage.git(&["for-each-ref", "refs/hob/rescue"]), "", "and no ref was made");
    // Elsewhere it may.
    let present = desk.tree().await;
    desk.write("elsewhere", "new\n");
    let discarded = desk
        .stage
        .worktrees
        .discard(&desk.known, desk.seen(&present), paths(&["a.txt"]), false)
        .await
        .unwrap();
    assert_eq!((discarded.paths, desk.read("a.txt")), (vec!["a.txt".to_owned()], "one\n".to_owned()));
}

#[tokio::test]
async fn what_is_staged_is_in_the_rescue_too() {
    for format in FORMATS {
        let stage = Stage::with(&[&["init", "--quiet"][..], format].concat(), &[]);
        stage.first_commit();
        let mut desk = Desk::at(stage).await;
        desk.write("a.txt", "staged\n");
        desk.write("dir/b.txt", "staged\n");
        git(&desk.known.path, &["add", "."]);
        desk.write("a.txt", "not staged\n");
        fs::remove_file(desk.known.path.join("dir/b.txt")).unwrap();
        let rescue = desk.discard(all()).await.rescue_ref.unwrap();
        let shown = |what: &str| desk.stage.git(&["show", &format!("{rescue}{what}")]);
        assert_eq!(shown(":a.txt"), "not staged");
        assert_eq!((shown("^2:a.txt"), shown("^2:dir/b.txt")), ("staged".to_owned(), "staged".to_owned()));
        assert_eq!(git(&desk.known.path, &["status", "--porcelain"]), "");
    }
}

#[tokio::test]
async fn in_the_middle_of_an_operation_of_git_nothing_is_given_up() {
    let desk = Desk::set().await;
    desk.write("a.txt", "ours\n");
    git(&desk.known.path, &["commit", "--quiet", "--all", "-m", "ours"]);
    git(&desk.known.path, &["checkout", "--quiet", "-b", "theirs", "HEAD~"]);
    desk.write("a.txt", "theirs\n");
    git(&desk.known.path, &["commit", "--quiet", "--all", "-m", "theirs"]);
    assert!(!try_git(&desk.known.path, &["merge", "hob/w-test"]).status.success(), "a conflict");
    let (present, before) = (desk.tree().await, git(&desk.known.path, &["ls-files", "--stage"]));
    let error =
        desk.stage.worktrees.discard(&desk.known, desk.seen(&present), all(), false).await.unwrap_err();
    assert!(error.message.contains("a merge is under way"), "{error}");
    assert_eq!(git(&desk.known.path, &["ls-files", "--stage"]), before);
}

#[tokio::test]
async fn while_a_git_writes_the_index_nothing_is_begun() {
    for format in FORMATS {
        let stage = Stage::with(&[&["init", "--quiet"][..], format].concat(), &[]);
        stage.first_commit();
        let desk = Desk::at(stage).await;
        desk.write("a.txt", "changed\n");
        let present = desk.tree().await;
        let lock = desk.known.admin().join("index.lock");
        fs::write(&lock, "").unwrap();
        let error =
            desk.stage.worktrees.discard(&desk.known, desk.seen(&present), all(), false).await.unwrap_err();
        assert!(error.message.contains("another git works"), "{format:?}: {error}");
        assert_eq!(desk.read("a.txt"), "changed\n");
        fs::remove_file(lock).unwrap();
        desk.stage.worktrees.discard(&desk.known, desk.seen(&present), all(), false).await.unwrap();
        assert_eq!(desk.read("a.txt"), "one\n");
    }
}

#[tokio::test]
async fn before_the_first_commit_of_a_branch_what_is_given_up_is_told_as_done() {
    let mut desk = Desk::set().await;
    git(&desk.known.path, &["checkout", "--quiet", "--orphan", "fresh"]);
    desk.write("a.txt", "changed\n");
    let discarded = desk.discard(all()).await;
    assert_eq!((discarded.paths, discarded.notices), (vec!["a.txt".to_owned()], vec![]));
    assert!(discarded.rescue_ref.is_some());
    assert_eq!(desk.read("a.txt"), "one\n");
}

#[tokio::test]
async fn a_file_that_became_a_directory_goes_both_ways() {
    let mut desk = Desk::set().await;
    fs::remove_file(desk.known.path.join("a.txt")).unwrap();
    desk.write("a.txt/deep/new", "new\n");
    fs::remove_dir_all(desk.known.path.join("dir")).unwrap();
    desk.write("dir", "a file\n");
    let present = desk.look(&["demo"]).await;
    let undone =
        desk.stage.worktrees.undo(&desk.known, &present, &desk.history[0].from.clone()).await.unwrap();
    assert_eq!((desk.read("a.txt"), desk.read("dir/b.txt")), ("one\n".to_owned(), "b\n".to_owned()));
    assert_eq!(desk.stage.git(&["show", &format!("{}:a.txt/deep/new", undone.rescue_ref)]), "new");

    fs::remove_file(desk.known.path.join("a.txt")).unwrap();
    desk.write("a.txt/deep/new", "new\n");
    fs::remove_dir_all(desk.known.path.join("dir")).unwrap();
    desk.write("dir", "a file\n");
    desk.look(&["demo"]).await;
    let applied = desk.apply(all()).await;
    assert_eq!(applied.conflicts, []);
    assert_eq!(
        (desk.checkout("a.txt/deep/new"), desk.checkout("dir")),
        ("new\n".to_owned(), "a file\n".to_owned())
    );
    assert!(desk.pending().await.is_empty());
}

#[tokio::test]
async fn what_goes_through_a_filter_goes_through_it_here_too() {
    let stage = Stage::new();
    stage.git(&["config", "filter.shout.clean", "tr a-z A-Z"]);
    stage.git(&["config", "filter.shout.smudge", "tr A-Z a-z"]);
    stage.write(".gitattributes", "*.loud filter=shout\n");
    stage.write("old.loud", "quiet\n");
    stage.commit("filtered");
    let mut desk = Desk::at(stage).await;
    desk.write("old.loud", "changed\n");
    desk.write("new.loud", "new\n");
    let applied = desk.apply(super::changes::paths(&["new.loud"])).await;
    assert_eq!((applied.paths, applied.conflicts), (vec!["new.loud".to_owned()], vec![]));
    assert_eq!(desk.checkout("new.loud"), "new\n");
    assert_eq!(desk.discard(all()).await.paths, ["old.loud"]);
    assert_eq!(desk.read("old.loud"), "quiet\n");
}

#[tokio::test]
async fn what_a_killed_swap_left_is_told_and_is_nobodys_work() {
    for format in FORMATS {
        let stage = Stage::with(&[&["init", "--quiet"][..], format].concat(), &[]);
        stage.first_commit();
        let desk = Desk::at(stage).await;
        let before = desk.tree().await;
        desk.write(".hob-swap-Ab12/new-0", "what was there\n");
        let snapshot = desk.stage.worktrees.snapshot(&desk.known).await.unwrap();
        assert_eq!(snapshot.tree, before);
        assert!(
            snapshot.notices.iter().any(|text| text.contains("`.hob-swap-Ab12`")),
            "{:?}",
            snapshot.notices
        );
    }
}

#[tokio::test]
async fn what_was_applied_can_be_listed_after_the_next_was_and_git_has_cleaned_up() {
    let mut desk = Desk::set().await;
    desk.write("a.txt", "first\n");
    desk.look(&["demo"]).await;
    desk.apply(all()).await;
    desk.write("dir/b.txt", "second\n");
    desk.look(&["demo"]).await;
    desk.apply(all()).await;
    desk.stage.git(&["gc", "--quiet", "--prune=now"]);
    desk.write("a.txt", "third\n");
    assert_eq!(desk.pending().await[0].agents, Vec::<String>::new());
    let first = desk.history[0].to.clone();
    desk.stage.git(&["cat-file", "-e", &first]);
}

/// A desk whose repository has a submodule, checked out in the worktree.
async fn with_submodule() -> Desk {
    let stage = Stage::new();
    let library = Stage::new();
    let url = library.repo.to_str().unwrap().to_owned();
    let allow = ["-c", "protocol.file.allow=always"];
    stage.git(&[&allow[..], &["submodule", "--quiet", "add", &url, "library"]].concat());
    stage.commit("a submodule");
    let desk = Desk::at(stage).await;
    git(&desk.known.path, &[&allow[..], &["submodule", "--quiet", "update", "--init"]].concat());
    desk
}

#[tokio::test]
async fn what_lies_unseen_in_a_submodule_is_told() {
    let told = async |desk: &Desk| {
        let notices = desk.stage.worktrees.snapshot(&desk.known).await.unwrap().notices;
        notices.iter().any(|text| text.contains("submodules") && text.contains("`library`"))
    };
    let desk = with_submodule().await;
    assert!(!told(&desk).await);
    desk.write("library/a.txt", "changed\n");
    assert!(told(&desk).await);
    git(&desk.known.path, &["submodule", "--quiet", "deinit", "--force", "library"]);
    assert!(!told(&desk).await);
    desk.write("library/new", "where none is checked out\n");
    assert!(told(&desk).await);
}

#[tokio::test]
async fn a_submodule_that_the_checkout_has_taken_over_is_not_pending_any_more() {
    let mut desk = with_submodule().await;
    let inside = desk.known.path.join("library");
    git(&inside, &["commit", "--quiet", "--allow-empty", "-m", "new"]);
    let commit = git(&inside, &["rev-parse", "HEAD"]);
    let conflicts = desk.apply(all()).await.conflicts;
    assert!(conflicts[0].1.contains(&commit), "{conflicts:?}");
    let theirs = desk.stage.repo.join("library");
    git(&theirs, &["fetch", "--quiet", inside.to_str().unwrap(), "HEAD"]);
    git(&theirs, &["checkout", "--quiet", &commit]);
    assert_eq!(desk.apply(all()).await.paths, ["library"]);
    assert!(desk.pending().await.is_empty());
}

#[tokio::test]
async fn a_filter_that_appeared_later_is_never_run() {
    let stage = Stage::new();
    stage.write("old.loud", "quiet\n");
    stage.commit("plain");
    let mut desk = Desk::at(stage).await;
    desk.write("old.loud", "changed\n");
    let marker = desk.stage.repo.join("it-ran");
    let script = format!("touch {}; cat", marker.display());
    desk.look(&["demo"]).await;
    // An agent can write into the configuration that all worktrees share.
    for key in ["clean", "smudge"] {
        desk.stage.git(&["config", &format!("filter.evil.{key}"), &script]);
    }
    desk.stage.write(".gitattributes", "* filter=evil\n");
    let applied = desk.apply(all()).await;
    assert!(
        applied.conflicts.iter().any(|(_, why)| why.contains("`filter.evil.clean` appeared")),
        "{applied:?}"
    );
    assert_eq!(desk.checkout("old.loud"), "quiet\n");
    assert!(!marker.exists());
}
