//! What a worktree is like when it was made.

use std::os::unix::ffi::OsStringExt;

use super::*;

#[tokio::test]
async fn it_has_its_own_branch_from_head_and_is_locked_with_our_reason() {
    let stage = Stage::new();
    let before = stage.state();
    let created = stage.create(|_| {}).await.unwrap();
    assert_eq!((created.path.clone(), created.branch.clone()), stage.worktrees.plan("w-test"));
    assert_eq!(created.branch, "hob/w-test");
    assert_eq!(created.base_commit, stage.git(&["rev-parse", "HEAD"]));
    assert_eq!(git(&created.path, &["symbolic-ref", "HEAD"]), "refs/heads/hob/w-test");
    assert_eq!(git(&created.path, &["rev-parse", "HEAD"]), created.base_commit);
    assert!(status(&created.path).is_empty());
    let found = fs::symlink_metadata(&created.path).unwrap();
    assert_eq!((created.identity.device, created.identity.inode), (found.dev(), found.ino()));
    let list = stage.git(&["worktree", "list", "--porcelain"]);
    assert!(list.contains(&format!("locked {LOCK_REASON}")), "{list}");
    assert!(created.notices.is_empty() && created.copied.is_empty());
    // All that is new in the repository is ours.
    let mut after = stage.state();
    after.retain(|path, _| {
        let path = path.to_str().unwrap();
        !path.starts_with(".git/worktrees")
            && !path.starts_with(".git/refs/heads/hob")
            && !path.starts_with(".git/logs/refs/heads/hob")
            && !path.starts_with(".git/refs/hob")
    });
    assert_eq!(after, before);
}

#[tokio::test]
async fn it_has_no_upstream_even_where_the_configuration_asks_for_one() {
    let stage = Stage::new();
    stage.git(&["config", "branch.autoSetupMerge", "always"]);
    for id in ["w-one", "w-two"] {
        // Both methods.
        if id == "w-two" {
            stage.git(&["config", "core.sparseCheckout", "true"]);
        }
        let created = stage.create(|request| request.id = id.into()).await.unwrap();
        let upstream = try_git(&created.path, &["rev-parse", "@{upstream}"]);
        assert!(!upstream.status.success());
    }
}

#[tokio::test]
async fn the_base_may_be_a_branch_a_tag_or_a_commit() {
    let stage = Stage::new();
    let first = stage.git(&["rev-parse", "HEAD"]);
    stage.git(&["tag", "-a", "v1", "-m", "annotated"]);
    stage.git(&["branch", "old"]);
    stage.write("a.txt", "two\n");
    stage.commit("second");
    for (n, base) in ["v1", "old", &first, &first[..10], "HEAD~1"].into_iter().enumerate() {
        let created = stage.create(|request| {
            request.id = format!("w-{n}");
            request.base = Some(base.into());
        });
        let created = created.await.unwrap();
        assert_eq!(created.base_commit, first, "{base}");
        assert_eq!(fs::read_to_string(created.path.join("a.txt")).unwrap(), "one\n");
    }
}

#[tokio::test]
async fn a_detached_head_is_a_base_too() {
    let stage = Stage::new();
    stage.git(&["checkout", "--quiet", "--detach"]);
    let created = stage.create(|_| {}).await.unwrap();
    assert_eq!(created.base_commit, stage.git(&["rev-parse", "HEAD"]));
}

#[tokio::test]
async fn a_linked_worktree_gives_its_own_head() {
    let stage = Stage::new();
    let linked = stage.base().join("linked");
    stage.git(&[OsStr::new("worktree"), "add".as_ref(), "--quiet".as_ref(), linked.as_ref()]);
    fs::write(linked.join("a.txt"), "linked\n").unwrap();
    git(&linked, &["commit", "--quiet", "-am", "linked"]);
    let located = stage.worktrees.locate(&linked).await.unwrap();
    let created = stage.worktrees.create(stage.request(located)).await.unwrap();
    assert_eq!(created.base_commit, git(&linked, &["rev-parse", "HEAD"]));
    assert_eq!(created.common_dir, stage.repo.join(".git"));
    assert!(stage.repo.join(".git/worktrees/w-test").is_dir());
}

