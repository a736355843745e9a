//! Subscriptions over a real journal and a pipe of a kilobyte.

use std::sync::Arc;
use std::time::Duration;

use hob_actors::event::{Event, Level, NewEvent, Scope};
use hob_actors::ports::{Permit, Store as _};
use tokio::io::{AsyncBufReadExt as _, BufReader, DuplexStream, Lines};

use super::*;
use crate::jsonrpc::{self, Limits, Oddities};

/// Long enough for any machine; a test that waits for it has failed.
const PATIENCE: Duration = Duration::from_secs(60);

struct Stage {
    store: Store,
    peer: Peer,
    closing: CancellationToken,
    lines: Lines<BufReader<DuplexStream>>,
    served: tokio::task::JoinHandle<()>,
    _inbox: jsonrpc::Inbox,
    _dir: tempfile::TempDir,
}

impl Stage {
    /// A journal with `n_events` of `text_bytes` each, and a subscription to it after `cursor`.
    async fn new(n_events: usize, text_bytes: usize, cursor: i64) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(&dir.path().join("hob.db")).expect("opened");
        let (ours, theirs) = tokio::io::duplex(1024);
        let (read, write) = tokio::io::split(ours);
        let limits = Limits {
            max_frame: 1 << 20,
            inbound_bytes: 1 << 20,
            outbound_bytes: 1 << 30,
            oddities: Oddities::Keep,
        };
        let (peer, inbox) = jsonrpc::start(read, write, limits);
        let closing = CancellationToken::new();
        let answered = CancellationToken::new();
        let subscription = Subscription {
            id: "e-1".into(),
            filter: EventFilter::default(),
            cursor,
            peer: peer.clone(),
            longest: Arc::default(),
            answered: answered.clone(),
            closing: closing.clone(),
            seat: None,
        };
        append(&store, 0..n_events, text_bytes).await;
        answered.cancel();
        let served = tokio::spawn(subscription.run(store.clone()));
        let lines = BufReader::new(theirs).lines();
        Self { store, peer, closing, lines, served, _inbox: inbox, _dir: dir }
    }

    async fn next(&mut self) -> Option<serde_json::Value> {
        let line =
            tokio::time::timeout(PATIENCE, self.lines.next_line()).await.expect("in time").expect("read");
        line.map(|line| {
            serde_json::from_str::<serde_json::Value>(&line).expect("JSON")["params"]["event"].take()
        })
    }

    /// Reads notices with these numbers, and nothing else between them.
    async fn expect(&mut self, numbers: std::ops::Range<usize>) {
        let mut last = 0;
        for number in numbers {
            let event = self.next().await.expect("an event");
            let text = event["text"].as_str().expect("a text");
            assert_eq!(text.trim_end_matches('.'), number.to_string());
            let seq = event["seq"].as_i64().expect("a number");
            assert!(seq > last, "{seq} after {last}");
            last = seq;
        }
    }
}

/// Appends notices with these numbers; they are in the journal when this returns.
async fn append(store: &Store, numbers: std::ops::Range<usize>, text_bytes: usize) {
    let mut head = store.head();
    let n_events = i64::try_from(numbers.len()).expect("few");
    let goal = *head.borrow() + n_events;
    for number in numbers {
        let text = format!("{number:.<text_bytes$}");
        let event = Event::Notice { level: Level::Info, text };
        store.append(NewEvent { scope: Arc::new(Scope::default()), event }, Permit::free());
    }
    head.wait_for(|seq| *seq >= goal).await.expect("written");
}

#[tokio::test]
async fn replay_and_present_are_one_stream_without_gap_or_duplicate() {
    let mut stage = Stage::new(PAGE_EVENTS * 3 + 1, 8, 0).await;
    stage.expect(0..500).await;
    let store = stage.store.clone();
    let from = PAGE_EVENTS * 3 + 1;
    tokio::join!(append(&store, from..from + 100, 8), stage.expect(500..from + 100));
}

#[tokio::test]
async fn a_reader_that_does_not_read_costs_a_window_and_loses_nothing() {
    const TEXT_BYTES: usize = 10_000;
    let mut stage = Stage::new(200, TEXT_BYTES, 0).await;
    let window_is_full = async {
        while stage.peer.backlog() < WINDOW_BYTES {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, window_is_full).await.expect("filled");
    append(&stage.store, 200..300, TEXT_BYTES).await;
    assert!(stage.peer.backlog() < WINDOW_BYTES + 2 * TEXT_BYTES, "{}", stage.peer.backlog());
    stage.expect(0..300).await;
}

#[tokio::test]
async fn what_is_committed_when_the_daemon_ends_is_still_sent() {
    let mut stage = Stage::new(300, 1000, 0).await;
    stage.closing.cancel();
    let served = async {
        (&mut stage.served).await.expect("served");
        stage.peer.close();
    };
    let read = async {
        let mut n_lines = 0;
        while stage.lines.next_line().await.expect("read").is_some() {
            n_lines += 1;
        }
        n_lines
    };
    let ((), n_lines) =
        tokio::time::timeout(PATIENCE, async { tokio::join!(served, read) }).await.expect("in time");
    assert_eq!(n_lines, 300);
}

#[test]
fn a_notification_is_one_line_around_the_event_as_it_is() {
    let line = notification("e-1", "{\"seq\":7,\"x\":[1,\n2]}");
    assert_eq!(
        std::str::from_utf8(&line).expect("UTF-8"),
        r#"{"jsonrpc":"2.0","method":"events/event","params":{"subscription":"e-1","event":{"seq":7,"x":[1, 2]}}}"#
    );
    let read: serde_json::Value = serde_json::from_slice(&line).expect("JSON");
    assert_eq!(read["method"], EVENT_METHOD);
}

#[test]
fn only_a_cursor_before_what_is_kept_sees_a_gap() {
    let page = |oldest_kept, scanned_to| EventPage { events: Vec::new(), scanned_to, oldest_kept, head: 99 };
    for (cursor, oldest_kept) in [(0, 0), (0, 1), (9, 10), (50, 10)] {
        assert_eq!(gap(cursor, &page(oldest_kept, 99)), None);
    }
    // As far as the page goes: what is kept behind that comes with the next one, and so does its gap.
    for (scanned_to, to) in [(99, 9), (6, 6)] {
        let told = gap(3, &page(10, scanned_to)).expect("a gap");
        let event: serde_json::Value = serde_json::from_str(&told).expect("JSON");
        assert_eq!((&event["type"], &event["from"], &event["to"]), (&"gap".into(), &4.into(), &to.into()));
        assert_eq!(event["seq"], 3);
    }
}
