//! goose.

use serde_json::json;

use crate::support::agents::{Consent, RealAgent};
use crate::support::home::Setup;

const AGENT: RealAgent = RealAgent::Goose;

#[test]
fn three_turns_keep_the_process_and_the_context() {
    super::three_turns(AGENT);
}

#[test]
fn two_chats_do_not_share_the_context() {
    super::two_chats(AGENT);
}

#[test]
fn a_written_file_is_in_the_worktree_and_not_in_the_checkout() {
    super::file_in_worktree(AGENT);
}

#[test]
fn a_cancel_in_mid_stream_keeps_the_process() {
    super::cancel_mid_stream(AGENT);
}

#[test]
fn a_cancel_at_once_after_the_submit_is_not_lost() {
    super::cancel_at_once(AGENT);
}

#[test]
fn permissions_are_asked_and_answered() {
    super::permissions(AGENT);
}

#[test]
fn an_always_is_remembered_by_us_and_for_its_chat() {
    super::always_is_ours(AGENT);
}

#[test]
fn killed_in_mid_turn_it_comes_back_and_remembers() {
    super::killed_mid_turn(AGENT);
}

#[test]
fn a_lost_conversation_is_told() {
    super::lost_conversation(AGENT, "goose/data");
}

#[test]
fn two_agents_in_one_chat_share_the_worktree_and_not_the_context() {
    let daemon = Setup::new().real(AGENT, Consent::Assumes).real(RealAgent::Qwen, Consent::Assumes).start();
    let session = daemon.session(&daemon.repo("repo"));
    let chat = daemon.chat(&session);
    daemon.ask(&chat, "goose", "write: shared.txt: written by goose");
    let read = daemon.ask(&chat, "qwen", "read: shared.txt");
    assert!(read.contains("written by goose"), "{read}");
    assert_eq!(daemon.ask(&chat, "qwen", "count"), "prompts=2");
    assert_eq!(daemon.ask(&chat, "goose", "count"), "prompts=2");
    assert_ne!(daemon.agent_pid(&chat, "goose"), daemon.agent_pid(&chat, "qwen"));
}

#[test]
fn evicted_for_another_chat_it_comes_back_and_remembers() {
    super::evicted_for_another(AGENT);
}

#[test]
fn what_its_own_file_allows_is_asked_of_nobody_and_told_by_the_check() {
    let daemon = Setup::new().real(AGENT, Consent::Asks).start();
    let rules = daemon.root().join("agents/goose/goose/config/permission.yaml");
    std::fs::create_dir_all(rules.parent().unwrap()).unwrap();
    std::fs::write(&rules, "user:\n  always_allow:\n  - write\n  ask_before: []\n  never_allow: []\n")
        .unwrap();

    let checked = daemon.hob_json(&["agent", "check", "goose"]);
    let own: Vec<_> = checked["own_rules"]["rules"].as_array().unwrap().iter().collect();
    let told =
        |what: &str, effect: &str| own.iter().any(|rule| rule["what"] == what && rule["effect"] == effect);
    assert!(told("everything", "ask") && told("write", "allow"), "{checked:#}");

    // The rule is real: hob is not asked, and its own no comes to nothing.
    let session = daemon.session(&daemon.repo("repo"));
    let chat = daemon.chat(&session);
    let submitted = json!({"chat": chat, "agent": "goose", "permissions": "reject", "prompt": "write: own.txt: by its rule"});
    let task = daemon.rpc("task/submit", submitted);
    daemon.wait_task(task["id"].as_str().unwrap());
    assert!(session.worktree.join("own.txt").exists());
}

#[test]
fn without_a_mode_it_asks_nobody_and_the_check_says_so() {
    let daemon =
        Setup::new().real(AGENT, Consent::Asks).config("[agents.goose.env]\nGOOSE_MODE = \"\"").start();
    let checked = daemon.hob_json(&["agent", "check", "goose"]);
    assert_eq!(
        checked["own_rules"]["rules"][0],
        json!({"source": "its default", "what": "everything", "effect": "allow"})
    );
    let session = daemon.session(&daemon.repo("repo"));
    let chat = daemon.chat(&session);
    let submitted =
        json!({"chat": chat, "agent": "goose", "permissions": "reject", "prompt": "write: own.txt: unasked"});
    let task = daemon.rpc("task/submit", submitted);
    daemon.wait_task(task["id"].as_str().unwrap());
    assert!(session.worktree.join("own.txt").exists());
}

#[test]
fn a_rule_by_kind_holds_for_its_tools_although_it_tells_no_kind() {
    let rules = "[permissions]\ndefault = \"allow\"\nexecute = \"reject\"";
    let daemon = Setup::new().real(AGENT, Consent::Asks).config(rules).start();
    let session = daemon.session(&daemon.repo("repo"));
    let chat = daemon.chat(&session);
    daemon.ask(&chat, "goose", "shell: touch by-shell.txt");
    daemon.ask(&chat, "goose", "write: by-write.txt: allowed");
    assert!(!session.worktree.join("by-shell.txt").exists());
    assert!(session.worktree.join("by-write.txt").exists());
}
