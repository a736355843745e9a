//! How a conversation comes back with a new process: by resume, by load, or not at all, which is
//! always told; whatever the agent says it can do.

use serde_json::{Value, json};

use crate::support::ends::ledger;
use crate::support::home::Setup;
use crate::support::mcp::McpClient;
use crate::support::stage::{FAULT, Stage};
use crate::support::wait::until;

/// How the turn of a task began: what the agent remembered.
fn context(stage: &Stage, task: &str) -> Value {
    stage.daemon.wait_event(task, "turn_started")["context"].clone()
}

/// The name of the conversation that is saved.
fn saved(stage: &Stage) -> String {
    stage.agent()["backend_session"].as_str().unwrap_or_default().to_owned()
}

/// The methods about old conversations that the agent was called with, in order.
fn climbed(stage: &Stage) -> Vec<String> {
    let lines = ledger(&stage.daemon.user_home()).into_iter();
    lines.filter_map(|line| line.strip_prefix("# session/").map(str::to_owned)).collect()
}

/// A stage whose agent can do this, and lies about that, after a turn and the end of its process.
fn forgotten_by(words: &str) -> Stage {
    let stage = Stage::with(&format!("memory {words}"));
    assert_eq!(stage.ask("fault: count"), "count 1");
    stage.kill_agent();
    stage
}

/// The conversation goes on by these steps.
#[track_caller]
fn goes_on(words: &str, by: &str, steps: &[&str]) {
    let stage = forgotten_by(words);
    let id = saved(&stage);
    let task = stage.prompt("fault: count");
    assert_eq!(stage.daemon.wait_task(&task)["text"], "count 2");
    assert_eq!((context(&stage, &task), saved(&stage)), (json!(by), id));
    assert_eq!(climbed(&stage), steps);
    assert_eq!(stage.events("context_reset"), [] as [Value; 0]);
    // The old conversation is neither told again nor written down again.
    assert_eq!(stage.said(&task), "count 2");
    let all = stage.daemon.events(json!({"chat": stage.chat}));
    assert!(!all.iter().any(|event| event.to_string().contains("said long ago")), "{all:#?}");
    stage.end();
}

/// The conversation is lost after these steps, and that is told with the reason, before the turn.
#[track_caller]
fn is_lost(words: &str, reason: &str, steps: &[&str]) {
    let stage = forgotten_by(words);
    let id = saved(&stage);
    let task = stage.prompt("fault: count");
    assert_eq!(stage.daemon.wait_task(&task)["text"], "count 1");
    assert_eq!(context(&stage, &task), "reset");
    assert_ne!(saved(&stage), id);
    assert_eq!(climbed(&stage), steps);
    let told = stage.events("context_reset");
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0]["reason"].as_str().unwrap().contains(reason), "{told:#?}");
    let began = stage.daemon.wait_event(&task, "turn_started");
    assert!(told[0]["seq"].as_i64() < began["seq"].as_i64(), "{told:#?} {began:#}");
    // The new one is warm, and nothing more is told.
    let again = stage.prompt("fault: count");
    assert_eq!(stage.daemon.wait_task(&again)["text"], "count 2");
    assert_eq!(context(&stage, &again), "warm");
    assert_eq!(stage.events("context_reset").len(), 1);
    stage.end();
}

#[test]
fn a_conversation_is_resumed_where_the_agent_can() {
    goes_on("resume,load,list", "resumed", &["resume"]);
}

#[test]
fn a_conversation_is_loaded_where_resume_is_only_said_to_be_there() {
    goes_on("resume-lie,load,list", "loaded", &["resume", "list", "load"]);
}

#[test]
fn a_list_that_cannot_be_had_is_no_reason_not_to_load() {
    goes_on("load,list-broken", "loaded", &["list", "load"]);
}

#[test]
fn a_conversation_that_is_loaded_empty_is_lost() {
    is_lost("load-empty", "without anything in it", &["load"]);
}

#[test]
fn a_conversation_that_is_not_listed_is_lost_and_not_loaded() {
    is_lost("load-empty,list-empty", "does not list", &["list"]);
}

#[test]
fn a_conversation_that_the_agent_does_not_know_is_lost() {
    is_lost("load-unknown", "does not know", &["load"]);
}

#[test]
fn a_conversation_that_cannot_be_read_is_lost() {
    is_lost("resume-lie,load-broken", "the disk is on fire", &["resume", "load"]);
}

#[test]
fn a_conversation_of_an_agent_that_keeps_none_is_lost() {
    is_lost("nothing", "neither resume nor load", &[]);
}

/// The prompts come while the conversation is read back: the agent would complain in its ledger.
#[test]
fn prompts_wait_until_the_old_conversation_is_read_back() {
    let stage = Stage::with("memory load");
    for n in 1..=5 {
        assert_eq!(stage.ask("fault: count"), format!("count {n}"));
    }
    stage.kill_agent();
    let first = stage.prompt("fault: count");
    until("the load to begin", || climbed(&stage).pop());
    let second = stage.prompt("fault: count");
    assert_eq!(stage.daemon.wait_task(&first)["text"], "count 6");
    assert_eq!(stage.daemon.wait_task(&second)["text"], "count 7");
    assert_eq!((context(&stage, &first), context(&stage, &second)), (json!("loaded"), json!("warm")));
    stage.end();
}

