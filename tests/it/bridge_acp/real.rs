//! A real agent behind the bridge.

use serde_json::{Value, json};

use super::NO_START;
use crate::support::agents::{Consent, RealAgent};
use crate::support::editor::Editor;
use crate::support::home::Setup;
use crate::support::model::End;

/// A turn that is still under way when a test looks.
const LONG: &str = "slow: 2000 25";

#[test]
fn goose_is_driven_through_the_bridge_over_every_death() {
    let loaded = over_every_death(RealAgent::Goose);
    // It offers modes and models, which is known once it has run.
    assert_eq!(loaded["modes"]["currentModeId"], "approve", "{loaded:#}");
    let models = loaded["configOptions"].as_array().unwrap().iter().find(|option| option["id"] == "model");
    assert!(models.is_some(), "{loaded:#}");
}

#[test]
fn the_server_of_opencode_is_driven_through_the_bridge_over_every_death() {
    over_every_death(RealAgent::OpencodeServer);
}

/// A session, a prompt, a question answered with yes and with no, a cancel; then everything dies,
/// and the next prompt remembers all of it. Returns what the session was loaded with.
fn over_every_death(agent: RealAgent) -> Value {
    let mut daemon = Setup::new().real(agent, Consent::Asks).start();
    let repo = daemon.repo("repo");
    let mut editor = Editor::greeted(&daemon, &["-a", agent.name(), NO_START]);
    let session = editor.session(repo.str());
    assert_eq!(editor.ask(&session, "usage: 700 30 ;; say: hello there"), "hello there");
    let chat = daemon.rpc("chat/show", json!({"chat": session}));
    let of = daemon.rpc("session/show", json!({"session": chat["session"]}));
    let worktree = std::path::PathBuf::from(of["worktree"]["path"].as_str().unwrap());

    for (kind, name, exists) in [("allow_once", "yes.txt", true), ("reject_once", "no.txt", false)] {
        let prompt = editor.submit(&session, &format!("write: {name}: asked for"));
        let question = editor.question();
        assert!(!worktree.join(name).exists());
        editor.choose(&question, kind);
        assert_eq!(editor.wait(prompt).unwrap()["stopReason"], "end_turn");
        assert_eq!(worktree.join(name).exists(), exists, "{name}");
    }

    let prompt = editor.submit(&session, LONG);
    editor.updates.clear();
    editor.wait_update("a word", |update| update["sessionUpdate"] == "agent_message_chunk");
    editor.notify("session/cancel", json!({"sessionId": session}));
    assert_eq!(editor.wait(prompt).unwrap()["stopReason"], "cancelled");
    let seen = daemon.model().wait_for(LONG, |exchange| exchange.end.is_some());
    assert_eq!(seen.end, Some(End::ClientGone));

    editor.sigkill();
    daemon.sigkill();
    daemon.start_again();
    let mut editor = Editor::greeted(&daemon, &[NO_START]);
    let known = json!({"sessionId": session, "cwd": repo.str(), "mcpServers": []});
    let loaded = editor.call("session/load", known).unwrap();
    assert!(editor.said(&session, "agent_message_chunk").starts_with("hello there"));
    assert_eq!(editor.ask(&session, "count"), "prompts=5");
    loaded
}

#[test]
fn what_a_real_agent_says_reaches_the_editor_as_the_journal_has_it() {
    let daemon = Setup::new().real(RealAgent::Qwen, Consent::Assumes).start();
    let repo = daemon.repo("repo");
    let mut editor = Editor::greeted(&daemon, &["-a", "qwen", NO_START]);
    let session = editor.session(repo.str());
    let answer = editor.prompt(&session, "think: hm ;; usage: 700 30 ;; say: hello").unwrap();
    assert_eq!(answer["usage"]["inputTokens"], 700, "{answer}");
    assert_eq!(editor.said(&session, "agent_thought_chunk").trim(), "hm");
    assert_eq!(editor.said(&session, "agent_message_chunk"), "hello");
    let text: String = daemon
        .events(json!({"chat": session, "types": ["text"]}))
        .iter()
        .filter_map(|event| event["text"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(text, "hello");
    let raw = daemon.events(json!({"chat": session, "types": ["raw"]}));
    for event in raw {
        // Also what was said when the turn was over already.
        editor.wait_update("what the journal has", |update| *update == event["update"]);
    }
}
