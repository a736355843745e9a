//! A scripted model server: the chat completions API of OpenAI, on loopback, deterministic.
//!
//! What it answers is chosen by the prompt (see [`script`]); nothing is ever random or learned. It
//! remembers every request and how it ended, so that a test can see that a cancel reached the
//! model's connection. Requests that offer no tools are an agent's own (titles, summaries) and
//! are answered at once, so that a script never runs twice.

mod answer;
mod reading;
pub mod script;
mod tools;

use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::wait::PATIENCE;

/// The only model that it knows.
pub const MODEL_NAME: &str = "scripted";
/// Another one, which answers in the same way.
pub const OTHER_MODEL_NAME: &str = "other";

/// Large enough for the longest conversation of a test.
const REQUEST_BYTES_MAX: usize = 64 << 20;

/// One request and how it ended.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// The directive line that was obeyed.
    pub directive: Option<String>,
    /// The model that was asked for.
    pub model: String,
    /// The agent's own request: no tools were offered.
    pub aux: bool,
    /// `None` while it goes on.
    pub end: Option<End>,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Everything was sent.
    Done,
    /// An HTTP error was sent, as the script said.
    Refused,
    /// The client closed its connection before.
    ClientGone,
}

/// A running model server; dropping it ends it.
pub struct Model {
    address: SocketAddr,
    log: Log,
    serving: tokio::task::JoinHandle<()>,
}

impl Model {
    /// Starts one on a port of its own.
    pub fn start() -> Self {
        let listener = runtime().block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let log = Log::default();
        let app = Router::new()
            .route("/v1/chat/completions", post(completions))
            .route("/v1/models", get(models))
            .layer(axum::extract::DefaultBodyLimit::max(REQUEST_BYTES_MAX))
            .with_state(log.clone());
        let serving = runtime().spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, log, serving }
    }

    /// `http://127.0.0.1:PORT`, without the `/v1`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits until an exchange about `directive` is as `wanted`, and returns it.
    #[track_caller]
    pub fn wait_for(&self, directive: &str, wanted: impl Fn(&Exchange) -> bool) -> Exchange {
        let start = Instant::now();
        let mut log = self.log.lock();
        loop {
            let about = |e: &&Exchange| !e.aux && e.directive.as_deref() == Some(directive) && wanted(e);
            if let Some(found) = log.iter().find(about) {
                return found.clone();
            }
            let left = PATIENCE.checked_sub(start.elapsed());
            let left = left.unwrap_or_else(|| panic!("waited for the model to see {directive:?}: {log:#?}"));
            log = self.log.0.changed.wait_timeout(log, left).unwrap().0;
        }
    }

    /// Waits until a request with this directive has arrived.
    #[track_caller]
    pub fn wait_asked(&self, directive: &str) {
        self.wait_for(directive, |_| true);
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// All model servers of the test binary live on one thread of their own.
fn runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
    })
}

#[derive(Clone, Default)]
struct Log(Arc<Shared>);

#[derive(Default)]
struct Shared {
    exchanges: Mutex<Vec<Exchange>>,
    changed: Condvar,
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, Vec<Exchange>> {
        self.0.exchanges.lock().unwrap()
    }

    fn open(&self, exchange: Exchange) -> Open {
        let mut exchanges = self.lock();
        exchanges.push(exchange);
        self.0.changed.notify_all();
        Open { log: self.clone(), number: exchanges.len() - 1, end: End::ClientGone }
    }
}

/// An exchange that goes on. Dropped before [`Open::finish`], its client is gone.
struct Open {
    log: Log,
    number: usize,
    end: End,
}

impl Open {
    fn finish(&mut self, end: End) {
        self.end = end;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.log.lock()[self.number].end = Some(self.end);
        self.log.0.changed.notify_all();
    }
}

async fn models() -> axum::Json<Value> {
    let models =
        [MODEL_NAME, OTHER_MODEL_NAME].map(|id| json!({"id": id, "object": "model", "owned_by": "hob"}));
    axum::Json(json!({"object": "list", "data": models}))
}

async fn completions(State(log): State<Log>, axum::Json(body): axum::Json<Value>) -> Response {
    let plan = reading::Plan::of(&body);
    let open = log.open(Exchange {
        directive: plan.directive.clone(),
        model: plan.model.clone(),
        aux: plan.aux,
        end: None,
    });
    answer::answer(&body, plan, open).await.into_response()
}
