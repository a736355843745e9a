//! Where prompts come from and in what order they run: routing without a chat, idempotence, hold
//! and release, limits, and what closing leaves.

use serde_json::{Value, json};

use crate::support::daemon::TestDaemon;
use crate::support::demo::{DEMO, long, say, slow};
use crate::support::home::Setup;
use crate::support::wait::until;

fn submit_in(daemon: &TestDaemon, mut target: Value, prompt: &str) -> Value {
    target["agent"] = json!(DEMO);
    target["prompt"] = json!(prompt);
    let task = daemon.rpc("task/submit", target);
    daemon.wait_task(task["id"].as_str().unwrap())
}

#[test]
fn a_prompt_in_a_repository_finds_its_chat_again() {
    let daemon = Setup::new().start();
    let repo = daemon.repo("repo");
    let first = submit_in(&daemon, json!({"repo": repo.str()}), &say("one"));
    assert_eq!(first["state"], "completed", "{first:#}");
    let second = submit_in(&daemon, json!({"repo": repo.str()}), &say("two"));
    assert_eq!((&second["chat"], &second["session"]), (&first["chat"], &first["session"]));

    let fresh = submit_in(&daemon, json!({"repo": repo.str(), "new": true}), &say("three"));
    assert_ne!(fresh["chat"], first["chat"]);
    let in_session = submit_in(&daemon, json!({"session": first["session"]}), &say("four"));
    assert_eq!(in_session["chat"], first["chat"]);

    let elsewhere = submit_in(&daemon, json!({"repo": daemon.repo("other").str()}), &say("five"));
    assert_ne!(elsewhere["session"], first["session"]);
}

#[test]
fn a_prompt_needs_exactly_one_place() {
    let daemon = Setup::new().start();
    let repo = daemon.repo("repo");
    for target in
        [json!({}), json!({"chat": "c-1", "session": "s-1"}), json!({"repo": repo.str(), "session": "s-1"})]
    {
        let mut params = target.clone();
        params["prompt"] = json!("x");
        let error = daemon.try_rpc("task/submit", params).unwrap_err();
        assert_eq!((error.code, error.kind.as_str()), (-32602, "invalid_params"), "{target}: {error}");
    }
    for folder in ["", "/nowhere/at/all"] {
        let path = if folder.is_empty() { daemon.root().to_str().unwrap() } else { folder };
        let error = daemon.try_rpc("task/submit", json!({"repo": path, "prompt": "x"})).unwrap_err();
        assert!(!error.message.is_empty(), "{error}");
    }
    assert_eq!(daemon.rpc("session/list", json!({"all": true})), json!([]));
}

#[test]
fn a_chat_for_a_directory_is_a_new_one_where_its_prompts_go() {
    let daemon = Setup::new().start();
    let (repo, other) = (daemon.repo("repo"), daemon.repo("other"));
    let prompted = submit_in(&daemon, json!({"repo": repo.str()}), &say("one"));
    let made = daemon.rpc("chat/create", json!({"repo": repo.str(), "id": "mine", "title": "T"}));
    assert_eq!(
        (&made["id"], &made["title"], &made["session"]),
        (&json!("mine"), &json!("T"), &prompted["session"])
    );
    let next = submit_in(&daemon, json!({"repo": repo.str()}), &say("two"));
    assert_eq!(next["chat"], "mine", "it is the newest now");
    // Again it is the same, and with anything else it is not.
    let again = daemon.rpc("chat/create", json!({"repo": repo.str(), "id": "mine", "title": "T"}));
    assert_eq!(again["created_at"], made["created_at"]);
    for otherwise in
        [json!({"repo": other.str(), "id": "mine", "title": "T"}), json!({"repo": repo.str(), "id": "mine"})]
    {
        let error = daemon.try_rpc("chat/create", otherwise).unwrap_err();
        assert_eq!(error.kind, "conflict", "{error}");
    }
    let elsewhere = daemon.rpc("chat/create", json!({"repo": other.str()}));
    assert_ne!(elsewhere["session"], prompted["session"]);
    for bad in
        [json!({}), json!({"repo": "relative"}), json!({"repo": repo.str(), "session": prompted["session"]})]
    {
        let error = daemon.try_rpc("chat/create", bad.clone()).unwrap_err();
        assert_eq!((error.code, error.data["path"].is_string()), (-32602, true), "{bad}: {error}");
    }
}

#[test]
fn the_same_request_is_run_once_also_after_a_restart() {
    let mut daemon = Setup::new().start();
    let chat = daemon.lone_chat();
    let request = json!({"chat": chat, "agent": DEMO, "prompt": say("once"), "request_id": "r-1"});
    let first = daemon.rpc("task/submit", request.clone());
    let again = daemon.rpc("task/submit", request.clone());
    assert_eq!(again["id"], first["id"]);
    let task = first["id"].as_str().unwrap();
    assert_eq!(daemon.wait_task(task)["state"], "completed");

    daemon.stop();
    daemon.start_again();
    let late = daemon.rpc("task/submit", request);
    assert_eq!((&late["id"], &late["state"]), (&first["id"], &json!("completed")));
    assert_eq!(daemon.events(json!({"chat": chat, "types": ["turn_started"]})).len(), 1);
}

