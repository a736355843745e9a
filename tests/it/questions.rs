//! Questions of agents that nobody watches: they wait where a person asked for the work, cost no slot
//! meanwhile, and are told where a rule said no.

use serde_json::{Value, json};

use crate::support::home::Setup;
use crate::support::stage::{FAULT, Stage};
use crate::support::wait::until;

/// A task whose agent asks, and that question.
fn asks(stage: &Stage, chat: &str) -> (String, Value) {
    let words = ["prompt", "-c", chat, "-a", FAULT, "--detach", "fault: ask"];
    let task = stage.daemon.hob(&words).ok().stdout.trim().to_owned();
    let question = stage.daemon.wait_event(&task, "permission_requested");
    (task, question)
}

fn pending(stage: &Stage) -> Vec<Value> {
    let listed = stage.daemon.rpc("permission/list", json!({"state": "pending"}));
    listed.as_array().unwrap().clone()
}

#[test]
fn a_question_of_a_detached_prompt_waits_for_its_answer() {
    let stage = Stage::with("well");
    let (task, question) = asks(&stage, &stage.chat);
    let id = question["permission"].as_str().unwrap();
    // Somebody looks, and goes away again.
    drop(stage.daemon.watch(&stage.chat));
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(pending(&stage).len(), 1);
    assert!(stage.daemon.hob(&["permission", "ls"]).ok().stdout.contains(id));
    stage.daemon.hob(&["permission", "allow", id]).ok();
    assert_eq!(stage.daemon.wait_task(&task)["text"], "chosen yes");
    stage.end();
}

#[test]
fn an_agent_that_waits_for_an_answer_is_in_nobodys_way() {
    let limits = "[dispatch]\nmax_running = 1\nmax_running_per_agent = 1\n[pool]\nmax_live = 3";
    let stage = Stage::configured("well", limits);
    let (task, question) = asks(&stage, &stage.chat);
    let (other, third) = (stage.daemon.lone_chat(), stage.daemon.lone_chat());
    assert_eq!(stage.daemon.ask(&other, FAULT, "hello"), "well", "the same agent, with one slot");
    // Both places of the pool but one wait for a person: what needs a place says so.
    let (second, _) = asks(&stage, &other);
    let (last, _) = asks(&stage, &third);
    let fourth = stage.daemon.lone_chat();
    let words = ["prompt", "-c", &fourth, "-a", FAULT, "--detach", "hello"];
    let waits = stage.daemon.hob(&words).ok().stdout.trim().to_owned();
    stage.wait_waiting(&waits, "slot");
    let shown = stage.daemon.hob(&["ps"]).ok().stdout;
    assert!(shown.contains("waiting: slot (3 agents wait for your answer"), "{shown}");
    for asked in pending(&stage) {
        stage.daemon.hob(&["permission", "allow", asked["id"].as_str().unwrap()]).ok();
    }
    for task in [&task, &second, &last, &waits] {
        assert_eq!(stage.daemon.wait_task(task)["state"], "completed", "{question:#}");
    }
}

#[test]
fn what_another_program_asked_for_is_rejected_and_told_with_what_would_change_that() {
    let stage = Stage::with("well");
    let submitted = json!({"chat": stage.chat, "agent": FAULT, "prompt": "fault: ask", "source": "mcp"});
    let task = stage.daemon.rpc("task/submit", submitted)["id"].as_str().unwrap().to_owned();
    let row = stage.daemon.wait_task(&task);
    assert_eq!((&row["text"], &row["rejected"]), (&json!("chosen no"), &json!(1)), "{row:#}");
    let told = until("it to be told", || stage.events("notice").pop());
    let text = told["text"].as_str().unwrap();
    assert!(text.contains("1 question") && text.contains("permissions.unattended = \"wait\""), "{text}");
    assert!(stage.daemon.hob(&["task", "ls"]).ok().stdout.contains("completed (1 rejected by rule)"));
    stage.end();
}

#[test]
fn what_is_configured_holds_for_all_and_a_refusal_is_told_at_the_end_of_the_prompt() {
    for (rule, told) in [
        ("unattended = \"reject\"", "because nobody watched"),
        ("execute = \"reject\"\nother = \"reject\"\nedit = \"reject\"", "by `permissions."),
    ] {
        let setup = Setup::new().fault(FAULT, &["well"]).config(&format!("[permissions]\n{rule}"));
        let daemon = setup.start();
        let chat = daemon.lone_chat();
        let ran = daemon.hob(&["prompt", "-c", &chat, "-a", FAULT, "fault: ask"]).ok();
        assert!(ran.stdout.contains("chosen no") && ran.stderr.contains(told), "{ran:?}");
    }
    let setup = Setup::new()
        .fault(FAULT, &["well"])
        .config("[permissions]\nunattended = \"wait\"\ndeadline = \"1s\"");
    let daemon = setup.start();
    let chat = daemon.lone_chat();
    let submitted = json!({"chat": chat, "agent": FAULT, "prompt": "fault: ask", "source": "mcp"});
    let task = daemon.rpc("task/submit", submitted)["id"].as_str().unwrap().to_owned();
    let question = daemon.wait_event(&task, "permission_requested");
    assert_eq!(daemon.wait_task(&task)["text"], "chosen no", "until its deadline: {question:#}");
}
