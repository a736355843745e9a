//! The last steps of the demo: what the journal says of all that, and an end without a trace.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::Demo;
use super::processes;
use super::steps::check;
use crate::cli::error::CliError;
use crate::cli::event::EventRow;
use crate::cli::link::Link;
use crate::cli::log;

/// How soon nothing of an agent's may be left after an ordered stop.
const STOPPED_GONE: Duration = Duration::from_secs(2);

/// How many lines of the journal are shown.
const LINES_SHOWN: usize = 8;

#[derive(Deserialize)]
struct Page {
    events: Vec<Box<RawValue>>,
    next: Option<i64>,
}

pub(super) async fn journal(demo: &mut Demo<'_>) -> Result<String, CliError> {
    let link = demo.stage.link().await?;
    let events = replay(&link).await?;
    let in_order = events.windows(2).all(|pair| pair[0].seq < pair[1].seq);
    check(in_order, "numbers that only grow", "one that does not")?;
    for (seq, json) in &demo.cast.seen {
        let again = events.iter().find(|event| event.seq == *seq).map(EventRow::json);
        check(again == Some(json), &format!("event {seq} as it was seen live"), again.unwrap_or("nothing"))?;
    }
    for task in &demo.cast.tasks {
        let ends = events
            .iter()
            .filter(|event| event.task.as_ref() == Some(task) && event.task_end().is_some())
            .count();
        check(ends == 1, &format!("one end of task {task}"), ends)?;
    }
    let count = |kind: &str| events.iter().filter(|event| event.kind == kind).count();
    let (started, ended) = (count("turn_started"), count("turn_ended"));
    check(started == ended, &format!("{started} ends for {started} turns"), ended)?;
    let mut lines = log::Lines::default();
    let text: String = events.iter().map(|event| lines.push(event)).collect::<String>() + &lines.flush();
    let shown: Vec<_> = text.lines().collect();
    let shown = &shown[shown.len().saturating_sub(LINES_SHOWN)..];
    demo.show.block(&format!("…\n{}\n", shown.join("\n")))?;
    let (seen, tasks) = (demo.cast.seen.len(), demo.cast.tasks.len());
    Ok(format!(
        "{} events in order; the {seen} seen live are the same; {tasks} tasks and {ended} turns end once each",
        events.len()
    ))
}

async fn replay(link: &Link) -> Result<Vec<EventRow>, CliError> {
    let (mut events, mut after) = (Vec::new(), Some(0));
    while let Some(cursor) = after {
        let page: Page = link.call("events/list", json!({"after": cursor, "limit": 200})).await?;
        for raw in page.events {
            events.push(EventRow::read(raw));
        }
        after = page.next;
    }
    Ok(events)
}

pub(super) async fn down(demo: &mut Demo<'_>) -> Result<String, CliError> {
    let link = demo.stage.link().await?;
    link.call::<Value>("daemon/shutdown", json!({})).await?;
    let status = demo.stage.daemon_ended().await?;
    check(status.success(), "the daemon to end well", status)?;
    check(!demo.stage.socket().exists(), "no socket to be left", demo.stage.socket().display())?;
    if let Err(left) = processes::gone_within(demo.cast.installation, STOPPED_GONE).await {
        return Err(CliError::failed(format!("expected no process to be left\nsaw {left:?}")));
    }
    let is_gone = demo.stage.clear()?;
    let place = demo.stage.dir().display();
    Ok(if is_gone {
        format!("no process, no socket; {place} is gone")
    } else {
        format!("no process, no socket; kept: {place}")
    })
}
