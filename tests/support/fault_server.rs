//! An opencode server that misbehaves on demand, for faults that the real one does not produce.
//!
//! `fault-server MODE [ARGUMENT]… serve --hostname HOST --port PORT`, where the part from `serve` on
//! is what hob adds. Modes: `status CODE` answers everything with that status, `html` with a page,
//! `version V` says that it is of that version, `slow SECONDS` is ready after so many and answers
//! nothing else, `cut BYTES TIMES PROGRAM…` starts the real program
//! behind itself and cuts the connection of an event stream after so many bytes, so many times, in
//! the middle of whatever it is saying; `password PROGRAM…` is the real program with another password
//! than it was given; `refuse WORD TIMES CODE PROGRAM…` answers requests with that
//! word in their first line itself, so many times over all its starts, with that status and a page.

#![expect(clippy::disallowed_methods, reason = "a program of its own, which starts the real one")]

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

/// What the real program takes its password from.
const PASSWORD: &str = "OPENCODE_SERVER_PASSWORD";
/// The request that asks whether it is ready.
const HEALTH: &str = "GET /global/health";
/// The requests whose answers are cut.
const STREAM: &str = "GET /global/event";
/// A connection is closed so long after its answer, without a word: whoever asks the next thing on it
/// asks nobody.
const CLOSES_AFTER: Duration = Duration::from_millis(20);
/// How long the real program may take to listen.
const LISTEN_TRIES: usize = 600;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let port = arguments.last().and_then(|port| port.parse::<u16>().ok()).expect("a port comes last");
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["password", program, serve @ ..] = words.as_slice() {
        let error = Command::new(program).args(serve).env(PASSWORD, "of somebody else").exec();
        panic!("the real program: {error}");
    }
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
    match words.as_slice() {
        ["status", code, ..] => answer_all(&listener, code, "text/plain", "told to fail"),
        ["html", ..] => answer_all(&listener, "200", "text/html", "<!doctype html><title>opencode</title>"),
        ["version", version, ..] => {
            let health = format!("{{\"healthy\":true,\"version\":\"{version}\"}}");
            answer_all(&listener, "200", "application/json", &health)
        }
        ["slow", seconds, ..] => {
            slow(&listener, Instant::now() + Duration::from_secs(seconds.parse().expect("seconds")))
        }
        ["cut", bytes, times, program, ..] => {
            let spoil =
                Spoil { word: STREAM, how: How::Cut(bytes.parse().expect("bytes")), left: left(times) };
            proxy(&listener, program, spoil)
        }
        ["refuse", word, times, code, program, ..] => {
            // As often as it was not done by those before.
            let done = std::fs::read(refusals()).map_or(0, |done| done.len());
            let left = left(times);
            left.fetch_sub(i64::try_from(done).expect("few"), Ordering::AcqRel);
            proxy(&listener, program, Spoil { word, how: How::Refuse(code), left })
        }
        other => panic!("no such mode: {other:?}"),
    }
    ExitCode::SUCCESS
}

/// The head of a request, with its first line.
fn head(stream: &TcpStream) -> Vec<u8> {
    let mut reader = BufReader::with_capacity(1, stream);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && reader.read_until(b'\n', &mut head).is_ok_and(|n| n > 0) {}
    head
}

fn answer_all(listener: &TcpListener, status: &str, kind: &str, body: &str) {
    for stream in listener.incoming().flatten() {
        head(&stream);
        answer(&stream, status, kind, body);
    }
}

/// Says from a moment on that it is ready, and leaves everything else unanswered.
fn slow(listener: &TcpListener, ready: Instant) {
    let mut unanswered = Vec::new();
    for stream in listener.incoming().flatten() {
        if !String::from_utf8_lossy(&head(&stream)).contains(HEALTH) {
            unanswered.push(stream);
        } else if Instant::now() >= ready {
            answer(&stream, "200", "application/json", "{\"healthy\":true,\"version\":\"1.18.33\"}");
        }
    }
}

