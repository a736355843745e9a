//! Agents that answer wrongly: a turn ends once, by its own answer or by our word, and nothing of
//! it reaches the next one.

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::ends::{check, ledger};
use crate::support::fault::LEDGER;
use crate::support::stage::Stage;
use crate::support::wait::until;

/// A question waits for a person, and for no longer than this.
const ASK: &str = "[permissions]\ndefault = \"ask\"\nunattended = \"reject\"\ndeadline = \"1h\"";

#[test]
fn however_an_agent_answers_a_cancel_the_turn_is_cancelled_and_the_agent_stays() {
    let stage = Stage::configured("well", "[process]\ncancel_grace = \"10s\"");
    stage.ask("hello");
    let pid = stage.pid();
    for mode in ["cancel-end-turn", "cancel-error", "lose-first-cancel"] {
        let task = stage.prompt_and_hear(&format!("fault: {mode}"));
        stage.daemon.rpc("task/cancel", json!({"task": task}));
        let row = stage.daemon.wait_task(&task);
        assert_eq!(row["state"], "cancelled", "{mode}: {row:#}");
        assert_eq!(stage.ask("hello"), "well");
        assert_eq!(stage.pid(), pid, "{mode}");
    }
    stage.end();
}

#[test]
fn a_cancel_that_is_never_answered_ends_by_our_own_word_and_the_agent_is_replaced() {
    let stage = Stage::with("well");
    let task = stage.prompt_and_hear("fault: never-answer");
    let pid = stage.pid();
    stage.daemon.rpc("task/cancel", json!({"task": task}));
    let row = stage.daemon.wait_task(&task);
    assert_eq!(row["state"], "cancelled", "{row:#}");
    assert_eq!(stage.ask("hello"), "well");
    assert_ne!(stage.pid(), pid);
    stage.end();
}

#[test]
fn an_error_fails_the_task_and_costs_nothing_else() {
    let stage = Stage::with("well");
    let row = stage.daemon.wait_task(&stage.prompt("fault: error"));
    let pid = stage.pid();
    assert_eq!(row["state"], "failed", "{row:#}");
    assert!(row["outcome"]["error"].as_str().unwrap().contains("It did not work."), "{row:#}");
    assert_eq!(stage.ask("hello"), "well");
    assert_eq!(stage.pid(), pid);
    stage.end();
}

#[test]
fn what_comes_after_the_end_of_a_turn_is_not_told_of_the_next() {
    let stage = Stage::with("well");
    assert_eq!(stage.ask("fault: late-updates"), "in time");
    // What comes after the next one has begun could be meant for it.
    until("what is late", || {
        let notices = stage.events("notice");
        let late = |event: &Value| event["text"].as_str().unwrap().contains("after the end of its turn");
        notices.iter().any(late).then_some(())
    });
    let next = stage.submit();
    assert_eq!(stage.daemon.wait_task(&next)["text"], "well");
    assert_eq!(stage.said(&next), "well");
    let all = stage.events("text");
    assert!(!all.iter().any(|event| event["text"] == "too late"), "{all:#?}");
    stage.end();
}

#[test]
fn what_the_protocol_does_not_know_yet_is_kept_as_it_came() {
    let stage = Stage::with("well");
    assert_eq!(stage.ask("fault: unknown-update"), "known");
    let all = stage.events("raw");
    assert!(all.iter().any(|event| event.to_string().contains("from_the_future")), "{all:#?}");
    let odd = stage.daemon.wait_task(&stage.prompt("fault: unknown-stop-reason"));
    assert_eq!((&odd["text"], &odd["outcome"]["stop_reason"]), (&json!("odd"), &json!("bored")), "{odd:#}");
    assert_eq!(odd["state"], "completed", "{odd:#}");
    stage.end();
}

#[test]
fn a_message_in_a_piece_that_is_too_long_keeps_its_beginning() {
    let stage = Stage::with("well");
    let task = stage.daemon.wait_task(&stage.prompt("fault: long-text"));
    let text = task["text"].as_str().unwrap();
    assert!(text.starts_with("long long ") && text.len() > 1 << 20, "{} bytes", text.len());
    assert!(
        text.ends_with("the message has 2097153 bytes, `hob log` shows it all]"),
        "{}",
        &text[text.len() - 200..]
    );
}

#[test]
fn what_was_said_before_the_daemon_was_killed_is_the_text_of_the_task() {
    let mut stage = Stage::with("stream");
    let task = stage.submit();
    until("some words", || {
        let words = stage.daemon.events(json!({"task": task, "types": ["text"]})).len();
        (words > 10).then_some(())
    });
    stage.daemon.sigkill();
    stage.daemon.start_again();
    let row = stage.daemon.wait_task(&task);
    let words = stage.daemon.events(json!({"task": task, "types": ["text"]}));
    let said: String = words.iter().map(|event| event["text"].as_str().unwrap()).collect();
    assert_eq!((&row["state"], &row["text"]), (&json!("interrupted"), &json!(said)), "{row:#}");
}

