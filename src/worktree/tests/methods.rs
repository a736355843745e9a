//! Repositories that libgit2 alone cannot serve, as ordinary cases.

use super::*;

/// Makes a repository special.
type Prepare = fn(&Stage);

/// A filter driver that upper-cases on the way out and back.
fn shouting(stage: &Stage) {
    stage.git(&["config", "filter.shout.smudge", "tr a-z A-Z"]);
    stage.git(&["config", "filter.shout.clean", "tr A-Z a-z"]);
    stage.write(".gitattributes", "*.loud filter=shout\n");
    stage.write("x.loud", "hello\n");
    stage.commit("filtered");
}

#[tokio::test]
async fn a_sha256_repository_gets_one() {
    let stage = Stage::with(&["init", "--quiet", "--object-format=sha256"], &[]);
    stage.first_commit();
    let before = stage.state();
    let created = stage.create(|_| {}).await.unwrap();
    assert_eq!(created.base_commit.len(), 64);
    assert_eq!(created.base_commit, stage.git(&["rev-parse", "HEAD"]));
    assert_eq!(git(&created.path, &["symbolic-ref", "HEAD"]), "refs/heads/hob/w-test");
    assert!(status(&created.path).is_empty());
    assert!(stage.git(&["worktree", "list", "--porcelain"]).contains(LOCK_REASON));
    stage.refuses(WorktreeErrorKind::BadBase, "nope", |r| r.base = Some("nope".into())).await;
    assert!(stage.worktrees.undo_create(&created).await.unwrap().kept.is_empty());
    assert_eq!(stage.state(), before);
    assert!(stage.made().is_empty());
}

#[tokio::test]
async fn a_reftable_repository_gets_one() {
    let here = tempfile::tempdir().unwrap();
    if !try_git(here.path(), &["init", "--quiet", "--ref-format=reftable", "x"]).status.success() {
        eprintln!("skipped: this git has no reftable");
        return;
    }
    let stage = Stage::with(&["init", "--quiet", "--ref-format=reftable", "--initial-branch=main"], &[]);
    stage.first_commit();
    let created = stage.create(|_| {}).await.unwrap();
    assert_eq!(git(&created.path, &["symbolic-ref", "HEAD"]), "refs/heads/hob/w-test");
    assert!(status(&created.path).is_empty());
    stage.git(&["branch", "hob/w-other"]);
    stage.refuses(WorktreeErrorKind::BranchTaken, "hob/w-other", |r| r.id = "w-other".into()).await;
    assert!(stage.worktrees.undo_create(&created).await.unwrap().kept.is_empty());
    assert_eq!(
        stage.git(&["for-each-ref", "--format=%(refname)"]),
        "refs/heads/hob/w-other\nrefs/heads/main"
    );
}

#[tokio::test]
async fn a_filter_driver_does_its_work() {
    let stage = Stage::new();
    shouting(&stage);
    let created = stage.create(|_| {}).await.unwrap();
    assert_eq!(fs::read_to_string(created.path.join("x.loud")).unwrap(), "HELLO\n");
    assert!(status(&created.path).is_empty());
}

#[tokio::test]
async fn a_filter_driver_is_used_as_it_was_when_the_repository_was_first_seen() {
    let stage = Stage::new();
    shouting(&stage);
    stage.create(|_| {}).await.unwrap();
    let proof = stage.base().join("an agent's program ran");
    stage.git(&["config", "filter.shout.smudge", &format!("touch '{}'; cat", proof.display())]);
    let created = stage.create(|request| request.id = "w-later".into()).await.unwrap();
    assert_eq!(fs::read_to_string(created.path.join("x.loud")).unwrap(), "HELLO\n");
    assert!(!proof.exists());
    assert!(created.notices[0].contains("filter.shout.smudge"), "{:?}", created.notices);
}

#[tokio::test]
async fn a_filter_driver_that_appeared_later_is_refused_and_can_be_accepted() {
    let stage = Stage::new();
    stage.create(|_| {}).await.unwrap();
    shouting(&stage);
    let unsupported = WorktreeErrorKind::Unsupported("the filter driver `shout`".into());
    let error = stage.refuses(unsupported, "filter.shout.", |r| r.id = "w-later".into()).await;
    let hint = error.hint.unwrap();
    fs::remove_file(hint.strip_prefix("rm ").unwrap()).unwrap();
    let created = stage.create(|request| request.id = "w-later".into()).await.unwrap();
    assert_eq!(fs::read_to_string(created.path.join("x.loud")).unwrap(), "HELLO\n");
}

#[tokio::test]
async fn an_attribute_whose_driver_nobody_configured_needs_no_program() {
    let stage = Stage::new().options(|options| options.path = None);
    stage.write(".gitattributes", "*.bin filter=nobody-has-this\n");
    stage.write("x.bin", "as it is");
    stage.commit("attributes");
    let created = stage.create(|_| {}).await.unwrap();
    assert_eq!(fs::read_to_string(created.path.join("x.bin")).unwrap(), "as it is");
}

