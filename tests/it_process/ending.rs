//! How agents end, and that their whole tree ends with them.

use std::collections::BTreeSet;

use hob::backend::process::RawExit;
use hob_actors::backoff::Cause;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt;

use crate::stage::*;

#[tokio::test]
async fn exit_codes_and_signals_are_told() {
    let stage = Stage::new().await;
    for (script, code, signal) in [
        ("exit 0", Some(0), None),
        ("exit 78", Some(78), None),
        ("kill -SEGV $$", None, Some(11)),
        ("kill -35 $$", None, Some(35)),
    ] {
        let (_, exit) = output(stage.sh(script).await).await;
        assert_eq!(exit, RawExit { code, signal }, "{script}");
    }
    assert_eq!(stage.ledger.end_of(4).as_deref(), Some("ended"));
}

#[tokio::test]
async fn a_grandchild_that_holds_stdout_does_not_delay_the_exit_and_ends_with_the_agent() {
    let stage = Stage::new().await;
    let file = stage.dir.path().join("holder");
    let script = format!(
        "setsid sh -c 'trap \"\" TERM; echo $$ > {0}.new; mv {0}.new {0}; sleep 1000' & while ! [ -e {0} ]; do sleep 0.01; done; exit 3",
        file.display()
    );
    let mut request = sh(&script, stage.dir.path());
    // So long that the exit could not wait for it unseen.
    request.stop_grace = PATIENCE * 10;
    let mut process = stage.spawner.spawn(request).await.expect("starts");
    assert_eq!(soon("the exit", process.handle.exited()).await.code, Some(3));
    let holder = number_in(&file).expect("was told");
    assert!(is_alive(holder), "deaf to TERM, and the grace is long");
    process.handle.stop(true);
    let mut rest = Vec::new();
    soon("the end of file", process.stdout.read_to_end(&mut rest)).await.expect("closes");
    soon("the end", process.handle.gone()).await;
    assert!(!is_alive(holder));
}

#[tokio::test]
async fn an_agent_that_ends_in_time_is_not_killed() {
    let stage = Stage::new().await;
    let mut request =
        sh("trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.01; done", stage.dir.path());
    request.stop_grace = PATIENCE;
    let mut process = stage.spawner.spawn(request).await.expect("starts");
    let mut ready = [0; 6];
    soon("the trap", process.stdout.read_exact(&mut ready)).await.expect("speaks");
    process.handle.stop(false);
    let (text, exit) = output(process).await;
    assert_eq!((text.as_str(), exit.code), ("bye\n", Some(7)));
}

#[tokio::test]
async fn a_stop_leaves_nothing_of_the_tree() {
    let stage = Stage::new().await;
    let (process, escapee) = stage.deaf_with_escapee("while :; do sleep 1000; done").await;
    assert!(marked(stage.installation).contains(&escapee), "env -i does not shed the mark");
    process.handle.stop(false);
    soon("the end", process.handle.gone()).await;
    assert_eq!(marked(stage.installation), BTreeSet::new());
    assert!(!is_alive(escapee));
    assert_eq!(process.handle.exited().await.signal, Some(9));
}

#[tokio::test]
async fn letting_go_of_the_handle_ends_the_tree() {
    let stage = Stage::new().await;
    let (process, escapee) = stage.with_escapee("while :; do sleep 1000; done").await;
    let watching = process.handle.clone();
    drop(process);
    assert!(is_alive(escapee));
    drop(watching);
    until("the end", || stage.ledger.end_of(1)).await;
    assert_eq!(marked(stage.installation), BTreeSet::new());
}

#[tokio::test]
async fn a_start_that_nobody_waits_for_is_undone() {
    let stage = Stage::new().await;
    let request = sh("while :; do sleep 1000; done", stage.dir.path());
    {
        let mut start = Box::pin(stage.spawner.spawn(request));
        // Begun, and given up at its first wait.
        tokio::select! { biased; _ = &mut start => panic!("cannot be so soon"), () = std::future::ready(()) => {} }
    }
    until("the end", || stage.ledger.end_of(1)).await;
    assert_eq!(marked(stage.installation), BTreeSet::new());
}

#[tokio::test]
async fn a_killed_keeper_takes_its_tree_with_it() {
    let stage = Stage::new().await;
    let (process, escapee) = stage.with_escapee("trap '' TERM; while :; do sleep 1000; done").await;
    kill_9(parent_of(process.pid).expect("has a keeper"));
    assert_eq!(soon("the exit", process.handle.exited()).await, RawExit { code: None, signal: Some(9) });
    soon("the end", process.handle.gone()).await;
    assert_eq!(marked(stage.installation), BTreeSet::new());
    assert!(!is_alive(process.pid) && !is_alive(escapee));
    assert_eq!(stage.ledger.end_of(1).as_deref(), Some("the keeper was lost"));
}

#[tokio::test]
async fn a_keeper_that_was_stopped_cannot_hold_up_a_stop() {
    let stage = Stage::new().await;
    let (process, escapee) = stage.with_escapee("trap '' TERM; while :; do sleep 1000; done").await;
    let keeper = parent_of(process.pid).expect("has a keeper");
    kill(Pid::from_raw(keeper.cast_signed()), Signal::SIGSTOP).expect("is ours");
    process.handle.stop(true);
    soon("the end", process.handle.gone()).await;
    assert!(!is_alive(escapee) && !is_alive(keeper));
}

#[tokio::test]
async fn a_keeper_that_gets_term_ends_its_tree() {
    let stage = Stage::new().await;
    let (process, escapee) = stage.with_escapee("while :; do sleep 1000; done").await;
    let keeper = parent_of(process.pid).expect("has a keeper");
    kill(Pid::from_raw(keeper.cast_signed()), Signal::SIGTERM).expect("is ours");
    soon("the end", process.handle.gone()).await;
    assert!(!is_alive(escapee));
    assert_eq!(process.handle.exited().await.signal, Some(15));
}

#[tokio::test]
async fn a_spawner_that_closes_leaves_nothing_and_starts_nothing() {
    let stage = Stage::new().await;
    let (process, escapee) = stage.with_escapee("trap '' TERM; while :; do sleep 1000; done").await;
    soon("the close", stage.spawner.close()).await;
    assert!(!is_alive(process.pid) && !is_alive(escapee));
    assert_eq!(stage.ledger.end_of(1).as_deref(), Some("ended"));
    let late = stage.spawner.spawn(sh("true", stage.dir.path())).await.expect_err("is too late");
    assert_ne!(late.cause(), Cause::Configuration, "{late:?}");
    assert!(stage.ledger.end_of(2).is_some_and(|detail| detail.starts_with("not started")));
}
