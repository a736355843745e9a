//! How tasks come to be: `task/submit` and `task/retry`.
//!
//! The order matters. What can be refused is refused before anything is made; what is made stays
//! even if a later step fails, except where nobody could find it again.

use std::path::{Path, PathBuf};

use hob_actors::dispatch::route::{self as dispatch, NoRoute};
use hob_actors::id::{AgentKey, TaskId};
use hob_actors::ports::{PermissionPolicy, Route, Store as _};
use tokio::sync::OwnedMutexGuard;

use super::meant::{self, Meant};
use super::{Call, Done, agents, chats, sessions, tasks};
use crate::backend::{Availability, known, surroundings};
use crate::control::delegation::{self, Caller};
use crate::control::error::{RpcFailure, shorten};
use crate::control::make::{self, Plan};
use crate::control::params::{BackendChoice, Policy, Source, TaskRef, TaskSubmit};
use crate::control::route::{self, Place, Target};
use crate::control::wire::{ChatRow, IdOr, TaskRow, is_terminal};
use crate::path_text;
use crate::store::{NewChat, NewTask, TaskFilter, fresh_id};
use crate::worktree::Located;

/// The longest `request_id`, in bytes.
pub(super) const REQUEST_ID_BYTES_MAX: usize = 256;

/// `task/submit`
pub(crate) async fn submit(call: &Call, params: TaskSubmit) -> Done<TaskRow> {
    check(&params)?;
    let params = if mutant!("no_request_id") { TaskSubmit { request_id: None, ..params } } else { params };
    let caller = delegation::caller(call).await?;
    let params = match &caller {
        Some(caller) => delegation::narrow(caller, params)?,
        None => params,
    };
    let target = route::target(&params)?;
    // One of two with the same id makes the task, the other finds it.
    let request = delegation::request(call, caller.as_ref(), params.request_id.as_ref()).await?;
    let _alone = match &request {
        Some(request) => Some(call.services().flights.task_request(request).await),
        None => None,
    };
    if let Some(request) = &request
        && let Some(first) = call.services().store.task_of_request(request).await?
    {
        delegation::check_repeated(call, caller.as_ref(), (request, first.parent.as_deref())).await?;
        return Ok(first);
    }
    call.check_open()?;
    if let Some(parent) = &params.parent {
        tasks::find(call, parent).await?;
    }
    let _family = match &caller {
        Some(caller) => Some(delegation::check_limits(call, caller).await?),
        None => None,
    };
    let spot = find_spot(call, target).await?;
    let asked = params.backend == Some(BackendChoice::Oneshot);
    let agent = agent_of(call, &spot.chat, params.agent.clone()).await?;
    let route = find_route(call, &agent, asked).await?;
    check_self(caller.as_ref(), &spot, &agent)?;
    // What the kept backend has to wait for, a run of its own does not.
    admit(call, &spot, &agent, params.no_wait && route == Route::Warm).await?;
    let chat = settle(call, spot).await?;
    let new =
        NewTask { request, uses: caller.is_none(), ..new_task(params, chat.id.clone(), (agent, route)) };
    accept(call, new).await
}

/// `task/retry`
pub(crate) async fn retry(call: &Call, params: TaskRef) -> Done<TaskRow> {
    call.check_open()?;
    let services = call.services();
    let old = tasks::find(call, &params.task).await?;
    if !is_terminal(&old.state) {
        return Err(RpcFailure::conflict(format!(
            "task `{}` is {}, so there is nothing to retry",
            old.id, old.state
        )));
    }
    let card = services.store.task(TaskId::from(old.id.as_str())).await?;
    let asked = old.backend.as_deref().map(Route::from_word) == Some(Route::Oneshot);
    let route = find_route(call, &old.agent, asked).await?;
    let _alone = services.flights.session(&old.session).await;
    open_chat(call, &old.chat).await?;
    let (no_wait, no_retry) = card.as_ref().map_or((false, false), |card| (card.no_wait, card.no_retry));
    let must_start = no_wait && route == Route::Warm;
    services.tree.admit(AgentKey::new(old.chat.as_str(), old.agent.as_str()), must_start).await??;
    let new = NewTask {
        request: None,
        chat: old.chat,
        agent: old.agent,
        prompt: old.prompt,
        source: old.source,
        permissions: card.as_ref().and_then(|card| card.permissions),
        no_wait,
        no_retry,
        hold: false,
        parent: Some(old.id),
        backend: Some(route.word().to_owned()),
        uses: true,
    };
    accept(call, new).await
}

