//! `hob acp`: an agent of the Agent Client Protocol on stdio, whose sessions are chats of the
//! daemon.
//!
//! ```text
//! editor ──stdio──▶ Bridge ──▶ Chat, one for each session ──▶ Door ──socket──▶ hobd
//!                     │           ▲ Feed: its events, by cursor ◀──────────────┘
//!                     └── answers what needs no chat
//! ```
//! A chat has everything that must last: what was said, what runs, what is asked. So the bridge can
//! die and come back, and the daemon as well.
//!
//! **Invariant:** every request that was taken is answered before the connection ends, and a
//! prompt is answered behind everything that its turn said.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::future::Future;
use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::cli::context::Ctx;
use crate::cli::error::CliError;
use crate::jsonrpc::{self, Limits, Message, Oddities, RequestId, RpcError};
use crate::sync::lock;
use chat::Command;
use door::Door;
use editor::Editor;
use open::Opened;

mod chat;
mod choose;
mod content;
mod door;
mod editor;
mod error;
mod event;
mod feed;
mod hello;
mod offers;
mod open;
mod outcome;
mod params;
mod questions;
mod relay;
mod sessions;
mod update;

/// The bounds of the connection to the client. It sends prompts, and answers to questions.
const LIMITS: Limits = Limits {
    max_frame: 64 << 20,
    inbound_bytes: 96 << 20,
    outbound_bytes: 256 << 20,
    oddities: Oddities::Keep,
};
/// How long what runs may take to be cancelled and answered when the client is gone.
const END_TIMEOUT: Duration = Duration::from_secs(12);
/// How long the last answers may take to be written.
const LAST_WORD_TIMEOUT: Duration = Duration::from_secs(1);

/// What the person wants of the bridge.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The agent that is prompted.
    pub agent: Option<String>,
    /// The session that new chats are made in.
    pub session: Option<String>,
}

/// The bridge between one client and the daemon.
struct Bridge {
    editor: Editor,
    door: Arc<Door>,
    options: Options,
    /// The chats that the client is attached to.
    chats: Mutex<BTreeMap<String, mpsc::UnboundedSender<Command>>>,
    attaching: tokio::sync::Mutex<()>,
    /// Everything that is under way.
    work: Mutex<JoinSet<()>>,
}

/// Serves the client on stdio until it is gone, or a signal comes.
///
/// # Errors
/// The signals of this process cannot be received.
pub async fn run(ctx: Ctx, options: Options) -> Result<(), CliError> {
    let mut signals = Signals::new()?;
    let (read, write) = jsonrpc::stdio();
    let (peer, mut inbox) = jsonrpc::start(read, write, LIMITS);
    let bridge = Arc::new(Bridge {
        editor: Editor::new(peer),
        door: Arc::new(Door::new(ctx)),
        options,
        chats: Mutex::default(),
        attaching: tokio::sync::Mutex::default(),
        work: Mutex::default(),
    });
    loop {
        tokio::select! {
            delivery = inbox.next() => match delivery {
                Some(delivery) => bridge.take(delivery.message),
                None => break,
            },
            () = bridge.editor.gone() => break,
            () = signals.any() => break,
        }
    }
    bridge.end().await;
    Ok(())
}

/// Tells the person beside the protocol. Nobody there to read it is no error.
fn note(text: impl Display) {
    writeln!(std::io::stderr(), "hob acp: {text}").ok();
}

/// The signals that ask for an end.
struct Signals([Signal; 3]);

impl Signals {
    fn new() -> std::io::Result<Self> {
        let [term, int, hup] =
            [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
        Ok(Self([term?, int?, hup?]))
    }

    async fn any(&mut self) {
        let [term, int, hup] = &mut self.0;
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
            _ = hup.recv() => {}
        }
    }
}

impl Bridge {
    fn take(self: &Arc<Self>, message: Message) {
        match message {
            Message::Request { id, method, params } => {
                self.editor.begin(&id);
                self.requested(id, &method, params);
            }
            Message::Notification { method, params } => {
                if let Err(error) = self.notified(&method, params.as_deref()) {
                    note(format_args!("{method}: {error}"));
                }
            }
            Message::Response { id, result } => {
                // One that is late answers a question that is settled.
                let Some(asked) = self.editor.answered(&id) else { return };
                if let Some(chat) = self.chat(&asked.chat) {
                    chat.send(Command::Answered(asked.permission, result)).ok();
                }
            }
            Message::Bad { problem, excerpt } => note(format_args!("{problem} is ignored: {excerpt}")),
        }
    }

