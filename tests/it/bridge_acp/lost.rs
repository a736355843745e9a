//! Ends that nobody wished for: of the bridge, of the daemon, of the editor.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::{NO_START, stage};
use crate::support::demo::{COUNT, DEMO, ask, long, say, slow};
use crate::support::editor::Editor;
use crate::support::home::Setup;

/// What runs is cancelled and answered before the bridge ends, which gives up after 12 seconds.
const ENDS_WITHIN: Duration = Duration::from_secs(30);
/// Where there is no daemon there is nothing to wait for.
const ENDS_AT_ONCE: Duration = Duration::from_secs(10);

fn known(session: &str, cwd: &str) -> Value {
    json!({"sessionId": session, "cwd": cwd})
}

fn wait_first_word(editor: &mut Editor) {
    editor.wait_update("the first word", |update| update["content"]["text"] == "tok1 ");
}

#[test]
fn a_chat_outlives_its_bridge_and_its_daemon() {
    let (mut daemon, repo, mut editor) = stage();
    let session = editor.session(repo.str());
    assert_eq!(editor.ask(&session, COUNT), "count prompts=1");
    editor.sigkill();
    daemon.sigkill();
    daemon.start_again();
    let mut editor = Editor::greeted(&daemon, &[NO_START]);
    editor.call("session/load", known(&session, repo.str())).unwrap();
    assert_eq!(editor.said(&session, "agent_message_chunk"), "count prompts=1");
    assert_eq!(editor.ask(&session, COUNT), "count prompts=2");
}

#[test]
fn a_turn_outlives_its_bridge_and_the_next_one_sees_it_end() {
    let (daemon, repo, mut editor) = stage();
    let session = editor.session(repo.str());
    editor.submit(&session, &format!("{} ;; say: the end", slow(100, 20)));
    wait_first_word(&mut editor);
    editor.sigkill();
    let mut editor = Editor::greeted(&daemon, &[NO_START]);
    editor.call("session/load", known(&session, repo.str())).unwrap();
    editor.wait_update("the end", |update| update["content"]["text"] == "end");
    let said = editor.said(&session, "agent_message_chunk");
    assert!(said.starts_with("tok1 tok2 ") && said.contains(" tok100 "), "{said}");
    assert_eq!(said.matches("tok50 ").count(), 1, "nothing is told twice");
    // A turn that somebody began before can be cancelled, too.
    editor.updates.clear();
    let task = daemon.submit(&session, DEMO, &long());
    editor.wait_update("its first word", |update| update["content"]["text"] == "tok1 ");
    editor.notify("session/cancel", json!({"sessionId": session}));
    assert_eq!(daemon.wait_task(&task)["state"], "cancelled");
}

#[test]
fn a_daemon_that_dies_in_mid_turn_and_returns_costs_that_turn_alone() {
    let (mut daemon, repo, mut editor) = stage();
    let session = editor.session(repo.str());
    assert_eq!(editor.ask(&session, COUNT), "count prompts=1");
    let prompt = editor.submit(&session, &long());
    wait_first_word(&mut editor);
    daemon.sigkill();
    daemon.start_again();
    let failed = editor.wait(prompt).unwrap_err();
    assert_eq!((failed.code, &failed.data["state"]), (-32603, &json!("interrupted")), "{failed:?}");
    assert_eq!(editor.ask(&session, COUNT), "count prompts=3");
    // Idle, as well; a question that waits is taken back with its turn.
    daemon.sigkill();
    daemon.start_again();
    let prompt = editor.submit(&session, &ask("May I?"));
    let question = editor.question();
    daemon.sigkill();
    daemon.start_again();
    editor.wait(prompt).unwrap_err();
    editor.wait_withdrawn(&question);
    assert_eq!(editor.ask(&session, &say("well")), "well");
}

#[test]
fn a_daemon_that_does_not_come_back_fails_what_waits_for_it() {
    let mut daemon = Setup::new().start();
    let repo = daemon.repo("repo");
    let mut editor = Editor::greeted(&daemon, &["-a", DEMO]);
    let session = editor.session(repo.str());
    let prompt = editor.submit(&session, &long());
    wait_first_word(&mut editor);
    daemon.write_config("no configuration");
    daemon.sigkill();
    let failed = editor.wait(prompt).unwrap_err();
    assert_eq!(failed.code, -32603);
    assert!(failed.message.contains("config.toml"), "{failed:?}");
    let failed = editor.prompt(&session, COUNT).unwrap_err();
    assert!(failed.message.contains("config.toml"), "{failed:?}");
    daemon.write_config("[pool]\nmin_available = \"0B\"\n");
    assert_eq!(editor.ask(&session, COUNT), "count prompts=2");
    drop(editor);
    daemon.hob(&["down", "--now"]).ok();
    daemon.start_again();
}

#[test]
fn an_editor_that_goes_away_cancels_what_it_asked_for_and_every_request_is_answered() {
    let (daemon, repo, mut editor) = stage();
    let (one, two) = (editor.session(repo.str()), editor.session(repo.str()));
    let prompts = [editor.submit(&one, &long()), editor.submit(&two, &ask("May I?"))];
    wait_first_word(&mut editor);
    editor.question();
    editor.hang_up();
    for prompt in prompts {
        assert_eq!(editor.wait(prompt).unwrap()["stopReason"], "cancelled");
    }
    assert!(editor.wait_end(ENDS_WITHIN).success());
    for session in [one, two] {
        let tasks = daemon.rpc("task/list", json!({"chat": session}));
        assert_eq!(tasks[0]["state"], "cancelled", "{tasks:#}");
    }
}

#[test]
fn a_signal_is_an_end_like_that_of_the_editor() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let (daemon, repo, mut editor) = stage();
        let session = editor.session(repo.str());
        let prompt = editor.submit(&session, &long());
        wait_first_word(&mut editor);
        kill(Pid::from_raw(editor.pid().try_into().unwrap()), signal).unwrap();
        assert_eq!(editor.wait(prompt).unwrap()["stopReason"], "cancelled", "{signal}");
        assert!(editor.wait_end(ENDS_WITHIN).success());
        let tasks = daemon.rpc("task/list", json!({"chat": session}));
        assert_eq!(tasks[0]["state"], "cancelled", "{tasks:#}");
    }
}

#[test]
fn without_the_daemon_an_editor_that_goes_away_is_answered_all_the_same() {
    let (mut daemon, repo, mut editor) = stage();
    let session = editor.session(repo.str());
    let prompt = editor.submit(&session, &long());
    wait_first_word(&mut editor);
    daemon.sigkill();
    let hung_up = Instant::now();
    editor.hang_up();
    assert_eq!(editor.wait(prompt).unwrap_err().code, -32603);
    assert!(hung_up.elapsed() < ENDS_AT_ONCE);
    assert!(editor.wait_end(ENDS_AT_ONCE).success());
    daemon.start_again();
}
