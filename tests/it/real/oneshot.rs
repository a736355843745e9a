//! The real agents run once for each prompt, with the command lines that hob knows for them.

use serde_json::{Value, json};

use super::{LONG, start};
use crate::support::agents::RealAgent;
use crate::support::daemon::TestDaemon;
use crate::support::model::End;
use crate::support::wait::until;

fn submit(daemon: &TestDaemon, chat: &str, agent: RealAgent, prompt: &str) -> String {
    let params = json!({"chat": chat, "agent": agent.name(), "prompt": prompt, "backend": "oneshot"});
    daemon.rpc("task/submit", params)["id"].as_str().unwrap().to_owned()
}

fn run(daemon: &TestDaemon, chat: &str, agent: RealAgent, prompt: &str) -> Value {
    daemon.wait_task(&submit(daemon, chat, agent, prompt))
}

fn types(daemon: &TestDaemon, task: &Value) -> Vec<Value> {
    daemon.events(json!({"task": task["id"]})).iter().map(|event| event["type"].clone()).collect()
}

/// Text, reasoning and usage arrive as events; every prompt is told to be fresh, and is.
fn text(agent: RealAgent) {
    let daemon = start(agent);
    let chat = daemon.lone_chat();
    let task = run(&daemon, &chat, agent, "--not-an-option\nthink: hm ;; usage: 700 30 ;; say: the first");
    assert_eq!((&task["state"], &task["backend"]), (&json!("completed"), &json!("oneshot")), "{task:#}");
    assert_eq!(task["text"], "the first", "{task:#}");
    assert_eq!((&task["usage"]["input"], &task["usage"]["output"]), (&json!(700), &json!(30)), "{task:#}");
    let usage = daemon.events(json!({"task": task["id"], "types": ["usage"]}));
    assert_eq!(usage.len(), 1, "{usage:#?}");
    assert_eq!((&usage[0]["input"], &usage[0]["output"]), (&json!(700), &json!(30)), "{usage:#?}");
    let reasoning = daemon.events(json!({"task": task["id"], "types": ["reasoning"]}));
    assert_eq!(reasoning.iter().map(|e| e["text"].as_str().unwrap()).collect::<String>().trim(), "hm");
    assert!(
        !types(&daemon, &task).contains(&json!("raw")),
        "{:?}",
        daemon.events(json!({"task": task["id"]}))
    );

    assert_eq!(run(&daemon, &chat, agent, "count")["text"], "prompts=1");
    assert_eq!(super::contexts(&daemon, &chat), ["fresh", "fresh"]);
    assert_eq!(daemon.agent_session(&chat, agent.name())["pid"], Value::Null);
}

/// A file that is written is in the worktree, and the call is told with its end.
fn file(agent: RealAgent) {
    let daemon = start(agent);
    let session = daemon.session(&daemon.repo("repo"));
    let chat = daemon.chat(&session);
    // qwen wants whole paths, the others take them.
    let path = session.worktree.join("notes.txt");
    let task = run(&daemon, &chat, agent, &format!("write: {}: by a run ;; say: done", path.display()));
    assert_eq!((&task["state"], &task["text"]), (&json!("completed"), &json!("done")), "{task:#}");
    assert_eq!(std::fs::read_to_string(path).unwrap().trim_end(), "by a run");
    let calls = daemon.events(json!({"task": task["id"], "types": ["tool_call"]}));
    assert_eq!((calls.len(), &calls[0]["kind"]), (1, &json!("edit")), "{calls:#?}");
    let updates = daemon.events(json!({"task": task["id"], "types": ["tool_update"]}));
    assert_eq!(updates.last().unwrap()["status"], "completed", "{updates:#?}");
    assert_eq!(updates.last().unwrap()["call"], calls[0]["call"]);
}

/// An error of the model fails the task, whatever the program exits with.
fn model_error(agent: RealAgent) {
    let daemon = start(agent);
    let chat = daemon.lone_chat();
    let task = run(&daemon, &chat, agent, "error: 401");
    assert_eq!(task["state"], "failed", "{task:#}");
    let error = task["outcome"]["error"].as_str().unwrap();
    assert!(["401", "APIError"].iter().any(|word| error.contains(word)), "{error}");
    let status = || daemon.agent_session(&chat, agent.name())["status"].clone();
    until("the agent session to be idle", || (status() == "idle").then_some(()));
    assert_eq!(run(&daemon, &chat, agent, "say: well")["text"], "well");
}

/// Cancelled while the model speaks, nothing is left of the run, and the connection is closed.
fn cancel(agent: RealAgent) {
    let daemon = start(agent);
    let chat = daemon.lone_chat();
    let task = submit(&daemon, &chat, agent, LONG);
    daemon.model().wait_asked(LONG);
    daemon.rpc("task/cancel", json!({"task": task}));
    let ended = daemon.wait_task(&task);
    assert_eq!(ended["state"], "cancelled", "{ended:#}");
    let seen = daemon.model().wait_for(LONG, |exchange| exchange.end.is_some());
    assert_eq!(seen.end, Some(End::ClientGone));
    let run_of = |command: &str| command.contains("slow: 2000");
    assert!(!daemon.processes().iter().any(|process| run_of(&process.command)), "{:?}", daemon.processes());
    assert_eq!(run(&daemon, &chat, agent, "say: still here")["text"], "still here");
}

macro_rules! runs_of {
    ($module:ident, $agent:expr) => {
        mod $module {
            use super::RealAgent;

            #[test]
            fn text_reasoning_and_usage_arrive() {
                super::text($agent);
            }

            #[test]
            fn a_file_is_written_into_the_worktree() {
                super::file($agent);
            }

            #[test]
            fn an_error_of_the_model_fails_the_task() {
                super::model_error($agent);
            }

            #[test]
            fn a_cancel_in_mid_stream_leaves_nothing() {
                super::cancel($agent);
            }
        }
    };
}

runs_of!(goose, RealAgent::Goose);
runs_of!(qwen, RealAgent::Qwen);
runs_of!(opencode, RealAgent::Opencode);

#[test]
fn a_run_beside_the_kept_agent_leaves_its_process_and_context_alone() {
    let agent = RealAgent::Goose;
    let daemon = start(agent);
    let chat = daemon.lone_chat();
    daemon.ask(&chat, agent.name(), "say: kept");
    let pid = daemon.agent_pid(&chat, agent.name());
    assert_eq!(run(&daemon, &chat, agent, "count")["text"], "prompts=1");
    assert_eq!(daemon.ask(&chat, agent.name(), "count"), "prompts=2");
    assert_eq!(daemon.agent_pid(&chat, agent.name()), pid);
}
