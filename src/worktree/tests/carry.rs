//! Uncommitted changes that come along.

use super::*;

/// Staged, unstaged and untracked changes of every kind.
fn change_everything(stage: &Stage) {
    for name in
        ["kept", "edited", "staged", "both", "removed", "removed and staged", "mode", "to-link", "to-dir"]
    {
        stage.write(name, "before\n");
    }
    stage.write("to-file/inner", "before\n");
    stage.commit("things to change");
    let path = |name: &str| stage.repo.join(name);
    stage.write("edited", "edited\n");
    stage.write("staged", "staged\n");
    stage.write("both", "staged part\n");
    stage.write("new and staged", "new\n");
    stage.git(&["add", "staged", "both", "new and staged"]);
    stage.write("both", "staged part\nunstaged part\n");
    fs::remove_file(path("removed")).unwrap();
    stage.git(&["rm", "--quiet", "removed and staged"]);
    fs::set_permissions(path("mode"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    fs::remove_file(path("to-link")).unwrap();
    std::os::unix::fs::symlink("/nowhere", path("to-link")).unwrap();
    fs::remove_file(path("to-dir")).unwrap();
    stage.write("to-dir/inner", "after\n");
    fs::remove_dir_all(path("to-file")).unwrap();
    stage.write("to-file", "after\n");
    stage.write("untracked/deep/naïve\nname", "untracked\n");
    stage.write("secret.ignored", "not carried\n");
}

/// Files as git would see them: no git directory, nothing ignored.
fn seen(top: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = files(top);
    all.retain(|path, _| !path.starts_with(".git") && path.extension() != Some(OsStr::new("ignored")));
    all
}

fn staged(top: &Path) -> String {
    git(top, &["diff", "--cached", "--raw", "--no-abbrev", "--no-renames"])
}

async fn carried(stage: &Stage, change: impl FnOnce(&mut CreateRequest)) -> Result<Created, WorktreeError> {
    stage
        .create(|request| {
            request.carry_changes = true;
            change(request);
        })
        .await
}

/// The worktree has what the checkout has, the checkout is as it was, and all of it can go.
async fn comes_along(stage: &Stage) {
    // So that `git status` in this test has no times left to write.
    let expected = status(&stage.repo);
    let before = stage.state();
    let index = fs::read(stage.repo.join(".git/index")).unwrap();
    let created = carried(stage, |_| {}).await.unwrap();
    assert_eq!(fs::read(stage.repo.join(".git/index")).unwrap(), index);
    assert_eq!(seen(&created.path), seen(&stage.repo));
    assert!(!created.path.join("secret.ignored").exists());
    assert_eq!(staged(&created.path), staged(&stage.repo));
    assert_eq!(status(&created.path), expected);
    assert_eq!(git(&created.path, &["rev-parse", "HEAD"]), created.base_commit);
    assert_eq!(stage.worktrees.undo_create(&created).await.unwrap().kept, Vec::<String>::new());
    assert_eq!(stage.state(), before);
}

#[tokio::test]
async fn every_kind_of_change_comes_along_and_the_checkout_is_not_touched() {
    let stage = Stage::new();
    change_everything(&stage);
    comes_along(&stage).await;
}

#[tokio::test]
async fn every_kind_of_change_comes_along_by_the_program_too() {
    let stage = Stage::with(&["init", "--quiet", "--object-format=sha256"], &[]);
    stage.first_commit();
    change_everything(&stage);
    comes_along(&stage).await;
}

#[tokio::test]
async fn a_filtered_file_is_carried_as_it_lies_on_the_disk() {
    let stage = Stage::new();
    stage.git(&["config", "filter.shout.smudge", "tr a-z A-Z"]);
    stage.git(&["config", "filter.shout.clean", "tr A-Z a-z"]);
    stage.write(".gitattributes", "*.loud filter=shout\n");
    stage.write("x.loud", "HELLO\n");
    stage.commit("filtered");
    stage.write("x.loud", "HELLO AGAIN\n");
    comes_along(&stage).await;
}

#[tokio::test]
async fn what_a_sparse_checkout_does_not_show_is_not_taken_for_deleted() {
    let stage = Stage::new();
    stage.write("other/c.txt", "c\n");
    stage.commit("more");
    stage.git(&["sparse-checkout", "set", "other"]);
    stage.write("other/c.txt", "changed\n");
    stage.write("other/untracked", "new\n");
    comes_along(&stage).await;
}

#[tokio::test]
async fn changes_of_a_linked_worktree_come_from_there() {
    let stage = Stage::new();
    let linked = stage.base().join("linked");
    stage.git(&[OsStr::new("worktree"), "add".as_ref(), "--quiet".as_ref(), linked.as_ref()]);
    fs::write(linked.join("a.txt"), "staged\n").unwrap();
    git(&linked, &["add", "a.txt"]);
    stage.write("a.txt", "of the main checkout\n");
    let located = stage.worktrees.locate(&linked).await.unwrap();
    let request = CreateRequest { carry_changes: true, ..stage.request(located) };
    let created = stage.worktrees.create(request).await.unwrap();
    assert_eq!(status(&created.path), ["M  a.txt"]);
    assert_eq!(fs::read_to_string(created.path.join("a.txt")).unwrap(), "staged\n");
}

#[tokio::test]
async fn a_clean_checkout_carries_nothing() {
    let stage = Stage::new();
    let created = carried(&stage, |_| {}).await.unwrap();
    assert!(status(&created.path).is_empty());
}

#[tokio::test]
async fn without_the_wish_nothing_comes_along() {
    let stage = Stage::new();
    stage.write("a.txt", "changed\n");
    let created = stage.create(|_| {}).await.unwrap();
    assert_eq!(fs::read_to_string(created.path.join("a.txt")).unwrap(), "one\n");
}

#[tokio::test]
async fn changes_are_merged_onto_another_base() {
    let stage = Stage::new();
    stage.write("long", "1\n2\n3\n4\n5\n6\n7\n8\n9\n");
    let old = stage.commit("long");
    stage.write("long", "one\n2\n3\n4\n5\n6\n7\n8\n9\n");
    stage.commit("on main only");
    stage.write("long", "one\n2\n3\n4\n5\n6\n7\n8\nnine\n");
    stage.write("staged", "staged\n");
    stage.git(&["add", "staged"]);
    fs::remove_file(stage.repo.join("dir/b.txt")).unwrap();
    stage.write("untracked", "untracked\n");
    let (before, expected) = (status(&stage.repo), status(&stage.repo));
    let created = carried(&stage, |request| request.base = Some(old.clone())).await.unwrap();
    assert_eq!(created.base_commit, old);
    assert_eq!(fs::read_to_string(created.path.join("long")).unwrap(), "1\n2\n3\n4\n5\n6\n7\n8\nnine\n");
    assert_eq!(status(&created.path), expected);
    assert_eq!(status(&stage.repo), before);
}

#[tokio::test]
async fn changes_that_conflict_with_the_base_are_refused_with_the_files() {
    let stage = Stage::new();
    let old = stage.git(&["rev-parse", "HEAD"]);
    stage.write("a.txt", "two\n");
    stage.commit("second");
    stage.write("a.txt", "three\n");
    stage
        .refuses(WorktreeErrorKind::Carry, "`a.txt`", |request| {
            request.carry_changes = true;
            request.base = Some(old);
        })
        .await;
}

#[tokio::test]
async fn unresolved_conflicts_in_the_checkout_are_refused_with_the_files() {
    let formats: [&[&str]; 2] = [&[], &["--object-format=sha256"]];
    for format in formats {
        let stage = Stage::with(&[&["init", "--quiet", "--initial-branch=main"], format].concat(), &[]);
        stage.first_commit();
        stage.git(&["checkout", "--quiet", "-b", "other"]);
        stage.write("a.txt", "theirs\n");
        stage.commit("theirs");
        stage.git(&["checkout", "--quiet", "main"]);
        stage.write("a.txt", "ours\n");
        stage.commit("ours");
        assert!(!try_git(&stage.repo, &["merge", "other"]).status.success());
        stage.refuses(WorktreeErrorKind::Carry, "`a.txt`", |request| request.carry_changes = true).await;
        stage.create(|_| {}).await.unwrap();
    }
}

#[tokio::test]
async fn a_repository_inside_the_checkout_stays_behind_with_a_notice() {
    let formats: [&[&str]; 2] = [&[], &["--object-format=sha256"]];
    for format in formats {
        let stage = Stage::with(&[&["init", "--quiet"], format].concat(), &[]);
        stage.first_commit();
        git(&stage.repo, &["init", "--quiet", "nested"]);
        stage.write("nested/file", "x");
        git(&stage.repo.join("nested"), &["add", "--all"]);
        git(&stage.repo.join("nested"), &["commit", "--quiet", "-m", "nested"]);
        let created = carried(&stage, |_| {}).await.unwrap();
        assert!(!created.path.join("nested").exists());
        assert!(created.notices.iter().any(|text| text.contains("`nested`")), "{:?}", created.notices);
    }
}

#[tokio::test]
async fn an_intention_to_add_comes_along_as_an_untracked_file() {
    let stage = Stage::new();
    stage.write("intended", "text\n");
    stage.git(&["add", "--intent-to-add", "intended"]);
    let created = carried(&stage, |_| {}).await.unwrap();
    assert_eq!(status(&created.path), ["?? intended"]);
}

#[tokio::test]
async fn what_a_killed_swap_left_in_the_checkout_stays_there() {
    for format in super::changes::FORMATS {
        let stage = Stage::with(&[&["init", "--quiet"][..], format].concat(), &[]);
        stage.first_commit();
        stage.write("notes", "mine\n");
        stage.write(".hob-swap-Ab12/new-0", "what was there\n");
        let created = stage.create(|request| request.carry_changes = true).await.unwrap();
        assert_eq!(status(&created.path), ["?? notes"], "{format:?}");
    }
}
