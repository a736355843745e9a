//! One connection: requests in, answers out of order, subscriptions beside them.
//!
//! **Invariant:** a request that was begun is carried to its end, whatever becomes of its client;
//! only waits and subscriptions end with the connection.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use hob_actors::id::AgentKey;
use serde_json::value::RawValue;
use tokio::net::UnixStream;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::admission::{Place, Service};
use super::audience::Pin;
use super::dispatch;
use super::error::{Kind, RpcFailure};
use super::handlers::Call;
use super::peer_check::Standing;
use super::server::Server;
use super::subscribe::{Subscription, WINDOW_BYTES};
use super::watched::{StreamEnd, Watched};
use crate::jsonrpc::{self, Delivery, Inbox, Limits, Message, Oddities, Peer, Problem, RequestId};
use crate::sync::lock;

/// Requests of one connection that are worked on at once; more are read when one is done.
const REQUESTS_MAX: usize = 64;
/// Waits of one connection at once; more are refused, since waiting for one could take for ever.
const WAITS_MAX: usize = 256;
/// Subscriptions of one connection.
const SUBSCRIPTIONS_MAX: usize = 64;
/// Pins of one connection.
const PINS_MAX: usize = 1024;
/// How long a client has to read what was still queued when its connection ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(10);

/// One client, as its requests see it.
pub(super) struct Connection {
    /// Sends to it.
    pub peer: Peer,
    /// What it may do.
    pub standing: Standing,
    /// What the connection is good for.
    pub service: Service,
    /// What it calls itself.
    name: Mutex<Option<String>>,
    subscriptions: Mutex<BTreeMap<String, JoinHandle<()>>>,
    /// They end with the connection.
    pins: Mutex<BTreeMap<AgentKey, Pin>>,
    next_subscription: AtomicU64,
    /// The longest notification so far, in bytes: notifications that wait are not answers.
    pub(super) longest_notification: Arc<AtomicUsize>,
    max_frame: usize,
    max_backlog: usize,
    is_cut_off: AtomicBool,
}

impl Connection {
    /// What the client calls itself, if it said.
    pub(super) fn name(&self) -> Option<String> {
        lock(&self.name).clone()
    }

    /// Remembers what the client calls itself.
    pub(super) fn set_name(&self, name: String) {
        *lock(&self.name) = Some(name);
    }

    /// A name for a new subscription.
    pub(super) fn new_subscription(&self) -> String {
        format!("e-{}", self.next_subscription.fetch_add(1, Ordering::Relaxed))
    }

    /// Begins to serve a subscription.
    pub(super) fn subscribe(
        &self,
        subscription: Subscription,
        store: crate::store::Store,
    ) -> Result<(), RpcFailure> {
        let mut subscriptions = lock(&self.subscriptions);
        subscriptions.retain(|_, served| !served.is_finished());
        if subscriptions.len() >= SUBSCRIPTIONS_MAX {
            let message = format!("a connection has at most {SUBSCRIPTIONS_MAX} subscriptions");
            return Err(RpcFailure::overloaded(message).hint("events/unsubscribe"));
        }
        let id = subscription.id.clone();
        subscriptions.insert(id, tokio::spawn(subscription.run(store)));
        Ok(())
    }

    /// Ends a subscription. False if there is none of that name.
    pub(super) fn unsubscribe(&self, id: &str) -> bool {
        match lock(&self.subscriptions).remove(id) {
            Some(served) => {
                served.abort();
                true
            }
            None => false,
        }
    }

    /// Keeps a pin for as long as the connection lives; one for each agent session.
    pub(super) fn pin(&self, key: AgentKey, pin: impl FnOnce() -> Pin) -> Result<(), RpcFailure> {
        let mut pins = lock(&self.pins);
        if pins.len() >= PINS_MAX && !pins.contains_key(&key) {
            let message = format!("a connection has at most {PINS_MAX} pins");
            return Err(RpcFailure::overloaded(message).hint("pool/unpin"));
        }
        pins.entry(key).or_insert_with(pin);
        Ok(())
    }

    /// Gives a pin back.
    pub(super) fn unpin(&self, key: &AgentKey) {
        lock(&self.pins).remove(key);
    }

    fn drop_pins(&self) {
        lock(&self.pins).clear();
    }

