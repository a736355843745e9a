//! A mode that is chosen for a chat, where the agent takes it, refuses it, says nothing, or leaves it
//! by itself. (The real agents: `real::choose`.)

use serde_json::{Value, json};

use crate::support::demo::{DEMO, say};
use crate::support::ends::ledger;
use crate::support::home::Setup;
use crate::support::stage::{FAULT, Stage};
use crate::support::wait::until;

fn offers(stage: &Stage) -> Value {
    stage.daemon.rpc("chat/offers", json!({"chat": stage.chat, "agent": FAULT}))["mode"].clone()
}

fn wish(stage: &Stage, mode: &str) -> Value {
    json!({"chat": stage.chat, "agent": FAULT, "mode": mode})
}

fn choose(stage: &Stage, mode: &str) -> Value {
    stage.daemon.rpc("chat/choose", wish(stage, mode))["mode"].clone()
}

fn evict(stage: &Stage) {
    stage.daemon.rpc("pool/evict", json!({"chat": stage.chat, "agent": FAULT}));
}

/// The modes that the agent was told to work in, in order.
fn told(stage: &Stage) -> Vec<String> {
    let prompts = ledger(&stage.daemon.user_home()).into_iter();
    prompts.filter_map(|line| Some(line.strip_prefix("# set_mode ")?.trim_matches('"').to_owned())).collect()
}

#[test]
fn a_mode_is_set_in_place_also_in_mid_turn_and_again_at_every_start() {
    let stage = Stage::with("choices takes");
    assert_eq!(offers(&stage)["available"], Value::Null, "nothing is known of it yet");
    stage.ask("fault: well");
    let known = offers(&stage);
    assert_eq!((&known["current"], &known["chosen"]), (&json!("ask"), &Value::Null));
    assert_eq!(
        known["available"][1],
        json!({"id": "auto", "name": "Go on", "description": "Without a question"})
    );

    let pid = stage.pid();
    let busy = stage.prompt_and_hear("fault: cancel-end-turn");
    // By the name that a person sees.
    assert_eq!(choose(&stage, "Go on")["chosen"], "auto");
    assert_eq!(told(&stage), ["auto"]);
    stage.daemon.rpc("task/cancel", json!({"task": busy}));
    stage.daemon.wait_task(&busy);
    stage.ask("fault: well");
    assert_eq!(stage.pid(), pid);

    evict(&stage);
    stage.ask("fault: well");
    assert_eq!(told(&stage), ["auto", "auto"], "the next start sets it");
    // What a new chat of this agent begins with is not what was chosen in this one.
    let other = stage.daemon.lone_chat();
    let fresh = stage.daemon.rpc("chat/offers", json!({"chat": other, "agent": FAULT}));
    assert_eq!((&fresh["mode"]["current"], &fresh["mode"]["chosen"]), (&json!("ask"), &Value::Null));
    stage.end();
}

#[test]
fn a_choice_before_the_first_start_is_set_by_it() {
    let stage = Stage::with("choices takes");
    assert_eq!(choose(&stage, "auto")["current"], "auto");
    assert_eq!(told(&stage), [] as [&str; 0]);
    stage.ask("fault: well");
    assert_eq!(told(&stage), ["auto"]);
    stage.end();
}

#[test]
fn what_the_agent_refuses_is_told_and_not_remembered() {
    let stage = Stage::with("choices refuses");
    stage.ask("fault: well");
    let pid = stage.pid();
    let refused = stage.daemon.try_rpc("chat/choose", wish(&stage, "auto")).unwrap_err();
    assert!(refused.message.contains("not today"), "{refused:?}");
    assert_eq!(refused.data["kind"], "unavailable");
    assert_eq!(offers(&stage)["chosen"], Value::Null);
    stage.ask("fault: well");
    assert_eq!((stage.pid(), told(&stage).len()), (pid, 1));
    stage.end();
}

