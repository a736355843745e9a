//! What an agent may do on the control socket: make tasks, within limits, and mind its own.
//!
//! The keeper above the calling process leads to the agent sessions that it may belong to, and those to
//! the turns in flight; which of several is meant, [`parent`] decides. **Invariant:** who cannot be
//! traced to a running turn may do nothing here.

use std::collections::BTreeMap;
use std::path::PathBuf;

use tokio::sync::OwnedMutexGuard;

use super::error::{RpcFailure, shorten};
use super::handlers::{Call, Done, tasks};
use super::params::{Policy, Source, TaskSubmit};
use super::peer_check::Standing;
use super::wire::{IdOr, TaskRow, is_terminal};
use crate::config::Dispatch;
use crate::store::{Owner, Request, Store, TaskFilter};

/// A chain of parents is followed so far; longer ones are retries of retries.
const ANCESTORS_MAX: usize = 64;
/// Tasks are read in pages of so many to find the family of one.
const PAGE_TASKS: usize = 1000;
/// Pages that are read; a family that is spread wider counts only what was seen.
const PAGES_MAX: usize = 20;

/// The agent that calls.
pub(super) struct Caller {
    /// The task whose turn makes the call.
    pub task: TaskRow,
}

/// The agent that calls; `None` if no agent does.
pub(super) async fn caller(call: &Call) -> Done<Option<Caller>> {
    let peer = match call.standing() {
        Standing::Full => return Ok(None),
        Standing::Agent(peer) => peer,
    };
    let unknown = || RpcFailure::forbidden("this process belongs to no running turn of this daemon");
    let mut turns = turns_of(call, peer.attempt.ok_or_else(unkept)?).await?;
    let chosen = match turns.len() {
        0 => return Err(unknown()),
        1 => 0,
        _ => {
            let cwd = peer.pid.and_then(|pid| std::fs::read_link(format!("/proc/{pid}/cwd")).ok());
            let facts = facts(call, &turns).await?;
            parent::parent(&facts, cwd.as_deref()).ok_or_else(unknown)?
        }
    };
    Ok(Some(Caller { task: turns.swap_remove(chosen) }))
}

/// A process that bears a mark, or ended, and stands below no agent of this daemon.
fn unkept() -> RpcFailure {
    let message = "this process counts as an agent's and stands below none of this daemon";
    RpcFailure::forbidden(message).hint("a new terminal, if it is yours: its limit of file locks was lowered")
}

/// The tasks that a process may work for: those that run in the process of its agent.
async fn turns_of(call: &Call, attempt: u32) -> Done<Vec<TaskRow>> {
    let services = call.services();
    let processes = services.store.open_processes().await?;
    let started = processes.into_iter().find(|process| process.attempt == attempt);
    let Some(pid) = started.and_then(|process| process.agent_pid) else {
        return Ok(Vec::new());
    };
    let mut turns = Vec::new();
    for view in services.tree.live().await?.into_iter().filter(|view| view.pid == Some(pid)) {
        let filter = TaskFilter {
            chat: Some(view.key.chat.to_string()),
            state: Some("running".to_owned()),
            ..TaskFilter::default()
        };
        let running = services.store.tasks(filter).await?;
        turns.extend(running.into_iter().filter(|task| task.agent == view.key.agent.as_str()));
    }
    Ok(turns)
}

/// What decides between turns that run in one process.
async fn facts(call: &Call, turns: &[TaskRow]) -> Done<Vec<parent::Turn>> {
    let store = &call.services().store;
    let mut facts = Vec::new();
    for task in turns {
        let worktree = match store.session(&task.session).await?.and_then(|session| session.worktree) {
            Some(IdOr::Whole(worktree)) => Some(PathBuf::from(worktree.path)),
            _ => None,
        };
        // What the system says of a working directory has no symbolic links in it.
        let worktree = worktree.map(|path| path.canonicalize().unwrap_or(path));
        let depth = depth(task, &ancestors(store, task).await?);
        facts.push(parent::Turn { worktree, depth, started_at: task.started_at.map_or(0, |at| at.0) });
    }
    Ok(facts)
}