#[test]
fn a_load_that_takes_too_long_does_not_cost_the_conversation() {
    let stage =
        Stage::configured("memory load", &format!("[agents.{FAULT}.process]\nstart_timeout = \"2s\""));
    assert_eq!(stage.ask("fault: count"), "count 1");
    let id = saved(&stage);
    stage.reconfigure(&["memory", "load-hang"]);
    let task = stage.prompt("fault: count");
    let told = until("the start to be given up", || stage.moves("backoff").pop());
    assert!(told["reason"].as_str().unwrap().contains("did not answer session/load"), "{told:#}");
    assert_eq!(saved(&stage), id);
    // Also if it is in the middle of the next attempt.
    stage.reconfigure(&["memory", "load"]);
    assert_eq!(stage.daemon.wait_task(&task)["text"], "count 2");
    assert_eq!((context(&stage, &task), saved(&stage)), (json!("loaded"), id));
    assert_eq!(stage.events("context_reset"), [] as [Value; 0]);
    stage.end();
}

#[test]
fn an_idle_agent_whose_configuration_changed_is_replaced_before_the_next_turn() {
    let stage = Stage::with("memory load");
    assert_eq!(stage.ask("fault: count"), "count 1");
    let (pid, hash) = (stage.pid(), stage.agent()["config_hash"].clone());
    stage.reconfigure(&["memory", "load", "another-argument"]);
    assert_eq!(stage.pid(), pid, "nobody needs the new one yet");
    let task = stage.prompt("fault: count");
    assert_eq!(stage.daemon.wait_task(&task)["text"], "count 2");
    assert_eq!(context(&stage, &task), "loaded");
    assert_ne!(stage.pid(), pid);
    assert_ne!(stage.agent()["config_hash"], hash);
    stage.wait_gone(pid);
    stage.end();
}

#[test]
fn a_busy_agent_whose_configuration_changed_is_replaced_at_the_end_of_its_turn() {
    let stage = Stage::with("memory load");
    let busy = stage.prompt_and_hear("fault: cancel-end-turn");
    let behind = stage.prompt("fault: count");
    let pid = stage.pid();
    stage.reconfigure(&["memory", "load", "another-argument"]);
    assert_eq!((stage.pid(), stage.agent()["status"].clone()), (pid, json!("busy")));
    stage.daemon.rpc("task/cancel", json!({"task": busy}));
    assert_eq!(stage.daemon.wait_task(&busy)["state"], "cancelled");
    assert_eq!(stage.daemon.wait_task(&behind)["text"], "count 2");
    assert_eq!(context(&stage, &behind), "loaded");
    assert_ne!(stage.pid(), pid);
    stage.end();
}

#[test]
fn an_agent_that_crashed_in_its_first_turn_has_nothing_to_lose() {
    let setup = Setup::new().fault(FAULT, &["memory", "load-unknown"]);
    let stage = Stage::of(setup);
    let task = stage.prompt("fault: exit");
    assert_eq!(stage.daemon.wait_task(&task)["state"], "interrupted");
    let next = stage.prompt("fault: count");
    assert_eq!(stage.daemon.wait_task(&next)["text"], "count 1");
    assert_eq!(context(&stage, &next), "fresh");
    assert_eq!(stage.events("context_reset"), [] as [Value; 0]);
    stage.end();
}

#[test]
fn a_loss_is_told_to_whoever_asked() {
    let told = "forgot what was said before: ";
    let stage = forgotten_by("load-empty");
    let words = ["prompt", "-c", &stage.chat, "-a", FAULT, "fault: count"];
    let ran = stage.daemon.hob(&words).ok().says(&[told, "without anything in it"]);
    assert_eq!(ran.stdout, "count 1\n");
    let again = stage.daemon.hob(&words).ok();
    assert!(!again.stderr.contains(told), "{again:?}");

    stage.daemon.hob(&["evict", &stage.chat, FAULT]).ok();
    let task = stage.prompt("fault: count");
    let row = stage.daemon.wait_task(&task);
    assert!(row["context_lost"].as_str().unwrap().contains("without anything in it"), "{row:#}");
    stage.daemon.hob(&["task", "show", &task]).ok();

    stage.daemon.hob(&["evict", &stage.chat, FAULT]).ok();
    let session = stage.daemon.rpc("task/show", json!({"task": task}))["session"].clone();
    let client = McpClient::start(&stage.daemon, stage.daemon.root(), &[]);
    let asked = json!({"agent": FAULT, "session": session, "prompt": "fault: count"});
    let (text, fields) = client.ok("new_task", asked);
    assert!(text.starts_with("count 1") && text.contains("had forgotten"), "{text}");
    assert!(fields["context_lost"].is_string(), "{fields:#}");
    stage.end();
}
