//! Starts one agent session on an opencode server: a lease, and a session that is taken up or made.
//!
//! **Invariant:** dropping the future at any point gives the lease back.

use std::time::Duration;

use hob_actors::backoff::Cause;
use hob_actors::event::Context;
use hob_actors::id::{BackendSessionId, HostId};
use hob_actors::ports::{self, Launch, Launched, NewsSink, StartFailed};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::time::Instant;

use super::agent::OpencodeAgent;
use super::http::{Client, HttpError};
use super::offers::{self, Choice};
use super::servers::{Lease, ServerKey, Servers};
use super::wire::{Session, Status};
use crate::backend::acp::NotStarted;
use crate::backend::process::{SpawnRequest, Spawner};
use crate::config::BackendKind;

/// A server that answers has its event stream within milliseconds. One that has none is no reason
/// to wait: what is not heard of a turn is read then.
const STREAM_TIME_MAX: Duration = Duration::from_secs(5);

/// Everything about an agent that its configuration decides.
#[derive(Debug, Clone)]
pub struct Spec {
    /// What to start, without the address.
    pub request: SpawnRequest,
    /// The program, for a person.
    pub command: String,
    /// The model to use, as `provider/model`, and the mode to work in: an agent of opencode's.
    pub choice: ports::Choice,
    /// Process, session and stream, together.
    pub start_timeout: Duration,
    /// The longest event that is read, in bytes.
    pub max_frame: usize,
    /// How much of the end of stderr is kept, in bytes.
    pub stderr_tail: usize,
    /// The fingerprint of all of this, in hex.
    pub config_hash: String,
    /// Who shares the server.
    pub key: ServerKey,
    /// The name of the process, if others may live in it.
    pub host: Option<HostId>,
    /// A directory in which nothing was done for so long has its instance disposed of.
    pub instance_idle: Duration,
}

/// Starts an agent session, and a server for it if there is none.
///
/// # Errors
/// What went wrong, and whether it is no opencode that hob can drive; what was begun for it is
/// ended then.
pub async fn start(
    servers: &Servers,
    spawner: &Spawner,
    spec: Spec,
    launch: Launch,
    sink: NewsSink,
) -> Result<Launched, NotStarted> {
    let until = Instant::now() + spec.start_timeout;
    let lease = servers.lease(spawner, &spec, &launch.cwd, until).await?;
    let opening = tokio::time::timeout_at(until, open(&spec, &lease, &launch));
    let opened = match opening.await {
        Ok(opened) => opened,
        Err(_) => Err(Trouble::Http(HttpError::TimedOut(spec.start_timeout))),
    };
    match opened {
        Ok(opened) => {
            // Before the first prompt, so that nothing of its turn is missed.
            let patience = until.min(Instant::now() + STREAM_TIME_MAX);
            tokio::time::timeout_at(patience, lease.server.hub.connected()).await.ok();
            Ok(live(spec, lease, opened, sink))
        }
        Err(trouble) => {
            lease.end(false).await;
            Err(trouble.told(&spec))
        }
    }
}

/// A session that takes prompts.
struct Opened {
    session: Session,
    context: Context,
    reset: Option<String>,
    choice: Choice,
}

/// Why there is no session.
enum Trouble {
    Http(HttpError),
    /// Another start would end the same way.
    Permanent(String),
}

impl From<HttpError> for Trouble {
    fn from(error: HttpError) -> Self {
        Self::Http(error)
    }
}

impl Trouble {
    fn told(self, spec: &Spec) -> NotStarted {
        let (cause, what) = match self {
            Self::Permanent(what) => (Cause::Configuration, what),
            Self::Http(error) => (Cause::StartFailure, format!("no session could be opened: {error}")),
        };
        let message = format!("`{} serve`: {what}", spec.command);
        NotStarted::Failed(StartFailed { cause, message, exit: None })
    }
}

async fn open(spec: &Spec, lease: &Lease, launch: &Launch) -> Result<Opened, Trouble> {
    let client = &lease.server.client;
    let directory = lease.directory().to_str().map(str::to_owned);
    let directory = directory.ok_or_else(|| Trouble::Permanent("its directory is no UTF-8".to_owned()))?;
    let choice =
        offers::choose(client, &directory, (spec.choice.model.as_deref(), spec.choice.mode.as_deref()))
            .await?;
    let choice = choice.map_err(Trouble::Permanent)?;
    let saved = launch.resume.as_ref().map(BackendSessionId::as_str);
    if let Some(id) = saved {
        match taken_up(client, id, &directory).await {
            Ok(session) => {
                let context = if launch.has_history { Context::Resumed } else { Context::Fresh };
                return Ok(Opened { session, context, reset: None, choice });
            }
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
    }
    let session = client.post("/session", &[("directory", &directory)], &json!({})).await?;
    let lost = saved.filter(|_| launch.has_history);
    let reset = lost.map(|id| format!("opencode does not know the session {id} any more"));
    let context = if reset.is_some() { Context::Reset } else { Context::Fresh };
    Ok(Opened { session, context, reset, choice })
}

/// The session of that id. One that still works at something nobody waits for is stopped.
async fn taken_up(client: &Client, id: &str, directory: &str) -> Result<Session, HttpError> {
    let query = [("directory", directory)];
    let session: Session = client.get(&format!("/session/{id}"), &query).await?;
    let statuses: BTreeMap<String, Status> = client.get("/session/status", &query).await?;
    if statuses.get(id).is_some_and(|status| status.kind != "idle") {
        client.post::<Value>(&format!("/session/{id}/abort"), &query, &json!({})).await?;
    }
    Ok(session)
}

fn live(spec: Spec, lease: Lease, opened: Opened, sink: NewsSink) -> Launched {
    let Opened { session, context, reset, choice } = opened;
    let (pid, id) = (lease.server.pid, session.id.clone());
    let agent = OpencodeAgent::begin(lease, session, (choice, spec.instance_idle), sink);
    Launched {
        backend: BackendKind::Opencode.as_str(),
        agent: Arc::new(agent),
        pid: Some(pid),
        host: spec.host,
        backend_session: Some(BackendSessionId::from(id)),
        context,
        reset,
        config_hash: spec.config_hash,
    }
}
