//! How arenas come to be: `arena/start`.
//!
//! What can be refused is refused before anything is made. Then all worktrees are made and compared,
//! and one commit records the arena with everything of its entries. Until that commit nothing of it is
//! anybody's: what a failure cannot take back, and what a crash leaves, the next start takes for orphans.

use std::path::Path;

use futures_util::future::join_all;
use hob_actors::id::AgentKey;
use tokio::sync::OwnedMutexGuard;

use crate::arena::judge;
use crate::control::delegation::{self, Caller};
use crate::control::error::RpcFailure;
use crate::control::handlers::submit::{self, REQUEST_ID_BYTES_MAX};
use crate::control::handlers::{Call, Done, sessions};
use crate::control::make::{self, Made};
use crate::control::params::{ArenaShow, ArenaStart, BackendChoice, Policy, Source};
use crate::control::wire::{ArenaRow, IdOr};
use crate::path_text;
use crate::store::{NewArena, NewChat, NewEntry, NewSession, NewTask, Request, Submitted, fresh_id};
use crate::worktree::Located;

/// The longest check, in bytes.
const CHECK_BYTES_MAX: usize = 64 << 10;
/// How often worktrees that did not come out equal are made anew: somebody edits the checkout.
const ATTEMPTS_MAX: usize = 3;

/// `arena/start`
pub(crate) async fn start(call: &Call, params: ArenaStart) -> Done<ArenaRow> {
    check(&params)?;
    let caller = delegation::caller(call).await?;
    let params = match &caller {
        Some(caller) => narrow(caller, params)?,
        None => params,
    };
    check_place(&params)?;
    let services = call.services();
    // One of two with the same id makes the arena, the other finds it.
    let request = delegation::request(call, caller.as_ref(), params.request_id.as_ref()).await?;
    let _alone = match &request {
        Some(request) => Some(services.flights.arena_request(request).await),
        None => None,
    };
    if let Some(request) = &request
        && let Some(first) = made_before(call, caller.as_ref(), request).await?
    {
        return Ok(first);
    }
    call.check_open()?;
    for agent in &params.agents {
        submit::check_agent(call, agent).await?;
    }
    let _family = match &caller {
        Some(caller) => Some(delegation::check_limits_for(call, caller, params.agents.len()).await?),
        None => None,
    };
    let (located, _session) = locate(call, &params).await?;
    let chats: Vec<String> = params.agents.iter().map(|_| fresh_id("c-")).collect();
    for (chat, agent) in chats.iter().zip(&params.agents) {
        services.tree.admit(AgentKey::new(chat.as_str(), agent.as_str()), false).await??;
    }
    let made = make_equal(call, &located, &params).await?;
    let created = async {
        let arena = plan((&params, request), &located, (&chats, &made), caller.as_ref()).await?;
        let id = arena.id.clone();
        Ok::<_, RpcFailure>((id, services.store.create_arena(arena).await?))
    };
    let (id, submitted) = match created.await {
        Ok(created) => created,
        Err(failure) => {
            take_back(call, made).await;
            return Err(failure);
        }
    };
    begin(call, &id, submitted, &made).await?;
    super::show(call, ArenaShow { arena: id, brief: true }).await
}

/// The arena that the request made, if it came before.
async fn made_before(call: &Call, caller: Option<&Caller>, request: &Request) -> Done<Option<ArenaRow>> {
    let store = &call.services().store;
    let Some(first) = store.arena_of_request(request).await? else { return Ok(None) };
    let parent = store.arena(&first).await?.and_then(|arena| arena.parent);
    delegation::check_repeated(call, caller, (request, parent.as_deref())).await?;
    super::show(call, ArenaShow { arena: first, brief: true }).await.map(Some)
}

