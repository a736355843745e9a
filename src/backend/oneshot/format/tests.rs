//! Recorded lines of opencode 1.18.33, goose 1.34.0 and qwen-code 0.15.10 (shortened where they list
//! tools), each with what the run is taken for.

use super::*;
use crate::backend::oneshot::outcome::{self, Facts};
use crate::backend::process::RawExit;

/// What lines say, shortly; and what they say of the whole run.
fn read(lines: &[&str]) -> (Vec<String>, Told) {
    let mut format = detect(lines[0]).expect("a known format");
    let said = lines.iter().flat_map(|line| format.read(line)).map(|news| sketch(&news)).collect();
    (said, format.told())
}

fn sketch(news: &News) -> String {
    match news {
        News::Said(Event::Text { text, .. }) => format!("text {text}"),
        News::Said(Event::Reasoning { text, .. }) => format!("reasoning {text}"),
        News::Said(Event::ToolCall(call)) => {
            format!(
                "call {} {} {} {}",
                call.call,
                call.kind,
                call.title,
                call.input.as_ref().unwrap().as_str()
            )
        }
        News::Said(Event::ToolUpdate(update)) => {
            let shown = update.content.as_ref().map(Json::as_str).unwrap_or_default();
            let text = shown.split("\"text\":\"").nth(1).unwrap_or_default().split('"').next().unwrap();
            format!("{} {} {text}", update.call, update.status.as_deref().unwrap())
        }
        News::Said(Event::Raw { update }) => format!("raw {}", update.as_str()),
        News::Spent(usage) => format!("spent {:?}/{:?}", usage.input, usage.output),
        other => format!("{other:?}"),
    }
}

fn judge(lines: &[&str], (code, signal): (Option<i32>, Option<i32>), stderr: &str) -> Result<String, String> {
    let (_, told) = if lines.is_empty() { (Vec::new(), Told::default()) } else { read(lines) };
    let exit = RawExit { code, signal };
    outcome::judge(&Facts { program: "x", told: &told, exit, cancelled: false, stderr })
}

/// An exit by itself.
fn code(code: i32) -> (Option<i32>, Option<i32>) {
    (Some(code), None)
}

fn usage(told: &Told) -> (Option<u64>, Option<u64>) {
    told.usage.as_ref().map(|usage| (usage.input, usage.output)).unwrap_or_default()
}

// goose ------------------------------------------------------------------------------------------

const GOOSE: [&str; 6] = [
    r#"{"type":"message","message":{"id":"chatcmpl-fake-000001","role":"assistant","created":1795849213,"content":[{"type":"thinking","thinking":"hm","signature":""}],"metadata":{"userVisible":true,"agentVisible":true}}}"#,
    r#"{"type":"message","message":{"id":"chatcmpl-fake-000001","role":"assistant","created":1795849213,"content":[{"type":"text","text":"hello "}],"metadata":{"userVisible":true,"agentVisible":true}}}"#,
    r#"{"type":"message","message":{"id":"chatcmpl-fake-000001","role":"assistant","created":1795849213,"content":[{"type":"toolRequest","id":"call_1","toolCall":{"status":"success","value":{"name":"write","arguments":{"path":"notes.txt","content":"abc"}}},"_meta":{"goose_extension":"developer"}}],"metadata":{"userVisible":true,"agentVisible":true}}}"#,
    r#"{"type":"message","message":{"id":"msg_cf8bc6da","role":"user","created":1795849213,"content":[{"type":"toolResponse","id":"call_1","toolResult":{"status":"success","value":{"content":[{"type":"text","text":"Created notes.txt (1 lines)","annotations":{"priority":0.0}}],"isError":false}}}],"metadata":{"userVisible":true,"agentVisible":true}}}"#,
    r#"{"type":"message","message":{"id":"msg_5e3b0c4d","role":"user","created":1795849534,"content":[{"type":"toolResponse","id":"call_2","toolResult":{"status":"success","value":{"content":[{"type":"text","text":"exited with code 3","annotations":{"priority":0.0}}],"structuredContent":{"stdout":"hi","stderr":"","exit_code":3},"isError":true}}}],"metadata":{"userVisible":true,"agentVisible":true}}}"#,
    r#"{"type":"complete","total_tokens":1282,"input_tokens":1266,"output_tokens":16}"#,
];
const GOOSE_REFUSED: [&str; 2] = [
    r#"{"type":"message","message":{"id":null,"role":"assistant","created":1795849244,"content":[{"type":"text","text":"Ran into this error: Authentication error: Authentication failed. Status: 401 Unauthorized. Response: no such key.\n\nPlease retry if you think this is a transient or recoverable error."}],"metadata":{"userVisible":true,"agentVisible":true}}}"#,
    r#"{"type":"complete","total_tokens":null}"#,
];
const GOOSE_LIMIT: [&str; 2] = [
    r#"{"type":"message","message":{"id":null,"role":"assistant","created":1795849430,"content":[{"type":"text","text":"I've reached the maximum number of actions I can do without user input. Would you like me to continue?"}],"metadata":{"userVisible":true,"agentVisible":true}}}"#,
    r#"{"type":"complete","total_tokens":2154,"input_tokens":2152,"output_tokens":2}"#,
];

