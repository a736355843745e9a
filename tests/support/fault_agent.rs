//! An agent that misbehaves on demand. It shares no code with hob, so that no mistake of ours is in
//! what is tested and in what tests it alike.
//!
//! `fault-agent MODE [ARGUMENT]…`; a prompt with the words `fault: MODE` overrides the mode for that
//! turn. Modes of the start: `exit-at-once [CODE]`, `exit-first N` (so many starts fail), `hang-initialize`,
//! `exit-in-initialize [CODE]`, `wrong-version [N]`, `auth-required`, `ignore-term`, `daemonise`,
//! `memory WORDS` (see `conversation`), `choices WORD` (see `choices`). Modes of the whole life: `deaf-ping` answers no probe,
//! `close-stdin` closes its input with the first prompt. Modes of a turn: see `turns`.
//! With `FAULT_LEDGER` set every prompt is appended to that file, which is in the home directory
//! unless its path is absolute. A line that begins with `!` tells of a mistake of the client's, one
//! with `#` of something else that it said.

#![expect(clippy::disallowed_methods, reason = "a program of its own, which has to end badly")]

use std::fs::OpenOptions;
use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

#[path = "fault_agent/choices.rs"]
mod choices;
#[path = "fault_agent/conversation.rs"]
mod conversation;
#[path = "fault_agent/noise.rs"]
mod noise;
#[path = "fault_agent/turns.rs"]
mod turns;

use turns::Agent;

/// The id of the question that `ask` asks.
const QUESTION: &str = "\"q-1\"";

/// The conversation that it is in.
static SESSION: Mutex<String> = Mutex::new(String::new());
/// A prompt was sent and not answered yet.
static IN_TURN: AtomicBool = AtomicBool::new(false);
/// Nothing is read any more.
static DEAF: AtomicBool = AtomicBool::new(false);

/// Between two words of a stream.
const STREAM_GAP: Duration = Duration::from_millis(25);
/// Longer than anybody waits.
const FOR_EVER: Duration = Duration::from_secs(24 * 3600);

/// What the client says, as far as it is looked at.
enum Said {
    Prompt { id: String, text: String },
    Cancel,
    Answer(String),
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let mode = arguments.next().or_else(|| std::env::var("FAULT_MODE").ok()).unwrap_or_default();
    let argument = arguments.next();
    if mode == "exit-at-once" {
        eprintln!("fault-agent: told to exit at once");
        return code(argument.as_deref(), 1);
    }
    if mode == "exit-first" && another_start() <= argument.as_deref().map_or(1, |n| n.parse().unwrap_or(1)) {
        eprintln!("fault-agent: not yet");
        return code(None, 1);
    }
    if mode == "ignore-term" || mode == "daemonise" {
        ignore_term(&mode);
        return ExitCode::SUCCESS;
    }
    let (say, said) = channel();
    let agent = Agent::new(&mode, argument.as_deref(), said);
    std::thread::spawn(move || agent.turns());
    listen(&mode, argument.as_deref(), &say)
}

/// The directory that outlives the process.
fn home() -> PathBuf {
    std::env::var_os("HOME").map(PathBuf::from).expect("a home directory")
}

/// The how-manieth start this is, from 1.
fn another_start() -> usize {
    let path = home().join("fault-starts");
    let mut file = OpenOptions::new().create(true).append(true).open(&path).expect("the starts");
    writeln!(file, "{}", std::process::id()).expect("the starts");
    std::fs::read_to_string(path).map_or(1, |text| text.lines().count())
}