#[test]
fn a_second_prompt_waits_for_the_first() {
    let stage = Stage::with("well");
    let first = stage.prompt_and_hear("fault: cancel-end-turn");
    let behind = [stage.prompt("second"), stage.prompt("third")];
    for task in &behind {
        let row = stage.daemon.rpc("task/show", json!({"task": task}));
        assert_eq!((&row["state"], &row["waiting"]), (&json!("queued"), &json!("turn")), "{row:#}");
    }
    let row = stage.agent();
    assert_eq!((&row["status"], &row["queued"]), (&json!("busy"), &json!(2)), "{row:#}");
    let prompts = || ledger(&stage.daemon.user_home()).len();
    assert_eq!(prompts(), 1);
    stage.daemon.rpc("task/cancel", json!({"task": first}));
    for task in &behind {
        assert_eq!(stage.daemon.wait_task(task)["state"], "completed");
    }
    assert_eq!(ledger(&stage.daemon.user_home())[1..], ["\"second\"", "\"third\""]);
    stage.end();
}

/// A stage whose agent asks, the client that watches it, and the task and the question.
fn asked(config: &str, prompt: &str) -> (Stage, Client, String, Value) {
    let stage = Stage::configured("well", config);
    let mut watcher = stage.daemon.watch(&stage.chat);
    let task = stage.prompt(prompt);
    let question = watcher.event(|event| event["type"] == "permission_requested");
    assert_eq!(question["task"], *task);
    (stage, watcher, task, question)
}

/// What the agent heard of its question.
fn answers(stage: &Stage) -> Vec<String> {
    let lines = ledger(&stage.daemon.user_home()).into_iter();
    lines.filter_map(|line| line.strip_prefix("# answer ").map(str::to_owned)).collect()
}

#[test]
fn a_question_that_nobody_answers_is_answered_at_its_deadline() {
    let (stage, _watcher, task, question) = asked(&ASK.replace("1h", "1s"), "fault: ask");
    let row = stage.daemon.wait_task(&task);
    assert_eq!((&row["state"], &row["text"]), (&json!("completed"), &json!("chosen no")), "{row:#}");
    let late = json!({"permission": question["permission"], "option": "yes"});
    let refused = stage.daemon.try_rpc("permission/answer", late).unwrap_err();
    assert_eq!(refused.kind, "conflict", "{refused}");
    assert_eq!(answers(&stage), ["\"no\""]);
    stage.end();
}

#[test]
fn a_question_is_answered_once_and_whoever_is_later_is_told() {
    let (stage, _watcher, task, question) = asked(ASK, "fault: ask");
    let answer = |option: &str| {
        let answer = json!({"permission": question["permission"], "option": option});
        stage.daemon.try_rpc("permission/answer", answer)
    };
    let row = answer("yes").unwrap();
    assert_eq!((&row["state"], &row["option"]), (&json!("answered"), &json!("yes")), "{row:#}");
    let refused = answer("no").unwrap_err();
    assert_eq!(refused.kind, "conflict", "{refused}");
    assert_eq!(stage.daemon.wait_task(&task)["text"], "chosen yes");
    assert_eq!(answer("no").unwrap_err().kind, "conflict");
    assert_eq!(answers(&stage), ["\"yes\""]);
    assert_eq!(stage.events("permission_resolved").len(), 1);
    stage.end();
}

#[test]
fn a_question_ends_with_its_turn_and_is_not_answered_after_it() {
    let (stage, _watcher, task, question) = asked(ASK, "fault: ask-and-end");
    assert_eq!(stage.daemon.wait_task(&task)["state"], "completed");
    let settled = until("the question to be settled", || stage.events("permission_resolved").pop());
    assert_eq!((&settled["permission"], &settled["option"]), (&question["permission"], &json!(null)));
    let late = json!({"permission": question["permission"], "option": "yes"});
    let refused = stage.daemon.try_rpc("permission/answer", late).unwrap_err();
    assert_eq!(refused.kind, "conflict", "{refused}");
    assert_eq!(stage.ask("hello"), "well");
    // The request is not left open: it was answered, with "cancelled".
    assert_eq!(answers(&stage), ["\"cancelled\""]);
    stage.end();
}

#[test]
fn a_question_of_an_agent_that_dies_is_settled() {
    let (stage, _watcher, task, question) = asked(ASK, "fault: ask");
    stage.kill_agent();
    let row = stage.daemon.wait_task(&task);
    assert_eq!(row["state"], "interrupted", "{row:#}");
    let pending = stage.daemon.rpc("permission/list", json!({"state": "pending"}));
    assert_eq!(pending, json!([]), "{question:#}");
    assert_eq!(stage.ask("hello"), "well");
    stage.end();
}

