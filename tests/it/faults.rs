//! Agents that misbehave: the memory of the daemon stays bounded, the journal says what happened,
//! and other chats go on undisturbed.

use serde_json::{Value, json};

use crate::support::daemon::TestDaemon;
use crate::support::demo::{DEMO, say};
use crate::support::growth::Growth;
use crate::support::home::Setup;
use crate::support::leftovers::is_alive;
use crate::support::wait::{until, within};

/// What an agent may cost the daemon, whatever it does. The promise.
const GROWTH_BYTES_MAX: u64 = 16 << 20;

/// The name that the misbehaving agent is configured under.
const FAULT: &str = "fault";

/// A daemon with a misbehaving agent in one chat and a good one in another.
struct Stage {
    daemon: TestDaemon,
    chat: String,
    neighbour: String,
    neighbour_pid: u32,
    growth: Growth,
}

impl Stage {
    fn with(mode: &str) -> Self {
        let config = "[process]\ncancel_grace = \"500ms\"\nstop_grace = \"500ms\"\n\
                      [agents.fault.process]\nstart_timeout = \"1s\"";
        let daemon = Setup::new().config(config).fault(FAULT, &[mode]).start();
        let (chat, neighbour) = (daemon.lone_chat(), daemon.lone_chat());
        daemon.ask(&neighbour, DEMO, &say("before"));
        let neighbour_pid = daemon.agent_pid(&neighbour, DEMO);
        let growth = Growth::watch(daemon.pid());
        Self { daemon, chat, neighbour, neighbour_pid, growth }
    }

    fn submit(&self) -> String {
        self.daemon.submit(&self.chat, FAULT, "do it")
    }

    /// The chat beside it answers, from the process that it always had.
    #[track_caller]
    fn neighbour_is_well(&self) {
        assert_eq!(self.daemon.ask(&self.neighbour, DEMO, &say("well")), "well");
        assert_eq!(self.daemon.agent_pid(&self.neighbour, DEMO), self.neighbour_pid);
    }

    fn events(&self, kind: &str) -> Vec<Value> {
        self.daemon.events(json!({"chat": self.chat, "types": [kind]}))
    }

    /// What the journal said beside the answer, to the person.
    #[track_caller]
    fn notice_says(&self, word: &str) {
        let notices = self.events("notice");
        let said = |event: &Value| event["text"].as_str().is_some_and(|text| text.contains(word));
        assert!(notices.iter().any(said), "no notice says {word:?}: {notices:#?}");
    }

