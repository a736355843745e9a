//! What a person sees of a turn: the answer on stdout, everything else on stderr.
//!
//! Pure: events in, pieces of text out. It knows where the cursor stands, so that the two streams
//! do not end up in one line, and that a tool's line can be finished where it was begun.

use std::collections::BTreeMap;

use crate::cli::event::EventRow;
use crate::cli::render::{self, BAD, DIM, GOOD, WARN, duration, harmless, one_line, paint};

/// The widest title of a tool, in characters.
const TITLE_WIDTH_MAX: usize = 100;

/// Goes back to the beginning of the line and clears it.
const REWRITE: &str = "\r\x1b[K";

/// A piece of text and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// To stdout.
    Out(String),
    /// To stderr.
    Err(String),
}

/// Where the cursor stands.
#[derive(Debug, PartialEq, Eq)]
enum Cursor {
    LineStart,
    /// In a line of the answer.
    InAnswer,
    /// In a line of reasoning.
    InReasoning,
    /// Behind the title of the tool call that is under way.
    BehindTool(String),
}

/// Makes text of the events of one task.
pub(super) struct Transcript {
    terminal: bool,
    /// Whether the answer goes to a terminal, which must not be steered by it.
    answers_terminal: bool,
    cursor: Cursor,
    titles: BTreeMap<String, String>,
    message: Option<String>,
    /// Whether the newest line end of the answer is ours: the agent's own would be one too many.
    ended_by_us: bool,
}

impl Transcript {
    /// `terminal`: whether stderr is one, so that what passes is worth showing; `answers_terminal`: whether
    /// stdout is one.
    pub(super) fn new(terminal: bool, answers_terminal: bool) -> Self {
        Self {
            terminal,
            answers_terminal,
            cursor: Cursor::LineStart,
            titles: BTreeMap::new(),
            message: None,
            ended_by_us: false,
        }
    }

    /// Takes an event; gives what is to be shown.
    pub(super) fn event(&mut self, event: &EventRow) -> Vec<Piece> {
        let mut out = Vec::new();
        match event.kind.as_str() {
            "text" => self.answer(event, &mut out),
            "reasoning" if self.terminal => self.reasoning(event, &mut out),
            "tool_call" | "tool_update" => self.tool(event, &mut out),
            "permission_requested" => {
                self.line(
                    paint(WARN, format_args!("? {}", one_line(event.text("title"), TITLE_WIDTH_MAX))),
                    &mut out,
                );
            }
            "permission_resolved" => {
                let option = match event.text("option") {
                    "" => "no answer",
                    option => option,
                };
                let text = format!(
                    "  {}, by {}",
                    one_line(option, TITLE_WIDTH_MAX),
                    one_line(event.text("by"), TITLE_WIDTH_MAX)
                );
                self.line(paint(DIM, text), &mut out);
            }
            "turn_started" if event.text("context") == "reset" => {
                let text = format!(
                    "! the agent forgot what was said before: {}",
                    one_line(event.text("context_lost"), usize::MAX)
                );
                self.line(paint(WARN, text), &mut out);
            }
            "notice" => self
                .line(paint(WARN, format_args!("! {}", one_line(event.text("text"), usize::MAX))), &mut out),
            // A start that has to wait for somebody else says so.
            "agent_state" if event.text("reason").starts_with("waiting_for_") => {
                let what = event.text("reason").replace('_', " ");
                self.line(paint(DIM, one_line(&what, TITLE_WIDTH_MAX)), &mut out);
            }
            "changes" => self.line(paint(DIM, changes(event)), &mut out),
            "turn_ended" => self.line(turn_ended(event), &mut out),
            // A task that ended without a turn has nothing else that says why.
            "task_state"
                if event.task_end().is_some_and(|state| state != "completed") && event.turn.is_none() =>
            {
                let reason = one_line(event.text("reason"), usize::MAX);
                self.line(paint(BAD, format_args!("{}: {reason}", event.text("to"))), &mut out);
            }
            _ => {}
        }
        out
    }

    fn answer(&mut self, event: &EventRow, out: &mut Vec<Piece>) {
        let message = event.fields.get("message").and_then(|message| message.as_str()).map(str::to_owned);
        if self.cursor != Cursor::InAnswer || message != self.message {
            self.end_line(out);
        }
        self.message = message;
        let said = event.text("text");
        let mut text = if self.answers_terminal { harmless(said) } else { said.to_owned() };
        if self.ended_by_us {
            text = text.trim_start_matches('\n').to_owned();
        }
        if text.is_empty() {
            return;
        }
        self.ended_by_us = false;
        self.cursor = if text.ends_with('\n') { Cursor::LineStart } else { Cursor::InAnswer };
        out.push(Piece::Out(text));
    }

    fn reasoning(&mut self, event: &EventRow, out: &mut Vec<Piece>) {
        if self.cursor != Cursor::InReasoning {
            self.end_line(out);
        }
        let text = harmless(event.text("text"));
        self.cursor = if text.ends_with('\n') { Cursor::LineStart } else { Cursor::InReasoning };
        out.push(Piece::Err(paint(DIM, text)));
    }

    fn tool(&mut self, event: &EventRow, out: &mut Vec<Piece>) {
        let call = event.text("call");
        if !event.text("title").is_empty() {
            self.titles.insert(call.to_owned(), one_line(event.text("title"), TITLE_WIDTH_MAX));
        }
        let title = self.titles.get(call).map_or(call, String::as_str).to_owned();
        let ended = match event.text("status") {
            "completed" => paint(GOOD, format_args!("✓ {title}")),
            "failed" => paint(BAD, format_args!("✗ {title}")),
            _ if event.kind == "tool_call" && self.terminal => {
                self.end_line(out);
                out.push(Piece::Err(paint(DIM, format_args!("· {title}"))));
                self.cursor = Cursor::BehindTool(call.to_owned());
                return;
            }
            _ => return,
        };
        if self.cursor == Cursor::BehindTool(call.to_owned()) {
            out.push(Piece::Err(REWRITE.to_owned()));
            self.cursor = Cursor::LineStart;
        }
        self.line(ended, out);
        self.titles.remove(call);
    }