/// What an agent asked for, held to what it may: its own session, in its own name.
pub(super) fn narrow(caller: &Caller, mut params: TaskSubmit) -> Done<TaskSubmit> {
    let own = &caller.task;
    if params.source.is_some_and(|source| source != Source::Mcp) {
        return Err(RpcFailure::forbidden("an agent submits with source `mcp` only"));
    }
    if params.permissions == Some(Policy::Allow) {
        return Err(RpcFailure::forbidden("an agent may not allow what a person is asked for"));
    }
    if params.parent.as_ref().is_some_and(|parent| *parent != own.id) {
        return Err(RpcFailure::forbidden("an agent submits for its own task only"));
    }
    let elsewhere = params.session.as_ref().is_some_and(|session| *session != own.session);
    if elsewhere || params.repo.is_some() || params.chat.is_some() {
        let failure = RpcFailure::forbidden("an agent submits to new chats of its own session only");
        return Err(failure.hint(format!("session = \"{}\"", own.session)));
    }
    params.session = Some(own.session.clone());
    params.new = true;
    params.source = Some(Source::Mcp);
    params.parent = Some(own.id.clone());
    Ok(params)
}

/// The task of that id, and which agent asks for it, if one does. One that an agent did not make is
/// refused to it with the same words whether it is there or not. Others than agents may see all.
pub(super) async fn find_own(call: &Call, id: &str) -> Done<(TaskRow, Option<Caller>)> {
    let Some(caller) = caller(call).await? else {
        return Ok((tasks::find(call, id).await?, None));
    };
    if let Some(task) = call.services().store.task_row(id).await?
        && is_own_making(call, &caller, task.parent.as_deref()).await?
    {
        return Ok((task, Some(caller)));
    }
    Err(not_own("task", id))
}

/// What an agent hears of what it did not make, or what is not there.
pub(super) fn not_own(what: &str, id: &str) -> RpcFailure {
    RpcFailure::forbidden(format!("{what} `{}` is not of your making", shorten(id)))
}

/// The request of a client that brought an id for it: the person's, or that of the agent's family.
pub(super) async fn request(
    call: &Call,
    caller: Option<&Caller>,
    id: Option<&String>,
) -> Done<Option<Request>> {
    let Some(id) = id else { return Ok(None) };
    let owner = match caller {
        Some(caller) => Owner::Family(root(caller, &ancestors(&call.services().store, &caller.task).await?)),
        None => Owner::Person,
    };
    Ok(Some(Request { owner, id: id.clone() }))
}

/// Refuses what a request of the same family made, but another agent of it. `parent` is the task
/// that it was made for.
pub(super) async fn check_repeated(
    call: &Call,
    caller: Option<&Caller>,
    (request, parent): (&Request, Option<&str>),
) -> Done<()> {
    let Some(caller) = caller else { return Ok(()) };
    if is_own_making(call, caller, parent).await? {
        return Ok(());
    }
    let message = format!("another agent made a request `{}` for the same task", shorten(&request.id));
    Err(RpcFailure::conflict(message).hint("take another request id"))
}

/// The task that nobody's turn made, above which there is none.
fn root(caller: &Caller, above: &[TaskRow]) -> String {
    above.last().unwrap_or(&caller.task).id.clone()
}

/// Whether the task is one of the calling agent session.
fn is_of(task: &TaskRow, caller: &Caller) -> bool {
    task.chat == caller.task.chat && task.agent == caller.task.agent
}

/// Whether what was made by the task `parent` is of the calling agent's own making.
pub(super) async fn is_own_making(call: &Call, caller: &Caller, parent: Option<&str>) -> Done<bool> {
    let store = &call.services().store;
    let Some(parent) = parent else { return Ok(false) };
    let Some(parent) = store.task_row(parent).await? else { return Ok(false) };
    Ok(is_of(&parent, caller) || ancestors(store, &parent).await?.iter().any(|above| is_of(above, caller)))
}

/// The tasks above a task, its parent first.
async fn ancestors(store: &Store, task: &TaskRow) -> Done<Vec<TaskRow>> {
    let mut above: Vec<TaskRow> = Vec::new();
    let mut next = task.parent.clone();
    while let Some(id) = next.take()
        && above.len() < ANCESTORS_MAX
        && let Some(row) = store.task_row(&id).await?
    {
        next.clone_from(&row.parent);
        above.push(row);
    }
    Ok(above)
}

