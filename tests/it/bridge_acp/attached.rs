//! Chats that are there already: loaded, resumed, listed, closed, and shared by several clients.

use serde_json::{Value, json};

use super::{NO_START, stage};
use crate::support::demo::{COUNT, DEMO, ask, long, say, slow};
use crate::support::editor::Editor;

fn known(session: &str, cwd: &str) -> Value {
    json!({"sessionId": session, "cwd": cwd, "mcpServers": []})
}

#[test]
fn a_loaded_session_tells_its_history_first_and_a_resumed_one_does_not() {
    let (daemon, repo, mut first) = stage();
    let session = first.session(repo.str());
    first.prompt(&session, "think: hm ;; plan: a ;; write: a.txt: new ;; say: done").unwrap();
    // More than one page of the journal.
    first.prompt(&session, &slow(700, 0)).unwrap();
    let live = first.updates.clone();

    let mut second = Editor::greeted(&daemon, &[NO_START]);
    second.call("session/load", known(&session, repo.str())).unwrap();
    let told = second.updates.clone();
    assert_eq!(
        second.said(&session, "user_message_chunk"),
        "think: hm ;; plan: a ;; write: a.txt: new ;; say: doneslow: 700 0"
    );
    let without_prompts: Vec<_> =
        told.into_iter().filter(|(_, update)| update["sessionUpdate"] != "user_message_chunk").collect();
    assert_eq!(without_prompts, live);
    // The agent is that of the chat, though none was named here.
    assert_eq!(second.ask(&session, COUNT), "count prompts=3");

    let mut third = Editor::greeted(&daemon, &[NO_START]);
    third.call("session/resume", known(&session, repo.str())).unwrap();
    assert!(third.updates.is_empty(), "{:?}", third.updates);
    assert_eq!(third.ask(&session, COUNT), "count prompts=4");
    // Again, where it is attached already.
    third.updates.clear();
    third.call("session/load", known(&session, repo.str())).unwrap();
    assert!(third.said(&session, "user_message_chunk").ends_with("countcount"));
}

#[test]
fn a_turn_of_somebody_else_is_told_with_its_prompt() {
    let (daemon, repo, mut editor) = stage();
    let session = editor.session(repo.str());
    assert_eq!(daemon.ask(&session, DEMO, &say("from afar")), "from afar");
    editor.wait_update("the answer", |update| update["content"]["text"] == "afar");
    assert_eq!(editor.kinds(&session), ["user_message_chunk", "agent_message_chunk"]);
    assert_eq!(editor.said(&session, "user_message_chunk"), "say: from afar");
}

#[test]
fn of_two_clients_the_first_answer_wins_and_the_other_is_told() {
    let (daemon, repo, mut one) = stage();
    let session = one.session(repo.str());
    let mut two = Editor::greeted(&daemon, &[NO_START]);
    two.call("session/load", known(&session, repo.str())).unwrap();
    for round in 0..2 {
        let prompt = one.submit(&session, &ask("May I?"));
        let (asked_one, asked_two) = (one.question(), two.question());
        assert_eq!(asked_one["params"], asked_two["params"]);
        let (sooner, later, other) = match round {
            0 => (&mut two, &mut one, asked_one.clone()),
            _ => (&mut one, &mut two, asked_two.clone()),
        };
        let own = if round == 0 { &asked_two } else { &asked_one };
        sooner.choose(own, "allow_once");
        later.wait_withdrawn(&other);
        later.choose(&other, "reject_once");
        assert_eq!(one.wait(prompt).unwrap()["stopReason"], "end_turn");
        assert!(one.said(&session, "agent_message_chunk").ends_with("answered: allow_once"));
    }
    // Both have heard the same.
    let text = one.said(&session, "agent_message_chunk");
    two.wait_said(&session, &text);
}

#[test]
fn a_question_that_waits_is_asked_of_who_comes_later() {
    let (daemon, repo, mut one) = stage();
    let session = one.session(repo.str());
    let prompt = one.submit(&session, &ask("May I?"));
    let question = one.question();
    for method in ["session/load", "session/resume"] {
        let mut two = Editor::greeted(&daemon, &[NO_START]);
        two.call(method, known(&session, repo.str())).unwrap();
        assert_eq!(two.question()["params"], question["params"], "{method}");
    }
    one.choose(&question, "allow_once");
    one.wait(prompt).unwrap();
}

#[test]
fn sessions_are_listed_with_a_title_and_by_their_directory() {
    let (daemon, repo, mut editor) = stage();
    let other = daemon.repo("other");
    let (one, two) = (editor.session(repo.str()), editor.session(other.str()));
    editor.prompt(&one, &say("the first of it")).unwrap();
    let listed = |editor: &mut Editor, params: Value| -> Vec<Value> {
        editor.call("session/list", params).unwrap()["sessions"].as_array().unwrap().clone()
    };
    let all = listed(&mut editor, json!({}));
    assert_eq!(all.len(), 2, "{all:#?}");
    assert_eq!((&all[0]["sessionId"], &all[0]["title"]), (&json!(one), &json!("say: the first of it")));
    assert_eq!((&all[0]["cwd"], all[0]["updatedAt"].is_string()), (&json!(repo.str()), true));
    let of_other = listed(&mut editor, json!({"cwd": other.str()}));
    assert_eq!(of_other.len(), 1);
    assert_eq!(of_other[0]["sessionId"], two.as_str());
    assert!(listed(&mut editor, json!({"cwd": daemon.user_home()})).is_empty());
}

#[test]
fn a_closed_session_ends_what_runs_and_can_be_loaded_again() {
    let (daemon, repo, mut editor) = stage();
    let session = editor.session(repo.str());
    let prompt = editor.submit(&session, &long());
    editor.wait_update("the first word", |update| update["sessionUpdate"] == "agent_message_chunk");
    assert_eq!(editor.call("session/close", json!({"sessionId": session})), Ok(json!({})));
    assert_eq!(editor.wait(prompt).unwrap()["stopReason"], "cancelled");
    assert_eq!(daemon.agent_session(&session, DEMO)["status"], "evicted");
    assert_eq!(editor.prompt(&session, COUNT).unwrap_err().code, -32002);
    // Closed twice is closed.
    assert_eq!(editor.call("session/close", json!({"sessionId": session})), Ok(json!({})));
    editor.call("session/load", known(&session, repo.str())).unwrap();
    assert_eq!(editor.ask(&session, COUNT), "count prompts=2");
}
