//! One chat that the client is attached to: passes its events on in order, sends its prompts, and
//! relays its questions.
//!
//! ```text
//! client ──▶ Command ──▶ ┌──────┐ ──▶ task/submit, task/cancel, permission/answer
//!                        │ Chat │
//! client ◀── updates ◀── └──────┘ ◀── events, by cursor
//! ```
//! A prompt is answered when the event that ends its task comes by, so behind everything that the
//! agent said, and whatever happened to the connection meanwhile.

use std::sync::Arc;

use serde_json::json;
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::choose::Wish;
use super::door::Door;
use super::editor::Editor;
use super::error::{from_hob, unknown_session};
use super::event::Event;
use super::feed::Feed;
use super::offers::Offers;
use super::open::Opened;
use super::outcome;
use super::questions::Questions;
use super::{note, relay, update};
use crate::cli::error::CliError;
use crate::control::params::LIMIT_MAX;
use crate::control::wire::{OffersRow, TaskRow, is_terminal};
use crate::jsonrpc::{RequestId, RpcError};
use crate::store::fresh_id;

/// What a client wants of a chat.
pub(super) enum Command {
    /// Answers the request that opened the session, before anything else is told of it.
    Open(RequestId, Opened),
    /// `session/prompt`
    Prompt(RequestId, String),
    /// What is to be used from now on.
    Choose(RequestId, Wish),
    /// `session/cancel`
    Cancel,
    /// `$/cancel_request`: of a prompt, if it is one of this chat.
    CancelRequest(RequestId),
    /// `session/close`
    Close(RequestId),
    /// The answer to a question.
    Answered(String, Result<Box<RawValue>, RpcError>),
    /// The client is gone.
    End,
}

impl Command {
    /// The request that has to be answered.
    fn request(&self) -> Option<&RequestId> {
        match self {
            Self::Open(request, _)
            | Self::Prompt(request, _)
            | Self::Choose(request, _)
            | Self::Close(request) => Some(request),
            Self::Cancel | Self::CancelRequest(_) | Self::Answered(..) | Self::End => None,
        }
    }
}

/// A prompt of the client that is not answered.
struct Prompt {
    request: RequestId,
    task: String,
}

/// How a chat ends.
pub(super) enum Ending {
    /// The client is gone.
    Gone,
    /// This request wants it closed.
    Closed(RequestId),
}

/// A chat that the client is attached to.
pub(super) struct Chat {
    pub(super) id: String,
    pub(super) editor: Editor,
    pub(super) door: Arc<Door>,
    pub(super) feed: Feed,
    pub(super) offers: Offers,
    pub(super) questions: Questions,
    /// The agent that is prompted.
    pub(super) agent: String,
    /// The choice that is under way, behind those before it.
    pub(super) choosing: JoinSet<()>,
    prompts: Vec<Prompt>,
    /// When the client is asked what it was not asked yet.
    pub(super) ask_at: Option<Instant>,
    /// Whether the request that opened it is answered, so that more may be said.
    pub(super) is_open: bool,
    pub(super) ending: Option<Ending>,
}

impl Chat {
    /// Attaches to a chat, from now on.
    pub(super) async fn attach(
        editor: Editor,
        door: Arc<Door>,
        id: &str,
        agent: Option<String>,
    ) -> Result<Self, RpcError> {
        let unknown_or = |error: CliError| match error.is_not_found() {
            true => unknown_session(id),
            false => from_hob(&error),
        };
        let feed = Feed::open(door.clone(), id).await.map_err(unknown_or)?;
        let offers = door.call("chat/offers", json!({"chat": id, "agent": agent})).await;
        // The chat is there: what may be missing is the agent.
        let row: OffersRow = offers.map_err(|error| from_hob(&error))?;
        let mut chat = Self {
            id: id.to_owned(),
            editor,
            door,
            feed,
            offers: Offers::from(&row),
            questions: Questions::default(),
            agent: row.agent,
            choosing: JoinSet::new(),
            prompts: Vec::new(),
            ask_at: None,
            is_open: false,
            ending: None,
        };
        chat.learn().await.map_err(unknown_or)?;
        Ok(chat)
    }

