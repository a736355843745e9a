//! The main job on the real agents: each scenario is a function, and each agent has a file that
//! names the scenarios it is put through.

mod arena;
mod changes;
mod choose;
mod delegate;
mod goose;
mod lifecycle;
mod oneshot;
mod opencode;
mod opencode_errors;
mod opencode_server;
mod qwen;
mod ways;

use serde_json::{Value, json};

use crate::support::agents::{Consent, RealAgent};
use crate::support::daemon::{TestDaemon, kill};
use crate::support::home::Setup;
use crate::support::model::End;
use crate::support::wait::until;

/// What is asked while nobody watches is answered, and not kept.
const UNATTENDED: &str = "[permissions]\nunattended = \"reject\"";

/// A turn that is still under way when a test looks, and whose end nobody waits for.
const LONG: &str = "slow: 2000 25";

fn start(agent: RealAgent) -> TestDaemon {
    Setup::new().real(agent, Consent::Assumes).start()
}

/// The contexts that the turns of a chat began with, oldest first.
fn contexts(daemon: &TestDaemon, chat: &str) -> Vec<String> {
    let events = daemon.events(json!({"chat": chat, "types": ["turn_started"]}));
    events.iter().map(|event| event["context"].as_str().unwrap().to_owned()).collect()
}

/// Three turns in one chat keep one process and the context; what they cost is recorded.
fn three_turns(agent: RealAgent) {
    let daemon = start(agent);
    let chat = daemon.lone_chat();
    assert_eq!(daemon.ask(&chat, agent.name(), "say: the first"), "the first");
    let pid = daemon.agent_pid(&chat, agent.name());
    let second = daemon.run(&chat, agent.name(), "think: hm ;; usage: 700 30 ;; say: the second");
    assert_eq!(second["text"], "the second");
    assert_eq!(daemon.ask(&chat, agent.name(), "count"), "prompts=3");

    assert_eq!(daemon.agent_pid(&chat, agent.name()), pid);
    assert_eq!(contexts(&daemon, &chat), ["fresh", "warm", "warm"]);
    assert_eq!(
        (&second["usage"]["input"], &second["usage"]["output"]),
        (&json!(700), &json!(30)),
        "{second:#}"
    );
    let reasoning = daemon.events(json!({"task": second["id"], "types": ["reasoning"]}));
    assert_eq!(reasoning.iter().map(|e| e["text"].as_str().unwrap()).collect::<String>().trim(), "hm");
    let session = daemon.rpc("session/show", json!({"session": second["session"]}));
    assert!(session["usage"]["input"].as_u64() >= Some(700), "{session:#}");
}

/// Two chats with the same agent share the worktree of their session and not the context.
fn two_chats(agent: RealAgent) {
    let daemon = start(agent);
    let session = daemon.session(&daemon.repo("repo"));
    let (left, right) = (daemon.chat(&session), daemon.chat(&session));
    // Two first starts at once on a fresh home get in each other's way inside some agents.
    daemon.ask(&left, agent.name(), "say: only left knows");
    daemon.ask(&right, agent.name(), "say: only right knows");
    assert_eq!(daemon.ask(&left, agent.name(), "recall"), "say: only left knows || recall");
    assert_eq!(daemon.ask(&right, agent.name(), "recall"), "say: only right knows || recall");
    assert_ne!(daemon.agent_pid(&left, agent.name()), daemon.agent_pid(&right, agent.name()));
}

/// What an agent writes is in the session's worktree and not in the user's checkout.
fn file_in_worktree(agent: RealAgent) {
    let daemon = start(agent);
    let repo = daemon.repo("repo");
    let session = daemon.session(&repo);
    let chat = daemon.chat(&session);
    let task = daemon.run(&chat, agent.name(), "write: notes.txt: from the agent");
    assert_eq!(task["state"], "completed", "{task:#}");

    let written = std::fs::read_to_string(session.worktree.join("notes.txt")).unwrap();
    assert_eq!(written.trim_end(), "from the agent");
    assert!(!repo.path.join("notes.txt").exists());
    assert_eq!(repo.git(&["status", "--porcelain"]), "");
    let kinds: Vec<Value> =
        daemon.events(json!({"task": task["id"]})).iter().map(|e| e["type"].clone()).collect();
    assert!(kinds.contains(&json!("tool_call")) || kinds.contains(&json!("tool_update")), "{kinds:?}");
}

