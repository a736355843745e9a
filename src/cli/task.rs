//! `hob task`: the prompts that were asked to be run.

use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use serde_json::json;
use serde_json::value::RawValue;

use super::Outcome;
use super::context::Ctx;
use super::error::{CliError, Exit};
use super::find::{self, Kind, with_id};
use super::link::Link;
use super::render::{ago, duration, facts, harmless, one_line, or_nothing, table, usage};
use crate::control::wire::{Moment, TaskRow, TurnRow, is_terminal};

/// The widest prompt in the table, in characters.
const PROMPT_WIDTH_MAX: usize = 60;

/// How long one call of `task/wait` waits.
const WAIT_CALL: Duration = Duration::from_secs(60);

/// What can be done with tasks.
#[derive(Debug, Subcommand)]
pub enum TaskCommand {
    /// List tasks, newest first
    Ls(LsArgs),
    /// Show a task with its turns and its answer
    Show(OneArgs),
    /// Cancel a task; what waits behind it stays, the agent stays warm
    Cancel(OneArgs),
    /// Ask the same again, as a new task
    Retry(OneArgs),
    /// Wait until a task has ended; exits as `hob prompt` would
    Wait(WaitArgs),
}

/// Arguments of `hob task ls`.
#[derive(Debug, Args)]
pub struct LsArgs {
    /// Of this chat only
    #[arg(long, short)]
    pub chat: Option<String>,
    /// Of this session only
    #[arg(long, short)]
    pub session: Option<String>,
    /// In this state only
    #[arg(long, value_parser = ["queued", "held", "dispatched", "running", "completed", "failed", "cancelled", "interrupted"])]
    pub state: Option<String>,
    /// At most this many
    #[arg(long, default_value_t = 50)]
    pub limit: u32,
}

/// A task.
#[derive(Debug, Args)]
pub struct OneArgs {
    /// The task, or the beginning of its id
    pub task: String,
}

/// Arguments of `hob task wait`.
#[derive(Debug, Args)]
pub struct WaitArgs {
    /// The task, or the beginning of its id
    pub task: String,
    /// Give up after this long, with exit code 75
    #[arg(long, value_name = "SECS")]
    pub timeout: Option<u64>,
}

/// Runs the command.
pub async fn run(ctx: &mut Ctx, command: &TaskCommand) -> Outcome {
    match command {
        TaskCommand::Ls(args) => ls(ctx, args).await,
        TaskCommand::Show(args) => on_one(ctx, "task/show", &args.task, show).await,
        TaskCommand::Cancel(args) => on_one(ctx, "task/cancel", &args.task, line).await,
        TaskCommand::Retry(args) => {
            on_one(ctx, "task/retry", &args.task, |task| format!("{}\n", task.id)).await
        }
        TaskCommand::Wait(args) => wait(ctx, args).await,
    }
}

async fn ls(ctx: &mut Ctx, args: &LsArgs) -> Outcome {
    let link = ctx.link().await?;
    let mut params = json!({"limit": args.limit});
    if let Some(chat) = &args.chat {
        params["chat"] = json!(find::id(&link, Kind::Chat, chat).await?);
    }
    if let Some(session) = &args.session {
        params["session"] = json!(find::id(&link, Kind::Session, session).await?);
    }
    if let Some(state) = &args.state {
        params["state"] = json!(state);
    }
    let answer = link.raw("task/list", params).await?;
    ctx.show(&answer, |rows: Vec<TaskRow>| list(&rows, Moment::now()))?;
    Ok(Exit::Done)
}

async fn on_one(ctx: &mut Ctx, method: &str, task: &str, render: impl FnOnce(TaskRow) -> String) -> Outcome {
    let link = ctx.link().await?;
    let call = async |id: &str| -> Result<_, CliError> { link.raw(method, json!({"task": id})).await };
    let answer = with_id(&link, Kind::Task, task, call).await?;
    ctx.show(&answer, render)?;
    Ok(Exit::Done)
}

async fn wait(ctx: &mut Ctx, args: &WaitArgs) -> Outcome {
    let link = ctx.link().await?;
    let task = find::id(&link, Kind::Task, &args.task).await?;
    let until = args.timeout.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    loop {
        let left =
            until.map_or(WAIT_CALL, |until| until.saturating_duration_since(Instant::now()).min(WAIT_CALL));
        let (answer, row) = wait_once(&link, &task, left).await?;
        if is_terminal(&row.state) {
            ctx.show(&answer, line)?;
            return Ok(Exit::of_task(&row.state, row.outcome.as_ref().and_then(|outcome| outcome.fault)));
        }
        if until.is_some_and(|until| Instant::now() >= until) {
            return Err(CliError::new(Exit::TryAgain, format!("task {task} is still {}", row.state)));
        }
    }
}

async fn wait_once(link: &Link, task: &str, left: Duration) -> Result<(Box<RawValue>, TaskRow), CliError> {
    let timeout_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
    let answer = link.raw("task/wait", json!({"task": task, "timeout_ms": timeout_ms})).await?;
    let row = serde_json::from_str(answer.get())?;
    Ok((answer, row))
}

