//! An agent that misbehaves on demand. It shares no code with hob, so that no mistake of ours is in
//! what is tested and in what tests it alike.
//!
//! `fault-agent MODE [ARGUMENT]…`; a prompt with the words `fault: MODE` overrides the mode for that
//! turn. Modes of the start: `exit-at-once [CODE]`, `hang-initialize`, `exit-in-initialize [CODE]`,
//! `wrong-version [N]`, `auth-required`, `ignore-term`, `daemonise`. Modes of the whole life: `deaf-ping`
//! answers no probe, `close-stdin` closes its input with the first prompt. Modes of a turn: see `turn`.
//! With `FAULT_LEDGER` set every prompt is appended to that file.

#![expect(clippy::disallowed_methods, reason = "a program of its own, which has to end badly")]

use std::fs::OpenOptions;
use std::io::{self, BufRead, Write};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// One piece of what is written without end.
const PIECE_BYTES: usize = 64 * 1024;
/// A line that nobody should hold.
const LONG_LINE_BYTES: usize = 100 * 1024 * 1024;
/// What floods stderr, in all.
const STDERR_BYTES: usize = 64 * 1024 * 1024;
/// Between two words of a stream.
const STREAM_GAP: Duration = Duration::from_millis(25);
/// Longer than anybody waits.
const FOR_EVER: Duration = Duration::from_secs(24 * 3600);

/// What the client says, as far as it is looked at.
enum Said {
    Prompt { id: String, text: String },
    Cancel,
}

/// What is the same for the whole life.
struct Agent {
    mode: String,
    argument: Option<String>,
    session: String,
    said: Receiver<Said>,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let mode = arguments.next().or_else(|| std::env::var("FAULT_MODE").ok()).unwrap_or_default();
    let argument = arguments.next();
    if mode == "exit-at-once" {
        eprintln!("fault-agent: told to exit at once");
        return code(argument.as_deref(), 1);
    }
    if mode == "ignore-term" || mode == "daemonise" {
        ignore_term(&mode);
        return ExitCode::SUCCESS;
    }
    let (say, said) = channel();
    let session = format!("fault-{}", std::process::id());
    let agent = Agent { mode: mode.clone(), argument: argument.clone(), session: session.clone(), said };
    std::thread::spawn(move || agent.turns());
    listen(&mode, argument.as_deref(), &session, &say)
}

fn code(argument: Option<&str>, default: u8) -> ExitCode {
    argument.and_then(|code| code.parse().ok()).unwrap_or(default).into()
}

/// Hands over to a shell that cannot be told to end, which runs this program again below it; with
/// `daemonise`, beside a child that has left its session and its environment behind.
fn ignore_term(mode: &str) {
    let own = std::env::current_exe().expect("the program's own path");
    let escape = "env -i setsid /bin/sh -c 'trap \"\" TERM HUP INT; while :; do sleep 1000; done' < /dev/null > /dev/null 2>&1 &";
    let before = if mode == "daemonise" { escape } else { "" };
    let script = format!("trap '' TERM HUP INT; {before} \"$0\" well; while :; do sleep 1000; done");
    Command::new("/bin/sh").arg("-c").arg(script).arg(own).status().expect("a shell");
}

