//! Agents that do not start: what may pass is tried again while the task waits, what cannot pass
//! fails the task at once; both are told, and a person can end the waiting.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::home::Setup;
use crate::support::stage::{FAULT, Stage};
use crate::support::wait::until;

/// As many starts as the restart budget of a stage allows: the first, and two again.
const N_STARTS: usize = 3;

/// Somebody could log in, install a program, start a server: the task waits for that, and the
/// agent is tried again as often as allowed.
#[track_caller]
fn is_tried_again(stage: &Stage, reason: &str, stderr: &str) {
    let task = stage.submit();
    let row = stage.wait_status("circuit_open");
    stage.wait_waiting(&task, "circuit");
    assert_eq!(stage.daemon.rpc("task/show", json!({"task": task}))["state"], "queued");

    assert_eq!(stage.moves("starting").len(), N_STARTS);
    let backoffs = stage.moves("backoff");
    assert!(backoffs.len() < N_STARTS, "{backoffs:#?}");
    let opened = until("the journal to say that it is given up", || stage.moves("circuit_open").pop());
    for told in backoffs.iter().chain([&opened]) {
        assert!(told["reason"].as_str().unwrap().contains(reason), "{told:#}");
    }
    assert!(row["retry_in_ms"].as_u64().is_some_and(|ms| ms > 0), "{row:#}");

    let rows = stage.daemon.hob_json(&["ps", "-a"]);
    let row = rows.as_array().unwrap().iter().find(|row| row["chat"] == *stage.chat).unwrap().clone();
    assert!(row["reason"].as_str().unwrap().contains(reason), "{row:#}");
    if !stderr.is_empty() {
        assert!(row["last_exit"]["stderr_tail"].as_str().unwrap().contains(stderr), "{row:#}");
    }
    stage.neighbour_is_well();

    // What failed is not what is configured now, so nobody waits for the cool-down.
    stage.reconfigure(&["well"]);
    assert_eq!(stage.daemon.wait_task(&task)["state"], "completed");
    assert_eq!(stage.ask("again"), "well");
}

/// Another start cannot help: the task fails with the reason, and nothing is tried again before
/// the configuration has changed or a person says so.
#[track_caller]
fn is_given_up(stage: &Stage, reason: &str, mend: impl FnOnce(&Stage)) {
    let row = stage.daemon.wait_task(&stage.submit());
    assert_eq!(row["state"], "failed", "{row:#}");
    let error = row["outcome"]["error"].as_str().unwrap_or_default();
    assert!(error.contains(reason), "{error}");
    let agent = stage.wait_status("circuit_open");
    assert!(agent["reason"].as_str().unwrap().contains(reason), "{agent:#}");
    assert!(agent["retry_in_ms"].as_u64().is_some_and(|ms| ms > 0), "{agent:#}");
    assert_eq!(stage.moves("starting").len(), 1);
    stage.neighbour_is_well();
    mend(stage);
    assert_eq!(stage.ask("again"), "well");
}

/// The next prompts say the same, after one start each: somebody may have mended it meanwhile.
#[track_caller]
fn fails_at_once(stage: &Stage, reason: &str) {
    let started = stage.moves("starting").len();
    let arguments = ["prompt", "--chat", &stage.chat, "--agent", FAULT, "now"];
    stage.daemon.hob(&arguments).exit(69).says(&[reason]);
    let row = stage.daemon.wait_task(&stage.submit());
    assert_eq!(row["state"], "failed", "{row:#}");
    assert!(row["outcome"]["error"].as_str().unwrap().contains(reason), "{row:#}");
    assert_eq!(stage.moves("starting").len(), started + 2);
    stage.wait_status("circuit_open");
    stage.daemon.hob(&[&arguments[..], &["--no-wait"]].concat()).exit(69).says(&[reason]);
    assert_eq!(stage.moves("starting").len(), started + 2);
}

/// The same, where the mistake is in the configuration: the next prompt works as soon as that has
/// changed.
#[track_caller]
fn is_given_up_until_configured(stage: &Stage, reason: &str) {
    is_given_up(stage, reason, |stage| {
        fails_at_once(stage, reason);
        stage.reconfigure(&["well"]);
    });
}