fn answer(mut stream: &TcpStream, status: &str, kind: &str, body: &str) {
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status} Said\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    // Whoever asked may have gone.
    let _ = stream.write_all(answer.as_bytes());
}

/// One byte for each request that was refused.
fn refusals() -> PathBuf {
    std::env::var_os("HOME").map(PathBuf::from).expect("a home directory").join("refusals")
}

fn left(times: &str) -> AtomicI64 {
    AtomicI64::new(times.parse().expect("times"))
}

/// Which requests are spoilt, and how.
struct Spoil<'a> {
    word: &'a str,
    how: How<'a>,
    left: AtomicI64,
}

enum How<'a> {
    /// After so many bytes of the answer the connection is cut.
    Cut(usize),
    /// It is answered with this status.
    Refuse(&'a str),
}

fn proxy(listener: &TcpListener, program: &str, spoil: Spoil<'_>) {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port").port();
    let mut child = Command::new(program)
        .args(["serve", "--hostname", "127.0.0.1", "--port", &port.to_string()])
        .stdin(Stdio::null())
        .spawn()
        .expect("the real program");
    std::thread::spawn(move || {
        let status = child.wait();
        eprintln!("fault-server: the real program ended: {status:?}");
        std::process::exit(1);
    });
    std::thread::scope(|scope| {
        for client in listener.incoming().flatten() {
            let spoil = &spoil;
            scope.spawn(move || pass(client, port, spoil));
        }
    });
}

fn connect(port: u16) -> Option<TcpStream> {
    for _ in 0..LISTEN_TRIES {
        if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) {
            return Some(stream);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    None
}

/// How long the body of a request is.
fn body_bytes(head: &[u8]) -> usize {
    let head = String::from_utf8_lossy(head).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    length.unwrap_or(0)
}

/// Passes one request on, and its answer, unless it is to be spoilt.
fn pass(client: TcpStream, port: u16, spoil: &Spoil<'_>) {
    let mut head = head(&client);
    let first_line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
    let is_spoilt = first_line.contains(spoil.word) && spoil.left.fetch_sub(1, Ordering::AcqRel) > 0;
    let limit = match spoil.how {
        How::Refuse(status) if is_spoilt => {
            // A connection that is closed with something unread in it is torn, and the answer lost.
            let _ = (&client).read_exact(&mut vec![0; body_bytes(&head)]);
            let mut file =
                OpenOptions::new().create(true).append(true).open(refusals()).expect("the refusals");
            file.write_all(b"x").expect("the refusals");
            answer(&client, status, "text/html", "<!doctype html><title>told to fail</title>");
            return;
        }
        How::Cut(bytes) if is_spoilt => Some(bytes),
        How::Refuse(_) | How::Cut(_) => None,
    };
    let Some(server) = connect(port) else { return };
    // The next request must come on a connection of its own, or nobody would look at it.
    head.truncate(head.len().saturating_sub(2));
    head.extend_from_slice(b"connection: close\r\n\r\n");
    if (&server).write_all(&head).is_err() {
        return;
    }
    let (up_from, up_to) = (client.try_clone().expect("a clone"), server.try_clone().expect("a clone"));
    std::thread::spawn(move || copy(&up_from, &up_to, None));
    copy(&server, &client, limit);
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}

fn copy(mut from: &TcpStream, mut to: &TcpStream, limit: Option<usize>) {
    let (mut buffer, mut n_passed) = (vec![0; 16 * 1024], 0);
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        let room = limit.map_or(n, |limit| n.min(limit - n_passed));
        if to.write_all(&buffer[..room]).is_err() {
            return;
        }
        n_passed += room;
        if limit == Some(n_passed) {
            return;
        }
    }
    std::thread::sleep(CLOSES_AFTER);
    let _ = to.shutdown(Shutdown::Write);
}
