//! Waits for whatever ends a daemon: a signal, a request, the end of stdin, or a part that failed.

use std::convert::Infallible;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Parts;
use super::control_door::{DaemonControl, Requests};
use super::notify::{self, Notifier};
use crate::store;

/// A part without which the daemon cannot go on has failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// What was written might not be there, or what is read might not be true.
    #[error("the database {} failed: {why}", path.display())]
    Database {
        /// Its file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// Nothing can be started any more.
    #[error("no agent can be started any more: {0}")]
    Spawner(String),
    /// Actors died more often than they may.
    #[error("the supervision tree failed too often")]
    Tree,
}

impl Failure {
    /// What a person can do about it.
    pub(super) fn hint(&self) -> Option<String> {
        match self {
            Self::Database { path, .. } => Some(format!("if it is damaged: {}", store::repair_hint(path))),
            Self::Spawner(_) | Self::Tree => None,
        }
    }
}

/// Why, and how, the daemon ends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct End {
    /// Wait this long for running turns first.
    pub drain: Option<Duration>,
    /// Skip every grace.
    pub now: bool,
    /// What failed, if anything did.
    pub failure: Option<Failure>,
}

impl End {
    fn failed(failure: Failure) -> Self {
        Self { now: true, failure: Some(failure), ..Self::default() }
    }
}

/// Waits for the end, and reads the configuration again on SIGHUP meanwhile.
pub(super) async fn for_the_end(
    parts: &Parts,
    door: &DaemonControl,
    requests: &mut Requests,
    exit_with_stdin: bool,
) -> End {
    listen_for_signals(door);
    tokio::select! {
        Some(request) = requests.recv() => End { drain: request.drain, now: request.now, failure: None },
        () = stdin_ended(), if exit_with_stdin => End { now: true, ..End::default() },
        () = parts.tree.ended() => End::failed(Failure::Tree),
        why = parts.store.failed() => {
            End::failed(Failure::Database { path: parts.store.path().to_owned(), why })
        }
        why = parts.spawner.failed() => End::failed(Failure::Spawner(why)),
        never = watchdog(&parts.notifier) => match never {},
    }
}

/// Resolves when somebody asks again for an end that has begun.
pub(super) async fn hurried(requests: &mut Requests) {
    if requests.recv().await.is_none() {
        std::future::pending::<()>().await;
    }
}

/// Turns signals into requests: SIGTERM and SIGINT stop, SIGHUP reads the configuration again.
fn listen_for_signals(door: &DaemonControl) {
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let door = door.clone();
        each(kind, move || {
            let door = door.clone();
            async move { door.shutdown(super::ShutdownRequest::default()) }
        });
    }
    let door = door.clone();
    each(SignalKind::hangup(), move || {
        let door = door.clone();
        async move {
            if let Err(error) = door.reload().await {
                tracing::error!(%error, "the configuration is not valid; the old one stays");
            }
        }
    });
}

fn each<F: Future<Output = ()> + Send>(kind: SignalKind, act: impl Fn() -> F + Send + 'static) {
    let mut signals: Signal = match signal(kind) {
        Ok(signals) => signals,
        Err(error) => {
            tracing::error!(%error, "cannot listen for a signal");
            return;
        }
    };
    tokio::spawn(async move {
        while signals.recv().await.is_some() {
            act().await;
        }
    });
}

/// Resolves at the end of stdin, whatever is written to it before.
async fn stdin_ended() {
    let mut stdin = tokio::io::stdin();
    let mut ignored = [0; 64];
    while matches!(stdin.read(&mut ignored).await, Ok(1..)) {}
}

/// Tells systemd's watchdog that the daemon lives, twice in its period. Never resolves.
async fn watchdog(notifier: &Notifier) -> Infallible {
    let Some(period) = notify::watchdog_period() else {
        return std::future::pending().await;
    };
    let mut ticks = tokio::time::interval(period / 2);
    loop {
        ticks.tick().await;
        notifier.tell("WATCHDOG=1");
    }
}