/// A stage whose agent is a file in its home, which `make` makes. It is there and looks well when
/// the task is accepted, unless a look can tell.
fn stage_of_file(make: impl FnOnce(&Path)) -> (Stage, PathBuf) {
    let setup = Setup::new();
    let program = setup.root().join("agent");
    make(&program);
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let config = format!("[agents.{FAULT}]\nbackend = \"acp\"\ncommand = [{:?}]", program.to_str().unwrap());
    (Stage::of(setup.config(&config)), program)
}

/// A task is accepted, and the program spoilt before it can be started.
#[track_caller]
fn spoilt_after_submit(spoil: impl FnOnce(&Path), reason: &str) {
    let (stage, program) = stage_of_file(|program| std::fs::write(program, "#!/bin/sh\n").unwrap());
    stage.daemon.hob(&["hold", &stage.chat]).ok();
    let task = stage.submit();
    spoil(&program);
    stage.daemon.hob(&["release", &stage.chat]).ok();
    let row = stage.daemon.wait_task(&task);
    assert_eq!(row["state"], "failed", "{row:#}");
    let error = row["outcome"]["error"].as_str().unwrap_or_default();
    assert!(error.contains(reason), "{error}");
    stage.wait_status("circuit_open");
    assert_eq!(stage.moves("starting").len(), 1);
    // What a look can tell is told to whoever asks next, without a task.
    let refused = stage.daemon.hob(&["prompt", "--chat", &stage.chat, "--agent", FAULT, "again"]);
    refused.exit(69).says(&["agent", program.to_str().unwrap()]);
    stage.reconfigure(&["well"]);
    assert_eq!(stage.ask("again"), "well");
    stage.end();
}

#[test]
fn a_program_that_is_missing_fails_its_task_at_once() {
    spoilt_after_submit(|program| std::fs::remove_file(program).unwrap(), "does not exist");
}

#[test]
fn a_program_that_may_not_be_executed_fails_its_task_at_once() {
    let forbid = |program: &Path| {
        std::fs::set_permissions(program, PermissionsExt::from_mode(0o644)).unwrap();
    };
    spoilt_after_submit(forbid, "not executable");
}

#[test]
fn a_program_for_another_machine_fails_its_task_at_once() {
    // The header of a 32 bit program for the SPARC of 1987: e_ident, e_type, e_machine.
    let mut elf = [0_u8; 52];
    elf[..7].copy_from_slice(b"\x7fELF\x01\x02\x01");
    (elf[17], elf[19]) = (2, 2);
    let (stage, _) = stage_of_file(|program| std::fs::write(program, elf).unwrap());
    is_given_up_until_configured(&stage, "not a program for this machine");
    stage.end();
}

#[test]
fn a_script_without_its_interpreter_fails_its_task_at_once() {
    let (stage, _) = stage_of_file(|program| std::fs::write(program, "#!/no/such/shell\n").unwrap());
    is_given_up_until_configured(&stage, "interpreter");
    stage.end();
}

#[test]
fn an_agent_of_another_protocol_fails_its_task_at_once() {
    let stage = Stage::with("wrong-version");
    is_given_up_until_configured(&stage, "version 99");
    stage.end();
}

#[test]
fn an_agent_that_wants_a_log_in_fails_its_task_at_once_and_is_started_again_by_hand() {
    let stage = Stage::with("auth-required");
    is_given_up(&stage, "logged in", |stage| {
        fails_at_once(stage, "logged in");
        assert_eq!(stage.daemon.wait_task(&stage.submit())["outcome"]["fault"], "log_in");
        // Still not logged in: the restart says so, and the circuit stays open.
        stage.daemon.hob(&["restart", &stage.chat, FAULT]).exit(69).says(&["logged in", "fault-login"]);
        stage.wait_status("circuit_open");
        stage.reconfigure(&["well"]);
        stage.daemon.hob(&["restart", &stage.chat, FAULT]).ok();
    });
    stage.end();
}