#[test]
fn prompts_of_one_chat_run_one_after_the_other_in_order() {
    let daemon = Setup::new().start();
    let chat = daemon.lone_chat();
    let tasks: Vec<String> = (0..5).map(|n| daemon.submit(&chat, DEMO, &slow(3, n))).collect();
    for task in &tasks {
        assert_eq!(daemon.wait_task(task)["state"], "completed");
    }
    let turns = daemon.events(json!({"chat": chat, "types": ["turn_started", "turn_ended"]}));
    let order: Vec<(&str, &str)> =
        turns.iter().map(|e| (e["type"].as_str().unwrap(), e["task"].as_str().unwrap())).collect();
    let wanted: Vec<_> = tasks.iter().flat_map(|t| [("turn_started", &**t), ("turn_ended", &**t)]).collect();
    assert_eq!(order, wanted);
}

#[test]
fn a_held_chat_runs_nothing_until_it_is_released() {
    let daemon = Setup::new().start();
    let (held, free) = (daemon.lone_chat(), daemon.lone_chat());
    assert_eq!(daemon.rpc("task/hold", json!({"chat": held}))["held"], true);
    let waiting = daemon.submit(&held, DEMO, &say("held"));
    // What was submitted later to a chat that is not held comes and goes meanwhile.
    assert_eq!(daemon.run(&free, DEMO, &say("free"))["state"], "completed");
    assert_eq!(daemon.rpc("task/show", json!({"task": waiting}))["state"], "held");
    assert_eq!(daemon.rpc("task/release", json!({"chat": held}))["held"], false);
    assert_eq!(daemon.wait_task(&waiting)["state"], "completed");

    daemon.hob(&["hold", &held]).ok();
    let cancelled = daemon.submit(&held, DEMO, &say("never"));
    daemon.rpc("task/cancel", json!({"task": cancelled}));
    assert_eq!(daemon.wait_task(&cancelled)["state"], "cancelled");
    daemon.hob(&["release", &held]).ok();
    assert_eq!(daemon.ask(&held, DEMO, &say("after")), "after");
}

#[test]
fn a_queued_task_is_cancelled_at_once_and_the_one_that_runs_goes_on() {
    let daemon = Setup::new().start();
    let chat = daemon.lone_chat();
    let running = daemon.submit(&chat, DEMO, &long());
    let queued = daemon.submit(&chat, DEMO, &say("never"));
    daemon.wait_event(&running, "text");
    daemon.rpc("task/cancel", json!({"task": queued}));
    let ended = daemon.wait_task(&queued);
    assert_eq!((&ended["state"], &ended["turn"]), (&json!("cancelled"), &Value::Null));
    assert_eq!(daemon.rpc("task/show", json!({"task": running}))["state"], "running");
    daemon.rpc("task/cancel", json!({"task": running}));
    assert_eq!(daemon.wait_task(&running)["state"], "cancelled");
    let unchanged = daemon.rpc("task/cancel", json!({"task": running}));
    assert_eq!(unchanged["state"], "cancelled");
}

#[test]
fn a_retry_is_a_new_task_that_names_the_old_one() {
    let daemon = Setup::new().start();
    let chat = daemon.lone_chat();
    let first = daemon.run(&chat, DEMO, &say("again"));
    let retry = daemon.rpc("task/retry", json!({"task": first["id"]}));
    assert_eq!(retry["parent"], first["id"]);
    assert_ne!(retry["id"], first["id"]);
    assert_eq!(daemon.wait_task(retry["id"].as_str().unwrap())["text"], "again");
}

#[test]
fn a_start_past_max_live_takes_the_place_of_the_idle_and_waits_for_the_busy() {
    let daemon = Setup::new().config("[pool]\nmax_live = 1").start();
    let (first, second) = (daemon.lone_chat(), daemon.lone_chat());
    daemon.ask(&first, DEMO, &say("here"));
    assert_eq!(daemon.ask(&second, DEMO, &say("there")), "there");
    assert_eq!(daemon.agent_session(&first, DEMO)["status"], "evicted");

    let running = daemon.submit(&second, DEMO, &long());
    daemon.wait_event(&running, "text");
    let waiting = daemon.submit(&first, DEMO, &say("my turn"));
    until("the task to say what it waits for", || {
        (daemon.rpc("task/show", json!({"task": waiting}))["waiting"] == "slot").then_some(())
    });
    // The dispatcher knows it before it is written.
    let told = until("that to be written", || {
        let told = daemon.events(json!({"task": waiting, "types": ["agent_state"]}));
        (!told.is_empty()).then_some(told)
    });
    assert_eq!(told.len(), 1, "{told:#?}");
    assert_eq!(told[0]["reason"], "waiting_for_slot");
    daemon.hob(&["prompt", "-c", &first, "-a", DEMO, "--no-wait", "x"]).exit(75);
    daemon.rpc("task/cancel", json!({"task": running}));
    let row = daemon.wait_task(&waiting);
    assert_eq!(
        (row["state"].as_str(), row["text"].as_str()),
        (Some("completed"), Some("my turn")),
        "{row:#}"
    );
}