/// Reads the client's lines and answers what is no prompt, until the input ends.
fn listen(mode: &str, argument: Option<&str>, session: &str, say: &Sender<Said>) -> ExitCode {
    for line in io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        let id = member(&line, "id").unwrap_or_else(|| "null".to_owned());
        match member(&line, "method").as_deref() {
            Some("\"initialize\"") => match mode {
                "hang-initialize" => {}
                "exit-in-initialize" => {
                    eprintln!("fault-agent: told to exit in initialize");
                    return code(argument, 3);
                }
                "wrong-version" => {
                    answer(&id, &format!("{{\"protocolVersion\":{}}}", argument.unwrap_or("99")))
                }
                _ => answer(&id, HELLO),
            },
            Some("\"session/new\"") if mode == "auth-required" => {
                refuse(&id, -32000, "Authentication required");
            }
            Some("\"session/new\"") => answer(&id, &format!("{{\"sessionId\":\"{session}\"}}")),
            Some("\"session/prompt\"") => {
                let text = member(&line, "text").unwrap_or_default();
                note(&text);
                say.send(Said::Prompt { id, text }).ok();
                if mode == "close-stdin" {
                    close_stdin();
                }
            }
            Some("\"_hob/ping\"") if mode == "deaf-ping" => {}
            Some("\"session/cancel\"") => {
                say.send(Said::Cancel).ok();
            }
            // An answer of the client.
            None => {}
            Some(_) => refuse(&id, -32601, "unknown method"),
        }
    }
    ExitCode::SUCCESS
}

/// Lives on without an input.
fn close_stdin() -> ! {
    let nothing = OpenOptions::new().read(true).open("/dev/null").expect("/dev/null");
    nix::unistd::dup2_stdin(nothing).expect("stdin");
    loop {
        std::thread::sleep(FOR_EVER);
    }
}

const HELLO: &str = "{\"protocolVersion\":1,\"agentInfo\":{\"name\":\"fault-agent\",\"version\":\"0\"},\
    \"agentCapabilities\":{},\"authMethods\":[{\"id\":\"fault-login\",\"name\":\"Log in\"}]}";

/// The value of the first member of that name: a string with its quotes, or a number. Enough for
/// the lines that hob writes, and no more.
fn member(line: &str, name: &str) -> Option<String> {
    let rest = line.split_once(&format!("\"{name}\":"))?.1;
    if !rest.starts_with('"') {
        return Some(rest.split([',', '}', ']']).next()?.to_owned());
    }
    let mut escaped = false;
    for (at, byte) in rest.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(rest[..=at].to_owned()),
            _ => {}
        }
    }
    None
}

/// Remembers a prompt beyond the end of the process.
fn note(text: &str) {
    if let Ok(path) = std::env::var("FAULT_LEDGER") {
        let mut file = OpenOptions::new().create(true).append(true).open(path).expect("the ledger");
        writeln!(file, "{text}").expect("the ledger");
    }
}

/// Writes bytes as they are. A client that is gone ends the process.
fn raw(bytes: &[u8]) {
    let mut out = io::stdout().lock();
    if out.write_all(bytes).and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

fn line(text: &str) {
    raw(format!("{text}\n").as_bytes());
}

fn answer(id: &str, result: &str) {
    line(&format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{result}}}"));
}

