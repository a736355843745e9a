//! The agent that is built in: it speaks the Agent Client Protocol over stdio, calls no model, and
//! does what the prompt says, the same each time.
//!
//! It is a program of its own (a hidden subcommand) that hob supervises like any other agent, and
//! shares nothing with the daemon but the JSON-RPC peer. `script` says what a prompt may ask for,
//! `turn` does it, `memory` keeps conversations over the end of the process.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use crate::jsonrpc::message::{INVALID_PARAMS, INVALID_REQUEST};
use crate::jsonrpc::{self, Limits, Message, Oddities, Peer, RequestId, RpcError};
use crate::sync::lock;
use memory::{Line, Memory};
use turn::Turn;

mod memory;
mod script;
mod shell;
mod tools;
mod turn;

/// Small, since hundreds of these may run: prompts are no longer than hob's own frames.
const LIMITS: Limits = Limits {
    max_frame: 16 << 20,
    inbound_bytes: 1 << 20,
    outbound_bytes: 64 << 20,
    oddities: Oddities::Keep,
};
/// There is no such conversation.
const NOT_FOUND: i64 = -32002;
/// The exit code where not even a runtime can be started.
const EXIT_FAILED: i32 = 1;

/// One conversation in this process.
struct Session {
    cwd: PathBuf,
    memory: Arc<Mutex<Memory>>,
    /// Cancels the running turn.
    running: Option<CancellationToken>,
}

/// Everything that the agent knows.
struct Agent {
    peer: Peer,
    state: Option<PathBuf>,
    sessions: BTreeMap<String, Session>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Params {
    #[serde(default)]
    session_id: String,
    #[serde(default)]
    cwd: Option<PathBuf>,
    #[serde(default)]
    prompt: Vec<Block>,
}

#[derive(Deserialize)]
struct Block {
    #[serde(default)]
    text: String,
}

/// Runs the agent until its input ends; the answer is its exit code.
pub fn main() -> i32 {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("demo-agent: {error}");
            return EXIT_FAILED;
        }
    };
    runtime.block_on(async {
        let (read, write) = jsonrpc::stdio();
        serve(read, write, memory::directory(|name| std::env::var_os(name))).await;
    });
    // A turn that still waits for something must not hold up the end.
    runtime.shutdown_background();
    0
}

/// Speaks until the input ends.
async fn serve(
    read: impl AsyncRead + Send + Unpin + 'static,
    write: impl AsyncWrite + Send + Unpin + 'static,
    state: Option<PathBuf>,
) {
    let (peer, mut inbox) = jsonrpc::start(read, write, LIMITS);
    let mut agent = Agent { peer, state, sessions: BTreeMap::new() };
    while let Some(delivery) = inbox.next().await {
        match delivery.message {
            Message::Request { id, method, params } => agent.requested(id, &method, params.as_deref()),
            Message::Notification { method, params } if method == "session/cancel" => {
                agent.cancel(params.as_deref());
            }
            Message::Bad { problem, excerpt } => eprintln!("demo-agent: {problem}: {excerpt}"),
            Message::Notification { .. } | Message::Response { .. } => {}
        }
    }
    agent.cancel_all();
}

impl Agent {
    fn requested(&mut self, id: RequestId, method: &str, params: Option<&RawValue>) {
        let raw = params.map_or("{}", RawValue::get);
        let params: Params = match serde_json::from_str(raw) {
            Ok(params) => params,
            Err(error) => {
                self.peer.refuse(&id, RpcError::new(INVALID_PARAMS, error.to_string())).ok();
                return;
            }
        };
        let answer = match method {
            "initialize" => Ok(hello()),
            "session/new" => Ok(self.new_session(params)),
            "session/load" => self.load(params),
            "session/list" => Ok(self.list(&params)),
            "session/close" => self.close(&params),
            "session/prompt" => match self.prompt(id.clone(), params) {
                Ok(()) => return,
                Err(error) => Err(error),
            },
            _ => Err(RpcError::method_not_found(method)),
        };
        // The other end is gone: so are we, soon.
        match answer {
            Ok(answer) => self.peer.respond(&id, Ok(&answer)).ok(),
            Err(error) => self.peer.refuse(&id, error).ok(),
        };
    }

