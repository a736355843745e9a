//! Updates as opencode, goose and qwen were recorded to send them.

use hob_actors::ports::News;

use super::*;

fn read_all(updates: &[&str]) -> Vec<News> {
    let mut announced = Announced::default();
    let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
    updates.iter().flat_map(|text| read(&raw(text), &mut announced).news).collect()
}

fn events(updates: &[&str]) -> Vec<Event> {
    let event = |news| match news {
        News::Said(event) => event,
        other => panic!("{other:?}"),
    };
    read_all(updates).into_iter().map(event).collect()
}

fn raw(text: &str) -> Json {
    Json::from_valid(text)
}

#[test]
fn text_and_reasoning_are_passed_on_with_the_message_where_one_is_named() {
    let read = events(&[
        r#"{"sessionUpdate":"agent_thought_chunk","content":{"type":"text","text":"hm"},"messageId":"msg_1"}"#,
        r#"{"sessionUpdate":"agent_message_chunk","messageId":"msg_2","content":{"type":"text","text":"a \"b\"\n"}}"#,
        r#"{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":"c"},"_meta":{"goose":{"created":1}}}"#,
    ]);
    assert_eq!(
        read,
        [
            Event::Reasoning { text: "hm".into(), message: Some("msg_1".into()) },
            Event::Text { text: "a \"b\"\n".into(), message: Some("msg_2".into()) },
            Event::Text { text: "c".into(), message: None },
        ]
    );
}

#[test]
fn qwens_usage_on_an_empty_chunk_is_spending_and_no_text() {
    let read = read_all(&[
        r#"{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":""},"_meta":{"usage":{"inputTokens":9653,"outputTokens":3,"totalTokens":9656,"thoughtTokens":1,"cachedReadTokens":0},"durationMs":206}}"#,
    ]);
    let usage = Usage {
        input: Some(9653),
        output: Some(3),
        reasoning: Some(1),
        cached_read: Some(0),
        ..Usage::default()
    };
    assert_eq!(read, [News::Spent(usage)]);
}

