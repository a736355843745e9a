//! `arena/*`, but for how arenas come to be: that is in [`start`].

use std::collections::BTreeMap;

use hob_actors::ports::{Store as _, TaskCard};
use tokio::sync::OwnedMutexGuard;

use super::{Call, Done, pool};
use crate::arena::judge::{self, Unadopted};
use crate::control::error::RpcFailure;
use crate::control::params::{ArenaAdopt, ArenaShow, Nothing};
use crate::control::wire::{ApplyReply, ArenaEntryRow, ArenaRow, CheckRow, Moment, TaskRow, UsageRow};
use crate::control::{delegation, make};
use crate::pending::{PendingError, Shown};
use crate::store::{Adoption, Figures, StoredArena, StoredEntry, words};
use crate::worktree::Selection;

pub(in crate::control) mod start;

/// `arena/show`
pub(crate) async fn show(call: &Call, params: ArenaShow) -> Done<ArenaRow> {
    let arena = find(call, &params.arena).await?;
    let figures = if params.brief { BTreeMap::new() } else { figures(call, &arena).await? };
    shown(call, arena, &figures).await
}

/// `arena/list`
pub(crate) async fn list(call: &Call, _: Nothing) -> Done<Vec<ArenaRow>> {
    let caller = delegation::caller(call).await?;
    let mut rows = Vec::new();
    for arena in call.services().store.arenas().await? {
        let is_visible = match &caller {
            Some(caller) => delegation::is_own_making(call, caller, arena.parent.as_deref()).await?,
            None => true,
        };
        if is_visible {
            rows.push(shown(call, arena, &BTreeMap::new()).await?);
        }
    }
    Ok(rows)
}

/// `arena/adopt`
pub(crate) async fn adopt(call: &Call, params: ArenaAdopt) -> Done<ApplyReply> {
    call.check_open()?;
    if params.paths.as_ref().is_some_and(Vec::is_empty) {
        return Err(RpcFailure::invalid_params("paths", "`paths` names nothing; leave it out for all"));
    }
    let services = call.services();
    // One of two that decide is first, and the other hears of it.
    let _alone = services.flights.decision(&params.arena).await;
    let arena = find(call, &params.arena).await?;
    let _sessions = alone_with_sessions(call, &arena).await;
    let arena = find(call, &arena.id).await?;
    let winner = judge::may_adopt(&arena, &params.agent).map_err(|why| unadopted(&arena, why))?;
    check_nobody_works(call, &arena).await?;
    super::changes::check_target(call, &arena.repo).await?;
    let figures = figures(call, &arena).await?;
    let losers = open_chats_of_others(call, &arena, &params.agent).await?;
    let session = winner.session.clone().unwrap_or_default();
    let selection = Selection { paths: params.paths, hunks: None, deletions: params.deletions };
    let figures = figures.into_iter().collect();
    let adoption = Adoption { arena: arena.id.clone(), winner: params.agent.clone(), figures };
    let applied = services.pending.adopt(&session, selection, adoption).await?;
    if applied.conflicts.is_empty() {
        // Decided and closed; their processes follow, now or when they were idle long enough.
        for chat in &losers {
            if let Err(failure) = make::clear_chat(services, chat).await {
                tracing::warn!(chat, ?failure, "the agents of an entry that was not adopted live on");
            }
        }
        use_target(call, &arena.repo).await?;
    }
    Ok(super::changes::applied_reply(session, applied))
}

/// What the person adopts into is what the person works on, if it is a session's worktree.
async fn use_target(call: &Call, repo: &str) -> Done<()> {
    let store = &call.services().store;
    if call.is_agent() {
        return Ok(());
    }
    let target = store.worktrees(false).await?.into_iter().find(|row| row.path == repo);
    match target.and_then(|row| row.session) {
        Some(session) => Ok(store.use_session(&session).await?),
        None => Ok(()),
    }
}

/// The chats that will be closed with the sessions of those who are not adopted: also those that
/// somebody made there since.
async fn open_chats_of_others(call: &Call, arena: &StoredArena, winner: &str) -> Done<Vec<String>> {
    let mut chats = Vec::new();
    for entry in arena.entries.iter().filter(|entry| entry.agent != winner) {
        let Some(session) = &entry.session else { continue };
        chats
            .extend(call.services().store.chats(Some(session), false).await?.into_iter().map(|chat| chat.id));
    }
    Ok(chats)
}

/// The arena of that id, which an agent must have made itself.
async fn find(call: &Call, id: &str) -> Done<StoredArena> {
    let found = call.services().store.arena(id).await?;
    let Some(caller) = delegation::caller(call).await? else {
        return found.ok_or_else(|| RpcFailure::not_found("arena", id).hint("hob arena ls"));
    };
    match found {
        Some(arena) if delegation::is_own_making(call, &caller, arena.parent.as_deref()).await? => Ok(arena),
        _ => Err(delegation::not_own("arena", id)),
    }
}

/// Alone with every session of an arena, in one order, so that no two wait for each other.
async fn alone_with_sessions(call: &Call, arena: &StoredArena) -> Vec<OwnedMutexGuard<()>> {
    let mut sessions: Vec<&String> =
        arena.entries.iter().filter_map(|entry| entry.session.as_ref()).collect();
    sessions.sort();
    let mut alone = Vec::with_capacity(sessions.len());
    for session in sessions {
        alone.push(call.services().flights.session(session).await);
    }
    alone
}

