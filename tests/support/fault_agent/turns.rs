//! The turns of the misbehaving agent: by a mode each.

use std::fs::OpenOptions;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;

use super::{FOR_EVER, IN_TURN, QUESTION, STREAM_GAP, Said};
use super::{answer, chunk, conversation, line, noise, quoted_update, raw, refuse, session, update_of};

/// What is the same for the whole life.
pub(crate) struct Agent {
    mode: String,
    argument: Option<String>,
    said: Receiver<Said>,
}

impl Agent {
    /// One whose turns are made in this mode, unless a prompt asks for another.
    pub(crate) fn new(mode: &str, argument: Option<&str>, said: Receiver<Said>) -> Self {
        Self { mode: mode.to_owned(), argument: argument.map(str::to_owned), said }
    }

    fn update(&self, update: &str) {
        line(&update_of(&session(), update));
    }

    fn text(&self, text: &str) {
        quoted_update(&session(), "agent_message_chunk", &format!("\"{text}\""));
    }

    fn end(&self, id: &str, stop_reason: &str) {
        IN_TURN.store(false, Ordering::SeqCst);
        answer(id, &format!("{{\"stopReason\":\"{stop_reason}\"}}"));
    }

    fn fail(&self, id: &str, message: &str) {
        IN_TURN.store(false, Ordering::SeqCst);
        refuse(id, -32603, message);
    }

    pub(crate) fn turns(&self) {
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
        if self.ended(mode, argument, id) {
            return;
        }
        match mode {
            "garbage" | "invalid-utf8" | "long-line" | "batch" | "flood-stderr" => {
                self.text("before ");
                noise::make(mode);
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
            "haunt" => {
                self.text("before");
                self.haunt();
                std::process::exit(0);
            }
            "late-updates" => {
                self.text("in time");
                self.end(id, "end_turn");
                self.text("too late");
            }
            "log-in" => {
                IN_TURN.store(false, Ordering::SeqCst);
                refuse(id, -32000, "Authentication required");
            }
            "unknown-stop-reason" => {
                self.text("odd");
                self.end(id, "bored");
            }
            "long-text" | "odd-json" => self.odd_turn(mode, id),
            "unknown-update" => {
                self.update("{\"sessionUpdate\":\"from_the_future\",\"answer\":42}");
                self.text("known");
                self.end(id, "end_turn");
            }
            _ => self.turn_and_cancel(mode, id),
        }
    }

    /// A turn of what is allowed, and hardly read.
    fn odd_turn(&self, mode: &str, id: &str) {
        if mode == "long-text" {
            self.text(&"long ".repeat(noise::LONG_TEXT_WORDS));
            self.text("end");
        } else {
            noise::odd_updates().iter().for_each(|update| self.update(update));
            self.text("half \\ud83d zero \\u0000 end");
        }
        self.end(id, "end_turn");
    }

    /// What is wrong with the answer to a cancel; without any, a turn that is well.
    fn turn_and_cancel(&self, mode: &str, id: &str) {
        match mode {
            "silent" => std::thread::sleep(FOR_EVER),
            "never-answer" | "deaf" => {
                self.text("before");
                std::thread::sleep(FOR_EVER);
            }
            "error" => {
                self.text("before");
                self.fail(id, "It did not work.");
            }
            "count" => {
                self.text(&format!("count {}", conversation::prompts(&session()).len()));
                self.end(id, "end_turn");
            }
            "ask" => {
                let option = self.ask();
                self.text(&format!("chosen {option}"));
                self.end(id, "end_turn");
            }
            "ask-and-end" => {
                self.question();
                self.end(id, "end_turn");
            }
            "cancel-end-turn" => {
                self.wait_for_cancel();
                self.end(id, "end_turn");
            }
            "cancel-error" => {
                self.wait_for_cancel();
                self.fail(id, "Request was aborted.");
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

    /// The modes that are about who ends a turn, and how; whether this is one.
    fn ended(&self, mode: &str, argument: Option<&str>, id: &str) -> bool {
        match mode {
            "outlived" => {
                self.text("before");
                self.outlived(id, argument.unwrap_or("end_turn"));
                std::thread::sleep(FOR_EVER);
            }
            "end" => self.end(id, argument.unwrap_or("end_turn")),
            "end-and-exit" => {
                self.end(id, "end_turn");
                std::process::exit(0);
            }
            // As often as it says, over all its processes: who was asked so often is well.
            "lost" | "refuses" => {
                let times = argument.and_then(|times| times.parse().ok()).unwrap_or(usize::MAX);
                let marker = std::env::temp_dir().join(format!(
                    "fault-lost-{}",
                    std::env::var("HOME").unwrap_or_default().replace('/', "-")
                ));
                let before = std::fs::read_to_string(&marker).unwrap_or_default().len();
                if before >= times {
                    self.text("well again");
                    self.end(id, "end_turn");
                    return true;
                }
                std::fs::write(&marker, "x".repeat(before + 1)).expect("a mark can be made");
                IN_TURN.store(false, Ordering::SeqCst);
                if mode == "lost" {
                    refuse(id, -32002, "Session not found")
                } else {
                    refuse(id, -32603, "no")
                }
            }
            _ => return false,
        }
        true
    }

    fn wait_for_cancel(&self) {
        self.text("working");
        while !matches!(self.said.recv(), Ok(Said::Cancel) | Err(_)) {}
    }

    fn question(&self) {
        let options = "[{\"optionId\":\"yes\",\"name\":\"Yes\",\"kind\":\"allow_once\"},\
                       {\"optionId\":\"no\",\"name\":\"No\",\"kind\":\"reject_once\"}]";
        let call = "{\"toolCallId\":\"call-1\",\"title\":\"Do it\",\"kind\":\"edit\"}";
        line(&format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{QUESTION},\"method\":\"session/request_permission\",\
             \"params\":{{\"sessionId\":\"{}\",\"toolCall\":{call},\"options\":{options}}}}}",
            session()
        ));
    }

    /// Asks, and waits for the answer.
    fn ask(&self) -> String {
        self.question();
        loop {
            match self.said.recv() {
                Ok(Said::Answer(option)) => return option,
                Ok(_) => {}
                Err(_) => return "nothing".to_owned(),
            }
        }
    }

    /// Has a child that answers in our name as soon as we are dead.
    fn outlived(&self, id: &str, reason: &str) {
        let answer =
            format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{\"stopReason\":\"{reason}\"}}}}");
        let script = format!(
            "while [ \"$(ps -o ppid= -p $$ | tr -d ' ')\" = {} ]; do :; done; echo '{answer}'",
            std::process::id()
        );
        drop(Command::new("/bin/sh").args(["-c", &script]).stdin(Stdio::null()).spawn());
    }

    /// Leaves a child behind that goes on writing in our name.
    fn haunt(&self) {
        let update = update_of(&session(), &chunk("agent_message_chunk", "\"from the grave\""));
        let script = format!("while :; do echo '{update}'; sleep 0.01; done");
        drop(Command::new("/bin/sh").args(["-c", &script]).stdin(Stdio::null()).spawn());
    }

    /// Lives on without an output.
    fn close_stdout(&self) {
        let nowhere = OpenOptions::new().write(true).open("/dev/null").expect("/dev/null");
        nix::unistd::dup2_stdout(nowhere).expect("stdout");
    }
}
