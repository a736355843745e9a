//! One end of a connection: calls, notifications and answers out; one ordered queue in.
//!
//! Reading happens inside [`Inbox::next`] and nowhere else, so a connection whose owner stops
//! asking stops being read, and the pipe pushes back. Writing happens in one task of its own, so
//! nothing that sends ever waits; what is not yet written is counted, and a connection that lets
//! too much of it pile up is closed.
//!
//! **Invariant:** what arrives is handed on in the order in which it arrived. An answer to
//! [`Peer::call`] wakes its caller when everything before it has been taken from the inbox.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::StreamExt;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio_util::codec::FramedRead;
use tokio_util::sync::CancellationToken;

use super::encode::{Answering, Outgoing, encode};
use super::error::{CallError, Closed};
use super::frame::{Frame, Ndjson};
use super::limits::{Limits, Oddities};
use super::message::{Message, RequestId, RpcError};
use crate::sync::lock;

/// What a message costs in permits besides its bytes, so that a flood of tiny lines is bounded too.
const MESSAGE_OVERHEAD_BYTES: usize = 256;
/// What is read at once.
const READ_BYTES: usize = 16 * 1024;
/// Messages are written together up to this size.
const WRITE_BYTES: usize = 64 * 1024;
/// Messages that are taken from the queue at once.
const WRITE_MESSAGES_MAX: usize = 64;

/// One message, and the room that it takes until this is dropped.
#[derive(Debug)]
pub struct Delivery {
    /// What was said.
    pub message: Message,
    /// Room for the bytes of its frame; the other end is read on when enough of it was dropped.
    pub permit: OwnedSemaphorePermit,
    /// Whether something in it was replaced, because no reader takes it.
    pub is_altered: bool,
}

type Answer = Result<Box<RawValue>, RpcError>;

/// The calls in flight; `None` once nothing is read any more.
type Calls = Mutex<Option<BTreeMap<u64, oneshot::Sender<Answer>>>>;

/// What is queued and not yet written.
#[derive(Default)]
struct Backlog {
    bytes: AtomicUsize,
    written: Notify,
}

struct Shared {
    queue: Mutex<Option<mpsc::UnboundedSender<Bytes>>>,
    backlog: Arc<Backlog>,
    calls: Arc<Calls>,
    next_id: AtomicU64,
    /// Whether reading waits for room.
    held_up: watch::Receiver<bool>,
    outbound_bytes: usize,
    /// Cancelled to stop writing at once, and by the writer when it has ended.
    abort: CancellationToken,
    ended: CancellationToken,
}

/// Sends. Cheap to clone; when the last one is dropped the queue is written and the stream shut.
#[derive(Clone)]
pub struct Peer(Arc<Shared>);

/// Receives, in order. Must be asked for [`Peer::call`] to be answered.
pub struct Inbox {
    frames: FramedRead<Box<dyn AsyncRead + Send + Unpin>, Ndjson>,
    room: Arc<Semaphore>,
    room_bytes: usize,
    calls: Arc<Calls>,
    /// A message that was read and waits for room.
    waiting: Option<Waiting>,
    oddities: Oddities,
    held_up: watch::Sender<bool>,
}

/// A message that was read, and how much room it needs.
struct Waiting {
    message: Message,
    cost: u32,
    is_altered: bool,
}

/// Begins to speak over `read` and `write`. Must be called inside a runtime.
pub fn start(
    read: impl AsyncRead + Send + Unpin + 'static,
    write: impl AsyncWrite + Send + Unpin + 'static,
    limits: Limits,
) -> (Peer, Inbox) {
    let (queue, lines) = mpsc::unbounded_channel();
    let (tell_held_up, held_up) = watch::channel(false);
    let shared = Shared {
        queue: Mutex::new(Some(queue)),
        backlog: Arc::default(),
        calls: Arc::new(Mutex::new(Some(BTreeMap::new()))),
        next_id: AtomicU64::new(1),
        held_up,
        outbound_bytes: limits.outbound_bytes,
        abort: CancellationToken::new(),
        ended: CancellationToken::new(),
    };
    let room_bytes = limits.inbound_bytes.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
    let inbox = Inbox {
        frames: FramedRead::with_capacity(Box::new(read), Ndjson::new(limits.max_frame), READ_BYTES),
        room: Arc::new(Semaphore::new(room_bytes)),
        room_bytes,
        calls: shared.calls.clone(),
        waiting: None,
        oddities: limits.oddities,
        held_up: tell_held_up,
    };
    let (backlog, abort, ended) = (shared.backlog.clone(), shared.abort.clone(), shared.ended.clone());
    tokio::spawn(async move {
        let ended = ended.drop_guard();
        // An error of the stream and an abort end in the same way: nothing is written any more.
        let _ = abort.run_until_cancelled_owned(write_all(write, lines, &backlog)).await;
        drop(ended);
        backlog.written.notify_waiters();
    });
    (Peer(Arc::new(shared)), inbox)
}

