//! The built-in agent without a supervisor: driven over plain pipes, by as little code as possible.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::request;
use super::has;

/// What is read at once.
const READ_BYTES: usize = 64 << 10;

/// A running agent with one session.
pub struct Agent {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    session: String,
    line: Vec<u8>,
}

/// What one prompt took.
#[derive(Debug, Clone, Copy)]
pub struct Prompted {
    /// From the prompt to the first line that the agent sent.
    pub first: Duration,
    /// From the prompt to its answer.
    pub whole: Duration,
    /// Pieces of text.
    pub n_texts: usize,
}

impl Agent {
    /// Starts one in a directory.
    pub fn start(directory: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_hobd"))
            .arg("demo-agent")
            .env_clear()
            .env("PATH", std::env::var("PATH").unwrap_or_default())
            .env("HOME", directory)
            // It remembers what was said, as it does for the daemon.
            .env("HOB_DEMO_STATE", directory.join("direct"))
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        let stdout = BufReader::with_capacity(READ_BYTES, child.stdout.take().unwrap());
        let mut agent = Self { child, stdin, stdout, session: String::new(), line: Vec::new() };
        agent.call("initialize", json!({"protocolVersion": 1, "clientCapabilities": {}}));
        let opened = agent.call("session/new", json!({"cwd": directory, "mcpServers": []}));
        agent.session = opened["sessionId"].as_str().unwrap().to_owned();
        agent
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.send(&request(method, params));
        loop {
            self.receive();
            let mut answer: Value = serde_json::from_slice(&self.line).unwrap();
            if answer.get("id").is_some() {
                assert!(answer.get("error").is_none(), "{method}: {answer:#}");
                return answer["result"].take();
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stdin.as_mut().unwrap().write_all(bytes).unwrap();
    }

    fn receive(&mut self) {
        self.line.clear();
        self.stdout.read_until(b'\n', &mut self.line).unwrap();
        assert!(!self.line.is_empty(), "the agent closed its output");
    }

    /// Runs a prompt and throws away what it says.
    pub fn prompt(&mut self, text: &str) -> Prompted {
        let prompt = json!([{"type": "text", "text": text}]);
        let line = request("session/prompt", json!({"sessionId": self.session, "prompt": prompt}));
        let begin = Instant::now();
        let (mut first, mut n_texts) = (None, 0);
        self.send(&line);
        loop {
            self.receive();
            first.get_or_insert_with(|| begin.elapsed());
            if has(&self.line, "agent_message_chunk") {
                n_texts += 1;
            } else if has(&self.line, "\"stopReason\"") {
                let whole = begin.elapsed();
                return Prompted { first: first.unwrap_or(whole), whole, n_texts };
            }
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It ends with its input; if it does not, it has no say in it.
        drop(self.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