fn session() -> String {
    SESSION.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn open_session(name: &str) {
    name.clone_into(&mut SESSION.lock().unwrap_or_else(PoisonError::into_inner));
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
fn listen(mode: &str, argument: Option<&str>, say: &Sender<Said>) -> ExitCode {
    for line in io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        let id = member(&line, "id").unwrap_or_else(|| "null".to_owned());
        let method = member(&line, "method");
        match method.as_deref().map(|method| method.trim_matches('"')) {
            Some("initialize") => match mode {
                "hang-initialize" => {}
                "exit-in-initialize" => {
                    eprintln!("fault-agent: told to exit in initialize");
                    return code(argument, 3);
                }
                "wrong-version" => {
                    answer(&id, &format!("{{\"protocolVersion\":{}}}", argument.unwrap_or("99")));
                }
                _ => answer(&id, &hello(mode, argument)),
            },
            Some("session/new") if mode == "auth-required" => {
                refuse(&id, -32000, "Authentication required");
            }
            Some("session/new") => {
                let name = format!("fault-{}", std::process::id());
                open_session(&name);
                let modes = if mode == "choices" { choices::offered() } else { String::new() };
                answer(&id, &format!("{{\"sessionId\":\"{name}\"{modes}}}"));
            }
            Some("session/set_mode") if mode == "choices" => choices::set(argument, &id, &line),
            Some("session/prompt") => {
                if mode == "choices" {
                    choices::prompted(argument);
                }
                prompted(id, &line, say);
                if mode == "close-stdin" {
                    close_stdin();
                }
            }
            Some("_hob/ping") if mode == "deaf-ping" => {}
            Some("session/cancel") => {
                say.send(Said::Cancel).ok();
            }
            Some(method @ ("session/load" | "session/resume" | "session/list")) if mode == "memory" => {
                if let Some(name) = conversation::take_up(method, argument, &id, &line) {
                    open_session(&name);
                }
            }
            None if id == QUESTION => {
                let chosen = member(&line, "optionId").unwrap_or_else(|| "\"cancelled\"".to_owned());
                note(&format!("# answer {chosen}"));
                say.send(Said::Answer(chosen.trim_matches('"').to_owned())).ok();
            }
            // An answer to nothing.
            None => {}
            Some(_) => refuse(&id, -32601, "unknown method"),
        }
        while DEAF.load(Ordering::SeqCst) {
            std::thread::sleep(FOR_EVER);
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

/// A prompt came: it is written down before anything else, and so is that it should not have come.
fn prompted(id: String, line: &str, say: &Sender<Said>) {
    let text = member(line, "text").unwrap_or_default();
    note(&text);
    if IN_TURN.swap(true, Ordering::SeqCst) {
        note("! a prompt within a turn");
    }
    if conversation::is_replaying() {
        note("! a prompt while a conversation was read back");
    }
    if member(line, "sessionId").unwrap_or_default().trim_matches('"') != session() {
        note("! a prompt for another conversation");
    }
    conversation::remember(&session(), &text);
    // From here on nothing is read: not even a cancel.
    let deaf = ["fault: deaf", "fault: well-and-deaf"].iter().any(|words| text.contains(words));
    DEAF.store(deaf, Ordering::SeqCst);
    say.send(Said::Prompt { id, text }).ok();
}

fn hello(mode: &str, argument: Option<&str>) -> String {
    let able = if mode == "memory" { conversation::capabilities(argument) } else { "{}".to_owned() };
    format!(
        "{{\"protocolVersion\":1,\"agentInfo\":{{\"name\":\"fault-agent\",\"version\":\"0\"}},\
         \"agentCapabilities\":{able},\"authMethods\":[{{\"id\":\"fault-login\",\"name\":\"Log in\"}}]}}"
    )
}

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
        let path = home().join(path);
        let mut file = OpenOptions::new().create(true).append(true).open(path).expect("the ledger");
        file.write_all(format!("{text}\n").as_bytes()).expect("the ledger");
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

fn update_of(session: &str, update: &str) -> String {
    format!(
        "{{\"jsonrpc\":\"2.0\",\"method\":\"session/update\",\"params\":{{\"sessionId\":\"{session}\",\"update\":{update}}}}}"
    )
}

/// A piece of a message, whose text is JSON already.
fn quoted_update(session: &str, kind: &str, text: &str) {
    line(&update_of(session, &chunk(kind, text)));
}

fn chunk(kind: &str, text: &str) -> String {
    format!("{{\"sessionUpdate\":\"{kind}\",\"content\":{{\"type\":\"text\",\"text\":{text}}}}}")
}
