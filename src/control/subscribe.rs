//! Serves one subscription: the journal from a cursor on, as fast as the connection drains.
//!
//! ```text
//! read a page after the cursor ──▶ send each event when the connection has room ──┐
//!        ▲                                                                        │
//!        └──── the journal grew ◀── wait ◀── nothing left ◀── cursor moves on ◀───┘
//! ```
//! An event goes out as the text that the journal holds; nothing is parsed on the way.
//!
//! **Invariant:** nothing of a subscription is held in memory but its cursor and one page.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{BufMut as _, Bytes, BytesMut};
use hob_actors::ports::chain;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::audience::Seat;
use super::wire::Moment;
use crate::jsonrpc::Peer;
use crate::store::{EventFilter, EventPage, Store, StoreError};

/// The notification that carries an event.
pub(super) const EVENT_METHOD: &str = "events/event";
/// The next event is sent when fewer bytes than this wait to be written.
pub(super) const WINDOW_BYTES: usize = 256 << 10;
/// Events that are read from the journal at once.
const PAGE_EVENTS: usize = 256;

/// What a subscription needs to run.
pub(super) struct Subscription {
    /// Its name on its connection.
    pub id: String,
    /// What it wants.
    pub filter: EventFilter,
    /// Everything up to here was seen.
    pub cursor: i64,
    /// The connection.
    pub peer: Peer,
    /// The longest line that any subscription of the connection has sent, in bytes.
    pub(crate) longest: Arc<AtomicUsize>,
    /// Fires when the answer to the subscribe call is in line.
    pub answered: CancellationToken,
    /// Fires when the daemon ends: what is committed is still sent.
    pub closing: CancellationToken,
    /// Held while a person can answer questions here.
    pub seat: Option<Seat>,
}

impl Subscription {
    /// Serves it until the connection or the daemon ends.
    pub(super) async fn run(mut self, store: Store) {
        self.answered.cancelled().await;
        if let Err(error) = self.serve(&store).await {
            tracing::warn!(subscription = %self.id, error = %chain(&error), "subscription ended");
            // A reader that comes back with its cursor has lost nothing.
            self.peer.close();
        }
        drop(self.seat);
    }

    async fn serve(&mut self, store: &Store) -> Result<(), StoreError> {
        let mut head = store.head();
        let closed = self.peer.closed();
        tokio::pin!(closed);
        loop {
            let newest = *head.borrow_and_update();
            while self.cursor < newest {
                let before = self.cursor;
                let page = store.events(self.filter.clone(), self.cursor, PAGE_EVENTS).await?;
                if !self.send(page).await {
                    return Ok(());
                }
                if self.cursor == before {
                    // Nothing more is readable yet; the head will move again when it is.
                    break;
                }
            }
            tokio::select! {
                changed = head.changed() => if changed.is_err() { return Ok(()) },
                () = &mut closed => return Ok(()),
                () = self.closing.cancelled() => return Ok(()),
            }
        }
    }

    /// Sends a page. False if the connection is gone.
    async fn send(&mut self, page: EventPage) -> bool {
        if let Some(gap) = gap(self.cursor, &page)
            && !self.send_event(&gap).await
        {
            return false;
        }
        for event in &page.events {
            if !self.send_event(&event.json).await {
                return false;
            }
            self.cursor = event.seq;
        }
        self.cursor = self.cursor.max(page.scanned_to);
        true
    }

    async fn send_event(&self, event: &str) -> bool {
        self.peer.drained(WINDOW_BYTES).await;
        let line = notification(&self.id, event);
        self.longest.fetch_max(line.len(), Ordering::Relaxed);
        self.peer.notify_raw(line).is_ok()
    }
}

/// One `events/event` line. `subscription` is a name of ours, `event` is valid JSON.
fn notification(subscription: &str, event: &str) -> Bytes {
    const HEAD: &str = r#"{"jsonrpc":"2.0","method":"events/event","params":{"subscription":""#;
    const MIDDLE: &str = r#"","event":"#;
    const TAIL: &str = "}}";
    let mut line =
        BytesMut::with_capacity(HEAD.len() + subscription.len() + MIDDLE.len() + event.len() + TAIL.len());
    line.put_slice(HEAD.as_bytes());
    line.put_slice(subscription.as_bytes());
    line.put_slice(MIDDLE.as_bytes());
    // Raw values of agents may hold newlines between their tokens, which would cut the line.
    for (n, piece) in event.split(['\n', '\r']).enumerate() {
        if n > 0 {
            line.put_u8(b' ');
        }
        line.put_slice(piece.as_bytes());
    }
    line.put_slice(TAIL.as_bytes());
    line.freeze()
}

#[derive(Serialize)]
struct Gap {
    seq: i64,
    at: Moment,
    session: Option<String>,
    chat: Option<String>,
    agent: Option<String>,
    generation: Option<u64>,
    task: Option<String>,
    turn: Option<String>,
    r#type: &'static str,
    from: i64,
    to: i64,
}

/// The event that stands for what is no longer kept after `cursor`, as far as the page goes, if anything
/// may be missing. What is kept of these numbers follows it, so it bears the number of the cursor.
pub(super) fn gap(cursor: i64, page: &EventPage) -> Option<String> {
    let (from, to) = (cursor.saturating_add(1), (page.oldest_kept - 1).min(page.scanned_to));
    let gap = Gap {
        seq: cursor,
        at: Moment::now(),
        session: None,
        chat: None,
        agent: None,
        generation: None,
        task: None,
        turn: None,
        r#type: "gap",
        from,
        to,
    };
    // Serialising numbers and nulls cannot fail.
    (from <= to).then(|| serde_json::to_string(&gap).ok()).flatten()
}

#[cfg(test)]
mod tests;
