//! The lines of `opencode run --format json`: whole parts of messages, in order.

use serde::Deserialize;
use serde_json::value::RawValue;

use hob_actors::event::Usage;
use hob_actors::ports::News;

use super::tool::{self, Call};
use super::{Told, reasoning, text};
use crate::backend::opencode::{Tokens, stop_reason};

/// Reads the lines.
#[derive(Debug, Default)]
pub(in super::super) struct Reader {
    pub(super) told: Told,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(borrow)]
    part: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Words {
    text: String,
    #[serde(rename = "messageID")]
    message: Option<String>,
}

#[derive(Deserialize)]
struct Tool<'a> {
    tool: String,
    #[serde(rename = "callID")]
    call: String,
    #[serde(borrow)]
    state: State<'a>,
}

#[derive(Deserialize)]
struct State<'a> {
    status: String,
    title: Option<String>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(borrow)]
    output: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Finish {
    reason: Option<String>,
    tokens: Option<Tokens>,
    cost: Option<f64>,
}

#[derive(Deserialize)]
struct Failed {
    name: Option<String>,
    data: Option<FailedData>,
    message: Option<String>,
}

#[derive(Deserialize)]
struct FailedData {
    message: Option<String>,
}

impl Reader {
    /// What a line says; `None` if it is not understood.
    pub(super) fn read(&mut self, line: &str) -> Option<Vec<News>> {
        let line: Line<'_> = serde_json::from_str(line).ok()?;
        match line.kind.as_str() {
            "step_start" => Some(Vec::new()),
            "text" => {
                let Words { text: said, message } = serde_json::from_str(line.part?.get()).ok()?;
                Some(vec![text(said, message)])
            }
            "reasoning" => {
                let Words { text: thought, message } = serde_json::from_str(line.part?.get()).ok()?;
                Some(vec![reasoning(thought, message)])
            }
            "tool_use" => tool_use(line.part?),
            "step_finish" => self.step_finish(line.part?),
            "error" => {
                self.told.error = Some(describe(line.error?));
                Some(Vec::new())
            }
            _ => None,
        }
    }

    fn step_finish(&mut self, part: &RawValue) -> Option<Vec<News>> {
        let Finish { reason, tokens, cost } = serde_json::from_str(part.get()).ok()?;
        self.told.stop = reason.as_deref().map(|reason| stop_reason(Some(reason)));
        let tokens = tokens.unwrap_or_default();
        let spent = tokens.usage(cost);
        let step = Usage { context_used: tokens.context(), ..spent.clone() };
        let run = self.told.usage.get_or_insert_default();
        run.add(&step);
        Some(vec![News::Spent(spent)])
    }
}

/// A call is told when it is over.
fn tool_use(part: &RawValue) -> Option<Vec<News>> {
    let Tool { tool, call, state } = serde_json::from_str(part.get()).ok()?;
    let begun = Call { id: &call, name: &tool, title: state.title.as_deref(), input: state.input }.begun();
    let (is_error, output) = match state.status.as_str() {
        "completed" => (false, state.output),
        "error" => (true, state.error),
        _ => return Some(vec![begun]),
    };
    let shown = output.and_then(tool::text_of);
    Some(vec![begun, tool::ended(&call, is_error, output, shown.as_deref())])
}

fn describe(error: &RawValue) -> String {
    let Ok(Failed { name, data, message }) = serde_json::from_str(error.get()) else {
        return error.get().to_owned();
    };
    let message = data.and_then(|data| data.message).or(message);
    match (name, message) {
        (Some(name), Some(message)) => format!("{message} ({name})"),
        (Some(only), None) | (None, Some(only)) => only,
        (None, None) => error.get().to_owned(),
    }
}
