//! Who lives and who goes: idle agents are let go and come back as they were, busy ones stay, and
//! no limit locks anybody out.

use serde_json::{Value, json};

use crate::support::daemon::{TestDaemon, kill};
use crate::support::demo::{DEMO, say};
use crate::support::home::Setup;
use crate::support::leftovers::is_alive;
use crate::support::wait::until;

/// Short, and long enough for a turn to begin.
const SHORT_TTL: &str = "[pool]\nidle_ttl = \"300ms\"";

/// More memory than there is.
const NO_MEMORY: &str = "[pool]\nmin_available = \"100000GiB\"";

/// What the built-in agent says about how much it remembers.
fn remembers(prompts: u32) -> String {
    format!("count prompts={prompts}")
}

fn start(config: &str) -> TestDaemon {
    Setup::new().config(config).start()
}

fn chats<const N: usize>(daemon: &TestDaemon) -> [String; N] {
    let session = daemon.session(&daemon.repo("repo"));
    std::array::from_fn(|_| daemon.chat(&session))
}

/// Begins a turn that lasts until it is cancelled.
fn hang(daemon: &TestDaemon, chat: &str) -> String {
    let task = daemon.submit(chat, DEMO, "say: on it ;; hang");
    daemon.wait_event(&task, "text");
    task
}

fn cancel(daemon: &TestDaemon, task: &str) {
    daemon.rpc("task/cancel", json!({"task": task}));
    assert_eq!(daemon.wait_task(task)["state"], "cancelled");
}

#[track_caller]
fn wait_status(daemon: &TestDaemon, chat: &str, status: &str) -> Value {
    until(&format!("{chat} to be {status}"), || {
        Some(daemon.agent_session(chat, DEMO)).filter(|row| row["status"] == status)
    })
}

#[track_caller]
fn wait_waiting(daemon: &TestDaemon, task: &str, what: &str) {
    until(&format!("{task} to wait for {what}"), || {
        (daemon.rpc("task/show", json!({"task": task}))["waiting"] == what).then_some(())
    });
}

/// The last move of an agent to `evicted`, and why.
fn why_evicted(daemon: &TestDaemon, chat: &str) -> String {
    let moves = daemon.events(json!({"chat": chat, "types": ["agent_state"]}));
    let evicted = moves.iter().rfind(|event| event["to"] == "evicted");
    evicted.and_then(|event| event["reason"].as_str()).unwrap_or_default().to_owned()
}

#[test]
fn an_agent_that_is_idle_for_long_goes_and_one_at_work_stays() {
    let daemon = start(SHORT_TTL);
    let [idle, busy] = chats(&daemon);
    let task = hang(&daemon, &busy);
    let busy_pid = daemon.agent_pid(&busy, DEMO);
    daemon.ask(&idle, DEMO, &say("hello"));
    let row = wait_status(&daemon, &idle, "evicted");
    assert!(row["pid"].is_null(), "{row:#}");
    assert!(why_evicted(&daemon, &idle).contains("idle for 0.3 s"), "{}", why_evicted(&daemon, &idle));
    assert_eq!(daemon.agent_pid(&busy, DEMO), busy_pid, "it has been out of use for longer");
    cancel(&daemon, &task);
    wait_status(&daemon, &busy, "evicted");
    until("its process to be gone", || (!is_alive(busy_pid)).then_some(()));
}

#[test]
fn an_agent_that_was_let_go_comes_back_and_remembers() {
    let daemon = start("");
    let [chat] = chats(&daemon);
    daemon.ask(&chat, DEMO, &say("hello"));
    let pid = daemon.agent_pid(&chat, DEMO);
    daemon.hob(&["evict", &chat, DEMO]).ok();
    assert!(!is_alive(pid), "evict returns when it is gone");
    assert_eq!(daemon.agent_session(&chat, DEMO)["status"], "evicted");
    let task = daemon.submit(&chat, DEMO, "count");
    assert_eq!(daemon.wait_task(&task)["text"], remembers(2));
    assert_eq!(daemon.wait_event(&task, "turn_started")["context"], "loaded");
    let again = daemon.submit(&chat, DEMO, "count");
    assert_eq!(daemon.wait_event(&again, "turn_started")["context"], "warm");
    daemon.wait_task(&again);
    // What is not there cannot go, which is fine.
    daemon.hob(&["evict", &chat, DEMO]).ok();
    daemon.hob(&["evict", &chat, DEMO]).ok();
    daemon.hob(&["evict", &chat, "nobody"]).exit(5);
}

