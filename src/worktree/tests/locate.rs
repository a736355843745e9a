//! Finding the checkout around a path.

use super::*;

async fn located(stage: &Stage, path: &Path) -> Located {
    stage.worktrees.locate(path).await.unwrap()
}

async fn refused(stage: &Stage, path: &Path) -> WorktreeError {
    stage.worktrees.locate(path).await.expect_err("a refusal")
}

#[tokio::test]
async fn the_top_and_a_subdirectory_are_told_apart() {
    let stage = Stage::new();
    let top = located(&stage, &stage.repo).await;
    assert_eq!(top.top, stage.repo);
    assert_eq!(top.common_dir, stage.repo.join(".git"));
    assert_eq!(top.subdir, Path::new(""));
    let below = located(&stage, &stage.repo.join("dir")).await;
    assert_eq!(below, Located { subdir: "dir".into(), ..top });
}

#[tokio::test]
async fn symbolic_links_on_the_way_are_resolved() {
    let stage = Stage::new();
    let link = stage.base().join("link");
    std::os::unix::fs::symlink(&stage.repo, &link).unwrap();
    let found = located(&stage, &link.join("dir")).await;
    assert_eq!((found.top, found.subdir), (stage.repo.clone(), "dir".into()));
}

#[tokio::test]
async fn a_linked_worktree_is_a_checkout_of_its_own_with_the_common_directory() {
    let stage = Stage::new();
    let linked = stage.base().join("linked");
    stage.git(&[OsStr::new("worktree"), "add".as_ref(), "--quiet".as_ref(), linked.as_ref()]);
    let found = located(&stage, &linked.join("dir")).await;
    assert_eq!(found.top, linked);
    assert_eq!(found.common_dir, stage.repo.join(".git"));
}

#[tokio::test]
async fn a_linked_worktree_of_a_bare_repository_will_do() {
    let stage = Stage::new();
    let (bare, linked) = (stage.base().join("bare.git"), stage.base().join("linked"));
    git(&stage.base(), &["clone", "--quiet", "--bare", "repo", "bare.git"]);
    git(&bare, &[OsStr::new("worktree"), "add".as_ref(), "--quiet".as_ref(), linked.as_ref()]);
    let found = located(&stage, &linked).await;
    assert_eq!((found.top.clone(), found.common_dir.clone()), (linked, bare));
    let created = stage.worktrees.create(stage.request(found)).await.unwrap();
    assert_eq!(fs::read_to_string(created.path.join("a.txt")).unwrap(), "one\n");
}

#[tokio::test]
async fn a_directory_without_a_repository_hints_at_git_init() {
    let stage = Stage::new();
    let plain = stage.base().join("plain dir");
    fs::create_dir(&plain).unwrap();
    let error = refused(&stage, &plain).await;
    assert_eq!(error.kind, WorktreeErrorKind::NotARepo);
    assert!(error.message.contains("plain dir"));
    assert_eq!(error.hint.unwrap(), format!("git init '{}'", plain.display()));
}

#[tokio::test]
async fn a_path_that_is_nothing_or_a_file_is_named() {
    let stage = Stage::new();
    for path in ["nowhere", "a.txt"] {
        let error = refused(&stage, &stage.repo.join(path)).await;
        assert_eq!(error.kind, WorktreeErrorKind::NotARepo);
        assert!(error.message.contains(path), "{error}");
        assert!(error.hint.is_some());
    }
}

#[tokio::test]
async fn a_bare_repository_is_refused_as_such() {
    let stage = Stage::with(&["init", "--quiet", "--bare"], &[]);
    let error = refused(&stage, &stage.repo).await;
    assert_eq!(error.kind, WorktreeErrorKind::Bare);
    assert!(error.hint.unwrap().starts_with("git clone"));
}

#[tokio::test]
async fn the_inside_of_a_git_directory_is_no_checkout() {
    let stage = Stage::new();
    for path in [".git", ".git/refs"] {
        let error = refused(&stage, &stage.repo.join(path)).await;
        assert_eq!(error.kind, WorktreeErrorKind::NotARepo, "{error}");
        assert!(error.message.contains("inside a git directory"), "{error}");
    }
}

#[tokio::test]
async fn a_repository_without_a_commit_says_how_to_make_one() {
    let formats: [&[&str]; 2] = [&[], &["--object-format=sha256"]];
    for format in formats {
        let stage = Stage::with(&[&["init", "--quiet"], format].concat(), &[]);
        let error = refused(&stage, &stage.repo).await;
        assert_eq!(error.kind, WorktreeErrorKind::NoCommit);
        assert!(error.hint.unwrap().contains("commit --allow-empty"));
    }
}

#[tokio::test]
async fn what_libgit2_cannot_open_is_found_by_the_program_and_refused_by_name_without_it() {
    let stage = Stage::with(&["init", "--quiet", "--object-format=sha256"], &[]);
    stage.first_commit();
    let found = located(&stage, &stage.repo.join("dir")).await;
    assert_eq!((found.top, found.subdir), (stage.repo.clone(), "dir".into()));
    assert_eq!(found.common_dir, stage.repo.join(".git"));
    let stage = stage.options(|options| options.path = None);
    let error = refused(&stage, &stage.repo).await;
    assert!(matches!(error.kind, WorktreeErrorKind::Unsupported(_)), "{error:?}");
}
