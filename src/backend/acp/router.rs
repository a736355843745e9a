//! Turns what an agent sends into news, in order, and answers what it may not ask.
//!
//! **Invariant:** every news goes to the sink in the order in which the agent said it, and the
//! room of its frame goes with it.

use std::collections::BTreeSet;
use std::sync::Arc;

use agent_client_protocol_schema::v1::{
    CLIENT_METHOD_NAMES, RequestPermissionOutcome, RequestPermissionResponse, SelectedPermissionOutcome,
};
use serde_json::value::RawValue;
use tokio::sync::OwnedSemaphorePermit;

use hob_actors::event::{Event, Json, PermissionOption};
use hob_actors::ports::{News, NewsSink, PermissionAsk, Permit, Settled};

use super::errors::{self, AUTH_REQUIRED, NOT_FOUND};
use super::in_flight::{InFlight, Prompt};
use super::login::Ways;
use super::noise::Noise;
use super::update::{self, Announced};
use super::wire::{self, CancelRequest, PermissionParams, PromptAnswer, UpdateParams};
use crate::backend::tool_kind;
use crate::jsonrpc::message::{INVALID_PARAMS, INVALID_REQUEST};
use crate::jsonrpc::{Delivery, Message, Peer, RequestId, RpcError};

/// An agent takes a request back with this notification.
const CANCEL_REQUEST: &str = "$/cancel_request";
/// Updates that came before the answer that names their session.
const PARKED_MAX: usize = 256;
/// The same, in bytes.
const PARKED_BYTES_MAX: usize = 1 << 20;
/// How much of the beginning of a final message is looked at.
const FINAL_TEXT_BYTES: usize = 4096;

/// An answer that the router itself does not wait for.
pub(super) type Answered = (RequestId, Result<Box<RawValue>, RpcError>);

/// Hears one agent.
pub(super) struct Router {
    peer: Peer,
    sink: NewsSink,
    in_flight: Arc<InFlight>,
    /// The conversation, once it has a name.
    session: Option<String>,
    /// The pieces of an old conversation that were read back, while one is.
    replay: Option<u64>,
    parked: Vec<(String, Box<RawValue>)>,
    parked_bytes: usize,
    announced: Announced,
    noise: Noise,
    refused: BTreeSet<String>,
    final_text: FinalText,
    /// Failures are looked for in the final text.
    pub(super) tells_in_words: bool,
    /// How a person logs in to the agent.
    pub(super) ways: Ways,
    /// The agent's process is dead: who answers now is none of it.
    disbelieves: bool,
}

/// The beginning of the message that may be the last of the turn.
#[derive(Default)]
struct FinalText {
    text: String,
    message: Option<String>,
}

impl FinalText {
    fn note(&mut self, event: &Event) {
        match event {
            Event::Text { text, message } => {
                if *message != self.message {
                    self.text.clear();
                    self.message.clone_from(message);
                }
                if self.text.len() < FINAL_TEXT_BYTES {
                    self.text.push_str(text);
                }
            }
            Event::ToolCall(_) => self.text.clear(),
            _ => {}
        }
    }
}

impl Router {
    pub(super) fn new(peer: Peer, sink: NewsSink, in_flight: Arc<InFlight>) -> Self {
        Self {
            peer,
            sink,
            in_flight,
            session: None,
            replay: None,
            parked: Vec::new(),
            parked_bytes: 0,
            announced: Announced::default(),
            noise: Noise::default(),
            refused: BTreeSet::new(),
            final_text: FinalText::default(),
            tells_in_words: false,
            ways: Ways::default(),
            disbelieves: false,
        }
    }

    /// The conversation is named: updates of it are heard from here on.
    pub(super) fn open(&mut self, session: &str) {
        self.session = Some(session.to_owned());
        self.parked_bytes = 0;
        for (of, update) in std::mem::take(&mut self.parked) {
            if of == session {
                self.update(&update, None);
            }
        }
    }

    /// A conversation is about to be named by an answer: what comes before that is parked.
    pub(super) fn close(&mut self) {
        self.session = None;
    }

    /// What comes now is an old conversation being read back.
    pub(super) fn begin_replay(&mut self) {
        self.replay = Some(0);
    }

    /// How many pieces were read back.
    pub(super) fn end_replay(&mut self) -> u64 {
        self.announced.clear();
        self.replay.take().unwrap_or(0)
    }

    /// Tells something that cannot flood.
    pub(super) fn tell(&self, news: News) {
        (self.sink)(news, Permit::free());
    }

    fn tell_all(&self, news: Vec<News>, mut permit: Option<OwnedSemaphorePermit>) {
        let last = news.len().saturating_sub(1);
        for (n, news) in news.into_iter().enumerate() {
            let held = if n == last { permit.take() } else { None };
            (self.sink)(news, held.map_or_else(Permit::free, Permit::holding));
        }
    }