#[test]
fn goose_tells_everything() {
    let (said, told) = read(&GOOSE);
    assert_eq!(
        said,
        [
            "reasoning hm",
            "text hello ",
            r#"call call_1 edit write · notes.txt {"path":"notes.txt","content":"abc"}"#,
            "call_1 completed Created notes.txt (1 lines)",
            "call_2 failed exited with code 3",
        ]
    );
    assert_eq!(usage(&told), (Some(1266), Some(16)));
    assert_eq!(judge(&GOOSE, code(0), ""), Ok("end_turn".into()));
}

#[test]
fn goose_exits_with_0_after_an_error_of_the_model() {
    let error = judge(&GOOSE_REFUSED, code(0), "").unwrap_err();
    assert!(error.starts_with("Ran into this error: Authentication error"), "{error}");
    let (said, told) = read(&GOOSE_REFUSED);
    assert!(said[0].starts_with("text Ran into this error"), "{said:?}");
    assert_eq!(told.usage, None);
}

#[test]
fn what_a_model_says_of_errors_is_none() {
    let quoted = GOOSE_REFUSED[0].replace("\"id\":null", "\"id\":\"chatcmpl-1\"");
    assert_eq!(judge(&[&quoted, GOOSE_REFUSED[1]], code(0), ""), Ok("end_turn".into()));
}

#[test]
fn goose_needs_approval_where_there_is_nobody() {
    let stderr = "Error: Tool approval required in non-interactive mode with GooseMode::approve.";
    let error = judge(&GOOSE[2..3], code(1), stderr).unwrap_err();
    assert_eq!(error, format!("`x` exited with code 1; stderr: {stderr}"));
}

#[test]
fn goose_stops_at_its_own_limit() {
    assert_eq!(judge(&GOOSE_LIMIT, code(0), ""), Ok("max_turn_requests".into()));
}

#[test]
fn goose_knows_no_such_session() {
    let error = judge(&[], code(1), "Error: No session found with name 'nope'").unwrap_err();
    assert!(error.contains("No session found"), "{error}");
}

#[test]
fn goose_that_is_interrupted_from_outside_ends_in_good_order_and_tells_no_usage() {
    let lines = [GOOSE[1], GOOSE_REFUSED[1]];
    assert_eq!(judge(&lines, code(0), ""), Ok("end_turn".into()));
    assert_eq!(read(&lines).1.usage, None);
    assert_eq!(judge(&GOOSE[1..2], (None, Some(15)), ""), Err("`x` was killed by signal 15".into()));
}

#[test]
fn an_output_that_breaks_off_is_no_success() {
    let error = judge(&GOOSE[..2], code(0), "").unwrap_err();
    assert!(error.contains("before it had said how"), "{error}");
    assert!(judge(&QWEN[..2], code(0), "").is_err());
}

// qwen -------------------------------------------------------------------------------------------