#[test]
fn what_may_have_been_taken_is_undone_by_another_start() {
    let stage = Stage::with("choices silent");
    stage.ask("fault: well");
    let pid = stage.pid();
    let refused = stage.daemon.try_rpc("chat/choose", wish(&stage, "auto")).unwrap_err();
    assert!(refused.message.contains("no answer within 10 s"), "{refused:?}");
    assert_eq!(offers(&stage)["chosen"], Value::Null);
    stage.ask("fault: well");
    assert_ne!(stage.pid(), pid);
    stage.end();
}

#[test]
fn a_mode_that_the_agent_leaves_by_itself_is_not_brought_back() {
    let stage = Stage::with("choices leaves");
    stage.ask("fault: well");
    choose(&stage, "auto");
    stage.ask("fault: well");
    until("the mode to be left", || (offers(&stage)["chosen"] == "ask").then_some(()));
    evict(&stage);
    stage.ask("fault: well");
    assert_eq!(told(&stage), ["auto"], "a start that begins in the right mode sets none");
    stage.end();
}

#[test]
fn bad_choices_are_answered_with_what_is_wrong() {
    let daemon = Setup::new().start();
    let chat = daemon.lone_chat();
    let closed = daemon.lone_chat();
    daemon.rpc("chat/close", json!({"chat": closed}));
    // params, code, a word of the message
    let cases = [
        (json!({"chat": chat}), -32602, "at least one of"),
        (json!({"chat": chat, "mode": 7}), -32602, "invalid type"),
        (json!({"chat": chat, "mood": "auto"}), -32602, "mood"),
        (json!({"chat": chat, "agent": "nobody", "mode": "auto"}), -32002, "nobody"),
        (json!({"chat": "c-nosuch", "mode": "auto"}), -32002, "c-nosuch"),
        (json!({"chat": closed, "agent": DEMO, "mode": "auto"}), -32003, "closed"),
    ];
    for (params, code, word) in cases {
        let refused = daemon.try_rpc("chat/choose", params.clone()).unwrap_err();
        assert_eq!(refused.code, code, "{params}: {refused:?}");
        assert!(refused.message.contains(word), "{params}: {refused:?}");
    }
    // An agent that has no modes says so, whether it runs or is started with one.
    daemon.ask(&chat, DEMO, &say("well"));
    let refused = daemon.try_rpc("chat/choose", json!({"chat": chat, "mode": "auto"})).unwrap_err();
    assert!(refused.message.contains("offers no mode"), "{refused:?}");
    let other = daemon.lone_chat();
    daemon.rpc("chat/choose", json!({"chat": other, "agent": DEMO, "mode": "auto"}));
    assert_eq!(daemon.ask(&other, DEMO, &say("well")), "well");
    let notices = daemon.events(json!({"chat": other, "types": ["notice"]}));
    let is_told =
        |event: &Value| event["text"].as_str().is_some_and(|text| text.contains("`auto` is not offered"));
    assert!(notices.iter().any(is_told), "{notices:#?}");
}

#[test]
fn the_command_line_shows_what_there_is_and_chooses() {
    let stage = Stage::with("choices takes");
    stage.ask("fault: well");
    let shown = stage.daemon.hob(&["chat", "choose", &stage.chat]).ok().stdout;
    let line =
        |word: &str| shown.lines().find(|line| line.contains(word)).unwrap_or_else(|| panic!("{shown}"));
    assert!(line("Ask first").starts_with('*') && !line("Go on").starts_with('*'), "{shown}");
    let chosen = stage.daemon.hob(&["chat", "choose", &stage.chat, "--mode", "auto"]).ok().stdout;
    assert!(chosen.lines().any(|line| line.starts_with('*') && line.contains("Go on")), "{chosen}");
    assert_eq!(offers(&stage)["chosen"], "auto");
    let refused = stage.daemon.hob(&["chat", "choose", &stage.chat, "--mode", "warp"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("it has: ask, auto"), "{refused:?}");
    stage.daemon.hob(&["chat", "choose", &stage.chat, "--reset"]).ok();
    assert_eq!(offers(&stage)["chosen"], Value::Null);
    stage.end();
}
