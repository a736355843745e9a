//! Writes the answer: as server-sent events, or as one JSON object to a client that wants that.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::reading::Plan;
use super::script::Step;
use super::{End, MODEL_NAME, Open, tools};

/// What an agent's own requests are answered with.
const AUX_TEXT: &str = "a scripted title";

/// Length of one piece of a `big` answer.
const BIG_PIECE_BYTES: usize = 256;

/// How much of a tool's result is repeated when the script says nothing itself.
const RESULT_CHARS_MAX: usize = 200;

/// Answers one request.
pub(super) async fn answer(body: &Value, plan: Plan, mut open: Open) -> Response {
    for step in &plan.steps {
        match step {
            // Before the first byte, so that the client sees not even a status line.
            Step::Hang => std::future::pending().await,
            Step::Error(code) => {
                open.finish(End::Refused);
                let status = StatusCode::from_u16(*code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                let error = json!({"error": {"message": format!("scripted {code}"), "type": "scripted", "code": code}});
                return (status, axum::Json(error)).into_response();
            }
            _ => {}
        }
    }
    let pieces = pieces(body, &plan);
    let usage = usage(body, &plan, &pieces);
    if body["stream"] != true {
        open.finish(End::Done);
        return axum::Json(whole(&pieces, &usage)).into_response();
    }
    let told = body["stream_options"]["include_usage"] == true;
    let stream = async_stream::stream! {
        let mut finish = "stop";
        for piece in pieces {
            match piece {
                Piece::Wait(time) => tokio::time::sleep(time).await,
                Piece::Silence => std::future::pending::<()>().await,
                Piece::Delta(delta) => {
                    if delta.get("tool_calls").is_some() {
                        finish = "tool_calls";
                    }
                    yield Ok::<_, Infallible>(event(&chunk(json!([choice(&delta, None)]), None)));
                }
            }
        }
        let last = json!([choice(&json!({}), Some(finish))]);
        yield Ok(event(&chunk(last, (!told).then_some(&usage))));
        if told {
            yield Ok(event(&chunk(json!([]), Some(&usage))));
        }
        yield Ok(Bytes::from_static(b"data: [DONE]\n\n"));
        open.finish(End::Done);
    };
    ([("content-type", "text/event-stream; charset=utf-8")], Body::from_stream(stream)).into_response()
}

enum Piece {
    Delta(Value),
    Wait(Duration),
    Silence,
}

fn pieces(body: &Value, plan: &Plan) -> Vec<Piece> {
    if plan.aux {
        return words(AUX_TEXT, "content").collect();
    }
    let mut pieces = Vec::new();
    for step in &plan.steps {
        match step {
            Step::Say(text) => pieces.extend(words(text, "content")),
            Step::Think(text) => pieces.extend(words(text, "reasoning_content")),
            Step::Slow { words, gap } => {
                pieces.extend(
                    (0..*words).flat_map(|n| [delta("content", &format!("w{n} ")), Piece::Wait(*gap)]),
                );
            }
            Step::Big { bytes } => {
                let piece = "x".repeat(BIG_PIECE_BYTES - 1) + " ";
                pieces.extend((0..bytes / BIG_PIECE_BYTES).map(|_| delta("content", &piece)));
            }
            Step::Sleep(time) => pieces.push(Piece::Wait(*time)),
            Step::Count => pieces.extend(words(&format!("prompts={}", plan.history.len()), "content")),
            Step::Recall => pieces.extend(words(&plan.history.join(" || "), "content")),
            Step::Tool(tool) => {
                let offered = body["tools"].as_array().map(Vec::as_slice).unwrap_or_default();
                match tools::call(tool, offered, plan.cwd.as_deref()) {
                    Ok((name, arguments)) => pieces.push(tool_call(plan.round, &name, &arguments)),
                    Err(problem) => pieces.extend(words(&problem, "content")),
                }
            }
            Step::Stall { words } => {
                pieces.extend((0..*words).map(|n| delta("content", &format!("w{n} "))));
                pieces.push(Piece::Silence);
            }
            Step::Usage { .. } | Step::Hang | Step::Error(_) => {}
        }
    }
    if !pieces.iter().any(|piece| matches!(piece, Piece::Delta(_) | Piece::Silence)) {
        pieces.extend(words(&closing(plan), "content"));
    }
    pieces
}

/// What is said where the script says nothing.
fn closing(plan: &Plan) -> String {
    match (&plan.result, &plan.directive) {
        (Some(result), _) => {
            let line = result.split_whitespace().collect::<Vec<_>>().join(" ");
            format!("result: {}", line.chars().take(RESULT_CHARS_MAX).collect::<String>())
        }
        (None, Some(_)) => "ok".to_owned(),
        (None, None) => "no directive".to_owned(),
    }
}

fn words(text: &str, field: &'static str) -> impl Iterator<Item = Piece> {
    text.split_inclusive(' ').map(move |word| delta(field, word))
}

fn delta(field: &str, text: &str) -> Piece {
    Piece::Delta(json!({"role": "assistant", field: text}))
}

fn tool_call(round: usize, name: &str, arguments: &Value) -> Piece {
    let function = json!({"name": name, "arguments": arguments.to_string()});
    let call = json!({"index": 0, "id": format!("call_{round}"), "type": "function", "function": function});
    Piece::Delta(json!({"role": "assistant", "tool_calls": [call]}))
}

fn usage(body: &Value, plan: &Plan, pieces: &[Piece]) -> Value {
    let said = pieces.iter().filter(|piece| matches!(piece, Piece::Delta(_))).count() as u64;
    let asked = body["messages"].as_array().map_or(0, Vec::len) as u64;
    let (input, output) = plan.usage.unwrap_or((asked, said));
    json!({"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output})
}

fn choice(delta: &Value, finish: Option<&str>) -> Value {
    json!({"index": 0, "delta": delta, "finish_reason": finish})
}

fn chunk(choices: Value, usage: Option<&Value>) -> Value {
    let mut chunk = json!({
        "id": "chatcmpl-scripted", "object": "chat.completion.chunk", "created": 1_700_000_000,
        "model": MODEL_NAME, "choices": choices,
    });
    if let Some(usage) = usage {
        chunk["usage"] = usage.clone();
    }
    chunk
}

fn event(chunk: &Value) -> Bytes {
    Bytes::from(format!("data: {chunk}\n\n"))
}

fn whole(pieces: &[Piece], usage: &Value) -> Value {
    let (mut text, mut calls) = (String::new(), Vec::new());
    for piece in pieces {
        if let Piece::Delta(delta) = piece {
            text.push_str(delta["content"].as_str().unwrap_or_default());
            calls.extend(delta["tool_calls"].as_array().into_iter().flatten().cloned());
        }
    }
    let mut message = json!({"role": "assistant", "content": text});
    let finish = if calls.is_empty() { "stop" } else { "tool_calls" };
    if !calls.is_empty() {
        message["tool_calls"] = json!(calls);
    }
    json!({
        "id": "chatcmpl-scripted", "object": "chat.completion", "created": 1_700_000_000, "model": MODEL_NAME,
        "choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": usage,
    })
}
