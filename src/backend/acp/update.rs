//! Turns one `session/update` into the event union. Pure, but for the memory of which tool calls
//! were announced.
//!
//! What the union has no word for is kept raw, whole.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use hob_actors::event::{Event, Json, Level, PlanEntry, ToolCall, ToolUpdate, Usage};
use hob_actors::ports::News;

use super::offers;
use super::wire::{Block, ChunkMeta, Entry, Tool, Update, json, json_list};

/// Tool calls of one turn whose announcement is remembered; past it the oldest ones by id go.
const ANNOUNCED_MAX: usize = 4096;

/// What a person sees where the agent did not say.
const STATUS_DEFAULT: &str = "pending";

/// The updates that a conversation is made of.
const HISTORY: [&str; 6] = [
    "user_message_chunk",
    "agent_message_chunk",
    "agent_thought_chunk",
    "tool_call",
    "tool_call_update",
    "plan",
];

/// The tool calls that were announced, with title and kind, since the turn began.
#[derive(Debug, Default)]
pub(super) struct Announced(BTreeMap<String, (String, String)>);

impl Announced {
    /// A turn is over: its calls are history.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Title and kind of a call that was announced.
    pub(super) fn get(&self, call: &str) -> Option<&(String, String)> {
        self.0.get(call)
    }

    /// The announcement of a call, from whatever told of it first.
    pub(super) fn announce(&mut self, tool: &Tool<'_>) -> Event {
        let call = ToolCall {
            call: tool.tool_call_id.clone(),
            title: tool.title.clone().unwrap_or_else(|| tool.tool_call_id.clone()),
            kind: tool.inferred_kind().to_owned(),
            status: tool.status.clone().unwrap_or_else(|| STATUS_DEFAULT.to_owned()),
            locations: json_list(tool.locations),
            input: json(tool.raw_input),
            content: json_list(tool.content),
        };
        if self.0.len() >= ANNOUNCED_MAX {
            self.0.pop_first();
        }
        self.0.insert(call.call.clone(), (call.title.clone(), call.kind.clone()));
        Event::ToolCall(call)
    }
}

/// One update, read.
pub(super) struct Read {
    /// It is a piece of a conversation, rather than news of what the agent offers.
    pub(super) is_history: bool,
    /// In order. An update that says nothing new is no news.
    pub(super) news: Vec<News>,
}

/// Reads one update.
pub(super) fn read(raw: &RawValue, announced: &mut Announced) -> Read {
    let unknown = || vec![said(Event::Raw { update: Json::from_valid(raw.get()) })];
    match serde_json::from_str::<Update<'_>>(raw.get()) {
        Ok(update) => Read {
            is_history: HISTORY.contains(&&*update.session_update),
            news: news(raw, update, announced).unwrap_or_else(unknown),
        },
        Err(_) => Read { is_history: false, news: unknown() },
    }
}

/// `None` for what the union has no word for.
fn news(raw: &RawValue, update: Update<'_>, announced: &mut Announced) -> Option<Vec<News>> {
    match &*update.session_update {
        "agent_message_chunk" => chunk(&update, |text, message| Event::Text { text, message }),
        "agent_thought_chunk" => chunk(&update, |text, message| Event::Reasoning { text, message }),
        // Our own prompt, said back.
        "user_message_chunk" => Some(vec![]),
        "tool_call" => tool(raw, |tool| vec![said(announced.announce(tool))]),
        "tool_call_update" => tool(raw, |tool| tool_update(tool, announced)),
        "plan" => update.entries.and_then(plan),
        "available_commands_update" => {
            json(update.available_commands).map(|commands| vec![said(Event::Commands { commands })])
        }
        "current_mode_update" => update
            .current_mode_id
            .map(|mode| vec![said(Event::Mode { current: Some(mode), available: None })]),
        "config_option_update" => update
            .config_options
            .map(|options| offers::Offers::from_options(options).events().into_iter().map(said).collect()),
        "usage_update" => Some(vec![said(Event::Usage(context(update)))]),
        "notice" => notice(update),
        _ => None,
    }
}

fn said(event: Event) -> News {
    News::Said(event)
}

/// `None` for content that is not text.
fn chunk(update: &Update<'_>, event: impl Fn(String, Option<String>) -> Event) -> Option<Vec<News>> {
    let block: Block<'_> = serde_json::from_str(update.content?.get()).ok()?;
    let text = block.text.filter(|_| block.kind == "text")?;
    let mut news = Vec::new();
    if !text.is_empty() {
        news.push(said(event(text, update.message_id.clone())));
    }
    // Qwen tells the tokens of every model request on an empty chunk.
    let usage = update.meta.and_then(|meta| serde_json::from_str::<ChunkMeta>(meta.get()).ok()?.usage);
    news.extend(usage.map(|usage| News::Spent(usage.into())));
    Some(news)
}

/// `None` where it does not even say which call it is about.
fn tool(raw: &RawValue, news: impl FnOnce(&Tool<'_>) -> Vec<News>) -> Option<Vec<News>> {
    serde_json::from_str::<Tool<'_>>(raw.get()).ok().map(|tool| news(&tool))
}

fn tool_update(tool: &Tool<'_>, announced: &mut Announced) -> Vec<News> {
    let mut update = ToolUpdate {
        call: tool.tool_call_id.clone(),
        status: tool.status.clone(),
        title: tool.title.clone(),
        locations: json_list(tool.locations),
        input: json(tool.raw_input),
        content: json(tool.content),
        output: json(tool.raw_output),
    };
    let mut news = Vec::new();
    if announced.get(&update.call).is_none() {
        // Qwen updates calls that it never announced. The announcement comes without the outcome,
        // and the update without what the announcement said.
        let unfinished = Tool { status: None, content: None, raw_output: None, ..tool.clone() };
        news.push(said(announced.announce(&unfinished)));
        (update.locations, update.input) = (None, None);
    }
    if update != (ToolUpdate { call: update.call.clone(), ..ToolUpdate::default() }) {
        news.push(said(Event::ToolUpdate(update)));
    }
    news
}

fn plan(entries: &RawValue) -> Option<Vec<News>> {
    let entries: Vec<Entry> = serde_json::from_str(entries.get()).ok()?;
    let entries = entries
        .into_iter()
        .map(|entry| PlanEntry { content: entry.content, status: entry.status, priority: entry.priority })
        .collect();
    Some(vec![said(Event::Plan { entries })])
}

/// The context window, and the money spent by the conversation so far.
fn context(update: Update<'_>) -> Usage {
    let (cost, currency) = update.cost.map_or((None, None), |cost| (Some(cost.amount), cost.currency));
    Usage { context_used: update.used, context_size: update.size, cost, currency, ..Usage::default() }
}

fn notice(update: Update<'_>) -> Option<Vec<News>> {
    let level = match update.severity.as_deref() {
        Some("error") => Level::Error,
        Some("warning") => Level::Warning,
        _ => Level::Info,
    };
    let text = match (update.title, update.description) {
        (Some(title), Some(more)) => format!("{title}: {more}"),
        (title, more) => title.or(more)?,
    };
    Some(vec![said(Event::Notice { level, text })])
}

#[cfg(test)]
#[path = "update/tests.rs"]
mod tests;
