//! Agents that are run once for each prompt: scripts that do well, fail, flood, hang and hide, and
//! agents that are kept warm beside such runs. The prompt of a script is the script.

use serde_json::{Value, json};

use crate::support::daemon::{TestDaemon, kill};
use crate::support::demo::{DEMO, say};
use crate::support::home::Setup;
use crate::support::stage::{FAULT, Stage};
use crate::support::wait::until;

/// The agent that runs its prompt.
const ONCE: &str = "once";
/// What it is configured with.
const RUNS_ITS_PROMPT: &str = r#"oneshot = ["/bin/sh", "-c", "eval \"$1\"", "sh", "{prompt}"]"#;
/// Quick enough to wait for.
const GRACES: &str = "[process]\ncancel_grace = \"5s\"\nstop_grace = \"500ms\"";

/// An agent that knows no other way.
fn alone(name: &str) -> Setup {
    let agent = format!(
        "[agents.{name}]\nbackend = \"oneshot\"\n{RUNS_ITS_PROMPT}\nenv = {{ A_TOKEN = \"hush-hush\" }}"
    );
    Setup::new().config(GRACES).config(&agent)
}

/// The built-in agent, which is kept warm, with runs beside it.
fn beside() -> TestDaemon {
    Setup::new().config(GRACES).config(&format!("[agents.{DEMO}]\n{RUNS_ITS_PROMPT}")).start()
}

/// Has a prompt run once.
#[track_caller]
fn submit_once(daemon: &TestDaemon, chat: &str, agent: &str, prompt: &str) -> String {
    let params = json!({"chat": chat, "agent": agent, "prompt": prompt, "backend": "oneshot"});
    daemon.rpc("task/submit", params)["id"].as_str().unwrap().to_owned()
}

/// The error of a task that failed.
#[track_caller]
fn error(task: &Value) -> &str {
    assert_eq!(task["state"], "failed", "{task:#}");
    task["outcome"]["error"].as_str().unwrap()
}

/// Waits until the agent session has nothing to do, and returns its row.
#[track_caller]
fn wait_idle(daemon: &TestDaemon, chat: &str, agent: &str) -> Value {
    until("the agent session to be idle", || {
        Some(daemon.agent_session(chat, agent)).filter(|row| row["status"] == "idle")
    })
}

fn contexts(daemon: &TestDaemon, chat: &str) -> Vec<Value> {
    let events = daemon.events(json!({"chat": chat, "types": ["turn_started"]}));
    events.iter().map(|event| event["context"].clone()).collect()
}

/// Whether a process of this command line lives.
fn runs(daemon: &TestDaemon, command: &str) -> bool {
    daemon.processes().iter().any(|process| process.command == command)
}

#[track_caller]
fn wait_gone(daemon: &TestDaemon, command: &str) {
    until(&format!("`{command}` to be gone"), || (!runs(daemon, command)).then_some(()));
}

#[test]
fn each_prompt_is_one_process_and_there_is_none_between_them() {
    let daemon = alone(ONCE).start();
    let session = daemon.session(&daemon.repo("repo"));
    let chat = daemon.chat(&session);
    // Stdin is at its end: what reads it goes on.
    let task = daemon.run(&chat, ONCE, "cat; printf 'one\\n\\n  two'; echo written > made.txt");
    assert_eq!((&task["state"], &task["backend"]), (&json!("completed"), &json!("oneshot")), "{task:#}");
    assert_eq!(
        (&task["text"], &task["outcome"]["stop_reason"]),
        (&json!("one\n\n  two"), &json!("end_turn"))
    );
    assert_eq!(std::fs::read_to_string(session.worktree.join("made.txt")).unwrap(), "written\n");
    let row = wait_idle(&daemon, &chat, ONCE);
    assert_eq!((&row["pid"], &row["backend"]), (&Value::Null, &json!("oneshot")));

    assert_eq!(daemon.ask(&chat, ONCE, "pwd"), format!("{}\n", session.worktree.display()));
    assert_eq!(contexts(&daemon, &chat), ["fresh", "fresh"]);
    assert!(daemon.events(json!({"chat": chat, "types": ["context_reset"]})).is_empty());
    let shown = daemon.hob(&["task", "show", task["id"].as_str().unwrap()]).ok();
    assert!(shown.stdout.contains("oneshot"), "{}", shown.stdout);
}