/// Cancelled in mid-stream, a turn ends `cancelled` and the same process answers the next prompt.
fn cancel_mid_stream(agent: RealAgent) {
    let daemon = start(agent);
    let chat = daemon.lone_chat();
    let task = daemon.submit(&chat, agent.name(), LONG);
    daemon.wait_event(&task, "text");
    let pid = daemon.agent_pid(&chat, agent.name());
    daemon.hob(&["task", "cancel", &task]).ok();

    let ended = daemon.wait_task(&task);
    assert_eq!(ended["state"], "cancelled", "{ended:#}");
    let seen = daemon.model().wait_for(LONG, |exchange| exchange.end.is_some());
    assert_eq!(seen.end, Some(End::ClientGone));
    assert_eq!(daemon.ask(&chat, agent.name(), "say: still here"), "still here");
    assert_eq!(daemon.agent_pid(&chat, agent.name()), pid);
    assert_eq!(daemon.events(json!({"task": task, "types": ["turn_ended"]})).len(), 1);
}

/// A cancel directly behind the submit is not lost, whether the agent is cold or warm.
fn cancel_at_once(agent: RealAgent) {
    let daemon = start(agent);
    let chat = daemon.lone_chat();
    let cancel = |what: &str| {
        let mut client = daemon.connect();
        let params = json!({"chat": chat, "agent": agent.name(), "prompt": LONG});
        let task = client.call("task/submit", params).unwrap();
        client.call("task/cancel", json!({"task": task["id"]})).unwrap();
        let ended = daemon.wait_task(task["id"].as_str().unwrap());
        assert_eq!(ended["state"], "cancelled", "{what}: {ended:#}");
    };
    cancel("cold");
    assert_eq!(daemon.ask(&chat, agent.name(), "say: one"), "one");
    let pid = daemon.agent_pid(&chat, agent.name());
    cancel("warm");
    assert_eq!(daemon.ask(&chat, agent.name(), "say: two"), "two");
    assert_eq!(daemon.agent_pid(&chat, agent.name()), pid);
}

/// An agent asks, a person answers with `hob permission`, and the agent obeys.
fn permissions(agent: RealAgent) {
    let daemon = Setup::new().real(agent, Consent::Asks).config(UNATTENDED).start();
    let session = daemon.session(&daemon.repo("repo"));
    let chat = daemon.chat(&session);
    let watching = daemon.watch(&chat);
    for (verb, name, exists) in [("allow", "yes.txt", true), ("reject", "no.txt", false)] {
        let task = daemon.submit(&chat, agent.name(), &format!("write: {name}: asked for"));
        let asked = daemon.wait_event(&task, "permission_requested");
        let id = asked["permission"].as_str().unwrap();
        assert!(!session.worktree.join(name).exists());
        let listed = daemon.hob(&["permission", "ls"]).ok();
        assert!(listed.stdout.contains(id), "{listed:?}");
        daemon.hob(&["permission", verb, id]).ok();

        daemon.wait_task(&task);
        assert_eq!(session.worktree.join(name).exists(), exists, "{name}");
        let resolved = daemon.wait_event(&task, "permission_resolved");
        assert_eq!(resolved["permission"], id);
        let again = daemon.hob(&["permission", verb, id]);
        assert_ne!(again.code, Some(0), "a settled question was answered again: {again:?}");
    }
    // Nobody watches any more: the unattended policy answers, and that is no.
    drop(watching);
    let task = daemon.run(&chat, agent.name(), "write: nobody.txt: asked for");
    assert!(!session.worktree.join("nobody.txt").exists(), "{task:#}");
    assert_eq!(daemon.events(json!({"task": task["id"], "types": ["permission_resolved"]})).len(), 1);
}