    fn take_subscriptions(&self) -> BTreeMap<String, JoinHandle<()>> {
        std::mem::take(&mut *lock(&self.subscriptions))
    }

    fn respond(&self, id: &RequestId, result: Result<Box<RawValue>, RpcFailure>) {
        let result = result.and_then(|answer| {
            if answer.get().len() > self.max_frame {
                let message =
                    format!("the answer has {} bytes, more than a line may have", answer.get().len());
                return Err(RpcFailure::refused(message).hint("ask for less, with `limit`"));
            }
            Ok(answer)
        });
        let not_answers = WINDOW_BYTES + self.longest_notification.load(Ordering::Relaxed);
        if self.peer.backlog().saturating_sub(not_answers) > self.max_backlog {
            if !self.is_cut_off.swap(true, Ordering::Relaxed) {
                tracing::info!(client = self.name(), "a client that does not read its answers was cut off");
                self.peer.abort();
            }
            return;
        }
        // A client that is gone needs no answer.
        match result {
            Ok(answer) => self.peer.respond(id, Ok(&answer)).ok(),
            Err(failure) => self.peer.refuse(id, failure.into()).ok(),
        };
    }
}

/// Serves a connection to its end.
pub(super) async fn run(stream: UnixStream, server: Arc<Server>, standing: Standing, place: Place) {
    let control = server.services.config.current().control.clone();
    let bytes = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let max_frame = bytes(control.max_frame);
    let (read, write) = stream.into_split();
    let ended = StreamEnd::default();
    // A line that is too long but ends is read over, so that its sender can finish and hear why.
    let read = Watched::new(read, max_frame.saturating_mul(2), ended.clone());
    let max_backlog = bytes(control.max_backlog);
    // Only what is wrong with us could get that far: answers end at `max_backlog`, notifications
    // wait for their window.
    let outbound_bytes = max_backlog.saturating_add(max_frame.saturating_mul(SUBSCRIPTIONS_MAX));
    let oddities = Oddities::Keep;
    let limits = Limits { max_frame, inbound_bytes: max_frame, outbound_bytes, oddities };
    let (peer, inbox) = jsonrpc::start(read, write, limits);
    place.belongs_to(peer.clone());
    let connection = Arc::new(Connection {
        peer,
        standing,
        service: place.service,
        name: Mutex::default(),
        subscriptions: Mutex::default(),
        pins: Mutex::default(),
        next_subscription: AtomicU64::new(1),
        longest_notification: Arc::default(),
        max_frame,
        max_backlog,
        is_cut_off: AtomicBool::new(false),
    });
    let work = Work { server, connection, requests: JoinSet::new(), waits: JoinSet::new() };
    work.run(inbox, &place, &ended).await;
}

/// How reading ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The client will say nothing more. It may still listen.
    Silent,
    /// The client is gone.
    Gone,
    /// We have heard enough of it.
    Refused,
    /// The daemon ends.
    Closing,
}

/// What is going on on a connection.
struct Work {
    server: Arc<Server>,
    connection: Arc<Connection>,
    requests: JoinSet<()>,
    waits: JoinSet<()>,
}

impl Work {
    async fn run(mut self, inbox: Inbox, place: &Place, ended: &StreamEnd) {
        let end = match self.read(inbox, place).await {
            End::Silent if ended.is_hung_up() => End::Gone,
            end => end,
        };
        match end {
            End::Gone => self.abandon(),
            End::Silent | End::Closing => self.finish(ended).await,
            End::Refused => {
                self.waits.abort_all();
                self.end_subscriptions();
                self.finish(ended).await;
            }
        }
        self.connection.peer.close();
        if tokio::time::timeout(FLUSH_TIMEOUT, self.connection.peer.closed()).await.is_err() {
            self.connection.peer.abort();
        }
    }

    /// Takes what comes, until there is no more.
    async fn read(&mut self, mut inbox: Inbox, place: &Place) -> End {
        let closed = self.connection.peer.closed();
        tokio::pin!(closed);
        let closing = self.server.closing.clone();
        loop {
            tokio::select! {
                delivery = inbox.next(), if self.requests.len() < REQUESTS_MAX => match delivery {
                    None => return End::Silent,
                    Some(delivery) => {
                        place.client.spoke.store(true, Ordering::Relaxed);
                        if !self.take(delivery) {
                            return End::Refused;
                        }
                    }
                },
                Some(_) = self.requests.join_next(), if !self.requests.is_empty() => {}
                Some(_) = self.waits.join_next(), if !self.waits.is_empty() => {}
                () = &mut closed => return End::Gone,
                () = closing.cancelled() => return End::Closing,
            }
        }
    }

