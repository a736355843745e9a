//! The official SDK's client of the Model Context Protocol, at the other end of `hob mcp`.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CallToolResult, ClientRequest, ProgressNotificationParam,
    ServerResult, Tool,
};
use rmcp::service::{NotificationContext, PeerRequestOptions, RequestHandle, RunningService};
use rmcp::transport::TokioChildProcess;
use rmcp::{ClientHandler, RoleClient, ServiceError, ServiceExt};
use serde_json::Value;
use tokio::runtime::Runtime;

use super::home::Home;
use super::wait::{PATIENCE, until};

/// How long the program may take to end when its client goes away.
const END_WITHIN: Duration = Duration::from_secs(20);

/// A client that remembers what it is told while it waits.
pub struct McpClient {
    runtime: Runtime,
    service: Option<RunningService<RoleClient, Listener>>,
    told: Arc<Mutex<Vec<String>>>,
}

struct Listener(Arc<Mutex<Vec<String>>>);

impl ClientHandler for Listener {
    async fn on_progress(&self, told: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        self.0.lock().unwrap().push(told.message.unwrap_or_default());
    }
}

/// A call that is under way.
pub struct Calling(RequestHandle<RoleClient>);

impl McpClient {
    /// Starts `hob mcp` in a directory, and greets it.
    #[track_caller]
    pub fn start(home: &Home, directory: &Path, arguments: &[&str]) -> Self {
        let mut command: Command = home.hob_command(arguments);
        command.arg("mcp").current_dir(directory);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let listener = Listener(told.clone());
        let service = runtime.block_on(async {
            let child = TokioChildProcess::new(tokio::process::Command::from(command)).unwrap();
            tokio::time::timeout(PATIENCE, listener.serve(child)).await.unwrap().unwrap()
        });
        Self { runtime, service: Some(service), told }
    }

    fn service(&self) -> &RunningService<RoleClient, Listener> {
        self.service.as_ref().expect("not ended")
    }

    /// Every tool that is offered.
    #[track_caller]
    pub fn tools(&self) -> Vec<Tool> {
        self.runtime.block_on(self.service().list_all_tools()).unwrap()
    }

    /// Calls a tool, and waits for what it answers.
    #[track_caller]
    pub fn call(&self, tool: &str, arguments: Value) -> Result<CallToolResult, ServiceError> {
        let answer = self.service().call_tool(params(tool, arguments));
        self.runtime.block_on(async { tokio::time::timeout(PATIENCE, answer).await.unwrap() })
    }

    /// Calls a tool that must succeed: its text and its fields.
    #[track_caller]
    pub fn ok(&self, tool: &str, arguments: Value) -> (String, Value) {
        let result = self.call(tool, arguments).unwrap_or_else(|e| panic!("{tool}: {e}"));
        assert_eq!(result.is_error, Some(false), "{tool}: {result:#?}");
        read(result)
    }

    /// Calls a tool that must fail in a way that the model is told of: its text and its fields.
    #[track_caller]
    pub fn fails(&self, tool: &str, arguments: Value) -> (String, Value) {
        let result = self.call(tool, arguments).unwrap_or_else(|e| panic!("{tool}: {e}"));
        assert_eq!(result.is_error, Some(true), "{tool}: {result:#?}");
        read(result)
    }

    /// Begins to call a tool.
    #[track_caller]
    pub fn begin(&self, tool: &str, arguments: Value) -> Calling {
        let request = ClientRequest::CallToolRequest(CallToolRequest::new(params(tool, arguments)));
        let sent = self.service().send_cancellable_request(request, PeerRequestOptions::no_options());
        Calling(self.runtime.block_on(sent).unwrap())
    }

    /// Cancels a call.
    #[track_caller]
    pub fn cancel(&self, calling: Calling) {
        self.runtime.block_on(calling.0.cancel(Some("of the test".into()))).unwrap();
    }

    /// Waits for the answer to a call.
    #[track_caller]
    pub fn finish(&self, calling: Calling) -> CallToolResult {
        let answer = async { tokio::time::timeout(PATIENCE, calling.0.await_response()).await };
        match self.runtime.block_on(answer).unwrap().unwrap() {
            ServerResult::CallToolResult(result) => result,
            other => panic!("not the result of a tool: {other:#?}"),
        }
    }

    /// What was told so far of calls that are under way.
    pub fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }

    /// Waits until this was told.
    #[track_caller]
    pub fn wait_told(&self, line: &str) {
        until(&format!("{line:?} to be told"), || self.told().iter().any(|told| told == line).then_some(()));
    }

    /// Goes away, as a client does that is closed.
    pub fn end(mut self) {
        self.leave();
    }

    fn leave(&mut self) {
        if let Some(service) = self.service.take() {
            let left = async { tokio::time::timeout(END_WITHIN, service.cancel()).await };
            self.runtime.block_on(left).expect("`hob mcp` ends with its client").unwrap();
        }
    }
}

impl Drop for McpClient {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.leave();
        }
    }
}

fn params(tool: &str, arguments: Value) -> CallToolRequestParams {
    let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
    CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments)
}

fn read(result: CallToolResult) -> (String, Value) {
    let texts = result.content.iter().filter_map(|content| content.as_text());
    let text = texts.map(|content| content.text.as_str()).collect::<Vec<_>>().join("\n");
    (text, result.structured_content.unwrap_or_default())
}
