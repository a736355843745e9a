//! The scripted model server itself, spoken to directly.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::support::model::{End, Model};

/// Posts a request and returns the connection, from which the answer can be read.
fn post(model: &Model, prompt: &str, stream: bool) -> TcpStream {
    let tool = json!({"type": "function", "function": {"name": "shell", "parameters": {"properties": {"command": {"type": "string"}}}}});
    let body = json!({"stream": stream, "tools": [tool], "messages": [{"role": "user", "content": prompt}]})
        .to_string();
    let address = model.url();
    let address = address.strip_prefix("http://").unwrap();
    let mut connection = TcpStream::connect(address).unwrap();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    connection.write_all(head.as_bytes()).unwrap();
    connection.write_all(body.as_bytes()).unwrap();
    connection
}

fn all_of(mut connection: TcpStream) -> String {
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_text_of_a_script_comes_word_by_word() {
    let model = Model::start();
    let answer = all_of(post(&model, "say: one two", true));
    let pieces: Vec<Value> = answer
        .lines()
        .filter_map(|line| line.strip_prefix("data: ")?.parse().ok())
        .filter_map(|chunk: Value| chunk["choices"][0]["delta"].get("content").cloned())
        .collect();
    assert_eq!(pieces, [json!("one "), json!("two")]);
    assert!(answer.contains("data: [DONE]"));
    assert_eq!(model.wait_for("say: one two", |e| e.end.is_some()).end, Some(End::Done));
}

#[test]
fn a_tool_is_called_by_the_name_and_the_schema_that_the_client_offers() {
    let model = Model::start();
    let answer = all_of(post(&model, "shell: ls -l ;; say: done", false));
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let message: Value = serde_json::from_str(body).unwrap();
    let call = &message["choices"][0]["message"]["tool_calls"][0]["function"];
    assert_eq!(call["name"], "shell");
    assert_eq!(call["arguments"], json!({"command": "ls -l"}).to_string());
}

#[test]
fn a_client_that_goes_away_is_noticed_also_where_nothing_is_sent() {
    let model = Model::start();
    for prompt in ["hang", "stall: 1", "slow: 1000 50"] {
        let connection = post(&model, prompt, true);
        model.wait_asked(prompt);
        drop(connection);
        assert_eq!(model.wait_for(prompt, |e| e.end.is_some()).end, Some(End::ClientGone), "{prompt}");
    }
}

#[test]
fn an_error_is_the_status_that_the_script_names() {
    let model = Model::start();
    assert!(all_of(post(&model, "error: 429", true)).starts_with("HTTP/1.1 429 "));
}
