//! The steps of the demo in which something is killed, and what is left of the work then.

use std::time::Duration;

use serde_json::json;

use super::Demo;
use super::processes;
use super::steps::{check, counted, is_text, millis, prompts};
use crate::cli::error::CliError;
use crate::cli::render::one_line;
use crate::control::wire::{AgentSessionRow, TaskRow, is_terminal};

/// How soon nothing of an agent's may be left when the daemon is killed.
const ORPHANS_GONE: Duration = Duration::from_secs(1);

/// How long a queued task may take to run after a restart.
const QUEUED_TIMEOUT_MS: u64 = 20_000;

pub(super) async fn kill_agent(demo: &mut Demo<'_>) -> Result<String, CliError> {
    let chat = demo.cast.first.clone();
    let mut playing = demo.begin(&chat, prompts::LONG).await?;
    demo.until(&mut playing, is_text).await?;
    demo.cast.prompts += 1;
    let pid = demo.live(&chat).await?.pid.unwrap_or_default();
    processes::sigkill(pid)?;
    let played = demo.end(playing).await?;
    check(played.state == "interrupted", "the task to be interrupted", &played.state)?;
    let is_it = |row: &AgentSessionRow| row.chat == chat && row.status == "crashed";
    let rows = demo.pool_until(true, |rows| rows.iter().any(is_it)).await?;
    let row = rows.iter().find(|row| row.chat == chat);
    let exit = row.and_then(|row| row.last_exit.as_ref()).map(|exit| exit.detail.clone()).unwrap_or_default();
    let status = row.map(|row| row.status.clone()).unwrap_or_default();
    check(
        status == "crashed" && exit.contains("SIGKILL"),
        "`crashed` with the signal in hob ps -a",
        format_args!("{status}: {exit}"),
    )?;
    Ok(format!("pid {pid} killed; task {} is interrupted, hob ps -a says: {status}, {exit}", played.task))
}

pub(super) async fn recover(demo: &mut Demo<'_>) -> Result<String, CliError> {
    let chat = demo.cast.first.clone();
    let played = demo.play(&chat, prompts::COUNT).await?;
    demo.cast.prompts += 1;
    let counted = counted(&played)?;
    check(
        matches!(played.context.as_str(), "loaded" | "resumed"),
        "context: loaded or resumed",
        &played.context,
    )?;
    check(counted == demo.cast.prompts, &format!("a count of {}", demo.cast.prompts), counted)?;
    let pid = demo.live(&chat).await?.pid;
    check(pid.is_some() && pid != demo.cast.pid, "a new process", format_args!("{pid:?}"))?;
    Ok(format!(
        "pid {} has the context again ({}): {counted} prompts counted",
        pid.unwrap_or_default(),
        played.context
    ))
}

pub(super) async fn kill_daemon(demo: &mut Demo<'_>) -> Result<String, CliError> {
    let (first, second) = (demo.cast.first.clone(), demo.cast.second.clone());
    for chat in [&first, &second] {
        let mut playing = demo.begin(chat, prompts::LONG).await?;
        demo.until(&mut playing, is_text).await?;
        demo.cast.at_work.push(playing.task.id);
    }
    let queued = demo.begin(&first, prompts::QUEUED).await?;
    check(queued.task.state == "queued", "a third task to wait behind the first", &queued.task.state)?;
    demo.cast.queued = queued.task.id;
    let at_work = processes::marked(demo.cast.installation).len();
    let pid = demo.stage.daemon_pid().unwrap_or_default();
    demo.stage.kill_daemon()?;
    match processes::gone_within(demo.cast.installation, ORPHANS_GONE).await {
        Ok(took) => Ok(format!(
            "hobd {pid} killed; all {at_work} processes of the agents were gone {} later",
            millis(took)
        )),
        Err(left) => Err(CliError::failed(format!("expected no process to be left after 1 s\nsaw {left:?}"))),
    }
}

pub(super) async fn account(demo: &mut Demo<'_>) -> Result<String, CliError> {
    demo.stage.start_daemon().await?;
    let link = demo.stage.link().await?;
    let wait = json!({"task": demo.cast.queued, "timeout_ms": QUEUED_TIMEOUT_MS});
    let queued: TaskRow = link.call("task/wait", wait).await?;
    check(queued.state == "completed", "the queued task to be run and completed", &queued.state)?;
    for id in &demo.cast.at_work {
        let row: TaskRow = link.call("task/show", json!({"task": id})).await?;
        check(row.state == "interrupted", &format!("task {id} to be interrupted"), &row.state)?;
    }
    let tasks: Vec<TaskRow> = link.call("task/list", json!({"session": demo.cast.session})).await?;
    let mut listed: Vec<_> = tasks.iter().map(|task| task.id.clone()).collect();
    listed.sort_unstable();
    let mut submitted = demo.cast.tasks.clone();
    submitted.sort_unstable();
    check(listed == submitted, "every submitted task once", format_args!("{listed:?}"))?;
    check(tasks.iter().all(|task| is_terminal(&task.state)), "every task to have ended", "one that has not")?;
    let answer = one_line(queued.text.as_deref().unwrap_or_default(), 60);
    Ok(format!(
        "the two at work are interrupted, not run again; the one queued was run: “{answer}”\n{} tasks, each accounted for once",
        tasks.len()
    ))
}