fn check(params: &ArenaStart) -> Done<()> {
    judge::entrants(&params.agents).map_err(|why| {
        let failure = RpcFailure::invalid_params("agents", why.to_string());
        match why {
            judge::Unfit::Twice(_) => {
                failure.hint("configure it under a second name: [agents.NAME] in config.toml")
            }
            judge::Unfit::TooFew(_) | judge::Unfit::TooMany(_) => failure.hint("hob agent ls"),
        }
    })?;
    if params.prompt.trim().is_empty() {
        return Err(RpcFailure::invalid_params("prompt", "the prompt is empty"));
    }
    match &params.check {
        Some(check) if check.trim().is_empty() => {
            return Err(RpcFailure::invalid_params("check", "the check is empty; leave it out for none"));
        }
        Some(check) if check.len() > CHECK_BYTES_MAX => {
            let message = format!("the check is longer than {CHECK_BYTES_MAX} bytes");
            return Err(RpcFailure::invalid_params("check", message));
        }
        Some(check) if check.contains('\0') => {
            return Err(RpcFailure::invalid_params("check", "the check holds a NUL byte"));
        }
        _ => {}
    }
    match &params.request_id {
        Some(id) if id.is_empty() || id.len() > REQUEST_ID_BYTES_MAX => {
            let message = format!("a request id has 1 to {REQUEST_ID_BYTES_MAX} bytes");
            Err(RpcFailure::invalid_params("request_id", message))
        }
        _ => Ok(()),
    }
}

fn check_place(params: &ArenaStart) -> Done<()> {
    match (&params.repo, &params.session) {
        (Some(_), None) | (None, Some(_)) => Ok(()),
        (None, None) => Err(RpcFailure::invalid_params("repo", "one of `repo` and `session` is needed")),
        (Some(_), Some(_)) => {
            Err(RpcFailure::invalid_params("repo", "only one of `repo` and `session` can be given"))
        }
    }
}

/// What an agent asked for, held to what it may: in its own session, and nothing of the person's is run.
fn narrow(caller: &Caller, mut params: ArenaStart) -> Done<ArenaStart> {
    let own = &caller.task.session;
    if params.repo.is_some() || params.session.as_ref().is_some_and(|session| session != own) {
        let failure = RpcFailure::forbidden("an agent starts arenas in its own session only");
        return Err(failure.hint(format!("session = \"{own}\"")));
    }
    if params.check.is_some() {
        return Err(RpcFailure::forbidden("an agent may not have a command run outside of itself"));
    }
    if params.permissions == Some(Policy::Allow) {
        return Err(RpcFailure::forbidden("an agent may not allow what a person is asked for"));
    }
    params.session = Some(own.clone());
    Ok(params)
}

/// The checkout that is started from. A session's stays open for as long as the guard is held.
async fn locate(call: &Call, params: &ArenaStart) -> Done<(Located, Option<OwnedMutexGuard<()>>)> {
    let services = call.services();
    let Some(id) = &params.session else {
        let repo = sessions::absolute(params.repo.as_deref().unwrap_or_default())?;
        return Ok((services.worktrees.locate(&repo).await?, None));
    };
    let alone = services.flights.session(id).await;
    let found = services.store.session(id).await?;
    let found = found.ok_or_else(|| RpcFailure::not_found("session", id).hint("hob session ls"))?;
    if found.state != "open" {
        return Err(RpcFailure::conflict(format!("session `{id}` is closed"))
            .hint(format!("hob session reopen {id}")));
    }
    match found.worktree {
        Some(IdOr::Whole(worktree)) => {
            Ok((services.worktrees.locate(Path::new(&worktree.path)).await?, Some(alone)))
        }
        _ => Err(RpcFailure::conflict(format!("session `{id}` has no worktree"))),
    }
}

