//! One opencode server: its process, its address, and who lives in it.
//!
//! ```text
//! port chosen ─▶ process ─▶ GET /global/health says so ─▶ stream read ─▶ leases
//!                   └── its end is told to every conversation
//! ```
//! **Invariant:** it ends with its last lease, and a lease is only given while it will not.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hob_actors::backoff::Cause;
use hob_actors::event::Exit;
use hob_actors::ports::StartFailed;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use super::house::House;
use super::http::{Client, HttpError, USER};
use super::hub::Hub;
use super::start::Spec;
use super::stream;
use super::version;
use super::wire::Health;
use crate::backend::acp::{NotStarted, Tail, drain, ended, not_spawned, secrets, shown, what_it_lacks};
use crate::backend::process::{ProcessHandle, SpawnRequest, Spawner};
use crate::backend::surroundings;

/// Where the password of a server stands for it, and for nobody else.
const PASSWORD: &str = "OPENCODE_SERVER_PASSWORD";
/// The name that goes with it.
const USERNAME: &str = "OPENCODE_SERVER_USERNAME";
/// How the variables begin that say how a server is reached.
const SERVER_VARIABLES: &str = "OPENCODE_SERVER_";
/// Bytes of a password before they are spelt out.
const PASSWORD_BYTES: usize = 24;
/// Between two looks whether it is ready.
const READY_EVERY: Duration = Duration::from_millis(100);
/// For the answer to one.
const READY_ANSWER_MAX: Duration = Duration::from_secs(5);
/// Looks that wait for an answer at once.
const READY_ASKED_MAX: usize = 64;
/// What it left running when it exited has this long to end before it is killed.
const LEFTOVERS_TIME_MAX: Duration = Duration::from_millis(500);
/// From KILL to an empty tree, and from there to the end of its pipes.
const REST_TIME_MAX: Duration = Duration::from_secs(5);
/// For the answer to `--version`, and the longest that is read of it, in bytes.
const VERSION_TIME_MAX: Duration = Duration::from_secs(10);
const VERSION_BYTES_MAX: u64 = 1024;
/// From an empty tree to the end of its stderr.
const TAIL_TIME_MAX: Duration = Duration::from_millis(250);
/// A server that runs.
pub(super) struct Server {
    pub(super) pid: u32,
    pub(super) port: u16,
    pub(super) client: Client,
    pub(super) hub: Arc<Hub>,
    tail: Tail,
    handle: ProcessHandle,
    pub(super) house: Mutex<House>,
    tasks: [JoinHandle<()>; 2],
    pub(super) exit: tokio::sync::watch::Receiver<Option<Exit>>,
}

/// Why a server did not come up.
pub(super) enum NotUp {
    /// Somebody else has the port by now.
    PortTaken,
    /// For another reason.
    Failed(NotStarted),
}

/// What is wrong with a server that is not ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    /// It is none that hob can drive, and never will be.
    Unfit,
    /// The same, and it does not even say which version it is.
    AnswersPages,
    /// Another start would end the same way, until something else is changed.
    ForGood,
    /// Another start may go well.
    ThisTime,
}