    /// A whole line on stderr.
    fn line(&mut self, text: String, out: &mut Vec<Piece>) {
        self.end_line(out);
        out.push(Piece::Err(text + "\n"));
    }

    /// Ends whatever line is open, on the stream that it is open on.
    fn end_line(&mut self, out: &mut Vec<Piece>) {
        match std::mem::replace(&mut self.cursor, Cursor::LineStart) {
            Cursor::LineStart => {}
            Cursor::InAnswer => {
                self.ended_by_us = true;
                out.push(Piece::Out("\n".to_owned()));
            }
            Cursor::InReasoning | Cursor::BehindTool(_) => out.push(Piece::Err("\n".to_owned())),
        }
    }
}

/// What a turn changed, and how to see it.
fn changes(event: &EventRow) -> String {
    let files = event.fields.get("files").and_then(|files| files.as_array()).map(Vec::as_slice);
    let names: Vec<&str> =
        files.unwrap_or_default().iter().filter_map(|file| file["path"].as_str()).collect();
    let n = names.len() as u64 + event.number("omitted").unwrap_or_default();
    let what = if n == 1 { "file" } else { "files" };
    let names = one_line(&names.join(" "), TITLE_WIDTH_MAX);
    format!("changed {n} {what}: {names} (hob diff --turn {})", event.turn.as_deref().unwrap_or_default())
}

fn turn_ended(event: &EventRow) -> String {
    let outcome = event.text("outcome");
    let mut parts = vec![outcome.to_owned()];
    if let Some(ms) = event.number("duration_ms") {
        parts[0].push_str(&format!(" in {}", duration(ms)));
    }
    let usage = render::usage(&event.usage("usage"));
    if !usage.is_empty() {
        parts.push(usage);
    }
    let mut text = parts.join(" · ");
    if !event.text("error").is_empty() {
        text.push_str(&format!(": {}", one_line(event.text("error"), usize::MAX)));
    }
    paint(if outcome == "completed" { DIM } else { BAD }, text)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cli::event::tests::event;
    use crate::cli::render::plain;

    /// What a terminal shows, or what lands in a file and on stderr.
    fn told(terminal: bool, events: &[(&str, Value)]) -> (String, String) {
        let mut transcript = Transcript::new(terminal, true);
        let (mut out, mut both) = (String::new(), String::new());
        for (seq, (kind, fields)) in events.iter().enumerate() {
            for piece in transcript.event(&event(i64::try_from(seq).unwrap(), kind, fields.clone())) {
                match piece {
                    Piece::Out(text) => {
                        out.push_str(&text);
                        both.push_str(&text);
                    }
                    Piece::Err(text) => both.push_str(&text),
                }
            }
        }
        (out, plain(&both))
    }

    fn turn() -> Vec<(&'static str, Value)> {
        vec![
            ("turn_started", json!({"context": "fresh"})),
            ("reasoning", json!({"text": "I should look"})),
            ("text", json!({"text": "Let me ", "message": "m1"})),
            ("text", json!({"text": "see.", "message": "m1"})),
            ("tool_call", json!({"call": "x", "title": "Read a.txt", "status": "pending"})),
            ("tool_update", json!({"call": "x", "status": "in_progress"})),
            ("tool_update", json!({"call": "x", "status": "completed"})),
            ("tool_call", json!({"call": "y", "title": "Run rm", "status": "failed"})),
            ("permission_requested", json!({"permission": "p-1", "title": "Run ls"})),
            ("permission_resolved", json!({"permission": "p-1", "option": "allow", "by": "hob"})),
            ("text", json!({"text": "\n", "message": "m2"})),
            ("text", json!({"text": "It says hi.", "message": "m2"})),
            (
                "turn_ended",
                json!({"outcome": "completed", "duration_ms": 3200, "usage": {"input": 10, "output": 3}}),
            ),
        ]
    }

    #[test]
    fn a_file_gets_the_answer_and_nothing_else() {
        insta::assert_snapshot!(told(false, &turn()).0, @"
        Let me see.
        It says hi.
        ");
    }

    #[test]
    fn a_person_sees_what_the_agent_does_one_line_each() {
        let shown = told(true, &turn()).1.replace('\r', "\n");
        insta::assert_snapshot!(shown, @"
        I should look
        Let me see.
        · Read a.txt
        ✓ Read a.txt
        ✗ Run rm
        ? Run ls
          allow, by hob
        It says hi.
        completed in 3.2s · 10 in · 3 out
        ");
    }

    #[test]
    fn a_task_that_never_ran_says_why() {
        let mut never =
            event(1, "task_state", json!({"from": "queued", "to": "failed", "reason": "not installed"}));
        never.turn = None;
        let pieces = Transcript::new(false, false).event(&never);
        let [Piece::Err(text)] = pieces.as_slice() else { panic!("{pieces:?}") };
        assert_eq!(plain(text), "failed: not installed\n");
    }

    #[test]
    fn two_messages_do_not_run_into_each_other() {
        let events = [
            ("text", json!({"text": "one", "message": "m1"})),
            ("text", json!({"text": "two", "message": "m2"})),
        ];
        assert_eq!(told(false, &events).0, "one\ntwo");
    }
}
