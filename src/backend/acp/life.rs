//! A running agent: the handle that the session holds, and the task that hears it to its end.
//!
//! ```text
//! reading ── end of output ──▶ still alive after a moment? Hung ──┐
//!    │                                                            ▼
//!    └── the process exits ──▶ leftovers ended ──▶ tree gone ──▶ rest read ──▶ Exited
//! ```
//! **Invariant:** `Exited` is the last news, told once, when nothing is left of the tree and
//! everything that it wrote was heard. The task ends with the handle, and with it every end of the
//! process's pipes.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use agent_client_protocol_schema::v1::{
    AGENT_METHOD_NAMES, CancelNotification, CloseSessionRequest, PromptRequest,
};
use futures_util::FutureExt;
use futures_util::future::{Fuse, FusedFuture};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use hob_actors::event::Exit;
use hob_actors::ports::{
    Agent, Choice, FailureClass, News, NewsSink, NotChosen, Permit, ProbeFailed, Settled,
};

use super::choose::Settable;
use super::in_flight::InFlight;
use super::router::{self, Router};
use super::stderr::Tail;
use crate::backend::process::{ProcessHandle, has_ended};
use crate::jsonrpc::{CallError, Inbox, Message, Peer};

/// Asks an agent for a sign of life. Known agents answer "method not found", at no cost and in
/// every state (docs/agents.md).
const PING: &str = "_hob/ping";
/// An agent that closed a pipe has this long to exit before it counts as hung.
const HUNG_AFTER: Duration = Duration::from_secs(1);
/// What an agent left running when it exited has this long to end before it is killed.
const LEFTOVERS_TIME_MAX: Duration = Duration::from_millis(500);
/// From an empty tree to the end of its pipes.
const REST_TIME_MAX: Duration = Duration::from_secs(5);
/// An agent has this long to close its session when it is stopped.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(1);
/// From the end of its input to TERM. Two of the known agents exit by themselves within 165 ms,
/// and take their tools with them, which TERM would make them leave behind.
const EOF_TIME_MAX: Duration = Duration::from_millis(300);

/// The parts of an agent that runs.
pub(super) struct Life {
    pub(super) router: Router,
    pub(super) inbox: Inbox,
    pub(super) peer: Peer,
    pub(super) handle: ProcessHandle,
    pub(super) tail: Tail,
    pub(super) pid: u32,
    pub(super) drain: JoinHandle<()>,
    pub(super) sink: NewsSink,
}

/// From the end of a process to our hearing of it.
const EXIT_TOLD_WITHIN: Duration = Duration::from_secs(1);

/// The handle of a running agent. Dropping it ends the process tree.
pub struct AcpAgent {
    peer: Peer,
    sink: NewsSink,
    in_flight: Arc<InFlight>,
    settable: Arc<Settable>,
    session: String,
    /// `session/close` is offered.
    close: bool,
    handle: ProcessHandle,
    stopping: Arc<AtomicBool>,
    exit: watch::Receiver<Option<Exit>>,
    tail: Tail,
    life: JoinHandle<()>,
}

impl AcpAgent {
    /// Begins to hear the agent.
    pub(super) fn begin(life: Life, in_flight: Arc<InFlight>, settable: Settable, close: bool) -> Self {
        let (exited, exit) = watch::channel(None);
        let stopping = Arc::new(AtomicBool::new(false));
        Self {
            peer: life.peer.clone(),
            sink: life.sink.clone(),
            in_flight,
            session: settable.session.clone(),
            settable: Arc::new(settable),
            close,
            handle: life.handle.clone(),
            stopping: stopping.clone(),
            exit,
            tail: life.tail.clone(),
            life: tokio::spawn(life.run(exited, stopping)),
        }
    }
}

impl Drop for AcpAgent {
    fn drop(&mut self) {
        // With the task go the last handles of the process, and with them the tree.
        self.life.abort();
    }
}

impl Agent for AcpAgent {
    fn prompt(&self, number: u64, text: &str) {
        let request = PromptRequest::new(self.session.clone(), vec![text.into()]);
        crash_point!("prompt.unsent");
        let sent = self
            .in_flight
            .prompt(number, || self.peer.send_call(AGENT_METHOD_NAMES.session_prompt, &request));
        crash_point!("prompt.sent");
        if let Err(error) = sent {
            let result = Err(format!("the prompt could not be sent: {error}"));
            (self.sink)(News::Settled(Settled { prompt: number, result, usage: None }), Permit::free());
        }
    }

    fn cancel(&self) {
        // With nothing running it would hit the next prompt.
        if self.in_flight.cancel() {
            let cancel = CancelNotification::new(self.session.clone());
            self.peer.notify(AGENT_METHOD_NAMES.session_cancel, &cancel).ok();
            crash_point!("cancel.sent");
        }
    }

    fn answer(&self, question: u64, option: Option<String>) {
        if let Some(id) = self.in_flight.settle(question) {
            router::answer(&self.peer, &id, option);
            crash_point!("answer.given");
        }
    }

    fn choose(&self, asked: &Choice) -> Pin<Box<dyn Future<Output = Result<(), NotChosen>> + Send>> {
        let (settable, peer, sink) = (self.settable.clone(), self.peer.clone(), self.sink.clone());
        let asked = asked.clone();
        Box::pin(async move { settable.choose(&peer, &sink, &asked).await })
    }

