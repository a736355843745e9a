//! From a fresh connection to a conversation that takes prompts: initialize, ladder, model, mode.
//!
//! Nobody else asks the inbox until it is done: an answer is acted on before what came behind it.

use std::path::PathBuf;
use std::time::Duration;

use agent_client_protocol_schema::ProtocolVersion;
use agent_client_protocol_schema::v1::{
    AGENT_METHOD_NAMES, AuthenticateRequest, Implementation, InitializeRequest, InitializeResponse,
    ListSessionsRequest, ListSessionsResponse, LoadSessionRequest, McpServer, NewSessionRequest,
    ResumeSessionRequest, SessionCapabilities,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use hob_actors::event::{Context, Event, Level};
use hob_actors::ports::{Choice, News};

use super::choose::{self, What};
use super::errors::{self, AUTH_REQUIRED};
use super::ladder::{self, Facts, Seen, Step};
use super::offers::{Offer, Offers, Setting, setting};
use super::router::Router;
use super::wire::Version;
use crate::jsonrpc::message::METHOD_NOT_FOUND;
use crate::jsonrpc::{CallError, Inbox, Peer, RpcError};

/// What we speak.
const PROTOCOL: ProtocolVersion = ProtocolVersion::V1;
/// Pages of a list of conversations that are read.
const LIST_PAGES_MAX: usize = 32;
/// A log-in that needs nobody is quick.
const AUTHENTICATE_TIME_MAX: Duration = Duration::from_secs(10);

/// Why there is no conversation.
#[derive(Debug)]
pub(super) enum Failure {
    /// The agent closed its output.
    Ended,
    /// The agent said no.
    Refused(RpcError),
    /// Another start would end the same way.
    Permanent(String),
    /// The same: a person has to log in first.
    LogIn(String),
    /// The same: it speaks no version of the protocol that we do.
    Unfit(String),
}

/// What is wanted of the conversation.
pub(super) struct Wanted {
    pub(super) cwd: PathBuf,
    /// The saved conversation.
    pub(super) resume: Option<String>,
    pub(super) has_history: bool,
    pub(super) choice: Choice,
    pub(super) mcp_servers: Vec<McpServer>,
}

/// A conversation that takes prompts.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) session: String,
    pub(super) context: Context,
    pub(super) reset: Option<String>,
    /// `session/close` is offered.
    pub(super) close: bool,
    pub(super) offers: Offers,
}

/// The parts of a connection while it is set up.
pub(super) struct Handshake {
    pub(super) peer: Peer,
    pub(super) inbox: Inbox,
    pub(super) router: Router,
    /// The method whose answer is waited for.
    pub(super) at: &'static str,
}

/// What the agent said of itself.
struct Hello {
    sessions: SessionCapabilities,
    load: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Named {
    session_id: String,
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Closed => Self::Ended,
            CallError::Rpc(error) => Self::Refused(error),
            CallError::Params(error) => Self::Permanent(error.to_string()),
        }
    }
}

impl Handshake {
    /// Opens the conversation. Dropping the future leaves the connection half-way.
    pub(super) async fn open(&mut self, wanted: &Wanted) -> Result<Opened, Failure> {
        let hello = self.initialize().await?;
        let facts = Facts {
            saved: wanted.resume.is_some(),
            has_history: wanted.has_history,
            resume: hello.sessions.resume.is_some(),
            load: hello.load,
            list: hello.sessions.list.is_some(),
        };
        let (session, offers, (context, reset)) = self.climb(wanted, facts).await?;
        self.choose(&session, &offers, wanted).await?;
        Ok(Opened { session, context, reset, close: hello.sessions.close.is_some(), offers })
    }

    /// Calls, and hears everything that comes before the answer.
    async fn call(
        &mut self,
        method: &'static str,
        params: &impl Serialize,
    ) -> Result<Box<RawValue>, Failure> {
        self.at = method;
        let id = self.peer.send_call(method, params)?;
        loop {
            let delivery = self.inbox.next().await.ok_or(Failure::Ended)?;
            match self.router.take(delivery) {
                Some((answered, result)) if answered.number() == Some(id) => {
                    return result.map_err(Failure::Refused);
                }
                // An answer to nothing, such as to a line that the agent could not read.
                Some(_) | None => {}
            }
        }
    }

