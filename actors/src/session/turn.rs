//! The open turn: what it said, what it spent, how long it took, and which questions it has open.
//! Plain memory of the session actor; decides nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::event::{Event, PermissionOption, Scope, Usage};
use crate::health::watchdog::Stage;
use crate::id::{PermissionId, TurnId};
use crate::ports::StandingAnswer;
use crate::session::final_text::FinalText;
use crate::session::refused::Refused;

/// A question that waits for its answer.
#[derive(Debug, Clone)]
pub struct Question {
    /// The agent's number for it.
    pub number: u64,
    /// What is the like of it, for "remember".
    pub like: String,
    /// The tool kind.
    pub kind: String,
    /// The answers that the agent offers.
    pub options: Vec<PermissionOption>,
    /// When it was asked.
    pub since: Instant,
}

/// The open turn.
#[derive(Debug)]
pub struct Turn {
    /// Its id.
    pub id: TurnId,
    /// What its events are about.
    pub scope: Arc<Scope>,
    /// The number that its prompt was sent with.
    pub prompt: u64,
    /// When the prompt was sent.
    pub since: Instant,
    /// When it was answered.
    pub answered: Option<Instant>,
    /// To the first output.
    pub first_output: Option<Duration>,
    /// What the requests of the turn told one by one (qwen).
    pub spent: Usage,
    /// The questions that wait.
    pub questions: BTreeMap<PermissionId, Question>,
    /// What rules said no to.
    pub refused: Refused,
    /// When it last came forward.
    pub progress: Instant,
    /// How far the watchdog has gone.
    pub stage: Stage,
    /// The tool calls that are open, and since when.
    tools: BTreeMap<String, Instant>,
    /// What a person said for the rest of the turn, by tool kind.
    pub remembered: BTreeMap<String, StandingAnswer>,
    /// The conversation's running total of cost when the turn began, and now.
    cost: (f64, Option<f64>),
    text: FinalText,
}

impl Turn {
    /// A turn whose prompt leaves now.
    /// `cost` is what its conversation had cost before, as far as this process told.
    pub fn new(id: TurnId, scope: Arc<Scope>, prompt: u64, cost: f64, now: Instant) -> Self {
        Self {
            id,
            scope,
            prompt,
            since: now,
            answered: None,
            first_output: None,
            spent: Usage::default(),
            questions: BTreeMap::new(),
            refused: Refused::default(),
            progress: now,
            stage: Stage::Quiet,
            tools: BTreeMap::new(),
            remembered: BTreeMap::new(),
            cost: (cost, None),
            text: FinalText::default(),
        }
    }

    /// Takes note of something that the agent said in this turn.
    pub fn note(&mut self, event: &Event, now: Instant) {
        match event {
            Event::Text { text, message } => self.text.say(text, message.as_deref()),
            Event::Reasoning { .. } | Event::ToolUpdate(_) | Event::Plan { .. } => {}
            Event::ToolCall(_) => self.text.begin_anew(),
            Event::Usage(usage) => {
                self.spent.take_context(usage);
                self.cost.1 = usage.cost.or(self.cost.1);
                if usage.currency.is_some() {
                    self.spent.currency.clone_from(&usage.currency);
                }
                return;
            }
            _ => return,
        }
        self.progress = now;
        self.first_output.get_or_insert(now - self.since);
    }

    /// Keeps count of open tool calls; whether one was opened or closed.
    pub fn note_tool(&mut self, event: &Event, now: Instant) -> bool {
        let (call, status) = match event {
            Event::ToolCall(call) => (&call.call, Some(&call.status)),
            Event::ToolUpdate(update) => (&update.call, update.status.as_ref()),
            _ => return false,
        };
        let n_before = self.tools.len();
        match status.map(String::as_str) {
            Some("completed" | "failed") => drop(self.tools.remove(call)),
            // One that nobody announced is open all the same.
            _ => drop(self.tools.entry(call.clone()).or_insert(now)),
        }
        self.tools.len() != n_before
    }

    /// Since when the oldest open tool call is.
    pub fn oldest_tool(&self) -> Option<Instant> {
        self.tools.values().min().copied()
    }

    /// Since when the oldest open question is.
    pub fn oldest_question(&self) -> Option<Instant> {
        self.questions.values().map(|question| question.since).min()
    }

    /// Whether the agent produced anything for it.
    pub fn produced(&self) -> bool {
        self.first_output.is_some()
    }

    /// The agent's final message.
    pub fn final_text(&mut self) -> String {
        self.text.take()
    }

    /// What the conversation has cost so far, where the agent tells.
    pub fn cost_total(&self) -> f64 {
        self.cost.1.unwrap_or(self.cost.0)
    }

    /// What the turn cost: what the agent told with its answer, else the sum of its requests. A
    /// running total of cost (opencode) counts by how much it grew.
    pub fn usage(&self, told: Option<Usage>) -> Usage {
        let mut usage = match told {
            Some(mut told) if !told.is_empty() => {
                told.context_used = told.context_used.or(self.spent.context_used);
                told.context_size = told.context_size.or(self.spent.context_size);
                told
            }
            _ => self.spent.clone(),
        };
        if let (None, (before, Some(now))) = (usage.cost, self.cost) {
            usage.cost = Some((now - before).max(0.0));
            usage.currency.clone_from(&self.spent.currency);
        }
        usage
    }
}

/// Whether an event belongs to a turn: outside of one it is late, and is dropped.
pub fn belongs_to_turn(event: &Event) -> bool {
    matches!(
        event,
        Event::Text { .. }
            | Event::Reasoning { .. }
            | Event::ToolCall(_)
            | Event::ToolUpdate(_)
            | Event::Plan { .. }
    )
}
