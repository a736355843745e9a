//! Taking back what was just made, and only that.

use super::*;

async fn undone(stage: &Stage, created: &Created) -> Vec<String> {
    stage.worktrees.undo_create(created).await.unwrap().kept
}

#[tokio::test]
async fn an_untouched_worktree_goes_without_a_trace() {
    let stage = Stage::new().copying(&[".env"]);
    stage.write(".env", "x");
    let before = stage.state();
    let created = stage.create(|_| {}).await.unwrap();
    // Looking is not touching.
    assert!(status(&created.path).is_empty());
    assert_eq!(undone(&stage, &created).await, Vec::<String>::new());
    assert_eq!(stage.state(), before);
    assert!(stage.made().is_empty());
}

#[tokio::test]
async fn it_goes_though_the_checkout_it_was_made_from_has_gone() {
    let stage = Stage::new();
    let linked = stage.base().join("linked");
    stage.git(&[OsStr::new("worktree"), "add".as_ref(), "--quiet".as_ref(), linked.as_ref()]);
    let located = stage.worktrees.locate(&linked).await.unwrap();
    let created = stage.worktrees.create(stage.request(located)).await.unwrap();
    stage.git(&[OsStr::new("worktree"), "remove".as_ref(), linked.as_ref()]);
    assert_eq!(undone(&stage, &created).await, Vec::<String>::new());
    assert!(stage.made().is_empty());
}

#[tokio::test]
async fn other_worktrees_and_branches_of_ours_stay() {
    let stage = Stage::new();
    let first = stage.create(|_| {}).await.unwrap();
    let before = stage.state();
    let second = stage.create(|request| request.id = "w-second".into()).await.unwrap();
    assert_eq!(undone(&stage, &second).await, Vec::<String>::new());
    assert_eq!(stage.state(), before);
    assert!(status(&first.path).is_empty());
}

/// Touches a worktree.
type Touch = fn(&Stage, &Created);

/// Each way of touching it, and the word by which it is told.
fn touches() -> Vec<(&'static str, Touch)> {
    vec![
        ("files were changed", |_, created| fs::write(created.path.join("new"), "x").unwrap()),
        ("files were changed", |_, created| fs::write(created.path.join("a.txt"), "ONE\n").unwrap()),
        ("files were changed", |_, created| fs::remove_file(created.path.join("dir/b.txt")).unwrap()),
        ("files were changed", |_, created| fs::write(created.path.join("dir/x.ignored"), "").unwrap()),
        ("something was committed", |_, created| {
            git(&created.path, &["commit", "--quiet", "--allow-empty", "-m", "work"]);
        }),
        ("another branch", |_, created| drop(git(&created.path, &["checkout", "--quiet", "--detach"]))),
        ("locked by somebody else", |stage, created| {
            let path = created.path.as_os_str();
            stage.git(&[OsStr::new("worktree"), "unlock".as_ref(), path]);
            stage.git(&[OsStr::new("worktree"), "lock".as_ref(), "--reason=mine".as_ref(), path]);
        }),
        ("another directory", |stage, created| {
            fs::rename(&created.path, stage.base().join("moved")).unwrap();
            fs::create_dir(&created.path).unwrap();
        }),
        ("not the worktree", |_, created| {
            fs::write(created.path.join(".git"), "gitdir: /elsewhere\n").unwrap();
        }),
    ]
}

#[tokio::test]
async fn a_worktree_that_was_touched_is_left_and_the_reason_told() {
    for (word, touch) in touches() {
        let stage = Stage::new();
        let created = stage.create(|_| {}).await.unwrap();
        // Some are told by their times alone, and the clock of some kernels stands still for 10 ms.
        tokio::time::sleep(Duration::from_millis(20)).await;
        touch(&stage, &created);
        let (state, tree) = (stage.state(), files(&created.path));
        let kept = undone(&stage, &created).await;
        assert_eq!(kept.len(), 1, "{word}");
        assert!(kept[0].contains(word), "{kept:?} does not say {word}");
        assert!(kept[0].contains("hob/w-test"));
        assert_eq!(stage.state(), state);
        assert_eq!(files(&created.path), tree);
    }
}
