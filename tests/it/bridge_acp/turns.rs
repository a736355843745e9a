//! What an editor does all day: sessions, prompts, questions, cancels.

use serde_json::{Value, json};

use super::{NO_START, stage};
use crate::support::demo::{COUNT, DEMO, ask, long, say};
use crate::support::editor::Editor;
use crate::support::home::Setup;
use crate::support::wait::until;

#[test]
fn it_says_who_it_is_and_what_it_can_do() {
    let daemon = Setup::new().start();
    let mut editor = Editor::start(&daemon, &[]);
    for asked in [1, 99] {
        let hello = editor.call("initialize", json!({"protocolVersion": asked})).unwrap();
        assert_eq!(hello["protocolVersion"], 1);
        assert_eq!(hello["agentInfo"]["name"], "hob");
        let can = &hello["agentCapabilities"];
        assert_eq!(can["loadSession"], true);
        assert_eq!(can["promptCapabilities"]["embeddedContext"], true);
        assert_eq!(can["sessionCapabilities"], json!({"list": {}, "resume": {}, "close": {}}));
    }
}

#[test]
fn a_turn_is_told_in_order_and_then_answered() {
    let (daemon, repo, mut editor) = stage();
    let session = editor.session(repo.str());
    assert!(session.starts_with("c-"), "{session}");
    let script = "think: hm ;; plan: one, two ;; write: a.txt: new ;; usage: 70 3 ;; say: all done";
    let answer = editor.prompt(&session, script).unwrap();
    assert_eq!(answer["stopReason"], "end_turn", "{answer}");
    let usage = json!({"inputTokens": 70, "outputTokens": 3, "totalTokens": 73});
    assert_eq!(answer["usage"], usage);
    let kinds = ["agent_thought_chunk", "plan", "tool_call", "tool_call_update", "agent_message_chunk"];
    assert_eq!(editor.kinds(&session), kinds);
    assert_eq!(editor.said(&session, "agent_message_chunk"), "all done");
    let update = |kind: &str| -> Value {
        let found = editor.updates.iter().find(|(_, update)| update["sessionUpdate"] == kind);
        found.unwrap().1.clone()
    };
    assert_eq!(update("plan")["entries"][1]["content"], "two");
    let call = update("tool_call");
    assert_eq!((&call["kind"], &call["rawInput"]["path"]), (&json!("edit"), &json!("a.txt")));
    assert_eq!(update("tool_call_update")["toolCallId"], call["toolCallId"]);
    assert_eq!(editor.ask(&session, COUNT), "count prompts=2");

    let chat = daemon.rpc("chat/show", json!({"chat": session}));
    let of = daemon.rpc("session/show", json!({"session": chat["session"]}));
    let worktree = std::path::PathBuf::from(of["worktree"]["path"].as_str().unwrap());
    assert!(worktree.join("a.txt").exists() && !repo.path.join("a.txt").exists());
    let tasks = daemon.rpc("task/list", json!({"chat": session}));
    assert_eq!((&tasks[0]["source"], &tasks[0]["agent"]), (&json!("chat"), &json!(DEMO)));
}

#[test]
fn sessions_of_one_checkout_share_its_worktree_and_not_the_context() {
    let (daemon, repo, mut editor) = stage();
    std::fs::create_dir(repo.path.join("deep")).unwrap();
    std::fs::write(repo.path.join("deep/file"), "x").unwrap();
    repo.git(&["add", "."]);
    repo.git(&["commit", "--quiet", "--message", "deep"]);
    let (one, two) = (editor.session(repo.str()), editor.session(&format!("{}/deep", repo.str())));
    assert_eq!(editor.ask(&one, COUNT), "count prompts=1");
    assert_eq!(editor.ask(&one, COUNT), "count prompts=2");
    assert_eq!(editor.ask(&two, COUNT), "count prompts=1");
    let of = |chat: &str| daemon.rpc("chat/show", json!({"chat": chat}))["session"].clone();
    assert_eq!(of(&one), of(&two));
    // The agent works where the editor stands.
    editor.updates.clear();
    editor.prompt(&two, "shell: pwd").unwrap();
    let shown = json!(editor.updates.iter().map(|(_, update)| update.clone()).collect::<Vec<_>>());
    assert!(shown.to_string().contains("/deep"), "{shown:#}");
    // With a session that was named, that one is taken.
    let other = daemon.session(&repo);
    let mut named = Editor::greeted(&daemon, &["-a", DEMO, "-s", &other.id[..5]]);
    let third = named.session(repo.str());
    assert_eq!(of(&third), other.id.as_str());
}