#[test]
fn a_prompt_that_needs_a_log_in_fails_its_task_and_the_agent_is_started_again_by_hand() {
    let stage = Stage::with("log-in");
    is_given_up(&stage, "auth_required: it wants to be logged in first", |stage| {
        fails_at_once(stage, "it wants to be logged in first");
        let row = stage.wait_status("circuit_open");
        assert_eq!(row["crashes"], 0, "{row:#}");
        let again = format!("hob restart {} {FAULT}", stage.chat);
        assert!(row["reason"].as_str().unwrap().contains(&again), "{row:#}");
        stage.reconfigure(&["well"]);
        stage.daemon.hob(&["restart", &stage.chat, FAULT]).ok();
    });
    stage.end();
}

#[test]
fn an_agent_that_blames_its_configuration_fails_its_task_at_once() {
    let stage = Stage::with("exit-in-initialize 78");
    is_given_up_until_configured(&stage, "exited with code 78 during initialize");
    stage.end();
}

#[test]
fn an_agent_that_exits_with_nothing_to_say_is_tried_again() {
    let stage = Stage::spoilt("exit-at-once 0", "");
    is_tried_again(&stage, "exited with code 0 during initialize", "");
    stage.end();
}

#[test]
fn an_agent_that_exits_with_a_message_is_tried_again_and_the_message_told() {
    let stage = Stage::spoilt("exit-at-once 1", "");
    is_tried_again(&stage, "told to exit at once", "told to exit at once");
    stage.end();
}

#[test]
fn an_agent_that_exits_during_initialize_is_tried_again() {
    let stage = Stage::spoilt("exit-in-initialize", "");
    is_tried_again(&stage, "exited with code 3 during initialize", "told to exit in initialize");
    stage.end();
}

#[test]
fn an_agent_that_hangs_in_initialize_is_tried_again() {
    let config = format!("[agents.{FAULT}.process]\nstart_timeout = \"700ms\"");
    let stage = Stage::spoilt("hang-initialize", &config);
    let task = stage.submit();
    let row = stage.wait_status("circuit_open");
    assert!(row["reason"].as_str().unwrap().contains("did not answer initialize within 700ms"), "{row:#}");
    assert_eq!(stage.moves("starting").len(), N_STARTS);
    stage.neighbour_is_well();
    stage.daemon.rpc("task/cancel", json!({"task": task}));
    assert_eq!(stage.daemon.wait_task(&task)["state"], "cancelled");
    stage.end();
}

#[test]
fn a_failure_that_passes_costs_a_task_nothing_but_time() {
    let stage = Stage::with("exit-first 2");
    assert_eq!(stage.ask("hello"), "well");
    assert_eq!(stage.moves("starting").len(), N_STARTS);
    assert_eq!(stage.moves("circuit_open").len(), 0);
    stage.end();
}

#[test]
fn a_person_does_not_wait_for_the_cool_down() {
    let stage = Stage::spoilt("exit-first 4", "");
    let task = stage.submit();
    stage.wait_waiting(&task, "circuit");
    stage.daemon.hob(&["restart", &stage.chat, FAULT]).exit(69).says(&["not yet"]);
    // Tried by hand, it failed once more: the budget is whole again, and the task goes on.
    assert_eq!(stage.daemon.wait_task(&task)["state"], "completed");
    assert_eq!(stage.moves("starting").len(), N_STARTS + 2);
    stage.end();
}

#[test]
fn the_cool_down_ends_by_itself() {
    let stage = Stage::spoilt("exit-first 3", "[restart]\ncooldown = \"300ms\"");
    assert_eq!(stage.ask("hello"), "well");
    assert_eq!((stage.moves("starting").len(), stage.moves("circuit_open").len()), (N_STARTS + 1, 1));
    stage.end();
}

#[test]
fn a_task_that_waits_for_a_start_can_be_cancelled_and_the_next_one_does_not_inherit_the_wait() {
    let stage = Stage::configured("exit-at-once", "[restart]\nbackoff_min = \"1h\"\nbackoff_max = \"1h\"");
    let task = stage.submit();
    stage.wait_waiting(&task, "backoff");
    let row = stage.wait_status("backoff");
    assert!(row["retry_in_ms"].as_u64().is_some(), "{row:#}");
    stage.daemon.rpc("task/cancel", json!({"task": task}));
    assert_eq!(stage.daemon.wait_task(&task)["state"], "cancelled");
    stage.reconfigure(&["well"]);
    stage.daemon.hob(&["restart", &stage.chat, FAULT]).ok();
    assert_eq!(stage.ask("hello"), "well");
    stage.end();
}

