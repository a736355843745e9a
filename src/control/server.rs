//! Accepts connections, and keeps count of them.
//!
//! What happens on a connection is in [`super::connection`].

use std::fs::File;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::Services;
use super::admission::Clients;
use super::error::RpcFailure;
use super::peer_check;
use super::{bind, connection};
use crate::jsonrpc::RpcError;

/// After a failed accept (out of descriptors, as a rule) the next waits so long.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// How often it is looked whether the socket is still in its place.
const PLACE_PERIOD: Duration = Duration::from_secs(2);
/// How long the connections have to finish when the daemon ends.
const CLOSE_GRACE: Duration = Duration::from_secs(2);
/// How long a peer that is turned away has to read why.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// What all connections share.
pub(super) struct Server {
    /// What the handlers ask.
    pub services: Arc<Services>,
    /// Fires when the daemon ends.
    pub closing: CancellationToken,
    clients: Arc<Clients>,
}

impl Server {
    /// How many clients are connected.
    pub(super) fn n_clients(&self) -> usize {
        self.clients.count()
    }
}

/// Serves the control socket until `stop`, then lets the connections finish for a moment.
pub async fn serve(mut listener: UnixListener, services: Arc<Services>, stop: impl Future<Output = ()>) {
    let server = Arc::new(Server { services, closing: CancellationToken::new(), clients: Arc::default() });
    let mut connections = JoinSet::new();
    let mut shortage = Shortage::prepare();
    let mut looks = tokio::time::interval(PLACE_PERIOD);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    shortage.is_over();
                    connections.spawn(admit(stream, server.clone()));
                }
                Err(error) => shortage.refuse_one(&listener, &error).await,
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            _ = looks.tick(), if server.services.owns_socket => put_back(&mut listener, &server).await,
        }
    }
    drop(listener);
    server.closing.cancel();
    let finished = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(CLOSE_GRACE, finished).await.is_err() {
        tracing::info!(n_connections = connections.len(), "connections cut off");
    }
    connections.shutdown().await;
}

/// No descriptor is left for a client: one is held back, so that clients can still be told.
struct Shortage {
    spare: Option<File>,
    is_told: bool,
}

impl Shortage {
    fn prepare() -> Self {
        Self { spare: File::open("/dev/null").ok(), is_told: false }
    }

    /// After an accept that failed: gives the spare descriptor to the next client, for as long as
    /// it takes to say why it is not served.
    async fn refuse_one(&mut self, listener: &UnixListener, error: &io::Error) {
        // A log on every attempt would grow as long as the shortage lasts.
        if !self.is_told {
            tracing::warn!(%error, "clients cannot be let in");
            self.is_told = true;
        }
        if is_shortage(error) && self.spare.take().is_some() {
            // Somebody else may have been quicker to take what was given free.
            if let Ok(Ok((stream, _))) = tokio::time::timeout(ACCEPT_RETRY, listener.accept()).await {
                turn_away(stream, no_descriptor()).await;
            }
        } else {
            tokio::time::sleep(ACCEPT_RETRY).await;
        }
        if self.spare.is_none() {
            self.spare = File::open("/dev/null").ok();
        }
    }

    fn is_over(&mut self) {
        if std::mem::take(&mut self.is_told) {
            tracing::info!("clients are let in again");
        }
    }
}

/// Whether the system has no descriptor left, for us or at all.
fn is_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// What a client is told then.
fn no_descriptor() -> RpcFailure {
    RpcFailure::overloaded("the daemon has no file descriptor left").hint("prlimit --nofile --pid PID")
}

/// A daemon whose socket was removed runs on, and nobody could ever reach or stop it.
async fn put_back(listener: &mut UnixListener, server: &Server) {
    let path = &server.services.paths.socket;
    match bind::put_back(path).await {
        Ok(None) => {}
        Ok(Some(again)) => {
            tracing::warn!(socket = %path.display(), "the socket was gone and was put back");
            *listener = again;
        }
        Err(error) => tracing::warn!(%error, "the socket is gone and cannot be put back"),
    }
}

/// Lets a peer in, or tells it why not.
async fn admit(stream: UnixStream, server: Arc<Server>) {
    let control = server.services.config.current().control.clone();
    let standing = match peer_check::check(&stream, &server.services.kin) {
        Ok(standing) => standing,
        Err(failure) => {
            tracing::warn!(reason = %failure, "peer turned away");
            return turn_away(stream, failure).await;
        }
    };
    match server.clients.admit(standing, control.max_clients, control.handshake_timeout) {
        Ok(place) => connection::run(stream, server, standing, place).await,
        Err(failure) => turn_away(stream, failure).await,
    }
}

async fn turn_away(mut stream: UnixStream, failure: RpcFailure) {
    let error = serde_json::json!({ "jsonrpc": "2.0", "id": null, "error": RpcError::from(failure) });
    let told = async {
        stream.write_all(format!("{error}\n").as_bytes()).await?;
        stream.shutdown().await
    };
    // A peer that is not listened to need not listen either.
    tokio::time::timeout(REFUSAL_TIMEOUT, told).await.ok();
}