fn check(params: &TaskSubmit) -> Done<()> {
    if params.prompt.trim().is_empty() {
        return Err(RpcFailure::invalid_params("prompt", "the prompt is empty"));
    }
    match &params.request_id {
        Some(id) if id.is_empty() || id.len() > REQUEST_ID_BYTES_MAX => {
            let message = format!("a request id has 1 to {REQUEST_ID_BYTES_MAX} bytes");
            Err(RpcFailure::invalid_params("request_id", message))
        }
        _ => Ok(()),
    }
}

/// The agent that is meant: the named one, else the one that was prompted in the chat last, else the
/// configured default, else the first that is there.
pub(super) async fn agent_of(call: &Call, chat: &str, named: Option<String>) -> Done<String> {
    if let Some(name) = named {
        return Ok(name);
    }
    let newest = TaskFilter { chat: Some(chat.to_owned()), limit: Some(1), ..TaskFilter::default() };
    if let Some(task) = call.services().store.tasks(newest).await?.pop() {
        return Ok(task.agent);
    }
    let config = call.services().config.current();
    let has_built_in = config.agent(known::DEMO).is_some_and(|agent| agent.configured);
    let rows = agents::all(call).await?;
    route::default_agent(config.default_agent.as_deref(), &rows, has_built_in).ok_or_else(no_agent)
}

fn no_agent() -> RpcFailure {
    let ways = known::KNOWN.iter().filter(|agent| !agent.install.is_empty());
    let ways: Vec<_> = ways.map(|agent| format!("{} (`{}`)", agent.name, agent.install)).collect();
    let hint = format!(
        "install one: {}; or describe your own in [agents.NAME]. The built-in `demo` only plays an agent, and \
         answers when it is named (`hob prompt -a demo`)",
        ways.join(", ")
    );
    let message =
        format!("no agent is installed, as far as the daemon's PATH goes; {}", surroundings::told());
    RpcFailure::unavailable(message).reason("no_agent").hint(hint)
}

/// Which backend is to run a task of an agent; a one-shot run may be asked for. Looks for programs
/// on disk, so not on this thread.
async fn find_route(call: &Call, name: &str, asked: bool) -> Done<Route> {
    let (agents, of) = (call.services().agents.clone(), name.to_owned());
    let facts = tokio::task::spawn_blocking(move || agents.facts(&of, asked)).await;
    let facts = facts.map_err(|_| RpcFailure::internal("the agent could not be looked up"))?;
    let facts = facts.ok_or_else(|| RpcFailure::not_found("agent", name).hint("hob agent ls"))?;
    dispatch::route(&facts).map_err(|why| not_available(call, name, &why))
}

fn not_available(call: &Call, name: &str, why: &NoRoute) -> RpcFailure {
    let message = format!("agent `{}` is not available: {why}", shorten(name));
    RpcFailure::unavailable(message).hint(call.services().agents.hint(name, why))
}

/// An agent must be known, and be there. Looks for its program on disk, so not on this thread.
pub(super) async fn check_agent(call: &Call, name: &str) -> Done<()> {
    let (agents, asked) = (call.services().agents.clone(), name.to_owned());
    let availability = tokio::task::spawn_blocking(move || agents.availability(&asked)).await;
    match availability.map_err(|_| RpcFailure::internal("the agent could not be looked up"))? {
        Availability::Ready => Ok(()),
        Availability::Unknown => Err(RpcFailure::not_found("agent", name).hint("hob agent ls")),
        Availability::Missing(why) => Err(not_available(call, name, &why)),
    }
}

