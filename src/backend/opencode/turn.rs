//! One turn as an opencode server tells it: what is new in each event, and when it is over. Pure.
//!
//! A turn is over when the session is idle and its last message is complete or failed. Neither
//! alone will do: after an abort the session is idle before the message is, and between two
//! requests to the model a message is complete while the session goes on.
//!
//! ```text
//! events ──hear──▶ news                      gap in the stream ──▶ pieces under way: unsure
//! messages as written down ──catch_up──▶ the news that was missed (an unsure piece comes whole
//!                                         with its end, never twice)
//! ```
//! **Invariant:** no word is told twice, and none is lost that the server has written down.

use std::collections::{BTreeMap, BTreeSet};

use hob_actors::event::{Event, PlanEntry, Usage};
use hob_actors::ports::News;

use super::ears::Heard;
use super::tools::{self, Told};
use super::wire::{CURRENCY, Failure, Message, Part, Status, Todo};

/// What an abort leaves as the error of a message.
const ABORTED: &str = "MessageAbortedError";
/// So often the server is asked before a turn is given up that it says nothing of.
const UNKNOWN_MAX: u32 = 4;

/// A turn that is under way.
#[derive(Debug)]
pub(super) struct Turn {
    /// The number of the prompt.
    pub(super) number: u64,
    /// The id of our message, by which the server knows the prompt.
    pub(super) prompt: String,
    idle: bool,
    failed: Option<String>,
    /// The messages that answer the prompt, the last of which decides.
    answers: BTreeSet<String>,
    last: Option<Message>,
    pieces: BTreeMap<String, Piece>,
    /// Readings of what was written down that did not say what became of the turn.
    n_unknown: u32,
    spent: Usage,
    context: Option<u64>,
}

/// A piece of an answer, and how much of it was told.
#[derive(Debug, Default)]
struct Piece {
    kind: Kind,
    message: String,
    n_told: usize,
    /// Something may have been missed: told on when it is complete.
    unsure: bool,
    is_over: bool,
    tool: Told,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Kind {
    #[default]
    Other,
    Text,
    Reasoning,
    Tool,
    Step,
}

/// How a turn ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct End {
    /// The stop reason, or what went wrong.
    pub(super) result: Result<String, String>,
    /// What stood in the context window last.
    pub(super) context: Option<u64>,
    /// What its requests cost.
    pub(super) spent: Usage,
}

/// What the server has written down of a session.
pub(super) struct Record<'a> {
    /// Whether the session is at rest.
    pub(super) idle: bool,
    /// The last messages, oldest first, with their pieces.
    pub(super) messages: &'a [(Message, Vec<Part>)],
}

impl Turn {
    pub(super) fn new(number: u64, prompt: String) -> Self {
        Self {
            number,
            prompt,
            idle: false,
            failed: None,
            answers: BTreeSet::new(),
            last: None,
            pieces: BTreeMap::new(),
            n_unknown: 0,
            spent: Usage::default(),
            context: None,
        }
    }

    /// Hears an event of the turn's session.
    pub(super) fn hear(&mut self, heard: &Heard) -> Vec<News> {
        match heard {
            Heard::Status(status) => self.status(status),
            Heard::Failed(failure) => {
                self.failed = Some(words(failure));
                Vec::new()
            }
            Heard::Message(message) => {
                self.message(message);
                Vec::new()
            }
            Heard::Part(part) => self.part(part),
            Heard::Delta { part, text } => self.delta(part, text),
            Heard::Todos(todos) => vec![News::Said(plan(todos))],
            Heard::Asks(_) | Heard::Questions(_) | Heard::Answered(_) => Vec::new(),
        }
    }

    fn status(&mut self, status: &Status) -> Vec<News> {
        self.idle = status.kind == "idle";
        if status.kind != "retry" {
            return Vec::new();
        }
        let why = status.message.clone().unwrap_or_else(|| "the model did not answer".to_owned());
        let n = status.attempt.unwrap_or(1);
        let text = format!("opencode tries the model again (attempt {n}): {why}");
        vec![News::Said(Event::Notice { level: hob_actors::event::Level::Warning, text })]
    }

    fn message(&mut self, message: &Message) {
        // Ids sort in the order of making: older ones are of turns before.
        if message.role != "assistant" || message.id < self.prompt {
            return;
        }
        self.answers.insert(message.id.clone());
        if self.last.as_ref().is_none_or(|last| last.id <= message.id) {
            self.last = Some(message.clone());
        }
    }

    fn part(&mut self, part: &Part) -> Vec<News> {
        if !self.answers.contains(&part.message) {
            return Vec::new();
        }
        let piece = self.pieces.entry(part.id.clone()).or_default();
        if piece.kind == Kind::Other {
            piece.kind = Kind::of(&part.kind);
            piece.message.clone_from(&part.message);
        }
        match piece.kind {
            Kind::Text | Kind::Reasoning => {
                let is_complete = part.time.as_ref().is_none_or(|time| time.end.is_some());
                if piece.unsure && !is_complete {
                    return Vec::new();
                }
                piece.is_over = is_complete;
                let text = part.text.as_deref().unwrap_or_default();
                let rest = text.get(piece.n_told..).unwrap_or_default().to_owned();
                piece.tell(rest)
            }
            Kind::Tool => tools::events(part, &mut piece.tool).into_iter().map(News::Said).collect(),
            Kind::Step if !piece.is_over => {
                piece.is_over = true;
                self.step(part)
            }
            Kind::Step | Kind::Other => Vec::new(),
        }
    }