#[test]
fn an_exit_and_what_was_said_to_stderr_are_the_outcome_and_no_crash() {
    let stage = Stage::of(alone(FAULT));
    for _ in 0..8 {
        let task = stage.daemon.wait_task(&stage.prompt("echo before; echo \"no: $A_TOKEN\" >&2; exit 3"));
        assert_eq!(error(&task), "`/bin/sh` exited with code 3; stderr: no: <redacted>");
        assert_eq!(task["text"], "before\n");
    }
    let task = stage.daemon.wait_task(&stage.prompt("kill -9 $$"));
    assert_eq!(error(&task), "`/bin/sh` was killed by signal 9");
    let row = wait_idle(&stage.daemon, &stage.chat, FAULT);
    assert_eq!((&row["crashes"], &row["restarts"]), (&json!(0), &json!(0)), "{row:#}");
    assert_eq!(stage.ask("echo well"), "well\n");
    assert_eq!(stage.moves("starting").len(), 1);
    stage.end();
}

#[test]
fn an_output_that_breaks_off_in_the_middle_of_a_line_is_heard_as_far_as_it_goes() {
    let daemon = alone(ONCE).start();
    let chat = daemon.lone_chat();
    let message = |text: &str| {
        format!(
            r#"{{"type":"message","message":{{"id":"m","role":"assistant","content":[{{"type":"text","text":"{text}"}}]}}}}"#
        )
    };
    let broken = format!(
        "printf '%s\\n' 'starting up' '{}' '{}'; printf '%s' '{{\"type\":\"mess'",
        message("he"),
        message("llo")
    );
    let task = daemon.run(&chat, ONCE, &broken);
    assert!(error(&task).contains("ended before it had said how its work went"), "{task:#}");
    assert_eq!(task["text"], "{\"type\":\"mess\n", "what is no JSON is shown");

    let whole = format!(
        "printf '%s\\n' '{}' '{{\"type\":\"complete\",\"input_tokens\":5,\"output_tokens\":2,\"total_tokens\":7}}'",
        message("hi")
    );
    let task = daemon.run(&chat, ONCE, &whole);
    assert_eq!((&task["state"], &task["text"]), (&json!("completed"), &json!("hi")), "{task:#}");
    assert_eq!((&task["usage"]["input"], &task["usage"]["output"]), (&json!(5), &json!(2)));
    let told = daemon.events(json!({"task": task["id"], "types": ["usage", "turn_ended"]}));
    let kinds: Vec<_> = told.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["usage", "turn_ended"], "{told:#?}");
    assert_eq!((&told[0]["input"], &told[0]["output"]), (&json!(5), &json!(2)), "{told:#?}");

    let task = daemon.run(&chat, ONCE, "printf '{\"type\":\"thread.started\"}\\n\\377 a\\n'");
    assert_eq!(task["text"], "\u{fffd} a\n", "{task:#}");
    let raw = daemon.events(json!({"task": task["id"], "types": ["raw"]}));
    assert_eq!(raw[0]["update"], json!({"type": "thread.started"}), "{raw:#?}");
}

#[test]
fn a_flood_costs_no_memory() {
    let stage = Stage::of(alone(FAULT));
    let task =
        stage.prompt("yes 'a line of text that says nothing' | head -c 30000000; echo; echo '{\"x\":'");
    let row = stage.daemon.wait_task(&task);
    assert_eq!(row["state"], "completed", "{row:#}");
    stage.end();
}

