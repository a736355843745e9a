//! An opencode server that misbehaves on demand, for faults that the real one does not produce.
//!
//! `fault-server MODE [ARGUMENT]… serve --hostname HOST --port PORT`, where the part from `serve` on
//! is what hob adds. Modes: `status CODE` answers everything with that status, `html` with a page,
//! `version V` says that it is of that version, `cut BYTES TIMES PROGRAM…` starts the real program
//! behind itself and cuts the connection of an event stream after so many bytes, so many times, in
//! the middle of whatever it is saying.

#![expect(clippy::disallowed_methods, reason = "a program of its own, which starts the real one")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// The requests whose answers are cut.
const STREAM: &str = "GET /global/event";
/// How long the real program may take to listen.
const LISTEN_TRIES: usize = 600;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let port = arguments.last().and_then(|port| port.parse::<u16>().ok()).expect("a port comes last");
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["status", code, ..] => answer_all(&listener, code, "text/plain", "told to fail"),
        ["html", ..] => answer_all(&listener, "200", "text/html", "<!doctype html><title>opencode</title>"),
        ["version", version, ..] => {
            let health = format!("{{\"healthy\":true,\"version\":\"{version}\"}}");
            answer_all(&listener, "200", "application/json", &health)
        }
        ["cut", bytes, times, program, ..] => {
            let cut = Cut {
                bytes: bytes.parse().expect("bytes"),
                left: AtomicI64::new(times.parse().expect("times")),
            };
            proxy(&listener, program, cut)
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
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status} Said\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        // Whoever asked may have gone.
        let _ = (&stream).write_all(answer.as_bytes());
    }
}

/// When a stream is cut.
struct Cut {
    bytes: usize,
    left: AtomicI64,
}

fn proxy(listener: &TcpListener, program: &str, cut: Cut) {
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
    let cut = Arc::new(cut);
    for client in listener.incoming().flatten() {
        let cut = cut.clone();
        std::thread::spawn(move || pass(client, port, &cut));
    }
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

/// Passes everything on in both directions, up to a cut.
fn pass(client: TcpStream, port: u16, cut: &Cut) {
    let Some(server) = connect(port) else { return };
    let head = head(&client);
    let is_stream = head.starts_with(STREAM.as_bytes());
    let cut_after = (is_stream && cut.left.fetch_sub(1, Ordering::AcqRel) > 0).then_some(cut.bytes);
    if (&server).write_all(&head).is_err() {
        return;
    }
    let (up_from, up_to) = (client.try_clone().expect("a clone"), server.try_clone().expect("a clone"));
    std::thread::spawn(move || copy(&up_from, &up_to, None));
    copy(&server, &client, cut_after);
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
    let _ = to.shutdown(Shutdown::Write);
}