#[test]
fn a_hangup_reads_the_configuration_and_lets_what_waits_for_it_go() {
    let stage = Stage::spoilt("exit-at-once", "");
    let waits = stage.submit();
    stage.wait_waiting(&waits, "circuit");
    let path = stage.daemon.hob_home().join("config.toml");
    let config = std::fs::read_to_string(path).unwrap();
    stage.daemon.write_config(&config.replace("exit-at-once", "well"));
    stage.daemon.signal(Signal::SIGHUP);
    assert_eq!(stage.daemon.wait_task(&waits)["state"], "completed");
    until("the circuit to be closed", || (stage.agent()["status"] == "idle").then_some(()));
    stage.end();
}

#[test]
fn an_agent_whose_interpreter_is_missing_fails_at_once_with_its_name() {
    for (script, told) in [
        ("#!/usr/bin/env no-such-node\n", "its interpreter `no-such-node` is not on its PATH"),
        ("#!/bin/sh\nexec no-such-node cli.js\n", "a program that it needs cannot be run"),
        ("#!/bin/sh\nexec /etc/hostname\n", "a program that it needs cannot be run"),
    ] {
        let (stage, _) = stage_of_file(|program| std::fs::write(program, script).unwrap());
        let row = stage.daemon.wait_task(&stage.submit());
        let error = row["outcome"]["error"].as_str().unwrap();
        assert!(error.contains(told) && error.contains("`hob down && hob up`"), "{error}");
        assert_eq!(stage.moves("starting").len(), 1);
        stage.end();
    }
}

#[test]
fn an_agent_that_never_started_fails_what_waits_when_it_was_tried_often_enough() {
    let stage = Stage::with("exit-at-once 1");
    let (first, second) = (stage.submit(), stage.submit());
    for task in [&first, &second] {
        let row = stage.daemon.wait_task(task);
        assert_eq!(
            (&row["state"], &row["outcome"]["fault"]),
            (&json!("failed"), &json!("unavailable")),
            "{row:#}"
        );
        assert!(row["outcome"]["error"].as_str().unwrap().contains("told to exit at once"), "{row:#}");
    }
    assert_eq!(stage.moves("starting").len(), N_STARTS + 1);
    fails_at_once(&stage, "told to exit at once");
    stage.end();
}

#[test]
fn an_agent_that_was_well_before_is_given_up_the_second_time() {
    let stage = Stage::spoilt("exit-at-once 1", "[restart]\ncooldown = \"300ms\"");
    let task = stage.submit();
    stage.wait_waiting(&task, "circuit");
    let row = stage.daemon.wait_task(&task);
    assert_eq!(
        (&row["state"], &row["outcome"]["fault"]),
        (&json!("failed"), &json!("unavailable")),
        "{row:#}"
    );
    assert_eq!((stage.moves("starting").len(), stage.moves("circuit_open").len()), (2 * N_STARTS, 2));
    stage.end();
}

#[test]
fn who_has_no_terminal_is_told_of_a_failed_start_at_once() {
    let stage = Stage::spoilt("exit-at-once 1", "[restart]\nbackoff_min = \"1h\"\nbackoff_max = \"1h\"");
    let words = ["prompt", "--chat", &stage.chat, "--agent", FAULT, "hello"];
    stage.daemon.hob(&words).exit(69).says(&["told to exit at once"]);
    assert_eq!(stage.moves("starting").len(), 1);
    stage.daemon.hob(&words).exit(69).says(&["told to exit at once"]);
    assert_eq!(stage.moves("starting").len(), 1, "it still backs off");
    stage.end();
}

#[test]
fn what_an_agent_prints_before_it_ends_is_in_the_reason() {
    let script =
        "#!/bin/sh\necho 'this program has reached its end of life'\necho 'use another' >&2\nexit 0\n";
    let (stage, _) = stage_of_file(|program| std::fs::write(program, script).unwrap());
    let words = ["prompt", "--chat", &stage.chat, "--agent", FAULT, "hello"];
    stage
        .daemon
        .hob(&words)
        .exit(69)
        .says(&["stdout: this program has reached its end of life", "use another"]);
    stage.end();
}
