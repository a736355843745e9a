//! Modes and models through the bridge: offered from the start, chosen, told to everybody.

use serde_json::{Value, json};

use super::NO_START;
use crate::support::agents::{Consent, RealAgent};
use crate::support::editor::Editor;
use crate::support::home::Setup;
use crate::support::model::{MODEL_NAME, OTHER_MODEL_NAME};

/// What an answer that opened a session, or set an option of it, says of an option.
fn current(answer: &Value, option: &str) -> Value {
    let options = answer["configOptions"].as_array().unwrap_or_else(|| panic!("{answer:#}"));
    let found = options.iter().find(|it| it["id"] == option);
    found.unwrap_or_else(|| panic!("{option}: {answer:#}"))["currentValue"].clone()
}

#[test]
fn what_goose_offers_is_chosen_by_one_client_and_told_to_all() {
    let daemon = Setup::new().real(RealAgent::Goose, Consent::Asks).start();
    let repo = daemon.repo("repo");
    let open = json!({"cwd": repo.str(), "mcpServers": []});
    let mut editor = Editor::greeted(&daemon, &["-a", "goose", NO_START]);
    let unknown = editor.call("session/new", open.clone()).unwrap();
    assert_eq!(unknown["modes"], Value::Null, "goose was never started");
    let session = unknown["sessionId"].as_str().unwrap().to_owned();
    editor.ask(&session, "say: hello");

    let known = json!({"sessionId": session, "cwd": repo.str(), "mcpServers": []});
    let mut other = Editor::greeted(&daemon, &[NO_START]);
    let loaded = other.call("session/load", known.clone()).unwrap();
    assert_eq!(loaded["modes"]["currentModeId"], "approve");
    assert_eq!(current(&loaded, "model"), MODEL_NAME);

    editor.updates.clear();
    editor.call("session/set_mode", json!({"sessionId": session, "modeId": "auto"})).unwrap();
    for client in [&mut editor, &mut other] {
        client.wait_update("the mode", |update| {
            update["sessionUpdate"] == "current_mode_update" && update["currentModeId"] == "auto"
        });
    }
    let option = json!({"sessionId": session, "configId": "model", "value": OTHER_MODEL_NAME});
    let answer = other.call("session/set_config_option", option).unwrap();
    assert_eq!(
        (current(&answer, "model"), current(&answer, "mode")),
        (json!(OTHER_MODEL_NAME), json!("auto"))
    );
    editor.call("session/set_model", json!({"sessionId": session, "modelId": MODEL_NAME})).unwrap();
    let warp = json!({"sessionId": session, "modeId": "warp"});
    let refused = editor.call("session/set_mode", warp).unwrap_err();
    assert!(refused.code == -32602 && refused.message.contains("it has:"), "{refused:?}");
    // A prompt that is sent behind a choice, without waiting for its answer, runs as was chosen.
    editor.request("session/set_mode", json!({"sessionId": session, "modeId": "approve"}));
    let choice = editor.request("session/set_mode", json!({"sessionId": session, "modeId": "chat"}));
    let prompt = editor.submit(&session, "write: a.txt: unwanted");
    assert_eq!(editor.wait(choice).unwrap(), json!({}));
    assert_eq!(editor.wait(prompt).unwrap()["stopReason"], "end_turn");
    assert_eq!(editor.n_questions(), 0);

    // A new session is offered what is known of the agent, and begins as it does by itself.
    let fresh = editor.call("session/new", open).unwrap();
    assert_eq!(fresh["modes"]["currentModeId"], "approve", "{fresh:#}");
    let resumed = editor.call("session/resume", known).unwrap();
    assert_eq!(resumed["modes"]["currentModeId"], "chat");
}
