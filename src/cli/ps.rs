//! `hob ps`: the live agent sessions, once or again with every change.

use std::time::Duration;

use clap::Args;
use serde_json::json;
use serde_json::value::RawValue;

use super::Outcome;
use super::context::Ctx;
use super::error::{CliError, Exit};
use super::follow::{Follower, Patience};
use super::link::Link;
use super::render::{duration, one_line, or_nothing, size, table};
use crate::control::wire::{AgentSessionRow, TaskRow};

/// How long a burst of changes is gathered before the table is drawn again.
const GATHER: Duration = Duration::from_millis(100);

/// How often the table is drawn on a terminal although nothing changed: idle time and memory do.
const REDRAW: Duration = Duration::from_secs(2);

/// The longest reason that is shown, in characters; `--json` has all of it.
const REASON_WIDTH_MAX: usize = 400;

/// Clears a terminal from its upper left corner.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Arguments of `hob ps`.
#[derive(Debug, Args)]
pub struct PsArgs {
    /// Those without a process too, with how their last one ended
    #[arg(long, short)]
    pub all: bool,
    /// Go on, and show every change
    #[arg(long, short)]
    pub watch: bool,
}

/// Prints the table once, or with `--watch` until Ctrl-C.
pub async fn run(ctx: &mut Ctx, args: &PsArgs) -> Outcome {
    let link = ctx.link().await?;
    if !args.watch {
        let rows = link.raw("pool/list", json!({"all": args.all})).await?;
        show(ctx, &rows, args.all)?;
        if !ctx.globals.json {
            let queued: Vec<TaskRow> = link.call("task/list", json!({"state": "queued"})).await?;
            let rows: Vec<AgentSessionRow> = serde_json::from_str(rows.get())?;
            ctx.print(waiting(&queued, &rows))?;
        }
        return Ok(Exit::Done);
    }
    tokio::select! {
        done = watch(ctx, link, args.all) => done,
        _ = tokio::signal::ctrl_c() => Ok(Exit::Done),
    }
}

async fn watch(ctx: &mut Ctx, link: Link, all: bool) -> Outcome {
    let types = ["agent_state", "task_state", "turn_started", "turn_ended"];
    let mut changes = Follower::new(json!({"types": types}), None, Patience::Forever).over(link);
    let (redraws, mut shown) = (ctx.out_is_terminal() && !ctx.globals.json, String::new());
    loop {
        let link = changes.link(ctx).await?;
        match link.raw("pool/list", json!({"all": all})).await {
            Ok(rows) if redraws => {
                ctx.print(CLEAR)?;
                show(ctx, &rows, all)?;
            }
            // To a program, only what differs is worth a line.
            Ok(rows) if rows.get() != shown => {
                show(ctx, &rows, all)?;
                rows.get().clone_into(&mut shown);
            }
            // The daemon is restarting: the next round connects again.
            Ok(_) => {}
            Err(error) if error.is_no_daemon() => changes.disconnected(),
            Err(error) => return Err(error),
        }
        wait_for_change(ctx, &mut changes, redraws).await?;
    }
}

/// Waits for a change and gathers what comes with it.
async fn wait_for_change(ctx: &mut Ctx, changes: &mut Follower, redraws: bool) -> Result<(), CliError> {
    let limit = if redraws { REDRAW } else { Duration::MAX };
    match tokio::time::timeout(limit, changes.next(ctx)).await {
        Ok(event) => event?,
        Err(_) => return Ok(()),
    };
    let gathered = async { while changes.next(ctx).await.is_ok() {} };
    tokio::time::timeout(GATHER, gathered).await.ok();
    Ok(())
}

fn show(ctx: &mut Ctx, rows: &RawValue, all: bool) -> Result<(), CliError> {
    ctx.show(rows, |rows: Vec<AgentSessionRow>| render(&rows, all))
}

/// The table; `all` adds how the last process ended.
pub fn render(rows: &[AgentSessionRow], all: bool) -> String {
    let mut header = vec!["CHAT", "AGENT", "STATUS", "PID", "CONTEXT", "IDLE", "QUEUED", "RESTARTS", "MEM"];
    if all {
        header.push("LAST EXIT");
    }
    let row = |agent: &AgentSessionRow| {
        let mut row = vec![
            agent.chat.clone(),
            agent.agent.clone(),
            agent.status.clone(),
            or_nothing(agent.pid),
            or_nothing(agent.context.as_deref()),
            or_nothing(agent.idle_ms.map(duration)),
            agent.queued.to_string(),
            agent.restarts.to_string(),
            or_nothing(agent.pss_bytes.or(agent.rss_bytes).map(size)),
        ];
        if all {
            row.push(or_nothing(agent.last_exit.as_ref().map(|exit| exit.detail.as_str())));
        }
        row
    };
    let mut shown = table(&header, &[], rows.iter().map(row).collect());
    for agent in rows {
        shown.push_str(&why(agent));
        shown.push_str(&misplaced(agent));
    }
    shown
}

