//! opencode as a server: the scenarios of every agent, and what comes of many who share it.

use std::net::TcpListener;

use serde_json::json;

use super::{LONG, contexts};
use crate::support::agents::{Consent, RealAgent};
use crate::support::daemon::{TestDaemon, kill, suspend};
use crate::support::home::Setup;
use crate::support::leftovers;
use crate::support::wait::until;

const AGENT: RealAgent = RealAgent::OpencodeServer;

#[test]
fn three_turns_keep_the_process_and_the_context() {
    super::three_turns(AGENT);
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
    super::lost_conversation(AGENT, ".local/share/opencode");
}

/// Chats of sessions of their own, each in a repository of its own.
fn chats(daemon: &TestDaemon, n_sessions: usize, n_each: usize) -> Vec<String> {
    let sessions: Vec<_> =
        (0..n_sessions).map(|n| daemon.session(&daemon.repo(&format!("shared-{n}")))).collect();
    sessions.iter().flat_map(|session| (0..n_each).map(|_| daemon.chat(session))).collect()
}

fn start(config: &str) -> TestDaemon {
    Setup::new().real(AGENT, Consent::Assumes).config(config).start()
}

fn pids(daemon: &TestDaemon, chats: &[String]) -> Vec<u32> {
    chats.iter().map(|chat| daemon.agent_pid(chat, AGENT.name())).collect()
}

/// Waits until everybody says something, and returns the tasks.
fn all_busy(daemon: &TestDaemon, chats: &[String]) -> Vec<String> {
    let tasks: Vec<_> = chats.iter().map(|chat| daemon.submit(chat, AGENT.name(), LONG)).collect();
    tasks.iter().for_each(|task| drop(daemon.wait_event(task, "text")));
    tasks
}

#[test]
fn ten_chats_in_three_worktrees_live_in_one_process_and_share_no_context() {
    // One place is enough for all of them.
    let daemon = start("[pool]\nmax_live = 1");
    let sessions: Vec<_> = (0..3).map(|n| daemon.session(&daemon.repo(&format!("shared-{n}")))).collect();
    let chats: Vec<_> = (0..10).map(|n| daemon.chat(&sessions[n % 3])).collect();
    for chat in &chats {
        assert_eq!(daemon.ask(chat, AGENT.name(), &format!("say: {chat} alone")), format!("{chat} alone"));
    }
    for chat in &chats {
        let known = daemon.ask(chat, AGENT.name(), "recall");
        assert_eq!(known, format!("say: {chat} alone || recall"));
    }
    let pids = pids(&daemon, &chats);
    assert!(pids.iter().all(|pid| *pid == pids[0]), "{pids:?}");
    let row = daemon.agent_session(&chats[0], AGENT.name());
    assert_eq!((&row["shared_with"], &row["backend"]), (&json!(9), &json!("opencode")), "{row:#}");
}

#[test]
fn a_server_that_is_killed_interrupts_each_once_and_all_go_on_with_their_context() {
    let daemon = start("");
    let chats = chats(&daemon, 3, 1);
    for chat in &chats {
        daemon.ask(chat, AGENT.name(), &format!("say: {chat} before"));
    }
    let tasks = all_busy(&daemon, &chats);
    let pid = daemon.agent_pid(&chats[0], AGENT.name());
    kill(pid);
    for task in &tasks {
        let ended = daemon.wait_task(task);
        assert_eq!(ended["state"], "interrupted", "{ended:#}");
        assert_eq!(daemon.events(json!({"task": task, "types": ["turn_ended"]})).len(), 1);
    }
    for chat in &chats {
        assert_eq!(daemon.ask(chat, AGENT.name(), "count"), "prompts=3");
        let moves = daemon.events(json!({"chat": chat, "types": ["agent_state"]}));
        assert_eq!(moves.iter().filter(|event| event["to"] == "crashed").count(), 1, "{moves:#?}");
        assert_eq!(contexts(&daemon, chat).last().map(String::as_str), Some("resumed"));
        assert!(daemon.events(json!({"chat": chat, "types": ["context_reset"]})).is_empty());
    }
    let pids = pids(&daemon, &chats);
    assert!(pids.iter().all(|now| *now == pids[0] && *now != pid), "{pids:?} after {pid}");
}

