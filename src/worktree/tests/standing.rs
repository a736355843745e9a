//! Worktrees whose file system got another number, whose repository was moved, or whose directory is not
//! what it was.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use hob_actors::worktree::{Preflight, Verdict};

use super::changes::Desk;
use super::*;
use crate::worktree::PreflightAsk;

async fn judged(desk: &Desk, known: &Known) -> Preflight {
    let ask = PreflightAsk {
        known: known.clone(),
        disposable: Vec::new(),
        timeout: Duration::from_secs(60),
        live: Vec::new(),
    };
    desk.stage.worktrees.preflight(ask).await
}

/// What is written down after a boot in which the disks have other numbers.
fn rebooted(known: &Known) -> Known {
    let device = known.identity.device + 1;
    let identity = Identity { device, boot: Some("the boot before".to_owned()), ..known.identity.clone() };
    Known { identity, ..known.clone() }
}

/// What was written down before there were marks.
fn of_before(known: &Known) -> Known {
    let identity = Identity { birth: None, boot: None, mark: None, ..known.identity.clone() };
    Known { identity, ..known.clone() }
}

fn followed(known: &Known, standing: Standing) -> Known {
    match standing {
        Standing::Same => known.clone(),
        Standing::Renewed(identity) => Known { identity, ..known.clone() },
        Standing::Moved { common_dir, top } => Known { common_dir, top, ..known.clone() },
    }
}

#[tokio::test]
async fn another_number_of_the_device_makes_no_other_worktree() {
    let desk = Desk::set().await;
    let known = rebooted(&desk.known);
    assert_eq!(judged(&desk, &known).await.verdict(), Verdict::Clean);
    let standing = desk.stage.worktrees.standing(&known).await.unwrap();
    assert_eq!(followed(&known, standing), desk.known, "it is taken up");
    // Into the trash, another boot, and back.
    let salvaged = desk.stage.worktrees.salvage(&known, &[]).await.unwrap();
    desk.stage.worktrees.to_trash(&known, &salvaged).await.unwrap();
    assert_eq!(desk.stage.worktrees.place(&known).await.unwrap(), Place::InTrash);
    let standing = desk.stage.worktrees.standing(&known).await.unwrap();
    assert_eq!(followed(&known, standing), desk.known, "in the trash, too");
    let restored = desk.stage.worktrees.restore(&known).await.unwrap();
    assert_eq!((restored.from_trash, restored.identity), (true, desk.known.identity.clone()));
}

#[tokio::test]
async fn what_has_no_mark_gets_one_while_device_and_inode_agree() {
    let desk = Desk::set().await;
    let entry = desk.known.admin();
    fs::remove_file(entry.join("hob-mark")).unwrap();
    let known = of_before(&desk.known);
    let late = rebooted(&known);
    desk.stage.worktrees.standing(&late).await.expect_err("nothing says that it is the one");
    assert!(!entry.join("hob-mark").exists(), "and nothing is written");
    let standing = desk.stage.worktrees.standing(&known).await.unwrap();
    let marked = followed(&known, standing);
    assert!(marked.identity.mark.is_some(), "{marked:?}");
    assert_eq!(desk.stage.worktrees.standing(&marked).await.unwrap(), Standing::Same);
    assert_eq!(judged(&desk, &rebooted(&marked)).await.verdict(), Verdict::Clean);
}

#[tokio::test]
async fn what_comes_back_from_its_salvage_has_its_mark() {
    let desk = Desk::set().await;
    let known = &desk.known;
    let salvaged = desk.stage.worktrees.salvage(known, &[]).await.unwrap();
    desk.stage.worktrees.to_trash(known, &salvaged).await.unwrap();
    desk.stage.worktrees.purge(known).await.unwrap();
    let restored = desk.stage.worktrees.restore(known).await.unwrap();
    assert_eq!(restored.identity.mark, known.identity.mark);
    let known = Known { identity: restored.identity, ..known.clone() };
    assert_eq!(judged(&desk, &rebooted(&known)).await.verdict(), Verdict::Clean);
}

#[tokio::test]
async fn a_repository_that_was_renamed_is_found_beside_where_it_was() {
    let desk = Desk::set().await;
    let known = desk.known.clone();
    let to = desk.stage.base().join("renamed");
    fs::create_dir(desk.stage.base().join("aside")).unwrap();
    fs::rename(&desk.stage.repo, &to).unwrap();
    let standing = desk.stage.worktrees.standing(&known).await.unwrap();
    let moved = Standing::Moved { common_dir: to.join(".git"), top: to.clone() };
    assert_eq!(standing, moved);
    let known = followed(&known, standing);
    assert_eq!(git(&known.path, &["status", "--porcelain"]), "");
    assert_eq!(judged(&desk, &known).await.verdict(), Verdict::Clean);
    assert_eq!(desk.stage.worktrees.standing(&known).await.unwrap(), Standing::Same);
}