#[test]
fn past_the_cap_the_least_recently_used_goes() {
    let daemon = start("[pool]\nmax_live = 2");
    let [first, second, third] = chats(&daemon);
    for chat in [&first, &second, &first, &third] {
        daemon.ask(chat, DEMO, &say("hello"));
    }
    assert_eq!(daemon.agent_session(&second, DEMO)["status"], "evicted");
    assert!(why_evicted(&daemon, &second).contains("to make room for"));
    daemon.agent_pid(&first, DEMO);
    daemon.agent_pid(&third, DEMO);
    assert_eq!(daemon.ask(&second, DEMO, "count"), remembers(2));
}

#[test]
fn a_busy_agent_is_let_go_or_started_again_only_by_force() {
    let daemon = start("");
    let [chat] = chats(&daemon);
    let task = hang(&daemon, &chat);
    let pid = daemon.agent_pid(&chat, DEMO);
    for command in ["evict", "restart"] {
        daemon.hob(&[command, &chat, DEMO]).exit(4).says(&["busy", "turn"]);
    }
    let refused = daemon.try_rpc("pool/evict", json!({"chat": chat, "agent": DEMO})).unwrap_err();
    assert_eq!(refused.kind, "refused", "{refused}");
    assert!(refused.data["reasons"].to_string().contains("turn"), "{refused}");
    assert_eq!(daemon.agent_pid(&chat, DEMO), pid);

    daemon.hob(&["evict", &chat, DEMO, "--force"]).ok();
    assert!(!is_alive(pid));
    assert_eq!(daemon.wait_task(&task)["state"], "cancelled");

    let task = hang(&daemon, &chat);
    let pid = daemon.agent_pid(&chat, DEMO);
    daemon.hob(&["restart", &chat, DEMO, "--force"]).ok();
    assert_eq!(daemon.wait_task(&task)["state"], "interrupted");
    assert_ne!(daemon.agent_pid(&chat, DEMO), pid);

    // Idle, it needs no force, and keeps its memory.
    let pid = daemon.agent_pid(&chat, DEMO);
    daemon.hob(&["restart", &chat, DEMO]).ok();
    assert_ne!(daemon.agent_pid(&chat, DEMO), pid);
    assert_eq!(daemon.ask(&chat, DEMO, "count"), remembers(3));
}

#[test]
fn a_pin_keeps_an_agent_as_long_as_its_connection() {
    let daemon = start(SHORT_TTL);
    let [pinned, other] = chats(&daemon);
    daemon.ask(&pinned, DEMO, &say("hello"));
    let mut client = daemon.connect();
    let params = json!({"chat": pinned, "agent": DEMO});
    client.call("pool/pin", params.clone()).unwrap();
    // It may have gone before the pin.
    daemon.ask(&pinned, DEMO, &say("here"));
    let pid = daemon.agent_pid(&pinned, DEMO);
    daemon.ask(&other, DEMO, &say("hello"));
    wait_status(&daemon, &other, "evicted");
    assert_eq!(daemon.agent_pid(&pinned, DEMO), pid, "it has been idle for longer");
    daemon.hob(&["evict", &pinned, DEMO]).exit(4).says(&["pinned"]);

    // Given back and taken again, then lost with the connection.
    client.call("pool/unpin", params.clone()).unwrap();
    client.call("pool/pin", params).unwrap();
    drop(client);
    wait_status(&daemon, &pinned, "evicted");
}

#[test]
fn the_smallest_limits_lock_nobody_out() {
    let daemon = start("[pool]\nmax_live = 1\n[dispatch]\nmax_running = 1");
    let chats: [String; 3] = chats(&daemon);
    let submit = |chat: &String| daemon.submit(chat, DEMO, &say("hello"));
    let all: Vec<String> = chats.iter().chain(&chats).map(submit).collect();
    for task in &all {
        assert_eq!(daemon.wait_task(task)["state"], "completed");
    }
    let rows = daemon.rpc("pool/list", json!({}));
    assert!(rows.as_array().unwrap().len() <= 1, "{rows:#}");
}

