//! The command line: what it prints, how it ends, and how it starts and stops the daemon.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::demo::{CRASH, DEMO, long, say};
use crate::support::home::{Ran, Setup};
use crate::support::leftovers::is_alive;
use crate::support::wait::until;

#[test]
fn bad_usage_is_two_and_help_is_zero() {
    let home = Setup::new().home();
    home.hob(&["no-such-command"]).exit(2);
    home.hob(&["prompt", "--no-such-flag", "x"]).exit(2);
    home.hob(&["--help"]).ok();
    home.hob(&["--version"]).ok();
}

#[test]
fn the_help_tells_every_command_in_a_line() {
    let help = Setup::new().home().hob(&["--help"]).ok().stdout;
    insta::assert_snapshot!(help);
}

#[test]
fn commands_that_never_start_a_daemon_say_that_none_runs() {
    let home = Setup::new().home();
    home.hob(&["status"]).exit(3);
    home.hob(&["--no-start", "session", "ls"]).exit(3);
    home.hob(&["session", "ls", "--no-start"]).exit(3);
    home.hob(&["down"]);
    assert!(!home.socket().exists());
    assert!(!home.hob_home().join("hob.db").exists());
}

#[test]
fn a_command_that_needs_a_daemon_starts_one_and_down_ends_it() {
    let home = Setup::new().home();
    assert_eq!(home.hob_json(&["session", "ls"]), json!([]));
    let status = home.hob_json(&["status"]);
    let pid = status["pid"].as_u64().unwrap() as u32;
    assert!(is_alive(pid));
    let directory = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap();
    assert_eq!(directory.to_str(), Some("/"));
    home.hob(&["up"]).ok();
    assert_eq!(home.hob_json(&["status"])["pid"], status["pid"]);

    home.hob(&["down"]).ok();
    assert!(!is_alive(pid), "down returns when the process is gone");
    assert!(!home.socket().exists());
    home.hob(&["status"]).exit(3);
}

#[test]
fn a_daemon_whose_socket_was_removed_puts_it_back() {
    let home = Setup::new().home();
    home.hob(&["up"]).ok();
    let pid = home.hob_json(&["status"])["pid"].clone();
    std::fs::remove_file(home.socket()).unwrap();
    until("the socket to be put back", || home.socket().exists().then_some(()));
    assert_eq!(home.hob_json(&["status"])["pid"], pid);
    home.hob(&["down"]).ok();
}

