//! Ways to log in as agents tell them.

use serde_json::{Value, json};

use super::*;

fn ways(methods: &Value, set: &[(&str, &str)]) -> Ways {
    let env = set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let mut ways = Ways::new(vec!["an-agent".into(), "--acp".into()], &env, "hob restart c-1 a".into());
    let answer = json!({"protocolVersion": 1, "authMethods": methods}).to_string();
    ways.learn(&RawValue::from_string(answer).unwrap());
    ways
}

fn told(methods: &Value) -> String {
    ways(methods, &[]).tell(&RpcError::new(-32000, "Authentication required"))
}

#[test]
fn only_a_variable_that_is_set_needs_nobody() {
    let key = json!({"id": "key", "type": "env_var", "vars": [{"name": "KEY"}]});
    let cases = [
        ("a browser", json!([{"id": "chatgpt", "name": "Login with ChatGPT"}]), None),
        ("no type", json!([{"id": "openai"}, {"id": "gemini-api-key"}, {"id": "api-key"}]), None),
        ("said to be the agent's", json!([{"id": "key", "type": "agent"}]), None),
        ("a terminal", json!([{"id": "t", "type": "terminal", "vars": [{"name": "KEY"}]}]), None),
        ("set", json!([{"id": "chatgpt"}, key]), Some("key")),
        ("as it was spelled", json!([{"id": "key", "type": "env_var", "varName": "KEY"}]), Some("key")),
        ("unset", json!([{"id": "n", "type": "env_var", "vars": [{"name": "OTHER"}]}]), None),
        ("empty", json!([{"id": "n", "type": "env_var", "vars": [{"name": "EMPTY"}]}]), None),
        ("half", json!([{"id": "n", "type": "env_var", "vars": [{"name": "KEY"}, {"name": "OTHER"}]}]), None),
        (
            "what may be missing",
            json!([{"id": "y", "type": "env_var", "vars": [{"name": "KEY"}, {"name": "OTHER", "optional": true}]}]),
            Some("y"),
        ),
        ("none named", json!([{"id": "n", "type": "env_var", "vars": []}]), None),
        (
            "only what may be missing",
            json!([{"id": "n", "type": "env_var", "vars": [{"name": "KEY", "optional": true}]}]),
            None,
        ),
        ("unknown", json!([{"id": "n", "type": "from_the_future"}, {"no": "id"}, 7]), None),
    ];
    for (what, methods, expected) in cases {
        assert_eq!(ways(&methods, &[("KEY", "k"), ("EMPTY", "")]).unasked(), expected, "{what}");
    }
}

#[test]
fn every_way_is_told_with_what_to_do() {
    let methods = json!([
        {"id": "chatgpt", "name": "ChatGPT", "description": "Opens a browser"},
        {"id": "key", "name": "Key", "type": "env_var", "vars": [{"name": "A"}, {"name": "B"}]},
        {"id": "setup", "name": "Set up", "type": "terminal", "args": ["--set up"], "env": {"X": "1"}},
        {"id": "login", "name": "login", "_meta": {"terminal-auth": {"command": "/bin/a", "args": ["/login"]}}},
        {"id": "bare"},
    ]);
    assert_eq!(
        told(&methods),
        "it wants to be logged in first: Authentication required (-32000); ways to log in: \
         `chatgpt` (ChatGPT, Opens a browser); `key` (Key, set `A` and `B`); \
         `setup` (Set up, run `X=1 an-agent --acp '--set up'`); `login` (run `/bin/a /login`); `bare`; \
         the environment of agents is that of the daemon's start: `hob down && hob up` takes your shell's; \
         then `hob restart c-1 a`"
    );
}

#[test]
fn without_a_way_the_program_itself_is_named() {
    assert!(told(&json!([])).contains("try `an-agent` in a terminal"));
    assert!(told(&json!("none")).contains("try `an-agent` in a terminal"));
}

#[test]
fn a_long_list_is_told_in_part() {
    let methods: Vec<_> = (0..11).map(|n| json!({"id": format!("way-{n}")})).collect();
    let told = told(&json!(methods));
    assert!(told.contains("`way-7`; 3 more; then"), "{told}");
}