    fn ping(&self) -> Pin<Box<dyn Future<Output = Result<(), ProbeFailed>> + Send>> {
        let (peer, stopping) = (self.peer.clone(), self.stopping.clone());
        Box::pin(async move {
            let asked = async { peer.call(PING, &serde_json::Map::new()).await };
            let answer = tokio::select! {
                biased;
                answer = asked => answer,
                // We do not read, because the disk does not keep up with what it says: nothing
                // that is missing is the agent's fault, and it talks.
                () = peer.held_up() => return Ok(()),
                // What it does not read any more it will not answer.
                () = peer.closed() => Err(CallError::Closed),
            };
            match answer {
                // Nobody knows the method, and only who lives can say so.
                Ok(_) | Err(CallError::Rpc(_)) => Ok(()),
                // We closed its input: that is how its end begins, and no sign of ill health.
                Err(_) if stopping.load(Ordering::Acquire) => Ok(()),
                Err(CallError::Closed | CallError::Params(_)) => Err(ProbeFailed {
                    class: FailureClass::Refused,
                    message: "the agent closed a pipe and lives on".to_owned(),
                }),
            }
        })
    }

    fn stderr_tail(&self) -> String {
        self.tail.text()
    }

    fn stop(&self, now: bool) -> Pin<Box<dyn Future<Output = Exit> + Send>> {
        let first = !self.stopping.swap(true, Ordering::AcqRel);
        let (peer, handle, mut exit) = (self.peer.clone(), self.handle.clone(), self.exit.clone());
        let close = (self.close && first && !now).then(|| CloseSessionRequest::new(self.session.clone()));
        Box::pin(async move {
            let orderly = async {
                if let Some(request) = close {
                    let closing = peer.call(AGENT_METHOD_NAMES.session_close, &request);
                    // Courtesy: what comes of it changes nothing.
                    tokio::time::timeout(CLOSE_TIME_MAX, closing).await.ok();
                }
                peer.close();
                tokio::time::timeout(EOF_TIME_MAX, handle.exited()).await.ok();
            };
            if first && !now {
                orderly.await;
            }
            if first || now {
                handle.stop(now);
            }
            // An error means that the handle was dropped, and the tree ended with it.
            exit.wait_for(Option::is_some).await.ok().and_then(|exit| exit.clone()).unwrap_or_default()
        })
    }
}

impl Life {
    async fn run(self, exited: watch::Sender<Option<Exit>>, stopping: Arc<AtomicBool>) {
        let Self { mut router, mut inbox, peer, pid, handle, tail, drain, sink } = self;
        let mut reading = pin!(read(&mut inbox, &mut router, (pid, &handle)).fuse());
        let closed = tokio::select! {
            biased;
            () = &mut reading => Some("closed its output"),
            () = peer.closed() => Some("closed its input"),
            _ = handle.exited() => None,
        };
        if let Some(what) = closed {
            let exit = tokio::time::timeout(HUNG_AFTER, handle.exited());
            let exits = beside(reading.as_mut(), exit).await.is_ok();
            if !exits && !stopping.load(Ordering::Acquire) {
                sink(News::Hung(format!("the agent {what} and lives on")), Permit::free());
            }
        }
        let raw = beside(reading.as_mut(), end(&handle)).await;
        if !reading.is_terminated() {
            tokio::time::timeout(REST_TIME_MAX, reading.as_mut()).await.ok();
        }
        tokio::time::timeout(REST_TIME_MAX, drain).await.ok();
        let exit = Exit { code: raw.code, signal: raw.signal, stderr_tail: tail.text() };
        exited.send_replace(Some(exit.clone()));
        crash_point!("agent.exited");
        sink(News::Exited(exit), Permit::free());
    }
}

/// Hears the agent until it closes its output.
async fn read(inbox: &mut Inbox, router: &mut Router, (pid, handle): (u32, &ProcessHandle)) {
    while let Some(delivery) = inbox.next().await {
        if matches!(delivery.message, Message::Response { .. }) && died(pid, handle).await {
            router.disbelieve();
        }
        // What is left are answers to nothing.
        if let Some((id, _)) = router.take(delivery) {
            tracing::debug!(?id, "an agent answered what nobody asked");
        }
    }
    router.end_noise();
}

/// Whether the agent's own process was killed, or failed: what still answers then is something that it
/// left behind. One that ended well may have answered before.
async fn died(pid: u32, handle: &ProcessHandle) -> bool {
    if !has_ended(pid) {
        return false;
    }
    let raw = tokio::time::timeout(EXIT_TOLD_WITHIN, handle.exited()).await;
    raw.is_ok_and(|raw| raw.code != Some(0))
}

/// Waits for the exit, and for the end of what the agent left running.
pub(in crate::backend) async fn end(handle: &ProcessHandle) -> crate::backend::process::RawExit {
    let raw = handle.exited().await;
    if tokio::time::timeout(LEFTOVERS_TIME_MAX, handle.gone()).await.is_err() {
        handle.stop(true);
        handle.gone().await;
    }
    raw
}

/// Does `work` while reading goes on, as far as there is anything to read.
pub(in crate::backend) async fn beside<T>(
    mut reading: Pin<&mut Fuse<impl Future<Output = ()>>>,
    work: impl Future<Output = T>,
) -> T {
    let mut work = pin!(work);
    loop {
        if reading.is_terminated() {
            return work.await;
        }
        tokio::select! {
            done = &mut work => return done,
            () = reading.as_mut() => {}
        }
    }
}