    async fn initialize(&mut self) -> Result<Hello, Failure> {
        let ourselves = Implementation::new("hob", env!("CARGO_PKG_VERSION"));
        let request = InitializeRequest::new(PROTOCOL).client_info(ourselves);
        let answer = match self.call(AGENT_METHOD_NAMES.initialize, &request).await {
            Err(Failure::Refused(error)) if error.code == AUTH_REQUIRED => {
                return Err(self.log_in(&error));
            }
            Err(Failure::Refused(error)) if error.code == METHOD_NOT_FOUND => {
                return Err(Failure::Unfit("it does not speak the Agent Client Protocol".to_owned()));
            }
            answer => answer?,
        };
        check_version(&answer)?;
        let said: InitializeResponse =
            serde_json::from_str(answer.get()).unwrap_or_else(|_| InitializeResponse::new(PROTOCOL));
        let name = said.agent_info.map(|info| info.name);
        self.router.tells_in_words = errors::tells_in_words(name.as_deref());
        let capabilities = said.agent_capabilities;
        self.router.ways.learn(&answer);
        Ok(Hello { sessions: capabilities.session_capabilities, load: capabilities.load_session })
    }

    /// Climbs the ladder to a conversation: its name, what it offers, what it remembers.
    async fn climb(
        &mut self,
        wanted: &Wanted,
        facts: Facts,
    ) -> Result<(String, Offers, (Context, Option<String>)), Failure> {
        let saved = wanted.resume.clone().unwrap_or_default();
        let mut answer = RawValue::NULL.to_owned();
        let mut step = ladder::first(facts);
        let mut logged_in = false;
        loop {
            let seen = match &step {
                Step::Done(context) => {
                    return Ok((saved, Offers::from_answer(&answer), (*context, None)));
                }
                Step::New(reset) => {
                    let (session, offers) = self.new_session(wanted).await?;
                    let context = if reset.is_some() { Context::Reset } else { Context::Fresh };
                    return Ok((session, offers, (context, reset.clone())));
                }
                Step::List => self.list(wanted, &saved).await,
                Step::Resume => {
                    self.router.open(&saved);
                    let request = ResumeSessionRequest::new(saved.clone(), wanted.cwd.clone())
                        .mcp_servers(wanted.mcp_servers.clone());
                    self.call(AGENT_METHOD_NAMES.session_resume, &request).await.map(|told| {
                        answer = told;
                        Seen::Resumed
                    })
                }
                Step::Load => self.load(wanted, &saved).await.map(|(told, n_pieces)| {
                    answer = told;
                    Seen::Loaded(n_pieces)
                }),
            };
            let seen = match seen {
                Err(Failure::Refused(error)) if error.code == AUTH_REQUIRED => {
                    if logged_in {
                        return Err(self.log_in(&error));
                    }
                    self.authenticate(&error).await?;
                    logged_in = true;
                    step = ladder::first(facts);
                    continue;
                }
                Err(Failure::Refused(error)) => Seen::Refused(error.code, errors::describe(&error)),
                seen => seen?,
            };
            step = ladder::next(facts, &step, seen);
        }
    }

    async fn load(&mut self, wanted: &Wanted, saved: &str) -> Result<(Box<RawValue>, u64), Failure> {
        self.router.open(saved);
        self.router.begin_replay();
        let request = LoadSessionRequest::new(saved.to_owned(), wanted.cwd.clone())
            .mcp_servers(wanted.mcp_servers.clone());
        let answer = self.call(AGENT_METHOD_NAMES.session_load, &request).await;
        let n_pieces = self.router.end_replay();
        Ok((answer?, n_pieces))
    }

