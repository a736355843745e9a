//! Whose a change is where a file has more than one name, or more than its text changes; and files that
//! git was told not to look at.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::changes::*;
use super::*;

async fn agents_of(desk: &Desk, path: &str) -> (Vec<String>, bool) {
    let pending = desk.pending().await;
    let change = pending.iter().find(|change| change.path == path);
    let change = change.unwrap_or_else(|| panic!("{path} is not pending: {pending:#?}"));
    (change.agents.clone(), change.shared)
}

#[tokio::test]
async fn who_renamed_a_file_has_a_part_in_the_new_one_of_its_old_name() {
    let mut desk = Desk::with(|stage| {
        fs::write(stage.repo.join("text"), numbered(&[])).unwrap();
        stage.commit("a text");
    })
    .await;
    git(&desk.known.path, &["mv", "text", "moved"]);
    desk.look(&["mover"]).await;
    desk.write("text", &numbered(&[(3, "another"), (30, "text")]));
    desk.look(&["writer"]).await;
    let (agents, _) = agents_of(&desk, "text").await;
    assert!(agents.contains(&"mover".to_owned()) && agents.contains(&"writer".to_owned()), "{agents:?}");
}

#[tokio::test]
async fn who_made_a_file_executable_has_a_part_in_it() {
    let mut desk = Desk::set().await;
    fs::set_permissions(desk.known.path.join("a.txt"), fs::Permissions::from_mode(0o755)).unwrap();
    desk.look(&["opener"]).await;
    desk.write("a.txt", "two\n");
    desk.look(&["writer"]).await;
    let (mut agents, _) = agents_of(&desk, "a.txt").await;
    agents.sort();
    assert_eq!(agents, ["opener", "writer"]);
    // In a file whose mode is as it was, nobody but the writer has one.
    desk.write("dir/b.txt", "two\n");
    desk.look(&["writer"]).await;
    assert_eq!(agents_of(&desk, "dir/b.txt").await, (vec!["writer".to_owned()], false));
}

#[tokio::test]
async fn what_git_was_told_to_skip_is_looked_at_where_it_is_there() {
    for format in FORMATS {
        let stage = Stage::with(&[&["init", "--quiet"][..], format].concat(), &[]);
        stage.first_commit();
        let desk = Desk::at(stage).await;
        git(&desk.known.path, &["update-index", "--skip-worktree", "a.txt"]);
        git(&desk.known.path, &["update-index", "--skip-worktree", "dir/b.txt"]);
        desk.write("a.txt", "two\n");
        // As a sparse checkout leaves it.
        fs::remove_file(desk.known.path.join("dir/b.txt")).unwrap();
        let tree = desk.tree().await;
        let shown = |path: &str| desk.stage.git(&["cat-file", "-p", &format!("{tree}:{path}")]);
        assert_eq!((shown("a.txt"), shown("dir/b.txt")), ("two".to_owned(), "b".to_owned()), "{format:?}");
        assert!(git(&desk.known.path, &["ls-files", "-v"]).contains("S a.txt"), "its own index is as it was");
    }
}
