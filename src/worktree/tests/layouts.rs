//! Wherever a repository keeps its git directory: in a worktree of it git finds the worktree, and what
//! an agent lets git clear away there is the worktree's alone.

use std::fs;

use super::*;

/// Makes a worktree of a checkout, and plays an agent that has git put everything away in it.
async fn is_own(stage: &Stage, top: &Path) {
    let located = stage.worktrees.locate(top).await.unwrap();
    let common_dir = located.common_dir.clone();
    let created = stage.create(|request| request.located = located).await.unwrap();
    let ask = |what: &str| fs::canonicalize(git(&created.path, &["rev-parse", what])).unwrap();
    assert_eq!(ask("--show-toplevel"), created.path);
    assert_eq!(ask("--absolute-git-dir"), common_dir.join("worktrees/w-test"));
    let head = git(&created.path, &["rev-parse", "HEAD"]);
    fs::write(created.path.join("a.txt"), "changed\n").unwrap();
    fs::write(created.path.join("new"), "new\n").unwrap();
    assert_eq!(status(&created.path), [" M a.txt", "?? new"]);
    let before = files(&top.join("dir"));
    git(&created.path, &["stash", "--quiet", "--include-untracked"]);
    assert_eq!(status(&created.path), [] as [&str; 0]);
    assert!(common_dir.join("HEAD").is_file() && common_dir.join("objects").is_dir());
    assert_eq!(git(&common_dir, &["rev-parse", "hob/w-test"]), head);
    assert_eq!(files(&top.join("dir")), before);
    assert_eq!(git(top, &["rev-parse", "HEAD"]), head, "the checkout is found as before");
}

/// A checkout of a submodule.
fn submodule(stage: &Stage) -> PathBuf {
    let library = Stage::new();
    let url = library.repo.to_str().unwrap().to_owned();
    stage.git(&["submodule", "--quiet", "add", &url, "sm"]);
    stage.commit("a submodule");
    stage.repo.join("sm")
}

#[tokio::test]
async fn a_submodules_checkout_has_worktrees_of_its_own() {
    for settings in
        [&[][..], &["extensions.worktreeConfig"], &["extensions.worktreeConfig", "core.sparseCheckout"]]
    {
        let stage = Stage::new();
        let top = submodule(&stage);
        for setting in settings {
            git(&top, &["config", setting, "true"]);
        }
        is_own(&stage, &top).await;
    }
}

#[tokio::test]
async fn a_git_directory_elsewhere_is_no_hindrance() {
    for own_settings in [false, true] {
        let stage = Stage::empty();
        fs::remove_dir_all(&stage.repo).unwrap();
        let elsewhere = stage.base().join("elsewhere");
        let at = format!("--separate-git-dir={}", elsewhere.display());
        git(&stage.base(), &["init", "--quiet", &at, "repo"]);
        stage.first_commit();
        if own_settings {
            stage.git(&["config", "core.worktree", stage.repo.to_str().unwrap()]);
            stage.git(&["config", "extensions.worktreeConfig", "true"]);
        }
        is_own(&stage, &stage.repo).await;
    }
}

#[tokio::test]
async fn a_linked_worktree_of_a_bare_repository_has_worktrees_beside_it() {
    for own_settings in [false, true] {
        let stage = Stage::new();
        git(&stage.base(), &["clone", "--quiet", "--bare", "repo", "bare.git"]);
        let (bare, top) = (stage.base().join("bare.git"), stage.base().join("linked"));
        git(&bare, &["worktree", "add", "--quiet", "-b", "linked", top.to_str().unwrap()]);
        if own_settings {
            git(&bare, &["config", "extensions.worktreeConfig", "true"]);
            // As git leaves it: its own worktrees know better, and the shared settings say that it is bare.
            git(&top, &["config", "--worktree", "core.bare", "false"]);
        }
        is_own(&stage, &top).await;
    }
}

#[tokio::test]
async fn a_repository_in_a_repository_is_the_one_that_is_meant() {
    let stage = Stage::new();
    let inner = stage.repo.join("inner");
    git(&stage.repo, &["init", "--quiet", "inner"]);
    for (name, text) in [("a.txt", "one\n"), ("dir/b.txt", "b\n")] {
        stage.write(Path::new("inner").join(name), text);
    }
    git(&inner, &["add", "."]);
    git(&inner, &["commit", "--quiet", "-m", "inner"]);
    is_own(&stage, &inner).await;
}

#[tokio::test]
async fn a_directory_that_git_takes_for_another_is_refused_by_name() {
    let stage = Stage::new();
    let created = stage.create(|_| ()).await.unwrap();
    let inner = &stage.worktrees.inner;
    let source = Source::open(&stage.repo, &created.common_dir, inner).unwrap();
    let admin = created.common_dir.join("worktrees/w-test");
    let names = |path: PathBuf| crate::worktree::undo::Names {
        path,
        admin: admin.clone(),
        reference: format!("refs/heads/{}", created.branch),
        base: created.base_commit.clone(),
    };
    own_place::settle(&source, &names(created.path.clone())).unwrap();
    // A directory of the checkout, and one of nothing.
    let refused = own_place::settle(&source, &names(stage.repo.join("dir"))).unwrap_err();
    assert!(matches!(refused.kind, WorktreeErrorKind::Unsupported(_)), "{refused:?}");
    assert!(refused.message.contains(&format!("takes `{}` for the top", stage.repo.display())), "{refused}");
    assert!(refused.hint.unwrap().contains("config --list"));
    let lost = own_place::settle(&source, &names(stage.base())).unwrap_err();
    assert!(lost.message.contains("finds no working tree"), "{lost}");
}
