//! Reads a chat completions request: which prompt is the newest, and what is to be answered now.

use serde_json::Value;

use super::script::{self, Step};

/// What to answer to one request.
pub struct Plan {
    /// The line that is obeyed.
    pub directive: Option<String>,
    /// The model that is asked for.
    pub model: String,
    /// Whether the agent asked on its own behalf.
    pub aux: bool,
    /// How many tool calls of this prompt were answered before.
    pub round: usize,
    /// What to do now, up to and including the first tool call.
    pub steps: Vec<Step>,
    /// The tokens to claim, if the prompt said.
    pub usage: Option<(u64, u64)>,
    /// Every directive line of the conversation, oldest first.
    pub history: Vec<String>,
    /// The result of the newest tool call.
    pub result: Option<String>,
    /// Where the agent says that it works.
    pub cwd: Option<String>,
}

impl Plan {
    /// Reads a request.
    pub fn of(body: &Value) -> Self {
        let messages = body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
        let users = messages.iter().enumerate().filter(|(_, m)| m["role"] == "user");
        let prompts: Vec<(usize, Vec<String>)> = users
            .map(|(at, m)| (at, script::directives(&text_of(&m["content"]))))
            .filter(|(_, lines)| !lines.is_empty())
            .collect();
        let newest = prompts.last();
        let directive = newest.and_then(|(_, lines)| lines.last().cloned());
        let after = &messages[newest.map_or(0, |(at, _)| at + 1)..];
        let round = after.iter().filter(|m| has_calls(m)).count();
        let all = directive.as_deref().map(script::steps).unwrap_or_default();
        Self {
            aux: body["tools"].as_array().is_none_or(Vec::is_empty),
            usage: all.iter().find_map(|step| match step {
                Step::Usage { input, output } => Some((*input, *output)),
                _ => None,
            }),
            steps: steps_of_round(all, round),
            round,
            directive,
            model: body["model"].as_str().unwrap_or_default().to_owned(),
            history: prompts.into_iter().flat_map(|(_, lines)| lines).collect(),
            result: after.iter().rfind(|m| m["role"] == "tool").map(|m| text_of(&m["content"])),
            cwd: messages.iter().find_map(|m| working_directory(&text_of(&m["content"]))),
        }
    }
}

fn has_calls(message: &Value) -> bool {
    message["role"] == "assistant" && message["tool_calls"].as_array().is_some_and(|calls| !calls.is_empty())
}

/// A round is everything up to a tool call; the last one is what comes after all of them.
fn steps_of_round(all: Vec<Step>, round: usize) -> Vec<Step> {
    let is_tool = |step: &Step| matches!(step, Step::Tool(_));
    all.split_inclusive(is_tool).nth(round).map(<[Step]>::to_vec).unwrap_or_default()
}

/// The text of a message, whether it is a string or a list of parts.
fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            parts.iter().filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}

/// qwen tells the model where it is in these words; its tools take absolute paths only.
fn working_directory(text: &str) -> Option<String> {
    let rest = text.split_once("working in the directory: ")?.1;
    Some(rest.lines().next()?.trim().trim_end_matches(['.', '`']).to_owned())
}