#[test]
fn an_output_without_an_end_can_be_cancelled_and_so_can_one_that_ignores_it() {
    let daemon = alone(ONCE).start();
    let chat = daemon.lone_chat();
    let cancel = |script: &str| {
        let task = daemon.submit(&chat, ONCE, script);
        daemon.wait_event(&task, "text");
        daemon.rpc("task/cancel", json!({"task": task}));
        let row = daemon.wait_task(&task);
        assert_eq!(row["state"], "cancelled", "{row:#}");
        assert_eq!(row["outcome"]["stop_reason"], "cancelled", "{row:#}");
    };
    cancel("exec yes endless");
    assert!(!runs(&daemon, "yes endless"));
    cancel("trap '' TERM; echo deaf; while :; do sleep 0.1; done");
    assert_eq!(daemon.ask(&chat, ONCE, "echo well"), "well\n");
    assert_eq!(daemon.agent_session(&chat, ONCE)["generation"], 1, "no run costs a generation");
}

#[test]
fn a_cancel_at_once_is_not_lost_and_leaves_nothing() {
    let daemon = alone(ONCE).start();
    let chat = daemon.lone_chat();
    let mut client = daemon.connect();
    for _ in 0..10 {
        let params = json!({"chat": chat, "agent": ONCE, "prompt": "setsid sleep 98769 & sleep 98770"});
        let task = client.call("task/submit", params).unwrap();
        client.call("task/cancel", json!({"task": task["id"]})).unwrap();
        let row = daemon.wait_task(task["id"].as_str().unwrap());
        assert_eq!(row["state"], "cancelled", "{row:#}");
    }
    wait_gone(&daemon, "sleep 98769");
    wait_gone(&daemon, "sleep 98770");
    assert_eq!(daemon.ask(&chat, ONCE, "echo well"), "well\n");
}

#[test]
fn an_agent_without_a_process_can_be_let_go_and_started_again() {
    let daemon = alone(ONCE).start();
    let chat = daemon.lone_chat();
    assert_eq!(daemon.ask(&chat, ONCE, "echo one"), "one\n");
    wait_idle(&daemon, &chat, ONCE);
    daemon.hob(&["evict", &chat, ONCE]).ok();
    assert_eq!(daemon.agent_session(&chat, ONCE)["status"], "evicted");
    daemon.hob(&["restart", &chat, ONCE]).ok();
    assert_eq!(daemon.ask(&chat, ONCE, "echo two"), "two\n");
    daemon.hob(&["health"]).ok();
    // Busy, it is let go with what runs.
    let task = daemon.submit(&chat, ONCE, "echo begun; exec sleep 98771");
    daemon.wait_event(&task, "text");
    daemon.hob(&["evict", "--force", &chat, ONCE]).ok();
    assert_eq!(daemon.wait_task(&task)["state"], "cancelled");
    wait_gone(&daemon, "sleep 98771");
}

#[test]
fn what_hides_from_its_run_is_gone_with_it() {
    let daemon = alone(ONCE).start();
    let chat = daemon.lone_chat();
    let task = daemon.submit(&chat, ONCE, "setsid sleep 98765 & echo hidden; sleep 98766");
    daemon.wait_event(&task, "text");
    until("the hidden process", || runs(&daemon, "sleep 98765").then_some(()));
    daemon.rpc("task/cancel", json!({"task": task}));
    assert_eq!(daemon.wait_task(&task)["state"], "cancelled");
    // Not a moment later: the task ends when nothing is left of it.
    assert!(!runs(&daemon, "sleep 98765") && !runs(&daemon, "sleep 98766"), "{:?}", daemon.processes());

    let task = daemon.run(&chat, ONCE, "setsid sleep 98767 & echo done");
    assert_eq!((&task["state"], &task["text"]), (&json!("completed"), &json!("done\n")), "{task:#}");
    assert!(!runs(&daemon, "sleep 98767"), "{:?}", daemon.processes());
}

#[test]
fn a_daemon_that_is_killed_takes_its_runs_with_it() {
    let mut daemon = alone(ONCE).start();
    let chat = daemon.lone_chat();
    let task = daemon.submit(&chat, ONCE, "echo begun; exec sleep 98768");
    daemon.wait_event(&task, "text");
    daemon.sigkill();
    wait_gone(&daemon, "sleep 98768");
    daemon.start_again();
    assert_eq!(daemon.wait_task(&task)["state"], "interrupted");
    assert_eq!(daemon.ask(&chat, ONCE, "echo well"), "well\n");
}