fn refuse(id: &str, code: i32, message: &str) {
    line(&format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{{\"code\":{code},\"message\":\"{message}\"}}}}"
    ));
}

impl Agent {
    fn update(&self, update: &str) {
        let session = &self.session;
        line(&format!(
            "{{\"jsonrpc\":\"2.0\",\"method\":\"session/update\",\"params\":{{\"sessionId\":\"{session}\",\"update\":{update}}}}}"
        ));
    }

    fn text(&self, text: &str) {
        self.update(&format!(
            "{{\"sessionUpdate\":\"agent_message_chunk\",\"content\":{{\"type\":\"text\",\"text\":\"{text}\"}}}}"
        ));
    }

    fn end(&self, id: &str, stop_reason: &str) {
        answer(id, &format!("{{\"stopReason\":\"{stop_reason}\"}}"));
    }

    fn turns(&self) {
        while let Ok(said) = self.said.recv() {
            if let Said::Prompt { id, text } = said {
                let asked = text.split_once("fault: ").map(|(_, rest)| rest.trim_end_matches('"').to_owned());
                let mode = asked.unwrap_or_else(|| self.mode.clone());
                let mut words = mode.split_whitespace();
                let (mode, argument) = (words.next().unwrap_or_default(), words.next());
                self.turn(mode, argument.or(self.argument.as_deref()), &id);
            }
        }
    }

    fn turn(&self, mode: &str, argument: Option<&str>, id: &str) {
        match mode {
            "garbage" | "invalid-utf8" | "long-line" | "batch" | "flood-stderr" => {
                self.text("before ");
                noise(mode);
                self.text("after");
                self.end(id, "end_turn");
            }
            "garbage-flood" => loop {
                line(&"no JSON at all ".repeat(16));
            },
            "flood-stdout" => loop {
                self.text(&"flood ".repeat(32));
            },
            "stream" => {
                for _ in 0..argument.and_then(|n| n.parse().ok()).unwrap_or(100) {
                    self.text("word ");
                    std::thread::sleep(STREAM_GAP);
                }
                self.end(id, "end_turn");
            }
            "half-frame" => {
                self.text("before");
                raw(b"{\"jsonrpc\":\"2.0\",\"method\":\"session/up");
                std::process::exit(0);
            }
            "exit" => {
                self.text("before");
                eprintln!("fault-agent: told to exit");
                std::process::exit(argument.and_then(|code| code.parse().ok()).unwrap_or(1));
            }
            "close-stdout" => {
                self.text("before");
                self.close_stdout();
            }
            "held-stdout" => {
                self.text("before");
                // The grandchild holds our output open after we are gone.
                let held = Command::new("/bin/sh").args(["-c", "sleep 1000"]).stdin(Stdio::null()).spawn();
                drop(held);
                std::process::exit(0);
            }
            "late-updates" => {
                self.text("in time");
                self.end(id, "end_turn");
                self.text("too late");
            }
            "unknown-stop-reason" => {
                self.text("odd");
                self.end(id, "bored");
            }
            "unknown-update" => {
                self.update("{\"sessionUpdate\":\"from_the_future\",\"answer\":42}");
                self.text("known");
                self.end(id, "end_turn");
            }
            _ => self.turn_and_cancel(mode, id),
        }
    }

    /// What is wrong with the answer to a cancel; without any, a turn that is well.
    fn turn_and_cancel(&self, mode: &str, id: &str) {
        match mode {
            "never-answer" => {
                self.text("before");
                std::thread::sleep(FOR_EVER);
            }
            "cancel-end-turn" => {
                self.wait_for_cancel();
                self.end(id, "end_turn");
            }
            "cancel-error" => {
                self.wait_for_cancel();
                refuse(id, -32603, "Request was aborted.");
            }
            "lose-first-cancel" => {
                self.wait_for_cancel();
                self.wait_for_cancel();
                self.end(id, "cancelled");
            }
            _ => {
                self.text("well");
                self.end(id, "end_turn");
            }
        }
    }

    fn wait_for_cancel(&self) {
        self.text("working");
        while !matches!(self.said.recv(), Ok(Said::Cancel) | Err(_)) {}
    }

    /// Lives on without an output.
    fn close_stdout(&self) {
        let nowhere = OpenOptions::new().write(true).open("/dev/null").expect("/dev/null");
        nix::unistd::dup2_stdout(nowhere).expect("stdout");
    }
}

/// What is no message, in the middle of a turn.
fn noise(mode: &str) {
    match mode {
        "garbage" => {
            line("[2026-11-22] INFO: this is a log line, on the wrong stream");
            line("\u{1b}[31mred\u{1b}[0m");
            line("{\"half\": ");
        }
        "invalid-utf8" => raw(b"{\"jsonrpc\":\"2.0\",\"method\":\"\xff\xfe\"}\n"),
        "batch" => line("[{\"jsonrpc\":\"2.0\",\"method\":\"x\"}]"),
        "long-line" => {
            let piece = vec![b'x'; PIECE_BYTES];
            for _ in 0..LONG_LINE_BYTES / PIECE_BYTES {
                raw(&piece);
            }
            raw(b"\n");
        }
        _ => {
            let piece = "complaint ".repeat(PIECE_BYTES / 10);
            for _ in 0..STDERR_BYTES / PIECE_BYTES {
                eprintln!("{piece}");
            }
        }
    }
}
