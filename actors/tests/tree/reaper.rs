//! The reaper at work: two passes, its clocks, people who ask, and its own death.

use std::time::Duration;

use hob_actors::fake::{Script, World};
use hob_actors::ports::{Candidate, Preflight, Reason, Stand};
use hob_actors::tree::{Action, ByHand};
use hob_actors::worktree::ReasonKind;

use crate::stage::{stage, until};

const DAY: Duration = Duration::from_secs(86_400);
const LIMIT: Duration = Duration::from_secs(3600);

fn orphan(id: &str) -> Candidate {
    Candidate {
        worktree: id.into(),
        stand: Stand::Orphaned,
        since: Some(DAY),
        untouched: Some(DAY),
        is_under_way: false,
        has_salvage: false,
        is_clock_steady: true,
        was_purged_now: false,
        foreign: None,
    }
}

fn dirty() -> Preflight {
    Preflight { reasons: vec![Reason::one(ReasonKind::Dirty, "`a`")], partial: false }
}

fn with(worktrees: Vec<(Candidate, Preflight)>) -> Script {
    let mut script = Script { worktrees, ..Script::default() };
    script.reaper.interval = Duration::from_secs(10);
    script
}

fn done(world: &World) -> Vec<String> {
    world.memory().reaped.clone()
}