/// The tasks that wait for a place, and whether a person's answer would make one.
fn waiting(queued: &[TaskRow], agents: &[AgentSessionRow]) -> String {
    let asks = |agent: &&AgentSessionRow| agent.busy.iter().any(|what| what == "permission");
    let because = match agents.iter().filter(asks).count() {
        0 => String::new(),
        1 => " (1 agent waits for your answer: hob permission ls)".to_owned(),
        n => format!(" ({n} agents wait for your answer: hob permission ls)"),
    };
    let waits = |task: &&TaskRow| matches!(task.waiting.as_deref(), Some("slot" | "dispatch_limit"));
    let line = |task: &TaskRow| {
        let waiting = task.waiting.as_deref().unwrap_or_default();
        format!("{} {} is queued, waiting: {waiting}{because}\n", task.id, task.agent)
    };
    queued.iter().filter(waits).map(line).collect()
}

/// Why no prompt reaches it, if so.
fn misplaced(agent: &AgentSessionRow) -> String {
    let Some(why) = &agent.misplaced else { return String::new() };
    format!("{} {} cannot work: {}\n", agent.chat, agent.agent, one_line(why, REASON_WIDTH_MAX))
}

/// Why an agent session is not started, where there is something to say.
fn why(agent: &AgentSessionRow) -> String {
    let Some(reason) = agent.reason.as_deref().filter(|_| agent.pid.is_none()) else { return String::new() };
    let next = agent.retry_in_ms.map(|ms| format!(" (next start in {})", duration(ms))).unwrap_or_default();
    let reason = one_line(reason, REASON_WIDTH_MAX);
    format!("{} {} is in {}{next}: {reason}\n", agent.chat, agent.agent, agent.status)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::render::plain;
    use super::*;
    use crate::control::wire::ExitRow;

    pub(in super::super) fn agent_session() -> AgentSessionRow {
        AgentSessionRow {
            chat: "c-ef56gh78".into(),
            agent: "goose".into(),
            session: "s-ab12cd34".into(),
            backend: "acp".into(),
            status: "idle".into(),
            generation: 2,
            pid: Some(4711),
            shared_with: 0,
            backend_session: Some("20261122_1".into()),
            config_hash: None,
            worktree: Some("w-1".into()),
            idle_ms: Some(4_200),
            queued: 0,
            turn: None,
            restarts: 1,
            context: Some("warm".into()),
            rss_bytes: Some(40_000_000),
            pss_bytes: Some(40_000_000),
            descendants: None,
            reason: None,
            misplaced: None,
            retry_in_ms: None,
            crashes: 0,
            start_failures: 0,
            busy: Vec::new(),
            last_exit: None,
        }
    }

    #[test]
    fn live_agent_sessions_are_a_table() {
        insta::assert_snapshot!(plain(&render(&[agent_session()], false)), @"
        CHAT        AGENT  STATUS  PID   CONTEXT  IDLE  QUEUED  RESTARTS  MEM
        c-ef56gh78  goose  idle    4711  warm     4.2s  0       1         38MiB
        ");
    }

    #[test]
    fn those_without_a_process_say_how_it_ended() {
        let exit = ExitRow {
            code: None,
            signal: Some(9),
            detail: "crashed: killed by SIGKILL".into(),
            stderr_tail: String::new(),
            at: None,
        };
        let gone = AgentSessionRow {
            status: "crashed".into(),
            pid: None,
            idle_ms: None,
            rss_bytes: None,
            pss_bytes: None,
            descendants: None,
            reason: None,
            misplaced: None,
            retry_in_ms: None,
            crashes: 0,
            start_failures: 0,
            busy: Vec::new(),
            context: None,
            last_exit: Some(exit),
            ..agent_session()
        };
        insta::assert_snapshot!(plain(&render(&[gone], true)), @"
        CHAT        AGENT  STATUS   PID  CONTEXT  IDLE  QUEUED  RESTARTS  MEM  LAST EXIT
        c-ef56gh78  goose  crashed  -    -        -     0       1         -    crashed: killed by SIGKILL
        ");
    }
}