/// Where a task will go, and what has to be made first. Nobody else can change that meanwhile.
struct Spot {
    place: Place,
    /// The id of the chat, also of one that is still to be made.
    chat: String,
    /// What a person calls a chat that is still to be made.
    title: Option<String>,
    /// The user's checkout, where that is what the client named.
    located: Option<Located>,
    /// Where in the checkout or worktree the user stands, where a directory was named.
    subdir: Option<PathBuf>,
    alone: Vec<OwnedMutexGuard<()>>,
}

impl Spot {
    fn new(place: Place, located: Option<Located>, alone: Vec<OwnedMutexGuard<()>>) -> Self {
        let chat = match &place {
            Place::Chat { chat, .. } => chat.clone(),
            Place::NewChat { .. } | Place::NewSession => fresh_id("c-"),
        };
        let subdir = located.as_ref().map(|located| located.subdir.clone());
        Self { place, chat, title: None, located, subdir, alone }
    }
}

async fn find_spot(call: &Call, target: Target) -> Done<Spot> {
    let services = call.services();
    match target {
        Target::Chat(chat) => {
            let session = chats::find(call, &chat).await?.session;
            let alone = services.flights.session(&session).await;
            open_chat(call, &chat).await?;
            Ok(Spot::new(Place::Chat { chat, session }, None, vec![alone]))
        }
        Target::Session { session, fresh } => {
            let alone = services.flights.session(&session).await;
            let found = services.store.session(&session).await?;
            let found =
                found.ok_or_else(|| RpcFailure::not_found("session", &session).hint("hob session ls"))?;
            Ok(Spot::new(route::in_session(&found, fresh)?, None, vec![alone]))
        }
        Target::Repo { directory, fresh } => {
            let meant = meant::meant(call, &directory).await?;
            find_meant(call, meant, fresh).await
        }
    }
}

async fn find_meant(call: &Call, meant: Meant, fresh: bool) -> Done<Spot> {
    let services = call.services();
    let located = match meant {
        Meant::Inside { session, subdir } => {
            let alone = services.flights.session(&session).await;
            let place = route::in_session(&sessions::find(call, &session).await?, fresh)?;
            return Ok(Spot { subdir: Some(subdir), ..Spot::new(place, None, vec![alone]) });
        }
        Meant::Checkout(located) => located,
    };
    let top = path_text::text(&located.top);
    let repo = services.flights.repo(&top).await;
    while let Some(last) = services.store.last_used_session(&top).await? {
        let alone = services.flights.session(&last.id).await;
        // It may have been closed before we were alone with it; then it is another one.
        if let Some(session) = services.store.session(&last.id).await?
            && session.state == "open"
        {
            let place = route::in_repo(Some(&session), fresh);
            return Ok(Spot::new(place, Some(located), vec![repo, alone]));
        }
    }
    Ok(Spot::new(route::in_repo(None, fresh), Some(located), vec![repo]))
}

pub(super) async fn open_chat(call: &Call, chat: &str) -> Done<()> {
    let row = chats::find(call, chat).await?;
    if row.state == "open" {
        return Ok(());
    }
    Err(RpcFailure::conflict(format!("chat `{chat}` is closed"))
        .hint(format!("hob chat new {}", row.session)))
}

/// An agent that waited for a task behind its own turn would wait for ever.
fn check_self(caller: Option<&Caller>, spot: &Spot, agent: &str) -> Done<()> {
    match caller {
        Some(caller) if caller.task.chat == spot.chat && caller.task.agent == agent => {
            Err(RpcFailure::refused("an agent cannot queue a task behind its own turn").reason("own_turn"))
        }
        _ => Ok(()),
    }
}

/// Asks whether the agent could be started at all, before anything is made for it.
async fn admit(call: &Call, spot: &Spot, agent: &str, no_wait: bool) -> Done<()> {
    Ok(call.services().tree.admit(AgentKey::new(spot.chat.as_str(), agent), no_wait).await??)
}

