//! Follows an arena until everybody is done and judged: a line per change, Ctrl-C cancels.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use super::progress;
use crate::cli::context::Ctx;
use crate::cli::error::{CliError, Exit};
use crate::cli::follow::{Follower, Patience};
use crate::cli::link::Link;
use crate::control::wire::{ArenaRow, is_terminal};

/// Waits for the end of every entry. The arena as it is then, and the exit code that says so.
pub(super) async fn to_the_end(
    ctx: &mut Ctx,
    link: Link,
    arena: ArenaRow,
) -> Result<(Box<RawValue>, Exit), CliError> {
    let id = arena.id;
    // A check that ends says so in a notice.
    let filter = json!({"types": ["task_state", "notice"]});
    let mut events = Follower::new(filter, None, Patience::Limited).over(link);
    let mut told = BTreeMap::new();
    // Listened for from here on: one that comes while the daemon is asked must not be lost.
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut interrupts = 0_u32;
    loop {
        let Some(arena) = look(ctx, &mut events, &id).await? else { continue };
        tell(ctx, &arena, &mut told);
        let cancelled = interrupts > 0;
        if is_over(&arena) {
            return Ok((whole(ctx, &mut events, &id).await?, exit(&arena, cancelled)));
        }
        tokio::select! {
            seen = of_interest(ctx, &mut events, &arena) => seen?,
            _ = interrupted.recv() => {
                interrupts += 1;
                if interrupts > 1 {
                    return Ok((whole(ctx, &mut events, &id).await?, Exit::Cancelled));
                }
                ctx.say("\ncancelling; Ctrl-C again leaves them to themselves");
                cancel(ctx, &mut events, &arena).await?;
            }
        }
    }
}

/// The arena, without a look at what changed; `None` where the daemon went away just then.
async fn look(ctx: &mut Ctx, events: &mut Follower, id: &str) -> Result<Option<ArenaRow>, CliError> {
    let link = events.link(ctx).await?;
    match link.call("arena/show", json!({"arena": id, "brief": true})).await {
        Ok(arena) => Ok(Some(arena)),
        Err(error) if error.is_no_daemon() => {
            events.disconnected();
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

async fn whole(ctx: &mut Ctx, events: &mut Follower, id: &str) -> Result<Box<RawValue>, CliError> {
    events.link(ctx).await?.raw("arena/show", json!({"arena": id})).await
}

/// Waits for an event that is about an entry.
async fn of_interest(ctx: &mut Ctx, events: &mut Follower, arena: &ArenaRow) -> Result<(), CliError> {
    loop {
        let event = events.next(ctx).await?;
        let is_of = |task: &str| arena.entries.iter().any(|entry| entry.task.as_deref() == Some(task));
        if event.task.as_deref().is_some_and(is_of) {
            return Ok(());
        }
    }
}

fn tell(ctx: &mut Ctx, arena: &ArenaRow, told: &mut BTreeMap<String, String>) {
    for entry in &arena.entries {
        let line = progress(entry);
        if told.get(&entry.agent) != Some(&line) {
            ctx.say(&line);
            told.insert(entry.agent.clone(), line);
        }
    }
}

fn is_over(arena: &ArenaRow) -> bool {
    let is_judged = |state: &str| !matches!(state, "waiting" | "running");
    arena.state != "open"
        || arena.entries.iter().all(|entry| {
            (is_terminal(&entry.state) || entry.state == "gone")
                && entry.check.as_ref().is_none_or(|check| is_judged(&check.state))
        })
}

fn exit(arena: &ArenaRow, cancelled: bool) -> Exit {
    if cancelled {
        return Exit::Cancelled;
    }
    let completed = arena.entries.iter().any(|entry| entry.state == "completed");
    if completed { Exit::Done } else { Exit::Failed }
}

/// Cancels every task. A daemon that is away just now has interrupted them by itself.
async fn cancel(ctx: &mut Ctx, events: &mut Follower, arena: &ArenaRow) -> Result<(), CliError> {
    for entry in arena.entries.iter().filter(|entry| !is_terminal(&entry.state)) {
        let Some(task) = &entry.task else { continue };
        let link = events.link(ctx).await?;
        match link.call::<Value>("task/cancel", json!({"task": task})).await {
            Err(error) if error.is_no_daemon() => events.disconnected(),
            Err(error) if !error.is_not_found() => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
