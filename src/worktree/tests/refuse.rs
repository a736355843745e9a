//! Refusals: each names what it is about, and leaves everything as it was.

use super::*;
use WorktreeErrorKind as Kind;

#[tokio::test]
async fn an_unknown_base_is_named() {
    let stage = Stage::new();
    for base in ["no-such-branch", "", "--all", "HEAD:a.txt", "deadbeef"] {
        let error = stage.refuses(Kind::BadBase, base, |request| request.base = Some(base.into())).await;
        assert!(error.hint.is_some());
    }
}

#[tokio::test]
async fn a_base_that_only_the_remote_has_is_hinted_at() {
    let stage = Stage::new();
    let commit = stage.git(&["rev-parse", "HEAD"]);
    stage.git(&["update-ref", "refs/remotes/origin/feature", &commit]);
    let error =
        stage.refuses(Kind::BadBase, "feature", |request| request.base = Some("feature".into())).await;
    assert_eq!(error.hint.unwrap(), "--base origin/feature");
}

#[tokio::test]
async fn a_head_without_a_commit_is_refused_though_other_branches_have_some() {
    let stage = Stage::new();
    stage.git(&["checkout", "--quiet", "--orphan", "new"]);
    stage.refuses(Kind::NoCommit, "repo", |_| {}).await;
    stage.create(|request| request.base = Some("main".into())).await.unwrap();
}

#[tokio::test]
async fn a_branch_that_is_taken_is_named() {
    let stage = Stage::new();
    stage.git(&["branch", "hob/w-test"]);
    stage.refuses(Kind::BranchTaken, "hob/w-test", |_| {}).await;
}

#[tokio::test]
async fn a_branch_that_is_taken_and_packed_is_named() {
    let stage = Stage::new();
    stage.git(&["branch", "hob/w-test"]);
    stage.git(&["pack-refs", "--all"]);
    stage.refuses(Kind::BranchTaken, "hob/w-test", |_| {}).await;
}

#[tokio::test]
async fn a_branch_beside_which_ours_cannot_stand_is_named() {
    let stage = Stage::new();
    stage.git(&["branch", "hob"]);
    let error = stage.refuses(Kind::BranchTaken, "`hob`", |_| {}).await;
    assert!(error.hint.unwrap().ends_with("branch -m hob hob-old"));
    let stage = Stage::new();
    stage.git(&["branch", "hob/w-test/below"]);
    stage.refuses(Kind::BranchTaken, "hob/w-test/below", |_| {}).await;
    stage.git(&["pack-refs", "--all"]);
    stage.refuses(Kind::BranchTaken, "hob/w-test/below", |_| {}).await;
}

#[tokio::test]
async fn a_path_in_the_way_is_named_and_left_alone() {
    let stage = Stage::new();
    let (path, _) = stage.worktrees.plan("w-test");
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join("precious"), "x").unwrap();
    stage.refuses(Kind::PathTaken, path.to_str().unwrap(), |_| {}).await;
    assert!(path.join("precious").exists());
    fs::remove_dir_all(&path).unwrap();
    std::os::unix::fs::symlink("/nowhere", &path).unwrap();
    stage.refuses(Kind::PathTaken, path.to_str().unwrap(), |_| {}).await;
}

#[tokio::test]
async fn an_entry_of_the_repository_in_the_way_is_named() {
    let stage = Stage::new();
    let admin = stage.repo.join(".git/worktrees/w-test");
    fs::create_dir_all(&admin).unwrap();
    stage.refuses(Kind::PathTaken, admin.to_str().unwrap(), |_| {}).await;
}

#[tokio::test]
async fn a_root_that_cannot_be_made_is_named() {
    let stage = Stage::new();
    let root = stage.base().join("worktrees");
    fs::write(&root, "a file").unwrap();
    let before = stage.state();
    let error = stage.create(|_| {}).await.expect_err("a refusal");
    assert_eq!(error.kind, Kind::Io);
    assert!(error.message.contains(root.to_str().unwrap()), "{error}");
    assert_eq!(stage.state(), before);
}

#[tokio::test]
async fn a_repository_that_cannot_be_written_is_named() {
    if nix::unistd::geteuid().is_root() {
        eprintln!("skipped: root may write everywhere");
        return;
    }
    let stage = Stage::new();
    let git_dir = stage.repo.join(".git");
    let mode =
        |mode| fs::set_permissions(&git_dir, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    mode(0o555);
    let error = stage.refuses(Kind::Io, ".git", |_| {}).await;
    mode(0o755);
    assert!(error.hint.unwrap().starts_with("ls -ld"));
}

/// The entry directory of the repository is a file: nothing that we check first, so it fails in
/// the middle, after the branch was made.
#[tokio::test]
async fn a_failure_in_the_middle_takes_everything_back_with_either_method() {
    let stage = Stage::new();
    stage.write(".git/worktrees", "in the way");
    stage.refuses(Kind::Io, "worktree", |_| {}).await;
    stage.git(&["config", "core.sparseCheckout", "true"]);
    stage.refuses(Kind::Io, "worktree", |_| {}).await;
}

#[tokio::test]
async fn a_missing_object_takes_everything_back_with_either_method() {
    let stage = Stage::new();
    let blob = stage.git(&["rev-parse", "HEAD:dir/b.txt"]);
    let object = stage.repo.join(".git/objects").join(&blob[..2]).join(&blob[2..]);
    fs::remove_file(object).unwrap();
    stage.refuses(Kind::Missing, "", |_| {}).await;
    stage.git(&["config", "core.sparseCheckout", "true"]);
    stage.refuses(Kind::Missing, "", |_| {}).await;
}

#[tokio::test]
async fn an_id_that_could_leave_the_root_is_refused() {
    let stage = Stage::new();
    for id in ["../evil", "", "-x", "a/b", ".trash", "w-\u{e9}"] {
        stage.refuses(Kind::Io, id, |request| request.id = id.into()).await;
    }
}

#[tokio::test]
async fn a_checkout_that_has_gone_is_named() {
    let stage = Stage::new();
    let located = stage.worktrees.locate(&stage.repo).await.unwrap();
    fs::rename(&stage.repo, stage.base().join("moved")).unwrap();
    let error = stage.worktrees.create(stage.request(located)).await.expect_err("a refusal");
    assert_eq!(error.kind, Kind::NotARepo);
    assert!(stage.made().is_empty());
}
