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

pub mod agents;
pub mod chats;
pub mod daemon;
pub mod events;
pub mod permissions;
pub mod pool;
pub mod sessions;
pub mod submit;
pub mod tasks;

/// What every handler returns.
pub type Done<T> = Result<T, RpcFailure>;

/// One request on its way.
pub struct Call {
    /// What all connections share.
    pub server: Arc<Server>,
    /// Where it came from.
    pub connection: Arc<Connection>,
    /// Fires when its answer is in line to be written.
    pub answered: CancellationToken,
}

impl Call {
    /// What the handlers ask.
    pub fn services(&self) -> &Services {
        &self.server.services
    }

    /// What the peer may do.
    pub fn standing(&self) -> Standing {
        self.connection.standing
    }

    /// Whether an agent asks.
    pub fn is_agent(&self) -> bool {
        self.standing() != Standing::Full
    }

    /// New work is taken only as long as the daemon is not stopping.
    pub fn check_open(&self) -> Done<()> {
        if self.services().stopping.is_cancelled() {
            return Err(RpcFailure::shutting_down());
        }
        Ok(())
    }
}