/// What every test of this program ends with would see what it is there to see.
#[test]
fn a_missing_or_second_end_and_a_complaint_of_an_agent_are_found() {
    let stage = Stage::with("well");
    stage.ask("hello");
    let copy = stage.daemon.root().join("copy");
    std::fs::create_dir(&copy).unwrap();
    let (database, home) = (copy.join("hob.db"), stage.daemon.user_home());
    let source = rusqlite::Connection::open(stage.daemon.hob_home().join("hob.db")).unwrap();
    source.execute("VACUUM INTO ?1", [database.to_str().unwrap()]).unwrap();
    let find = |home: &std::path::Path| std::panic::catch_unwind(|| check(&copy, home)).is_err();
    assert!(!find(&home));
    let kinds = ["e.type = 'turn_ended'", "e.type = 'task_state' AND e.payload ->> 'to' = 'completed'"];
    let database = rusqlite::Connection::open(&database).unwrap();
    for kind in kinds {
        for change in [
            "DELETE FROM events AS e WHERE",
            "INSERT INTO events SELECT NULL, at, session_id, chat_id, agent, generation, task_id, turn_id, type, payload FROM events e WHERE",
        ] {
            database.execute_batch("BEGIN").unwrap();
            assert!(database.execute(&format!("{change} {kind}"), []).unwrap() > 0);
            database.execute_batch("COMMIT").unwrap();
            assert!(find(&home), "{change} {kind}");
            database.execute_batch("DELETE FROM events").unwrap();
            database
                .execute("ATTACH ?1 AS source", [stage.daemon.hob_home().join("hob.db").to_str().unwrap()])
                .unwrap();
            database
                .execute_batch("INSERT INTO main.events SELECT * FROM source.events; DETACH source")
                .unwrap();
            assert!(!find(&home));
        }
    }
    std::fs::write(copy.join(LEDGER), "\"hello\"\n! a prompt within a turn\n").unwrap();
    assert!(find(&copy));
    stage.end();
}

#[test]
fn what_outlives_its_agent_for_a_moment_ends_no_turn() {
    for reason in ["cancelled", "end_turn"] {
        let stage = Stage::with("well");
        let task = stage.prompt_and_hear(&format!("fault: outlived {reason}"));
        stage.kill_agent();
        let row = stage.daemon.wait_task(&task);
        assert_eq!(row["state"], "interrupted", "{reason}: {row:#}");
        assert_eq!(stage.ask("hello"), "well");
        stage.end();
    }
}

#[test]
fn who_says_cancelled_though_nobody_cancelled_was_interrupted_and_who_ends_well_has_completed() {
    let stage = Stage::with("well");
    let row = stage.daemon.wait_task(&stage.prompt("fault: end cancelled"));
    assert_eq!(row["state"], "interrupted", "{row:#}");
    assert!(row["outcome"]["error"].as_str().unwrap().contains("nobody did that"), "{row:#}");
    for _ in 0..2 {
        let row = stage.daemon.wait_task(&stage.prompt("fault: end-and-exit"));
        assert_eq!(row["state"], "completed", "{row:#}");
    }
    stage.end();
}

#[test]
fn a_conversation_that_its_agent_lost_is_taken_up_again_and_the_prompt_sent_once_more() {
    let stage = Stage::with("well");
    stage.ask("hello");
    let pid = stage.pid();
    let task = stage.prompt("fault: lost 1");
    let row = stage.daemon.wait_task(&task);
    assert_eq!((&row["state"], &row["text"]), (&json!("completed"), &json!("well again")), "{row:#}");
    assert_ne!(stage.pid(), pid, "by another process");
    let turns = stage.daemon.rpc("task/show", json!({"task": task}))["turns"].clone();
    let outcomes: Vec<_> = turns.as_array().unwrap().iter().map(|turn| turn["outcome"].clone()).collect();
    assert_eq!(outcomes, ["failed", "completed"], "{turns:#}");
    stage.end();
}

#[test]
fn a_conversation_that_stays_lost_fails_its_task_and_every_prompt_tries_anew() {
    let stage = Stage::with("well");
    for n in 1..=2 {
        let row = stage.daemon.wait_task(&stage.prompt("fault: lost"));
        assert_eq!(row["state"], "failed", "{row:#}");
        assert!(row["outcome"]["error"].as_str().unwrap().contains("Session not found"), "{row:#}");
        assert_eq!(stage.events("turn_started").len(), 2 * n);
    }
    assert_eq!(stage.ask("hello"), "well");
    stage.end();
}

#[test]
fn an_agent_that_refuses_at_once_twice_is_not_healthy() {
    let stage = Stage::with("well");
    stage.ask("hello");
    let pid = stage.pid();
    assert_eq!(stage.daemon.wait_task(&stage.prompt("fault: refuses 2"))["state"], "failed");
    assert_eq!(stage.pid(), pid, "once is a mistake that anybody may make");
    let row = stage.daemon.wait_task(&stage.prompt("fault: refuses 2"));
    assert_eq!((&row["state"], &row["text"]), (&json!("completed"), &json!("well again")), "{row:#}");
    assert_ne!(stage.pid(), pid);
    stage.end();
}
