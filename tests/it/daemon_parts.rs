//! The death of a part that nobody can do without: the daemon says so, takes its agents along and
//! ends with a failure, rather than live on as half of itself.

use std::time::Duration;

use serde_json::json;

use crate::support::daemon::TestDaemon;
use crate::support::demo::{DEMO, long, say};
use crate::support::home::Setup;
use crate::support::machine::Machine;

/// What the end may take on a busy machine.
const END_WITHIN: Duration = Duration::from_secs(20);

fn with_busy_agent() -> (TestDaemon, Machine, String) {
    let home = Setup::new().home();
    let machine = Machine::calm(&home);
    let daemon = TestDaemon::start_with(home, machine.below());
    let chat = daemon.lone_chat();
    let running = daemon.submit(&chat, DEMO, &long());
    daemon.wait_event(&running, "text");
    (daemon, machine, running)
}

/// It ends by itself, as failed, with `words`, and the next one finds everything in order.
#[track_caller]
fn ends_with(daemon: &mut TestDaemon, words: &[&str]) {
    let status = daemon.wait_end(END_WITHIN);
    assert_eq!(status.code(), Some(1), "{}", daemon.log());
    daemon.wait_nothing_left();
    let log = daemon.log();
    let last_words: Vec<&str> = log.lines().filter(|line| line.starts_with("error: ")).collect();
    for word in words {
        assert!(last_words.iter().any(|line| line.contains(word)), "{word:?} is missing:\n{log}");
    }
    assert!(!daemon.socket().exists(), "nobody answers there");
}

/// The next daemon knows what became of the turn, and is well.
#[track_caller]
fn accounts_for(daemon: &mut TestDaemon, running: &str) {
    daemon.start_again();
    let row = daemon.wait_task(running);
    assert!(["interrupted", "cancelled"].iter().any(|state| row["state"] == *state), "{row:#}");
    assert_eq!(daemon.ask(&daemon.lone_chat(), DEMO, &say("again")), "again");
}

#[test]
fn the_death_of_the_writer_ends_the_daemon() {
    let (mut daemon, machine, running) = with_busy_agent();
    machine.fail_writes(nix::errno::Errno::EIO as i32);
    ends_with(&mut daemon, &["hob.db", "disk I/O error"]);
    machine.fail_writes(0);
    accounts_for(&mut daemon, &running);
}

#[test]
fn the_death_of_the_spawner_ends_the_daemon() {
    let (mut daemon, machine, running) = with_busy_agent();
    let fresh = daemon.lone_chat();
    machine.break_spawner();
    // Whatever becomes of the answer: this needs a process.
    let params = json!({"chat": fresh, "agent": DEMO, "prompt": say("one more")});
    let line = json!({"jsonrpc": "2.0", "id": 1, "method": "task/submit", "params": params});
    daemon.connect().send(format!("{line}\n").as_bytes()).unwrap();
    ends_with(&mut daemon, &["no agent can be started any more"]);
    machine.mend_spawner();
    accounts_for(&mut daemon, &running);
}
