//! What nobody should send, write or start: each a clear error, and the daemon unharmed.

use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::daemon::TestDaemon;
use crate::support::demo::{DEMO, big, say};
use crate::support::home::{Home, Ran, Setup};
use crate::support::leftovers::rss_bytes;

/// One line that is longer than the limit of 16 MiB.
const TOO_LONG_BYTES: usize = 20 << 20;

/// A daemon may not grow by more than this over what one client sends.
const GROWTH_BYTES_MAX: u64 = 48 << 20;

/// `nobody` on every Linux.
const OTHER_UID: u32 = 65534;

#[track_caller]
fn works(client: &mut Client) {
    client.call("daemon/status", json!({})).expect("the connection goes on");
}

#[test]
fn a_line_that_is_no_request_gets_an_error_and_the_connection_goes_on() {
    let daemon = Setup::new().start();
    let mut client = daemon.connect();
    let cases = [
        ("{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\":", -32700),
        ("not json at all", -32700),
        ("[]", -32600),
        (r#"[{"jsonrpc":"2.0","id":1,"method":"daemon/status"}]"#, -32600),
        ("42", -32700),
        (r#"{"jsonrpc":"2.0","id":1}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":{"a":1},"method":"daemon/status"}"#, -32600),
    ];
    for (line, code) in cases {
        let (_, error) = client.provoke(line);
        assert_eq!(error.code, code, "{line}: {error}");
        assert!(!error.message.is_empty());
        works(&mut client);
    }
    let (id, _) = client.provoke("{half");
    assert_eq!(id, Value::Null);

    client.send(b"{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"\xff\xfe\"}\n").unwrap();
    assert_eq!(client.receive().unwrap()["error"]["code"], -32700);
    works(&mut client);
}

#[test]
fn a_line_that_is_too_long_closes_its_connection_and_no_other() {
    let daemon = Setup::new().start();
    let mut other = daemon.connect();
    works(&mut other);
    let before = rss_bytes(daemon.pid());
    let mut client = daemon.connect();
    let piece = vec![b'x'; 1 << 20];
    // The daemon may hang up before all of it is sent; that is not our failure.
    for _ in 0..TOO_LONG_BYTES / piece.len() {
        if client.send(&piece).is_err() {
            break;
        }
    }
    let _ = client.send(b"\n");
    let answer = client.receive().expect("an error before the end");
    let code = answer["error"]["code"].as_i64().unwrap();
    assert!([-32700, -32600].contains(&code), "{answer}");
    assert_eq!(answer["id"], Value::Null);
    assert!(client.receive().is_none(), "the connection is closed");
    works(&mut other);
    let grown = rss_bytes(daemon.pid()).saturating_sub(before);
    assert!(grown < GROWTH_BYTES_MAX, "hobd grew by {grown} bytes");
}

#[test]
fn what_a_method_cannot_take_is_named() {
    let daemon = Setup::new().start();
    let chat = daemon.lone_chat();
    let cases = [
        ("no/such", json!({}), -32601, "unknown_method", None),
        ("task/submit", json!({"chat": chat}), -32602, "invalid_params", Some("prompt")),
        ("task/submit", json!({"chat": chat, "prompt": 7}), -32602, "invalid_params", Some("prompt")),
        ("task/submit", json!({"chat": 7, "prompt": "x"}), -32602, "invalid_params", Some("chat")),
        ("session/create", json!({}), -32602, "invalid_params", Some("repo")),
        (
            "task/wait",
            json!({"task": "t-1", "timeout_ms": "soon"}),
            -32602,
            "invalid_params",
            Some("timeout_ms"),
        ),
        ("events/subscribe", json!({"after": "now"}), -32602, "invalid_params", Some("after")),
        ("chat/show", json!({"chat": "c-nosuch00"}), -32002, "not_found", None),
        ("chat/show", json!({"chat": "../../etc/passwd"}), -32002, "not_found", None),
        ("task/show", json!({"task": "t-nosuch00"}), -32002, "not_found", None),
        ("task/submit", json!({"chat": "c-nosuch00", "prompt": "x"}), -32002, "not_found", None),
        ("permission/answer", json!({"permission": "p-nosuch", "option": "yes"}), -32002, "not_found", None),
    ];
    let mut client = daemon.connect();
    for (method, params, code, kind, path) in cases {
        let error = client.call(method, params.clone()).unwrap_err();
        assert_eq!((error.code, error.kind.as_str()), (code, kind), "{method} {params}: {error}");
        assert_eq!(error.data["path"].as_str(), path, "{method} {params}: {error}");
    }
    works(&mut client);
    daemon.hob(&["chat", "show", "c-nosuch00"]).exit(5).says(&["c-nosuch00"]);
    daemon.hob(&["prompt", "-c", "c-nosuch00", "x"]).exit(5);
}

#[test]
fn an_agent_that_cannot_be_started_is_refused_before_anything_is_written() {
    let ghost = "[agents.ghost]\nbackend = \"acp\"\ncommand = [\"/no/such/program\", \"acp\"]";
    let daemon = Setup::new().config(ghost).start();
    let chat = daemon.lone_chat();
    let submit =
        |agent: &str| daemon.try_rpc("task/submit", json!({"chat": chat, "agent": agent, "prompt": "x"}));
    let missing = submit("ghost").unwrap_err();
    assert_eq!((missing.code, missing.kind.as_str()), (-32005, "unavailable"), "{missing}");
    assert!(missing.message.contains("ghost") || missing.message.contains("/no/such/program"), "{missing}");
    assert_eq!(missing.data["hint"], "set command or oneshot in [agents.ghost]", "{missing}");
    let arena = json!({"repo": daemon.repo("r").str(), "agents": [DEMO, "ghost"], "prompt": "x"});
    let missing = daemon.try_rpc("arena/start", arena).unwrap_err();
    assert_eq!(missing.data["hint"], "set command or oneshot in [agents.ghost]", "{missing}");
    let unknown = submit("nosuch").unwrap_err();
    assert_eq!((unknown.code, unknown.kind.as_str()), (-32002, "not_found"), "{unknown}");
    assert_eq!(daemon.rpc("task/list", json!({})), json!([]));

    daemon.hob(&["prompt", "-c", &chat, "-a", "ghost", "x"]).exit(69);
    daemon.hob(&["prompt", "-c", &chat, "-a", "nosuch", "x"]).exit(5);
    let agents = daemon.rpc("agent/list", json!({}));
    let row = agents.as_array().unwrap().iter().find(|row| row["name"] == "ghost").unwrap();
    assert_eq!(row["available"], false, "{row:#}");
    assert_eq!(daemon.ask(&chat, DEMO, &say("fine")), "fine");
}

/// What `hobd` says to a configuration that it cannot take.
fn start_with(config: &str) -> (Home, Ran) {
    let home = Setup::new().home();
    home.write_config(config);
    let ran = Ran::of(home.command(env!("CARGO_BIN_EXE_hobd")).output().unwrap());
    (home, ran)
}

#[test]
fn a_bad_configuration_is_named_by_file_line_and_key() {
    let cases = [
        ("[pool]\nmax_live = 3\nmax_lively = 4\n", "3", "max_lively"),
        ("[pool]\nmax_live = \"many\"\n", "2", "max_live"),
        ("[process]\n\nstop_grace = \"5 parsecs\"\n", "3", "stop_grace"),
    ];
    for (config, line, key) in cases {
        let (home, ran) = start_with(config);
        let place = format!("config.toml:{line}");
        let ran = ran.exit(78).says(&[&place, key]);
        assert!(!home.socket().exists(), "{ran:?}");
        // Whoever starts it by a command is told the same.
        home.hob(&["config", "check"]).exit(78).says(&[&place, key]);
        home.hob(&["up"]).exit(78).says(&[&place, key]);
        home.hob(&["session", "ls"]).exit(78).says(&[key]);
    }
}

#[test]
fn a_bad_configuration_does_not_replace_a_good_one() {
    let daemon = Setup::new().config("[pool]\nmax_live = 1").start();
    daemon.write_config("[pool]\nmax_live = 2\nnonsense = 1\n");
    daemon.hob(&["reload"]).exit(78).says(&["nonsense"]);
    let limits = daemon.rpc("daemon/status", json!({}))["limits"].clone();
    assert_eq!(limits["max_live"], 1, "{limits:#}");
    // As it was set up, but for one key.
    daemon.write_config("[pool]\nmin_available = \"0B\"\nmax_live = 2\n");
    let changed = daemon.rpc("daemon/reload", json!({}));
    assert_eq!(changed["changed"], json!(["pool.max_live"]));
    assert_eq!(daemon.rpc("daemon/status", json!({}))["limits"]["max_live"], 2);
}

#[test]
fn a_second_daemon_on_the_same_home_names_the_first() {
    let daemon = Setup::new().start();
    let ran = Ran::of(daemon.command(env!("CARGO_BIN_EXE_hobd")).output().unwrap());
    ran.exit(6).says(&[&daemon.pid().to_string()]);
    works(&mut daemon.connect());
    // But whoever only wants one to run is content.
    daemon.hob(&["up"]).ok();
}

#[test]
fn a_socket_path_that_is_too_long_is_refused_with_a_hint() {
    let home = Setup::new().home();
    let socket = home.root().join("x".repeat(120)).join("hob.sock");
    let socket = socket.to_str().unwrap();
    let ran = Ran::of(home.command(env!("CARGO_BIN_EXE_hobd")).args(["--socket", socket]).output().unwrap());
    assert_ne!(ran.code, Some(0));
    ran.says(&["107", "--socket"]);
    let ran = home.hob(&["--socket", socket, "status"]);
    assert_ne!(ran.code, Some(0));
    ran.says(&["107", "--socket"]);
}

/// Sends requests and reads no answer until it cannot go on; says why.
fn flood_with_requests(client: &mut Client) -> ErrorKind {
    let request = format!("{}\n", json!({"jsonrpc": "2.0", "id": 1, "method": "task/list", "params": {}}));
    let requests = request.repeat(64);
    loop {
        if let Err(error) = client.send(requests.as_bytes()) {
            return error.kind();
        }
    }
}

#[test]
fn a_client_that_never_reads_its_answers_is_hung_up_on() {
    let daemon = Setup::new().config("[control]\nmax_backlog = \"256KiB\"").start();
    let chat = daemon.lone_chat();
    for _ in 0..20 {
        daemon.ask(&chat, DEMO, &say("something to list"));
    }
    let before = rss_bytes(daemon.pid());
    let mut deaf = daemon.connect();
    let why = flood_with_requests(&mut deaf);
    assert!([ErrorKind::BrokenPipe, ErrorKind::ConnectionReset].contains(&why), "{why:?}");
    works(&mut daemon.connect());
    let grown = rss_bytes(daemon.pid()).saturating_sub(before);
    assert!(grown < GROWTH_BYTES_MAX, "hobd grew by {grown} bytes");
}

#[test]
fn a_watcher_that_never_reads_slows_nobody_and_misses_nothing() {
    let daemon = Setup::new().start();
    let chat = daemon.lone_chat();
    let mut deaf = daemon.connect();
    deaf.call("events/subscribe", json!({"chat": chat, "after": 0})).unwrap();
    let before = rss_bytes(daemon.pid());
    // Far more than a socket takes in.
    daemon.ask(&chat, DEMO, &big(8192));
    let grown = rss_bytes(daemon.pid()).saturating_sub(before);
    assert!(grown < GROWTH_BYTES_MAX, "hobd grew by {grown} bytes");
    let all = daemon.events(json!({"chat": chat}));
    let wanted: Vec<&Value> = all.iter().map(|event| &event["seq"]).collect();
    let heard: Vec<Value> = wanted.iter().map(|_| deaf.next_event().unwrap()["seq"].clone()).collect();
    assert!(heard.iter().eq(wanted), "every event once and in order");
}

/// Whether this process may become somebody else.
fn is_root() -> bool {
    nix::unistd::Uid::effective().is_root()
}

fn open_up(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// `hob rpc daemon/status` as another user, to whom every file on the way was opened.
fn as_somebody_else(daemon: &TestDaemon) -> Ran {
    let hob = daemon.root().join("hob-for-others");
    // By another process: what one has open for writing while a neighbour forks cannot be executed.
    let copied = std::process::Command::new("cp").arg(env!("CARGO_BIN_EXE_hob")).arg(&hob).status().unwrap();
    assert!(copied.success());
    open_up(&hob, 0o755);
    for folder in [daemon.root(), &daemon.hob_home(), &daemon.root().join("home")] {
        open_up(folder, 0o755);
    }
    open_up(&daemon.socket(), 0o777);
    let arguments = ["--no-start", "--socket", daemon.socket().to_str().unwrap(), "rpc", "daemon/status"]
        .map(String::from);
    Ran::of(daemon.command(hob).args(arguments).uid(OTHER_UID).gid(OTHER_UID).output().unwrap())
}

#[test]
fn another_user_is_not_served() {
    if !is_root() {
        // Written past the capture of the test harness, so that it is seen.
        let _ =
            writeln!(std::io::stderr(), "SKIPPED another_user_is_not_served: only root can be somebody else");
        return;
    }
    let daemon = Setup::new().start();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&daemon.socket()), 0o600);
    let ran = as_somebody_else(&daemon);
    assert_ne!(ran.code, Some(0), "{ran:?}");
    assert!(!ran.stdout.contains("pid"), "{ran:?}");
    works(&mut daemon.connect());
}

#[test]
fn a_cursor_a_type_or_a_limit_that_means_nothing_is_refused_by_name() {
    let daemon = Setup::new().start();
    let head = daemon.rpc("events/subscribe", json!({}))["head"].as_i64().unwrap();
    for (method, params, path, told) in [
        ("events/list", json!({"after": head + 1000}), "after", "the newest is"),
        ("events/subscribe", json!({"after": head + 1000}), "after", "the newest is"),
        ("events/list", json!({"after": -1}), "after", "0 is before the first"),
        ("events/list", json!({"types": ["text", "txt"]}), "types", "`txt`"),
        ("events/subscribe", json!({"types": ["Text"]}), "types", "there are: turn_started"),
        ("events/list", json!({"limit": 0}), "limit", "the smallest is 1"),
        ("task/list", json!({"limit": 0}), "limit", "the smallest is 1"),
    ] {
        let error = daemon.try_rpc(method, params.clone()).unwrap_err();
        assert_eq!(error.code, -32602, "{method} {params}: {error:?}");
        let shown = format!("{error:?}");
        assert!(shown.contains(told) && shown.contains(path), "{method} {params}: {shown}");
    }
    daemon.rpc("events/list", json!({"after": head, "limit": 1, "types": ["gap", "text"]}));
}