#[test]
fn a_server_that_falls_silent_in_mid_turn_is_restarted_after_the_grace() {
    let daemon = start(
        "[process]\nstop_grace = \"500ms\"\n\
         [health]\ninterval = \"500ms\"\ntimeout = \"5s\"\nfailures_max = 2\nstale_grace = \"1s\"",
    );
    let chats = chats(&daemon, 2, 1);
    // One of them idle, so that the restart of a busy server takes it along.
    daemon.ask(&chats[1], AGENT.name(), "say: idle by then");
    let task = daemon.submit(&chats[0], AGENT.name(), LONG);
    daemon.wait_event(&task, "text");
    let pid = daemon.agent_pid(&chats[0], AGENT.name());
    suspend(pid);
    let ended = daemon.wait_task(&task);
    assert_eq!(ended["state"], "interrupted", "{ended:#}");
    assert_eq!(daemon.ask(&chats[0], AGENT.name(), "say: back"), "back");
    assert_eq!(daemon.ask(&chats[1], AGENT.name(), "count"), "prompts=2");
    let pids = pids(&daemon, &chats);
    assert!(pids[0] == pids[1] && pids[0] != pid, "{pids:?} after {pid}");
    let health = daemon.events(json!({"chat": chats[0], "types": ["health"]}));
    assert!(health.iter().any(|event| event["to"] == "restarting"), "{health:#?}");
}

/// Kills the server of a chat; the port that it listened on.
fn kill_server(daemon: &TestDaemon, chat: &str) -> u16 {
    let pid = daemon.agent_pid(chat, AGENT.name());
    let port = listening_port(pid);
    kill(pid);
    until("the agent session to be told as crashed", || {
        (daemon.agent_session(chat, AGENT.name())["status"] == "crashed").then_some(())
    });
    port
}

/// A neighbour's test may be given a port that is free for a moment, so these are tried again.
const PORT_TRIES: usize = 5;

#[test]
fn a_port_that_a_stranger_took_meanwhile_is_left_to_it() {
    let daemon = start("");
    let chat = daemon.lone_chat();
    daemon.ask(&chat, AGENT.name(), "say: before");
    let mut n_prompts = 1;
    let mut ask = || {
        n_prompts += 1;
        assert_eq!(daemon.ask(&chat, AGENT.name(), "count"), format!("prompts={n_prompts}"));
        listening_port(daemon.agent_pid(&chat, AGENT.name()))
    };
    let taken = (0..PORT_TRIES).find_map(|_| {
        let port = kill_server(&daemon, &chat);
        let stranger = TcpListener::bind(("127.0.0.1", port)).ok();
        let next = ask();
        stranger.map(|stranger| (stranger, port, next))
    });
    let (stranger, port, next) = taken.expect("a port that nobody else took");
    assert_ne!(next, port);
    let visitor = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    assert_eq!(stranger.accept().unwrap().1, visitor.local_addr().unwrap(), "the stranger is unharmed");

    // With the stranger gone and no change of anything, the port of the last one is taken again.
    drop(stranger);
    assert!((0..PORT_TRIES).any(|_| kill_server(&daemon, &chat) == ask()));
}

/// The port of 127.0.0.1 that a process listens on, by the tables of the kernel.
fn listening_port(pid: u32) -> u16 {
    let inodes: Vec<String> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap();
    let ports = table.lines().skip(1).filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_listening =
            words.get(3) == Some(&"0A") && inodes.iter().any(|inode| words.get(9) == Some(&&**inode));
        let (_, port) = words.get(1).filter(|_| is_listening)?.split_once(':')?;
        u16::from_str_radix(port, 16).ok()
    });
    ports.last().unwrap_or_else(|| panic!("{pid} listens nowhere:\n{table}"))
}

/// The stream is cut in the middle of an event, again and again: no word is lost, none told twice.
#[test]
fn a_stream_that_is_cut_in_mid_turn_loses_nothing() {
    for cut_after in ["9000", "23456"] {
        let daemon = Setup::new()
            .real(AGENT, Consent::Assumes)
            .fault_server(AGENT, &["cut", cut_after, "4", "{}"])
            .start();
        let chat = daemon.lone_chat();
        let task = daemon.run(&chat, AGENT.name(), "write: a.txt: one ;; slow: 60 20");
        assert_eq!(task["state"], "completed", "{task:#}");
        let events = daemon.events(json!({"task": task["id"]}));
        let text: String = events
            .iter()
            .filter(|event| event["type"] == "text")
            .filter_map(|e| e["text"].as_str())
            .collect();
        let expected: String = (0..60).map(|n| format!("w{n} ")).collect();
        assert!(text.contains(expected.trim_end()), "cut after {cut_after}: {text}");
        assert_eq!(text.matches("w59").count(), 1, "{text}");
        let count = |kind: &str| events.iter().filter(|event| event["type"] == kind).count();
        assert_eq!((count("tool_call"), count("turn_ended")), (1, 1), "{events:#?}");
        assert_eq!(daemon.ask(&chat, AGENT.name(), "count"), "prompts=2");
    }
}

