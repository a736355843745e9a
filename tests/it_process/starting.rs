//! What an agent gets, and every way in which it cannot be started.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use hob::backend::process::{RawExit, SpawnError, SpawnRequest};
use hob_actors::backoff::Cause;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::stage::*;

#[tokio::test]
async fn an_agent_has_three_descriptors_no_blocked_signal_and_a_group_of_its_own() {
    let stage = Stage::new().await;
    let process = stage.sh("echo ready; read line").await;
    let pid = process.pid;
    assert_eq!(
        until("three descriptors", || Some(fds(pid)).filter(|fds| fds.len() == 3)).await,
        [0, 1, 2].into()
    );
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("is there");
    // The C library keeps the signals 32 and 33 for itself, and ignores them in what it starts.
    for (line, but_for) in [("SigBlk", 0), ("SigIgn", 0b11 << 31)] {
        let value = status.lines().find_map(|text| text.strip_prefix(line)).expect("is there");
        let signals = u64::from_str_radix(value.trim_matches([':', '\t']), 16).expect("is a number");
        assert_eq!(signals & !but_for, 0, "{line}: {signals:x}");
    }
    assert_eq!(field(pid, 5), Some(pid.to_string()));
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("is there");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("is there");
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"]);
    process.handle.stop(false);
    soon("the end", process.handle.gone()).await;
}

#[tokio::test]
async fn memory_pressure_meets_the_agent_before_its_keeper_and_the_daemon() {
    let stage = Stage::new().await;
    let process = stage.sh("read line").await;
    let score = |pid: u32| -> i32 {
        let text = fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).expect("is there");
        text.trim().parse().expect("is a number")
    };
    let own = score(std::process::id());
    assert_eq!(score(process.pid), (own + 500).min(1000));
    assert_eq!(score(parent_of(process.pid).expect("has one")), own);
}

#[tokio::test]
async fn an_agent_gets_the_directory_the_arguments_and_the_environment_and_nothing_more() {
    let stage = Stage::new().await;
    let mut request = sh("pwd; echo \"$0\"; cat /proc/$$/environ | tr '\\0' '\\n'", stage.dir.path());
    request.args.push("it's".to_owned());
    request.env.insert("GREETING".to_owned(), "good\nday".to_owned());
    let (text, exit) = output(stage.spawner.spawn(request).await.expect("starts")).await;
    let cwd = stage.dir.path().canonicalize().expect("is there");
    assert_eq!(text, format!("{}\nit's\nGREETING=good\nday\nPATH=/usr/bin:/bin\n", cwd.display()));
    assert_eq!(exit, RawExit { code: Some(0), signal: None });
}

#[tokio::test]
async fn bytes_go_in_and_come_out() {
    let stage = Stage::new().await;
    let mut process = stage.sh("cat; cat >&2").await;
    process.stdin.write_all(b"hello").await.expect("is open");
    drop(process.stdin);
    let mut text = String::new();
    soon("the echo", process.stdout.read_to_string(&mut text)).await.expect("is text");
    assert_eq!(text, "hello");
    assert_eq!(soon("the exit", process.handle.exited()).await.code, Some(0));
}

#[tokio::test]
async fn a_large_environment_arrives() {
    let stage = Stage::new().await;
    let mut request = sh("env | wc -c", stage.dir.path());
    for n in 0..10 {
        request.env.insert(format!("BIG_{n}"), "x".repeat(100_000));
    }
    let (text, _) = output(stage.spawner.spawn(request).await.expect("starts")).await;
    assert!(text.trim().parse::<usize>().expect("is a number") > 1_000_000);
}

#[tokio::test]
async fn an_environment_past_the_limit_of_the_system_is_refused_by_name() {
    let stage = Stage::new().await;
    let mut request = sh("true", stage.dir.path());
    request.env.insert("BIG".to_owned(), "x".repeat(8 << 20));
    let error = stage.spawner.spawn(request).await.expect_err("is too much");
    assert!(matches!(error, SpawnError::Limit(_)) && error.cause() == Cause::Configuration, "{error:?}");
    assert_eq!(marked(stage.installation), BTreeSet::new());
}

#[tokio::test]
async fn a_nul_byte_is_refused() {
    let stage = Stage::new().await;
    let error = stage.spawner.spawn(sh("true\0false", stage.dir.path())).await.expect_err("cannot be");
    assert!(matches!(error, SpawnError::Other(..)), "{error:?}");
}

#[tokio::test]
async fn every_way_a_program_cannot_be_started_has_its_own_error() {
    let stage = Stage::new().await;
    let file = |name: &str, text: &[u8], mode: u32| -> PathBuf {
        let path = stage.dir.path().join(name);
        fs::write(&path, text).expect("is writable");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("is ours");
        path
    };
    let missing = stage.dir.path().join("missing");
    let plain = file("plain", b"#!/bin/sh\n", 0o644);
    let garbage = file("garbage", b"no program\n", 0o755);
    let orphan = file("orphan", b"#!/no/such/interpreter\n", 0o755);
    let cwd = stage.dir.path().to_owned();
    let attempt = async |program: &Path, cwd: &Path| {
        let request = SpawnRequest { program: program.to_owned(), ..sh("true", cwd) };
        stage.spawner.spawn(request).await.expect_err("cannot start")
    };

    assert!(matches!(attempt(&missing, &cwd).await, SpawnError::NotFound(path) if path == missing));
    assert!(matches!(attempt(&plain, &cwd).await, SpawnError::NotExecutable(path) if path == plain));
    assert!(matches!(attempt(&cwd, &cwd).await, SpawnError::NotExecutable(path) if path == cwd));
    assert!(matches!(attempt(&garbage, &cwd).await, SpawnError::WrongFormat(path) if path == garbage));
    assert!(matches!(attempt(&orphan, &cwd).await, SpawnError::NoInterpreter(path) if path == orphan));
    let error = attempt(Path::new("/bin/sh"), &missing).await;
    assert!(
        matches!(&error, SpawnError::Cwd(path, _) if *path == missing)
            && error.cause() == Cause::Configuration,
        "{error:?}"
    );
    assert_eq!(marked(stage.installation), BTreeSet::new());
    for attempt in 1..=6 {
        let detail = stage.ledger.end_of(attempt).expect("is settled");
        assert!(detail.starts_with("not started: "), "{detail}");
    }
}