#[test]
fn a_full_pool_of_busy_agents_lets_wait_or_refuses_as_asked() {
    let daemon = start("[pool]\nmax_live = 1");
    let [busy, other] = chats(&daemon);
    let task = hang(&daemon, &busy);
    daemon.hob(&["prompt", "--chat", &other, "--agent", DEMO, "--no-wait", "say: now"]).exit(75);
    let waits = daemon.submit(&other, DEMO, &say("later"));
    wait_waiting(&daemon, &waits, "slot");
    cancel(&daemon, &task);
    assert_eq!(daemon.wait_task(&waits)["text"], "later");
    assert_eq!(daemon.agent_session(&busy, DEMO)["status"], "evicted");
    // One that is idle can go, so nobody has to wait.
    daemon.hob(&["prompt", "--chat", &busy, "--agent", DEMO, "--no-wait", "say: now"]).ok();
}

#[test]
fn low_memory_starts_a_second_only_in_the_place_of_the_first() {
    let daemon = start(NO_MEMORY);
    let [first, second] = chats(&daemon);
    // With nothing alive there is no other way to go on.
    let task = hang(&daemon, &first);
    let waits = daemon.submit(&second, DEMO, &say("at last"));
    wait_waiting(&daemon, &waits, "memory");
    cancel(&daemon, &task);
    assert_eq!(daemon.wait_task(&waits)["text"], "at last");
    assert!(why_evicted(&daemon, &first).contains("memory"), "{}", why_evicted(&daemon, &first));
}

#[test]
fn what_a_turn_left_running_keeps_the_agent_where_that_counts() {
    let config = format!("{SHORT_TTL}\n[agents.{DEMO}]\ncount_background = true");
    let daemon = start(&config);
    let [works, idle] = chats(&daemon);
    daemon.ask(&works, DEMO, "shell: sleep 1000 > /dev/null 2>&1 &");
    let pid = daemon.agent_pid(&works, DEMO);
    daemon.ask(&idle, DEMO, &say("hello"));
    wait_status(&daemon, &idle, "evicted");
    assert_eq!(daemon.agent_pid(&works, DEMO), pid, "it has been idle for longer");
    daemon.hob(&["evict", &works, DEMO]).exit(4).says(&["background"]);
    daemon.hob(&["evict", &works, DEMO, "--force"]).ok();
    assert!(!is_alive(pid));
}

#[test]
fn what_is_kept_warm_comes_back_by_itself() {
    let config = format!("{SHORT_TTL}\n[restart]\nbackoff_min = \"10ms\"\n[agents.{DEMO}]\nkeep_warm = true");
    let daemon = start(&config);
    let [chat] = chats(&daemon);
    daemon.ask(&chat, DEMO, &say("hello"));
    let pid = daemon.agent_pid(&chat, DEMO);
    kill(pid);
    until("another process", || {
        let row = daemon.agent_session(&chat, DEMO);
        (row["status"] == "idle" && row["pid"] != pid).then_some(())
    });
    let starts = daemon.events(json!({"chat": chat, "types": ["agent_state"]}));
    assert_eq!(starts.iter().filter(|event| event["to"] == "starting").count(), 2, "{starts:#?}");
    assert_eq!(daemon.ask(&chat, DEMO, "count"), remembers(2));
}

#[test]
fn a_person_brings_an_agent_up_before_the_first_prompt() {
    let daemon = start("");
    let [chat] = chats(&daemon);
    daemon.hob(&["restart", &chat, DEMO]).ok();
    let pid = daemon.agent_pid(&chat, DEMO);
    assert_eq!(daemon.ask(&chat, DEMO, "count"), remembers(1));
    assert_eq!(daemon.agent_pid(&chat, DEMO), pid);
}

#[test]
fn raised_limits_count_from_the_reload_on() {
    let daemon = start("[pool]\nmax_live = 1");
    let [busy, other] = chats(&daemon);
    let task = hang(&daemon, &busy);
    let waits = daemon.submit(&other, DEMO, &say("now"));
    wait_waiting(&daemon, &waits, "slot");
    daemon.write_config("[pool]\nmax_live = 2");
    daemon.hob(&["reload"]).ok();
    assert_eq!(daemon.wait_task(&waits)["text"], "now");
    cancel(&daemon, &task);
}
