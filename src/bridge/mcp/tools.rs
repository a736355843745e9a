//! The tools: their names, what each takes, and what a client is told of them.
//!
//! The doc comments of the fields are the descriptions that a model reads.

use std::sync::Arc;

use rmcp::ErrorData;
use rmcp::handler::server::tool::schema_for_input;
use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use rmcp::schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// `new_task`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "rmcp::schemars")]
pub(super) struct NewTask {
    /// What the agent is asked to do. It knows nothing of this conversation: say all that it needs.
    pub prompt: String,
    /// The agent to ask, one of `list_agents`; without it, the default one.
    pub agent: Option<String>,
    /// Wait for the end and return the answer (the default), or return at once with the task's id.
    pub wait: Option<bool>,
    /// A directory of the git repository to work on; without it, the working directory.
    pub repo: Option<String>,
    /// The session to work in, one of `list_sessions`, instead of a repository.
    pub session: Option<String>,
    /// Begin a new conversation instead of going on with the newest one of that place.
    pub new: Option<bool>,
}

/// `task_status` and `cancel_task`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "rmcp::schemars")]
pub(super) struct OneTask {
    /// The id of the task, as `new_task` told it.
    pub task: String,
}

/// `task_result`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "rmcp::schemars")]
pub(super) struct TaskResult {
    /// The id of the task, as `new_task` told it.
    pub task: String,
    /// Wait for its end (the default), or say at once how it stands.
    pub wait: Option<bool>,
}

/// `list_agents`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "rmcp::schemars")]
pub(super) struct Nothing {}

/// `list_sessions`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "rmcp::schemars")]
pub(super) struct ListSessions {
    /// Closed ones too.
    pub all: Option<bool>,
}

/// `arena`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "rmcp::schemars")]
pub(super) struct Arena {
    /// What every agent is asked to do.
    pub prompt: String,
    /// Two or more agents, of `list_agents`.
    pub agents: Vec<String>,
    /// A directory of the git repository to work on; without it, the working directory.
    pub repo: Option<String>,
    /// The session whose work they begin from, instead of a repository.
    pub session: Option<String>,
    /// Begin from the uncommitted changes of the checkout too.
    pub carry_changes: Option<bool>,
    /// A command that is run in each worktree at the end, to compare them by.
    pub check: Option<String>,
    /// Wait until all of them have ended (the default), or return at once with the arena's id.
    pub wait: Option<bool>,
}

/// A call, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Call {
    NewTask(NewTask),
    TaskStatus(OneTask),
    TaskResult(TaskResult),
    CancelTask(OneTask),
    ListAgents(Nothing),
    ListSessions(ListSessions),
    Arena(Arena),
}

/// What the tools do, for the model that may call them.
const ABOUT: [(&str, &str); 7] = [
    (
        "new_task",
        "Hand a piece of work to a coding agent, which does it in a git worktree of its own, apart from the \
         checkout. Waits for the answer unless `wait` is false.",
    ),
    ("task_status", "How a task stands, without waiting."),
    ("task_result", "The answer of a task. Waits for its end unless `wait` is false."),
    ("cancel_task", "Stop a task; what it has changed so far stays in its worktree."),
    ("list_agents", "The coding agents that can be asked."),
    (
        "list_sessions",
        "The sessions that tasks can work in: one line of work each, in a worktree of its own.",
    ),
    (
        "arena",
        "Give the same work to several coding agents, each in a worktree of its own from the same start, and \
         compare what they made of it.",
    ),
];

/// The schema of what a tool takes.
fn schema(name: &str) -> Result<Arc<JsonObject>, String> {
    let mut schema = match name {
        "new_task" => schema_for_input::<NewTask>(),
        "task_result" => schema_for_input::<TaskResult>(),
        "list_agents" => schema_for_input::<Nothing>(),
        "list_sessions" => schema_for_input::<ListSessions>(),
        "arena" => schema_for_input::<Arena>(),
        _ => schema_for_input::<OneTask>(),
    }?;
    // Some models' providers take no object without them.
    Arc::make_mut(&mut schema).entry("properties").or_insert_with(|| json!({}));
    Ok(schema)
}

