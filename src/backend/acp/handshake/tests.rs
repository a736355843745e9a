//! Handshakes with an agent that answers each method from a table.

use std::sync::{Arc, Mutex};

use hob_actors::ports::NewsSink;
use serde_json::{Value, json};
use tokio::io::{duplex, split};

use super::*;
use crate::backend::acp::in_flight::InFlight;
use crate::backend::acp::login::Ways;
use crate::jsonrpc::{self, Limits, Message, Oddities};

const LIMITS: Limits = Limits {
    max_frame: 1 << 20,
    inbound_bytes: 1 << 20,
    outbound_bytes: 1 << 20,
    oddities: Oddities::Replace,
};

/// What the agent says to a method: updates first, then the answer.
type Script = fn(&str, &Value, usize) -> (Vec<Value>, Result<Value, i64>);

/// How it came out: the result, what was called with what, and what was told.
struct Outcome {
    opened: Result<Opened, Failure>,
    calls: Vec<(String, Value)>,
    told: Vec<News>,
}

impl Outcome {
    fn methods(&self) -> Vec<&str> {
        self.calls.iter().map(|(method, _)| method.as_str()).collect()
    }

    fn opened(&self) -> &Opened {
        self.opened.as_ref().unwrap()
    }

    fn permanent(&self) -> &str {
        let Err(Failure::Permanent(why) | Failure::Unfit(why) | Failure::LogIn(why)) = &self.opened else {
            panic!("{:?}", self.opened)
        };
        why
    }
}

fn wanted() -> Wanted {
    Wanted {
        cwd: "/w".into(),
        resume: None,
        has_history: false,
        choice: Choice::default(),
        mcp_servers: vec![],
    }
}

async fn shake(wanted: Wanted, script: Script) -> Outcome {
    let (ours, theirs) = duplex(1 << 16);
    let (read, write) = split(ours);
    let (peer, inbox) = jsonrpc::start(read, write, LIMITS);
    let told: Arc<Mutex<Vec<News>>> = Arc::default();
    let into = told.clone();
    let sink: NewsSink = Arc::new(move |news, _permit| into.lock().unwrap().push(news));
    let mut router = Router::new(peer.clone(), sink, Arc::new(InFlight::default()));
    let env = [("KEY".to_owned(), "k".to_owned())].into();
    router.ways = Ways::new(vec!["an-agent".into()], &env, "hob restart c-1 a".into());
    let mut handshake = Handshake { peer, inbox, router, at: "" };

    let (read, write) = split(theirs);
    let (agent, mut asked) = jsonrpc::start(read, write, LIMITS);
    let calls: Arc<Mutex<Vec<(String, Value)>>> = Arc::default();
    let noted = calls.clone();
    let answering = tokio::spawn(async move {
        while let Some(delivery) = asked.next().await {
            let Message::Request { id, method, params } = delivery.message else { continue };
            let params: Value = serde_json::from_str(params.unwrap().get()).unwrap();
            let before = noted.lock().unwrap().iter().filter(|(name, _)| *name == method).count();
            noted.lock().unwrap().push((method.clone(), params.clone()));
            let (updates, answer) = script(&method, &params, before);
            for update in updates {
                agent.notify("session/update", &update).unwrap();
            }
            match answer {
                Ok(answer) => agent.respond(&id, Ok(&answer)).unwrap(),
                Err(code) => agent.refuse(&id, RpcError::new(code, "no")).unwrap(),
            }
        }
    });
    let opened = handshake.open(&wanted).await;
    drop(handshake);
    answering.await.unwrap();
    let (calls, told) =
        (std::mem::take(&mut *calls.lock().unwrap()), std::mem::take(&mut *told.lock().unwrap()));
    Outcome { opened, calls, told }
}

fn hello(capabilities: Value) -> Value {
    json!({"protocolVersion": 1, "agentCapabilities": capabilities, "agentInfo": {"name": "a", "version": "1"}})
}

