//! Reads the event stream of a server for as long as there is one, and connects again.
//!
//! **Invariant:** no more than so many bytes of events are on the way to the disk: past it nothing
//! is read, and the server keeps what it says to itself.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use reqwest::Response;
use sse_stream::SseByteStream;
use tokio::sync::Semaphore;

use hob_actors::ports::Permit;

use super::ears::{self, Read};
use super::http::Client;
use super::hub::Hub;
use super::wire::Global;
use crate::legible::legible;

/// Where the events of every directory come from.
const PATH: &str = "/global/event";
/// The first event of a connection.
const CONNECTED: &str = "server.connected";
/// Between two tries to connect; it doubles up to the second.
const AGAIN_MIN: Duration = Duration::from_millis(50);
const AGAIN_MAX: Duration = Duration::from_secs(2);
/// Bytes of events that are on their way to the disk.
const INBOUND_BYTES: usize = 1 << 20;

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum Broken {
    /// The connection.
    #[error(transparent)]
    Http(#[from] reqwest::Error),
    /// A line is longer than anything that is read; what it said is read from the record.
    #[error("an event is longer than {0} bytes")]
    TooLong(usize),
}

/// Reads until it is dropped.
pub(super) async fn listen(client: Client, hub: Arc<Hub>, event_bytes_max: usize) {
    let room = Arc::new(Semaphore::new(INBOUND_BYTES));
    let mut again = AGAIN_MIN;
    loop {
        match client.stream(PATH).await {
            Ok(response) => {
                again = AGAIN_MIN;
                read(response, &hub, &room, event_bytes_max).await;
                hub.gap();
            }
            Err(error) => tracing::debug!(%error, "the event stream cannot be opened"),
        }
        tokio::time::sleep(again).await;
        again = (again * 2).min(AGAIN_MAX);
    }
}

async fn read(response: Response, hub: &Hub, room: &Arc<Semaphore>, event_bytes_max: usize) {
    let mut line = Line { n_bytes: 0, max: event_bytes_max };
    let bounded = response.bytes_stream().map(move |chunk| line.take(chunk?));
    let mut events = SseByteStream::new(bounded);
    while let Some(event) = events.next().await {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                tracing::debug!(%error, "the event stream broke off");
                return;
            }
        };
        let Some(data) = event.data else { continue };
        let n_bytes = u32::try_from(data.len().clamp(1, INBOUND_BYTES)).unwrap_or(1);
        // Never closed: it lives as long as this loop.
        let Ok(permit) = room.clone().acquire_many_owned(n_bytes).await else { return };
        take(&data, hub, Permit::holding(permit));
    }
}

fn take(data: &str, hub: &Hub, permit: Permit) {
    let data = legible(data);
    let Ok(event) = serde_json::from_str::<Global<'_>>(&data) else {
        tracing::debug!(n_bytes = data.len(), "an event is not understood");
        return;
    };
    if event.payload.kind == CONNECTED {
        hub.back();
        return;
    }
    match ears::read(&event.payload) {
        Read::Nothing => {}
        read => hub.pass_on(read, permit),
    }
}

/// Counts the bytes of a line, which the reader of events holds until it ends.
struct Line {
    n_bytes: usize,
    max: usize,
}

impl Line {
    fn take(&mut self, chunk: Bytes) -> Result<Bytes, Broken> {
        let rest = memchr::memrchr(b'\n', &chunk).map(|at| chunk.len() - at - 1);
        self.n_bytes = rest.unwrap_or(self.n_bytes + chunk.len());
        if self.n_bytes > self.max { Err(Broken::TooLong(self.max)) } else { Ok(chunk) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_an_end_is_not_held() {
        let mut line = Line { n_bytes: 0, max: 10 };
        for _ in 0..100 {
            assert!(line.take(Bytes::from_static(b"12345\n12345")).is_ok());
        }
        assert!(line.take(Bytes::from_static(b"12345")).is_ok());
        assert!(line.take(Bytes::from_static(b"1")).is_err());
    }
}