/// Writes the queue until it is closed and empty, then shuts the stream.
async fn write_all(
    mut write: impl AsyncWrite + Unpin,
    mut lines: mpsc::UnboundedReceiver<Bytes>,
    backlog: &Backlog,
) -> io::Result<()> {
    let mut batch = Vec::new();
    let mut buffer = BytesMut::new();
    while lines.recv_many(&mut batch, WRITE_MESSAGES_MAX).await > 0 {
        for line in batch.drain(..) {
            let n_bytes = line.len();
            if buffer.len() + n_bytes > WRITE_BYTES {
                flush(&mut write, &mut buffer, backlog).await?;
            }
            buffer.extend_from_slice(&line);
            buffer.put_u8(b'\n');
        }
        flush(&mut write, &mut buffer, backlog).await?;
        if buffer.capacity() > WRITE_BYTES {
            buffer = BytesMut::new();
        }
    }
    write.shutdown().await
}

async fn flush(
    write: &mut (impl AsyncWrite + Unpin),
    buffer: &mut BytesMut,
    backlog: &Backlog,
) -> io::Result<()> {
    write.write_all(buffer).await?;
    write.flush().await?;
    backlog.bytes.fetch_sub(buffer.len(), Ordering::AcqRel);
    backlog.written.notify_waiters();
    buffer.clear();
    Ok(())
}

/// Takes a call back when its caller goes away.
struct CallGuard<'a>(&'a Calls, u64);

impl Drop for CallGuard<'_> {
    fn drop(&mut self) {
        if let Some(calls) = lock(self.0).as_mut() {
            calls.remove(&self.1);
        }
    }
}

impl Peer {
    /// Calls and waits for the answer. Needs someone to ask the [`Inbox`] meanwhile. Dropping the
    /// future forgets the call; the other end is not told.
    pub async fn call(&self, method: &str, params: &impl Serialize) -> Result<Box<RawValue>, CallError> {
        let id = self.0.next_id.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        lock(&self.0.calls).as_mut().ok_or(Closed)?.insert(id, answer);
        let _guard = CallGuard(&self.0.calls, id);
        self.send_request(id, method, params)?;
        let mut answered = pin!(answered);
        tokio::select! {
            biased;
            answer = &mut answered => Ok(answer.map_err(|_| CallError::Closed)??),
            // What cannot be written any more may have been answered all the same.
            () = self.0.abort.cancelled() => Err(CallError::Closed),
        }
    }

    /// Calls and returns the id; the answer comes in line, as a [`Delivery`].
    pub fn send_call(&self, method: &str, params: &impl Serialize) -> Result<u64, CallError> {
        let id = self.0.next_id.fetch_add(1, Ordering::Relaxed);
        self.send_request(id, method, params)?;
        Ok(id)
    }

    fn send_request(&self, id: u64, method: &str, params: &impl Serialize) -> Result<(), CallError> {
        let line =
            encode(&Outgoing { jsonrpc: "2.0", id: Some(id), method, params }).map_err(CallError::Params)?;
        Ok(self.enqueue(line)?)
    }

    /// Tells. Parameters that cannot be written as JSON count as a closed connection: they are
    /// always types of ours.
    pub fn notify(&self, method: &str, params: &impl Serialize) -> Result<(), Closed> {
        let line = encode(&Outgoing { jsonrpc: "2.0", id: None, method, params }).map_err(|_| Closed)?;
        self.enqueue(line)
    }

    /// Sends a line that is already JSON-RPC, without its newline.
    pub fn notify_raw(&self, line: Bytes) -> Result<(), Closed> {
        self.enqueue(line)
    }

    /// Answers a request.
    pub fn respond<R: Serialize>(&self, id: &RequestId, result: Result<&R, RpcError>) -> Result<(), Closed> {
        let (result, error) = match result {
            Ok(result) => (Some(result), None),
            Err(error) => (None, Some(error)),
        };
        let line = encode(&Answering { jsonrpc: "2.0", id, result, error }).map_err(|_| Closed)?;
        self.enqueue(line)
    }

