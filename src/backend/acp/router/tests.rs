//! A router that hears lines of an agent's output, as they came, and a sink that remembers.

use std::sync::Mutex;

use hob_actors::event::Usage;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};

use super::*;
use crate::jsonrpc::{self, Inbox, Limits, Oddities};

const LIMITS: Limits = Limits {
    max_frame: 1 << 20,
    inbound_bytes: 1 << 20,
    outbound_bytes: 1 << 20,
    oddities: Oddities::Replace,
};

/// A session that is open, and everything around it.
struct Stage {
    router: Router,
    inbox: Inbox,
    peer: Peer,
    in_flight: Arc<InFlight>,
    agent: DuplexStream,
    told: Arc<Mutex<Vec<News>>>,
}

impl Stage {
    fn new() -> Self {
        let (ours, agent) = duplex(1 << 20);
        let (read, write) = split(ours);
        let (peer, inbox) = jsonrpc::start(read, write, LIMITS);
        let told: Arc<Mutex<Vec<News>>> = Arc::default();
        let into = told.clone();
        let sink: NewsSink = Arc::new(move |news, _permit| into.lock().unwrap().push(news));
        let in_flight = Arc::new(InFlight::default());
        let mut router = Router::new(peer.clone(), sink, in_flight.clone());
        router.open("s1");
        Self { router, inbox, peer, in_flight, agent, told }
    }

    /// The agent writes these lines, and the router hears as many messages.
    async fn hear(&mut self, lines: &[&str]) -> Vec<News> {
        for line in lines {
            self.agent.write_all(format!("{line}\n").as_bytes()).await.unwrap();
            let delivery = self.inbox.next().await.unwrap();
            self.router.take(delivery);
        }
        std::mem::take(&mut *self.told.lock().unwrap())
    }

    async fn line(&mut self) -> serde_json::Value {
        let mut text = Vec::new();
        loop {
            match self.agent.read_u8().await.unwrap() {
                b'\n' => return serde_json::from_slice(&text).unwrap(),
                byte => text.push(byte),
            }
        }
    }

    fn prompt(&self, number: u64) -> u64 {
        let mut sent = 0;
        self.in_flight
            .prompt(number, || {
                sent = self.peer.send_call("session/prompt", &())?;
                Ok(sent)
            })
            .unwrap();
        sent
    }
}

fn update(session: &str, update: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","method":"session/update","params":{{"sessionId":"{session}","update":{update}}}}}"#
    )
}

