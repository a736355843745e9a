//! A client of the control socket to whom it is no surprise that the daemon dies: every call says
//! whether it was answered.

use std::collections::VecDeque;
use std::fmt;
use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// A daemon that says nothing for so long hangs: longer than any wait that it is asked for.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// The connection is gone, and with it the answer.
#[derive(Debug)]
pub struct Lost;

/// What the daemon refused, with its own words.
#[derive(Debug, Clone)]
pub struct Refused {
    /// `data.kind`
    pub kind: String,
    /// What a person reads.
    pub message: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.kind, self.message)
    }
}

/// One connection.
pub struct Link {
    stream: UnixStream,
    reader: BufReader<UnixStream>,
    line: String,
    last_id: u64,
    events: VecDeque<Value>,
}

impl Link {
    /// Connects, if somebody listens.
    pub fn to(socket: &Path) -> Result<Self, Lost> {
        let stream = UnixStream::connect(socket).map_err(|_| Lost)?;
        let reader = BufReader::new(stream.try_clone().map_err(|_| Lost)?);
        Ok(Self { stream, reader, line: String::new(), last_id: 0, events: VecDeque::new() })
    }

    /// Calls a method; events that come before the answer are kept.
    pub fn call(&mut self, method: &str, params: Value) -> Result<Result<Value, Refused>, Lost> {
        self.last_id += 1;
        let request = json!({"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params});
        self.stream.write_all(format!("{request}\n").as_bytes()).map_err(|_| Lost)?;
        let until = Instant::now() + SILENCE_MAX;
        loop {
            let message = self.receive(until)?;
            let message = message.unwrap_or_else(|| panic!("no answer to {method} within {SILENCE_MAX:?}"));
            if message["method"] == "events/event" {
                self.events.push_back(message["params"]["event"].clone());
            } else if message["id"] == self.last_id {
                return Ok(match message.get("error") {
                    Some(error) => Err(Refused {
                        kind: error["data"]["kind"].as_str().unwrap_or_default().to_owned(),
                        message: error["message"].as_str().unwrap_or_default().to_owned(),
                    }),
                    None => Ok(message["result"].clone()),
                });
            }
        }
    }

    /// The next event of any subscription; `None` if there is none in that time.
    pub fn event(&mut self, within: Duration) -> Result<Option<Value>, Lost> {
        let until = Instant::now() + within;
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            match self.receive(until)? {
                Some(message) if message["method"] == "events/event" => {
                    self.events.push_back(message["params"]["event"].clone());
                }
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }

    /// One line; `None` if none came in time. Half a line is what a killed daemon leaves.
    fn receive(&mut self, until: Instant) -> Result<Option<Value>, Lost> {
        loop {
            let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            self.stream.set_read_timeout(Some(left)).map_err(|_| Lost)?;
            match self.reader.read_line(&mut self.line) {
                Ok(_) if self.line.ends_with('\n') => {
                    let message = serde_json::from_str(&self.line);
                    let message = message.unwrap_or_else(|error| panic!("{error} in {:?}", self.line));
                    self.line.clear();
                    return Ok(Some(message));
                }
                Ok(_) => return Err(Lost),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if Instant::now() >= until {
                        return Ok(None);
                    }
                }
                Err(_) => return Err(Lost),
            }
        }
    }
}
