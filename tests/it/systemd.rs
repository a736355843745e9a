//! The daemon as a unit of systemd's: a socket that is handed over, and word when it is ready.

use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::time::Duration;

use serde_json::json;

use crate::support::client::Client;
use crate::support::home::{Home, Setup};
use crate::support::wait::{PATIENCE, until};

/// What systemd does before it starts a unit with a socket: the listener as descriptor 3, and the
/// pid that it is meant for in the environment.
const HAND_OVER: &str = r#"exec 3<&0 0</dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec "$0""#;

#[test]
fn a_socket_of_systemd_is_served_and_left_where_it_is_and_ready_and_stopping_are_told() {
    let home = Setup::new().home();
    let handed = home.root().join("unit.sock");
    let listener = UnixListener::bind(&handed).unwrap();
    let told = home.root().join("notify.sock");
    let notify = UnixDatagram::bind(&told).unwrap();
    notify.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut daemon = home
        .command("/bin/sh")
        .args(["-c", HAND_OVER, env!("CARGO_BIN_EXE_hobd")])
        .env("NOTIFY_SOCKET", &told)
        .stdin(OwnedFd::from(listener))
        .spawn()
        .unwrap();
    let word = || {
        let mut text = [0; 256];
        let n_bytes = notify.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..n_bytes]).trim().to_owned()
    };
    assert_eq!(word(), "READY=1");

    let mut client = Client::connect(&handed).unwrap();
    let hello = client.call("daemon/hello", json!({"client": "a test", "protocol": 1})).unwrap();
    assert_eq!(hello["pid"], daemon.id());
    assert!(!home.socket().exists(), "there is one socket, and it is systemd's");

    client.call("daemon/shutdown", json!({"now": true})).unwrap();
    assert_eq!(word(), "STOPPING=1");
    let status = until("the daemon to stop", || daemon.try_wait().unwrap());
    assert!(status.success(), "{status}");
    assert!(handed.exists(), "systemd keeps its socket");
}

#[test]
fn the_watchdog_is_told_within_its_time() {
    let home = Setup::new().home();
    let told = home.root().join("notify.sock");
    let notify = UnixDatagram::bind(&told).unwrap();
    notify.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let script = r#"WATCHDOG_USEC=500000 WATCHDOG_PID=$$ exec "$0" --exit-with-stdin"#;
    let mut daemon = home
        .command("/bin/sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_hobd")])
        .env("NOTIFY_SOCKET", &told)
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut n_told = 0;
    while n_told < 3 {
        let mut text = [0; 256];
        let n_bytes = notify.recv(&mut text).expect("word from the daemon");
        n_told += usize::from(text[..n_bytes].starts_with(b"WATCHDOG=1"));
    }
    drop(daemon.stdin.take());
    let status = until("the daemon to stop", || daemon.try_wait().unwrap());
    assert!(status.success(), "{status}");
}

/// Starts a daemon that tells that socket, with these variables before it.
fn told_at(home: &Home, socket: &str, variables: &str) -> std::process::Child {
    let script = format!("{variables} exec \"$0\" --exit-with-stdin");
    let mut command = home.command("/bin/sh");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_hobd")]).env("NOTIFY_SOCKET", socket);
    command.stdin(std::process::Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_watchdog_of_no_time_and_a_socket_in_the_abstract_namespace_are_taken_as_they_are_meant() {
    let home = Setup::new().home();
    let name = format!("hob-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let notify = UnixDatagram::bind_addr(&address).unwrap();
    notify.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut daemon = told_at(&home, &format!("@{name}"), "WATCHDOG_USEC=0 WATCHDOG_PID=$$");
    for expected in ["READY=1", "STOPPING=1"] {
        let mut text = [0; 256];
        let n_bytes = notify.recv(&mut text).unwrap();
        assert_eq!(String::from_utf8_lossy(&text[..n_bytes]), expected);
        drop(daemon.stdin.take());
    }
    let status = until("the daemon to stop", || daemon.try_wait().unwrap());
    assert!(status.success(), "{status}");
}

#[test]
fn a_service_manager_that_does_not_read_keeps_no_daemon_from_ending() {
    let home = Setup::new().home();
    let told = home.root().join("notify.sock");
    let notify = UnixDatagram::bind(&told).unwrap();
    let full = UnixDatagram::unbound().unwrap();
    full.connect(&told).unwrap();
    full.set_nonblocking(true).unwrap();
    while full.send(&[0; 64]).is_ok() {}
    let mut daemon = told_at(&home, told.to_str().unwrap(), "WATCHDOG_USEC=200000 WATCHDOG_PID=$$");
    until("it to answer", || Client::connect(&home.socket()).ok());
    std::thread::sleep(Duration::from_millis(500));
    let pid = nix::unistd::Pid::from_raw(i32::try_from(daemon.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    let status = until("the daemon to stop", || daemon.try_wait().unwrap());
    assert!(status.success(), "{status}");
    drop(notify);
}

#[test]
fn a_socket_that_does_not_listen_is_refused() {
    let home = Setup::new().home();
    let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut daemon = home
        .command("/bin/sh")
        .args(["-c", HAND_OVER, env!("CARGO_BIN_EXE_hobd")])
        .stdin(OwnedFd::from(ours))
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let status = until("the daemon to end", || daemon.try_wait().unwrap());
    assert_eq!(status.code(), Some(1), "{status}");
}
