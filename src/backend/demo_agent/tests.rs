//! The agent driven over a pipe in memory, as a client would.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{duplex, split};

use super::*;
use crate::jsonrpc::{CallError, Inbox};

/// A client of an agent that keeps its conversations in a directory.
struct Client {
    peer: Peer,
    inbox: Inbox,
}

impl Client {
    fn new(state: &Path) -> Self {
        let (ours, theirs) = duplex(1 << 16);
        let (read, write) = split(theirs);
        tokio::spawn(serve(read, write, Some(state.to_owned())));
        let (read, write) = split(ours);
        let (peer, inbox) = jsonrpc::start(read, write, LIMITS);
        Self { peer, inbox }
    }

    /// Calls; what was told meanwhile, and the answer. `seen` may act on what is told.
    async fn call(
        &mut self,
        method: &str,
        params: Value,
        mut seen: impl FnMut(&Peer, &Message),
    ) -> (Vec<Value>, Result<Value, RpcError>) {
        let id = self.peer.send_call(method, &params).unwrap();
        let mut told = Vec::new();
        loop {
            let message = self.inbox.next().await.unwrap().message;
            seen(&self.peer, &message);
            match message {
                Message::Response { id: answered, result } if answered.number() == Some(id) => {
                    return (told, result.map(|raw| serde_json::from_str(raw.get()).unwrap()));
                }
                Message::Notification { params, .. } => {
                    let params: Value = serde_json::from_str(params.unwrap().get()).unwrap();
                    told.push(params["update"].clone());
                }
                _ => {}
            }
        }
    }

    async fn open(&mut self, cwd: &Path) -> String {
        let (_, answer) = self.call("session/new", json!({"cwd": cwd, "mcpServers": []}), |_, _| {}).await;
        answer.unwrap()["sessionId"].as_str().unwrap().to_owned()
    }

    async fn prompt(&mut self, session: &str, text: &str) -> (Vec<Value>, Value) {
        let (told, answer) = self.call("session/prompt", prompt(session, text), |_, _| {}).await;
        (told, answer.unwrap())
    }
}

fn prompt(session: &str, text: &str) -> Value {
    json!({"sessionId": session, "prompt": [{"type": "text", "text": text}]})
}

