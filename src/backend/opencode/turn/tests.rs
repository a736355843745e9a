//! Turns as they were seen, and every way to cut the stream of one.

use proptest::prelude::*;

use super::*;

const PROMPT: &str = "msg_1";

fn message(id: &str, rest: &str) -> Message {
    serde_json::from_str(&format!(r#"{{"id":"{id}","role":"assistant"{rest}}}"#)).unwrap()
}

fn part(text: &str) -> Part {
    serde_json::from_str(text).unwrap()
}

fn text_part(message: &str, id: &str, text: &str, over: bool) -> Part {
    let time = if over { r#"{"start":1,"end":2}"# } else { r#"{"start":1}"# };
    part(&format!(r#"{{"id":"{id}","messageID":"{message}","type":"text","text":"{text}","time":{time}}}"#))
}

fn status(kind: &str) -> Heard {
    Heard::Status(Status { kind: kind.to_owned(), ..Status::default() })
}

fn delta(part: &str, text: &str) -> Heard {
    Heard::Delta { part: part.to_owned(), text: text.to_owned() }
}

fn failure(name: &str, said: &str) -> Failure {
    serde_json::from_str(&format!(r#"{{"name":"{name}","data":{{"message":"{said}"}}}}"#)).unwrap()
}

const DONE: &str = r#","finish":"stop","time":{"created":1,"completed":2}"#;

/// The text that was told.
fn told(news: &[News]) -> String {
    let text = |news: &News| match news {
        News::Said(Event::Text { text, .. }) => text.clone(),
        _ => String::new(),
    };
    news.iter().map(text).collect()
}

/// A turn of one message in one piece, as the server tells it.
fn plain_turn() -> Vec<Heard> {
    vec![
        status("busy"),
        Heard::Message(message("msg_2", "")),
        Heard::Part(Box::new(text_part("msg_2", "prt_1", "", false))),
        delta("prt_1", "hello "),
        delta("prt_1", "there"),
        Heard::Part(Box::new(text_part("msg_2", "prt_1", "hello there", true))),
        Heard::Part(Box::new(part(
            r#"{"id":"prt_2","messageID":"msg_2","type":"step-finish","tokens":{"input":10,"output":2},"cost":0.5}"#,
        ))),
        Heard::Message(message("msg_2", DONE)),
        status("idle"),
    ]
}

/// What the server has written down when the turn is over.
fn plain_record() -> Vec<(Message, Vec<Part>)> {
    let step = r#"{"id":"prt_2","messageID":"msg_2","type":"step-finish","tokens":{"input":10,"output":2},"cost":0.5}"#;
    let parts = vec![text_part("msg_2", "prt_1", "hello there", true), part(step)];
    let mut prompt = message(PROMPT, "");
    prompt.role = "user".to_owned();
    vec![(prompt, vec![]), (message("msg_2", DONE), parts)]
}

fn hear_all(turn: &mut Turn, events: &[Heard]) -> Vec<News> {
    events.iter().flat_map(|heard| turn.hear(heard)).collect()
}

#[test]
fn a_turn_is_told_piece_by_piece_and_ends_when_idle_and_complete() {
    let mut turn = Turn::new(1, PROMPT.into());
    let events = plain_turn();
    let news = hear_all(&mut turn, &events[..events.len() - 1]);
    assert_eq!(told(&news), "hello there");
    assert_eq!(turn.end(), None, "complete, and not idle");
    turn.hear(&status("idle"));
    let end = turn.end().unwrap();
    assert_eq!(end.result, Ok("end_turn".into()));
    assert_eq!((end.context, end.spent.output, end.spent.cost), (Some(10), Some(2), Some(0.5)));
}

#[test]
fn after_an_abort_the_end_waits_for_the_message() {
    let mut turn = Turn::new(1, PROMPT.into());
    hear_all(&mut turn, &plain_turn()[..4]);
    turn.hear(&Heard::Failed(failure(ABORTED, "Aborted")));
    turn.hear(&status("idle"));
    assert!(turn.end().is_none() && turn.is_in_doubt());
    let mut aborted = message("msg_2", "");
    aborted.error = Some(failure(ABORTED, "Aborted"));
    turn.hear(&Heard::Message(aborted));
    assert_eq!(turn.end().unwrap().result, Ok("cancelled".into()));
}

#[test]
fn errors_are_told_with_their_words() {
    let mut turn = Turn::new(1, PROMPT.into());
    turn.hear(&Heard::Failed(failure("ProviderModelNotFoundError", "no such model")));
    turn.hear(&status("idle"));
    let expected = Err("ProviderModelNotFoundError: no such model".to_owned());
    assert_eq!(turn.end().unwrap().result, expected, "before there is an answer");

    let mut turn = Turn::new(1, PROMPT.into());
    let mut failed = message("msg_2", "");
    failed.error = Some(failure("APIError", "401"));
    turn.hear(&Heard::Message(failed));
    turn.hear(&status("idle"));
    assert_eq!(turn.end().unwrap().result, Err("APIError: 401".into()));
}

#[test]
fn stop_reasons_are_the_protocols_words() {
    let cases = [
        (Some("stop"), "end_turn"),
        (Some("tool-calls"), "end_turn"),
        (Some("length"), "max_tokens"),
        (Some("content-filter"), "refusal"),
        (Some("odd"), "odd"),
        (None, "end_turn"),
    ];
    for (finish, word) in cases {
        assert_eq!(stop_reason(finish), word);
    }
}

#[test]
fn what_belongs_to_an_older_turn_is_not_told() {
    let mut turn = Turn::new(1, "msg_5".into());
    let old = text_part("msg_2", "prt_1", "old", true);
    let news = hear_all(
        &mut turn,
        &[Heard::Message(message("msg_2", DONE)), Heard::Part(Box::new(old)), status("idle")],
    );
    assert_eq!(news, []);
    assert_eq!(turn.end(), None);
}

#[test]
fn a_turn_that_nobody_knows_of_is_given_up_after_a_few_looks() {
    let mut turn = Turn::new(1, PROMPT.into());
    let record = Record { idle: true, messages: &[] };
    for _ in 1..UNKNOWN_MAX {
        turn.catch_up(&record);
        assert_eq!(turn.end(), None);
    }
    turn.catch_up(&record);
    assert_eq!(turn.end().unwrap().result, Err("opencode does not know the prompt".into()));
}

#[test]
fn a_message_that_stays_unfinished_at_rest_is_a_failure() {
    let mut turn = Turn::new(1, PROMPT.into());
    let mut messages = plain_record();
    messages[1].0 = message("msg_2", "");
    for _ in 0..UNKNOWN_MAX {
        turn.catch_up(&Record { idle: true, messages: &messages });
    }
    let expected = Err("opencode stopped in the middle of its answer".to_owned());
    assert_eq!(turn.end().unwrap().result, expected);
}

proptest! {
    /// Whatever of the stream is lost, and wherever it comes back: the text is told once, whole
    /// and in order, the cost is counted once, and the turn ends.
    #[test]
    fn a_gap_loses_nothing_and_tells_nothing_twice(from in 0usize..9, n in 1usize..10, at_once in any::<bool>()) {
        let events = plain_turn();
        let to = (from + n).min(events.len());
        let mut turn = Turn::new(1, PROMPT.into());
        let mut news = hear_all(&mut turn, &events[..from]);
        turn.missed_something();
        let record = plain_record();
        if at_once {
            // What was read may be older or newer than what the stream brings next.
            news.extend(turn.catch_up(&Record { idle: to == events.len(), messages: &record[..1] }));
        }
        news.extend(hear_all(&mut turn, &events[to..]));
        // After a gap what is written down is always read before the end is believed.
        news.extend(turn.catch_up(&Record { idle: true, messages: &record }));
        prop_assert_eq!(told(&news), "hello there");
        let spent = news.iter().filter(|news| matches!(news, News::Spent(_))).count();
        prop_assert_eq!(spent, 1);
        prop_assert_eq!(turn.end().map(|end| end.result), Some(Ok("end_turn".to_owned())));
    }
}