    #[track_caller]
    fn end(self) {
        self.neighbour_is_well();
        self.growth.stays_under(GROWTH_BYTES_MAX);
    }
}

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
fn bytes_that_are_no_text_are_told_and_skipped() {
    survives("invalid-utf8", "UTF-8");
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

/// An agent that never gets ready fails its task, says why, and is tried again by the next one.
#[track_caller]
fn never_starts(mode: &str, reason: &str) {
    let stage = Stage::with(mode);
    for attempt in 1..=2 {
        let task = stage.submit();
        stage.neighbour_is_well();
        let row = stage.daemon.wait_task(&task);
        assert_eq!(row["state"], "failed", "{row:#}");
        let error = row["outcome"]["error"].as_str().unwrap_or_default();
        assert!(error.contains(reason), "{error}");
        assert_eq!(stage.daemon.agent_session(&stage.chat, FAULT)["status"], "crashed");
        let crashed = |event: &&Value| event["to"] == "crashed" && event["reason"].is_string();
        assert_eq!(stage.events("agent_state").iter().filter(crashed).count(), attempt);
    }
    stage.end();
}

#[test]
fn an_agent_that_hangs_in_initialize_is_given_up() {
    never_starts("hang-initialize", "did not answer initialize within 1s");
}

#[test]
fn an_agent_that_exits_at_once_is_given_up() {
    never_starts("exit-at-once", "exited with code 1 during initialize");
}

#[test]
fn an_agent_of_another_protocol_is_given_up() {
    never_starts("wrong-version", "version 99");
}

#[test]
fn an_agent_that_wants_a_log_in_is_given_up_and_says_so() {
    never_starts("auth-required", "logged in");
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

#[test]
fn an_exit_behind_an_output_that_a_grandchild_holds_open_is_seen() {
    let stage = Stage::with("held-stdout");
    let row = stage.daemon.wait_task(&stage.submit());
    assert_eq!(row["state"], "interrupted", "{row:#}");
    stage.end();
}

#[test]
fn however_an_agent_answers_a_cancel_the_turn_is_cancelled_and_the_agent_stays() {
    let stage = Stage::with("well");
    stage.daemon.ask(&stage.chat, FAULT, "hello");
    let pid = stage.daemon.agent_pid(&stage.chat, FAULT);
    for mode in ["cancel-end-turn", "cancel-error", "lose-first-cancel"] {
        let task = stage.daemon.submit(&stage.chat, FAULT, &format!("fault: {mode}"));
        stage.daemon.wait_event(&task, "text");
        stage.daemon.rpc("task/cancel", json!({"task": task}));
        let row = stage.daemon.wait_task(&task);
        assert_eq!(row["state"], "cancelled", "{mode}: {row:#}");
        assert_eq!(stage.daemon.ask(&stage.chat, FAULT, "hello"), "well");
        assert_eq!(stage.daemon.agent_pid(&stage.chat, FAULT), pid, "{mode}");
    }
    stage.end();
}

#[test]
fn a_cancel_that_is_never_answered_ends_by_our_own_word_and_the_agent_is_replaced() {
    let stage = Stage::with("well");
    let task = stage.daemon.submit(&stage.chat, FAULT, "fault: never-answer");
    stage.daemon.wait_event(&task, "text");
    let pid = stage.daemon.agent_pid(&stage.chat, FAULT);
    stage.daemon.rpc("task/cancel", json!({"task": task}));
    let row = stage.daemon.wait_task(&task);
    assert_eq!(row["state"], "cancelled", "{row:#}");
    assert_eq!(stage.daemon.ask(&stage.chat, FAULT, "hello"), "well");
    assert_ne!(stage.daemon.agent_pid(&stage.chat, FAULT), pid);
    stage.end();
}

#[test]
fn what_comes_after_the_end_of_a_turn_is_not_told_of_the_next() {
    let stage = Stage::with("well");
    assert_eq!(stage.daemon.ask(&stage.chat, FAULT, "fault: late-updates"), "in time");
    assert_eq!(stage.daemon.ask(&stage.chat, FAULT, "hello"), "well");
    stage.end();
}

#[test]
fn what_the_protocol_does_not_know_yet_is_kept_as_it_came() {
    let stage = Stage::with("well");
    assert_eq!(stage.daemon.ask(&stage.chat, FAULT, "fault: unknown-update"), "known");
    let all = stage.daemon.events(json!({"chat": stage.chat}));
    assert!(all.iter().any(|event| event.to_string().contains("from_the_future")), "{all:#?}");
    let odd = stage.daemon.run(&stage.chat, FAULT, "fault: unknown-stop-reason");
    assert_eq!((&odd["text"], &odd["outcome"]["stop_reason"]), (&json!("odd"), &json!("bored")), "{odd:#}");
    stage.end();
}

/// Children that left their session and their environment, and cannot be told to end.
#[test]
fn a_killed_daemon_takes_along_what_hides_from_it() {
    let Stage { mut daemon, chat, .. } = Stage::with("daemonise");
    daemon.ask(&chat, FAULT, "hello");
    let hidden =
        |daemon: &TestDaemon| daemon.processes().iter().any(|p| p.command.contains("while :; do sleep 1000"));
    assert!(hidden(&daemon), "{:#?}", daemon.processes());
    daemon.sigkill();
    daemon.wait_nothing_left();
    daemon.start_again();
    assert_eq!(daemon.ask(&chat, FAULT, "hello"), "well");
    daemon.stop();
    daemon.wait_nothing_left();
}

#[test]
fn an_agent_that_closes_stdout_and_lives_on_is_ended() {
    let stage = Stage::with("close-stdout");
    let task = stage.submit();
    stage.daemon.wait_event(&task, "text");
    let row = stage.daemon.wait_task(&task);
    assert_eq!(row["state"], "interrupted", "{row:#}");
    let started = stage.events("agent_state").into_iter().find_map(|event| event["pid"].as_u64());
    let pid = started.expect("a pid in the journal") as u32;
    within(std::time::Duration::from_secs(5), "the agent to be ended", || (!is_alive(pid)).then_some(()));
    stage.end();
}
