//! Agents that write what is no message: the memory of the daemon stays bounded, the journal says
//! what happened, and other chats go on undisturbed.

use serde_json::json;

use crate::support::stage::Stage;
use crate::support::wait::until;

/// What is wrong on the wire is told, and the turn around it completes.
#[track_caller]
fn survives(mode: &str, told: &str) {
    let stage = Stage::with(mode);
    let task = stage.submit();
    stage.neighbour_is_well();
    let row = stage.daemon.wait_task(&task);
    assert_eq!(row["state"], "completed", "{row:#}");
    stage.notice_says(told);
    stage.end();
}

#[test]
fn garbage_between_the_frames_is_told_and_skipped() {
    survives("garbage", "JSON");
}

#[test]
fn bytes_that_are_no_text_are_replaced_and_told() {
    survives("invalid-utf8", "replaced by");
}

#[test]
fn a_line_of_a_hundred_megabytes_is_told_and_never_held() {
    survives("long-line", "bytes");
}

#[test]
fn a_flood_on_stderr_is_drained() {
    let stage = Stage::with("flood-stderr");
    let row = stage.daemon.wait_task(&stage.submit());
    assert_eq!(row["state"], "completed", "{row:#}");
    stage.end();
}

#[test]
fn a_flood_on_stdout_waits_in_the_agent_s_own_pipe_and_can_be_cancelled() {
    let stage = Stage::with("flood-stdout");
    let task = stage.submit();
    stage.daemon.wait_event(&task, "text");
    stage.neighbour_is_well();
    stage.daemon.rpc("task/cancel", json!({"task": task}));
    let row = stage.daemon.wait_task(&task);
    assert_eq!(row["state"], "cancelled", "{row:#}");
    stage.end();
}

#[test]
fn half_a_frame_and_then_nothing_ends_the_turn_as_interrupted() {
    let stage = Stage::with("half-frame");
    let row = stage.daemon.wait_task(&stage.submit());
    assert!(["interrupted", "failed"].iter().any(|state| row["state"] == *state), "{row:#}");
    assert!(row["outcome"]["error"].is_string(), "{row:#}");
    stage.end();
}

#[test]
fn garbage_without_end_is_counted_and_can_be_cancelled() {
    let stage = Stage::with("garbage-flood");
    let task = stage.submit();
    until("the first notice", || stage.events("notice").pop());
    stage.neighbour_is_well();
    stage.daemon.rpc("task/cancel", json!({"task": task}));
    assert_eq!(stage.daemon.wait_task(&task)["state"], "cancelled");
    let told = stage.events("notice").len();
    assert!(told < 10, "{told} notices of the same thing");
    stage.end();
}