const QWEN: [&str; 6] = [
    r#"{"type":"system","subtype":"init","uuid":"dca3bd0b","session_id":"dca3bd0b","cwd":"/w","tools":["edit"],"mcp_servers":[],"model":"fake-model","permission_mode":"yolo","slash_commands":["batch"],"qwen_code_version":"0.15.10","agents":["general-purpose"]}"#,
    r#"{"type":"assistant","uuid":"df8481d4","session_id":"dca3bd0b","parent_tool_use_id":null,"message":{"id":"df8481d4","type":"message","role":"assistant","model":"fake-model","content":[{"type":"thinking","thinking":"hm","signature":""}],"stop_reason":null,"usage":{"input_tokens":0,"output_tokens":0}}}"#,
    r#"{"type":"assistant","uuid":"cf4ae8f3","session_id":"dca3bd0b","parent_tool_use_id":null,"message":{"id":"cf4ae8f3","type":"message","role":"assistant","model":"fake-model","content":[{"type":"tool_use","id":"call_1","name":"run_shell_command","input":{"command":"echo hi; exit 3"}}],"stop_reason":"tool_use","usage":{"input_tokens":100,"output_tokens":7,"cache_read_input_tokens":0,"total_tokens":107}}}"#,
    r#"{"type":"user","uuid":"f9ba7155","session_id":"dca3bd0b","parent_tool_use_id":null,"message":{"role":"user","content":[{"type":"tool_result","tool_use_id":"call_1","is_error":false,"content":"hi"}]}}"#,
    r#"{"type":"assistant","uuid":"30c84b27","session_id":"dca3bd0b","parent_tool_use_id":null,"message":{"id":"30c84b27","type":"message","role":"assistant","model":"fake-model","content":[{"type":"text","text":"done now"}],"stop_reason":null,"usage":{"input_tokens":100,"output_tokens":7,"cache_read_input_tokens":0,"total_tokens":107}}}"#,
    r#"{"type":"result","subtype":"success","uuid":"a5377c1e","session_id":"dca3bd0b","is_error":false,"duration_ms":3765,"duration_api_ms":269,"num_turns":3,"result":"done now","usage":{"input_tokens":300,"output_tokens":21,"cache_read_input_tokens":0,"total_tokens":321},"permission_denials":[]}"#,
];
const QWEN_REFUSED: &str = r#"{"type":"result","subtype":"success","uuid":"e3055fb1","session_id":"67716c6a","is_error":false,"duration_ms":502,"duration_api_ms":148,"num_turns":1,"result":"[API Error: 401 no such key]","usage":{"input_tokens":0,"output_tokens":0,"cache_read_input_tokens":0},"permission_denials":[]}"#;

#[test]
fn qwen_tells_everything() {
    let (said, told) = read(&QWEN);
    assert_eq!(
        said,
        [
            "reasoning hm",
            r#"call call_1 execute run_shell_command · echo hi; exit 3 {"command":"echo hi; exit 3"}"#,
            "call_1 completed hi",
            "text done now",
        ]
    );
    assert_eq!(usage(&told), (Some(300), Some(21)));
    assert_eq!(judge(&QWEN, code(0), ""), Ok("end_turn".into()));
}