    fn requested(self: &Arc<Self>, id: RequestId, method: &str, params: Option<Box<RawValue>>) {
        let me = self.clone();
        match method {
            "session/new" => self.spawn(me.new_session(id, params)),
            "session/load" => self.spawn(me.known_session(id, Opened::Load, params)),
            "session/resume" => self.spawn(me.known_session(id, Opened::Resume, params)),
            "session/list" => self.spawn(me.list_sessions(id, params)),
            "session/close" => self.spawn(me.close_session(id, params)),
            "session/prompt" => {
                if let Err(error) = self.prompt(&id, params.as_deref()) {
                    self.editor.refuse(&id, error);
                }
            }
            _ if choose::METHODS.contains(&method) => {
                if let Err(error) = self.choose(&id, method, params.as_deref()) {
                    self.editor.refuse(&id, error);
                }
            }
            _ => match hello::answer(&self.editor, method, params.as_deref()) {
                Ok(answer) => self.editor.answer(&id, Ok(&answer)),
                Err(error) => self.editor.refuse(&id, error),
            },
        }
    }

    fn notified(&self, method: &str, raw: Option<&RawValue>) -> Result<(), RpcError> {
        match method {
            "session/cancel" => {
                let params: params::OfSession = params::read(raw)?;
                let chat = self.chat(&params.session_id);
                let chat = chat.ok_or_else(|| error::unknown_session(&params.session_id))?;
                chat.send(Command::Cancel).map_err(|_| error::unknown_session(&params.session_id))
            }
            "$/cancel_request" => {
                let params: params::CancelRequest = params::read(raw)?;
                let id = RequestId::from(params.request_id);
                for chat in lock(&self.chats).values() {
                    chat.send(Command::CancelRequest(id.clone())).ok();
                }
                Ok(())
            }
            // Of those that begin so, the protocol says that anybody may ignore them.
            _ if method.starts_with("$/") => Ok(()),
            _ => Err(RpcError::method_not_found(method)),
        }
    }

    /// `session/prompt`: goes to its chat in the order in which it came.
    fn prompt(&self, id: &RequestId, raw: Option<&RawValue>) -> Result<(), RpcError> {
        let params: params::Prompt = params::read(raw)?;
        let unknown = || error::unknown_session(&params.session_id);
        let chat = self.chat(&params.session_id).ok_or_else(unknown)?;
        let text = content::text(&params.prompt)?;
        chat.send(Command::Prompt(id.clone(), text)).map_err(|_| unknown())
    }

    /// The way to a chat that the client is attached to.
    fn chat(&self, id: &str) -> Option<mpsc::UnboundedSender<Command>> {
        lock(&self.chats).get(id).filter(|commands| !commands.is_closed()).cloned()
    }

    fn insert(&self, id: &str, commands: mpsc::UnboundedSender<Command>) {
        lock(&self.chats).insert(id.to_owned(), commands);
    }

    fn remove(&self, id: &str) -> Option<mpsc::UnboundedSender<Command>> {
        lock(&self.chats).remove(id)
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut under_way = lock(&self.work);
        while under_way.try_join_next().is_some() {}
        under_way.spawn(work);
    }

    /// Cancels what runs for the client, and answers everything.
    async fn end(&self) {
        self.door.end();
        for chat in lock(&self.chats).values() {
            chat.send(Command::End).ok();
        }
        let mut under_way = std::mem::take(&mut *lock(&self.work));
        let all = async { while under_way.join_next().await.is_some() {} };
        if tokio::time::timeout(END_TIMEOUT, all).await.is_err() {
            note("what runs did not end in time; the daemon goes on with it");
        }
        self.editor.refuse_open(&error::ending());
        self.editor.close();
        tokio::time::timeout(LAST_WORD_TIMEOUT, self.editor.gone()).await.ok();
    }
}