/// A worktree for each agent, all from one commit and with the same files, or none at all.
async fn make_equal(call: &Call, located: &Located, params: &ArenaStart) -> Done<Vec<Made>> {
    for _ in 0..ATTEMPTS_MAX {
        let commit = call.services().worktrees.head_commit(located).await?;
        let made = make_all(call, located, (&commit, params.carry_changes), params.agents.len()).await?;
        if judge::is_one_baseline(made.iter().map(|made| made.facts.baseline.as_deref())) {
            return Ok(made);
        }
        take_back(call, made).await;
    }
    let message =
        format!("`{}` changed while it was copied, so the entries would differ", located.top.display());
    Err(RpcFailure::conflict(message).hint("try again when nobody writes to it"))
}

async fn make_all(
    call: &Call,
    located: &Located,
    (commit, carry_changes): (&str, bool),
    n: usize,
) -> Done<Vec<Made>> {
    let mut made = Vec::with_capacity(n);
    for _ in 0..n {
        let base = Some(commit.to_owned());
        match make::worktree(call.services(), located.clone(), base, carry_changes).await {
            Ok(one) => made.push(one),
            Err(failure) => {
                take_back(call, made).await;
                return Err(failure);
            }
        }
    }
    Ok(made)
}

async fn take_back(call: &Call, made: Vec<Made>) {
    for one in made {
        make::take_back(call.services(), &one).await;
    }
}

/// The arena as it is to be recorded.
async fn plan(
    (params, request): (&ArenaStart, Option<Request>),
    located: &Located,
    (chats, made): (&[String], &[Made]),
    caller: Option<&Caller>,
) -> Done<NewArena> {
    let id = fresh_id("a-");
    let repo = path_text::text(&located.top);
    let parent = caller.map(|caller| caller.task.id.clone());
    let source = if caller.is_some() { Source::Mcp } else { Source::Arena };
    let mut entries = Vec::with_capacity(made.len());
    for ((agent, chat), made) in params.agents.iter().zip(chats).zip(made) {
        let session = fresh_id("s-");
        let subdir = make::tellable(&located.subdir);
        let there = tokio::fs::metadata(made.known.path.join(subdir)).await;
        let subdir = there.is_ok_and(|there| there.is_dir()).then_some(subdir);
        entries.push(NewEntry {
            subdir: path_text::text(subdir.unwrap_or(Path::new(""))),
            chat: NewChat { id: Some(chat.clone()), session: session.clone(), title: None },
            session: NewSession {
                id: Some(session),
                repo: repo.clone(),
                title: Some(format!("arena {id}: {agent}")),
                base: Some(made.known.base_commit.clone()),
                carry_changes: params.carry_changes,
                origin: Some("arena".to_owned()),
                worktree: made.facts.clone(),
            },
            task: NewTask {
                request: None,
                chat: chat.clone(),
                agent: agent.clone(),
                prompt: params.prompt.clone(),
                source: source.word().to_owned(),
                permissions: params.permissions.map(submit::policy),
                no_wait: false,
                no_retry: false,
                hold: false,
                parent: parent.clone(),
                backend: Some(BackendChoice::Warm.word().to_owned()),
                uses: false,
            },
        });
    }
    Ok(NewArena {
        id,
        request,
        repo,
        base_commit: made.first().map(|made| made.known.base_commit.clone()).unwrap_or_default(),
        prompt: params.prompt.clone(),
        carry_changes: params.carry_changes,
        check: params.check.clone(),
        parent,
        entries,
    })
}

/// The arena is recorded: its worktrees are welcomed, its tasks may run, its checks are waited for.
async fn begin(call: &Call, id: &str, submitted: Vec<Submitted>, made: &[Made]) -> Done<()> {
    let services = call.services();
    let entries = submitted.into_iter().zip(made).map(async |(submitted, made)| {
        services.audience.learn(&submitted.task.chat, &submitted.task.session);
        make::welcome(services, &submitted.task.session, made).await;
        services.tree.submitted(submitted.card);
    });
    join_all(entries).await;
    if let Some(arena) = services.store.arena(id).await? {
        services.arenas.watch(&arena);
    }
    Ok(())
}
