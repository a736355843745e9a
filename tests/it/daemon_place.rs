//! The places of a daemon: one per state directory, and a socket that comes back wherever it goes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;

use crate::support::client::Client;
use crate::support::daemon::TestDaemon;
use crate::support::demo::{DEMO, say, slow};
use crate::support::home::{Ran, Setup};
use crate::support::wait::{until, within};

/// The daemon looks after its socket every two seconds.
const BACK_WITHIN: Duration = Duration::from_secs(20);

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The pid of whoever answers at a socket.
fn who_answers(socket: &Path) -> Option<u64> {
    let mut client = Client::connect(socket).ok()?;
    client.call("daemon/hello", json!({"client": "a test", "protocol": 1})).unwrap()["pid"].as_u64()
}

#[test]
fn a_second_daemon_is_refused_and_the_first_goes_on_with_its_turn() {
    let daemon = Setup::new().start();
    let chat = daemon.lone_chat();
    let task = daemon.submit(&chat, DEMO, &slow(400, 10));
    daemon.wait_event(&task, "text");
    let pid = daemon.pid().to_string();
    // Wherever the second wants its socket: there is one daemon for each state directory.
    let elsewhere = daemon.root().join("other.sock");
    for arguments in [&[][..], &["--socket", elsewhere.to_str().unwrap()]] {
        let ran = daemon.command(env!("CARGO_BIN_EXE_hobd")).args(arguments).output().unwrap();
        Ran::of(ran).exit(6).says(&[&pid, "hob down"]);
    }
    assert!(!elsewhere.exists());
    for _ in 0..2 {
        daemon.hob(&["up"]).ok();
    }
    assert_eq!(daemon.rpc("task/show", json!({"task": task}))["state"], "running");
    let row = daemon.wait_task(&task);
    assert_eq!(row["state"], "completed", "{row:#}");
    assert_eq!(who_answers(&daemon.socket()), Some(u64::from(daemon.pid())));
}

#[test]
fn of_two_who_bring_it_up_at_once_both_are_content_with_one_daemon() {
    let home = Setup::new().home();
    let starters: Vec<_> = (0..4)
        .map(|_| {
            let mut command = home.hob_command(&["up"]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for starter in starters {
        Ran::of(starter.wait_with_output().unwrap()).ok();
    }
    let pid = who_answers(&home.socket()).expect("a daemon");
    let lock = fs::read_to_string(home.hob_home().join("hob.lock")).unwrap();
    assert_eq!(lock.lines().next(), Some(pid.to_string().as_str()));
    home.hob(&["down"]).ok();
    assert!(!home.socket().exists());
}

#[test]
fn a_socket_that_was_deleted_is_put_back_and_nobody_who_was_there_notices() {
    let daemon = Setup::new().start();
    let chat = daemon.lone_chat();
    let mut there = daemon.watch(&chat);
    fs::remove_file(daemon.socket()).unwrap();
    within(BACK_WITHIN, "the socket to come back", || who_answers(&daemon.socket()));
    assert_eq!(mode(&daemon.socket()), 0o600);
    assert_eq!(daemon.ask(&chat, DEMO, &say("again")), "again");
    there.event(|event| event["type"] == "turn_ended");
    daemon.hob(&["--no-start", "status"]).ok();
}

/// A daemon with the places of the XDG base directories, which are those of the test's home but for
/// the runtime directory.
fn with_runtime_directory() -> (TestDaemon, std::path::PathBuf) {
    let home = Setup::new().home();
    let runtime = home.root().join("run");
    fs::create_dir(&runtime).unwrap();
    let given = runtime.join("hob").join("hob.sock");
    // The tests look in the usual place.
    std::os::unix::fs::symlink(&given, home.socket()).unwrap();
    let root = home.root().to_owned();
    let daemon = TestDaemon::start_with(home, move |command| {
        command.env_remove("HOB_HOME").env("XDG_RUNTIME_DIR", &runtime);
        command.env("XDG_STATE_HOME", &root).env("XDG_CONFIG_HOME", &root);
    });
    (daemon, given)
}

#[test]
fn a_runtime_directory_that_was_deleted_whole_comes_back_for_its_owner_alone() {
    let (daemon, socket) = with_runtime_directory();
    let runtime = socket.parent().unwrap();
    assert_eq!(mode(runtime), 0o700);
    for gone in [runtime, runtime.parent().unwrap()] {
        // The daemon may put its socket back while the directories are being removed.
        until("it to be removed", || fs::remove_dir_all(gone).ok());
        let pid = within(BACK_WITHIN, "the socket to come back", || who_answers(&socket));
        assert_eq!(pid, u64::from(daemon.pid()));
        assert_eq!((mode(runtime), mode(&socket)), (0o700, 0o600));
        assert_eq!(fs::read_dir(runtime).unwrap().count(), 1, "nothing lies beside it");
    }
    let socket = socket.to_str().unwrap();
    daemon.hob(&["--no-start", "--socket", socket, "down"]).ok();
    until("the socket to be removed", || (!Path::new(socket).exists()).then_some(()));
}

#[test]
fn a_runtime_directory_of_another_login_is_passed_over_and_told() {
    let home = Setup::new().home();
    let socket = home.root().join("hob/run/hob.sock");
    let logged_out = home.root().join("user/4711");
    for stale in [logged_out.to_str().unwrap(), "/proc/1"] {
        let ran = |words: &[&str]| {
            let mut command = home.hob_command(words);
            command.env_remove("HOB_HOME").env_remove("HOB_SOCKET").env("XDG_RUNTIME_DIR", stale);
            command.env("XDG_STATE_HOME", home.root()).env("XDG_CONFIG_HOME", home.root());
            Ran::of(command.output().unwrap())
        };
        ran(&["up"]).ok().says(&["XDG_RUNTIME_DIR", stale, "the socket is"]);
        assert!(socket.exists());
        ran(&["ps"]).ok();
        ran(&["down"]).ok();
    }
    assert!(!logged_out.exists(), "nothing is made in the place of another login");
}