#[test]
fn a_directory_in_which_nothing_is_done_loses_its_instance_and_no_context() {
    let daemon = start("[pool]\nidle_ttl = \"8s\"");
    let chats = chats(&daemon, 2, 1);
    daemon.ask(&chats[0], AGENT.name(), "say: before");
    until("the instance to be disposed of", || {
        // The other keeps the server and itself in use.
        daemon.ask(&chats[1], AGENT.name(), "say: busy");
        daemon.log().contains("an idle instance is disposed of").then_some(())
    });
    assert_eq!(daemon.ask(&chats[0], AGENT.name(), "count"), "prompts=2");
    assert_eq!(contexts(&daemon, &chats[0]).len(), 2);
}

/// Changes what is configured for the agent.
fn reconfigure(daemon: &TestDaemon, change: impl FnOnce(&mut toml::Table)) {
    let file = daemon.hob_home().join("config.toml");
    let mut config: toml::Table = std::fs::read_to_string(file).unwrap().parse().unwrap();
    change(config["agents"][AGENT.name()].as_table_mut().unwrap());
    daemon.write_config(&config.to_string());
    daemon.rpc("daemon/reload", json!({}));
}

/// Another configuration: the server of the old one serves its running turn out.
#[test]
fn a_changed_configuration_is_a_new_server_and_the_old_one_ends_with_its_turn() {
    let daemon = start("");
    let chats = chats(&daemon, 2, 1);
    for chat in &chats {
        daemon.ask(chat, AGENT.name(), "say: before");
    }
    let task = daemon.submit(&chats[0], AGENT.name(), "slow: 120 25");
    daemon.wait_event(&task, "text");
    let old = daemon.agent_pid(&chats[0], AGENT.name());
    reconfigure(&daemon, |agent| {
        agent["env"].as_table_mut().unwrap().insert("SOME_SETTING".into(), "other".into());
    });
    assert_eq!(daemon.ask(&chats[1], AGENT.name(), "count"), "prompts=2");
    let new = daemon.agent_pid(&chats[1], AGENT.name());
    assert_ne!(new, old);
    assert_eq!(daemon.wait_task(&task)["state"], "completed");
    assert_eq!(daemon.ask(&chats[0], AGENT.name(), "count"), "prompts=3");
    assert_eq!(daemon.agent_pid(&chats[0], AGENT.name()), new);
    until("the old server to end", || (!leftovers::is_alive(old)).then_some(()));
}

/// What a sub-agent asks, and what the agent asks a person, comes to the chat that owns them.
#[test]
fn questions_of_the_agent_and_of_its_sub_agents_come_to_its_chat() {
    let daemon = Setup::new().real(AGENT, Consent::Asks).start();
    let session = daemon.session(&daemon.repo("repo"));
    let (chat, other) = (daemon.chat(&session), daemon.chat(&session));
    let _watching = (daemon.watch(&chat), daemon.watch(&other));
    daemon.ask(&other, AGENT.name(), "say: another chat in the same directory");

    let child =
        json!({"description": "a part", "prompt": "write: sub.txt: by a child", "subagent_type": "general"});
    let task = daemon.submit(&chat, AGENT.name(), &format!("tool: task {child} ;; say: done"));
    let asked = daemon.wait_event(&task, "permission_requested");
    assert_eq!((&asked["chat"], &asked["task"]), (&json!(chat), &json!(task)));
    daemon.hob(&["permission", "allow", asked["permission"].as_str().unwrap()]).ok();
    let ended = daemon.wait_task(&task);
    assert_eq!((&ended["state"], &ended["text"]), (&json!("completed"), &json!("done")), "{ended:#}");
    assert!(session.worktree.join("sub.txt").exists());

    let options = json!([{"label": "red", "description": "r"}, {"label": "blue", "description": "b"}]);
    let question = json!({"questions": [{"question": "Which?", "header": "Colour", "options": options}]});
    let task = daemon.submit(&chat, AGENT.name(), &format!("tool: question {question}"));
    let asked = daemon.wait_event(&task, "permission_requested");
    assert_eq!(asked["title"], "Which?", "{asked:#}");
    let id = asked["permission"].as_str().unwrap();
    daemon.hob(&["permission", "allow", id, "1"]).ok();
    let ended = daemon.wait_task(&task);
    assert_eq!(ended["state"], "completed", "{ended:#}");
    assert!(
        ended["text"].as_str().unwrap().contains("blue"),
        "the answer is what the model was told: {ended:#}"
    );
}

