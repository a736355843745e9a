//! Starts one agent: the process, the handshake, and what is told when either fails.
//!
//! **Invariant:** dropping the future at any point ends the process tree: every handle of it is
//! owned by the future until the agent is.

use std::sync::Arc;
use std::time::Duration;

use agent_client_protocol_schema::v1::McpServer;
use hob_actors::backoff::Cause;
use hob_actors::event::Exit;
use hob_actors::id::BackendSessionId;
use hob_actors::ports::{AUTH_REQUIRED, Choice, Launch, Launched, NewsSink, StartFailed, chain};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::choose::Settable;
use super::errors;
use super::handshake::{Failure, Handshake, Opened, Wanted};
use super::in_flight::InFlight;
use super::life::{AcpAgent, Life};
use super::login::Ways;
use super::router::Router;
use super::stderr::{self, Tail};
use crate::backend::process::{Process, ProcessHandle, SpawnError, SpawnRequest, Spawner};
use crate::backend::surroundings;
use crate::config::BackendKind;
use crate::jsonrpc::{self, Limits, Oddities};

/// Bytes of an agent's messages that are on their way to the disk; it is read no further then.
const INBOUND_BYTES: usize = 1 << 20;
/// Bytes that an agent may leave unread in our queue before it is given up.
const OUTBOUND_BYTES: usize = 64 << 20;
/// An agent that closed its output has this long to exit before it is ended.
const EXIT_TIME_MAX: Duration = Duration::from_secs(1);
/// From KILL to an empty tree, before the failure is told all the same.
const GONE_TIME_MAX: Duration = Duration::from_secs(5);
/// From an empty tree to the end of its stderr.
const TAIL_TIME_MAX: Duration = Duration::from_millis(250);
/// How much of the end of stderr is put into a message, in characters.
const SHOWN_CHARS_MAX: usize = 600;

/// Everything about an agent that its configuration decides.
#[derive(Debug, Clone)]
pub struct Spec {
    /// What to start.
    pub request: SpawnRequest,
    /// The command line, for a person.
    pub command: String,
    /// The model and mode to set, if any.
    pub choice: Choice,
    /// The MCP servers that its conversations get.
    pub mcp_servers: Vec<McpServer>,
    /// Spawn, handshake and conversation, together.
    pub start_timeout: Duration,
    /// The longest line that is read, in bytes.
    pub max_frame: usize,
    /// How much of the end of stderr is kept, in bytes.
    pub stderr_tail: usize,
    /// The fingerprint of all of this, in hex.
    pub config_hash: String,
}

/// Why a start failed.
#[derive(Debug)]
pub enum NotStarted {
    /// As another start may or may not.
    Failed(StartFailed),
    /// Nothing that hob can speak with will ever come of this command.
    Unfit(StartFailed),
}

/// Starts an agent and takes up its conversation.
///
/// # Errors
/// What went wrong, with the program, the exit and the end of stderr where known; nothing is left
/// of the process then.
pub async fn start(
    spawner: &Spawner,
    spec: Spec,
    launch: Launch,
    sink: NewsSink,
) -> Result<Launched, NotStarted> {
    let until = Instant::now() + spec.start_timeout;
    let process =
        spawner.spawn(spec.request.clone()).await.map_err(|error| not_spawned(&spec.command, &error))?;
    let Process { pid, stdin, stdout, stderr, handle } = process;
    let tail = Tail::new(spec.stderr_tail, stderr::secrets(&spec.request.env));
    let drain = tokio::spawn(stderr::drain(stderr, tail.clone()));
    let limits = Limits {
        max_frame: spec.max_frame,
        inbound_bytes: INBOUND_BYTES,
        outbound_bytes: OUTBOUND_BYTES,
        oddities: Oddities::Replace,
    };
    let (peer, inbox) = jsonrpc::start(stdout, stdin, limits);
    let in_flight = Arc::new(InFlight::default());
    let mut router = Router::new(peer.clone(), sink.clone(), in_flight.clone());
    router.ways = ways(&spec, &launch);
    let mut handshake = Handshake { peer: peer.clone(), inbox, router, at: "" };
    let wanted = Wanted {
        cwd: launch.cwd,
        resume: launch.resume.map(|id| id.as_str().to_owned()),
        has_history: launch.has_history,
        choice: spec.choice.clone(),
        mcp_servers: spec.mcp_servers.clone(),
    };
    let opened = match tokio::time::timeout_at(until, handshake.open(&wanted)).await {
        Ok(Ok(opened)) => opened,
        Ok(Err(failure)) => return Err(failed(&spec, Some(failure), handshake, (handle, tail, drain)).await),
        Err(_) => return Err(failed(&spec, None, handshake, (handle, tail, drain)).await),
    };
    let Handshake { inbox, router, .. } = handshake;
    let Opened { session, context, reset, close, offers } = opened;
    let settable = Settable::new(session.clone(), offers);
    let life = Life { router, inbox, peer, pid, handle, tail, drain, sink };
    let agent = AcpAgent::begin(life, in_flight, settable, close);
    Ok(Launched {
        backend: BackendKind::Acp.as_str(),
        agent: Arc::new(agent),
        pid: Some(pid),
        host: None,
        backend_session: Some(BackendSessionId::from(session)),
        context,
        reset,
        config_hash: spec.config_hash,
    })
}