/// Makes a chat in the session that a prompt for this directory would go to.
pub(super) async fn fresh_chat(call: &Call, meant: Meant, new: NewChat) -> Done<ChatRow> {
    let mut spot = find_meant(call, meant, false).await?;
    if let Place::Chat { session, .. } = &spot.place {
        spot.place = Place::NewChat { session: session.clone() };
    }
    spot.chat = new.id.unwrap_or_else(|| fresh_id("c-"));
    spot.title = new.title;
    let settled = settle(call, spot).await?;
    chats::find(call, &settled.id).await
}

/// A chat that is there, and what keeps others out of it.
struct Settled {
    id: String,
    _alone: Vec<OwnedMutexGuard<()>>,
}

/// Makes what is missing.
async fn settle(call: &Call, spot: Spot) -> Done<Settled> {
    let services = call.services();
    let Spot { place, chat, title, located, subdir, mut alone } = spot;
    let session = match place {
        Place::Chat { session, .. } => session,
        Place::NewChat { session } => {
            make_chat(call, &chat, &session, title).await?;
            session
        }
        Place::NewSession => {
            // Only a directory leads to a new session.
            let located =
                located.ok_or_else(|| RpcFailure::internal("a new session without a repository"))?;
            let plan =
                Plan { id: None, title: None, base: None, carry_changes: false, origin: Some("prompt") };
            let session = make::session(services, located, plan).await?.id;
            alone.push(services.flights.session(&session).await);
            make_chat(call, &chat, &session, title).await?;
            session
        }
    };
    services.audience.learn(&chat, &session);
    if let Some(subdir) = subdir {
        work_in(call, &chat, &session, &subdir).await?;
    }
    Ok(Settled { id: chat, _alone: alone })
}

async fn make_chat(call: &Call, id: &str, session: &str, title: Option<String>) -> Done<()> {
    let new = NewChat { id: Some(id.to_owned()), session: session.to_owned(), title };
    call.services().store.create_chat(new).await?;
    Ok(())
}

/// Lets agents of the chat work where the user stood, if the worktree has that directory: one that
/// was never committed is not in it.
async fn work_in(call: &Call, chat: &str, session: &str, subdir: &Path) -> Done<()> {
    let store = &call.services().store;
    let subdir = match store.session(session).await?.and_then(|row| row.worktree) {
        Some(IdOr::Whole(worktree)) if !subdir.as_os_str().is_empty() => {
            let subdir = make::tellable(subdir);
            let there = tokio::fs::metadata(Path::new(&worktree.path).join(subdir)).await;
            if there.is_ok_and(|there| there.is_dir()) { subdir } else { Path::new("") }
        }
        _ => Path::new(""),
    };
    Ok(store.set_cwd(chat, &path_text::text(subdir)).await?)
}

fn new_task(params: TaskSubmit, chat: String, (agent, route): (String, Route)) -> NewTask {
    let source = params.source.unwrap_or(if params.chat.is_some() { Source::Chat } else { Source::Api });
    NewTask {
        request: None,
        chat,
        agent,
        prompt: params.prompt,
        source: source.word().to_owned(),
        permissions: params.permissions.map(policy),
        no_wait: params.no_wait,
        no_retry: params.no_retry,
        hold: params.hold,
        parent: params.parent,
        backend: Some(route.word().to_owned()),
        uses: true,
    }
}

/// What answers permission requests, as the tree calls it.
pub(super) fn policy(policy: Policy) -> PermissionPolicy {
    match policy {
        Policy::Ask => PermissionPolicy::Ask,
        Policy::Allow => PermissionPolicy::Allow,
        Policy::Reject => PermissionPolicy::Reject,
    }
}

/// Records the task and tells the tree. Durable when this returns.
async fn accept(call: &Call, new: NewTask) -> Done<TaskRow> {
    let services = call.services();
    let submitted = services.store.submit(new).await?;
    crash_point!("submit.committed");
    if submitted.fresh {
        services.tree.submitted(submitted.card);
    }
    crash_point!("submit.unanswered");
    Ok(submitted.task)
}