fn replayed(session: &str, text: &str) -> Value {
    json!({"sessionId": session, "update": {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": text}}})
}

fn goose(method: &str, params: &Value, _: usize) -> (Vec<Value>, Result<Value, i64>) {
    match method {
        "initialize" => (
            vec![],
            Ok(hello(json!({"loadSession": true, "sessionCapabilities": {"list": {}, "close": {}}}))),
        ),
        "session/list" => (vec![], Ok(json!({"sessions": [{"sessionId": "old", "cwd": params["cwd"]}]}))),
        "session/load" => (vec![replayed("old", "before")], Ok(json!({}))),
        "session/new" => {
            let early = json!({"sessionId": "new", "update": {"sessionUpdate": "available_commands_update", "availableCommands": []}});
            (vec![early], Ok(json!({"sessionId": "new"})))
        }
        _ => (vec![], Err(-32601)),
    }
}

#[tokio::test]
async fn a_first_start_says_who_we_are_and_offers_nothing() {
    let outcome = shake(wanted(), goose).await;
    assert_eq!(outcome.methods(), ["initialize", "session/new"]);
    let said = &outcome.calls[0].1;
    assert_eq!(said["protocolVersion"], 1);
    assert_eq!(said["clientInfo"]["name"], "hob");
    assert!(said["clientCapabilities"]["terminal"] != json!(true));
    assert!(said["clientCapabilities"]["fs"]["writeTextFile"] != json!(true));
    let opened = outcome.opened();
    assert_eq!((opened.session.as_str(), opened.context, &opened.reset), ("new", Context::Fresh, &None));
    assert!(opened.close);
    // What came before the answer that named the session.
    assert!(matches!(&outcome.told[..], [News::Said(Event::Commands { .. })]), "{:?}", outcome.told);
}

#[tokio::test]
async fn a_conversation_is_loaded_without_telling_it_again() {
    let outcome = shake(Wanted { resume: Some("old".into()), has_history: true, ..wanted() }, goose).await;
    assert_eq!(outcome.methods(), ["initialize", "session/list", "session/load"]);
    assert_eq!((outcome.opened().session.as_str(), outcome.opened().context), ("old", Context::Loaded));
    assert_eq!(outcome.told, []);
}

#[tokio::test]
async fn a_conversation_that_is_not_listed_is_lost_and_said_to_be() {
    let outcome = shake(Wanted { resume: Some("other".into()), has_history: true, ..wanted() }, goose).await;
    assert_eq!(outcome.methods(), ["initialize", "session/list", "session/new"]);
    assert_eq!(outcome.opened().context, Context::Reset);
    assert!(outcome.opened().reset.as_ref().unwrap().contains("does not list"));
}

#[tokio::test]
async fn another_version_is_permanent() {
    for (version, told) in [(json!(99), "99"), (json!("1"), "\"1\""), (json!(null), "none")] {
        let script: Script = match told {
            "99" => |_, _, _| (vec![], Ok(json!({"protocolVersion": 99}))),
            "none" => |_, _, _| (vec![], Ok(json!({}))),
            _ => |_, _, _| (vec![], Ok(json!({"protocolVersion": "1"}))),
        };
        let outcome = shake(wanted(), script).await;
        assert!(outcome.permanent().contains(told), "{version}: {}", outcome.permanent());
    }
}

fn locked(method: &str, _: &Value, before: usize) -> (Vec<Value>, Result<Value, i64>) {
    match (method, before) {
        ("initialize", _) => {
            let mut hello = hello(json!({}));
            hello["authMethods"] = json!([{"id": "chatgpt", "name": "ChatGPT"}, {"id": "key", "type": "env_var", "vars": [{"name": "KEY"}]}]);
            (vec![], Ok(hello))
        }
        ("session/new", 0) => (vec![], Err(-32000)),
        ("session/new", _) => (vec![], Ok(json!({"sessionId": "s"}))),
        ("authenticate", _) => (vec![], Ok(json!({}))),
        _ => (vec![], Err(-32601)),
    }
}

#[tokio::test]
async fn a_log_in_that_needs_nobody_is_tried_once() {
    let outcome = shake(wanted(), locked).await;
    assert_eq!(outcome.methods(), ["initialize", "session/new", "authenticate", "session/new"]);
    assert_eq!(outcome.calls[2].1["methodId"], "key");
    assert_eq!(outcome.opened().session, "s");
}

#[tokio::test]
async fn a_log_in_that_needs_somebody_is_permanent_and_names_the_ways() {
    let outcome = shake(wanted(), |method, params, _| match method {
        "authenticate" => (vec![], Err(-32603)),
        _ => locked(method, params, 0),
    })
    .await;
    assert!(
        outcome.permanent().contains("`chatgpt` (ChatGPT); `key` (set `KEY`)"),
        "{}",
        outcome.permanent()
    );
    let nobody = shake(wanted(), |method, _, _| match method {
        "initialize" => {
            (vec![], Ok(json!({"protocolVersion": 1, "authMethods": [{"id": "opencode-login"}]})))
        }
        _ => (vec![], Err(-32000)),
    })
    .await;
    assert!(nobody.permanent().contains("opencode-login"), "{}", nobody.permanent());
    assert_eq!(nobody.methods(), ["initialize", "session/new"]);
}

#[tokio::test]
async fn no_way_is_taken_unasked_that_might_open_a_browser_or_write_settings() {
    fn with(methods: Value) -> Result<Value, i64> {
        Ok(json!({"protocolVersion": 1, "authMethods": methods}))
    }
    let scripts: [(&str, Script); 3] = [
        ("chatgpt", |method, _, _| match method {
            "initialize" => (vec![], with(json!([{"id": "chatgpt", "name": "ChatGPT"}]))),
            "authenticate" => (vec![], Ok(json!({}))),
            _ => (vec![], Err(-32000)),
        }),
        ("gemini-api-key", |method, _, _| match method {
            "initialize" => (vec![], with(json!([{"id": "gemini-api-key", "name": "Key"}]))),
            "authenticate" => (vec![], Ok(json!({}))),
            _ => (vec![], Err(-32000)),
        }),
        ("unset", |method, _, _| match method {
            "initialize" => {
                (vec![], with(json!([{"id": "unset", "type": "env_var", "vars": [{"name": "OTHER"}]}])))
            }
            "authenticate" => (vec![], Ok(json!({}))),
            _ => (vec![], Err(-32000)),
        }),
    ];
    for (id, script) in scripts {
        let outcome = shake(wanted(), script).await;
        assert_eq!(outcome.methods(), ["initialize", "session/new"], "{id}");
        assert!(matches!(&outcome.opened, Err(Failure::LogIn(why)) if why.contains(id)), "{id}");
    }
}

#[tokio::test]
async fn model_and_mode_are_set_as_far_as_they_are_offered() {
    let choice = Choice { model: Some("m2".into()), mode: Some("warp".into()) };
    let choice = Wanted { choice, ..wanted() };
    let outcome = shake(choice, |method, _, _| match method {
        "initialize" => (vec![], Ok(hello(json!({})))),
        "session/new" => {
            let models = json!({"currentModelId": "m1", "availableModels": [{"modelId": "m1", "name": "1"}, {"modelId": "m2", "name": "2"}]});
            let modes = json!({"currentModeId": "plan", "availableModes": [{"id": "plan", "name": "Plan"}]});
            (vec![], Ok(json!({"sessionId": "s", "models": models, "modes": modes})))
        }
        "session/set_model" => (vec![], Ok(json!({}))),
        _ => (vec![], Err(-32601)),
    })
    .await;
    assert_eq!(outcome.methods(), ["initialize", "session/new", "session/set_model"]);
    assert_eq!(outcome.calls[2].1, json!({"sessionId": "s", "modelId": "m2"}));
    assert!(
        matches!(&outcome.told[..], [
        News::Said(Event::Mode { .. }),
        News::Said(Event::Models { .. }),
        News::Said(Event::Notice { level: Level::Warning, text }),
    ] if text.contains("`warp`") && text.contains("plan")),
        "{:?}",
        outcome.told
    );
}

#[tokio::test]
async fn a_refused_start_tells_what_was_refused() {
    let outcome = shake(wanted(), |_, _, _| (vec![], Err(-32603))).await;
    assert!(matches!(&outcome.opened, Err(Failure::Refused(error)) if error.code == -32603));
    let stranger = shake(wanted(), |_, _, _| (vec![], Err(-32601))).await;
    assert!(stranger.permanent().contains("Agent Client Protocol"));
}

#[tokio::test]
async fn after_a_log_in_the_saved_conversation_is_still_taken_up() {
    let script: Script = |method, params, before| match (method, before) {
        ("initialize", _) => {
            let mut hello = hello(json!({"loadSession": true, "sessionCapabilities": {"list": {}}}));
            hello["authMethods"] = json!([{"id": "key", "type": "env_var", "vars": [{"name": "KEY"}]}]);
            (vec![], Ok(hello))
        }
        ("session/list", 0) => (vec![], Err(-32000)),
        ("authenticate", _) => (vec![], Ok(json!({}))),
        _ => goose(method, params, before),
    };
    let outcome = shake(Wanted { resume: Some("old".into()), has_history: true, ..wanted() }, script).await;
    let expected = ["initialize", "session/list", "authenticate", "session/list", "session/load"];
    assert_eq!(outcome.methods(), expected);
    assert_eq!(outcome.opened().context, Context::Loaded);
}

#[tokio::test]
async fn the_mcp_server_is_handed_over_with_a_new_a_resumed_and_a_loaded_conversation() {
    let server = crate::backend::mcp_server::OwnServer::new("/hobd".as_ref(), "/s".as_ref()).for_acp();
    for (method, resume) in
        [("session/new", None), ("session/resume", Some("old")), ("session/load", Some("old"))]
    {
        let script: Script = match method {
            "session/resume" => |asked, _, _| match asked {
                "initialize" => (vec![], Ok(hello(json!({"sessionCapabilities": {"resume": {}}})))),
                _ => (vec![], Ok(json!({}))),
            },
            "session/load" => |asked, _, _| match asked {
                "initialize" => (vec![], Ok(hello(json!({"loadSession": true})))),
                _ => (vec![], Ok(json!({}))),
            },
            _ => |asked, _, _| match asked {
                "initialize" => (vec![], Ok(hello(json!({})))),
                _ => (vec![], Ok(json!({"sessionId": "s"}))),
            },
        };
        let mcp_servers = vec![server.clone()];
        let outcome =
            shake(Wanted { resume: resume.map(str::to_owned), mcp_servers, ..wanted() }, script).await;
        let (_, params) = outcome.calls.iter().find(|(called, _)| called == method).unwrap();
        assert_eq!(params["mcpServers"], json!([server]), "{method}");
    }
}
