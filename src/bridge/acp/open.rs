//! How a client comes to know a session: what it is answered, and the history it is told first.

use agent_client_protocol_schema::v1::{LoadSessionResponse, NewSessionResponse, ResumeSessionResponse};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::chat::{Chat, Ending};
use super::error::from_hob;
use super::event::Event;
use super::note;
use crate::cli::error::CliError;
use crate::jsonrpc::RequestId;

/// Events that are read from the journal at once.
const PAGE_EVENTS: usize = 500;

/// The types that tell which questions wait.
const QUESTION_TYPES: [&str; 2] = ["permission_requested", "permission_resolved"];

/// How a session was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opened {
    /// `session/new`
    New,
    /// `session/load`: its history is told again.
    Load,
    /// `session/resume`
    Resume,
}

#[derive(Deserialize)]
struct Page {
    events: Vec<Box<RawValue>>,
    next: Option<i64>,
}

impl Chat {
    /// Takes up which questions wait.
    pub(super) async fn learn(&mut self) -> Result<(), CliError> {
        let mut after = Some(0);
        while let Some(from) = after {
            let page = self.page(from, Some(&QUESTION_TYPES)).await?;
            after = page.next;
            for text in &page.events {
                self.learn_from(text);
            }
        }
        Ok(())
    }

    /// What is later than the head will come by as an event.
    fn learn_from(&mut self, text: &RawValue) {
        let Ok(event) = Event::read(text) else { return };
        if event.seq() > self.feed.seen() {
            return;
        }
        match event.kind() {
            "permission_requested" => {
                if let Err(error) = self.questions.requested(&self.id, &event) {
                    note(format_args!("{}: not a question: {error}", self.id));
                }
            }
            "permission_resolved" => {
                self.questions.resolved(&event.text("permission"));
            }
            _ => {}
        }
    }

    /// Answers the request that opened the session; with its history told before, if it was a load.
    pub(super) async fn open(&mut self, request: &RequestId, opened: Opened) {
        if opened == Opened::Load
            && let Err(error) = self.replay().await
        {
            self.editor.refuse(request, from_hob(&error));
            if !self.is_open {
                // Nobody knows of it: it holds no seat, and the next load attaches anew.
                self.ending.get_or_insert(Ending::Gone);
            }
            return;
        }
        let (modes, options) = (self.offers.modes(), self.offers.options());
        match opened {
            Opened::New => {
                let answer = NewSessionResponse::new(self.id.clone()).modes(modes).config_options(options);
                self.editor.answer(request, Ok(&answer));
            }
            Opened::Load => {
                let answer = LoadSessionResponse::new().modes(modes).config_options(options);
                self.editor.answer(request, Ok(&answer));
            }
            Opened::Resume => {
                let answer = ResumeSessionResponse::new().modes(modes).config_options(options);
                self.editor.answer(request, Ok(&answer));
            }
        }
        self.is_open = true;
        self.ask_all();
    }

    /// Tells everything up to the last event that was seen.
    async fn replay(&mut self) -> Result<(), CliError> {
        let (mut after, until) = (Some(0), self.feed.seen());
        while let Some(from) = after.filter(|from| *from < until) {
            let page = self.page(from, None).await?;
            after = page.next;
            for text in &page.events {
                let Ok(event) = Event::read(text) else { continue };
                if event.seq() > until {
                    return Ok(());
                }
                match event.kind() {
                    "turn_started" => self.tell_prompt(&event).await,
                    // The answer says what is offered now.
                    "mode" | "models" => {}
                    _ => self.tell(&event).await,
                }
            }
        }
        Ok(())
    }

    async fn page(&self, after: i64, types: Option<&[&str]>) -> Result<Page, CliError> {
        let mut params = json!({"chat": self.id, "after": after, "limit": PAGE_EVENTS});
        if let Some(types) = types {
            params["types"] = json!(types);
        }
        self.door.call("events/list", params).await
    }
}