    /// Serves the client until it is gone, closes the chat, or the chat is no more.
    pub(super) async fn run(self, mut commands: mpsc::UnboundedReceiver<Command>) {
        let (editor, id) = (self.editor.clone(), self.id.clone());
        self.serve(&mut commands).await;
        // What came while it ended.
        commands.close();
        while let Ok(late) = commands.try_recv() {
            if let Some(request) = late.request() {
                editor.refuse(request, unknown_session(&id));
            }
        }
    }

    async fn serve(mut self, commands: &mut mpsc::UnboundedReceiver<Command>) {
        let mut is_heard = true;
        loop {
            if self.prompts.is_empty()
                && let Some(ending) = self.ending.take()
            {
                return self.end(ending).await;
            }
            let needed = !self.prompts.is_empty();
            tokio::select! {
                command = commands.recv(), if is_heard => match command {
                    Some(command) => self.obey(command).await,
                    // Nobody can want more; what runs is seen to its end.
                    None => {
                        is_heard = false;
                        self.ending.get_or_insert(Ending::Gone);
                    }
                },
                () = relay::due(self.ask_at) => self.ask_all(),
                // Nothing is told of a session before the client knows it.
                event = self.feed.next(needed), if self.is_open => match event {
                    Ok(event) => self.happened(&event).await,
                    Err(error) if error.is_not_found() => return self.vanish().await,
                    Err(error) => self.fail_prompts(&from_hob(&error)),
                },
            }
        }
    }

    async fn obey(&mut self, command: Command) {
        match command {
            Command::Open(request, opened) => self.open(&request, opened).await,
            Command::Prompt(request, text) => self.prompt(request, text).await,
            Command::Choose(request, wish) => self.choose(request, wish),
            Command::Cancel => self.cancel().await,
            Command::CancelRequest(request) => {
                let task = self.prompts.iter().find(|prompt| prompt.request == request);
                if let Some(task) = task.map(|prompt| prompt.task.clone()) {
                    self.cancel_task(&task).await;
                }
            }
            Command::Close(request) => {
                self.cancel_own().await;
                self.ending = Some(Ending::Closed(request));
            }
            Command::Answered(permission, answer) => self.answered(&permission, &answer).await,
            Command::End => {
                self.cancel_own().await;
                self.ending.get_or_insert(Ending::Gone);
            }
        }
    }

    // ---- prompts

    async fn prompt(&mut self, request: RequestId, text: String) {
        // What was chosen before holds for it.
        self.chosen().await;
        // Somebody must be there to answer before the agent may ask.
        if let Err(error) = self.feed.ready().await {
            return self.editor.refuse(&request, from_hob(&error));
        }
        let params = json!({"chat": self.id, "agent": self.agent, "prompt": text, "source": "chat",
            "request_id": fresh_id("acp-")});
        match self.door.call::<TaskRow>("task/submit", params).await {
            Ok(task) => self.prompts.push(Prompt { request, task: task.id }),
            Err(error) => self.editor.refuse(&request, from_hob(&error)),
        }
    }

    /// Cancels the client's prompts; where there are none, whatever runs in the chat: a client that
    /// comes back sees a turn go on that it, or somebody else, began before.
    async fn cancel(&mut self) {
        if !self.prompts.is_empty() {
            return self.cancel_own().await;
        }
        // In the order in which a task goes through them, so that none slips by.
        for state in ["queued", "held", "dispatched", "running"] {
            let wanted = json!({"chat": self.id, "state": state, "limit": LIMIT_MAX});
            match self.door.call::<Vec<TaskRow>>("task/list", wanted).await {
                Ok(tasks) => {
                    for task in &tasks {
                        self.cancel_task(&task.id).await;
                    }
                }
                Err(error) => return note(format_args!("{}: not cancelled: {error}", self.id)),
            }
        }
    }

    async fn cancel_own(&self) {
        for prompt in &self.prompts {
            self.cancel_task(&prompt.task).await;
        }
    }

    /// Whether it runs for a prompt of this client.
    pub(super) fn is_own(&self, task: &str) -> bool {
        self.prompts.iter().any(|prompt| prompt.task == task)
    }

    pub(super) async fn cancel_task(&self, task: &str) {
        let cancelled = self.door.call::<TaskRow>("task/cancel", json!({"task": task})).await;
        if let Err(error) = cancelled {
            note(format_args!("{task}: not cancelled: {error}"));
        }
    }

