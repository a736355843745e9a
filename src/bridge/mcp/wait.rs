//! Waits for a task, and tells the client how far it is as long as it wants to know.

use std::time::Duration;

use rmcp::model::{ProgressNotificationParam, ProgressToken};
use rmcp::service::{RequestContext, RoleServer};
use serde_json::{Value, json};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::progress::{Progress, TYPES};
use super::{Server, Trouble};
use crate::control::client::{Client, ClientError};
use crate::control::error::Kind;
use crate::control::wire::{TaskRow, is_terminal};

/// A client hears at least so often that its task lives: some give up after a minute of silence.
const ALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// How long a daemon that went away may take to be back.
const BACK_WITHIN: Duration = Duration::from_secs(30);
/// From the end of a task to the last that is said of it.
const REST_TIME_MAX: Duration = Duration::from_secs(2);
/// How often it is looked for.
const LOOK_PAUSE: Duration = Duration::from_millis(250);

/// What a cancelled request ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cancels {
    /// The task that it made.
    Task,
    /// Only the wait: the task was made by another request.
    Wait,
}

/// One wait.
pub(super) struct Wait<'a> {
    server: &'a Server,
    task: &'a str,
    context: &'a RequestContext<RoleServer>,
    cancels: Cancels,
    /// The name under which the client wants to hear of it, if it does.
    token: Option<ProgressToken>,
    /// What was told before, also of other tasks: the numbers only grow.
    progress: &'a mut Progress,
    /// The newest event that was told: where to go on after the daemon was away.
    cursor: i64,
    /// The end of the task was told.
    is_told: bool,
}

/// How one attempt at waiting ended.
enum Ended {
    Task(Box<TaskRow>),
    /// The connection is gone.
    Lost,
    /// The request was cancelled.
    Cancelled,
    /// The client went away.
    Gone,
}

impl<'a> Wait<'a> {
    pub(super) fn new(
        server: &'a Server,
        task: &'a str,
        context: &'a RequestContext<RoleServer>,
        cancels: Cancels,
        progress: &'a mut Progress,
    ) -> Self {
        let token = context.meta.get_progress_token();
        Self { server, task, context, cancels, token, progress, cursor: 0, is_told: false }
    }

    /// The task, when it is terminal.
    pub(super) async fn run(mut self) -> Result<TaskRow, Trouble> {
        loop {
            match self.attempt().await? {
                Ended::Task(task) => return Ok(*task),
                Ended::Lost => self.come_back().await?,
                Ended::Gone => return Err(Trouble::new("the client went away", None)),
                Ended::Cancelled => {
                    if self.cancels == Cancels::Task {
                        let opened = self.server.door.open().await?;
                        let params = json!({"task": self.task});
                        opened.client.call_raw("task/cancel", &params).await?;
                    }
                    return Err(Trouble::new("the request was cancelled", None));
                }
            }
        }
    }

    async fn attempt(&mut self) -> Result<Ended, Trouble> {
        let there = async { Ok((self.server.door.open().await?, self.subscribe().await?)) };
        let (opened, mut events) = match there.await {
            Err(Trouble { kind: Some(kind), .. }) if is_away(kind) => return Ok(Ended::Lost),
            there => there?,
        };
        let params = json!({"task": self.task});
        let waited = opened.client.call::<TaskRow>("task/wait", &params);
        tokio::pin!(waited);
        let mut alive = alive_after(ALIVE_INTERVAL);
        loop {
            tokio::select! {
                // What happened before the end is told before it.
                biased;
                () = self.server.gone.cancelled() => return Ok(Ended::Gone),
                () = self.context.ct.cancelled() => return Ok(Ended::Cancelled),
                event = next(&mut events) => match event {
                    Some(event) => self.hear(&event).await,
                    None => events = None,
                },
                answer = &mut waited => {
                    let ended = ended(answer)?;
                    if matches!(ended, Ended::Task(_)) {
                        self.hear_the_rest(&mut events).await;
                    }
                    return Ok(ended);
                }
                _ = alive.tick(), if self.token.is_some() => {
                    let line = self.progress.alive();
                    self.tell(line).await;
                }
            }
        }
    }

    /// A connection with the task's events, if the client wants to hear of them.
    async fn subscribe(&self) -> Result<Option<Client>, Trouble> {
        if self.token.is_none() {
            return Ok(None);
        }
        let opened = self.server.door.open().await?;
        let params = json!({"task": self.task, "after": self.cursor, "types": TYPES});
        opened.client.call_raw("events/subscribe", &params).await?;
        Ok(Some(opened.client))
    }

    async fn hear(&mut self, event: &Value) {
        self.cursor = event["seq"].as_i64().unwrap_or(self.cursor);
        self.is_told |= is_end(event);
        if let Some(line) = self.progress.take(event) {
            self.tell(line).await;
        }
    }

    /// The answer may be faster than what was said before it: that is on another connection.
    async fn hear_the_rest(&mut self, events: &mut Option<Client>) {
        let rest = async {
            while !self.is_told
                && events.is_some()
                && let Some(event) = next(events).await
            {
                self.hear(&event).await;
            }
        };
        tokio::time::timeout(REST_TIME_MAX, rest).await.ok();
    }

    async fn tell(&self, line: (u64, String)) {
        tell(self.context, self.token.as_ref(), line).await;
    }

    /// Waits until a daemon answers again. The task is in its store, whatever became of it.
    async fn come_back(&self) -> Result<(), Trouble> {
        let until = Instant::now() + BACK_WITHIN;
        while self.server.door.open().await.is_err() {
            if Instant::now() > until || self.server.gone.is_cancelled() {
                let message = format!("the daemon went away while task {} was waited for", self.task);
                return Err(Trouble::new(message, Some("ask `task_result` later".to_owned())));
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
        Ok(())
    }
}

/// Ticks as often as a client has to hear something, first after `first`.
pub(super) fn alive_after(first: Duration) -> Interval {
    let mut alive = interval_at(Instant::now() + first, ALIVE_INTERVAL);
    alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
    alive
}

/// Tells the client a line, if it wants to hear of its call.
pub(super) async fn tell(
    context: &RequestContext<RoleServer>,
    token: Option<&ProgressToken>,
    (number, line): (u64, String),
) {
    let Some(token) = token else { return };
    #[expect(clippy::cast_precision_loss, reason = "the protocol counts in floating point")]
    let told = ProgressNotificationParam::new(token.clone(), number as f64).with_message(line);
    // A client that does not listen any more is found out by its silence.
    context.peer.notify_progress(told).await.ok();
}

fn ended(answer: Result<TaskRow, ClientError>) -> Result<Ended, Trouble> {
    match answer {
        Ok(task) => Ok(Ended::Task(Box::new(task))),
        Err(error) if is_away(error.kind) => Ok(Ended::Lost),
        Err(error) => Err(error.into()),
    }
}

/// Whether there is no daemon just now.
fn is_away(kind: Kind) -> bool {
    matches!(kind, Kind::NoDaemon | Kind::Disconnected | Kind::ShuttingDown)
}

/// Whether nothing comes behind it.
fn is_end(event: &Value) -> bool {
    let to = event["to"].as_str().unwrap_or_default();
    event["type"] == "task_state" && is_terminal(to)
}

/// The next event; without a subscription there is none, ever.
async fn next(events: &mut Option<Client>) -> Option<Value> {
    match events {
        Some(client) => {
            let note = client.next_event().await?;
            Some(serde_json::from_str(note.event.get()).unwrap_or_default())
        }
        None => std::future::pending().await,
    }
}