#[tokio::test]
async fn a_repository_that_was_moved_away_is_found_once_its_owner_said_where_it_is() {
    let desk = Desk::set().await;
    let known = desk.known.clone();
    let to = desk.stage.base().join("else/where");
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::rename(&desk.stage.repo, &to).unwrap();
    let refused = desk.stage.worktrees.standing(&known).await.unwrap_err();
    assert_eq!(refused.kind, WorktreeErrorKind::NotARepo, "{refused:?}");
    let hint = refused.hint.unwrap();
    assert!(hint.contains("worktree repair") && hint.contains(known.path.to_str().unwrap()), "{hint}");
    let words = format!("{:?}", judged(&desk, &known).await);
    assert!(words.contains("worktree repair"), "{words}");

    git(&to, &["worktree", "repair", known.path.to_str().unwrap()]);
    let standing = desk.stage.worktrees.standing(&known).await.unwrap();
    let known = followed(&known, standing);
    assert_eq!((known.top.clone(), known.common_dir.clone()), (to.clone(), to.join(".git")));
    assert_eq!(judged(&desk, &known).await.verdict(), Verdict::Clean);
}

#[tokio::test]
async fn of_two_copies_of_a_repository_none_is_taken_for_the_one() {
    let desk = Desk::set().await;
    let base = desk.stage.base();
    let copy = |to: &str| {
        for (path, _) in files(&desk.stage.repo) {
            let (from, to) = (desk.stage.repo.join(&path), base.join(to).join(&path));
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            if from.is_dir() {
                fs::create_dir_all(&to).unwrap();
            } else {
                fs::copy(from, to).unwrap();
            }
        }
    };
    copy("one");
    copy("two");
    fs::remove_dir_all(&desk.stage.repo).unwrap();
    let refused = desk.stage.worktrees.standing(&desk.known).await.unwrap_err();
    assert_eq!(refused.kind, WorktreeErrorKind::NotARepo, "{refused:?}");
    fs::remove_dir_all(base.join("two")).unwrap();
    let standing = desk.stage.worktrees.standing(&desk.known).await.unwrap();
    assert!(matches!(standing, Standing::Moved { ref top, .. } if *top == base.join("one")), "{standing:?}");
}

#[tokio::test]
async fn what_was_planted_before_a_repository_was_moved_is_not_trusted_after_it() {
    let desk = Desk::set().await;
    // Seen first without the filter.
    desk.stage.git(&["config", "filter.planted.smudge", "touch /nowhere/planted"]);
    let to = desk.stage.base().join("renamed");
    fs::rename(&desk.stage.repo, &to).unwrap();
    let records = desk.stage.worktrees.inner.records();
    for _ in 0..2 {
        let found = crate::worktree::recorded::recorded(&records, &to.join(".git")).unwrap();
        assert_eq!(found.unrecorded.as_deref(), Some("filter.planted.smudge"));
    }
}

#[tokio::test]
async fn another_directory_is_told_whatever_it_looks_like() {
    let desk = Desk::set().await;
    let (path, aside) = (desk.known.path.clone(), desk.stage.base().join("aside"));
    let refuses = async |what: &str| {
        let refused = desk.stage.worktrees.standing(&desk.known).await.unwrap_err();
        assert_eq!(refused.kind, WorktreeErrorKind::Foreign, "{what}: {refused:?}");
    };
    let dot_git = fs::read(path.join(".git")).unwrap();
    fs::rename(&path, &aside).unwrap();
    fs::create_dir(&path).unwrap();
    refuses("a plain directory").await;
    fs::write(path.join(".git"), &dot_git).unwrap();
    refuses("a plain directory with its `.git`").await;
    fs::remove_dir_all(&path).unwrap();
    fs::rename(&aside, &path).unwrap();
    fs::remove_file(path.join(".git")).unwrap();
    refuses("without its `.git`").await;
    fs::write(path.join(".git"), "gitdir: /somewhere/else\n").unwrap();
    refuses("with another `.git`").await;
    fs::write(path.join(".git"), &dot_git).unwrap();
    assert_eq!(desk.stage.worktrees.standing(&desk.known).await.unwrap(), Standing::Same);
    assert_eq!(fs::metadata(&path).unwrap().ino(), desk.known.identity.inode);
}