    /// Answers the prompt of a task that has come to its end.
    async fn settle(&mut self, task: &str) {
        if self.prompts.iter().any(|prompt| prompt.task == task) {
            let row = self.door.call("task/show", json!({"task": task})).await;
            self.answer_prompt(task, row);
        }
    }

    fn answer_prompt(&mut self, task: &str, row: Result<TaskRow, CliError>) {
        let Some(at) = self.prompts.iter().position(|prompt| prompt.task == task) else { return };
        let answer = row.map_err(|error| from_hob(&error)).and_then(|row| outcome::answer(&row));
        let prompt = self.prompts.swap_remove(at);
        self.editor.answer(&prompt.request, answer.as_ref().map_err(Clone::clone));
    }

    /// Answers the prompts whose end was among the events that are no longer kept.
    async fn settle_all(&mut self) {
        let tasks: Vec<String> = self.prompts.iter().map(|prompt| prompt.task.clone()).collect();
        for task in tasks {
            match self.door.call::<TaskRow>("task/show", json!({"task": task})).await {
                Ok(row) if !is_terminal(&row.state) => {}
                row => self.answer_prompt(&task, row),
            }
        }
    }

    fn fail_prompts(&mut self, error: &RpcError) {
        for prompt in self.prompts.drain(..) {
            self.editor.refuse(&prompt.request, error.clone());
        }
    }

    // ---- events

    async fn happened(&mut self, text: &RawValue) {
        let Ok(event) = Event::read(text) else {
            return note(format_args!("{}: not an event: {text}", self.id));
        };
        match event.kind() {
            "permission_requested" => self.question(&event),
            "permission_resolved" => self.resolved(&event),
            "turn_started" => self.prompted(&event).await,
            "gap" => self.settle_all().await,
            _ => self.tell(&event).await,
        }
        if let Some(task) = event.ended_task() {
            self.settle(&task).await;
        }
    }

    /// Tells the client of an event that is part of the conversation.
    pub(super) async fn tell(&mut self, event: &Event<'_>) {
        if matches!(event.kind(), "mode" | "models") {
            if event.text("agent") != self.agent {
                return;
            }
            for update in self.offers.take(event) {
                if let Some(update) = update::raw(&update) {
                    self.editor.update(&self.id, &update).await;
                }
            }
        } else if let Some(update) = update::of(event, self.editor.takes_notices()) {
            self.editor.update(&self.id, &update).await;
        }
    }

    /// Tells the client of a prompt that somebody else sent.
    async fn prompted(&mut self, event: &Event<'_>) {
        let task = event.text("task");
        if !self.prompts.iter().any(|prompt| prompt.task == task) {
            self.tell_prompt(event).await;
        }
    }

    /// Tells the client of the prompt of a turn, the first time that it is tried.
    pub(super) async fn tell_prompt(&mut self, event: &Event<'_>) {
        if event.get::<u64>("attempt").is_some_and(|attempt| attempt > 1) {
            return;
        }
        let task = self.door.call::<TaskRow>("task/show", json!({"task": event.text("task")})).await;
        match task.map(|task| update::prompt(&task.prompt)) {
            Ok(Some(update)) => self.editor.update(&self.id, &update).await,
            Ok(None) => {}
            Err(error) => note(format_args!("{}: a prompt is not told: {error}", self.id)),
        }
    }

    // ---- the end

    async fn vanish(mut self) {
        self.chosen().await;
        let error = unknown_session(&self.id);
        self.fail_prompts(&error);
        if let Some(Ending::Closed(request)) = self.ending.take() {
            self.editor.refuse(&request, error);
        }
        self.leave();
    }

    async fn end(mut self, ending: Ending) {
        self.chosen().await;
        if let Ending::Closed(request) = ending {
            self.free().await;
            self.editor.answer(&request, Ok(&json!({})));
        }
        self.leave();
    }

    /// Lets the chat's agents go. One that is busy for somebody else stays.
    async fn free(&self) {
        let agent = &self.agent;
        let params = json!({"chat": self.id, "agent": agent});
        if let Err(error) = self.door.call::<serde_json::Value>("pool/evict", params).await {
            note(format_args!("{} ({agent}) is not let go: {error}", self.id));
        }
    }

    fn leave(&self) {
        self.questions.calls().into_iter().for_each(|call| self.editor.withdraw(call));
    }
}
