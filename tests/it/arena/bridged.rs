//! Arenas through `hob mcp`: for a person's client, and for a real agent.

use rmcp::ServiceError;
use serde_json::json;

use super::{Ring, SIGN};
use crate::support::agents::{Consent, RealAgent};
use crate::support::demo::long;
use crate::support::home::Setup;
use crate::support::mcp::McpClient;
use crate::support::wait::until;

fn client(ring: &Ring) -> McpClient {
    McpClient::start(&ring.daemon, &ring.repo.path, &["--no-start"])
}

#[test]
fn an_arena_is_waited_for_with_its_checks_and_tells_how_far_it_is() {
    let ring = Ring::set("[permissions]\ndefault = \"allow\"");
    let client = client(&ring);
    let asked = json!({"agents": ["left", "right"], "prompt": SIGN, "check": "sleep 7; grep left who.txt"});
    let (_, shown) = client.ok("arena", asked);
    let entries = shown["arena"]["entries"].as_array().unwrap();
    let told: Vec<_> =
        entries.iter().map(|entry| (&entry["agent"], &entry["state"], &entry["check"]["state"])).collect();
    let done = json!("completed");
    let expected = [(&json!("left"), &done, &json!("passed")), (&json!("right"), &done, &json!("failed"))];
    assert_eq!(told, expected, "{shown:#}");
    for line in ["left began", "right began"] {
        client.wait_told(line);
    }
    let n_told = client.told().iter().filter(|line| *line == "checks run").count();
    assert!(n_told >= 2, "at once, and after five seconds: {:?}", client.told());
    let (_, detached) =
        client.ok("arena", json!({"agents": ["left", "right"], "prompt": SIGN, "wait": false}));
    assert!(detached["arena"]["id"].as_str().unwrap().starts_with("a-"), "{detached:#}");
}

#[test]
fn an_arena_of_one_is_a_bad_parameter_and_a_missing_agent_is_told() {
    let ring = Ring::set("");
    let client = client(&ring);
    let error = client.call("arena", json!({"agents": ["left"], "prompt": "x"})).expect_err("one");
    let ServiceError::McpError(error) = error else { panic!("{error}") };
    assert_eq!((error.code.0, error.data), (-32602, Some(json!({"path": "agents"}))));
    let (text, told) = client.fails("arena", json!({"agents": ["left", "nobody"], "prompt": "x"}));
    assert_eq!(told["kind"], "not_found", "{told:#}");
    assert!(text.contains("nobody"), "{text}");
}

#[test]
fn a_cancelled_arena_cancels_every_entry() {
    let ring = Ring::set("");
    let client = client(&ring);
    let calling = client.begin("arena", json!({"agents": ["left", "right"], "prompt": long()}));
    let running = || {
        let rows = ring.daemon.rpc("task/list", json!({"state": "running"}));
        let rows = rows.as_array().unwrap();
        (rows.len() == 2)
            .then(|| rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>())
    };
    let tasks = until("both to run", running);
    client.cancel(calling);
    for task in tasks {
        assert_eq!(ring.daemon.wait_task(&task)["state"], "cancelled");
    }
}

#[test]
fn a_real_agent_starts_an_arena_over_its_own_session() {
    let goose = RealAgent::Goose;
    let mut setup = Setup::new().real(goose, Consent::Assumes).config("[agents.goose]\nmcp = true");
    setup = setup.real(RealAgent::Qwen, Consent::Assumes);
    let daemon = setup.start();
    let chat = daemon.lone_chat();
    let prompt = format!("tool: arena {}", json!({"agents": ["demo", "qwen"], "prompt": "say: of two"}));
    let task = daemon.run(&chat, goose.name(), &prompt);
    let arenas = daemon.rpc("arena/list", json!({}));
    assert_eq!(arenas[0]["parent"], task["id"], "{task:#} {arenas:#}");
    for entry in arenas[0]["entries"].as_array().unwrap() {
        assert_eq!((&entry["state"], &entry["text"]), (&json!("completed"), &json!("of two")), "{arenas:#}");
    }
}
