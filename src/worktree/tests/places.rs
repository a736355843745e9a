//! What is recorded of a worktree, and is not so: then nothing is judged, and nothing removed.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::time::Duration;

use hob_actors::worktree::{Preflight, ReasonKind, Verdict};

use super::changes::Desk;
use super::*;
use crate::worktree::PreflightAsk;

async fn judged(desk: &Desk, known: Known) -> Preflight {
    let (disposable, live) = (Vec::new(), Vec::new());
    let ask = PreflightAsk { known, disposable, timeout: Duration::from_secs(60), live };
    desk.stage.worktrees.preflight(ask).await
}

/// The record, of another directory.
fn of(desk: &Desk, path: PathBuf) -> Known {
    let at = fs::metadata(&path).unwrap();
    let identity = Identity { device: at.dev(), inode: at.ino(), birth: None, ..desk.known.identity.clone() };
    Known { path, identity, ..desk.known.clone() }
}

#[tokio::test]
async fn a_record_that_leads_elsewhere_is_foreign_and_is_removed_by_nobody() {
    let desk = Desk::set().await;
    assert_eq!(judged(&desk, desk.known.clone()).await.verdict(), Verdict::Clean, "as it was made");

    let root = desk.stage.base().join("worktrees");
    let outside = desk.stage.base().join("outside");
    fs::create_dir(&outside).unwrap();
    symlink(&desk.known.path, root.join("w-link")).unwrap();
    let link_to_root = desk.stage.base().join("also");
    symlink(&root, &link_to_root).unwrap();
    let cases = [
        ("outside the root", outside),
        ("the main checkout", desk.stage.repo.clone()),
        ("the root itself", root.clone()),
        ("out of the root and back", root.join("../worktrees/w-test")),
        ("above the root", root.join("..")),
        ("a link in the root", root.join("w-link")),
        ("through a link to the root", link_to_root.join("w-test")),
    ];
    for (name, path) in cases {
        let found = judged(&desk, of(&desk, path.clone())).await;
        let kinds: Vec<_> = found.reasons.iter().map(|reason| reason.kind).collect();
        assert_eq!(kinds, [ReasonKind::Foreign], "{name}: {found:?}");
        let before = files(&desk.stage.base());
        desk.stage.worktrees.salvage(&of(&desk, path), &[]).await.expect_err(name);
        assert_eq!(files(&desk.stage.base()), before, "{name}");
    }
}

#[tokio::test]
async fn the_main_checkout_is_foreign_even_where_worktrees_are_made_beside_it() {
    let desk = Desk::set().await;
    let beside = Worktrees::new(desk.stage.base(), Arc::new(Vec::new));
    let known = of(&desk, desk.stage.repo.clone());
    let ask =
        PreflightAsk { known, disposable: Vec::new(), timeout: Duration::from_secs(60), live: Vec::new() };
    let found = beside.preflight(ask).await;
    assert_eq!(found.reasons[0].kind, ReasonKind::Foreign, "{found:?}");
    assert!(found.reasons[0].detail.contains("repository of its own"), "{found:?}");
}
