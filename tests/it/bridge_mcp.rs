//! `hob mcp`, driven by the official SDK's client: its tools, progress, cancels and bad input.

use rmcp::ServiceError;
use serde_json::{Value, json};

use crate::support::daemon::TestDaemon;
use crate::support::demo::{DEMO, long, say, slow};
use crate::support::home::Setup;
use crate::support::mcp::McpClient;
use crate::support::repo::Repo;
use crate::support::wait::until;

/// A daemon, a checkout, and a client whose working directory that is.
fn stage() -> (TestDaemon, Repo, McpClient) {
    let daemon = Setup::new().start();
    let repo = daemon.repo("repo");
    let client = McpClient::start(&daemon, &repo.path, &["--no-start"]);
    (daemon, repo, client)
}

/// The task that runs, once it says something.
fn running(daemon: &TestDaemon) -> String {
    let task = until("a task to run", || {
        let rows = daemon.rpc("task/list", json!({"state": "running"}));
        rows[0]["id"].as_str().map(str::to_owned)
    });
    daemon.wait_event(&task, "text");
    task
}

#[test]
fn every_tool_is_offered_with_what_it_takes() {
    let (_daemon, _repo, client) = stage();
    let tools = client.tools();
    let names: Vec<&str> = tools.iter().map(|tool| &*tool.name).collect();
    let all =
        ["new_task", "task_status", "task_result", "cancel_task", "list_agents", "list_sessions", "arena"];
    assert_eq!(names, all);
    for tool in tools {
        assert!(tool.description.is_some_and(|about| about.len() > 20), "{}", tool.name);
        assert_eq!(tool.input_schema["additionalProperties"], false, "{}", tool.name);
        for (field, schema) in tool.input_schema["properties"].as_object().into_iter().flatten() {
            assert!(schema["description"].is_string(), "{}.{field}", tool.name);
        }
    }
}

#[test]
fn a_task_that_is_waited_for_answers_and_tells_how_far_it_is() {
    let (daemon, repo, client) = stage();
    let (text, task) = client.ok("new_task", json!({"agent": DEMO, "prompt": say("from afar")}));
    assert_eq!(text, "from afar");
    assert_eq!((&task["state"], &task["agent"]), (&json!("completed"), &json!(DEMO)), "{task:#}");
    for line in ["running", "demo began"] {
        client.wait_told(line);
    }

    let row = daemon.rpc("task/show", json!({"task": task["task"]}));
    assert_eq!(row["source"], "mcp", "{row:#}");
    let session = daemon.rpc("session/show", json!({"session": row["session"]}));
    assert_eq!(session["repo"], repo.str(), "{session:#}");
    let (_, again) = client.ok("new_task", json!({"agent": DEMO, "prompt": say("x"), "repo": "."}));
    assert_eq!(again["chat"], task["chat"]);
    let named = json!({"agent": DEMO, "prompt": say("y"), "session": task["session"], "new": true});
    let (_, fresh) = client.ok("new_task", named);
    assert_eq!(fresh["session"], task["session"]);
    assert_ne!(fresh["chat"], task["chat"]);
}

#[test]
fn a_detached_task_is_looked_at_waited_for_and_cancelled_later() {
    let (daemon, _repo, client) = stage();
    let detached = |prompt: &str| {
        let asked = json!({"agent": DEMO, "prompt": prompt, "wait": false, "new": true});
        let (text, task) = client.ok("new_task", asked);
        let id = task["task"].as_str().unwrap().to_owned();
        assert!(text.contains(&id) && text.contains("task_result"), "{text}");
        id
    };
    let first = detached(&slow(20, 20));
    let (text, status) = client.ok("task_status", json!({"task": first}));
    assert!(text.contains(&first), "{text}");
    assert!(status["state"].is_string(), "{status:#}");
    let (text, result) = client.ok("task_result", json!({"task": first}));
    assert_eq!(result["state"], "completed", "{result:#}");
    assert_eq!(Some(text.as_str()), result["text"].as_str());
    assert_eq!(client.ok("task_result", json!({"task": first, "wait": false})).0, text);

    let second = detached(&long());
    daemon.wait_event(&second, "text");
    let (_, early) = client.ok("task_result", json!({"task": second, "wait": false}));
    assert_eq!(early["state"], "running", "{early:#}");
    client.ok("cancel_task", json!({"task": second}));
    let (text, result) = client.fails("task_result", json!({"task": second}));
    assert_eq!(result["state"], "cancelled", "{result:#}");
    assert!(text.contains("cancelled"), "{text}");
}

