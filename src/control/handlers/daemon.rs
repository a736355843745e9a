//! `daemon/*` and `id/*`: the daemon itself.

use std::time::Duration;

use hob_actors::event::AgentStatus;

use super::{Call, Done};
use crate::config::{ConfigError, ConfigFault};
use crate::control::PROTOCOL;
use crate::control::dispatch::METHODS;
use crate::control::error::RpcFailure;
use crate::control::params::{FindId, Hello, IdKind, Nothing, Shutdown, TITLE_BYTES_MAX};
use crate::control::wire::{Counts, DatabaseRow, Empty, HelloReply, LimitsRow, ReloadReply, StatusReply};
use crate::daemon::ShutdownRequest;
use crate::store;

/// `daemon/hello`
pub(crate) async fn hello(call: &Call, params: Hello) -> Done<HelloReply> {
    if params.protocol != PROTOCOL {
        let message = format!("protocol {} is not spoken here, {PROTOCOL} is", params.protocol);
        return Err(RpcFailure::invalid_params("protocol", message));
    }
    if params.client.len() > TITLE_BYTES_MAX {
        return Err(RpcFailure::invalid_params("client", "the name is too long"));
    }
    call.connection.set_name(params.client);
    let services = call.services();
    Ok(HelloReply {
        server: "hob".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        protocol: PROTOCOL,
        pid: std::process::id(),
        home: home(call),
        started_at: services.started_at,
        capabilities: METHODS.iter().map(|method| (*method).to_owned()).collect(),
        scope: if call.is_agent() { "agent" } else { "full" }.to_owned(),
    })
}

/// `daemon/status`
pub(crate) async fn status(call: &Call, _: Nothing) -> Done<StatusReply> {
    let services = call.services();
    let database = services.store.status().await?;
    let live = services.tree.live().await.unwrap_or_default();
    let config = services.config.current();
    Ok(StatusReply {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        uptime_s: services.up_since.elapsed().as_secs(),
        home: home(call),
        socket: services.paths.socket.display().to_string(),
        containment: services.kin.containment().to_owned(),
        stopping: services.stopping.is_cancelled(),
        degraded: services.store.trouble(),
        warnings: config.warnings.clone(),
        counts: Counts {
            sessions: database.sessions,
            chats: database.chats,
            live: live.iter().filter(|agent| agent.pid.is_some()).count() as u64,
            busy: live.iter().filter(|agent| agent.status == AgentStatus::Busy).count() as u64,
            queued: database.queued,
            clients: call.server.n_clients() as u64,
        },
        database: DatabaseRow {
            path: database.path,
            size_bytes: database.size_bytes,
            schema: database.schema,
        },
        limits: LimitsRow {
            max_live: config.pool.max_live as u64,
            max_running: config.dispatch.max_running as u64,
            max_running_per_agent: config.dispatch.max_running_per_agent as u64,
            max_clients: config.control.max_clients as u64,
            max_frame: config.control.max_frame,
            max_backlog: config.control.max_backlog,
        },
    })
}

/// `daemon/reload`
pub(crate) async fn reload(call: &Call, _: Nothing) -> Done<ReloadReply> {
    let changed = call.services().control.reload().await.map_err(|error| {
        // The hint has a place of its own in an answer.
        let (hint, fault) = (error.hint.clone(), error.fault);
        let refused = RpcFailure::refused(ConfigError { hint: None, ..error }.to_string()).maybe_hint(hint);
        match fault {
            ConfigFault::Bad => refused.reason("bad_config"),
            ConfigFault::Untrusted => refused,
        }
    })?;
    Ok(ReloadReply { changed, warnings: call.services().config.current().warnings.clone() })
}

/// `daemon/shutdown`
pub(crate) async fn shutdown(call: &Call, params: Shutdown) -> Done<Empty> {
    let services = call.services();
    services.stopping.cancel();
    let drain = params.drain_s.map(Duration::from_secs);
    services.control.shutdown(ShutdownRequest { drain, now: params.now });
    Ok(Empty {})
}

/// `id/find`: the ids that begin with a prefix; the exact one alone, if there is one.
pub(crate) async fn find_id(call: &Call, params: FindId) -> Done<Vec<String>> {
    let kind = match params.kind {
        IdKind::Session => store::Kind::Session,
        IdKind::Chat => store::Kind::Chat,
        IdKind::Task => store::Kind::Task,
        IdKind::Turn => store::Kind::Turn,
        IdKind::Permission => store::Kind::Permission,
        IdKind::Worktree => store::Kind::Worktree,
        IdKind::Arena => store::Kind::Arena,
    };
    Ok(call.services().store.find_prefix(kind, &params.prefix).await?)
}

fn home(call: &Call) -> String {
    let paths = &call.services().paths;
    paths.home.as_ref().unwrap_or(&paths.state).display().to_string()
}