/// Every tool, as a client is told of it.
pub(super) fn all() -> Result<Vec<Tool>, ErrorData> {
    let tool = |(name, about): (&'static str, &'static str)| {
        let schema = schema(name).map_err(|error| ErrorData::internal_error(error, None))?;
        let looks_only = matches!(name, "task_status" | "task_result" | "list_agents" | "list_sessions");
        let hints = ToolAnnotations::new().read_only(looks_only).open_world(false);
        Ok(Tool::new(name, about, schema).with_annotations(hints))
    };
    ABOUT.into_iter().map(tool).collect()
}

/// Reads a call. What is wrong with it is an error that names the field.
pub(super) fn read(name: &str, arguments: Option<JsonObject>) -> Result<Call, ErrorData> {
    let arguments = Value::Object(arguments.unwrap_or_default());
    Ok(match name {
        "new_task" => Call::NewTask(fields(arguments)?),
        "task_status" => Call::TaskStatus(fields(arguments)?),
        "task_result" => Call::TaskResult(fields(arguments)?),
        "cancel_task" => Call::CancelTask(fields(arguments)?),
        "list_agents" => Call::ListAgents(fields(arguments)?),
        "list_sessions" => Call::ListSessions(fields(arguments)?),
        "arena" => Call::Arena(fields(arguments)?),
        _ => {
            let known: Vec<&str> = ABOUT.iter().map(|(name, _)| *name).collect();
            let message = format!("there is no tool `{name}`; there are {}", known.join(", "));
            return Err(invalid("name", &message));
        }
    })
}

fn fields<T: DeserializeOwned>(arguments: Value) -> Result<T, ErrorData> {
    serde_path_to_error::deserialize(arguments).map_err(|error| {
        let path = error.path().to_string();
        let message = error.inner().to_string();
        match path.as_str() {
            // The message says itself which field is missing, or one too many.
            "." | "" => invalid(named(&message), &message),
            path => invalid(path, &format!("{path}: {message}")),
        }
    })
}

/// The first name in backticks: of the field that is missing or unknown.
fn named(message: &str) -> &str {
    message.split('`').nth(1).unwrap_or_default()
}

/// Bad parameters, with the field that is wrong.
pub(super) fn invalid(path: &str, message: &str) -> ErrorData {
    ErrorData::invalid_params(message.to_owned(), Some(json!({"path": path})))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_has_a_schema_that_names_what_it_needs() {
        let tools = all().expect("schemas");
        let required = |name: &str| {
            let tool = tools.iter().find(|tool| tool.name == name).expect("listed");
            assert_eq!(tool.input_schema["type"], "object", "{name}");
            tool.input_schema.get("required").cloned().unwrap_or_else(|| json!([]))
        };
        let cases = [
            ("new_task", json!(["prompt"])),
            ("task_status", json!(["task"])),
            ("task_result", json!(["task"])),
            ("cancel_task", json!(["task"])),
            ("list_agents", json!([])),
            ("list_sessions", json!([])),
            ("arena", json!(["prompt", "agents"])),
        ];
        assert_eq!(tools.len(), cases.len());
        for (name, expected) in cases {
            assert_eq!(required(name), expected, "{name}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_call_is_named() {
        let cases = [
            ("new_task", json!({}), "prompt"),
            ("new_task", json!({"prompt": 7}), "prompt"),
            ("new_task", json!({"prompt": "x", "wait": "no"}), "wait"),
            ("new_task", json!({"prompt": "x", "promt": "y"}), "promt"),
            ("task_status", json!({"id": "t-1"}), "id"),
            ("cancel_task", json!({}), "task"),
            ("list_agents", json!({"x": 1}), "x"),
            ("arena", json!({"prompt": "x", "agents": ["a", 2]}), "agents[1]"),
            ("nothing", json!({}), "name"),
        ];
        for (name, arguments, path) in cases {
            let error = read(name, arguments.as_object().cloned()).expect_err("must be refused");
            assert_eq!(error.code.0, -32602);
            assert_eq!(error.data, Some(json!({"path": path})), "{name}: {}", error.message);
        }
    }
}
