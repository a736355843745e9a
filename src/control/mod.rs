//! The control socket: what other programs see of the daemon, by the contract in docs/contract.md.
//!
//! A connection has no state of its own but its subscriptions. Every request is looked up in one
//! table ([`dispatch`]), its parameters are read strictly ([`params`]), and its handler asks the
//! tree, the store and the worktrees; events are read from the journal only as a connection
//! drains ([`subscribe`]).
//!
//! **Invariant:** nothing here runs an agent, touches git or speaks SQL: it asks those who do.

use std::sync::Arc;

use hob_actors::tree;
use tokio_util::sync::CancellationToken;

use crate::arena::Arenas;
use crate::backend::Agents;
use crate::backend::process::Kin;
use crate::config::SharedConfig;
use crate::daemon::DaemonControl;
use crate::paths::Paths;
use crate::pending::Pending;
use crate::retire::Retire;
use crate::store::Store;
use crate::worktree::Worktrees;

pub mod admission;
pub mod audience;
pub mod bind;
pub mod client;
mod connection;
mod delegation;
mod dispatch;
pub mod error;
pub mod flight;
mod handlers;
mod make;
pub mod params;
mod peer_check;
mod route;
mod server;
mod subscribe;
mod watched;
pub mod wire;

pub use audience::Audience;
pub use bind::{BindError, adopt, bind};
pub use client::{Client, ClientError, EventNote};
pub use error::{Kind, RpcFailure};
pub use server::serve;

/// The protocol that is spoken.
pub const PROTOCOL: u32 = 1;

/// Everything that the handlers ask.
pub struct Services {
    /// What is remembered.
    pub store: Store,
    /// What the person configured.
    pub config: SharedConfig,
    /// Where everything lies.
    pub paths: Paths,
    /// Where agents work.
    pub worktrees: Worktrees,
    /// What agents changed there.
    pub pending: Pending,
    /// What becomes of worktrees when nobody needs them.
    pub retire: Retire,
    /// What judges the entries of arenas.
    pub arenas: Arenas,
    /// Which agents there are.
    pub agents: Arc<Agents>,
    /// What supervises them.
    pub tree: tree::Handle,
    /// Who is looking; the tree was given the same.
    pub audience: Audience,
    /// The daemon itself.
    pub control: DaemonControl,
    /// When the daemon was started.
    pub started_at: wire::Moment,
    /// The same by the clock that nobody sets.
    pub up_since: std::time::Instant,
    /// Tells whose processes are, and how well they are held.
    pub kin: Kin,
    /// Whether the socket file is ours to keep in its place: systemd keeps its own.
    pub owns_socket: bool,
    /// Cancelled when no new work is taken any more; running turns may still be waited for.
    pub stopping: CancellationToken,
    /// One at a time for things that must not be made twice.
    pub flights: flight::Flights,
}