#[tokio::test]
async fn a_required_filter_that_fails_leaves_nothing_behind() {
    let stage = Stage::new();
    shouting(&stage);
    stage.git(&["config", "filter.shout.smudge", "false"]);
    stage.git(&["config", "filter.shout.required", "true"]);
    let kind = WorktreeErrorKind::Unsupported("the filter `shout`".into());
    stage.refuses(kind, "x.loud", |_| {}).await;
}

#[tokio::test]
async fn a_working_tree_encoding_is_honoured() {
    let stage = Stage::new();
    stage.write(".gitattributes", "*.utf16 text working-tree-encoding=UTF-16LE\n");
    stage.write("x.utf16", b"h\0i\0\n\0");
    stage.commit("encoded");
    let created = stage.create(|_| {}).await.unwrap();
    assert_eq!(fs::read(created.path.join("x.utf16")).unwrap(), b"h\0i\0\n\0");
}

#[tokio::test]
async fn a_sparse_checkout_stays_sparse() {
    let stage = Stage::new();
    stage.write("other/c.txt", "c\n");
    stage.commit("more");
    stage.git(&["sparse-checkout", "set", "other"]);
    assert!(!stage.repo.join("dir").exists());
    let created = stage.create(|_| {}).await.unwrap();
    assert!(created.path.join("other/c.txt").exists());
    assert!(!created.path.join("dir").exists());
    assert!(status(&created.path).is_empty());
}

#[tokio::test]
async fn a_partial_clone_fetches_what_is_missing() {
    let stage = Stage::new();
    stage.write("big.txt", "first version\n");
    let old = stage.commit("big");
    stage.write("big.txt", "second version\n");
    stage.commit("bigger");
    stage.git(&["config", "uploadpack.allowFilter", "true"]);
    stage.git(&["config", "uploadpack.allowAnySHA1InWant", "true"]);
    let url = format!("file://{}", stage.repo.display());
    let clone = stage.base().join("clone");
    git(&stage.base(), &["clone", "--quiet", "--filter=blob:none", &url, "clone"]);
    let located = stage.worktrees.locate(&clone).await.unwrap();
    let request = CreateRequest { base: Some(old), ..stage.request(located) };
    let created = stage.worktrees.create(request).await.unwrap();
    assert_eq!(fs::read_to_string(created.path.join("big.txt")).unwrap(), "first version\n");
    assert!(status(&created.path).is_empty());
}

#[tokio::test]
async fn a_promise_that_appeared_later_fetches_nothing() {
    let stage = Stage::new();
    stage.create(|_| {}).await.unwrap();
    let proof = stage.base().join("an agent's program ran");
    let program = format!("touch '{}'; git-upload-pack", proof.display());
    stage.git(&["config", "remote.evil.url", "file:///nowhere"]);
    stage.git(&["config", "remote.evil.uploadpack", &program]);
    stage.git(&["config", "core.repositoryFormatVersion", "1"]);
    stage.git(&["config", "extensions.partialClone", "evil"]);
    let kind = WorktreeErrorKind::Unsupported("a partial clone".into());
    stage.refuses(kind, "not trusted", |request| request.id = "w-later".into()).await;
    assert!(!proof.exists());
}

#[tokio::test]
async fn without_the_program_each_is_refused_by_name() {
    let sha256 = Stage::with(&["init", "--quiet", "--object-format=sha256"], &[]);
    sha256.first_commit();
    let located = sha256.worktrees.locate(&sha256.repo).await.unwrap();
    let sha256 = sha256.options(|options| options.path = None);
    let error = sha256.worktrees.create(sha256.request(located)).await.expect_err("a refusal");
    assert!(matches!(&error.kind, WorktreeErrorKind::Unsupported(_)), "{error:?}");
    let cases: [(&str, Prepare); 3] = [
        ("a sparse checkout", |stage| drop(stage.git(&["sparse-checkout", "set", "dir"]))),
        ("the filter driver `shout`", shouting),
        ("the attribute `working-tree-encoding`", |stage| {
            stage.write(".gitattributes", "* working-tree-encoding=UTF-8\n");
            stage.commit("attributes");
        }),
    ];
    for (what, prepare) in cases {
        let stage = Stage::new().options(|options| options.path = None);
        prepare(&stage);
        stage.refuses(WorktreeErrorKind::Unsupported(what.into()), what, |_| {}).await;
    }
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "what writes the program must not be this process")]
async fn a_program_that_is_too_old_is_named_with_its_version() {
    let stage = Stage::new();
    stage.git(&["sparse-checkout", "set", "dir"]);
    let bin = stage.base().join("bin");
    fs::create_dir(&bin).unwrap();
    // By another process: what one has open for writing while a neighbour forks cannot be executed.
    let script = "printf '#!/bin/sh\\necho git version 2.20.1\\n' > git && chmod 755 git";
    let written = std::process::Command::new("sh").args(["-c", script]).current_dir(&bin).status();
    assert!(written.unwrap().success());
    let stage = stage.options(|options| options.path = Some(bin.into_os_string()));
    let kind = WorktreeErrorKind::Unsupported("a sparse checkout".into());
    stage.refuses(kind, "2.20.1", |_| {}).await;
}