/// Two chats under a limit of one turn at a time: the second waits, says so, and comes on.
fn one_at_a_time(limit: &str) {
    let daemon = Setup::new().config(&format!("[dispatch]\n{limit} = 1")).start();
    let (first, second) = (daemon.lone_chat(), daemon.lone_chat());
    let running = daemon.submit(&first, DEMO, &long());
    daemon.wait_event(&running, "text");
    let waiting = daemon.submit(&second, DEMO, &say("my turn"));
    until("the second task to say what it waits for", || {
        let row = daemon.rpc("task/show", json!({"task": waiting}));
        assert_eq!(row["state"], "queued", "{row:#}");
        (row["waiting"] == "dispatch_limit").then_some(())
    });
    daemon.rpc("task/cancel", json!({"task": running}));
    assert_eq!(daemon.wait_task(&waiting)["text"], "my turn");
}

#[test]
fn no_more_turns_run_at_once_than_max_running() {
    one_at_a_time("max_running");
}

#[test]
fn no_more_turns_of_one_agent_run_at_once_than_max_running_per_agent() {
    one_at_a_time("max_running_per_agent");
}

#[test]
fn a_closed_session_ends_its_agents_and_keeps_its_directory() {
    let daemon = Setup::new().start();
    let repo = daemon.repo("repo");
    let session = daemon.session(&repo);
    let chat = daemon.chat(&session);
    daemon.ask(&chat, DEMO, &say("hello"));
    let running = daemon.submit(&chat, DEMO, &long());
    let queued = daemon.submit(&chat, DEMO, &say("never"));
    daemon.wait_event(&running, "text");
    std::fs::write(session.worktree.join("work.txt"), "not lost").unwrap();

    let closed = daemon.rpc("session/close", json!({"session": session.id}));
    assert_eq!(closed["state"], "closed");
    for task in [&running, &queued] {
        assert_eq!(daemon.wait_task(task)["state"], "cancelled");
    }
    assert_eq!(daemon.rpc("pool/list", json!({})), json!([]));
    assert_eq!(std::fs::read_to_string(session.worktree.join("work.txt")).unwrap(), "not lost");
    let error =
        daemon.try_rpc("task/submit", json!({"chat": chat, "agent": DEMO, "prompt": "x"})).unwrap_err();
    assert_eq!(error.kind, "conflict", "{error}");

    let error = daemon.try_rpc("session/delete", json!({"session": session.id})).unwrap_err();
    assert_eq!((error.code, error.kind.as_str()), (-32004, "refused"), "{error}");
    assert!(error.data["hint"].is_string(), "{error}");
    daemon.hob(&["session", "rm", &session.id]).exit(4);
    assert!(session.worktree.join("work.txt").exists());

    assert_eq!(daemon.rpc("session/reopen", json!({"session": session.id}))["state"], "open");
    let chat = daemon.chat(&session);
    assert_eq!(daemon.ask(&chat, DEMO, &say("back")), "back");
}

#[test]
fn an_id_that_a_client_brings_is_taken_once() {
    let daemon = Setup::new().start();
    let (repo, other) = (daemon.repo("repo"), daemon.repo("other"));
    let mine = json!({"repo": repo.str(), "id": "my.session:1"});
    let first = daemon.rpc("session/create", mine.clone());
    let again = daemon.rpc("session/create", mine);
    assert_eq!(again["worktree"]["path"], first["worktree"]["path"]);
    let error =
        daemon.try_rpc("session/create", json!({"repo": other.str(), "id": "my.session:1"})).unwrap_err();
    assert_eq!((error.code, error.kind.as_str()), (-32003, "conflict"), "{error}");
    for bad in ["../up", "", "-x", "a b", &"x".repeat(129)] {
        let error = daemon.try_rpc("session/create", json!({"repo": repo.str(), "id": bad})).unwrap_err();
        assert_eq!((error.code, error.data["path"].as_str()), (-32602, Some("id")), "{bad:?}: {error}");
    }
    let chat = daemon.rpc("chat/create", json!({"session": "my.session:1", "id": "tab-1"}));
    assert_eq!(
        daemon.rpc("chat/create", json!({"session": "my.session:1", "id": "tab-1"}))["id"],
        chat["id"]
    );
    assert!(!first["worktree"]["path"].as_str().unwrap().contains("my.session"));
}