#[test]
fn of_many_starters_at_once_each_is_content_and_one_daemon_runs() {
    let home = Setup::new().home();
    let starters: Vec<_> = (0..6)
        .map(|_| home.hob_command(&["up"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
        .collect();
    for starter in starters {
        Ran::of(starter.wait_with_output().unwrap()).ok();
    }
    let daemons = home.processes().iter().filter(|p| p.command.contains("hobd")).count();
    assert_eq!(daemons, 1, "{:?}", home.processes());
    home.hob(&["down", "--now"]).ok();
    assert_eq!(home.processes(), []);
}

#[test]
fn a_daemon_of_a_command_holds_nothing_of_its_callers() {
    let home = Setup::new().home();
    // A daemon that kept our pipe open would keep this from ending.
    let mut child = home.hob_command(&["up"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().count();
    assert!(child.wait().unwrap().success(), "after {lines} lines");
    home.hob(&["down", "--now"]).ok();
}

#[test]
fn an_agent_s_answer_is_streamed_to_stdout_and_its_end_is_the_exit_code() {
    let daemon = Setup::new().start();
    let chat = daemon.lone_chat();
    let ran = daemon.hob(&["prompt", "-c", &chat, "-a", DEMO, &say("hello there")]).ok();
    assert_eq!(ran.stdout.trim_end(), "hello there", "{ran:?}");
    daemon.hob(&["prompt", "-c", &chat, "-a", DEMO, CRASH]).exit(1);

    let detached = daemon.hob(&["prompt", "--detach", "-c", &chat, "-a", DEMO, &long()]).ok();
    let task = detached.stdout.trim();
    daemon.wait_event(task, "text");
    daemon.hob(&["task", "cancel", task]).ok();
    daemon.hob(&["task", "wait", task]).exit(130);
    assert_eq!(daemon.hob_json(&["task", "show", task])["state"], "cancelled");
}

#[test]
fn a_prompt_may_come_from_stdin() {
    let daemon = Setup::new().start();
    let chat = daemon.lone_chat();
    let file = daemon.root().join("prompt.txt");
    std::fs::write(&file, say("from a file")).unwrap();
    let mut command = daemon.hob_command(&["prompt", "-c", &chat, "-a", DEMO, "-"]);
    let ran = Ran::of(command.stdin(std::fs::File::open(file).unwrap()).output().unwrap()).ok();
    assert_eq!(ran.stdout.trim_end(), "from a file");
}

#[test]
fn a_prompt_without_a_place_uses_the_checkout_around_it() {
    let daemon = Setup::new().start();
    let repo = daemon.repo("repo");
    let below = repo.path.join("src/deep");
    std::fs::create_dir_all(&below).unwrap();
    std::fs::write(below.join("file"), "x").unwrap();
    repo.git(&["add", "."]);
    repo.git(&["commit", "--quiet", "--message", "more"]);
    let run = |directory: &std::path::Path, more: &[&str]| {
        let mut arguments = vec!["--json", "prompt", "--detach", "-a", DEMO];
        arguments.extend(more);
        let prompt = say("here");
        arguments.push(&prompt);
        Ran::of(daemon.hob_command(&arguments).current_dir(directory).output().unwrap())
    };
    let first: Value = serde_json::from_str(&run(&repo.path, &[]).ok().stdout).unwrap();
    let second: Value = serde_json::from_str(&run(&below, &[]).ok().stdout).unwrap();
    assert_eq!(second["session"], first["session"]);
    let fresh: Value = serde_json::from_str(&run(&repo.path, &["--new"]).ok().stdout).unwrap();
    assert_ne!(fresh["chat"], first["chat"]);

    let outside = run(&daemon.root().join("tmp"), &[]);
    assert_ne!(outside.code, Some(0));
    outside.says(&["git init"]);
}

#[test]
fn ids_may_be_shortened_while_they_are_unique() {
    let daemon = Setup::new().start();
    let session = daemon.session(&daemon.repo("repo"));
    for id in ["same-one", "same-two"] {
        daemon.rpc("chat/create", json!({"session": session.id, "id": id}));
    }
    assert_eq!(daemon.hob_json(&["session", "show", &session.id[..6]])["id"], session.id.as_str());
    assert_eq!(daemon.hob_json(&["chat", "show", "same-t"])["id"], "same-two");
    let ambiguous = daemon.hob(&["chat", "show", "same"]);
    assert_ne!(ambiguous.code, Some(0));
    ambiguous.says(&["same-one", "same-two"]);
    daemon.hob(&["chat", "show", "nosuch"]).exit(5);
}

#[test]
fn what_is_printed_as_json_is_what_the_socket_says() {
    let daemon = Setup::new().start();
    let session = daemon.session(&daemon.repo("repo"));
    let chat = daemon.chat(&session);
    daemon.ask(&chat, DEMO, &say("hello"));
    for (arguments, method, params) in [
        (&["session", "ls"][..], "session/list", json!({})),
        (&["session", "show", &session.id], "session/show", json!({"session": session.id})),
        (&["chat", "ls"], "chat/list", json!({})),
        (&["task", "ls"], "task/list", json!({})),
        (&["agent", "ls"], "agent/list", json!({})),
        (&["permission", "ls"], "permission/list", json!({})),
    ] {
        let (shown, said) = (daemon.hob_json(arguments), daemon.rpc(method, params));
        assert_eq!(kind_of(&shown), kind_of(&said), "{arguments:?}");
    }
    assert_eq!(daemon.hob_json(&["rpc", "daemon/status"])["pid"], daemon.pid());
    let rows = daemon.hob_json(&["ps"]);
    assert_eq!((&rows[0]["agent"], &rows[0]["status"]), (&json!(DEMO), &json!("idle")), "{rows:#}");
    daemon.hob(&["rpc", "no/such"]).exit(1);
    daemon.hob(&["rpc", "chat/show", r#"{"chat":"c-nosuch"}"#]).exit(5);
    daemon.hob(&["rpc", "chat/show", "{not json"]).exit(2);
}

/// Fields and ids; figures that move by themselves are left out.
fn kind_of(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(kind_of).collect(),
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), kind_of(value))).collect(),
        Value::String(text) => json!(text),
        _ => Value::Null,
    }
}

#[test]
fn a_closed_pipe_ends_a_command_quietly() {
    let daemon = Setup::new().start();
    let chat = daemon.lone_chat();
    daemon.ask(&chat, DEMO, &say(&"many words ".repeat(5000)));
    let mut child =
        daemon.hob_command(&["--json", "log"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let ran = Ran::of(child.wait_with_output().unwrap());
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
}

#[test]
fn configuration_is_shown_checked_and_found() {
    let home = Setup::new().config("[pool]\nmax_live = 7").home();
    home.hob(&["config", "check"]).ok();
    let places = home.hob(&["config", "path"]).ok().stdout;
    assert!(places.contains(home.hob_home().join("config.toml").to_str().unwrap()), "{places}");
    let shown = home.hob(&["config", "show"]).ok().stdout;
    assert!(shown.lines().any(|line| line.contains("max_live") && line.contains('7')), "{shown}");
    let mut command = home.hob_command(&["config", "show"]);
    let shown = Ran::of(command.env("HOB_POOL__MAX_LIVE", "9").output().unwrap()).ok().stdout;
    assert!(shown.lines().any(|line| line.contains("max_live") && line.contains('9')), "{shown}");
    assert!(Client::connect(&home.socket()).is_err(), "no daemon is needed for that");
}

#[test]
fn completions_are_printed_for_every_shell() {
    let home = Setup::new().home();
    for shell in ["bash", "zsh", "fish"] {
        let ran = home.hob(&["completions", shell]).ok();
        assert!(ran.stdout.contains("prompt"), "{shell}");
    }
    home.hob(&["completions", "no-such-shell"]).exit(2);
}

#[test]
fn an_interrupt_cancels_the_turn() {
    let daemon = Setup::new().start();
    let chat = daemon.lone_chat();
    let mut child = daemon
        .hob_command(&["prompt", "-c", &chat, "-a", DEMO, &long()])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut byte = [0];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut byte).unwrap();
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    let ran = child.wait_with_output().unwrap();
    assert_eq!(ran.status.code(), Some(130));
    let tasks = daemon.rpc("task/list", json!({"chat": chat}));
    assert_eq!(daemon.wait_task(tasks[0]["id"].as_str().unwrap())["state"], "cancelled");
}