/// How a person logs in to the agent and makes hob try again, as far as that is known before it
/// said anything.
fn ways(spec: &Spec, launch: &Launch) -> Ways {
    let request = &spec.request;
    let program = request.arg0.clone().unwrap_or_else(|| request.program.display().to_string());
    let command = [program].into_iter().chain(request.args.iter().cloned()).collect();
    Ways::new(command, &request.env, format!("hob restart {} {}", launch.key.chat, launch.key.agent))
}

/// Why there is no process of that command line.
pub(in crate::backend) fn not_spawned(command: &str, error: &SpawnError) -> NotStarted {
    let message = format!("could not start `{command}`: {}", chain(error));
    let failed = StartFailed { cause: error.cause(), message, exit: None };
    match error {
        SpawnError::NotFound(_)
        | SpawnError::NoInterpreter(_)
        | SpawnError::NotExecutable(_)
        | SpawnError::WrongFormat(_) => NotStarted::Unfit(failed),
        SpawnError::Cwd(..) | SpawnError::Limit(_) | SpawnError::Other(..) => NotStarted::Failed(failed),
    }
}

/// Ends what was started, and says why. `failure` is `None` if it took too long.
async fn failed(
    spec: &Spec,
    failure: Option<Failure>,
    handshake: Handshake,
    (handle, tail, drain): (ProcessHandle, Tail, JoinHandle<()>),
) -> NotStarted {
    let at = handshake.at;
    // An agent that ends by itself says more with its exit than we do by killing it.
    let by_itself = matches!(failure, Some(Failure::Ended));
    let wait = if by_itself { EXIT_TIME_MAX } else { Duration::ZERO };
    let own = tokio::time::timeout(wait, handle.exited()).await.ok();
    let printed = handshake.router.last_noise();
    drop(handshake);
    handle.stop(true);
    tokio::time::timeout(GONE_TIME_MAX, handle.gone()).await.ok();
    tokio::time::timeout(TAIL_TIME_MAX, drain).await.ok();
    let exit = own.map(|raw| Exit { code: raw.code, signal: raw.signal, stderr_tail: tail.text() });
    let is_unfit = matches!(failure, Some(Failure::Unfit(_)));
    let is_log_in = matches!(failure, Some(Failure::LogIn(_)));
    let (permanent, what) = match failure {
        None => (false, format!("did not answer {at} within {:?} of its start", spec.start_timeout)),
        Some(Failure::Permanent(what) | Failure::Unfit(what) | Failure::LogIn(what)) => (true, what),
        Some(Failure::Refused(error)) => (false, format!("answered {at} with {}", errors::describe(&error))),
        Some(Failure::Ended) => {
            (false, format!("{} during {at}", exit.as_ref().map_or("closed its output".to_owned(), ended)))
        }
    };
    let permanent = permanent || exit.as_ref().is_some_and(surroundings::cannot_work);
    let word = if is_log_in { format!("{AUTH_REQUIRED}: ") } else { String::new() };
    let mut message = format!("{word}`{}`: {what}", spec.command);
    for (name, text) in [("stdout", printed), ("stderr", tail.text())] {
        if let Some(shown) = shown(&text) {
            message.push_str(&format!("; {name}: {shown}"));
        }
    }
    message.push_str(&what_it_lacks(exit.as_ref(), &spec.request).await);
    let cause = if permanent { Cause::Configuration } else { Cause::StartFailure };
    let failed = StartFailed { cause, message, exit };
    if is_unfit { NotStarted::Unfit(failed) } else { NotStarted::Failed(failed) }
}

/// What an agent that ended lacks, behind what is told of it.
pub(in crate::backend) async fn what_it_lacks(exit: Option<&Exit>, request: &SpawnRequest) -> String {
    let Some(exit) = exit.cloned() else { return String::new() };
    let path = request.env.get("PATH").cloned().unwrap_or_default();
    let program = request.program.clone();
    let look = tokio::task::spawn_blocking(move || surroundings::lacking(&exit, &program, &path));
    look.await.ok().flatten().map(|lacking| format!("; {lacking}")).unwrap_or_default()
}

pub(in crate::backend) fn ended(exit: &Exit) -> String {
    match (exit.signal, exit.code) {
        (Some(signal), _) => format!("was killed by signal {signal}"),
        (None, Some(code)) => format!("exited with code {code}"),
        (None, None) => "ended".to_owned(),
    }
}

/// The end of stderr on one line; `None` if there was none.
pub(in crate::backend) fn shown(tail: &str) -> Option<String> {
    let lines: Vec<&str> = tail.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let line = lines.join(" | ");
    let n_chars = line.chars().count();
    let end: String = line.chars().skip(n_chars.saturating_sub(SHOWN_CHARS_MAX)).collect();
    (!end.is_empty()).then(|| if n_chars > SHOWN_CHARS_MAX { format!("…{end}") } else { end })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_stderr_fits_into_a_message() {
        assert_eq!(shown("\n \n"), None);
        assert_eq!(shown("no key\n\n  set one \n").as_deref(), Some("no key | set one"));
        let long = shown(&"é".repeat(5000)).unwrap();
        assert_eq!(long.chars().count(), SHOWN_CHARS_MAX + 1);
    }
}