/// "Always" is remembered by hob and for its chat: no task is switched off from asking that was to
/// be rejected, in this chat or in another one of the same worktree.
fn always_is_ours(agent: RealAgent) {
    let mut daemon = Setup::new().real(agent, Consent::Asks).config(UNATTENDED).start();
    let session = daemon.session(&daemon.repo("repo"));
    let (chat, other) = (daemon.chat(&session), daemon.chat(&session));
    let watching = daemon.watch(&chat);
    let task = daemon.submit(&chat, agent.name(), "write: one.txt: asked for");
    let asked = daemon.wait_event(&task, "permission_requested");
    daemon.hob(&["permission", "allow", asked["permission"].as_str().unwrap(), "allow_always"]).ok();
    daemon.wait_task(&task);
    assert!(session.worktree.join("one.txt").exists());
    drop(watching);

    for (chat, name) in [(&other, "two.txt"), (&chat, "three.txt")] {
        let submitted = json!({"chat": chat, "agent": agent.name(), "permissions": "reject",
            "prompt": format!("write: {name}: not wanted")});
        let task = daemon.rpc("task/submit", submitted);
        let ended = daemon.wait_task(task["id"].as_str().unwrap());
        assert!(!session.worktree.join(name).exists(), "{name}: {ended:#}");
    }
    // The person's word holds where nobody watches, and under the next daemon.
    daemon.stop();
    daemon.start_again();
    daemon.run(&chat, agent.name(), "write: four.txt: as agreed");
    assert!(session.worktree.join("four.txt").exists());
    daemon.run(&other, agent.name(), "write: five.txt: nobody watches");
    assert!(!session.worktree.join("five.txt").exists());
}

/// An agent that is killed in mid-turn is back with the next prompt, and remembers.
fn killed_mid_turn(agent: RealAgent) {
    let daemon = start(agent);
    let chat = daemon.lone_chat();
    daemon.ask(&chat, agent.name(), "say: before");
    let task = daemon.submit(&chat, agent.name(), LONG);
    daemon.wait_event(&task, "text");
    let pid = daemon.agent_pid(&chat, agent.name());
    kill(pid);

    let ended = daemon.wait_task(&task);
    assert_eq!(ended["state"], "interrupted", "{ended:#}");
    let row = until("the agent session to be told as crashed", || {
        let row = daemon.agent_session(&chat, agent.name());
        (row["status"] == "crashed").then_some(row)
    });
    assert_eq!(row["last_exit"]["signal"], 9, "{row:#}");
    assert_eq!(row["pid"], Value::Null, "{row:#}");
    let told = daemon.hob(&["ps", "-a"]).ok();
    assert!(told.stdout.contains("crashed") && told.stdout.contains("SIGKILL"), "{}", told.stdout);

    assert_eq!(daemon.ask(&chat, agent.name(), "count"), "prompts=3");
    let began = contexts(&daemon, &chat);
    assert!(["loaded", "resumed"].contains(&began[2].as_str()), "{began:?}");
    assert_ne!(daemon.agent_pid(&chat, agent.name()), pid);
    assert!(daemon.events(json!({"chat": chat, "types": ["context_reset"]})).is_empty());
}

/// Two chats with one place take turns: each comes back with what it remembers. Probes at a quick
/// pace find nothing wrong with either, idle or in mid-turn.
fn evicted_for_another(agent: RealAgent) {
    let config = "[pool]\nmax_live = 1\n[health]\ninterval = \"200ms\"";
    let daemon = Setup::new().config(config).real(agent, Consent::Assumes).start();
    let (left, right) = (daemon.lone_chat(), daemon.lone_chat());
    assert_eq!(daemon.ask(&left, agent.name(), "say: left"), "left");
    assert_eq!(daemon.ask(&right, agent.name(), "say: right"), "right");
    assert_eq!(daemon.agent_session(&left, agent.name())["status"], "evicted");
    for chat in [&left, &right] {
        assert_eq!(daemon.ask(chat, agent.name(), "count"), "prompts=2");
        let began = contexts(&daemon, chat);
        assert!(["loaded", "resumed"].contains(&began[1].as_str()), "{began:?}");
        assert!(daemon.events(json!({"chat": chat, "types": ["context_reset", "health"]})).is_empty());
    }
}

/// A conversation that the agent itself has lost is begun again, and that is said.
fn lost_conversation(agent: RealAgent, stored_in: &str) {
    let daemon = start(agent);
    let chat = daemon.lone_chat();
    daemon.ask(&chat, agent.name(), "say: before");
    kill(daemon.agent_pid(&chat, agent.name()));
    until("the agent session to be told as crashed", || {
        (daemon.agent_session(&chat, agent.name())["status"] == "crashed").then_some(())
    });
    let home = daemon.root().join("agents").join(agent.name());
    std::fs::remove_dir_all(home.join(stored_in)).unwrap();

    assert_eq!(daemon.ask(&chat, agent.name(), "count"), "prompts=1");
    assert_eq!(contexts(&daemon, &chat), ["fresh", "reset"]);
    let told = daemon.events(json!({"chat": chat, "types": ["context_reset"]}));
    assert_eq!(told.len(), 1, "{told:#?}");
}
