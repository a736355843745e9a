//! Real agents that are handed hob's MCP server (`mcp = true`) give work to other real agents.

use serde_json::{Value, json};

use crate::support::agents::{Consent, RealAgent};
use crate::support::daemon::TestDaemon;
use crate::support::demo::{DEMO, long};
use crate::support::home::Setup;
use crate::support::wait::until;

/// One turn at a time, and one process.
const ONE_OF_EACH: &str = "[dispatch]\nmax_running = 1\n[pool]\nmax_live = 1";

/// A daemon with real agents, of which the first can delegate.
fn stage(agents: &[RealAgent], config: &str) -> TestDaemon {
    let setup = agents.iter().fold(Setup::new(), |setup, agent| setup.real(*agent, Consent::Assumes));
    setup.config(&format!("[agents.{}]\nmcp = true", agents[0].name())).config(config).start()
}

/// A prompt that has one agent give a prompt to another one and repeat its answer.
fn delegate(from: RealAgent, to: &str, prompt: &str) -> String {
    let call = format!("tool: new_task {}", json!({"agent": to, "prompt": prompt}));
    match from {
        // Its model has to look for the tools of servers before it can call them.
        RealAgent::Qwen => {
            format!("tool: tool_search {} ;; {call}", json!({"query": "select:mcp__hob__new_task"}))
        }
        RealAgent::Goose | RealAgent::Opencode | RealAgent::OpencodeServer => call,
    }
}

/// The tasks that agents made, the oldest first.
fn made(daemon: &TestDaemon) -> Vec<Value> {
    let Value::Array(mut rows) = daemon.rpc("task/list", json!({})) else { panic!("a list") };
    rows.retain(|row| row["source"] == "mcp");
    rows.reverse();
    rows
}

fn gets_the_answer_of(agent: RealAgent, other: RealAgent) {
    let daemon = stage(&[agent, other], ONE_OF_EACH);
    let chat = daemon.lone_chat();
    let parent = daemon.run(&chat, agent.name(), &delegate(agent, other.name(), "say: the answer"));
    assert_eq!(parent["state"], "completed", "{parent:#}");
    assert!(parent["text"].as_str().unwrap().contains("the answer"), "{parent:#}");
    let made = made(&daemon);
    assert_eq!(made.len(), 1, "{made:#?}");
    let child = &made[0];
    assert_eq!((&child["parent"], &child["agent"]), (&parent["id"], &json!(other.name())), "{child:#}");
    assert_eq!((&child["session"], &child["state"]), (&parent["session"], &json!("completed")), "{child:#}");
    assert_ne!(child["chat"], parent["chat"]);
    // Its conversation is taken up again with the server at hand.
    daemon.rpc("pool/evict", json!({"chat": chat, "agent": agent.name()}));
    let again = daemon.ask(&chat, agent.name(), &delegate(agent, other.name(), "say: once more"));
    assert!(again.contains("once more"), "{again}");
}

#[test]
fn goose_asks_qwen_and_gets_its_answer_in_the_same_turn_with_one_place_for_both() {
    gets_the_answer_of(RealAgent::Goose, RealAgent::Qwen);
}

#[test]
fn qwen_asks_goose_and_gets_its_answer_in_the_same_turn_with_one_place_for_both() {
    gets_the_answer_of(RealAgent::Qwen, RealAgent::Goose);
}

#[test]
fn opencode_asks_goose_and_gets_its_answer_in_the_same_turn_with_one_place_for_both() {
    gets_the_answer_of(RealAgent::Opencode, RealAgent::Goose);
}

#[test]
fn of_many_turns_on_one_server_the_one_in_whose_worktree_the_call_is_made_is_the_parent() {
    let agent = RealAgent::OpencodeServer;
    let daemon = stage(&[agent], "");
    let (first, second) = (daemon.lone_chat(), daemon.lone_chat());
    for chat in [&first, &second] {
        daemon.ask(chat, agent.name(), "say: warm");
    }
    assert_eq!(daemon.agent_pid(&first, agent.name()), daemon.agent_pid(&second, agent.name()));
    // The one that asks began before the other: were it not for the worktree, the last would count.
    let asking = format!("think: hm ;; sleep: 5000 ;; {}", delegate(agent, DEMO, "say: the answer"));
    let parent = daemon.submit(&first, agent.name(), &asking);
    daemon.wait_event(&parent, "turn_started");
    let other = daemon.submit(&second, agent.name(), "slow: 2000 25");
    daemon.wait_event(&other, "text");
    let ended = daemon.wait_task(&parent);
    assert!(ended["text"].as_str().unwrap_or_default().contains("the answer"), "{ended:#}");
    let made = made(&daemon);
    assert_eq!((made.len(), &made[0]["parent"]), (1, &json!(parent)), "{made:#?}");
    assert_eq!(made[0]["session"], ended["session"]);
    assert_eq!(daemon.rpc("task/show", json!({"task": other}))["state"], "running", "both were busy at once");
    daemon.rpc("task/cancel", json!({"task": other}));
    daemon.wait_task(&other);
}

#[test]
fn opencode_as_a_server_asks_goose_and_gets_its_answer_in_the_same_turn_with_one_place_for_both() {
    gets_the_answer_of(RealAgent::OpencodeServer, RealAgent::Goose);
}

/// Cancels a turn that waits for a task of its own making; how that task ends.
fn child_of_a_cancelled(agent: RealAgent) -> Value {
    // An agent that is too slow would be ended, and what it waits for would go on.
    let daemon = stage(&[agent], "[process]\ncancel_grace = \"60s\"");
    let chat = daemon.lone_chat();
    let parent = daemon.submit(&chat, agent.name(), &delegate(agent, DEMO, &long()));
    let child = until("the child to run", || {
        let made = made(&daemon);
        made.first().filter(|row| row["state"] == "running").map(|row| row["id"].clone())
    });
    let child = child.as_str().unwrap();
    daemon.wait_event(child, "text");
    daemon.rpc("task/cancel", json!({"task": parent}));
    assert_eq!(daemon.wait_task(&parent)["state"], "cancelled");
    daemon.wait_task(child)
}

#[test]
fn goose_that_is_cancelled_cancels_its_child() {
    assert_eq!(child_of_a_cancelled(RealAgent::Goose)["state"], "cancelled");
}

#[test]
fn qwen_that_is_cancelled_cancels_its_child() {
    assert_eq!(child_of_a_cancelled(RealAgent::Qwen)["state"], "cancelled");
}

#[test]
fn opencode_that_is_cancelled_cancels_its_child() {
    assert_eq!(child_of_a_cancelled(RealAgent::Opencode)["state"], "cancelled");
}

#[test]
fn the_fourth_level_is_refused_with_a_reason() {
    let daemon = stage(&[RealAgent::Goose], "");
    let chat = daemon.lone_chat();
    let mut prompt = "say: too deep".to_owned();
    for _ in 0..4 {
        prompt = delegate(RealAgent::Goose, RealAgent::Goose.name(), &prompt);
    }
    let top = daemon.run(&chat, RealAgent::Goose.name(), &prompt);
    assert_eq!(top["state"], "completed", "{top:#}");
    let made = made(&daemon);
    assert_eq!(made.len(), 3, "{made:#?}");
    let told = top["text"].as_str().unwrap();
    assert!(told.contains("may not be nested deeper (3) (depth)"), "{told}");
    assert!(!told.contains("too deep"), "{told}");
}
