//! What the keeper is, and what tells an agent from others.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use hob::backend::process::{Kinship, SpawnRequest, mark, trees_of};

use crate::stage::*;

#[tokio::test]
async fn a_keeper_holds_no_secret_and_no_descriptor_of_the_daemon() {
    let stage = Stage::new().await;
    let process = stage.sh("read line").await;
    let keeper = parent_of(process.pid).expect("has a keeper");
    assert_eq!(fs::read(format!("/proc/{keeper}/environ")).expect("is ours"), b"");
    // The control pipe twice (as stdin), nothing for output, the daemon's pidfd, the signals.
    assert_eq!(fds(keeper).len(), 6);
    assert_eq!(fs::read_link(format!("/proc/{keeper}/cwd")).expect("is ours"), Path::new("/"));
}

#[tokio::test]
async fn a_keeper_that_nobody_started_refuses() {
    let status = Command::new(env!("CARGO_BIN_EXE_hobd")).arg("keeper").stderr(Stdio::null()).status();
    assert_eq!(status.expect("runs").code(), Some(64));
}

#[tokio::test]
async fn a_keeper_whose_daemon_dies_before_go_starts_nothing_and_ends() {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
    let mut command = Command::new(env!("CARGO_BIN_EXE_hobd"));
    command.args(["keeper", &std::process::id().to_string()]);
    let mut keeper = command.stdin(std::os::fd::OwnedFd::from(theirs)).spawn().expect("starts");
    drop(command);
    drop(ours);
    assert!(keeper.wait().expect("ends").success());
}

#[tokio::test]
async fn the_own_program_is_the_keeper_s() {
    let stage = Stage::new().await;
    let program = stage.spawner.own_program();
    let request = SpawnRequest { program, args: vec!["keeper".to_owned()], ..sh("", stage.dir.path()) };
    let (_, exit) = output(stage.spawner.spawn(request).await.expect("starts")).await;
    assert_eq!(exit.code, Some(64));
}

#[tokio::test]
async fn an_agent_is_told_from_other_peers_by_its_mark() {
    let stage = Stage::new().await;
    assert_eq!(stage.spawner.kin().containment(), "strong");
    let process = stage.sh("read line").await;
    let own = mark::own();
    let mark = mark::read(process.pid).expect("is marked");
    assert_eq!((mark.installation, mark.attempt), (stage.installation, 1));
    assert_eq!(mark.depth, own.map_or(0, |own| own.depth + 1));
    assert!(own.is_none_or(|own| mark.to_limit() < own.to_limit()), "nesting only lowers");
    assert_eq!(stage.spawner.kin().of(process.pid), Kinship::Agent { attempt: Some(1) });
    assert_eq!(stage.spawner.kin().of(std::process::id()), Kinship::Stranger);
}

#[tokio::test]
async fn the_memory_of_a_tree_includes_what_escaped() {
    let stage = Stage::new().await;
    let (process, escapee) = stage.with_escapee("while :; do sleep 1000; done").await;
    let of = |pid: u32| field(pid, 24).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096;
    // Read first: both may still grow.
    let least = of(process.pid) + of(escapee);
    let tree = trees_of(&[process.pid]).remove(0).expect("is there");
    assert!(tree.rss_bytes >= least, "{tree:?} {least}");
    assert!(tree.descendants.contains(&escapee));
}
