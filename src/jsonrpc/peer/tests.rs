//! Two ends joined by a pipe in memory.

use std::time::Duration;

use futures_util::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};

use super::*;

const LIMITS: Limits =
    Limits { max_frame: 1 << 20, inbound_bytes: 1 << 20, outbound_bytes: 1 << 20, oddities: Oddities::Keep };

fn ends(limits: Limits, pipe_bytes: usize) -> (Peer, Inbox, DuplexStream) {
    let (ours, theirs) = duplex(pipe_bytes);
    let (read, write) = split(ours);
    let (peer, inbox) = start(read, write, limits);
    (peer, inbox, theirs)
}

async fn line(end: &mut DuplexStream) -> String {
    let mut text = Vec::new();
    loop {
        match end.read_u8().await {
            Ok(b'\n') | Err(_) => return String::from_utf8(text).unwrap(),
            Ok(byte) => text.push(byte),
        }
    }
}

#[tokio::test]
async fn an_answer_wakes_its_caller_after_what_came_before_it_was_taken() {
    let (peer, mut inbox, mut them) = ends(LIMITS, 4096);
    let call = tokio::spawn(async move { peer.call("ask", &[1]).await });
    assert_eq!(line(&mut them).await, r#"{"jsonrpc":"2.0","id":1,"method":"ask","params":[1]}"#);
    them.write_all(b"{\"method\":\"before\"}\n{\"id\":1,\"result\":\"yes\"}\n{\"method\":\"after\"}\n")
        .await
        .unwrap();

    let first = inbox.next().await.unwrap();
    assert!(matches!(&first.message, Message::Notification { method, .. } if method == "before"));
    assert!(!call.is_finished());
    let second = inbox.next().await.unwrap();
    assert!(matches!(&second.message, Message::Notification { method, .. } if method == "after"));
    assert_eq!(call.await.unwrap().unwrap().get(), "\"yes\"");
}

#[tokio::test]
async fn an_answer_to_a_sent_call_comes_in_line() {
    let (peer, mut inbox, mut them) = ends(LIMITS, 4096);
    let id = peer.send_call("prompt", &()).unwrap();
    them.write_all(format!("{{\"method\":\"u\"}}\n{{\"id\":{id},\"result\":1}}\n").as_bytes()).await.unwrap();
    assert!(matches!(inbox.next().await.unwrap().message, Message::Notification { .. }));
    let Message::Response { id: answered, .. } = inbox.next().await.unwrap().message else { panic!() };
    assert_eq!(answered.number(), Some(id));
}

#[tokio::test]
async fn the_end_of_the_stream_fails_the_calls_in_flight_and_all_later_ones() {
    let (peer, mut inbox, them) = ends(LIMITS, 4096);
    let asking = peer.clone();
    let call = tokio::spawn(async move { asking.call("ask", &()).await });
    tokio::task::yield_now().await;
    drop(them);
    assert!(inbox.next().await.is_none());
    assert!(matches!(call.await.unwrap(), Err(CallError::Closed)));
    assert!(matches!(peer.call("again", &()).await, Err(CallError::Closed)));
}

#[tokio::test]
async fn a_bad_line_does_not_end_the_connection() {
    let (_peer, mut inbox, mut them) = ends(LIMITS, 4096);
    them.write_all(b"noise\n\xff\n[]\n{\"method\":\"m\"}\n").await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..3 {
        let Message::Bad { problem, .. } = inbox.next().await.unwrap().message else { panic!() };
        seen.push(problem);
    }
    use crate::jsonrpc::Problem;
    assert_eq!(seen, [Problem::Parse, Problem::NotUtf8, Problem::Batch]);
    assert!(matches!(inbox.next().await.unwrap().message, Message::Notification { .. }));
}

#[tokio::test]
async fn reading_that_waits_for_room_says_so_and_says_when_it_goes_on() {
    let limits = Limits { inbound_bytes: 600, ..LIMITS };
    let (peer, mut inbox, mut them) = ends(limits, 4096);
    for _ in 0..3 {
        them.write_all(b"{\"method\":\"u\"}\n").await.unwrap();
    }
    let held = [inbox.next().await.unwrap(), inbox.next().await.unwrap()];
    assert!(peer.held_up().now_or_never().is_none(), "there was room for two");
    let reading = tokio::spawn(async move { (inbox.next().await.is_some(), inbox) });
    peer.held_up().await;
    drop(held);
    let (read, inbox) = reading.await.unwrap();
    assert!(read && peer.held_up().now_or_never().is_none());
    drop(inbox);
    assert!(peer.held_up().now_or_never().is_none(), "nobody waits any more");
}

#[tokio::test]
async fn who_gave_up_waiting_for_room_and_finds_some_later_is_held_up_no_more() {
    let limits = Limits { inbound_bytes: 600, ..LIMITS };
    let (peer, mut inbox, mut them) = ends(limits, 4096);
    for _ in 0..3 {
        them.write_all(b"{\"method\":\"u\"}\n").await.unwrap();
    }
    let held = [inbox.next().await.unwrap(), inbox.next().await.unwrap()];
    tokio::time::timeout(Duration::from_millis(1), inbox.next()).await.unwrap_err();
    assert!(peer.held_up().now_or_never().is_some(), "nothing is read meanwhile");
    drop(held);
    inbox.next().await.unwrap();
    assert!(peer.held_up().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn reading_waits_while_what_was_read_is_held() {
    let limits = Limits { inbound_bytes: 600, ..LIMITS };
    let (_peer, mut inbox, mut them) = ends(limits, 64);
    let flood = tokio::spawn(async move {
        for _ in 0..100 {
            them.write_all(b"{\"method\":\"flood\"}\n").await.unwrap();
        }
    });
    let held = [inbox.next().await.unwrap(), inbox.next().await.unwrap()];
    // With the clock paused this returns only once nothing else can run.
    assert!(tokio::time::timeout(Duration::from_secs(3600), inbox.next()).await.is_err());
    assert!(!flood.is_finished());
    drop(held);
    for _ in 2..100 {
        assert!(inbox.next().await.is_some());
    }
    flood.await.unwrap();
    assert!(inbox.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_frame_larger_than_all_room_still_passes() {
    let (_peer, mut inbox, mut them) = ends(Limits { inbound_bytes: 10, ..LIMITS }, 4096);
    them.write_all(format!("{{\"method\":\"{}\"}}\n{{\"method\":\"b\"}}\n", "a".repeat(1000)).as_bytes())
        .await
        .unwrap();
    let first = inbox.next().await.unwrap();
    assert!(tokio::time::timeout(Duration::from_secs(1), inbox.next()).await.is_err());
    drop(first);
    assert!(
        matches!(inbox.next().await.unwrap().message, Message::Notification { method, .. } if method == "b")
    );
}

#[tokio::test(start_paused = true)]
async fn an_end_that_does_not_read_is_closed_once_too_much_waits() {
    let limits = Limits { outbound_bytes: 1000, ..LIMITS };
    let (peer, inbox, mut them) = ends(limits, 64);
    let mut sent = 0;
    while peer.notify("n", &"x".repeat(100)).is_ok() {
        sent += 1;
        assert!(sent < 100);
    }
    assert!(sent >= 7, "{sent}");
    peer.closed().await;
    drop((peer, inbox));
    let mut rest = Vec::new();
    them.read_to_end(&mut rest).await.unwrap();
    assert!(rest.len() <= 64, "what waited was given up, {} bytes came", rest.len());
}

#[tokio::test(start_paused = true)]
async fn closing_sends_what_is_queued_first() {
    let (peer, inbox, mut them) = ends(LIMITS, 16);
    for _ in 0..10 {
        peer.notify("n", &()).unwrap();
    }
    peer.close();
    assert_eq!(peer.notify("n", &()), Err(Closed));
    let reading = tokio::spawn(async move {
        let mut all = String::new();
        them.read_to_string(&mut all).await.unwrap();
        all
    });
    peer.closed().await;
    drop((peer, inbox));
    assert_eq!(reading.await.unwrap().lines().count(), 10);
}

#[tokio::test(start_paused = true)]
async fn drained_resolves_when_enough_was_written() {
    let (peer, _inbox, mut them) = ends(LIMITS, 64);
    peer.notify("n", &"x".repeat(1000)).unwrap();
    assert!(tokio::time::timeout(Duration::from_secs(1), peer.drained(100)).await.is_err());
    let reading = tokio::spawn(async move { line(&mut them).await });
    peer.drained(1).await;
    assert_eq!(peer.backlog(), 0);
    assert!(reading.await.unwrap().len() > 1000);
}

#[tokio::test]
async fn a_raw_value_with_newlines_stays_one_line() {
    let (peer, _inbox, mut them) = ends(LIMITS, 4096);
    let raw = RawValue::from_string("{\n  \"a\": \"b\\n\"\r\n}".to_owned()).unwrap();
    peer.notify("n", &raw).unwrap();
    let read: serde_json::Value = serde_json::from_str(&line(&mut them).await).unwrap();
    assert_eq!(read["params"]["a"], "b\n");
}

#[tokio::test]
async fn a_call_whose_caller_went_away_is_answered_in_line() {
    let (peer, mut inbox, mut them) = ends(LIMITS, 4096);
    {
        let call = peer.call("ask", &());
        let mut call = pin!(call);
        assert!(futures_util::poll!(call.as_mut()).is_pending());
    }
    them.write_all(b"{\"id\":1,\"result\":1}\n").await.unwrap();
    assert!(matches!(inbox.next().await.unwrap().message, Message::Response { .. }));
}
