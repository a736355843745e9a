//! How a session actor starts a backend: a generation is begun, the backend launched within a limit,
//! and how that came out recorded before the actor hears of it.

use std::sync::Arc;
use std::time::Duration;

use ractor::ActorRef;

use super::actor::{SessionArgs, SessionMsg};
use crate::backoff::Cause;
use crate::event::AgentStatus;
use crate::id::Generation;
use crate::persist::insist;
use crate::ports::{AgentMove, BackendOpened, Launch, Launched, NewsSink, PortError, Route, StartFailed};

/// What a backend has beyond its own limit on a start to end what it began and to say at which
/// step it stood. Only one that does not keep its limit at all is given up by this one.
const START_MARGIN: Duration = Duration::from_secs(10);

/// Begins a generation, launches its backend and records how that came out.
pub(super) async fn start(
    args: &SessionArgs,
    to: &ActorRef<SessionMsg>,
    route: Route,
) -> Result<(), PortError> {
    let store = &args.ports.store;
    let key = &args.key;
    let record = insist(store.agent_record(key.clone()), || store.agent_record(key.clone())).await?;
    let generation =
        insist(store.begin_generation(key.clone()), || store.begin_generation(key.clone())).await?;
    let launch = Launch {
        key: key.clone(),
        generation,
        cwd: record.cwd.clone(),
        resume: record.backend_session.clone(),
        has_history: record.has_history,
        route,
        choice: record.choice.clone(),
    };
    let hash = args.ports.backend.config_hash(&key.agent, &record.cwd, &record.choice);
    to.cast(SessionMsg::Begun(generation, Box::new(record), hash)).ok();
    // An agent that starts where nothing is would fail, and one that starts elsewhere would work there.
    let result = match args.ports.snapshots.place(key.clone()).await {
        Ok(()) => launch_in_time(args, launch, news_sink(to, generation)).await,
        Err(message) => Err(StartFailed { cause: Cause::Place, message, exit: None }),
    };
    record_start(args, generation, &result).await?;
    if let Ok(launched) = &result {
        know_helpers(args, to, generation, launched.pid).await;
    }
    to.cast(SessionMsg::Started(generation, result)).ok();
    Ok(())
}

/// The processes that an agent always has are no work of a turn. They are looked up before the
/// first one can begin, and only where they matter.
async fn know_helpers(
    args: &SessionArgs,
    to: &ActorRef<SessionMsg>,
    generation: Generation,
    pid: Option<u32>,
) {
    let counts = args.ports.settings.agent(&args.key.agent).count_background;
    let (true, Some(pid)) = (counts, pid) else { return };
    if let Some(Some(tree)) = args.ports.machine.trees(vec![pid]).await.pop() {
        to.cast(SessionMsg::Helpers(generation, tree.descendants)).ok();
    }
}

fn news_sink(to: &ActorRef<SessionMsg>, generation: Generation) -> NewsSink {
    let to = to.clone();
    Arc::new(move |news, permit| {
        // The actor may be gone: its backend goes with it.
        to.cast(SessionMsg::Heard(generation, news, permit)).ok();
    })
}

async fn launch_in_time(args: &SessionArgs, launch: Launch, sink: NewsSink) -> Result<Launched, StartFailed> {
    let limit = args.ports.settings.agent(&args.key.agent).start_timeout + START_MARGIN;
    match tokio::time::timeout(limit, args.ports.backend.launch(launch, sink)).await {
        Ok(result) => result,
        Err(_) => Err(StartFailed {
            cause: Cause::StartFailure,
            message: format!("{} did not start within {} ms", args.key.agent, limit.as_millis()),
            exit: None,
        }),
    }
}

/// Records how a start came out, before the actor acts on it.
async fn record_start(
    args: &SessionArgs,
    generation: Generation,
    result: &Result<Launched, StartFailed>,
) -> Result<(), PortError> {
    let store = &args.ports.store;
    match result {
        Ok(launched) => {
            let opened = BackendOpened {
                backend: launched.backend,
                key: args.key.clone(),
                generation,
                backend_session: launched.backend_session.clone(),
                context: launched.context,
                reset: launched.reset.clone(),
                pid: launched.pid,
                config_hash: launched.config_hash.clone(),
            };
            insist(store.backend_opened(opened.clone()), || store.backend_opened(opened.clone())).await
        }
        Err(failed) => {
            let step = AgentMove {
                key: args.key.clone(),
                generation,
                to: AgentStatus::Crashed,
                reason: Some(failed.message.clone()),
                pid: None,
                exit: failed.exit.clone(),
            };
            insist(store.move_agent(step.clone()), || store.move_agent(step.clone())).await
        }
    }
}