    /// Takes one message. False if nothing more is to be read after it.
    fn take(&mut self, delivery: Delivery) -> bool {
        match delivery.message {
            Message::Request { id, method, params } => {
                let request = Request { id, method, params };
                self.begin(request, delivery.permit);
                true
            }
            Message::Bad { problem, .. } => self.complain(problem),
            // Nothing of the contract is told without wanting an answer, and we ask nothing.
            Message::Notification { .. } | Message::Response { .. } => true,
        }
    }

    fn begin(&mut self, request: Request, room: tokio::sync::OwnedSemaphorePermit) {
        let is_wait = dispatch::is_wait(&request.method);
        if is_wait && self.waits.len() >= WAITS_MAX {
            let message = format!("a connection has at most {WAITS_MAX} waits");
            return self.connection.respond(&request.id, Err(RpcFailure::overloaded(message)));
        }
        let (server, connection) = (self.server.clone(), self.connection.clone());
        let set = if is_wait { &mut self.waits } else { &mut self.requests };
        set.spawn(async move {
            request.serve(server, connection).await;
            drop(room);
        });
    }

    /// Answers a line that is no message. False if nothing more is to be read after it.
    fn complain(&self, problem: Problem) -> bool {
        let (kind, message) = match problem {
            Problem::Parse | Problem::NotUtf8 => (Kind::Parse, problem.to_string()),
            Problem::Batch => {
                (Kind::InvalidRequest, "batches are not taken: one request per line".to_owned())
            }
            Problem::Invalid => (Kind::InvalidRequest, problem.to_string()),
            Problem::TooLong(_) => {
                let max = self.connection.max_frame;
                (Kind::InvalidRequest, format!("{problem}, at most {max} are taken (`control.max_frame`)"))
            }
        };
        self.connection.respond(&RequestId::null(), Err(RpcFailure::new(kind, message)));
        !matches!(problem, Problem::TooLong(_))
    }

    /// The client is gone: what it waited for ends, what it asked to be done goes on.
    fn abandon(&mut self) {
        self.waits.abort_all();
        self.requests.detach_all();
        self.end_subscriptions();
    }

    fn end_subscriptions(&self) {
        self.connection.drop_pins();
        for served in self.connection.take_subscriptions().into_values() {
            served.abort();
        }
    }

    /// Answers what was asked and serves what was subscribed to, for as long as somebody listens.
    async fn finish(&mut self, ended: &StreamEnd) {
        let closed = self.connection.peer.closed();
        let all = async {
            while self.requests.join_next().await.is_some() {}
            while self.waits.join_next().await.is_some() {}
            for served in self.connection.take_subscriptions().into_values() {
                // It ends by itself with its connection or the daemon.
                served.await.ok();
            }
        };
        let gone = tokio::select! {
            () = all => false,
            () = closed => true,
            () = ended.gone() => true,
        };
        if gone {
            self.abandon();
        }
    }
}

/// One request.
struct Request {
    id: RequestId,
    method: String,
    params: Option<Box<RawValue>>,
}

impl Request {
    async fn serve(self, server: Arc<Server>, connection: Arc<Connection>) {
        let closing = server.closing.clone();
        let call = Call { server, connection: connection.clone(), answered: CancellationToken::new() };
        let answer = AssertUnwindSafe(dispatch::dispatch(&call, &self.method, self.params.as_deref()));
        let answer = answer.catch_unwind();
        let result = if dispatch::is_wait(&self.method) {
            tokio::select! {
                result = answer => result,
                () = closing.cancelled() => Ok(Err(RpcFailure::shutting_down())),
            }
        } else {
            answer.await
        };
        let result = result.unwrap_or_else(|_| {
            tracing::error!(method = %self.method, "a handler panicked");
            Err(RpcFailure::internal(format!("{} failed in an unforeseen way", self.method)))
        });
        connection.respond(&self.id, result);
        call.answered.cancel();
    }
}
