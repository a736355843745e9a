//! JSON that most readers refuse: halves of characters, zero bytes, numbers without end, nesting without
//! end. It ends neither a turn nor any reader of the journal, in rows of today and of before.

use serde_json::{Value, json};

use crate::support::daemon::TestDaemon;
use crate::support::demo::{DEMO, say};
use crate::support::editor::Editor;
use crate::support::home::Setup;

/// The agent that misbehaves.
const FAULT: &str = "fault";

/// Reads the whole journal with every reader of ours, and gives the events.
#[track_caller]
fn every_reader(daemon: &TestDaemon, chat: &str) -> Vec<Value> {
    daemon.hob(&["log"]).ok();
    let lines = daemon.hob(&["log", "--json"]).ok().stdout;
    let events: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(daemon.events(json!({})).len(), events.len());
    let head = events.last().unwrap()["seq"].as_i64().unwrap();
    let mut client = daemon.connect();
    client.call("events/subscribe", json!({"after": 0})).unwrap();
    client.event(|event| event["seq"] == head);
    let mut editor = Editor::greeted(daemon, &[]);
    editor.call("session/load", json!({"sessionId": chat, "cwd": "/", "mcpServers": []})).unwrap();
    events
}

fn texts(events: &[Value], kind: &str) -> String {
    let of = events.iter().filter(|event| event["type"] == kind);
    of.map(|event| event["text"].as_str().unwrap_or_default()).collect()
}

#[test]
fn what_an_agent_says_ends_no_turn_and_no_reader() {
    let daemon = Setup::new().fault(FAULT, &["odd-json"]).start();
    let repo = daemon.repo("repo");
    let shown = daemon.hob(&["prompt", "-C", repo.str(), "-a", FAULT, "go"]).ok();
    assert!(shown.stdout.contains("half \u{fffd} zero \u{fffd} end"), "{}", shown.stdout);
    let task = daemon.rpc("task/list", json!({}))[0].clone();
    assert_eq!(
        (&task["state"], &task["text"]),
        (&json!("completed"), &json!("half \u{fffd} zero \u{fffd} end"))
    );

    let events = every_reader(&daemon, task["chat"].as_str().unwrap());
    assert!(texts(&events, "notice").contains("JSON readers refuse"), "{events:#?}");
    let call = events.iter().find(|event| event["type"] == "tool_call").unwrap();
    assert_eq!((&call["title"], &call["input"]["n"]), (&json!("\u{fffd}"), &json!("1e400")));
}

#[test]
fn rows_of_before_are_repaired_by_whoever_reads_them() {
    let mut daemon = Setup::new().start();
    let chat = daemon.lone_chat();
    daemon.ask(&chat, DEMO, &say("one two three four"));
    daemon.stop();
    let deep = format!(r#"{{"update":{}1{}}}"#, "[".repeat(500), "]".repeat(500));
    let rows = [
        (r#"{"text":"half \ud83d","message":null}"#, "text"),
        (r#"{"text":"zero \u0000","message":"m"}"#, "text"),
        (r#"{"text":null,"message":1e999}"#, "reasoning"),
        (&deep, "raw"),
        (r#"{"update": "#, "raw"),
        ("", "raw"),
        ("[]", "notice"),
        ("{}", "from_the_future"),
    ];
    let database = rusqlite::Connection::open(daemon.hob_home().join("hob.db")).unwrap();
    for (payload, kind) in rows {
        let copied = "INSERT INTO events (seq, at, session_id, chat_id, agent, type, payload)
             SELECT max(seq) + 1, max(at), max(session_id), max(chat_id), max(agent), ?1, ?2 FROM events";
        database.execute(copied, [kind, payload]).unwrap();
    }
    drop(database);
    daemon.start_again();

    let events = every_reader(&daemon, &chat);
    assert!(texts(&events, "text").ends_with("half \u{fffd}zero \u{fffd}"), "{events:#?}");
    let unreadable = events.iter().filter(|event| event["unreadable"].is_string()).count();
    assert_eq!(unreadable, 3, "{events:#?}");
    // And the chat goes on.
    assert_eq!(daemon.ask(&chat, DEMO, &say("again")), "again");
}