impl Drop for Server {
    fn drop(&mut self) {
        // With the tasks go the last handles of the process, and with them the tree.
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Binds a port of this machine for a moment, to learn of one that is free: `wanted` if it is.
pub(super) fn free_port(wanted: Option<u16>) -> std::io::Result<u16> {
    let bind = |port| TcpListener::bind(("127.0.0.1", port)).and_then(|it| it.local_addr());
    let address = wanted.and_then(|port| bind(port).ok()).map_or_else(|| bind(0), Ok)?;
    Ok(address.port())
}

/// Starts a server on that port and waits until it is ready, for as long as its start may take.
pub(super) async fn start(
    spawner: &Spawner,
    spec: &Spec,
    port: u16,
    until: Instant,
) -> Result<Arc<Server>, NotUp> {
    let failed = |message: String| {
        NotUp::Failed(NotStarted::Failed(StartFailed { cause: Cause::StartFailure, message, exit: None }))
    };
    let password = password().map_err(|error| failed(format!("no password: {error}")))?;
    let client = Client::new(port, &password).map_err(|error| failed(format!("no HTTP client: {error}")))?;
    let request = with_address(&spec.request, port, password);
    let secrets = secrets(&request.env);
    let spawned = spawner.spawn(request).await;
    let process = spawned.map_err(|error| NotUp::Failed(not_spawned(&spec.command, &error)))?;
    let tail = Tail::new(spec.stderr_tail, secrets);
    let drained = tokio::spawn(drain(process.stderr, tail.clone()));
    let heard = tokio::spawn(silence(process.stdout));
    let handle = process.handle;
    let ready = tokio::select! {
        biased;
        ready = tokio::time::timeout_at(until, until_ready(&client)) => match ready {
            Ok(Ok(())) => None,
            Ok(Err(never)) => Some(never),
            Err(_) => {
                let within = spec.start_timeout;
                Some((Wrong::ThisTime, format!("was not ready within {within:?} of its start")))
            }
        },
        _ = handle.exited() => Some((Wrong::ThisTime, String::new())),
    };
    if let Some((wrong, mut why)) = ready {
        if wrong == Wrong::AnswersPages {
            why = version::of_pages(printed_version(spawner, &spec.request).await.as_deref());
        }
        return Err(not_ready(spec, (wrong, why), (handle, tail, drained)).await);
    }
    let (tell_exit, exit) = tokio::sync::watch::channel(None);
    let hub = Arc::new(Hub::default());
    let ending = end(handle.clone(), tail.clone(), [drained, heard], hub.clone(), tell_exit);
    let tasks =
        [tokio::spawn(stream::listen(client.clone(), hub.clone(), spec.max_frame)), tokio::spawn(ending)];
    let house = Mutex::default();
    Ok(Arc::new(Server { pid: process.pid, port, client, hub, tail, handle, house, tasks, exit }))
}

/// What the program says that its version is, if it says one in time.
async fn printed_version(spawner: &Spawner, request: &SpawnRequest) -> Option<String> {
    let mut request = request.clone();
    request.args.push("--version".to_owned());
    let process = spawner.spawn(request).await.ok()?;
    let mut output = Vec::new();
    let mut stdout = process.stdout.take(VERSION_BYTES_MAX);
    let is_read = tokio::time::timeout(VERSION_TIME_MAX, stdout.read_to_end(&mut output))
        .await
        .is_ok_and(|read| read.is_ok());
    process.handle.stop(true);
    tokio::time::timeout(REST_TIME_MAX, process.handle.gone()).await.ok();
    version::printed(&String::from_utf8_lossy(&output)).filter(|_| is_read)
}

fn with_address(request: &SpawnRequest, port: u16, password: String) -> SpawnRequest {
    let mut request = request.clone();
    let serve = ["serve", "--hostname", "127.0.0.1", "--port"].map(str::to_owned);
    request.args.extend(serve.into_iter().chain([port.to_string()]));
    // Everything that says how the server is reached is ours: a name of the person's would be one that our
    // own requests do not give.
    request.env.retain(|name, _| !name.starts_with(SERVER_VARIABLES));
    request.env.insert(PASSWORD.to_owned(), password);
    request.env.insert(USERNAME.to_owned(), USER.to_owned());
    request
}

fn password() -> Result<String, getrandom::Error> {
    let mut bytes = [0; PASSWORD_BYTES];
    getrandom::fill(&mut bytes)?;
    Ok(data_encoding::HEXLOWER.encode(&bytes))
}

/// Resolves when the server says that it is ready; an error if it never will be. A request that came
/// while it started is left unanswered for long, so the next one is sent beside it.
async fn until_ready(client: &Client) -> Result<(), (Wrong, String)> {
    let mut asked = JoinSet::new();
    let mut again = tokio::time::interval(READY_EVERY);
    loop {
        tokio::select! {
            Some(answer) = asked.join_next() => {
                if let Some(verdict) = answer.ok().and_then(verdict) {
                    return verdict;
                }
            }
            _ = again.tick(), if asked.len() < READY_ASKED_MAX => {
                let client = client.clone();
                asked.spawn(async move { client.get_within("/global/health", READY_ANSWER_MAX).await });
            }
        }
    }
}

/// What an answer says for good; `None` if another may be better.
fn verdict(answer: Result<Health, HttpError>) -> Option<Result<(), (Wrong, String)>> {
    match answer {
        Ok(health) => match version::objection(&health.version) {
            Some(objection) => Some(Err((Wrong::Unfit, objection))),
            None => health.healthy.then_some(Ok(())),
        },
        Err(HttpError::Status { status: 401 | 403, .. }) => {
            Some(Err((Wrong::ForGood, format!("refuses the password that it was given in {PASSWORD}"))))
        }
        // Those of before and after answer any path with the page of their web interface.
        Err(HttpError::NotUnderstood { .. } | HttpError::Status { status: 404, .. }) => {
            Some(Err((Wrong::AnswersPages, String::new())))
        }
        Err(_) => None,
    }
}

/// Ends what was started, and says why.
async fn not_ready(
    spec: &Spec,
    (wrong, why): (Wrong, String),
    (handle, tail, drained): (ProcessHandle, Tail, JoinHandle<()>),
) -> NotUp {
    let own = tokio::time::timeout(Duration::ZERO, handle.exited()).await.ok();
    handle.stop(true);
    tokio::time::timeout(REST_TIME_MAX, handle.gone()).await.ok();
    tokio::time::timeout(TAIL_TIME_MAX, drained).await.ok();
    let exit = own.map(|raw| Exit { code: raw.code, signal: raw.signal, stderr_tail: tail.text() });
    // It says so in its own way, and never which port.
    if own.is_some() && tail.text().contains("ServeError") {
        return NotUp::PortTaken;
    }
    let what = match &exit {
        Some(exit) if why.is_empty() => format!("{} before it was ready", ended(exit)),
        _ => why,
    };
    let mut message = format!("`{} serve`: {what}", spec.command);
    if let Some(shown) = shown(&tail.text()) {
        message.push_str(&format!("; stderr: {shown}"));
    }
    message.push_str(&what_it_lacks(exit.as_ref(), &spec.request).await);
    let passes = wrong == Wrong::ThisTime && !exit.as_ref().is_some_and(surroundings::cannot_work);
    let cause = if passes { Cause::StartFailure } else { Cause::Configuration };
    let failed = StartFailed { cause, message, exit };
    NotUp::Failed(match wrong {
        Wrong::Unfit | Wrong::AnswersPages => NotStarted::Unfit(failed),
        Wrong::ForGood | Wrong::ThisTime => NotStarted::Failed(failed),
    })
}

/// Reads what nobody needs: a pipe that is not read would hold the server up.
async fn silence(mut stdout: impl AsyncRead + Unpin) {
    let mut buffer = [0; 4096];
    while matches!(stdout.read(&mut buffer).await, Ok(1..)) {}
}

/// Waits for the end of the process and of what it left running, and tells everybody.
async fn end(
    handle: ProcessHandle,
    tail: Tail,
    pipes: [JoinHandle<()>; 2],
    hub: Arc<Hub>,
    tell: tokio::sync::watch::Sender<Option<Exit>>,
) {
    let raw = handle.exited().await;
    if tokio::time::timeout(LEFTOVERS_TIME_MAX, handle.gone()).await.is_err() {
        handle.stop(true);
        handle.gone().await;
    }
    for pipe in pipes {
        tokio::time::timeout(REST_TIME_MAX, pipe).await.ok();
    }
    let exit = Exit { code: raw.code, signal: raw.signal, stderr_tail: tail.text() };
    tell.send_replace(Some(exit.clone()));
    hub.ended(&exit);
}

impl Server {
    /// The end of what it complained so far.
    pub(super) fn complaints(&self) -> String {
        self.tail.text()
    }

    /// Ends the process tree, and resolves when nothing of it is left.
    pub(super) async fn stop(&self, now: bool) -> Exit {
        self.handle.stop(now);
        let mut exit = self.exit.clone();
        // An error means that it was dropped, and the tree ended with it.
        exit.wait_for(Option::is_some).await.ok().and_then(|exit| exit.clone()).unwrap_or_default()
    }

    /// Resolves when nothing of its tree is left.
    pub(super) async fn gone(&self) {
        self.handle.gone().await;
    }
}
