//! `hob log`: the journal, followed on demand.

use std::time::Duration;

use clap::Args;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::Outcome;
use super::context::Ctx;
use super::error::{CliError, Exit};
use super::event::{EventRow, words};
use super::find::{Kind, id};
use super::follow::{Follower, Patience};
use super::render::{BAD, DIM, GOOD, NAME, NOTHING, WARN, clock, paint};

/// How many events one call brings.
const PAGE_EVENTS: u32 = 1000;

/// How long a message must pause before its gathered text is shown while following.
const QUIET: Duration = Duration::from_millis(150);

/// The longest text of a message that is gathered into one line, in bytes.
const GATHERED_BYTES_MAX: usize = 4096;

/// Arguments of `hob log`.
#[derive(Debug, Args)]
pub struct LogArgs {
    /// Of this chat only
    pub chat: Option<String>,
    /// Go on, and show what comes
    #[arg(long, short)]
    pub follow: bool,
    /// Only what is later than this number
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    pub after: i64,
    /// Of this type only; may be given more than once
    #[arg(long = "type", value_name = "TYPE")]
    pub types: Vec<String>,
}

#[derive(Deserialize)]
struct Page {
    events: Vec<Box<RawValue>>,
    next: Option<i64>,
}

/// Prints what is kept; with `--follow` until Ctrl-C.
pub async fn run(ctx: &mut Ctx, args: &LogArgs) -> Outcome {
    let link = ctx.link().await?;
    let mut filter = json!({});
    if let Some(chat) = &args.chat {
        filter["chat"] = json!(id(&link, Kind::Chat, chat).await?);
    }
    if !args.types.is_empty() {
        filter["types"] = json!(args.types);
    }
    if args.follow {
        let events = Follower::new(filter, Some(args.after), Patience::Forever).over(link);
        return tokio::select! {
            done = follow(ctx, events) => done,
            _ = tokio::signal::ctrl_c() => Ok(Exit::Done),
        };
    }
    let (mut lines, mut after) = (Lines::default(), Some(args.after));
    while let Some(cursor) = after {
        let page: Page = link.call("events/list", page_of(&filter, cursor)).await?;
        for raw in page.events {
            let text =
                if ctx.globals.json { format!("{}\n", raw.get()) } else { lines.push(&EventRow::read(raw)) };
            ctx.print(text)?;
        }
        after = page.next.filter(|next| *next > cursor);
    }
    ctx.print(lines.flush())?;
    Ok(Exit::Done)
}

fn page_of(filter: &Value, after: i64) -> Value {
    let mut params = filter.clone();
    params["after"] = json!(after);
    params["limit"] = json!(PAGE_EVENTS);
    params
}

async fn follow(ctx: &mut Ctx, mut events: Follower) -> Outcome {
    let mut lines = Lines::default();
    loop {
        let text = match tokio::time::timeout(QUIET, events.next(ctx)).await {
            Ok(event) if ctx.globals.json => format!("{}\n", event?.json()),
            Ok(event) => lines.push(&event?),
            Err(_) => {
                // Nothing came for a while: show what was gathered, then wait for more.
                ctx.print(lines.flush())?;
                let event: Result<EventRow, CliError> = events.next(ctx).await;
                if ctx.globals.json { format!("{}\n", event?.json()) } else { lines.push(&event?) }
            }
        };
        ctx.print(text)?;
    }
}

/// Makes lines of events. The chunks of one message become one line, with the number of the first.
#[derive(Default)]
pub struct Lines {
    gathered: Option<EventRow>,
}

impl Lines {
    /// Takes an event; gives the lines that are complete now.
    pub fn push(&mut self, event: &EventRow) -> String {
        if let Some(gathered) = &mut self.gathered
            && is_same_message(gathered, event)
        {
            let text = format!("{}{}", gathered.text("text"), event.text("text"));
            let is_full = text.len() > GATHERED_BYTES_MAX;
            gathered.fields.insert("text".into(), text.into());
            return if is_full { self.flush() } else { String::new() };
        }
        let mut lines = self.flush();
        if matches!(event.kind.as_str(), "text" | "reasoning") {
            self.gathered = Some(event.clone());
        } else {
            lines.push_str(&line(event));
        }
        lines
    }

    /// The line that was being gathered.
    pub fn flush(&mut self) -> String {
        self.gathered.take().map(|event| line(&event)).unwrap_or_default()
    }
}

fn is_same_message(a: &EventRow, b: &EventRow) -> bool {
    a.kind == b.kind && a.turn == b.turn && a.fields.get("message") == b.fields.get("message")
}

/// One event as a line: number, time, chat, agent, words.
pub fn line(event: &EventRow) -> String {
    let chat = event.chat.as_deref().unwrap_or(NOTHING);
    let agent = event.agent.as_deref().unwrap_or(NOTHING);
    let style = match (event.kind.as_str(), event.text("to"), event.text("outcome")) {
        ("context_reset" | "permission_requested" | "gap", ..) => WARN,
        ("notice", ..) if event.text("level") != "info" => WARN,
        (_, "crashed" | "circuit_open" | "failed" | "interrupted", _) | (_, _, "failed" | "interrupted") => {
            BAD
        }
        (_, "completed", _) | (_, _, "completed") => GOOD,
        ("text", ..) => anstyle::Style::new(),
        _ => DIM,
    };
    let (seq, at) = (format!("{:>7}", event.seq), clock(&event.at));
    let words = paint(style, words(event));
    let chat = paint(NAME, format_args!("{chat:<10}"));
    format!("{}  {}  {chat}  {agent:<8}  {words}\n", paint(DIM, seq), paint(DIM, at))
}

#[cfg(test)]
mod tests {
    use super::super::event::tests::event;
    use super::super::render::plain;
    use super::*;

    #[test]
    fn the_chunks_of_a_message_become_one_line() {
        let mut lines = Lines::default();
        let mut text = String::new();
        let events = [
            event(7, "turn_started", json!({"context": "fresh"})),
            event(8, "text", json!({"text": "Hel", "message": "m1"})),
            event(9, "text", json!({"text": "lo", "message": "m1"})),
            event(10, "text", json!({"text": "again", "message": "m2"})),
            event(12, "turn_ended", json!({"outcome": "completed", "duration_ms": 12})),
        ];
        for event in &events {
            text.push_str(&lines.push(event));
        }
        text.push_str(&lines.flush());
        insta::assert_snapshot!(plain(&text), @"
              7  14:03:22.118  c-1         goose     turn started (fresh)
              8  14:03:22.118  c-1         goose     “Hello”
             10  14:03:22.118  c-1         goose     “again”
             12  14:03:22.118  c-1         goose     turn completed after 12ms
        ");
    }

    #[test]
    fn a_message_without_end_does_not_gather_without_end() {
        let mut lines = Lines::default();
        let chunk = event(1, "text", json!({"text": "x".repeat(GATHERED_BYTES_MAX)}));
        assert_eq!(lines.push(&chunk), "");
        assert_ne!(lines.push(&chunk), "");
        assert_eq!(lines.flush(), "");
    }
}