    /// Answers a request with an error.
    pub fn refuse(&self, id: &RequestId, error: RpcError) -> Result<(), Closed> {
        self.respond::<()>(id, Err(error))
    }

    fn enqueue(&self, line: Bytes) -> Result<(), Closed> {
        let mut queue = lock(&self.0.queue);
        let sender = queue.as_ref().ok_or(Closed)?;
        let cost = line.len() + 1;
        if self.0.backlog.bytes.fetch_add(cost, Ordering::AcqRel) > self.0.outbound_bytes {
            // The other end does not read. What waits is given up with it.
            *queue = None;
            self.0.abort.cancel();
            return Err(Closed);
        }
        sender.send(line).map_err(|_| Closed)
    }

    /// Bytes that are not yet written.
    pub fn backlog(&self) -> usize {
        self.0.backlog.bytes.load(Ordering::Acquire)
    }

    /// Resolves when fewer than `below` bytes wait to be written, or none ever will be.
    pub async fn drained(&self, below: usize) {
        // Nearly always so, and then there is nothing to wait for.
        while self.backlog() >= below {
            let mut written = pin!(self.0.backlog.written.notified());
            written.as_mut().enable();
            // What was written since the last look is not told of again.
            if self.backlog() < below || self.0.ended.is_cancelled() {
                return;
            }
            tokio::select! {
                () = written => {}
                () = self.0.ended.cancelled() => return,
            }
        }
    }

    /// Resolves when reading waits for room: a missing answer is not the other end's fault then.
    pub fn held_up(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut held_up = self.0.held_up.clone();
        async move {
            let held_up = held_up.wait_for(|held_up| *held_up).await.is_ok();
            if !held_up {
                std::future::pending().await
            }
        }
    }

    /// Sends what is queued, then shuts the stream. Nothing more can be sent.
    pub fn close(&self) {
        *lock(&self.0.queue) = None;
    }

    /// Shuts the stream now, whatever is queued.
    pub fn abort(&self) {
        self.close();
        self.0.abort.cancel();
    }

    /// Resolves when nothing is written any more: after [`Peer::close`], or when the other end is gone.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + 'static {
        self.0.ended.clone().cancelled_owned()
    }
}

impl Inbox {
    /// The next message; `None` at the end of the stream. Safe to drop and ask again.
    pub async fn next(&mut self) -> Option<Delivery> {
        loop {
            if let Some(cost) = self.waiting.as_ref().map(|waiting| waiting.cost) {
                let permit = self.find_room(cost).await?;
                let Waiting { message, is_altered, .. } = self.waiting.take()?;
                return Some(Delivery { message, permit, is_altered });
            }
            let Some(Ok(frame)) = self.frames.next().await else {
                self.forget_calls();
                return None;
            };
            let (message, is_altered) = match self.oddities {
                Oddities::Keep => (Message::from_frame(&frame), false),
                Oddities::Replace => Message::from_odd_frame(&frame),
            };
            if let Some(message) = self.complete_call(message) {
                self.waiting = Some(Waiting { message, cost: self.cost(&frame), is_altered });
            }
        }
    }

    /// Room for a message, as soon as there is any.
    async fn find_room(&mut self, cost: u32) -> Option<OwnedSemaphorePermit> {
        let mut permit = self.room.clone().try_acquire_many_owned(cost).ok();
        if permit.is_none() {
            self.held_up.send_replace(true);
            // Never closed: the semaphore belongs to this inbox.
            permit = self.room.clone().acquire_many_owned(cost).await.ok();
        }
        self.held_up.send_if_modified(std::mem::take);
        permit
    }

    fn cost(&self, frame: &Frame) -> u32 {
        let cost = (frame.held_bytes() + MESSAGE_OVERHEAD_BYTES).min(self.room_bytes);
        u32::try_from(cost).unwrap_or(u32::MAX)
    }

    /// Hands an answer to its waiting caller; gives back everything else.
    fn complete_call(&self, message: Message) -> Option<Message> {
        let Message::Response { id, result } = message else {
            return Some(message);
        };
        let caller = id.number().and_then(|id| lock(&self.calls).as_mut()?.remove(&id));
        match caller {
            Some(caller) => {
                // A caller that went away meanwhile does not want to know.
                caller.send(result).ok();
                None
            }
            None => Some(Message::Response { id, result }),
        }
    }

    /// Fails the calls in flight and all later ones.
    fn forget_calls(&self) {
        *lock(&self.calls) = None;
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.forget_calls();
    }
}

#[cfg(test)]
#[path = "peer/tests.rs"]
mod tests;