#[test]
fn resources_of_a_prompt_become_text() {
    let (_daemon, repo, mut editor) = stage();
    let session = editor.session(repo.str());
    let prompt = json!([
        {"type": "text", "text": "look at "},
        {"type": "resource_link", "uri": "file:///x/a.rs", "name": "a.rs"},
        {"type": "resource", "resource": {"uri": "file:///x/b.rs", "text": "fn b() {}"}},
    ]);
    let id = editor.request("session/prompt", json!({"sessionId": session, "prompt": prompt}));
    editor.wait(id).unwrap();
    let said = editor.said(&session, "agent_message_chunk");
    assert_eq!(
        said,
        "look at [@a.rs](file:///x/a.rs)\n<context ref=\"file:///x/b.rs\">\nfn b() {}\n</context>"
    );
}

#[test]
fn an_update_that_hob_has_no_word_for_goes_on_as_it_came() {
    let daemon = Setup::new().fault("fault", &[]).start();
    let repo = daemon.repo("repo");
    let mut editor = Editor::greeted(&daemon, &["-a", "fault", NO_START]);
    let session = editor.session(repo.str());
    assert_eq!(editor.ask(&session, "fault: unknown-update"), "known");
    let odd = json!({"sessionUpdate": "from_the_future", "answer": 42});
    assert!(editor.updates.contains(&(session.clone(), odd)), "{:?}", editor.updates);
    // A word of its own for the end is an end all the same.
    assert_eq!(editor.prompt(&session, "fault: unknown-stop-reason").unwrap()["stopReason"], "end_turn");
}

#[test]
fn a_question_is_asked_and_its_answer_obeyed() {
    let (daemon, repo, mut editor) = stage();
    let session = editor.session(repo.str());
    for (kind, answered) in [("allow_once", "answered: allow"), ("reject_once", "answered: reject")] {
        editor.updates.clear();
        let prompt = editor.submit(&session, &ask("May I?"));
        let question = editor.question();
        assert_eq!(question["params"]["sessionId"], session.as_str());
        assert_eq!(question["params"]["toolCall"]["title"], "May I?");
        editor.choose(&question, kind);
        assert_eq!(editor.wait(prompt).unwrap()["stopReason"], "end_turn");
        let said = editor.said(&session, "agent_message_chunk");
        assert!(said.starts_with(answered), "{said}");
    }
    assert!(editor.withdrawn.is_empty());
    let rows = daemon.rpc("permission/list", json!({"chat": session, "state": "answered"}));
    assert_eq!(rows.as_array().unwrap().len(), 2, "{rows:#}");
    assert_eq!(rows[0]["by"], "hob acp", "{rows:#}");
}

#[test]
fn a_question_that_a_rule_answers_is_none_of_the_client() {
    let daemon = Setup::new().config("[permissions]\ndefault = \"allow\"").start();
    let repo = daemon.repo("repo");
    let mut editor = Editor::greeted(&daemon, &["-a", DEMO, NO_START]);
    let session = editor.session(repo.str());
    assert_eq!(editor.ask(&session, &ask("May I?")), "answered: allow_once");
    // A rule may take longer than the bridge waits for it, and then the question is taken back.
    assert_eq!(editor.n_questions(), editor.withdrawn.len());
}