#[test]
fn agents_and_sessions_are_listed() {
    let (_daemon, _repo, client) = stage();
    let (_, task) = client.ok("new_task", json!({"agent": DEMO, "prompt": say("x")}));
    let (_, agents) = client.ok("list_agents", json!({}));
    let demo = agents["agents"].as_array().unwrap().iter().find(|agent| agent["name"] == DEMO);
    assert_eq!(demo.unwrap()["available"], true, "{agents:#}");
    let (_, sessions) = client.ok("list_sessions", json!({"all": true}));
    assert_eq!(sessions["sessions"][0]["id"], task["session"], "{sessions:#}");
}

#[test]
fn a_request_that_is_cancelled_cancels_its_task_and_a_wait_that_is_only_ends() {
    let (daemon, _repo, client) = stage();
    let calling = client.begin("new_task", json!({"agent": DEMO, "prompt": long()}));
    let task = running(&daemon);
    client.cancel(calling);
    assert_eq!(daemon.wait_task(&task)["state"], "cancelled");

    let prompt = format!("plan: one, two ;; {}", slow(100, 20));
    let asked = json!({"agent": DEMO, "prompt": prompt, "wait": false});
    let (_, second) = client.ok("new_task", asked);
    let waiting = client.begin("task_result", json!({"task": second["task"]}));
    // Nobody was told of a plan before.
    client.wait_told("a plan of 2 steps");
    client.cancel(waiting);
    // The next answer comes behind the cancel.
    client.ok("list_agents", json!({}));
    assert_eq!(daemon.wait_task(second["task"].as_str().unwrap())["state"], "completed");
}

#[test]
fn a_task_outlives_the_client_that_waits_for_it() {
    let (daemon, _repo, client) = stage();
    let _calling = client.begin("new_task", json!({"agent": DEMO, "prompt": slow(100, 20)}));
    let task = running(&daemon);
    client.end();
    assert_eq!(daemon.wait_task(&task)["state"], "completed");
}

#[test]
fn a_wait_outlives_the_daemon() {
    let (mut daemon, _repo, client) = stage();
    let calling = client.begin("new_task", json!({"agent": DEMO, "prompt": long()}));
    running(&daemon);
    daemon.sigkill();
    daemon.start_again();
    let result = client.finish(calling);
    assert_eq!(result.is_error, Some(true));
    assert_eq!(result.structured_content.unwrap()["state"], "interrupted");
}

#[test]
fn bad_parameters_are_an_error_that_names_them_and_nothing_is_made() {
    let (daemon, _repo, client) = stage();
    let cases = [
        ("new_task", json!({}), "prompt"),
        ("new_task", json!({"prompt": ["x"]}), "prompt"),
        ("new_task", json!({"prompt": "x", "wait": "yes"}), "wait"),
        ("new_task", json!({"prompt": "x", "agnet": DEMO}), "agnet"),
        ("new_task", json!({"prompt": " "}), "prompt"),
        ("task_status", json!({"task": 1}), "task"),
        ("arena", json!({"prompt": "x"}), "agents"),
        ("no_such_tool", json!({}), "name"),
    ];
    for (tool, arguments, field) in cases {
        let error = client.call(tool, arguments.clone()).expect_err("must be refused");
        let ServiceError::McpError(error) = error else { panic!("{tool} {arguments}: {error}") };
        let path = error.data.as_ref().map(|data| data["path"].clone());
        assert_eq!((error.code.0, path), (-32602, Some(json!(field))), "{tool} {arguments}: {error}");
        assert!(error.message.contains(field) || tool == "no_such_tool", "{error}");
    }
    assert_eq!(daemon.rpc("task/list", json!({})), json!([]));
}

#[test]
fn what_the_daemon_refuses_is_told_to_the_model_with_what_to_do() {
    let (_daemon, _repo, client) = stage();
    let cases = [
        ("task_status", json!({"task": "t-nowhere"}), "not_found"),
        ("new_task", json!({"prompt": "x", "agent": "nobody"}), "not_found"),
        ("new_task", json!({"prompt": "x", "session": "s-nowhere"}), "not_found"),
    ];
    for (tool, arguments, kind) in cases {
        let (text, told) = client.fails(tool, arguments.clone());
        assert_eq!(told["kind"], kind, "{tool} {arguments}: {told:#}");
        assert!(text.contains("hint: hob "), "{text}");
    }
}

#[test]
fn without_a_daemon_one_is_started_unless_that_is_not_wanted() {
    let home = Setup::new().home();
    let repo = home.repo("repo");
    let client = McpClient::start(&home, &repo.path, &["--no-start"]);
    let (text, _) = client.fails("list_agents", json!({}));
    assert!(text.contains("no daemon") && text.contains("hob up"), "{text}");
    client.end();
    let client = McpClient::start(&home, &repo.path, &[]);
    let (_, agents) = client.ok("list_agents", json!({}));
    assert_ne!(agents["agents"], Value::Null);
}