    fn new_session(&mut self, params: Params) -> serde_json::Value {
        let id = format!("demo-{:016x}", fastrand::u64(..));
        let cwd = params.cwd.unwrap_or_default();
        let memory = Memory::new(self.state.as_deref(), &id, &cwd);
        let memory = Arc::new(Mutex::new(memory));
        self.sessions.insert(id.clone(), Session { cwd, memory, running: None });
        json!({ "sessionId": id })
    }

    fn load(&mut self, params: Params) -> Result<serde_json::Value, RpcError> {
        let id = params.session_id;
        let not_found = || RpcError::new(NOT_FOUND, format!("no such session: {id}"));
        let memory = Memory::open(self.state.as_deref(), &id).ok_or_else(not_found)?;
        for line in memory.lines() {
            let (kind, text) = match line {
                Line::Prompt(text) => ("user_message_chunk", text),
                Line::Answer(text) => ("agent_message_chunk", text),
            };
            turn::update(
                &self.peer,
                &id,
                &json!({
                    "sessionUpdate": kind, "content": { "type": "text", "text": text },
                }),
            );
        }
        let cwd = params.cwd.unwrap_or_else(|| memory.cwd().to_owned());
        let memory = Arc::new(Mutex::new(memory));
        self.sessions.insert(id, Session { cwd, memory, running: None });
        Ok(json!({}))
    }

    fn list(&self, params: &Params) -> serde_json::Value {
        let kept = memory::list(self.state.as_deref());
        let wanted = kept.iter().filter(|(_, cwd)| params.cwd.as_ref().is_none_or(|wanted| wanted == cwd));
        let sessions: Vec<_> = wanted.map(|(id, cwd)| json!({ "sessionId": id, "cwd": cwd })).collect();
        json!({ "sessions": sessions })
    }

    fn close(&mut self, params: &Params) -> Result<serde_json::Value, RpcError> {
        let closed = self.sessions.remove(&params.session_id).ok_or_else(|| unknown(&params.session_id))?;
        if let Some(running) = closed.running {
            running.cancel();
        }
        Ok(json!({}))
    }

    fn cancel(&self, params: Option<&RawValue>) {
        let params = params.and_then(|params| serde_json::from_str::<Params>(params.get()).ok());
        let session = params.and_then(|params| self.sessions.get(&params.session_id));
        if let Some(running) = session.and_then(|session| session.running.as_ref()) {
            running.cancel();
        }
    }

    fn cancel_all(&self) {
        for running in self.sessions.values().filter_map(|session| session.running.as_ref()) {
            running.cancel();
        }
    }

    fn prompt(&mut self, id: RequestId, params: Params) -> Result<(), RpcError> {
        let name = params.session_id;
        let session = self.sessions.get_mut(&name).ok_or_else(|| unknown(&name))?;
        // A turn that is over leaves a token behind that is cancelled.
        if session.running.as_ref().is_some_and(|running| !running.is_cancelled()) {
            return Err(RpcError::new(INVALID_REQUEST, "a turn is running"));
        }
        let text = params.prompt.into_iter().map(|block| block.text).collect::<Vec<_>>().join("\n");
        lock(&session.memory).note(Line::Prompt(text.clone()));
        let cancel = CancellationToken::new();
        session.running = Some(cancel.clone());
        let turn = Turn::new(self.peer.clone(), name, session.cwd.clone(), session.memory.clone(), cancel);
        tokio::spawn(turn.run(id, text));
        Ok(())
    }
}

fn unknown(session: &str) -> RpcError {
    RpcError::new(NOT_FOUND, format!("no such session: {session}"))
}

fn hello() -> serde_json::Value {
    json!({
        "protocolVersion": 1,
        "agentInfo": { "name": "hob-demo", "version": env!("CARGO_PKG_VERSION") },
        "agentCapabilities": {
            "loadSession": true,
            "sessionCapabilities": { "list": {}, "close": {} },
        },
        "authMethods": [],
    })
}

#[cfg(test)]
mod tests;
