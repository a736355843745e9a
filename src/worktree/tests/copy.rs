//! Untracked files that are copied because somebody named them.

use super::*;

fn copied(created: &Created) -> Vec<&str> {
    created.copied.iter().map(|path| path.to_str().unwrap()).collect()
}

#[tokio::test]
async fn configuration_and_the_repositorys_own_file_name_what_is_copied() {
    let stage = Stage::new().copying(&[".env"]);
    stage.write(".worktreeinclude", "# secrets\n/config/*.ignored\n!config/not.ignored\n");
    stage.commit("patterns");
    for path in [".env", "deep/er/.env", "config/a.ignored", "config/not.ignored", "other/b.ignored"] {
        stage.write(path, path);
    }
    fs::set_permissions(stage.repo.join(".env"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .unwrap();
    let before = stage.state();
    let created = stage.create(|_| {}).await.unwrap();
    assert_eq!(copied(&created), [".env", "config/a.ignored", "deep/er/.env"]);
    assert_eq!(fs::read_to_string(created.path.join("deep/er/.env")).unwrap(), "deep/er/.env");
    assert_eq!(fs::metadata(created.path.join(".env")).unwrap().mode() & 0o777, 0o600);
    assert!(!created.path.join("config/not.ignored").exists());
    assert!(status(&created.path).is_empty());
    assert!(stage.worktrees.undo_create(&created).await.unwrap().kept.is_empty());
    assert_eq!(stage.state(), before);
}

#[tokio::test]
async fn a_tracked_file_is_never_overwritten_nor_brought_back() {
    let stage = Stage::new().copying(&["*.txt"]);
    let old = stage.git(&["rev-parse", "HEAD"]);
    stage.write("later.txt", "tracked on main\n");
    stage.commit("later");
    stage.write("a.txt", "changed by the user\n");
    stage.write("untracked.txt", "untracked\n");
    let created = stage.create(|request| request.base = Some(old)).await.unwrap();
    assert_eq!(copied(&created), ["untracked.txt"]);
    assert_eq!(fs::read_to_string(created.path.join("a.txt")).unwrap(), "one\n");
    assert!(!created.path.join("later.txt").exists());
}

#[tokio::test]
async fn links_out_of_the_checkout_are_not_copied_and_not_followed() {
    let stage = Stage::new().copying(&["*.ignored", "outside"]);
    let outside = stage.base().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret.ignored"), "secret").unwrap();
    let link = |to: &Path, name: &str| std::os::unix::fs::symlink(to, stage.repo.join(name)).unwrap();
    link(&outside, "outside");
    link(&outside.join("secret.ignored"), "absolute.ignored");
    link(Path::new("../outside/secret.ignored"), "dir/../climbing.ignored");
    link(Path::new("dir/inner.ignored"), "inside.ignored");
    stage.write("dir/inner.ignored", "inner");
    let created = stage.create(|_| {}).await.unwrap();
    assert_eq!(copied(&created), ["dir/inner.ignored", "inside.ignored"]);
    assert_eq!(fs::read_link(created.path.join("inside.ignored")).unwrap(), Path::new("dir/inner.ignored"));
    let notice = created.notices.join("\n");
    for name in ["`absolute.ignored`", "`climbing.ignored`", "`outside`"] {
        assert!(notice.contains(name), "{notice}");
    }
}

#[tokio::test]
async fn nothing_is_written_through_a_link_that_the_base_has() {
    let stage = Stage::new();
    let outside = stage.base().join("outside");
    fs::create_dir(&outside).unwrap();
    std::os::unix::fs::symlink(&outside, stage.repo.join("place")).unwrap();
    let old = stage.commit("a link");
    fs::remove_file(stage.repo.join("place")).unwrap();
    stage.commit("no link");
    stage.write("place/x.ignored", "x");
    let stage = stage.copying(&["*.ignored"]);
    let created = stage.create(|request| request.base = Some(old)).await.unwrap();
    assert!(created.copied.is_empty());
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    assert!(created.notices[0].contains("place/x.ignored"));
}

#[tokio::test]
async fn heavy_directories_are_only_entered_where_they_are_named() {
    for (pattern, found) in [("*.ignored", vec![]), ("node_modules/", vec!["node_modules/x/y.ignored"])] {
        let stage = Stage::new().copying(&[pattern]);
        stage.write("node_modules/x/y.ignored", "y");
        let created = stage.create(|_| {}).await.unwrap();
        assert_eq!(copied(&created), found, "{pattern}");
    }
}

#[tokio::test]
async fn repositories_inside_the_checkout_are_not_entered() {
    let stage = Stage::new().copying(&["*.ignored", ".git/config"]);
    git(&stage.repo, &["init", "--quiet", "nested"]);
    stage.write("nested/x.ignored", "x");
    let created = stage.create(|_| {}).await.unwrap();
    assert!(created.copied.is_empty());
}

#[tokio::test]
async fn a_pattern_that_means_nothing_is_told() {
    let stage = Stage::new().copying(&["[z-a]", ".env"]);
    stage.write(".env", "x");
    let created = stage.create(|_| {}).await.unwrap();
    assert_eq!(copied(&created), [".env"]);
    assert!(created.notices[0].contains("`[z-a]`"));
}

#[tokio::test]
async fn files_are_copied_in_a_repository_that_only_the_program_reads() {
    let stage = Stage::with(&["init", "--quiet", "--object-format=sha256"], &[".env", "*.txt"]);
    stage.first_commit();
    stage.write(".env", "x");
    let created = stage.create(|_| {}).await.unwrap();
    assert_eq!(copied(&created), [".env"]);
}
