//! What is done for each method: one file per family, one function per method.
//!
//! A handler reads no JSON and writes none; it asks the store, the tree and the worktrees.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::Services;
use super::connection::Connection;
use super::error::RpcFailure;
use super::peer_check::Standing;
use super::server::Server;

pub(super) mod agents;
pub(super) mod arena;
pub(super) mod changes;
pub(super) mod chats;
pub(super) mod daemon;
pub(super) mod events;
pub(super) mod health;
pub(super) mod meant;
pub(super) mod offers;
pub(super) mod permissions;
pub(super) mod pool;
pub(super) mod sessions;
pub(super) mod submit;
pub(super) mod tasks;
pub(super) mod worktrees;

/// What every handler returns.
pub(super) type Done<T> = Result<T, RpcFailure>;

/// One request on its way.
pub(super) struct Call {
    /// What all connections share.
    pub server: Arc<Server>,
    /// Where it came from.
    pub connection: Arc<Connection>,
    /// Fires when its answer is in line to be written.
    pub answered: CancellationToken,
}

impl Call {
    /// What the handlers ask.
    pub(super) fn services(&self) -> &Services {
        &self.server.services
    }

    /// What the peer may do.
    pub(super) fn standing(&self) -> Standing {
        self.connection.standing
    }

    /// Whether an agent asks.
    pub(super) fn is_agent(&self) -> bool {
        self.standing() != Standing::Full
    }

    /// New work is taken only as long as the daemon is not stopping.
    pub(super) fn check_open(&self) -> Done<()> {
        if self.services().stopping.is_cancelled() {
            return Err(RpcFailure::shutting_down());
        }
        Ok(())
    }
}