#[tokio::test(start_paused = true)]
async fn a_clean_orphan_is_retired_in_the_second_pass_and_a_dirty_one_never() {
    let worktrees = vec![(orphan("w-clean"), Preflight::default()), (orphan("w-dirty"), dirty())];
    let (world, _tree) = stage(with(worktrees)).await;
    until("the first pass", || done(&world).len() == 4).await;
    assert_eq!(
        done(&world),
        ["looked into w-clean", "kept () w-clean", "looked into w-dirty", "kept (dirty) w-dirty"]
    );
    until("the second pass", || done(&world).contains(&"retired w-clean".to_owned())).await;
    tokio::time::sleep(DAY).await;
    assert!(!done(&world).contains(&"retired w-dirty".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn what_becomes_dirty_between_two_passes_begins_anew() {
    let (world, _tree) = stage(with(vec![(orphan("w-1"), Preflight::default())])).await;
    until("the first pass", || done(&world).len() == 2).await;
    world.script().worktrees[0].1 = dirty();
    until("the second pass", || done(&world).len() == 4).await;
    world.script().worktrees[0].1 = Preflight::default();
    until("the third pass", || done(&world).len() == 6).await;
    assert!(!done(&world).contains(&"retired w-1".to_owned()));
    until("the fourth pass", || done(&world).contains(&"retired w-1".to_owned())).await;
}

#[tokio::test(start_paused = true)]
async fn a_person_need_not_wait_and_may_ask_what_would_be_done() {
    let young = Candidate { since: Some(Duration::ZERO), ..orphan("w-1") };
    let (world, tree) = stage(with(vec![(young, Preflight::default()), (orphan("w-2"), dirty())])).await;
    let dry = ByHand { worktree: None, dry_run: true };
    let would = tree.handle().reap(dry, LIMIT).await.expect("the reaper answers").expect("a pass");
    assert_eq!(would.iter().map(|r| r.action).collect::<Vec<_>>(), [Action::Archived, Action::Kept]);
    assert_eq!(done(&world), ["looked into w-1", "looked into w-2"], "nothing was done");
    let one = ByHand { worktree: Some("w-1".into()), dry_run: false };
    let did = tree.handle().reap(one, LIMIT).await.expect("the reaper answers").expect("a pass");
    assert_eq!((did.len(), did[0].action), (1, Action::Archived));
    assert_eq!(did[0].salvage.as_deref(), Some("refs/hob/salvage/w-1"));
}

#[tokio::test(start_paused = true)]
async fn a_person_hears_why_there_was_no_pass_and_the_next_one_is_made() {
    let (world, tree) = stage(with(vec![(orphan("w-1"), Preflight::default())])).await;
    world.script().survey_fails = Some("the disk is gone");
    let all = || ByHand { worktree: None, dry_run: false };
    let failed = tree.handle().reap(all(), LIMIT).await.expect("the reaper answers").unwrap_err();
    assert!(failed.chain().contains("the disk is gone"), "{failed:?}");
    world.script().survey_fails = None;
    let did = tree.handle().reap(all(), LIMIT).await.expect("the reaper answers").expect("a pass");
    assert_eq!((did.len(), did[0].action), (1, Action::Archived));
}

#[tokio::test(start_paused = true)]
async fn what_is_in_the_trash_goes_in_its_time() {
    let archived = Candidate { stand: Stand::Archived, since: Some(DAY * 8), ..orphan("w-old") };
    let purged =
        Candidate { stand: Stand::Purged, since: Some(DAY * 91), has_salvage: true, ..orphan("w-older") };
    let young = Candidate { stand: Stand::Archived, since: Some(DAY), ..orphan("w-young") };
    let all = [archived, purged, young].map(|candidate| (candidate, Preflight::default()));
    let (world, _tree) = stage(with(all.into())).await;
    until("a pass", || done(&world).len() == 2).await;
    assert_eq!(done(&world), ["purged w-old", "forgot w-older"]);
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_hears_why_nothing_is_purged_while_a_clock_is_in_doubt() {
    let archived =
        Candidate { stand: Stand::Archived, since: Some(DAY * 8), is_clock_steady: false, ..orphan("w-old") };
    let (world, tree) = stage(with(vec![(archived, Preflight::default())])).await;
    let one = ByHand { worktree: Some("w-old".into()), dry_run: false };
    let did = tree.handle().reap(one, LIMIT).await.expect("the reaper answers").expect("a pass");
    assert_eq!((did.len(), did[0].action), (1, Action::Kept));
    assert!(did[0].reasons[0].to_string().contains("a clock was set"), "{did:?}");
    tokio::time::sleep(DAY).await;
    assert!(!done(&world).contains(&"purged w-old".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_slow_look_holds_up_no_answer_but_those_behind_it() {
    let (world, tree) =
        stage(Script { preflight_takes: DAY, ..with(vec![(orphan("w-1"), Preflight::default())]) }).await;
    until("it looks", || done(&world).len() == 1).await;
    // The tree can be stopped in the middle of it.
    tree.stop(false).await;
    assert_eq!(done(&world), ["looked into w-1"]);
}

#[tokio::test(start_paused = true)]
async fn a_reaper_that_died_has_seen_nothing_yet() {
    let (world, tree) = stage(with(vec![(orphan("w-1"), Preflight::default())])).await;
    until("the first pass", || done(&world).len() == 2).await;
    let reaper = tree.handle().links().reaper.borrow().clone().expect("it lives");
    reaper.kill();
    until("the second pass", || done(&world).len() == 4).await;
    assert!(!done(&world).contains(&"retired w-1".to_owned()), "it begins with its first pass");
    until("the third pass", || done(&world).contains(&"retired w-1".to_owned())).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_lists_or_names_one_that_has_to_wait_sees_why() {
    let fresh = Candidate { since: Some(Duration::from_secs(1)), ..orphan("w-fresh") };
    let used = Candidate { stand: Stand::Active, ..orphan("w-used") };
    let (world, tree) = stage(with(vec![(fresh, Preflight::default()), (used, Preflight::default())])).await;
    until("the first pass", || !done(&world).is_empty()).await;
    assert_eq!(done(&world), ["kept (live) w-fresh"], "and nothing of the one that is in use");
    let wish = ByHand { worktree: Some("w-used".into()), dry_run: false };
    let reaped = tree.handle().reap(wish, LIMIT).await.expect("the reaper answers").expect("a pass");
    assert_eq!((reaped.len(), reaped[0].action), (1, Action::Kept));
    assert_eq!(reaped[0].reasons, [Reason::one(ReasonKind::Live, "its session is open")]);
}
