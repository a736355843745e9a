//! Prompts in the demo: submitted, watched to the end, shown as they stream.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Demo;
use crate::backend::known::DEMO;
use crate::cli::error::CliError;
use crate::cli::event::EventRow;
use crate::cli::link::Link;
use crate::control::wire::TaskRow;

/// How long an event may be waited for. The demo agent is never slower than a few seconds.
const EVENT_TIMEOUT: Duration = Duration::from_secs(20);

/// A prompt that was submitted and is being watched.
pub(super) struct Playing {
    link: Link,
    /// The task as it was accepted.
    pub(super) task: TaskRow,
    /// What was seen so far, and when.
    pub(super) seen: Vec<(EventRow, Instant)>,
}

/// A task that has ended, as it was watched.
pub(super) struct Played {
    /// The task.
    pub(super) task: String,
    /// Its terminal state.
    pub(super) state: String,
    /// The answer.
    pub(super) text: String,
    /// What the agent remembered when the turn began.
    pub(super) context: String,
    /// What was seen, and when.
    pub(super) seen: Vec<(EventRow, Instant)>,
}

impl Demo<'_> {
    /// Submits a prompt to the demo agent and watches it from its first event on.
    pub(super) async fn begin(&mut self, chat: &str, prompt: &str) -> Result<Playing, CliError> {
        self.begin_by(DEMO, chat, prompt).await
    }

    /// Submits a prompt to an agent and watches it from its first event on.
    pub(super) async fn begin_by(
        &mut self,
        agent: &str,
        chat: &str,
        prompt: &str,
    ) -> Result<Playing, CliError> {
        let name = self.cast.name(chat);
        self.show.prompt(name, prompt)?;
        let link = self.stage.link().await?;
        let params = json!({"chat": chat, "agent": agent, "prompt": prompt, "source": "chat"});
        let task: TaskRow = link.call("task/submit", params).await?;
        let filter = json!({"task": task.id, "chat": chat, "after": 0, "answers_permissions": true});
        link.call::<Value>("events/subscribe", filter).await?;
        self.cast.tasks.push(task.id.clone());
        Ok(Playing { link, task, seen: Vec::new() })
    }

    /// Watches until an event is the wanted one. The end of the task, if that comes first, fails.
    pub(super) async fn until(
        &mut self,
        playing: &mut Playing,
        wanted: impl Fn(&EventRow) -> bool,
    ) -> Result<EventRow, CliError> {
        loop {
            let event = self.watch(playing).await?;
            if wanted(&event) {
                return Ok(event);
            }
            if let Some(state) = event.task_end() {
                let message = format!("expected more of task {}, saw it {state}", playing.task.id);
                return Err(CliError::failed(message));
            }
        }
    }

    /// Watches to the end of the task.
    pub(super) async fn end(&mut self, mut playing: Playing) -> Result<Played, CliError> {
        let last = self.until(&mut playing, |event| event.task_end().is_some()).await?;
        self.show.flush()?;
        Ok(Played {
            task: playing.task.id.clone(),
            state: last.text("to").to_owned(),
            text: all(&playing.seen, "text", "text"),
            context: all(&playing.seen, "turn_started", "context"),
            seen: playing.seen,
        })
    }

    /// Submits a prompt and watches it to an end that has to be good.
    pub(super) async fn play(&mut self, chat: &str, prompt: &str) -> Result<Played, CliError> {
        self.play_by(DEMO, chat, prompt).await
    }

    /// Submits a prompt to an agent and watches it to an end that has to be good.
    pub(super) async fn play_by(
        &mut self,
        agent: &str,
        chat: &str,
        prompt: &str,
    ) -> Result<Played, CliError> {
        let playing = self.begin_by(agent, chat, prompt).await?;
        let played = self.end(playing).await?;
        if played.state == "completed" {
            return Ok(played);
        }
        let reason = played.seen.iter().rev().map(|(event, _)| event);
        let reason = reason.flat_map(|event| [event.text("error"), event.text("reason")]);
        let reason: Vec<_> = reason.filter(|why| !why.is_empty()).collect();
        Err(CliError::failed(format!(
            "expected the task to be completed, saw it {}: {}",
            played.state,
            reason.join(", ")
        )))
    }

    /// The next event, shown and remembered.
    async fn watch(&mut self, playing: &mut Playing) -> Result<EventRow, CliError> {
        let next = tokio::time::timeout(EVENT_TIMEOUT, playing.link.event()).await;
        let raw = next.map_err(|_| {
            let last = playing.seen.last().map_or("nothing", |(event, _)| event.kind.as_str());
            CliError::failed(format!(
                "expected another event within {} s, the last was {last}",
                EVENT_TIMEOUT.as_secs()
            ))
        })??;
        let event = EventRow::read(raw);
        match event.kind.as_str() {
            "text" => self.show.piece(event.text("text"))?,
            "tool_call" | "permission_requested" | "permission_resolved" | "context_reset" => {
                self.show.line(&crate::cli::event::words(&event))?;
            }
            _ => {}
        }
        self.cast.seen.insert(event.seq, event.json().to_owned());
        playing.seen.push((event.clone(), Instant::now()));
        Ok(event)
    }
}

/// A field of all events of a kind, one after the other.
fn all(seen: &[(EventRow, Instant)], kind: &str, field: &str) -> String {
    let events = seen.iter().map(|(event, _)| event).filter(|event| event.kind == kind);
    events.map(|event| event.text(field)).collect()
}