#[test]
fn an_empty_chunk_without_usage_is_nothing() {
    assert_eq!(
        read_all(&[r#"{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":""}}"#]),
        []
    );
}

#[test]
fn an_opencode_tool_call_is_announced_and_updated() {
    let read = events(&[
        r#"{"sessionUpdate":"tool_call","toolCallId":"call_1","title":"write","kind":"edit","status":"pending","locations":[],"rawInput":{}}"#,
        r#"{"sessionUpdate":"tool_call_update","toolCallId":"call_1","status":"in_progress","kind":"edit","title":"write","locations":[{"path":"/w/a"}],"rawInput":{"filePath":"/w/a"}}"#,
        r#"{"sessionUpdate":"tool_call_update","toolCallId":"call_1","status":"completed","content":[{"type":"diff","path":"/w/a","newText":"x"}],"rawOutput":{"output":"ok","metadata":{"exit":3}}}"#,
    ]);
    let announced = ToolCall {
        call: "call_1".into(),
        title: "write".into(),
        kind: "edit".into(),
        status: "pending".into(),
        input: Some(raw("{}")),
        ..ToolCall::default()
    };
    assert_eq!(read[0], Event::ToolCall(announced));
    let Event::ToolUpdate(begun) = &read[1] else { panic!("{read:?}") };
    assert_eq!(begun.locations, Some(raw(r#"[{"path":"/w/a"}]"#)));
    assert_eq!(begun.input, Some(raw(r#"{"filePath":"/w/a"}"#)));
    let Event::ToolUpdate(ended) = &read[2] else { panic!("{read:?}") };
    assert_eq!(ended.status.as_deref(), Some("completed"));
    assert_eq!(ended.content, Some(raw(r#"[{"type":"diff","path":"/w/a","newText":"x"}]"#)));
    assert_eq!(ended.output, Some(raw(r#"{"output":"ok","metadata":{"exit":3}}"#)));
    assert_eq!(read.len(), 3);
}

#[test]
fn a_goose_tool_call_has_no_status_and_is_of_a_kind_by_its_title() {
    let read = events(&[
        r#"{"sessionUpdate":"tool_call","toolCallId":"c1","title":"write · a.txt","rawInput":{"path":"a.txt"},"_meta":{"goose":{"toolCall":{}}}}"#,
        r#"{"sessionUpdate":"tool_call_update","toolCallId":"c1","status":"failed","rawOutput":{"stdout":"","stderr":"","exit_code":3}}"#,
    ]);
    let Event::ToolCall(call) = &read[0] else { panic!("{read:?}") };
    assert_eq!((call.kind.as_str(), call.status.as_str()), ("edit", "pending"));
    let Event::ToolUpdate(update) = &read[1] else { panic!("{read:?}") };
    assert_eq!(update.status.as_deref(), Some("failed"));
}

#[test]
fn an_update_that_says_nothing_is_nothing() {
    let read = events(&[
        r#"{"sessionUpdate":"tool_call","toolCallId":"c1","title":"t"}"#,
        r#"{"sessionUpdate":"tool_call_update","toolCallId":"c1","_meta":{"goose":{"toolChainSummary":"s"}}}"#,
    ]);
    assert_eq!(read.len(), 1);
}

#[test]
fn qwens_update_of_a_call_that_was_never_announced_is_preceded_by_an_announcement() {
    let read = events(&[
        r#"{"sessionUpdate":"tool_call_update","toolCallId":"q1","status":"completed","title":"Writing to a.txt","kind":"edit","rawInput":{"path":"a.txt"},"content":[{"type":"diff","path":"a.txt","oldText":"","newText":"x"}]}"#,
        r#"{"sessionUpdate":"tool_call_update","toolCallId":"q1","status":"completed"}"#,
    ]);
    let Event::ToolCall(call) = &read[0] else { panic!("{read:?}") };
    assert_eq!((call.call.as_str(), call.kind.as_str(), call.status.as_str()), ("q1", "edit", "pending"));
    assert_eq!((&call.content, &call.input), (&None, &Some(raw(r#"{"path":"a.txt"}"#))));
    let Event::ToolUpdate(update) = &read[1] else { panic!("{read:?}") };
    assert!(update.content.is_some());
    assert_eq!(update.input, None, "told with the announcement");
    assert_eq!(read.len(), 3);
}

#[test]
fn usage_updates_tell_the_context_and_the_running_cost() {
    let read = events(&[
        r#"{"sessionUpdate":"usage_update","used":2443,"size":128000,"cost":{"amount":0.0044,"currency":"USD"}}"#,
        r#"{"sessionUpdate":"usage_update","used":1042,"size":128000}"#,
    ]);
    let opencode = Usage {
        context_used: Some(2443),
        context_size: Some(128_000),
        cost: Some(0.0044),
        currency: Some("USD".into()),
        ..Usage::default()
    };
    let goose = Usage { context_used: Some(1042), context_size: Some(128_000), ..Usage::default() };
    assert_eq!(read, [Event::Usage(opencode), Event::Usage(goose)]);
}

#[test]
fn plans_commands_and_modes_are_what_the_agent_offers_now() {
    let read = events(&[
        r#"{"sessionUpdate":"plan","entries":[{"content":"a","priority":"high","status":"done?"}]}"#,
        r#"{"sessionUpdate":"available_commands_update","availableCommands":[{"name":"compact","description":"d"}]}"#,
        r#"{"sessionUpdate":"current_mode_update","currentModeId":"yolo"}"#,
        r#"{"sessionUpdate":"config_option_update","configOptions":[{"id":"mode","category":"mode","type":"select","currentValue":"plan","options":[]}]}"#,
    ]);
    let entry = PlanEntry { content: "a".into(), status: "done?".into(), priority: "high".into() };
    assert_eq!(
        read,
        [
            Event::Plan { entries: vec![entry] },
            Event::Commands { commands: raw(r#"[{"name":"compact","description":"d"}]"#) },
            Event::Mode { current: Some("yolo".into()), available: None },
            Event::Mode { current: Some("plan".into()), available: Some(raw("[]")) },
        ]
    );
}

#[test]
fn what_the_union_has_no_word_for_is_kept_raw() {
    for text in [
        r#"{"sessionUpdate":"subagent_update","x":1}"#,
        r#"{"sessionUpdate":"agent_message_chunk","content":{"type":"image","data":"AA==","mimeType":"image/png"}}"#,
        r#"{"sessionUpdate":"tool_call","title":"without an id"}"#,
        r#"{"sessionUpdate":"plan","entries":7}"#,
        r#"{"noTag":true}"#,
        r#"[1]"#,
    ] {
        assert_eq!(events(&[text]), [Event::Raw { update: raw(text) }], "{text}");
    }
}

#[test]
fn members_of_unexpected_types_are_as_good_as_missing() {
    let read = events(&[
        r#"{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":"a"},"messageId":7,"_meta":"x"}"#,
        r#"{"sessionUpdate":"usage_update","used":"many","size":10,"cost":null}"#,
        r#"{"sessionUpdate":"tool_call","toolCallId":"c","title":null,"kind":3,"status":"sleeping","content":null}"#,
    ]);
    assert_eq!(read[0], Event::Text { text: "a".into(), message: None });
    assert_eq!(read[1], Event::Usage(Usage { context_size: Some(10), ..Usage::default() }));
    let Event::ToolCall(call) = &read[2] else { panic!("{read:?}") };
    assert_eq!((call.title.as_str(), call.kind.as_str(), call.status.as_str()), ("c", "other", "sleeping"));
}

#[test]
fn a_notice_of_an_agent_is_a_notice() {
    let read = events(&[
        r#"{"sessionUpdate":"notice","severity":"warning","title":"low","description":"on tokens"}"#,
    ]);
    assert_eq!(read, [Event::Notice { level: Level::Warning, text: "low: on tokens".into() }]);
}