#[test]
fn an_answer_that_is_none_is_a_no() {
    let (_daemon, repo, mut editor) = stage();
    let session = editor.session(repo.str());
    let answers = [
        json!({"outcome": {"outcome": "cancelled"}}),
        json!({"outcome": {"outcome": "selected", "optionId": "no such option"}}),
        json!("nonsense"),
    ];
    for answer in answers {
        editor.updates.clear();
        let prompt = editor.submit(&session, &ask("May I?"));
        let question = editor.question();
        editor.answer(&question, answer);
        editor.wait(prompt).unwrap();
        assert!(editor.said(&session, "agent_message_chunk").starts_with("answered: reject"));
    }
    // One that cannot be asked at all would wait for ever for its own answer.
    editor.updates.clear();
    let prompt = editor.submit(&session, &ask("May I?"));
    let question = editor.question();
    let error = json!({"code": -32601, "message": "no such method"});
    editor.send_line(&json!({"jsonrpc": "2.0", "id": question["id"], "error": error}).to_string());
    editor.wait(prompt).unwrap();
    assert!(editor.said(&session, "agent_message_chunk").starts_with("answered: reject"));
    editor.wait_says("cannot be asked");
}

#[test]
fn a_cancel_ends_the_turn_and_not_the_agent() {
    let (daemon, repo, mut editor) = stage();
    let session = editor.session(repo.str());
    let prompt = editor.submit(&session, &long());
    editor.wait_update("the first word", |update| update["sessionUpdate"] == "agent_message_chunk");
    let pid = daemon.agent_pid(&session, DEMO);
    editor.notify("session/cancel", json!({"sessionId": session}));
    assert_eq!(editor.wait(prompt).unwrap()["stopReason"], "cancelled");
    // At once behind the prompt, too.
    let prompt = editor.submit(&session, &long());
    editor.notify("session/cancel", json!({"sessionId": session}));
    assert_eq!(editor.wait(prompt).unwrap()["stopReason"], "cancelled");
    // And by the id of the request.
    let prompt = editor.submit(&session, &long());
    editor.notify("$/cancel_request", json!({"requestId": prompt}));
    assert_eq!(editor.wait(prompt).unwrap()["stopReason"], "cancelled");
    assert_eq!(editor.ask(&session, &say("well")), "well");
    assert_eq!(daemon.agent_pid(&session, DEMO), pid);
}

#[test]
fn a_cancel_takes_an_open_question_back() {
    let (_daemon, repo, mut editor) = stage();
    let session = editor.session(repo.str());
    let prompt = editor.submit(&session, &ask("May I?"));
    let question = editor.question();
    editor.notify("session/cancel", json!({"sessionId": session}));
    assert_eq!(editor.wait(prompt).unwrap()["stopReason"], "cancelled");
    editor.wait_withdrawn(&question);
    // Too late, and of no effect.
    editor.choose(&question, "allow_once");
    assert_eq!(editor.ask(&session, &say("well")), "well");
}

#[test]
fn prompts_of_one_session_wait_for_each_other() {
    let (_daemon, repo, mut editor) = stage();
    let session = editor.session(repo.str());
    let prompts: Vec<u64> = ["one ", "two ", "three"]
        .iter()
        .map(|text| editor.submit(&session, &format!("say: {text}")))
        .collect();
    for prompt in prompts {
        assert_eq!(editor.wait(prompt).unwrap()["stopReason"], "end_turn");
    }
    let said = editor.said(&session, "agent_message_chunk").replace(' ', "");
    assert_eq!(said, "onetwothree");
}

#[test]
fn a_bridge_starts_the_daemon_that_it_needs() {
    let home = Setup::new().config("default_agent = \"demo\"").home();
    let repo = home.repo("repo");
    let mut editor = Editor::greeted(&home, &[]);
    assert!(!home.socket().exists(), "hello needs no daemon");
    let session = editor.session(repo.str());
    assert_eq!(editor.ask(&session, &say("hello")), "hello");
    home.hob(&["down", "--now"]).ok();
    // One that was stopped is not started because a bridge looks on, but when it is needed.
    until("the socket to be gone", || (!home.socket().exists()).then_some(()));
    assert_eq!(editor.ask(&session, COUNT), "count prompts=2");
}