    /// The last lines that the agent wrote to its output and that were no messages.
    pub(super) fn last_noise(&self) -> String {
        self.noise.last_lines()
    }

    /// Tells how much noise there was that was not told of.
    pub(super) fn end_noise(&mut self) {
        for event in self.noise.rest() {
            self.tell(News::Said(event));
        }
    }

    /// Hears one message; gives back an answer to something that the router knows nothing of.
    pub(super) fn take(&mut self, delivery: Delivery) -> Option<Answered> {
        let Delivery { message, permit, is_altered } = delivery;
        if is_altered && let Some(event) = self.noise.altered() {
            self.tell(News::Said(event));
        }
        match message {
            Message::Notification { method, params } => self.notified(&method, params, permit),
            Message::Request { id, method, params } => self.requested(&id, method, params, permit),
            Message::Response { id, result } => match self.in_flight.answered(&id) {
                Some(prompt) => self.settled(prompt, result, permit),
                None => return Some((id, result)),
            },
            Message::Bad { problem, excerpt } => {
                let news = self.noise.line(problem, &excerpt).map(News::Said);
                self.tell_all(news.into_iter().collect(), Some(permit));
            }
        }
        None
    }

    // ------------------------------------------------------------------------------ told

    fn notified(&mut self, method: &str, params: Option<Box<RawValue>>, permit: OwnedSemaphorePermit) {
        let raw = params.as_deref().unwrap_or(RawValue::NULL);
        if method == CLIENT_METHOD_NAMES.session_update {
            let Ok(params) = serde_json::from_str::<UpdateParams<'_>>(raw.get()) else {
                return self.unknown(method, raw, permit);
            };
            match &self.session {
                Some(session) if *session == params.session_id => self.update(params.update, Some(permit)),
                Some(_) => tracing::debug!(session = %params.session_id, "update of another session dropped"),
                None => self.park(&params),
            }
        } else if method == CANCEL_REQUEST {
            let asked = serde_json::from_str::<CancelRequest<'_>>(raw.get()).ok();
            if let Some(number) = asked.and_then(|asked| self.in_flight.withdrawn(asked.request_id.get())) {
                self.tell(News::Withdrew(number));
            }
        } else {
            self.unknown(method, raw, permit);
        }
    }

    /// What no part of hob understands is kept as it came.
    fn unknown(&self, method: &str, params: &RawValue, permit: OwnedSemaphorePermit) {
        let Ok(name) = serde_json::to_string(method) else { return };
        let update = Json::from_valid(format!("{{\"method\":{name},\"params\":{}}}", params.get()));
        self.tell_all(vec![News::Said(Event::Raw { update })], Some(permit));
    }

    /// Goose tells of a session before it answers what its name is. Parked updates give their room
    /// back: the answer lies behind them.
    fn park(&mut self, params: &UpdateParams<'_>) {
        let n_bytes = params.update.get().len();
        if self.parked.len() < PARKED_MAX && self.parked_bytes + n_bytes <= PARKED_BYTES_MAX {
            self.parked_bytes += n_bytes;
            self.parked.push((params.session_id.to_string(), params.update.to_owned()));
        }
    }

    fn update(&mut self, raw: &RawValue, permit: Option<OwnedSemaphorePermit>) {
        let mut read = update::read(raw, &mut self.announced);
        if let Some(n_pieces) = &mut self.replay {
            *n_pieces += u64::from(read.is_history);
            read.news.retain(|news| matches!(news, News::Said(event) if outlives_replay(event)));
        }
        for news in &read.news {
            if let News::Said(event) = news {
                self.final_text.note(event);
            }
        }
        self.tell_all(read.news, permit);
    }

    /// Nothing that is answered from now on is the agent's: how the turn ends is told by its process.
    pub(super) fn disbelieve(&mut self) {
        self.disbelieves = true;
    }

    fn settled(
        &mut self,
        prompt: Prompt,
        result: Result<Box<RawValue>, RpcError>,
        permit: OwnedSemaphorePermit,
    ) {
        self.end_noise();
        self.announced.clear();
        let last = std::mem::take(&mut self.final_text);
        if self.disbelieves {
            return;
        }
        if let Err(error) = &result
            && error.code == AUTH_REQUIRED
        {
            let news = News::LogIn { prompt: prompt.number, why: self.ways.tell(error) };
            return self.tell_all(vec![news], Some(permit));
        }
        if let Err(error) = &result
            && error.code == NOT_FOUND
        {
            let news = News::Lost { prompt: prompt.number, why: errors::describe(error) };
            return self.tell_all(vec![news], Some(permit));
        }
        let (result, usage) = match result {
            Ok(raw) => {
                let answer = serde_json::from_str::<PromptAnswer>(raw.get()).unwrap_or_default();
                (self.stop_reason(answer.stop_reason, &last.text), answer.usage)
            }
            Err(error) => (Err(errors::describe(&error)), None),
        };
        // Of a cancelled turn opencode tells zeros and goose the turn before, as it does of a turn
        // that failed.
        let usage = usage.filter(|_| !prompt.cancelled && result.is_ok()).map(Into::into);
        let settled = Settled { prompt: prompt.number, result, usage };
        self.tell_all(vec![News::Settled(settled)], Some(permit));
    }

    fn stop_reason(&self, told: Option<String>, last_text: &str) -> Result<String, String> {
        let reason = told.ok_or("the agent answered the prompt without a stop reason")?;
        match errors::told_in_words(&reason, last_text).filter(|_| self.tells_in_words) {
            Some(failure) => Err(failure),
            None => Ok(reason),
        }
    }

    // ------------------------------------------------------------------------------ asked

    fn requested(
        &mut self,
        id: &RequestId,
        method: String,
        params: Option<Box<RawValue>>,
        permit: OwnedSemaphorePermit,
    ) {
        if method == CLIENT_METHOD_NAMES.session_request_permission {
            let raw = params.as_deref().unwrap_or(RawValue::NULL);
            if let Err(error) = self.permission(id, raw, permit) {
                self.peer.refuse(id, error).ok();
            }
            return;
        }
        // Asked for although never offered (opencode asks for fs/write_text_file): no news.
        self.peer.refuse(id, RpcError::method_not_found(&method)).ok();
        if self.refused.len() < PARKED_MAX && self.refused.insert(method.clone()) {
            tracing::debug!(method, "request of an agent refused");
        }
    }

    fn permission(
        &mut self,
        id: &RequestId,
        raw: &RawValue,
        permit: OwnedSemaphorePermit,
    ) -> Result<(), RpcError> {
        let params: PermissionParams<'_> = serde_json::from_str(raw.get())
            .map_err(|error| RpcError::new(INVALID_PARAMS, format!("not a permission request: {error}")))?;
        if self.session.as_deref() != Some(&*params.session_id) {
            return Err(RpcError::new(INVALID_PARAMS, "no such session"));
        }
        if params.options.is_empty() {
            return Err(RpcError::new(INVALID_PARAMS, "no options to choose from"));
        }
        let number = self
            .in_flight
            .ask(id)
            .ok_or_else(|| RpcError::new(INVALID_REQUEST, "too many open questions"))?;
        let mut news = Vec::new();
        if self.announced.get(&params.tool_call.tool_call_id).is_none() {
            // Qwen asks before it announces.
            let announcement = self.announced.announce(&params.tool_call);
            self.final_text.note(&announcement);
            news.push(News::Said(announcement));
        }
        news.push(News::Asked(number, self.question(params)));
        self.tell_all(news, Some(permit));
        Ok(())
    }

    fn question(&self, params: PermissionParams<'_>) -> PermissionAsk {
        let tool = params.tool_call;
        let (title, announced_kind) = self.announced.get(&tool.tool_call_id).cloned().unwrap_or_default();
        // Goose announces with a name, and asks with `other`.
        let kind = match tool.inferred_kind() {
            tool_kind::OTHER => announced_kind,
            kind => kind.to_owned(),
        };
        let options = params
            .options
            .into_iter()
            .map(|choice| PermissionOption {
                name: choice.name.unwrap_or_else(|| choice.option_id.clone()),
                kind: choice.kind.unwrap_or_default(),
                id: choice.option_id,
            })
            .collect();
        PermissionAsk {
            title: fuller(tool.title, title),
            kind,
            options,
            input: wire::json(tool.raw_input),
            content: wire::json_list(tool.content),
            call: Some(tool.tool_call_id),
        }
    }
}

/// The title that says more: goose announces `write · a.txt` and asks for `write`.
fn fuller(asked: Option<String>, announced: String) -> String {
    asked.filter(|asked| !announced.contains(asked.as_str())).unwrap_or(announced)
}

/// What holds for the present although it comes while the past is read back.
fn outlives_replay(event: &Event) -> bool {
    matches!(event, Event::Commands { .. } | Event::Mode { .. } | Event::Models { .. } | Event::Usage(_))
}

/// Answers a question: with one of its options, or "cancelled".
pub(super) fn answer(peer: &Peer, id: &RequestId, option: Option<String>) {
    let outcome = match option {
        Some(option) => RequestPermissionOutcome::Selected(SelectedPermissionOutcome::new(option)),
        None => RequestPermissionOutcome::Cancelled,
    };
    // An agent that is gone needs no answer.
    peer.respond(id, Ok(&RequestPermissionResponse::new(outcome))).ok();
}

#[cfg(test)]
#[path = "router/tests.rs"]
mod tests;