fn said(told: &[Value]) -> String {
    let texts = told.iter().filter(|update| update["sessionUpdate"] == "agent_message_chunk");
    texts.map(|update| update["content"]["text"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn it_says_back_what_is_no_directive_and_remembers_it() {
    let state = tempfile::tempdir().unwrap();
    let mut client = Client::new(state.path());
    let session = client.open(Path::new("/")).await;
    let (told, answer) = client.prompt(&session, "hello there").await;
    assert_eq!((said(&told).as_str(), &answer), ("hello there", &json!({"stopReason": "end_turn"})));
    let (told, _) = client.prompt(&session, "count ;; recall").await;
    assert_eq!(said(&told), "count prompts=2\nrecall hello there | count ;; recall");
}

#[tokio::test]
async fn another_process_loads_the_conversation_and_replays_it() {
    let state = tempfile::tempdir().unwrap();
    let session = {
        let mut client = Client::new(state.path());
        let session = client.open(Path::new("/")).await;
        client.prompt(&session, "say: one").await;
        session
    };
    let mut client = Client::new(state.path());
    let (_, listed) = client.call("session/list", json!({"cwd": "/"}), |_, _| {}).await;
    assert_eq!(listed.unwrap()["sessions"][0]["sessionId"], session);
    let load = json!({"sessionId": session, "cwd": "/", "mcpServers": []});
    let (told, _) = client.call("session/load", load, |_, _| {}).await;
    let kinds: Vec<_> = told.iter().map(|update| update["sessionUpdate"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["user_message_chunk", "agent_message_chunk"]);
    let (told, _) = client.prompt(&session, "count").await;
    assert_eq!(said(&told), "count prompts=2");
    let unknown = json!({"sessionId": "demo-0", "cwd": "/", "mcpServers": []});
    let (_, answer) = client.call("session/load", unknown, |_, _| {}).await;
    assert_eq!(answer.unwrap_err().code, NOT_FOUND);
}

#[tokio::test]
async fn tools_are_announced_and_do_what_they_say() {
    let (state, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut client = Client::new(state.path());
    let session = client.open(work.path()).await;
    let (told, answer) = client
        .prompt(&session, "write: a.txt: one ;; shell: cat a.txt; exit 3 ;; usage: 10 2 ;; plan: x, y")
        .await;
    assert_eq!(std::fs::read_to_string(work.path().join("a.txt")).unwrap(), "one\n");
    assert_eq!(told[0]["kind"], "edit");
    assert_eq!(told[1]["content"][0]["newText"], "one\n");
    assert_eq!((&told[3]["status"], &told[3]["rawOutput"]["stdout"]), (&json!("failed"), &json!("one\n")));
    assert_eq!(told[4]["entries"].as_array().unwrap().len(), 2);
    assert_eq!(answer["usage"]["inputTokens"], 10);
}

#[tokio::test]
async fn a_permission_is_asked_for_and_its_answer_said() {
    let state = tempfile::tempdir().unwrap();
    let mut client = Client::new(state.path());
    let session = client.open(Path::new("/")).await;
    let answer_with = |outcome: Value| {
        move |peer: &Peer, message: &Message| {
            if let Message::Request { id, .. } = message {
                peer.respond(id, Ok(&json!({ "outcome": outcome }))).unwrap();
            }
        }
    };
    let selected = json!({"outcome": "selected", "optionId": "reject_once"});
    let (told, _) =
        client.call("session/prompt", prompt(&session, "ask: May I?"), answer_with(selected)).await;
    assert_eq!(said(&told), "answered: reject_once");
    let cancelled = json!({"outcome": "cancelled"});
    let (told, _) =
        client.call("session/prompt", prompt(&session, "ask: May I?"), answer_with(cancelled)).await;
    assert_eq!(said(&told), "answered: cancelled");
}

#[tokio::test]
async fn a_cancel_works_in_every_step_and_the_next_prompt_is_answered() {
    let state = tempfile::tempdir().unwrap();
    let mut client = Client::new(state.path());
    let session = client.open(Path::new("/")).await;
    for text in
        ["say: x ;; hang", "slow: 100000 1", "say: x ;; sleep: 600000", "shell: sleep 600", "big: 1000000000"]
    {
        let mut cancelled = false;
        let cancel = |peer: &Peer, message: &Message| {
            if matches!(message, Message::Notification { .. }) && !cancelled {
                cancelled = true;
                peer.notify("session/cancel", &json!({ "sessionId": session })).unwrap();
            }
        };
        let turn = client.call("session/prompt", prompt(&session, text), cancel);
        let (_, answer) = tokio::time::timeout(Duration::from_secs(30), turn).await.unwrap();
        assert_eq!(answer.unwrap()["stopReason"], "cancelled", "{text}");
    }
    let (told, _) = client.prompt(&session, "say: still here").await;
    assert_eq!(said(&told), "still here");
}

#[tokio::test]
async fn unknown_methods_and_a_second_prompt_are_refused() {
    let state = tempfile::tempdir().unwrap();
    let mut client = Client::new(state.path());
    let session = client.open(Path::new("/")).await;
    let (_, ping) = client.call("_hob/ping", json!({}), |_, _| {}).await;
    assert_eq!(ping.unwrap_err().code, -32601);
    let first = client.peer.send_call("session/prompt", &prompt(&session, "hang")).unwrap();
    let (_, second) = client.call("session/prompt", prompt(&session, "count"), |_, _| {}).await;
    assert_eq!(second.unwrap_err().code, INVALID_REQUEST);
    client.peer.notify("session/cancel", &json!({ "sessionId": session })).unwrap();
    let message = client.inbox.next().await.unwrap().message;
    assert!(matches!(message, Message::Response { id, .. } if id.number() == Some(first)));
    let (_, closed) = client.call("session/close", json!({ "sessionId": session }), |_, _| {}).await;
    assert!(closed.is_ok());
}

#[tokio::test]
async fn the_end_of_its_input_ends_it() {
    let state = tempfile::tempdir().unwrap();
    let mut client = Client::new(state.path());
    let session = client.open(Path::new("/")).await;
    client.peer.send_call("session/prompt", &prompt(&session, "hang")).unwrap();
    client.peer.close();
    let left = async { while client.inbox.next().await.is_some() {} };
    tokio::time::timeout(Duration::from_secs(30), left).await.unwrap();
    assert!(matches!(client.peer.call("initialize", &json!({})).await, Err(CallError::Closed)));
}
