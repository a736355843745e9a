//! What is written into a removed worktree after its move into the trash.

use std::fs;
use std::path::{Path, PathBuf};

use super::changes::Desk;
use super::*;

/// Removes a worktree with two files of its own, and says where in the trash it lies.
async fn removed(desk: &Desk) -> PathBuf {
    fs::write(desk.known.path.join("kept"), "as it was\n").unwrap();
    fs::write(desk.known.path.join("changed"), "before\n").unwrap();
    let salvaged = desk.stage.worktrees.salvage(&desk.known, &[]).await.unwrap();
    desk.stage.worktrees.to_trash(&desk.known, &salvaged).await.unwrap();
    desk.stage.base().join("worktrees/.trash/w-test")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[tokio::test]
async fn what_was_written_into_the_trash_is_in_the_salvage_before_the_trash_is_emptied() {
    for is_listed in [true, false] {
        let desk = Desk::set().await;
        let trash = removed(&desk).await;
        if !is_listed {
            // As it was removed before there were lists.
            fs::remove_file(desk.known.common_dir.join("hob-trash/w-test/hob-files")).unwrap();
        }
        // Some kernels give one time to all that happens within some milliseconds.
        tokio::time::sleep(Duration::from_millis(30)).await;
        fs::write(trash.join("changed"), "after\n").unwrap();
        fs::create_dir(trash.join("late")).unwrap();
        fs::write(trash.join("late/new.ignored"), "new\n").unwrap();
        std::os::unix::fs::symlink("kept", trash.join("link")).unwrap();
        fs::remove_file(trash.join("kept")).unwrap();
        let purged = desk.stage.worktrees.purge(&desk.known).await.unwrap();
        assert_eq!(purged.n_late, 3, "listed: {is_listed}");
        assert!(!trash.exists());
        desk.stage.worktrees.restore(&desk.known).await.unwrap();
        let at = |name: &str| desk.known.path.join(name);
        assert_eq!(read(&at("changed")), "after\n", "listed: {is_listed}");
        assert_eq!(read(&at("late/new.ignored")), "new\n");
        assert_eq!(fs::read_link(at("link")).unwrap(), Path::new("kept"));
        assert_eq!(read(&at("kept")), "as it was\n", "what was removed there is in the salvage still");
    }
}

#[tokio::test]
async fn a_trash_that_nobody_wrote_to_adds_nothing_to_the_salvage() {
    let desk = Desk::set().await;
    let trash = removed(&desk).await;
    let name = desk.stage.worktrees.salvage_ref(&desk.known);
    let before = desk.stage.git(&["rev-parse", &name]);
    // Read only.
    read(&trash.join("changed"));
    assert_eq!(desk.stage.worktrees.purge(&desk.known).await.unwrap().n_late, 0);
    assert_eq!(desk.stage.git(&["rev-parse", &name]), before);
}

#[tokio::test]
async fn a_file_in_the_place_of_a_directory_and_the_other_way_round_are_salvaged() {
    let desk = Desk::set().await;
    let trash = removed(&desk).await;
    fs::remove_dir_all(trash.join("dir")).unwrap();
    fs::write(trash.join("dir"), "a file now\n").unwrap();
    fs::remove_file(trash.join("changed")).unwrap();
    fs::create_dir(trash.join("changed")).unwrap();
    fs::write(trash.join("changed/in"), "a directory now\n").unwrap();
    desk.stage.worktrees.purge(&desk.known).await.unwrap();
    desk.stage.worktrees.restore(&desk.known).await.unwrap();
    assert_eq!(read(&desk.known.path.join("dir")), "a file now\n");
    assert_eq!(read(&desk.known.path.join("changed/in")), "a directory now\n");
}

#[tokio::test]
async fn a_trash_that_somebody_works_in_is_kept_until_nobody_does() {
    let desk = Desk::set().await;
    let trash = removed(&desk).await;
    let mut sleeper = sleeper(&trash);
    let refused = desk.stage.worktrees.purge(&desk.known).await.unwrap_err();
    assert!(refused.message.contains("works in what is in the trash"), "{refused}");
    assert_eq!(desk.stage.worktrees.place(&desk.known).await.unwrap(), Place::InTrash);
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    desk.stage.worktrees.purge(&desk.known).await.unwrap();
    assert!(!trash.exists());
}

/// A process that works in a directory.
#[expect(clippy::disallowed_methods, reason = "the tests play a program that is left")]
fn sleeper(at: &Path) -> std::process::Child {
    std::process::Command::new("sleep").arg("60").current_dir(at).spawn().unwrap()
}