fn unadopted(arena: &StoredArena, why: Unadopted) -> RpcFailure {
    let message = why.to_string();
    match why {
        Unadopted::NoEntry(agent) => {
            let failure = RpcFailure::not_found("entry of the arena of agent", &agent);
            failure.hint(format!("hob arena show {}", arena.id))
        }
        Unadopted::Decided(_) | Unadopted::Checking(_) | Unadopted::Gone(_) => {
            RpcFailure::conflict(message).hint(format!("hob arena show {}", arena.id))
        }
        Unadopted::AtWork { .. } => {
            RpcFailure::conflict(message).hint("wait for it, or `hob task cancel` it")
        }
    }
}

/// A retry, or whatever else somebody asked of an entry, must be over as well.
async fn check_nobody_works(call: &Call, arena: &StoredArena) -> Done<()> {
    let open = call.services().store.open_tasks().await?;
    for entry in &arena.entries {
        let is_here = |card: &&TaskCard| entry.session.as_deref() == Some(card.session.as_str());
        if let Some(task) = open.iter().find(is_here) {
            let state = words::task_state(task.state).to_owned();
            return Err(unadopted(arena, Unadopted::AtWork { agent: entry.agent.clone(), state }));
        }
    }
    Ok(())
}

/// What each entry has changed by now, or had when the arena was decided.
async fn figures(call: &Call, arena: &StoredArena) -> Done<BTreeMap<String, Figures>> {
    let mut figures = BTreeMap::new();
    for entry in &arena.entries {
        let counted = match (entry.figures, &entry.session) {
            (Some(figures), _) => Some(figures),
            (None, Some(session)) => count(call, session).await?,
            (None, None) => None,
        };
        figures.extend(counted.map(|counted| (entry.agent.clone(), counted)));
    }
    Ok(figures)
}

/// `None` where the worktree is gone.
async fn count(call: &Call, session: &str) -> Done<Option<Figures>> {
    let changes = match call.services().pending.list(session, &Shown::default()).await {
        Ok(changes) => changes,
        Err(PendingError::Gone { .. } | PendingError::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Ok(Some(Figures {
        files: changes.len() as u64,
        insertions: changes.iter().map(|change| change.insertions).sum(),
        deletions: changes.iter().map(|change| change.deletions).sum(),
    }))
}

async fn shown(call: &Call, arena: StoredArena, figures: &BTreeMap<String, Figures>) -> Done<ArenaRow> {
    let mut tasks: Vec<TaskRow> = arena.entries.iter().filter_map(|entry| entry.task.clone()).collect();
    if tasks.iter().any(|task| task.state == "queued") {
        pool::Now::look(call).await.explain(&mut tasks);
    }
    let waiting: BTreeMap<String, String> =
        tasks.into_iter().filter_map(|task| Some((task.id, task.waiting?))).collect();
    let winner = arena.entries.iter().find(|entry| entry.won).map(|entry| entry.agent.clone());
    let has_check = arena.check.is_some();
    let rows = arena.entries.into_iter().map(|entry| {
        let counted = entry.figures.or_else(|| figures.get(&entry.agent).copied());
        let mut row = entry_row(entry, counted, has_check);
        row.waiting = row.task.as_ref().and_then(|task| waiting.get(task).cloned());
        row
    });
    Ok(ArenaRow {
        entries: rows.collect(),
        id: arena.id,
        repo: arena.repo,
        base_commit: arena.base_commit,
        prompt: arena.prompt,
        carry_changes: arena.carry_changes,
        check: arena.check,
        state: arena.state,
        winner,
        request_id: arena.request_id,
        parent: arena.parent,
        created_at: arena.created_at,
        closed_at: arena.closed_at,
    })
}

fn entry_row(entry: StoredEntry, figures: Option<Figures>, has_check: bool) -> ArenaEntryRow {
    let check = has_check.then(|| check_row(&entry));
    let duration_ms = entry.task.as_ref().and_then(|task| {
        let ended = task.ended_at.unwrap_or_else(Moment::now);
        Some(between(task.started_at?, ended))
    });
    let (chat, task) = match &entry.task {
        Some(task) => (Some(task.chat.clone()), Some(task.id.clone())),
        None => (None, None),
    };
    let (state, outcome, text, usage) = match entry.task {
        Some(task) => (task.state, task.outcome, task.text, task.usage),
        None => ("gone".to_owned(), None, None, UsageRow::default()),
    };
    ArenaEntryRow {
        agent: entry.agent,
        session: entry.session,
        chat,
        task,
        worktree: entry.worktree,
        state,
        waiting: None,
        outcome,
        text,
        duration_ms,
        usage,
        files: figures.map(|figures| figures.files),
        insertions: figures.map(|figures| figures.insertions),
        deletions: figures.map(|figures| figures.deletions),
        check,
    }
}

fn check_row(entry: &StoredEntry) -> CheckRow {
    let state = match judge::check(entry.task.as_ref(), entry.check.as_ref()) {
        judge::Check::Waiting => "waiting",
        judge::Check::Due if entry.check_started_at.is_none() => "waiting",
        judge::Check::Due => "running",
        judge::Check::Skipped => "skipped",
        judge::Check::Recorded => entry.check.as_ref().map_or("failed", |check| check.outcome.as_str()),
    };
    let check = entry.check.as_ref();
    let took = check.and_then(|check| Some(between(entry.check_started_at?, check.ended_at)));
    CheckRow {
        state: state.to_owned(),
        exit_code: check.and_then(|check| check.exit_code),
        output: check.map(|check| check.output.clone()),
        duration_ms: took,
    }
}

/// Milliseconds; a clock that was set back makes them 0.
fn between(from: Moment, to: Moment) -> u64 {
    u64::try_from(to.0 - from.0).unwrap_or(0)
}