#[tokio::test]
async fn odd_names_links_and_executable_files_arrive_as_they_are() {
    let stage = Stage::new();
    let odd = std::ffi::OsString::from_vec(b"not utf-8 \xff".to_vec());
    for name in [OsStr::new("naïve – 日本.txt"), OsStr::new("new\nline"), OsStr::new("-dash \"q\""), &odd]
    {
        stage.write(Path::new("odd").join(name), "x");
    }
    std::os::unix::fs::symlink("../a.txt", stage.repo.join("odd/link")).unwrap();
    std::os::unix::fs::symlink("/nowhere/at all", stage.repo.join("odd/dangling")).unwrap();
    stage.write("run.sh", "#!/bin/sh\n");
    stage.git(&["config", "core.fileMode", "true"]);
    stage.git(&["add", "--all"]);
    stage.git(&["update-index", "--chmod=+x", "run.sh"]);
    stage.git(&["commit", "--quiet", "-m", "odd"]);
    stage.git(&["checkout", "--quiet", "--force", "HEAD"]);
    let created = stage.create(|_| {}).await.unwrap();
    let strip = |top: &Path| -> BTreeMap<_, _> {
        files(top).into_iter().filter(|(path, _)| !path.starts_with(".git")).collect()
    };
    assert_eq!(strip(&created.path), strip(&stage.repo));
    assert!(fs::metadata(created.path.join("run.sh")).unwrap().mode() & 0o100 != 0);
    assert!(status(&created.path).is_empty());
}

#[tokio::test]
async fn submodules_are_left_alone_and_a_notice_says_so() {
    let stage = Stage::new();
    git(&stage.base(), &["clone", "--quiet", "repo", "lib"]);
    stage.git(&["submodule", "--quiet", "add", "../lib", "vendor/lib"]);
    stage.commit("a submodule");
    let created = stage.create(|_| {}).await.unwrap();
    assert_eq!(fs::read_dir(created.path.join("vendor/lib")).unwrap().count(), 0);
    assert_eq!(created.notices.len(), 1);
    assert!(created.notices[0].contains("submodules are not initialised"));
    assert!(created.notices[0].contains("`vendor/lib`"));
}

#[tokio::test]
async fn a_submodule_can_itself_be_the_repository() {
    let stage = Stage::new();
    git(&stage.base(), &["clone", "--quiet", "repo", "lib"]);
    stage.git(&["submodule", "--quiet", "add", "../lib", "vendor/lib"]);
    let located = stage.worktrees.locate(&stage.repo.join("vendor/lib/dir")).await.unwrap();
    assert_eq!(located.top, stage.repo.join("vendor/lib"));
    let created = stage.worktrees.create(stage.request(located)).await.unwrap();
    assert!(status(&created.path).is_empty());
    assert_eq!(fs::read_to_string(created.path.join("a.txt")).unwrap(), "one\n");
}

#[tokio::test]
async fn no_hook_of_the_repository_runs() {
    let stage = Stage::new();
    let proof = stage.base().join("hook ran");
    for hook in ["post-checkout", "reference-transaction", "post-index-change"] {
        let path = stage.repo.join(".git/hooks").join(hook);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\ntouch '{}'\n", proof.display())).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    stage.create(|_| {}).await.unwrap();
    stage.git(&["config", "core.sparseCheckout", "true"]);
    let created = stage.create(|request| request.id = "w-program".into()).await.unwrap();
    assert_eq!(stage.worktrees.undo_create(&created).await.unwrap().kept, Vec::<String>::new());
    assert!(!proof.exists());
}

#[tokio::test]
async fn many_at_once_on_one_repository_all_come_to_be() {
    let stage = Stage::new().options(|options| options.lock_wait = Duration::from_secs(60));
    let located = stage.worktrees.locate(&stage.repo).await.unwrap();
    let jobs = (0..8).map(|n| {
        let request = CreateRequest { id: format!("w-{n}"), ..stage.request(located.clone()) };
        stage.worktrees.create(request)
    });
    for created in futures_util::future::join_all(jobs).await {
        assert!(status(&created.unwrap().path).is_empty());
    }
}