#[test]
fn a_prompt_that_fits_into_no_argument_is_refused_with_the_limit() {
    let daemon = alone(ONCE).start();
    let chat = daemon.lone_chat();
    let long = daemon.run(&chat, ONCE, &format!(": {}", "x".repeat(131_070)));
    assert!(error(&long).contains("131072 bytes, where 131071 fit"), "{long:#}");
    let longest = daemon.run(&chat, ONCE, &format!(": {}", "x".repeat(131_069)));
    assert_eq!(longest["state"], "completed", "{longest:#}");
    let zero = daemon.run(&chat, ONCE, "a\0b");
    assert!(error(&zero).contains("zero byte"), "{zero:#}");
}

#[test]
fn a_run_beside_a_kept_agent_leaves_it_and_its_context_alone() {
    let daemon = beside();
    let chat = daemon.lone_chat();
    let once = submit_once(&daemon, &chat, DEMO, "echo first");
    assert_eq!(daemon.wait_task(&once)["text"], "first\n");
    // Nothing was started for it, and nothing is kept of it.
    assert_eq!(daemon.agent_session(&chat, DEMO)["pid"], Value::Null);

    assert_eq!(daemon.ask(&chat, DEMO, &say("kept")), "kept");
    let pid = daemon.agent_pid(&chat, DEMO);
    let once = daemon.wait_task(&submit_once(&daemon, &chat, DEMO, "echo alone"));
    assert_eq!((&once["text"], &once["backend"]), (&json!("alone\n"), &json!("oneshot")), "{once:#}");
    let again = daemon.run(&chat, DEMO, &say("again"));
    assert_eq!((&again["text"], &again["backend"]), (&json!("again"), &json!("warm")), "{again:#}");
    assert_eq!(daemon.agent_pid(&chat, DEMO), pid);
    assert_eq!(contexts(&daemon, &chat), ["fresh", "fresh", "fresh", "warm"]);
    assert!(daemon.events(json!({"chat": chat, "types": ["context_reset"]})).is_empty());

    let ran = daemon.hob(&["prompt", "-c", &chat, "-a", DEMO, "--oneshot", "echo by hand"]).ok();
    assert_eq!(ran.stdout, "by hand\n");
    let retried = daemon.rpc("task/retry", json!({"task": once["id"]}));
    let retried = daemon.wait_task(retried["id"].as_str().unwrap());
    assert_eq!((&retried["text"], &retried["backend"]), (&json!("alone\n"), &json!("oneshot")));
}

#[test]
fn turns_of_both_kinds_take_turns() {
    let daemon = beside();
    let chat = daemon.lone_chat();
    let tasks = [
        daemon.submit(&chat, DEMO, &say("one")),
        submit_once(&daemon, &chat, DEMO, "echo two"),
        daemon.submit(&chat, DEMO, &say("three")),
        submit_once(&daemon, &chat, DEMO, "echo four"),
    ];
    for task in &tasks {
        assert_eq!(daemon.wait_task(task)["state"], "completed");
    }
    let events = daemon.events(json!({"chat": chat, "types": ["turn_started", "turn_ended"]}));
    let order: Vec<(&str, &str)> =
        events.iter().map(|e| (e["type"].as_str().unwrap(), e["task"].as_str().unwrap())).collect();
    let expected: Vec<(&str, &str)> = tasks
        .iter()
        .flat_map(|task| [("turn_started", task.as_str()), ("turn_ended", task.as_str())])
        .collect();
    assert_eq!(order, expected);
}

