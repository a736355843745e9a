//! SIGKILL of the daemon in mid-turn: nothing of its agents is left, and every task is accounted
//! for by the next one.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};

use serde_json::{Value, json};

use crate::support::agents::{Consent, RealAgent};
use crate::support::daemon::{Session, TestDaemon};
use crate::support::demo::{self, DEMO};
use crate::support::home::{Home, Setup};
use crate::support::wait::{PATIENCE, until};

/// Leaves a process that called setsid, and goes on talking.
const LONG: &str = "shell: setsid sleep 86411 </dev/null >/dev/null 2>&1 & echo away ;; slow: 4000 25";

/// The same without the tool.
const LONG_PLAIN: &str = "slow: 4000 25";

/// `hob log --json -f`, and the lines that it printed.
struct Follower {
    child: Child,
    first: i64,
    lines: Receiver<Value>,
}

impl Follower {
    /// Starts one and waits until it has something to show.
    fn start(home: &Home, after: i64) -> Self {
        let mut child = home
            .hob_command(&["--json", "--no-start", "log", "-f", "--after", &after.to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = sender.send(serde_json::from_str(&line).unwrap());
            }
        });
        let first = number(&lines.recv_timeout(PATIENCE).unwrap());
        Self { child, first, lines }
    }

    /// The numbers of all events up to `last`.
    fn numbers_up_to(&self, last: i64) -> Vec<i64> {
        let mut numbers = vec![self.first];
        while numbers.last() != Some(&last) {
            let event = self.lines.recv_timeout(PATIENCE);
            let event = event.unwrap_or_else(|e| panic!("{e} after {:?}, up to {last}", numbers.last()));
            numbers.push(number(&event));
        }
        numbers
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn number(event: &Value) -> i64 {
    event["seq"].as_i64().unwrap()
}

/// Three agents in mid-turn, each with one task behind it. Returns (running, queued).
fn three_busy_agents(daemon: &TestDaemon, session: &Session) -> (Vec<String>, Vec<String>) {
    let (mut running, mut queued) = (Vec::new(), Vec::new());
    for (agent, prompt) in [("goose", LONG), ("qwen", LONG_PLAIN), (DEMO, &demo::long())] {
        let chat = daemon.chat(session);
        running.push(daemon.submit(&chat, agent, prompt));
        queued.push(daemon.submit(&chat, agent, "say: after the crash"));
    }
    for task in &running {
        daemon.wait_event(task, "text");
    }
    (running, queued)
}

#[test]
fn a_killed_daemon_leaves_no_process_and_the_next_one_accounts_for_every_task() {
    let setup = Setup::new().real(RealAgent::Goose, Consent::Assumes).real(RealAgent::Qwen, Consent::Assumes);
    let mut daemon = setup.start();
    let session = daemon.session(&daemon.repo("repo"));
    let (running, queued) = three_busy_agents(&daemon, &session);
    let whole = Follower::start(&daemon, 0);
    until("the process that left its session", || {
        daemon.processes().iter().any(|p| p.command == "sleep 86411").then_some(())
    });
    let before = daemon.events(json!({}));
    let middle = number(&before[before.len() / 2]);
    let part = Follower::start(&daemon, middle);

    daemon.sigkill();
    daemon.wait_nothing_left();
    daemon.start_again();

    for task in &running {
        let row = daemon.rpc("task/show", json!({"task": task}));
        assert_eq!(row["state"], "interrupted", "{row:#}");
        assert!(row["outcome"]["error"].is_string(), "{row:#}");
    }
    for task in &queued {
        let row = daemon.wait_task(task);
        assert_eq!(
            (&row["state"], &row["text"]),
            (&json!("completed"), &json!("after the crash")),
            "{row:#}"
        );
    }
    let tasks = daemon.rpc("task/list", json!({}));
    assert_eq!(tasks.as_array().unwrap().len(), running.len() + queued.len());

    let log = daemon.events(json!({}));
    assert!(log.windows(2).all(|pair| number(&pair[0]) < number(&pair[1])), "the journal is in order");
    assert!(log.starts_with(&before), "what was told before the crash is still there, as it was");
    for task in running.iter().chain(&queued) {
        let ends = |event: &&Value| event["task"] == **task && event["type"] == "turn_ended";
        assert_eq!(log.iter().filter(ends).count(), 1, "{task}");
        let settles =
            |event: &&Value| event["task"] == **task && event["type"] == "task_state" && is_last(event);
        assert_eq!(log.iter().filter(settles).count(), 1, "{task}");
    }
    let numbers: Vec<i64> = log.iter().map(number).collect();
    let last = *numbers.last().unwrap();
    assert_eq!(whole.numbers_up_to(last), numbers);
    let later: Vec<i64> = numbers.iter().copied().filter(|&n| n > middle).collect();
    assert_eq!(part.numbers_up_to(last), later);

    let shown = daemon.hob(&["--json", "log"]).ok();
    let shown: Vec<i64> =
        shown.stdout.lines().map(|line| number(&serde_json::from_str(line).unwrap())).collect();
    assert!(shown.starts_with(&numbers), "{shown:?} does not begin with {numbers:?}");
}

fn is_last(event: &Value) -> bool {
    ["completed", "failed", "cancelled", "interrupted"].iter().any(|state| event["to"] == *state)
}

#[test]
fn a_stopped_daemon_takes_its_agents_along_and_keeps_what_was_queued() {
    let mut daemon = Setup::new().real(RealAgent::Goose, Consent::Assumes).start();
    let session = daemon.session(&daemon.repo("repo"));
    let chat = daemon.chat(&session);
    let running = daemon.submit(&chat, "goose", LONG);
    let queued = daemon.submit(&chat, "goose", "say: later");
    daemon.wait_event(&running, "text");
    daemon.stop();
    daemon.wait_nothing_left();
    daemon.start_again();
    let row = daemon.wait_task(&running);
    assert!(["cancelled", "interrupted"].iter().any(|state| row["state"] == *state), "{row:#}");
    assert_eq!(daemon.wait_task(&queued)["text"], "later");
}