/// Refuses one child more than the limits allow. What is returned keeps the family from growing
/// until the child is recorded.
pub(super) async fn check_limits(call: &Call, caller: &Caller) -> Done<OwnedMutexGuard<()>> {
    check_limits_for(call, caller, 1).await
}

/// The same for several children at once.
pub(super) async fn check_limits_for(
    call: &Call,
    caller: &Caller,
    n_new: usize,
) -> Done<OwnedMutexGuard<()>> {
    let services = call.services();
    let above = ancestors(&services.store, &caller.task).await?;
    let root = root(caller, &above);
    let alone = services.flights.family(&root).await;
    let depth = 1 + depth(&caller.task, &above);
    let family = family(&services.store, &root).await?;
    let alive = family.iter().filter(|task| !is_terminal(&task.state)).count();
    // The last of them must still be allowed.
    let before_last = n_new.saturating_sub(1);
    let counts = Counts { depth, alive: alive + before_last, total: family.len() + before_last };
    judge(counts, &services.config.current().dispatch)?;
    Ok(alone)
}

/// How many agents stand above a task, each of which had it made by the next: 0 for a person's. A
/// retry stands where the task stands that it repeats, in the same chat.
fn depth(task: &TaskRow, above: &[TaskRow]) -> usize {
    let chain: Vec<&TaskRow> = std::iter::once(task).chain(above).collect();
    let is_retry = |n: usize| chain.get(n + 1).is_some_and(|of| of.chat == chain[n].chat);
    (0..chain.len()).filter(|n| is_made(chain[*n]) && !is_retry(*n)).count()
}

/// Whether a task was made by an agent.
fn is_made(task: &TaskRow) -> bool {
    task.source == Source::Mcp.word()
}

/// How large a family is.
#[derive(Debug, Clone, Copy)]
struct Counts {
    /// How deep the new task would be; a child of a person's task is 1 deep.
    depth: usize,
    /// Children that are not terminal.
    alive: usize,
    /// Children over the root's life.
    total: usize,
}

fn judge(counts: Counts, limits: &Dispatch) -> Done<()> {
    let refused = [
        (counts.depth > limits.max_depth, "depth", "tasks may not be nested deeper", limits.max_depth),
        (
            counts.alive >= limits.max_children,
            "children",
            "as many tasks as allowed are alive",
            limits.max_children,
        ),
        (
            counts.total >= limits.max_children_total,
            "children_total",
            "as many tasks as allowed were made",
            limits.max_children_total,
        ),
    ];
    match refused.into_iter().find(|(is_over, ..)| *is_over) {
        Some((_, reason, what, limit)) => {
            let key = format!("dispatch.max_{reason}");
            Err(RpcFailure::refused(format!("{what} ({limit})")).reason(reason).hint(key))
        }
        None => Ok(()),
    }
}

/// Every task that descends from `root`: all of them are newer than it.
async fn family(store: &Store, root: &str) -> Done<Vec<TaskRow>> {
    let mut newer = Vec::new();
    let mut before = None;
    for _ in 0..PAGES_MAX {
        let filter = TaskFilter { limit: Some(PAGE_TASKS), before: before.take(), ..TaskFilter::default() };
        let page = store.tasks(filter).await?;
        let is_last = page.len() < PAGE_TASKS || page.iter().any(|task| task.id == root);
        before = page.last().map(|task| task.id.clone());
        newer.extend(page);
        if is_last {
            break;
        }
    }
    Ok(descendants(root, newer))
}

fn descendants(root: &str, tasks: Vec<TaskRow>) -> Vec<TaskRow> {
    let parents: BTreeMap<String, String> =
        tasks.iter().filter_map(|task| Some((task.id.clone(), task.parent.clone()?))).collect();
    let descends = |task: &TaskRow| {
        let mut above = parents.get(&task.id);
        // A chain is no longer than there are tasks.
        for _ in 0..=parents.len() {
            match above {
                Some(id) if id == root => return true,
                Some(id) => above = parents.get(id),
                None => return false,
            }
        }
        false
    };
    tasks.into_iter().filter(|task| is_made(task) && descends(task)).collect()
}

#[path = "delegation/parent.rs"]
mod parent;
#[cfg(test)]
#[path = "delegation/tests.rs"]
mod tests;
