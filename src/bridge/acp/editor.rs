//! The client: an editor, or whatever else speaks the protocol at the other end of our stdio.
//!
//! **Invariant:** a request that was taken is answered exactly once, at the latest by
//! [`Editor::refuse_open`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use agent_client_protocol_schema::v1::{CancelRequestNotification, PROTOCOL_LEVEL_METHOD_NAMES};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::jsonrpc::{Peer, RequestId, RpcError};
use crate::sync::lock;

/// The next update is sent when fewer bytes than this wait to be written. For a client that does
/// not read, a chat's connection to the daemon takes in what it may, and the rest stays in the
/// journal.
const WINDOW_BYTES: usize = 256 << 10;

/// Which question a call of ours asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    /// The chat.
    pub(super) chat: String,
    /// The permission.
    pub(super) permission: String,
}

struct Inner {
    peer: Peer,
    /// Requests of the client that are not answered, by the text of their id.
    open: Mutex<BTreeMap<String, RequestId>>,
    /// Questions of ours that are not answered, by the id of their call.
    asked: Mutex<BTreeMap<u64, Asked>>,
    notices: AtomicBool,
}

/// The client. Cheap to clone.
#[derive(Clone)]
pub(super) struct Editor(Arc<Inner>);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Update<'a> {
    session_id: &'a str,
    update: &'a RawValue,
}

impl Editor {
    /// The client behind `peer`.
    pub(super) fn new(peer: Peer) -> Self {
        Self(Arc::new(Inner {
            peer,
            open: Mutex::default(),
            asked: Mutex::default(),
            notices: AtomicBool::new(false),
        }))
    }

    /// Whether it takes notices.
    pub(super) fn takes_notices(&self) -> bool {
        self.0.notices.load(Ordering::Relaxed)
    }

    /// Remembers whether it takes notices.
    pub(super) fn set_takes_notices(&self, yes: bool) {
        self.0.notices.store(yes, Ordering::Relaxed);
    }

    /// Takes a request, which will be answered.
    pub(super) fn begin(&self, id: &RequestId) {
        lock(&self.0.open).insert(id.as_str().to_owned(), id.clone());
    }

    /// Answers a request, unless it was answered already.
    pub(super) fn answer<R: Serialize>(&self, id: &RequestId, result: Result<&R, RpcError>) {
        if lock(&self.0.open).remove(id.as_str()).is_some() {
            // A client that is gone wants no answer.
            self.0.peer.respond(id, result).ok();
        }
    }

    /// Answers a request with an error.
    pub(super) fn refuse(&self, id: &RequestId, error: RpcError) {
        self.answer::<()>(id, Err(error));
    }

    /// Answers everything that is open with an error.
    pub(super) fn refuse_open(&self, error: &RpcError) {
        let open = std::mem::take(&mut *lock(&self.0.open));
        for id in open.values() {
            self.0.peer.refuse(id, error.clone()).ok();
        }
    }

    /// Tells of a chat, once the client has read most of what it was told before.
    pub(super) async fn update(&self, chat: &str, update: &RawValue) {
        self.0.peer.drained(WINDOW_BYTES).await;
        self.0.peer.notify("session/update", &Update { session_id: chat, update }).ok();
    }

    /// Asks; the id of the call. `None` where nobody is there to be asked.
    pub(super) fn ask(&self, asked: Asked, params: &impl Serialize) -> Option<u64> {
        // Held until it is noted, so that the answer cannot be sooner.
        let mut open = lock(&self.0.asked);
        let call = self.0.peer.send_call("session/request_permission", params).ok()?;
        open.insert(call, asked);
        Some(call)
    }

    /// Takes a question back: its answer is not waited for any more.
    pub(super) fn withdraw(&self, call: u64) {
        let was_open = lock(&self.0.asked).remove(&call).is_some();
        if let Some(call) = i64::try_from(call).ok().filter(|_| was_open) {
            let cancel = CancelRequestNotification::new(call);
            self.0.peer.notify(PROTOCOL_LEVEL_METHOD_NAMES.cancel_request, &cancel).ok();
        }
    }

    /// What an answer of the client answers; `None` for one that is late, or to nothing.
    pub(super) fn answered(&self, id: &RequestId) -> Option<Asked> {
        lock(&self.0.asked).remove(&id.number()?)
    }

    /// Resolves when the client does not read any more.
    pub(super) async fn gone(&self) {
        self.0.peer.closed().await;
    }

    /// Sends what is queued and ends the connection.
    pub(super) fn close(&self) {
        self.0.peer.close();
    }
}