#[test]
fn what_came_in_pieces_is_not_told_twice() {
    let piece = |event: &str| {
        format!(
            r#"{{"type":"stream_event","uuid":"5b0df1e2","session_id":"s","parent_tool_use_id":null,"event":{event}}}"#
        )
    };
    let whole = |content: &str| {
        format!(
            r#"{{"type":"assistant","uuid":"6ee03de3","session_id":"s","parent_tool_use_id":null,"message":{{"id":"6ee03de3","role":"assistant","content":[{content}]}}}}"#
        )
    };
    let lines = [
        piece(
            r#"{"type":"message_start","message":{"id":"13dadeb7","role":"assistant","model":"m","content":[]}}"#,
        ),
        piece(
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
        ),
        piece(
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}"#,
        ),
        piece(r#"{"type":"content_block_stop","index":0}"#),
        whole(r#"{"type":"thinking","thinking":"hm","signature":""}"#),
        piece(r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"dash "}}"#),
        piece(r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"ok"}}"#),
        whole(r#"{"type":"text","text":"dash ok"}"#),
        piece(
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{}"}}"#,
        ),
        piece(r#"{"type":"message_stop"}"#),
        whole(r#"{"type":"text","text":"not in pieces"}"#),
    ];
    let (said, _) = read(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(said, ["reasoning hm", "text dash ", "text ok", "text not in pieces"]);
}

#[test]
fn qwen_says_success_after_an_error_of_the_model() {
    assert_eq!(judge(&[QWEN[0], QWEN_REFUSED], code(0), ""), Err("[API Error: 401 no such key]".into()));
    let refused =
        QWEN_REFUSED.replace("\"is_error\":false", "\"is_error\":true").replace("[API Error: 401 ", "");
    assert!(judge(&[QWEN[0], &refused], code(0), "").is_err());
}

#[test]
fn qwen_stops_at_its_own_limit_with_an_exit_of_its_own() {
    let error = judge(&QWEN[..4], code(53), "Reached max session turns for this session.").unwrap_err();
    assert_eq!(error, "`x` exited with code 53; stderr: Reached max session turns for this session.");
}

#[test]
fn qwen_that_is_cancelled_from_outside_or_knows_no_such_session_fails() {
    assert!(judge(&QWEN[..1], code(130), "Operation cancelled.").unwrap_err().contains("code 130"));
    assert!(
        judge(&[], code(1), "No saved session found with ID 1.").unwrap_err().contains("No saved session")
    );
}

#[test]
fn claude_code_tells_cost_limit_and_work_of_others() {
    let limit = r#"{"type":"result","subtype":"error_max_turns","session_id":"s","is_error":false,"num_turns":2,"total_cost_usd":0.25,"usage":{"input_tokens":3,"output_tokens":4,"cache_creation_input_tokens":5,"cache_read_input_tokens":6}}"#;
    let below = r#"{"type":"assistant","session_id":"s","parent_tool_use_id":"toolu_1","message":{"id":"m","role":"assistant","content":[{"type":"text","text":"of a helper"}]}}"#;
    let (said, told) = read(&[QWEN[0], below, limit]);
    assert_eq!(said, [format!("raw {below}")]);
    let usage = told.usage.clone().unwrap();
    assert_eq!((usage.cost, usage.currency.as_deref()), (Some(0.25), Some("USD")));
    assert_eq!((usage.cached_write, usage.cached_read), (Some(5), Some(6)));
    assert_eq!(judge(&[QWEN[0], limit], code(0), ""), Ok("max_turn_requests".into()));
}

#[test]
fn a_result_that_nothing_came_before_is_the_answer() {
    assert_eq!(read(&[QWEN[0], QWEN[5]]).0, ["text done now"]);
}

// opencode ---------------------------------------------------------------------------------------

const OPENCODE: [&str; 6] = [
    r#"{"type":"step_start","timestamp":1795849228597,"sessionID":"ses_ddf0","part":{"id":"prt_1","messageID":"msg_1","sessionID":"ses_ddf0","type":"step-start"}}"#,
    r#"{"type":"reasoning","timestamp":1795849242868,"sessionID":"ses_ddf0","part":{"id":"prt_2","messageID":"msg_1","sessionID":"ses_ddf0","type":"reasoning","text":"hm","time":{"start":1795849242796,"end":1795849242803}}}"#,
    r#"{"type":"tool_use","timestamp":1795849232777,"sessionID":"ses_ddf0","part":{"type":"tool","tool":"bash","callID":"call_1","state":{"status":"completed","input":{"command":"echo hi; exit 3"},"output":"hi\n","metadata":{"output":"hi\n","exit":3,"truncated":false},"title":"echo hi; exit 3","time":{"start":1795849228743,"end":1795849232511}},"id":"prt_3","sessionID":"ses_ddf0","messageID":"msg_1"}}"#,
    r#"{"type":"step_finish","timestamp":1795849232777,"sessionID":"ses_ddf0","part":{"id":"prt_4","reason":"tool-calls","messageID":"msg_1","sessionID":"ses_ddf0","type":"step-finish","tokens":{"total":107,"input":100,"output":6,"reasoning":1,"cache":{"write":2,"read":3}},"cost":0.000114}}"#,
    r#"{"type":"text","timestamp":1795849232890,"sessionID":"ses_ddf0","part":{"id":"prt_5","messageID":"msg_2","sessionID":"ses_ddf0","type":"text","text":"done now","time":{"start":1795849232814,"end":1795849232822}}}"#,
    r#"{"type":"step_finish","timestamp":1795849232897,"sessionID":"ses_ddf0","part":{"id":"prt_6","reason":"stop","messageID":"msg_2","sessionID":"ses_ddf0","type":"step-finish","tokens":{"total":107,"input":100,"output":7,"reasoning":0,"cache":{"write":0,"read":0}},"cost":0.000114}}"#,
];
const OPENCODE_REFUSED: &str = r#"{"type":"error","timestamp":1795849259772,"sessionID":"ses_ddf0","error":{"name":"APIError","data":{"message":"no such key","statusCode":401,"isRetryable":false,"responseHeaders":{"connection":"keep-alive"},"responseBody":"{}","metadata":{"url":"http://127.0.0.1:41595/v1/chat/completions"}}}}"#;
const OPENCODE_REJECTED: &str = r#"{"type":"tool_use","timestamp":1795849428856,"sessionID":"ses_ddf0","part":{"type":"tool","tool":"write","callID":"call_2","state":{"status":"error","input":{"filePath":"n.txt","content":"abc"},"error":"The user rejected permission to use this specific tool call.","time":{"start":1795849428548,"end":1795849428658}},"id":"prt_7","sessionID":"ses_ddf0","messageID":"msg_1"}}"#;

#[test]
fn opencode_tells_everything() {
    let (said, told) = read(&OPENCODE);
    assert_eq!(
        said,
        [
            "reasoning hm",
            r#"call call_1 execute echo hi; exit 3 {"command":"echo hi; exit 3"}"#,
            "call_1 completed hi\\n",
            "spent Some(100)/Some(6)",
            "text done now",
            "spent Some(100)/Some(7)",
        ]
    );
    let News::Spent(spent) = &detect(OPENCODE[3]).unwrap().read(OPENCODE[3])[0] else { panic!() };
    assert_eq!((spent.reasoning, spent.cached_write, spent.cached_read), (Some(1), Some(2), Some(3)));
    assert_eq!((spent.cost, spent.currency.as_deref()), (Some(0.000114), Some("USD")));
    assert_eq!(usage(&told), (Some(200), Some(13)));
    let run = told.usage.unwrap();
    assert_eq!((run.context_used, run.currency.as_deref()), (Some(100), Some("USD")));
    assert_eq!(judge(&OPENCODE, code(0), ""), Ok("end_turn".into()));
}

#[test]
fn opencode_tells_an_error_of_the_model_by_line_and_exit() {
    let error = judge(&[OPENCODE_REFUSED], code(1), "").unwrap_err();
    assert_eq!(error, "no such key (APIError); `x` exited with code 1");
}

#[test]
fn opencode_rejects_what_it_would_have_to_ask_and_exits_well() {
    let stderr = "! permission requested: edit (n.txt); auto-rejecting";
    assert_eq!(judge(&[OPENCODE[0], OPENCODE_REJECTED, OPENCODE[3]], code(0), stderr), Ok("end_turn".into()));
    let (said, _) = read(&[OPENCODE_REJECTED]);
    assert!(said[1].starts_with("call_2 failed The user rejected permission"), "{said:?}");
}

#[test]
fn opencode_that_is_killed_or_knows_no_such_session_fails() {
    assert!(judge(&OPENCODE[..1], (None, Some(9)), "").unwrap_err().contains("signal 9"));
    assert!(judge(&[], code(1), "Error: Session not found").unwrap_err().contains("Session not found"));
}

// others -----------------------------------------------------------------------------------------

#[test]
fn a_format_is_known_by_its_lines() {
    let name = |line: &str| match detect(line) {
        Some(Format::Goose(_)) => "goose",
        Some(Format::Claude(_)) => "claude",
        Some(Format::Opencode(_)) => "opencode",
        None => "",
    };
    for (lines, expected) in [(&GOOSE[..], "goose"), (&QWEN[..], "claude"), (&OPENCODE[..], "opencode")] {
        for line in lines {
            assert_eq!(name(line), expected, "{line}");
        }
    }
    assert_eq!(name(GOOSE_REFUSED[1]), "goose");
    for other in
        ["", "{}", "[1]", "{\"type\":1}", "{\"type\":\"thread.started\"}", "{\"type\":\"complete\"}", "{"]
    {
        assert_eq!(name(other), "", "{other}");
    }
}

#[test]
fn what_is_not_understood_is_kept_as_it_came() {
    let strange = r#"{"type":"surprise","sessionID":"s","x": [1]}"#;
    let half = r#"{"type":"text","sessionID":"s","part":{"te"#;
    let (said, _) = read(&[OPENCODE[0], strange, half, "plain words"]);
    assert_eq!(said, [format!("raw {strange}"), format!("text {half}\n"), "text plain words\n".to_owned()]);
    let item = r#"{"type":"frontendToolRequest","id":7}"#;
    let line =
        format!(r#"{{"type":"message","message":{{"id":"m","role":"assistant","content":[{item}]}}}}"#);
    assert_eq!(read(&[&line]).0, [format!("raw {item}")]);
    assert_eq!(sketch(&unknown("{\"type\":\"thread.started\"}\n")), "raw {\"type\":\"thread.started\"}");
    assert_eq!(sketch(&unknown("{\"a\":1}\n")), "text {\"a\":1}\n");
}