#[test]
fn who_shares_a_server_is_as_configured_and_it_ends_with_the_last_of_them() {
    // share, how many servers two chats in one worktree and one in another have
    for (share, n_servers) in [("all", 1), ("workspace", 2), ("none", 3)] {
        let daemon = start(&format!("[agents.{}]\nshare = \"{share}\"", AGENT.name()));
        let mut chats = chats(&daemon, 1, 2);
        chats.push(daemon.lone_chat());
        for chat in &chats {
            daemon.ask(chat, AGENT.name(), "say: here");
        }
        let all = pids(&daemon, &chats);
        let different: std::collections::BTreeSet<u32> = all.iter().copied().collect();
        assert_eq!(different.len(), n_servers, "{share}: {all:?}");
        assert_eq!(all[0] == all[1], share != "none", "{share}: {all:?}");

        let evict = |chat: &str| {
            daemon.rpc("pool/evict", json!({"chat": chat, "agent": AGENT.name()}));
        };
        evict(&chats[0]);
        assert_eq!(leftovers::is_alive(all[0]), share != "none", "{share}: somebody lives there");
        evict(&chats[1]);
        assert_eq!(leftovers::is_alive(all[1]), share == "all", "{share}");
        evict(&chats[2]);
        assert!(!leftovers::is_alive(all[2]), "{share}: nobody lives there any more");
        assert_eq!(daemon.ask(&chats[0], AGENT.name(), "count"), "prompts=2");
    }
}

/// Who shares is seen when a process is started, so every one is started again.
#[test]
fn what_is_changed_in_who_shares_holds_from_the_next_prompt_on() {
    let daemon = start("");
    let chats = chats(&daemon, 2, 1);
    for chat in &chats {
        daemon.ask(chat, AGENT.name(), "say: together");
    }
    let together = pids(&daemon, &chats);
    assert_eq!(together[0], together[1]);
    reconfigure(&daemon, |agent| {
        agent.insert("share".into(), "none".into());
    });
    for chat in &chats {
        assert_eq!(daemon.ask(chat, AGENT.name(), "count"), "prompts=2");
    }
    let alone = pids(&daemon, &chats);
    assert_ne!(alone[0], alone[1]);
}

#[test]
fn what_the_person_set_for_a_server_of_its_own_is_in_nobodys_way() {
    let config = "[agents.opencode-server.env]\nOPENCODE_SERVER_USERNAME = \"somebody\"\nOPENCODE_SERVER_PASSWORD = \"else\"";
    let daemon = Setup::new().real(AGENT, Consent::Assumes).config(config).start();
    assert_eq!(daemon.ask(&daemon.lone_chat(), AGENT.name(), "say: heard"), "heard");
}

#[test]
fn a_session_that_was_deleted_in_its_own_store_is_taken_up_anew_and_that_is_told() {
    let daemon = super::start(AGENT);
    let chat = daemon.lone_chat();
    daemon.ask(&chat, AGENT.name(), "say: before");
    let home = daemon.root().join("agents").join(AGENT.name());
    let store = walkdir::WalkDir::new(&home)
        .into_iter()
        .filter_map(Result::ok)
        .find(|entry| entry.file_name() == "opencode.db")
        .unwrap();
    let conn = rusqlite::Connection::open(store.path()).unwrap();
    conn.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
    conn.pragma_update(None, "foreign_keys", true).unwrap();
    assert_eq!(conn.execute("DELETE FROM session", []).unwrap(), 1);
    let task = daemon.run(&chat, AGENT.name(), "say: after");
    assert_eq!((&task["state"], &task["text"]), (&json!("completed"), &json!("after")), "{task:#}");
    assert!(task["context_lost"].is_string(), "{task:#}");
}
