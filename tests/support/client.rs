//! A client of the control socket that shares nothing with the product's own, so that it can also
//! send what no well-behaved client would.

use std::collections::VecDeque;
use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::wait::PATIENCE;

/// Longer than any wait that a test asks the daemon for.
const ANSWER_WITHIN: Duration = PATIENCE.saturating_add(Duration::from_secs(15));

/// An error that the daemon answered with.
#[derive(Debug, Clone)]
pub struct RpcError {
    /// JSON-RPC error code.
    pub code: i64,
    /// `data.kind`.
    pub kind: String,
    /// What a person reads.
    pub message: String,
    /// All of `data`.
    pub data: Value,
}

impl RpcError {
    fn of(error: &Value) -> Self {
        Self {
            code: error["code"].as_i64().unwrap_or_default(),
            kind: error["data"]["kind"].as_str().unwrap_or_default().to_owned(),
            message: error["message"].as_str().unwrap_or_default().to_owned(),
            data: error["data"].clone(),
        }
    }
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {:?} {}", self.code, self.kind, self.message, self.data)
    }
}

/// One connection.
pub struct Client {
    writer: UnixStream,
    reader: BufReader<UnixStream>,
    last_id: u64,
    events: VecDeque<Value>,
}

impl Client {
    /// Connects to a socket.
    pub fn connect(socket: &Path) -> std::io::Result<Self> {
        let writer = UnixStream::connect(socket)?;
        writer.set_read_timeout(Some(ANSWER_WITHIN))?;
        writer.set_write_timeout(Some(ANSWER_WITHIN))?;
        let reader = BufReader::new(writer.try_clone()?);
        Ok(Self { writer, reader, last_id: 0, events: VecDeque::new() })
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.writer.write_all(bytes)
    }

    /// Says nothing more, and goes on listening.
    pub fn fall_silent(&self) {
        self.writer.shutdown(std::net::Shutdown::Write).unwrap();
    }

    /// The next line, or `None` when the daemon closed the connection.
    #[track_caller]
    pub fn receive(&mut self) -> Option<Value> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e} in {line:?}"))),
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => None,
            Err(e) => panic!("no answer within {ANSWER_WITHIN:?}: {e}"),
        }
    }

    /// Sends a line that is not a request of ours and returns the error that it is answered with.
    #[track_caller]
    pub fn provoke(&mut self, line: &str) -> (Value, RpcError) {
        self.send(line.as_bytes()).unwrap();
        self.send(b"\n").unwrap();
        let answer = self.receive().expect("an answer, not a closed connection");
        (answer["id"].clone(), RpcError::of(&answer["error"]))
    }

    /// Calls a method and waits for its answer; events that come before it are kept.
    #[track_caller]
    pub fn call(&mut self, method: &str, params: Value) -> Result<Value, RpcError> {
        self.last_id += 1;
        let request = json!({"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params});
        self.send(format!("{request}\n").as_bytes()).unwrap_or_else(|e| panic!("{method}: {e}"));
        loop {
            let answer =
                self.receive().unwrap_or_else(|| panic!("{method}: the daemon closed the connection"));
            if answer["method"] == "events/event" {
                self.events.push_back(answer["params"]["event"].clone());
            } else if answer["id"] == self.last_id {
                return match answer.get("error") {
                    Some(error) => Err(RpcError::of(error)),
                    None => Ok(answer["result"].clone()),
                };
            }
        }
    }

    /// The next event of any subscription, or `None` when the daemon closed the connection.
    #[track_caller]
    pub fn next_event(&mut self) -> Option<Value> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            let message = self.receive()?;
            if message["method"] == "events/event" {
                self.events.push_back(message["params"]["event"].clone());
            }
        }
    }

    /// Reads events until one is as `wanted`, and returns it.
    #[track_caller]
    pub fn event(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let event = self.next_event().expect("an event, not a closed connection");
            if wanted(&event) {
                return event;
            }
        }
    }
}
