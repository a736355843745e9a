//! An ACP client for `hob acp`: plain lines of JSON over its stdio, so that it can also send what
//! no well-behaved client would.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use agent_client_protocol_schema::v1 as acp;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::home::Home;
use super::wait::{PATIENCE, until, within};

/// An error that a request was answered with.
#[derive(Debug, Clone, PartialEq)]
pub struct Refused {
    /// JSON-RPC error code.
    pub code: i64,
    /// What a person reads.
    pub message: String,
    /// All of `data`.
    pub data: Value,
}

/// The answer of a request.
pub type Answer = Result<Value, Refused>;

/// A bridge, and the client at its stdio.
pub struct Editor {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<Value>,
    stderr: Arc<Mutex<String>>,
    last_id: u64,
    /// The methods of the requests, the first of which has the id 1.
    methods: Vec<String>,
    answers: Vec<(u64, Answer)>,
    /// Every `session/update` so far: the session, and the update.
    pub updates: Vec<(String, Value)>,
    /// Questions that were asked and not yet looked at.
    questions: VecDeque<Value>,
    /// The ids of the requests that were taken back.
    pub withdrawn: Vec<Value>,
}

impl Editor {
    /// Starts `hob acp` with these arguments.
    pub fn start(home: &Home, arguments: &[&str]) -> Self {
        let mut all = vec!["acp"];
        all.extend(arguments);
        let mut command = home.hob_command(&all);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let message = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e} in {line:?}"));
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let (stderr, said) = (BufReader::new(child.stderr.take().unwrap()), Arc::new(Mutex::default()));
        let into: Arc<Mutex<String>> = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                into.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        let stdin = child.stdin.take();
        Self {
            child,
            stdin,
            lines,
            stderr: said,
            last_id: 0,
            methods: Vec::new(),
            answers: Vec::new(),
            updates: Vec::new(),
            questions: VecDeque::new(),
            withdrawn: Vec::new(),
        }
    }

    /// The same, and says hello.
    pub fn greeted(home: &Home, arguments: &[&str]) -> Self {
        let mut editor = Self::start(home, arguments);
        editor.call("initialize", json!({"protocolVersion": 1, "clientCapabilities": {}})).unwrap();
        editor
    }

    /// Sends a line as it is.
    pub fn send_line(&mut self, line: &str) {
        self.stdin.as_mut().expect("an open stdin").write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Sends a notification.
    pub fn notify(&mut self, method: &str, params: Value) {
        self.send_line(&json!({"jsonrpc": "2.0", "method": method, "params": params}).to_string());
    }

    /// Sends a request, and returns its id.
    pub fn request(&mut self, method: &str, params: Value) -> u64 {
        self.last_id += 1;
        let id = self.last_id;
        self.methods.push(method.to_owned());
        self.send_line(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string());
        id
    }

    /// Sends a request and waits for its answer.
    #[track_caller]
    pub fn call(&mut self, method: &str, params: Value) -> Answer {
        let id = self.request(method, params);
        self.wait(id)
    }

    /// Waits for the answer of a request.
    #[track_caller]
    pub fn wait(&mut self, id: u64) -> Answer {
        self.pump(&format!("the answer to request {id}"), |me| {
            let at = me.answers.iter().position(|(answered, _)| *answered == id)?;
            Some(me.answers.swap_remove(at).1)
        })
    }

    /// Makes a session in a directory, and returns its id.
    #[track_caller]
    pub fn session(&mut self, cwd: &str) -> String {
        let made = self.call("session/new", json!({"cwd": cwd, "mcpServers": []})).unwrap();
        made["sessionId"].as_str().unwrap().to_owned()
    }

    /// Sends a prompt, and returns the id of the request.
    pub fn submit(&mut self, session: &str, text: &str) -> u64 {
        let prompt = json!([{"type": "text", "text": text}]);
        self.request("session/prompt", json!({"sessionId": session, "prompt": prompt}))
    }

    /// Runs a prompt to its end; the answer.
    #[track_caller]
    pub fn prompt(&mut self, session: &str, text: &str) -> Answer {
        let id = self.submit(session, text);
        self.wait(id)
    }

    /// Runs a prompt that must complete; what the agent said.
    #[track_caller]
    pub fn ask(&mut self, session: &str, text: &str) -> String {
        self.updates.clear();
        let answer = self.prompt(session, text).unwrap_or_else(|e| panic!("{text:?}: {e:?}"));
        assert_eq!(answer["stopReason"], "end_turn", "{text:?}: {answer}");
        self.said(session, "agent_message_chunk")
    }

    /// The text of all chunks of a kind in a session.
    pub fn said(&self, session: &str, kind: &str) -> String {
        let own = self.updates.iter().filter(|(id, update)| id == session && update["sessionUpdate"] == kind);
        own.filter_map(|(_, update)| update["content"]["text"].as_str()).collect()
    }

    /// The kinds of the updates of a session, in order, each once in a row.
    pub fn kinds(&self, session: &str) -> Vec<String> {
        let own = self.updates.iter().filter(|(id, _)| id == session);
        let mut kinds: Vec<String> =
            own.map(|(_, update)| update["sessionUpdate"].as_str().unwrap().to_owned()).collect();
        kinds.dedup();
        kinds
    }

    /// Waits until an update is as wanted.
    #[track_caller]
    pub fn wait_update(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) {
        self.pump(what, |me| me.updates.iter().any(|(_, update)| wanted(update)).then_some(()));
    }

    /// Waits until the agent has said exactly this in a session.
    #[track_caller]
    pub fn wait_said(&mut self, session: &str, text: &str) {
        self.pump(text, |me| (me.said(session, "agent_message_chunk") == text).then_some(()));
    }

    /// Waits for a question, and returns the whole request.
    #[track_caller]
    pub fn question(&mut self) -> Value {
        self.pump("a question", |me| me.questions.pop_front())
    }

    /// How many questions came that nobody has looked at.
    pub fn n_questions(&self) -> usize {
        self.questions.len()
    }

    /// Answers a question with the option of this kind.
    pub fn choose(&mut self, question: &Value, kind: &str) {
        let options = question["params"]["options"].as_array().unwrap();
        let option = options.iter().find(|option| option["kind"] == kind);
        let option = option.unwrap_or_else(|| panic!("no {kind} in {question:#}"))["optionId"].clone();
        self.answer(question, json!({"outcome": {"outcome": "selected", "optionId": option}}));
    }

    /// Answers a question with this result.
    pub fn answer(&mut self, question: &Value, result: Value) {
        self.send_line(&json!({"jsonrpc": "2.0", "id": question["id"], "result": result}).to_string());
    }

    /// Waits until a question is taken back.
    #[track_caller]
    pub fn wait_withdrawn(&mut self, question: &Value) {
        self.pump("the question to be taken back", |me| me.withdrawn.contains(&question["id"]).then_some(()));
    }

    /// Waits until it said this on stderr.
    #[track_caller]
    pub fn wait_says(&self, word: &str) {
        until(&format!("{word:?} on stderr"), || self.stderr.lock().unwrap().contains(word).then_some(()));
    }

    /// Takes in what comes until there is something to show.
    #[track_caller]
    fn pump<T>(&mut self, what: &str, mut look: impl FnMut(&mut Self) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => panic!("waited {PATIENCE:?} for {what}: {}", self.state()),
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("hob acp ended before {what}: {}", self.state())
                }
            }
        }
    }

    fn state(&self) -> String {
        format!("updates {:?}\nstderr {}", self.updates, self.stderr.lock().unwrap())
    }

    fn take(&mut self, message: Value) {
        match message["method"].as_str() {
            Some("session/update") => {
                check_update(&message["params"]);
                let session = message["params"]["sessionId"].as_str().unwrap().to_owned();
                self.updates.push((session, message["params"]["update"].clone()));
            }
            Some("session/request_permission") => {
                check::<acp::RequestPermissionRequest>(&message["params"]);
                self.questions.push_back(message);
            }
            Some("$/cancel_request") => self.withdrawn.push(message["params"]["requestId"].clone()),
            Some(other) => panic!("hob acp calls {other}: {message}"),
            None => {
                let error = &message["error"];
                let answer = match error {
                    Value::Null => Ok(message["result"].clone()),
                    _ => Err(Refused {
                        code: error["code"].as_i64().unwrap(),
                        message: error["message"].as_str().unwrap().to_owned(),
                        data: error["data"].clone(),
                    }),
                };
                let id = message["id"].as_u64().unwrap();
                if let Ok(result) = &answer {
                    check_result(&self.methods[id as usize - 1], result);
                }
                self.answers.push((id, answer));
            }
        }
    }

    /// Closes its stdin, as an editor does that ends.
    pub fn hang_up(&mut self) {
        self.stdin = None;
    }

    /// The process of the bridge.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends the bridge the way a crash would.
    pub fn sigkill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until the bridge has ended by itself, and says how.
    #[track_caller]
    pub fn wait_end(&mut self, limit: Duration) -> ExitStatus {
        let child = &mut self.child;
        within(limit, "hob acp to end", || child.try_wait().unwrap())
    }
}