    /// Whether the agent lists the conversation.
    async fn list(&mut self, wanted: &Wanted, saved: &str) -> Result<Seen, Failure> {
        let mut cursor: Option<String> = None;
        for _ in 0..LIST_PAGES_MAX {
            let request = ListSessionsRequest::new().cwd(wanted.cwd.clone()).cursor(cursor);
            let answer = self.call(AGENT_METHOD_NAMES.session_list, &request).await?;
            let page: ListSessionsResponse = serde_json::from_str(answer.get())
                .map_err(|error| Failure::Refused(RpcError::new(0, error.to_string())))?;
            if page.sessions.iter().any(|session| &*session.session_id.0 == saved) {
                return Ok(Seen::Listed(true));
            }
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(Seen::Listed(false));
            }
        }
        // A list without an end proves nothing; the load will tell.
        Ok(Seen::Listed(true))
    }

    async fn new_session(&mut self, wanted: &Wanted) -> Result<(String, Offers), Failure> {
        self.router.close();
        let request = NewSessionRequest::new(wanted.cwd.clone()).mcp_servers(wanted.mcp_servers.clone());
        let mut answer = self.call(AGENT_METHOD_NAMES.session_new, &request).await;
        if let Err(Failure::Refused(error)) = &answer
            && error.code == AUTH_REQUIRED
        {
            self.authenticate(&error.clone()).await?;
            answer = self.call(AGENT_METHOD_NAMES.session_new, &request).await;
        }
        let answer = match answer {
            Err(Failure::Refused(error)) if error.code == AUTH_REQUIRED => {
                return Err(self.log_in(&error));
            }
            answer => answer?,
        };
        let named: Named = serde_json::from_str(answer.get())
            .map_err(|_| Failure::Refused(RpcError::new(0, "the new session has no id")))?;
        self.router.open(&named.session_id);
        Ok((named.session_id, Offers::from_answer(&answer)))
    }

    /// Logs in once, if there is a way that needs nobody.
    async fn authenticate(&mut self, error: &RpcError) -> Result<(), Failure> {
        let Some(method) = self.router.ways.unasked() else { return Err(self.log_in(error)) };
        let request = AuthenticateRequest::new(method.to_owned());
        let answer = self.call(AGENT_METHOD_NAMES.authenticate, &request);
        match tokio::time::timeout(AUTHENTICATE_TIME_MAX, answer).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(Failure::Ended)) => Err(Failure::Ended),
            Ok(Err(_)) | Err(_) => Err(self.log_in(error)),
        }
    }

    fn log_in(&self, error: &RpcError) -> Failure {
        Failure::LogIn(self.router.ways.tell(error))
    }

    /// Sets model and mode as far as the agent lets them be set; what it does not is told.
    async fn choose(&mut self, session: &str, offers: &Offers, wanted: &Wanted) -> Result<(), Failure> {
        for event in offers.clone().events() {
            self.router.tell(News::Said(event));
        }
        let Choice { model, mode } = &wanted.choice;
        if let Some(value) = model {
            self.set(session, (What::Model, value), offers.model.as_ref()).await?;
        }
        if let Some(value) = mode {
            self.set(session, (What::Mode, value), offers.mode.as_ref()).await?;
        }
        Ok(())
    }

    async fn set(
        &mut self,
        session: &str,
        (what, value): (What, &str),
        offer: Option<&Offer>,
    ) -> Result<(), Failure> {
        let setting = setting(offer, value);
        let word = what.word();
        if let Setting::NotOffered(values) = &setting {
            let offered = values.join(", ");
            self.warn(format!("the {word} `{value}` is not offered by the agent, which has: {offered}"));
        }
        let Some((method, params)) = choose::call(session, what, &setting) else { return Ok(()) };
        match self.call(method, &params).await {
            Ok(_) => {}
            Err(Failure::Refused(error)) => {
                self.warn(format!("the {word} could not be set to `{value}`: {}", errors::describe(&error)));
            }
            Err(failure) => return Err(failure),
        }
        Ok(())
    }

    fn warn(&self, text: String) {
        self.router.tell(News::Said(Event::Notice { level: Level::Warning, text }));
    }
}

fn check_version(answer: &RawValue) -> Result<(), Failure> {
    let version =
        serde_json::from_str::<Version<'_>>(answer.get()).ok().and_then(|said| said.protocol_version);
    let said = version.map_or("none", RawValue::get);
    // Goose says yes to whatever it is asked for, so this is worth little, but a no is a no.
    if said == PROTOCOL.as_u16().to_string() {
        return Ok(());
    }
    Err(Failure::Unfit(format!("it speaks version {said} of the protocol, hob speaks {PROTOCOL}")))
}

#[cfg(test)]
#[path = "handshake/tests.rs"]
mod tests;
