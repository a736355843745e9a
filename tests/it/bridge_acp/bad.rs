//! What an editor should not send, and where it should not stand.

use serde_json::json;

use super::{NO_START, stage};
use crate::support::demo::{CRASH, say};
use crate::support::editor::Editor;
use crate::support::home::{Ran, Setup};

#[test]
fn every_bad_request_is_answered_with_what_is_wrong() {
    let (daemon, repo, mut editor) = stage();
    let session = editor.session(repo.str());
    let file = repo.path.join("README.md");
    let block = |block: serde_json::Value| json!({"sessionId": session, "prompt": [block]});
    let nothing = || json!({});
    let cases = [
        ("session/fly", nothing(), -32601, "session/fly"),
        ("session/fork", json!({"sessionId": session, "cwd": repo.str()}), -32601, "session/fork"),
        ("initialize", nothing(), -32602, "protocolVersion"),
        ("initialize", json!([1]), -32602, "object"),
        ("authenticate", json!({"methodId": "x"}), -32602, "methodId"),
        ("session/new", nothing(), -32602, "cwd: missing field"),
        ("session/new", json!({"cwd": 7}), -32602, "cwd: invalid type"),
        ("session/new", json!({"cwd": "repo", "mcpServers": []}), -32602, "`repo` is not absolute"),
        ("session/new", json!({"cwd": "/no/such/place"}), -32602, "No such file"),
        ("session/new", json!({"cwd": file}), -32602, "not a directory"),
        ("session/new", json!({"cwd": daemon.user_home()}), -32602, "git init"),
        ("session/load", json!({"sessionId": session}), -32602, "cwd: missing field"),
        ("session/load", json!({"sessionId": "c-nosuch", "cwd": repo.str()}), -32002, "c-nosuch"),
        ("session/resume", json!({"sessionId": "c-nosuch", "cwd": repo.str()}), -32002, "c-nosuch"),
        ("session/close", json!({"sessionId": "c-nosuch"}), -32002, "c-nosuch"),
        ("session/prompt", json!({"sessionId": "c-nosuch", "prompt": []}), -32002, "c-nosuch"),
        ("session/prompt", json!({"sessionId": session}), -32602, "prompt: missing field"),
        ("session/prompt", json!({"sessionId": session, "prompt": "hi"}), -32602, "prompt: invalid type"),
        ("session/prompt", json!({"sessionId": session, "prompt": []}), -32602, "says nothing"),
        (
            "session/prompt",
            block(json!({"type": "image", "data": "", "mimeType": "x"})),
            -32602,
            "prompt[0]: image",
        ),
        ("session/prompt", block(json!({"type": "text"})), -32602, "prompt[0]: missing field `text`"),
        ("session/list", json!({"cursor": "x"}), -32602, "cursor"),
        ("session/list", json!({"cwd": "x"}), -32602, "not absolute"),
        ("session/set_mode", json!({"sessionId": session}), -32602, "modeId: missing field"),
        ("session/set_mode", json!({"sessionId": "c-nosuch", "modeId": "x"}), -32002, "c-nosuch"),
        ("session/set_model", json!({"sessionId": session, "modelId": 7}), -32602, "modelId: invalid type"),
        ("session/set_config_option", json!({"sessionId": session}), -32602, "configId: missing field"),
        (
            "session/set_config_option",
            json!({"sessionId": session, "configId": "effort", "value": "x"}),
            -32602,
            "there are `mode` and `model`",
        ),
    ];
    for (method, params, code, word) in cases {
        let refused = editor.call(method, params.clone()).expect_err(method);
        assert_eq!(refused.code, code, "{method} {params}: {refused:?}");
        assert!(refused.message.contains(word), "{method} {params}: {refused:?}");
    }
    let refused = editor.call("session/prompt", json!({"sessionId": "c-x", "prompt": []})).unwrap_err();
    assert_eq!(refused.data["sessionId"], "c-x");
    assert_eq!(editor.ask(&session, &say("well")), "well");
}

#[test]
fn a_line_that_is_no_message_is_ignored_and_noted() {
    let (_daemon, repo, mut editor) = stage();
    let session = editor.session(repo.str());
    for line in ["hello", "{\"half\":", "[]", "42", "{}", "", "{\"jsonrpc\":\"2.0\",\"id\":9,\"result\":1}"] {
        editor.send_line(line);
    }
    editor.notify("session/fly", json!({}));
    editor.notify("$/progress", json!({}));
    editor.notify("session/cancel", json!({"sessionId": "c-nosuch"}));
    assert_eq!(editor.ask(&session, &say("well")), "well");
    for word in ["hello", "{\"half\":", "session/fly", "c-nosuch"] {
        editor.wait_says(word);
    }
}

#[test]
fn a_prompt_that_is_too_long_is_refused_and_the_next_one_is_not() {
    let daemon = Setup::new().config("[control]\nmax_frame = \"64KiB\"").start();
    let repo = daemon.repo("repo");
    let mut editor = Editor::greeted(&daemon, &["-a", "demo", NO_START]);
    let session = editor.session(repo.str());
    for _ in 0..2 {
        let refused = editor.prompt(&session, &say(&"long ".repeat(20_000))).unwrap_err();
        assert!(refused.message.contains("bytes"), "{refused:?}");
        assert_eq!(editor.ask(&session, &say("well")), "well");
    }
}

#[test]
fn a_turn_that_fails_is_an_error_with_its_reason() {
    let (_daemon, repo, mut editor) = stage();
    let session = editor.session(repo.str());
    let failed = editor.prompt(&session, CRASH).unwrap_err();
    assert_eq!(failed.code, -32603, "{failed:?}");
    assert_eq!(failed.data["state"], "failed", "{failed:?}");
    assert!(failed.message.contains("exited with code 1"), "{failed:?}");
    assert_eq!(editor.ask(&session, &say("well")), "well");
}

#[test]
fn a_closed_chat_is_no_session() {
    let (daemon, repo, mut editor) = stage();
    let session = editor.session(repo.str());
    daemon.hob(&["chat", "close", &session]).ok();
    let known = json!({"sessionId": session, "cwd": repo.str()});
    assert_eq!(editor.call("session/load", known).unwrap_err().code, -32002);
    let refused = editor.prompt(&session, &say("x")).unwrap_err();
    assert!(refused.message.contains("closed"), "{refused:?}");
}

#[test]
fn what_the_person_named_wrongly_is_told_before_anything_is_served() {
    let daemon = Setup::new().start();
    let run = |arguments: &[&str]| Ran::of(daemon.hob_command(arguments).output().unwrap());
    run(&["acp", "-a", "nosuch"]).exit(5).says(&["nosuch", "hob agent ls"]);
    run(&["acp", "-s", "s-nosuch"]).exit(5).says(&["s-nosuch"]);
    run(&["acp", "--no-such-flag"]).exit(2);
    // Nothing on stdin: nothing to do, and that is well.
    run(&["acp"]).exit(0);
}

#[test]
fn without_a_daemon_a_session_cannot_be_made() {
    let home = Setup::new().home();
    let repo = home.repo("repo");
    let mut editor = Editor::greeted(&home, &[NO_START]);
    let refused = editor.call("session/new", json!({"cwd": repo.str()})).unwrap_err();
    assert!(refused.message.contains("no daemon"), "{refused:?}");
}