fn chunk(session: &str, text: &str) -> String {
    update(
        session,
        &format!(r#"{{"sessionUpdate":"agent_message_chunk","content":{{"type":"text","text":"{text}"}}}}"#),
    )
}

fn text(text: &str) -> News {
    News::Said(Event::Text { text: text.into(), message: None })
}

#[tokio::test]
async fn a_prompt_settles_after_everything_that_was_said_before_it() {
    let mut stage = Stage::new();
    let id = stage.prompt(7);
    let answer = format!(
        r#"{{"jsonrpc":"2.0","id":{id},"result":{{"stopReason":"end_turn","usage":{{"totalTokens":1042,"inputTokens":1039,"outputTokens":3}}}}}}"#
    );
    let told = stage.hear(&[&chunk("s1", "a"), &chunk("s1", "b"), &answer, &chunk("s1", "late")]).await;
    let usage = Usage { input: Some(1039), output: Some(3), ..Usage::default() };
    let settled = Settled { prompt: 7, result: Ok("end_turn".into()), usage: Some(usage) };
    assert_eq!(told, [text("a"), text("b"), News::Settled(settled), text("late")]);
}

#[tokio::test]
async fn a_stop_reason_is_kept_whatever_it_is_and_an_error_is_told() {
    for (result, expected) in [
        (r#""result":{"stopReason":"bored"}"#, Ok("bored".to_owned())),
        (
            r#""error":{"code":-32603,"message":"Request was aborted."}"#,
            Err("Request was aborted. (-32603)".to_owned()),
        ),
        (r#""result":{}"#, Err("the agent answered the prompt without a stop reason".to_owned())),
    ] {
        let mut stage = Stage::new();
        let id = stage.prompt(1);
        let told = stage.hear(&[&format!(r#"{{"id":{id},{result}}}"#)]).await;
        assert_eq!(told, [News::Settled(Settled { prompt: 1, result: expected, usage: None })]);
    }
}

#[tokio::test]
async fn a_prompt_that_needs_a_log_in_is_told_with_the_ways_to() {
    let mut stage = Stage::new();
    stage.router.ways.learn(
        &RawValue::from_string(r#"{"authMethods":[{"id":"key","type":"env_var","varName":"KEY"}]}"#.into())
            .unwrap(),
    );
    let id = stage.prompt(3);
    let told = stage.hear(&[&format!(r#"{{"id":{id},"error":{{"code":-32000,"message":"No key"}}}}"#)]).await;
    let [News::LogIn { prompt: 3, why }] = &told[..] else { panic!("{told:?}") };
    assert!(why.contains("No key") && why.contains("`key` (set `KEY`)"), "{why}");
}

#[tokio::test]
async fn the_usage_of_a_cancelled_turn_is_not_believed() {
    let mut stage = Stage::new();
    assert!(!stage.in_flight.cancel());
    let id = stage.prompt(1);
    assert!(stage.in_flight.cancel());
    let answer = format!(
        r#"{{"id":{id},"result":{{"stopReason":"cancelled","usage":{{"inputTokens":0,"outputTokens":0}}}}}}"#
    );
    let told = stage.hear(&[&answer]).await;
    assert_eq!(told, [News::Settled(Settled { prompt: 1, result: Ok("cancelled".into()), usage: None })]);
}

#[tokio::test]
async fn gooses_failure_in_words_is_a_failure_and_others_are_believed() {
    for (tells_in_words, failed) in [(true, true), (false, false)] {
        let mut stage = Stage::new();
        stage.router.tells_in_words = tells_in_words;
        let id = stage.prompt(1);
        let answer =
            format!(r#"{{"id":{id},"result":{{"stopReason":"end_turn","usage":{{"inputTokens":9}}}}}}"#);
        let told = stage
            .hear(&[&chunk("s1", "Ran into this error: Authen"), &chunk("s1", "tication"), &answer])
            .await;
        let News::Settled(settled) = &told[2] else { panic!("{told:?}") };
        assert_eq!((settled.result.is_err(), settled.usage.is_none()), (failed, failed));
    }
}

#[tokio::test]
async fn updates_of_a_session_without_a_name_yet_are_heard_once_it_has_one() {
    let mut stage = Stage::new();
    stage.router.close();
    let told = stage.hear(&[&chunk("s2", "a"), &chunk("s3", "not ours"), &chunk("s2", "b")]).await;
    assert_eq!(told, []);
    stage.router.open("s2");
    assert_eq!(stage.told.lock().unwrap().drain(..).collect::<Vec<_>>(), [text("a"), text("b")]);
    assert_eq!(stage.hear(&[&chunk("s3", "not ours")]).await, []);
}

#[tokio::test]
async fn what_is_parked_is_bounded() {
    let mut stage = Stage::new();
    stage.router.close();
    for _ in 0..PARKED_MAX + 50 {
        stage.hear(&[&chunk("s2", "x")]).await;
    }
    stage.router.open("s2");
    assert_eq!(stage.told.lock().unwrap().len(), PARKED_MAX);
}

#[tokio::test]
async fn a_replay_is_counted_and_only_the_present_is_heard_of_it() {
    let mut stage = Stage::new();
    stage.router.begin_replay();
    let told = stage
        .hear(&[
            &update("s1", r#"{"sessionUpdate":"user_message_chunk","content":{"type":"text","text":"q"}}"#),
            &chunk("s1", "a"),
            &update("s1", r#"{"sessionUpdate":"tool_call","toolCallId":"c","title":"t"}"#),
            &update("s1", r#"{"sessionUpdate":"current_mode_update","currentModeId":"plan"}"#),
        ])
        .await;
    assert_eq!(told, [News::Said(Event::Mode { current: Some("plan".into()), available: None })]);
    assert_eq!(stage.router.end_replay(), 3);
    assert_eq!(stage.hear(&[&chunk("s1", "b")]).await, [text("b")]);
}

const QWEN_ASKS: &str = r#"{"jsonrpc":"2.0","id":0,"method":"session/request_permission","params":{"sessionId":"s1",
    "options":[{"optionId":"proceed_once","name":"Allow","kind":"allow_once"},{"optionId":"cancel","name":"Reject","kind":"reject_once"}],
    "toolCall":{"toolCallId":"q1","status":"pending","title":"Writing to a.txt","content":[{"type":"diff","path":"a.txt","oldText":null,"newText":"x"}],"locations":[],"kind":"edit","rawInput":{"file_path":"/w/a.txt"}}}}"#;

#[tokio::test]
async fn qwen_asks_before_it_announces_and_is_answered_by_option() {
    let mut stage = Stage::new();
    let told = stage.hear(&[&QWEN_ASKS.replace('\n', " ")]).await;
    assert!(
        matches!(&told[0], News::Said(Event::ToolCall(call)) if call.call == "q1" && call.kind == "edit")
    );
    let News::Asked(number, ask) = &told[1] else { panic!("{told:?}") };
    assert_eq!(
        (ask.title.as_str(), ask.kind.as_str(), ask.call.as_deref()),
        ("Writing to a.txt", "edit", Some("q1"))
    );
    assert_eq!(ask.options[1].id, "cancel");
    assert!(ask.input.is_some() && ask.content.is_some());

    let id = stage.in_flight.settle(*number).unwrap();
    answer(&stage.peer, &id, Some("proceed_once".into()));
    let said = stage.line().await;
    assert_eq!(said["id"], 0);
    assert_eq!(
        said["result"],
        serde_json::json!({"outcome": {"outcome": "selected", "optionId": "proceed_once"}})
    );
    assert!(stage.in_flight.settle(*number).is_none());
}

#[tokio::test]
async fn a_question_can_be_cancelled_and_taken_back() {
    let mut stage = Stage::new();
    let asks = QWEN_ASKS.replace('\n', " ").replace("\"id\":0", "\"id\":\"uuid-1\"");
    let told = stage.hear(&[&asks, r#"{"method":"$/cancel_request","params":{"requestId":"uuid-1"}}"#]).await;
    let News::Asked(number, _) = &told[1] else { panic!("{told:?}") };
    assert_eq!(told[2], News::Withdrew(*number));
    let id = stage.in_flight.settle(*number).unwrap();
    answer(&stage.peer, &id, None);
    assert_eq!(stage.line().await["result"]["outcome"]["outcome"], "cancelled");
}

#[tokio::test]
async fn a_question_takes_from_the_announcement_what_it_does_not_say_better() {
    let mut stage = Stage::new();
    let announce =
        update("s1", r#"{"sessionUpdate":"tool_call","toolCallId":"c","title":"rm -r x","kind":"execute"}"#);
    let ask = r#"{"id":5,"method":"session/request_permission","params":{"sessionId":"s1","toolCall":{"toolCallId":"c"},"options":[{"optionId":"y"}]}}"#;
    let told = stage.hear(&[&announce, ask]).await;
    let News::Asked(_, ask) = &told[1] else { panic!("{told:?}") };
    assert_eq!(
        (ask.title.as_str(), ask.kind.as_str(), ask.options[0].name.as_str()),
        ("rm -r x", "execute", "y")
    );
    for (asked, shown) in [("rm", "rm -r x"), ("Remove x?", "Remove x?"), ("", "rm -r x")] {
        assert_eq!(fuller(Some(asked.into()), "rm -r x".into()), shown);
    }
}

#[tokio::test]
async fn what_was_never_offered_is_refused_and_is_no_news() {
    let mut stage = Stage::new();
    let told = stage
        .hear(&[
            r#"{"id":1,"method":"fs/write_text_file","params":{"path":"/a"}}"#,
            r#"{"id":2,"method":"session/request_permission","params":{"sessionId":"other","toolCall":{"toolCallId":"c"},"options":[{"optionId":"y"}]}}"#,
            r#"{"id":3,"method":"session/request_permission","params":{"sessionId":"s1"}}"#,
        ])
        .await;
    assert_eq!(told, []);
    let codes = [stage.line().await, stage.line().await, stage.line().await]
        .map(|said| said["error"]["code"].clone());
    assert_eq!(codes, [-32601, -32602, -32602]);
}

#[tokio::test]
async fn a_notification_that_nobody_knows_is_kept_raw() {
    let mut stage = Stage::new();
    let told = stage.hear(&[r#"{"method":"_x/y","params":{"a":1}}"#]).await;
    let update = Json::from_valid(r#"{"method":"_x/y","params":{"a":1}}"#);
    assert_eq!(told, [News::Said(Event::Raw { update })]);
}

#[tokio::test]
async fn noise_is_told_a_few_times_and_summed_up_at_the_end_of_the_turn() {
    let mut stage = Stage::new();
    let id = stage.prompt(1);
    let mut lines = vec!["debug: hello"; 10];
    let answer = format!(r#"{{"id":{id},"result":{{"stopReason":"end_turn"}}}}"#);
    lines.push(&answer);
    let told = stage.hear(&lines).await;
    let notices = told.iter().filter(|news| matches!(news, News::Said(Event::Notice { .. }))).count();
    assert_eq!((notices, told.len()), (4, 5), "{told:?}");
}

#[tokio::test]
async fn an_answer_to_nothing_is_given_back_and_is_no_news() {
    let mut stage = Stage::new();
    let told =
        stage.hear(&[r#"{"error":{"code":-32700,"message":"parse"}}"#, r#"{"id":99,"result":{}}"#]).await;
    assert_eq!(told, []);
}