impl Drop for Editor {
    fn drop(&mut self) {
        // Gone already, as a rule.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// What is sent must be what the protocol's own types can read.
#[track_caller]
fn check<T: DeserializeOwned>(value: &Value) {
    if let Err(error) = serde_json::from_value::<T>(value.clone()) {
        panic!("{error} in {value:#}");
    }
}

#[track_caller]
fn check_update(params: &Value) {
    // The test that sends it says what it wants to see of it.
    if params["update"]["sessionUpdate"] != "from_the_future" {
        check::<acp::SessionNotification>(params);
    }
}

#[track_caller]
fn check_result(method: &str, result: &Value) {
    match method {
        "initialize" => check::<acp::InitializeResponse>(result),
        "session/new" => check::<acp::NewSessionResponse>(result),
        "session/load" => check::<acp::LoadSessionResponse>(result),
        "session/resume" => check::<acp::ResumeSessionResponse>(result),
        "session/list" => check::<acp::ListSessionsResponse>(result),
        "session/close" => check::<acp::CloseSessionResponse>(result),
        "session/prompt" => check::<acp::PromptResponse>(result),
        "session/set_mode" => check::<acp::SetSessionModeResponse>(result),
        "session/set_config_option" => check::<acp::SetSessionConfigOptionResponse>(result),
        // The schema does not know it any more.
        "session/set_model" => assert_eq!(*result, serde_json::json!({})),
        other => panic!("{other} was answered with {result:#}"),
    }
}