    /// A request to the model came to its end.
    fn step(&mut self, part: &Part) -> Vec<News> {
        let Some(tokens) = &part.tokens else { return Vec::new() };
        self.context = tokens.context().or(self.context);
        let usage = tokens.usage(part.cost);
        self.spent.add(&usage);
        vec![News::Spent(usage)]
    }

    fn delta(&mut self, part: &str, text: &str) -> Vec<News> {
        match self.pieces.get_mut(part) {
            Some(piece) if !piece.unsure && !piece.is_over => piece.tell(text.to_owned()),
            // It was not announced, or something before it was missed: its end brings all of it.
            Some(_) => Vec::new(),
            None => {
                self.pieces.insert(part.to_owned(), Piece { unsure: true, ..Piece::default() });
                Vec::new()
            }
        }
    }

    /// The stream had a gap: of what was under way something may be missing.
    pub(super) fn missed_something(&mut self) {
        for piece in self.pieces.values_mut().filter(|piece| !piece.is_over) {
            piece.unsure = true;
        }
    }

    /// Puts what the server has written down beside what was heard.
    pub(super) fn catch_up(&mut self, record: &Record<'_>) -> Vec<News> {
        let mut news = Vec::new();
        let mut is_known = false;
        let prompt = self.prompt.clone();
        for (message, parts) in record.messages.iter().filter(|(message, _)| message.id >= prompt) {
            is_known |= message.id == self.prompt;
            self.message(message);
            for part in parts {
                news.extend(self.part(part));
            }
        }
        self.idle = record.idle;
        if self.idle && self.end().is_none() {
            self.n_unknown += 1;
            if self.n_unknown >= UNKNOWN_MAX {
                let what = match (is_known, &self.last) {
                    (false, _) => "opencode does not know the prompt",
                    (true, None) => "opencode did not answer the prompt",
                    (true, Some(_)) => "opencode stopped in the middle of its answer",
                };
                self.failed.get_or_insert_with(|| what.to_owned());
            }
        } else {
            self.n_unknown = 0;
        }
        news
    }

    /// Whether the session rests although the turn is not over: then what is written down must say
    /// what became of it.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.idle && self.end().is_none()
    }

    /// How the turn ended, if it did.
    pub(super) fn end(&self) -> Option<End> {
        if !self.idle {
            return None;
        }
        let result = match &self.last {
            Some(Message { error: Some(failure), .. }) => self.failure(failure),
            Some(message) if message.time.as_ref().is_some_and(|time| time.completed.is_some()) => {
                Ok(stop_reason(message.finish.as_deref()))
            }
            // Given up, or it failed before there was an answer.
            _ => Err(self.failed.clone().filter(|_| self.last.is_none() || self.n_unknown >= UNKNOWN_MAX)?),
        };
        Some(End { result, context: self.context, spent: self.spent.clone() })
    }

    fn failure(&self, failure: &Failure) -> Result<String, String> {
        if failure.name == ABORTED { Ok("cancelled".to_owned()) } else { Err(words(failure)) }
    }

    /// The model that answered last: its provider and its own id.
    pub(super) fn model(&self) -> Option<(String, String)> {
        let last = self.last.as_ref()?;
        Some((last.provider.clone()?, last.model.clone()?))
    }
}

impl Kind {
    fn of(kind: &str) -> Self {
        match kind {
            "text" => Self::Text,
            "reasoning" => Self::Reasoning,
            "tool" => Self::Tool,
            "step-finish" => Self::Step,
            _ => Self::Other,
        }
    }
}

impl Piece {
    fn tell(&mut self, text: String) -> Vec<News> {
        if text.is_empty() {
            return Vec::new();
        }
        self.n_told += text.len();
        let message = Some(self.message.clone());
        vec![News::Said(match self.kind {
            Kind::Reasoning => Event::Reasoning { text, message },
            _ => Event::Text { text, message },
        })]
    }
}

/// The protocol's word for why a message ended.
pub(in crate::backend) fn stop_reason(finish: Option<&str>) -> String {
    match finish {
        // A rejected permission ends the turn with the tools still to be called.
        Some("stop" | "tool-calls" | "unknown") | None => "end_turn".to_owned(),
        Some("length") => "max_tokens".to_owned(),
        Some("content-filter") => "refusal".to_owned(),
        Some(other) => other.to_owned(),
    }
}

fn words(failure: &Failure) -> String {
    let said = failure.data.as_ref().and_then(|data| data.message.as_deref()).unwrap_or_default();
    match (failure.name.as_str(), said) {
        ("", "") => "opencode failed and did not say why".to_owned(),
        (name, "") => name.to_owned(),
        ("", said) => said.to_owned(),
        (name, said) => format!("{name}: {said}"),
    }
}

fn plan(todos: &[Todo]) -> Event {
    let line = |todo: &Todo| PlanEntry {
        content: todo.content.clone(),
        status: todo.status.clone(),
        priority: todo.priority.clone(),
    };
    Event::Plan { entries: todos.iter().map(line).collect() }
}

/// The figures that a turn ends with.
pub(super) fn figures(end: &End, context_size: Option<u64>, cost_total: f64) -> Event {
    Event::Usage(Usage {
        context_used: end.context,
        context_size,
        cost: Some(cost_total),
        currency: Some(CURRENCY.to_owned()),
        ..Usage::default()
    })
}

#[cfg(test)]
#[path = "turn/tests.rs"]
mod tests;
