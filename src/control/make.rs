//! Makes sessions, chats and the end of both: each step recorded before the next, all of them
//! undone when one fails.

use std::path::Path;
use std::sync::Arc;

use hob_actors::event::{Event, Level, NewEvent, Scope};
use hob_actors::id::{ChatId, SessionId, TaskId};
use hob_actors::ports::{Permit, Store as _, chain};

use super::Services;
use super::error::RpcFailure;
use super::params::StateName;
use super::wire::SessionRow;
use crate::path_text;
use crate::retire::HookEvent;
use crate::store::{NewSession, NewWorktree, TaskFilter, WorktreeFacts, fresh_id};
use crate::worktree::{CreateRequest, Created, Known, Located};

/// How many waiting tasks of a closing chat are looked up at once.
const TASKS_PAGE: usize = 1000;

/// What a new session is to be.
pub(super) struct Plan {
    /// Its id, if the client brought one.
    pub id: Option<String>,
    /// What a person calls it.
    pub title: Option<String>,
    /// What to start from.
    pub base: Option<String>,
    /// Whether uncommitted changes come along.
    pub carry_changes: bool,
    /// Who made it, where that matters for finding it again.
    pub origin: Option<&'static str>,
}

/// A worktree that was made, and belongs to no session yet. Until it does, the next start takes it
/// for an orphan.
pub(super) struct Made {
    created: Created,
    /// As it will be recorded.
    pub known: Known,
    /// What the session is recorded with.
    pub facts: WorktreeFacts,
}

/// Makes a worktree. Nothing is left behind when that fails.
pub(super) async fn worktree(
    services: &Services,
    located: Located,
    base: Option<String>,
    carry_changes: bool,
) -> Result<Made, RpcFailure> {
    let id = fresh_id("w-");
    let (path, branch) = services.worktrees.plan(&id);
    let top = located.top.clone();
    let repo = path_text::text(&top);
    let begun = NewWorktree { id: id.clone(), repo, path: path_text::text(&path), branch };
    services.store.begin_worktree(begun).await?;
    let request = CreateRequest { id: id.clone(), located, base, carry_changes };
    let created = match services.worktrees.create(request).await {
        Ok(created) => created,
        Err(error) => {
            abandon(services, &id).await;
            return Err(error.into());
        }
    };
    match facts(services, &id, &top, (&created, carry_changes)).await {
        Ok((known, facts)) => Ok(Made { created, known, facts }),
        Err(failure) => {
            undo(services, &id, &created).await;
            Err(failure)
        }
    }
}

/// Makes a session with its worktree. Nothing is left behind when that fails.
pub(super) async fn session(
    services: &Services,
    located: Located,
    plan: Plan,
) -> Result<SessionRow, RpcFailure> {
    let repo = path_text::text(&located.top);
    let made = worktree(services, located, plan.base.clone(), plan.carry_changes).await?;
    let session = NewSession {
        id: plan.id,
        repo,
        title: plan.title,
        base: plan.base,
        carry_changes: plan.carry_changes,
        origin: plan.origin.map(str::to_owned),
        worktree: made.facts.clone(),
    };
    match services.store.create_session(session).await {
        Ok(row) => {
            welcome(services, &row.id, &made).await;
            Ok(row)
        }
        Err(error) => {
            take_back(services, &made).await;
            Err(error.into())
        }
    }
}

/// Tells what there is to know of a new session's worktree, and runs the person's hook in it.
pub(super) async fn welcome(services: &Services, session: &str, made: &Made) {
    tell(services, session, Level::Info, made.created.notices.clone());
    let retire = &services.retire;
    let hooked = retire.run_hook(HookEvent::WorktreeCreated, &made.known, Some(session.to_owned())).await;
    if let Some(hooked) = hooked {
        let level = if hooked.failed { Level::Warning } else { Level::Info };
        tell(services, session, level, vec![hooked.text]);
    }
}

/// Takes back a worktree that did not become a session's.
pub(super) async fn take_back(services: &Services, made: &Made) {
    undo(services, &made.known.id, &made.created).await;
}

async fn undo(services: &Services, id: &str, created: &Created) {
    match services.worktrees.undo_create(created).await {
        Ok(undone) if undone.kept.is_empty() => abandon(services, id).await,
        // Its row stays, so that what is left is not forgotten.
        Ok(undone) => {
            tracing::warn!(worktree = %id, kept = ?undone.kept, "half-made worktree not undone")
        }
        Err(error) => tracing::warn!(worktree = %id, %error, "half-made worktree not undone"),
    }
}

async fn facts(
    services: &Services,
    id: &str,
    top: &Path,
    (created, carry_changes): (&Created, bool),
) -> Result<(Known, WorktreeFacts), RpcFailure> {
    let known = Known {
        id: id.to_owned(),
        path: created.path.clone(),
        branch: created.branch.clone(),
        base_commit: created.base_commit.clone(),
        common_dir: created.common_dir.clone(),
        top: top.to_owned(),
        identity: created.identity.clone(),
        baseline: None,
        made_with: None,
    };
    let carried = carry_changes || !created.copied.is_empty() || !created.lacking.is_empty();
    let baseline = services.pending.first_look(&known, carried).await;
    let facts = WorktreeFacts {
        id: id.to_owned(),
        path: path_text::text(&created.path),
        branch: created.branch.clone(),
        base_commit: created.base_commit.clone(),
        common_dir: path_text::text(&created.common_dir),
        identity: created.identity.clone(),
        baseline,
    };
    Ok((known, facts))
}

/// Forgets a worktree that was not made. A row that stays is settled at the next start.
async fn abandon(services: &Services, worktree: &str) {
    if let Err(error) = services.store.abandon_worktree(worktree).await {
        tracing::warn!(worktree, error = %chain(&error), "half-made worktree not forgotten");
    }
}

fn tell(services: &Services, session: &str, level: Level, notices: Vec<String>) {
    let scope = Arc::new(Scope { session: Some(SessionId::from(session)), ..Scope::default() });
    for text in notices {
        let event = Event::Notice { level, text };
        services.store.append(NewEvent { scope: scope.clone(), event }, Permit::free());
    }
}

/// Ends everything of a chat that runs or waits. The caller is alone with its session, so that
/// nothing comes after.
pub(super) async fn clear_chat(services: &Services, chat: &str) -> Result<(), RpcFailure> {
    for state in [StateName::Queued, StateName::Held] {
        let filter = TaskFilter {
            chat: Some(chat.to_owned()),
            state: Some(state.word().to_owned()),
            limit: Some(TASKS_PAGE),
            ..TaskFilter::default()
        };
        for task in services.store.tasks(filter).await? {
            services.tree.cancel(TaskId::from(task.id)).await?;
        }
    }
    services.tree.close_chat(ChatId::from(chat)).await?;
    services.audience.forget(chat);
    Ok(())
}

/// The nearest directory that an agent can be told of: a name that is no text goes into no JSON.
pub(super) fn tellable(subdir: &Path) -> &Path {
    subdir.ancestors().find(|dir| dir.to_str().is_some()).unwrap_or(Path::new(""))
}
