//! What the misbehaving agent remembers of a conversation, and how it lies about that.
//!
//! One file in the home directory for each conversation, with a line for each prompt. What the agent
//! claims to be able to do, and what it does, is a list of words in its argument, joined by commas:
//!
//! - `resume`, `load`, `list`: offered, and done;
//! - `resume-lie`: offered, and unknown; `load-empty`: says yes and has nothing; `load-unknown`:
//!   says that there is no such conversation; `load-broken`: fails; `load-hang`: never answers;
//!   `list-empty`, `list-broken`.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::{answer, home, member, note, quoted_update, refuse};

/// Between the pieces of a conversation that is read back: time for a prompt to come too early.
const PIECE_EVERY: Duration = Duration::from_millis(100);

/// An old conversation is being read back: no prompt may come.
static REPLAYING: AtomicBool = AtomicBool::new(false);

/// Whether a conversation is being read back now.
pub(crate) fn is_replaying() -> bool {
    REPLAYING.load(Ordering::SeqCst)
}

fn file(session: &str) -> PathBuf {
    home().join(format!("{session}.talk"))
}

/// The prompts that it remembers of a conversation, as they came in JSON.
pub(crate) fn prompts(session: &str) -> Vec<String> {
    let text = fs::read_to_string(file(session)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Remembers a prompt.
pub(crate) fn remember(session: &str, prompt: &str) {
    let file = OpenOptions::new().create(true).append(true).open(file(session));
    writeln!(file.expect("the conversation"), "{prompt}").expect("the conversation");
}

fn has(words: Option<&str>, wanted: &str) -> bool {
    words.unwrap_or_default().split(',').any(|word| word == wanted)
}

fn offers(words: Option<&str>, what: &str) -> bool {
    words.unwrap_or_default().split(',').any(|word| word == what || word.starts_with(&format!("{what}-")))
}

/// The `agentCapabilities`.
pub(crate) fn capabilities(words: Option<&str>) -> String {
    let mut sessions = Vec::new();
    for what in ["resume", "list"] {
        if offers(words, what) {
            sessions.push(format!("\"{what}\":{{}}"));
        }
    }
    format!(
        "{{\"loadSession\":{},\"sessionCapabilities\":{{{}}}}}",
        offers(words, "load"),
        sessions.join(",")
    )
}

/// Answers what is asked about an old conversation; gives back its name if it goes on from here.
pub(crate) fn take_up(method: &str, words: Option<&str>, id: &str, line: &str) -> Option<String> {
    let named = member(line, "sessionId").unwrap_or_default().trim_matches('"').to_owned();
    note(&format!("# {method}"));
    match method {
        "session/list" if has(words, "list") => {
            let cwd = member(line, "cwd").unwrap_or_else(|| "\"/\"".to_owned());
            let known = fs::read_dir(home()).expect("the home directory").flatten();
            let names = known
                .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".talk").map(str::to_owned));
            let rows: Vec<_> =
                names.map(|name| format!("{{\"sessionId\":\"{name}\",\"cwd\":{cwd}}}")).collect();
            answer(id, &format!("{{\"sessions\":[{}]}}", rows.join(",")));
        }
        "session/list" if has(words, "list-empty") => answer(id, "{\"sessions\":[]}"),
        "session/list" if has(words, "list-broken") => refuse(id, -32603, "no list today"),
        "session/resume" if has(words, "resume") => {
            answer(id, "{}");
            return Some(named);
        }
        "session/load" if has(words, "load") => {
            read_back(&named);
            answer(id, "{}");
            return Some(named);
        }
        "session/load" if has(words, "load-empty") => {
            answer(id, "{}");
            return Some(named);
        }
        "session/load" if has(words, "load-unknown") => refuse(id, -32002, "never heard of it"),
        "session/load" if has(words, "load-broken") => refuse(id, -32603, "the disk is on fire"),
        "session/load" if has(words, "load-hang") => {}
        _ => refuse(id, -32601, "unknown method"),
    }
    None
}

/// Tells an old conversation again, slowly.
fn read_back(session: &str) {
    REPLAYING.store(true, Ordering::SeqCst);
    for prompt in prompts(session) {
        quoted_update(session, "user_message_chunk", &prompt);
        thread::sleep(PIECE_EVERY);
        quoted_update(session, "agent_message_chunk", "\"said long ago\"");
    }
    REPLAYING.store(false, Ordering::SeqCst);
}