#[test]
fn a_kept_agent_that_dies_during_a_run_beside_it_does_not_end_the_run() {
    let daemon = beside();
    let chat = daemon.lone_chat();
    daemon.ask(&chat, DEMO, &say("kept"));
    let pid = daemon.agent_pid(&chat, DEMO);
    let go = daemon.root().join("go");
    let script = format!("echo waiting; until [ -e {} ]; do sleep 0.05; done; echo over", go.display());
    let once = submit_once(&daemon, &chat, DEMO, &script);
    daemon.wait_event(&once, "text");
    kill(pid);
    until("the process to be gone", || (!crate::support::leftovers::is_alive(pid)).then_some(()));
    std::fs::write(go, "").unwrap();
    let row = daemon.wait_task(&once);
    assert_eq!((&row["state"], &row["text"]), (&json!("completed"), &json!("waiting\nover\n")), "{row:#}");
    until("the end to be told", || (daemon.agent_session(&chat, DEMO)["status"] == "crashed").then_some(()));
    assert_eq!(daemon.ask(&chat, DEMO, &say("back")), "back");
    let began = contexts(&daemon, &chat);
    assert!(began[2] == "loaded" || began[2] == "resumed", "{began:?}");
}

#[test]
fn an_agent_that_can_never_be_kept_is_run_once_where_the_person_said_how() {
    let unfit = format!("[agents.{FAULT}]\n{RUNS_ITS_PROMPT}");
    let daemon = Setup::new().fault(FAULT, &["wrong-version"]).config(&unfit).start();
    let chat = daemon.lone_chat();
    let tasks = [daemon.submit(&chat, FAULT, "echo one"), daemon.submit(&chat, FAULT, "echo two")];
    for (task, text) in tasks.iter().zip(["one\n", "two\n"]) {
        let row = daemon.wait_task(task);
        assert_eq!((&row["text"], &row["backend"]), (&json!(text), &json!("oneshot")), "{row:#}");
    }
    let notices = daemon.events(json!({"chat": chat, "types": ["notice"]}));
    let said = notices.iter().any(|notice| notice["text"].as_str().unwrap().contains("version 99"));
    assert!(said, "{notices:#?}");
    // What is known now is used at once.
    let generation = daemon.agent_session(&chat, FAULT)["generation"].clone();
    assert_eq!(daemon.ask(&chat, FAULT, "echo three"), "three\n");
    assert_eq!(daemon.agent_session(&chat, FAULT)["generation"], generation);

    let missing = format!("[agents.gone]\ncommand = [\"/no/such/agent\"]\n{RUNS_ITS_PROMPT}");
    let daemon = Setup::new().config(&missing).start();
    let chat = daemon.lone_chat();
    assert_eq!(daemon.ask(&chat, "gone", "echo here"), "here\n");
}

#[test]
fn what_cannot_be_run_once_is_refused_with_what_to_configure() {
    let daemon = Setup::new().fault(FAULT, &["well"]).start();
    let chat = daemon.lone_chat();
    let refused = |agent: &str| {
        let params = json!({"chat": chat, "agent": agent, "prompt": "x", "backend": "oneshot"});
        daemon.try_rpc("task/submit", params).unwrap_err()
    };
    let none = refused(FAULT);
    assert_eq!(none.kind, "unavailable");
    assert!(none.message.contains("no command line for a one-shot run"), "{none}");
    assert!(none.data["hint"].as_str().unwrap().contains("in [agents.fault]"), "{none}");
    let not_there = refused("codex");
    assert!(not_there.message.contains("no command line for a one-shot run"), "{not_there}");
    let no_program = refused("claude");
    assert!(no_program.message.contains("`claude` is not on PATH"), "{no_program}");
    assert_eq!(no_program.data["hint"], "set oneshot in [agents.claude]", "{no_program}");

    let path = daemon.hob_home().join("config.toml");
    let mut config = std::fs::read_to_string(&path).unwrap();
    config.push_str("\n[agents.once]\nbackend = \"oneshot\"\noneshot = [\"sh\", \"-c\"]\n");
    daemon.write_config(&config);
    let ran = daemon.hob(&["reload"]);
    assert_ne!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stderr.contains("agents.once.oneshot") && ran.stderr.contains("has no {prompt}"), "{ran:?}");
}