/// The state, with what a waiting task waits for, and what rules kept it from.
fn state(task: &TaskRow) -> String {
    match (&task.waiting, task.rejected) {
        (Some(waiting), _) if !is_terminal(&task.state) => format!("{} ({waiting})", task.state),
        (_, 0) => task.state.clone(),
        (_, n) => format!("{} ({n} rejected by rule)", task.state),
    }
}

fn line(task: TaskRow) -> String {
    let error = task.outcome.as_ref().and_then(|outcome| outcome.error.as_deref());
    let error = error.map(|error| format!(": {}", one_line(error, usize::MAX))).unwrap_or_default();
    format!("{} {}{error}\n", task.id, state(&task))
}

/// The table of `hob task ls`.
pub fn list(rows: &[TaskRow], now: Moment) -> String {
    let row = |task: &TaskRow| {
        let took =
            task.started_at.zip(task.ended_at).and_then(|(start, end)| u64::try_from(end.0 - start.0).ok());
        vec![
            task.id.clone(),
            task.chat.clone(),
            task.agent.clone(),
            state(task),
            ago(task.created_at, now),
            or_nothing(took.map(duration)),
            one_line(&task.prompt, PROMPT_WIDTH_MAX),
        ]
    };
    table(
        &["TASK", "CHAT", "AGENT", "STATE", "CREATED", "TOOK", "PROMPT"],
        &[],
        rows.iter().map(row).collect(),
    )
}

fn show(task: TaskRow) -> String {
    let now = Moment::now();
    let outcome = |pick: fn(&crate::control::wire::OutcomeRow) -> Option<&String>| {
        task.outcome.as_ref().and_then(pick).map(|text| one_line(text, usize::MAX)).unwrap_or_default()
    };
    let mut text = facts(&[
        ("task", task.id.clone()),
        ("state", state(&task)),
        ("chat", task.chat.clone()),
        ("session", task.session.clone()),
        ("agent", task.agent.clone()),
        ("backend", task.backend.clone().unwrap_or_default()),
        ("source", task.source.clone()),
        ("parent", task.parent.clone().unwrap_or_default()),
        ("request id", task.request_id.clone().unwrap_or_default()),
        ("created", ago(task.created_at, now)),
        ("context lost", one_line(task.context_lost.as_deref().unwrap_or_default(), usize::MAX)),
        ("rejected", if task.rejected > 0 { format!("{} by rule", task.rejected) } else { String::new() }),
        ("stop reason", outcome(|outcome| outcome.stop_reason.as_ref())),
        ("error", outcome(|outcome| outcome.error.as_ref())),
        ("usage", usage(&task.usage)),
        ("prompt", one_line(&task.prompt, usize::MAX)),
    ]);
    if let Some(turns) = task.turns.as_deref().filter(|turns| !turns.is_empty()) {
        text.push('\n');
        text.push_str(&turn_table(turns));
    }
    if let Some(answer) = &task.text {
        text.push_str(&format!("\n{}\n", harmless(answer).trim_end()));
    }
    text
}

fn turn_table(turns: &[TurnRow]) -> String {
    let row = |turn: &TurnRow| {
        vec![
            turn.id.clone(),
            turn.generation.to_string(),
            turn.outcome.clone().unwrap_or_else(|| "running".to_owned()),
            or_nothing(turn.context.as_deref()),
            or_nothing(turn.first_token_ms.map(duration)),
            or_nothing(turn.duration_ms.map(duration)),
            or_nothing(turn.error.as_deref().map(|error| one_line(error, PROMPT_WIDTH_MAX))),
        ]
    };
    let header = ["TURN", "GENERATION", "OUTCOME", "CONTEXT", "FIRST TOKEN", "TOOK", "ERROR"];
    table(&header, &[], turns.iter().map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::super::render::plain;
    use super::*;
    use crate::control::wire::{OutcomeRow, UsageRow};

    fn task(state: &str) -> TaskRow {
        TaskRow {
            id: "t-1".into(),
            chat: "c-1".into(),
            session: "s-1".into(),
            agent: "goose".into(),
            state: state.into(),
            waiting: Some("slot".into()),
            backend: None,
            source: "chat".into(),
            prompt: "do\nthis".into(),
            request_id: None,
            parent: None,
            created_at: Moment(0),
            started_at: Some(Moment(1000)),
            ended_at: Some(Moment(3500)),
            turn: None,
            context_lost: None,
            rejected: 0,
            outcome: Some(OutcomeRow {
                stop_reason: None,
                error: Some("the agent was killed".into()),
                fault: None,
            }),
            text: None,
            usage: UsageRow::default(),
            turns: None,
        }
    }

    #[test]
    fn tasks_are_listed_with_what_they_wait_for() {
        insta::assert_snapshot!(plain(&list(&[task("queued"), task("completed")], Moment(60_000))), @"
        TASK  CHAT  AGENT  STATE          CREATED  TOOK  PROMPT
        t-1   c-1   goose  queued (slot)  1m ago   2.5s  do⏎this
        t-1   c-1   goose  completed      1m ago   2.5s  do⏎this
        ");
    }

    #[test]
    fn a_task_that_went_wrong_says_why_in_its_line() {
        assert_eq!(line(task("interrupted")), "t-1 interrupted: the agent was killed\n");
    }
}
