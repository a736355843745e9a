//! The servers that run, by who may share them: each is started once, however many want it at the
//! same time, and ends with the last who lives in it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use hob_actors::backoff::Cause;
use hob_actors::event::Exit;
use hob_actors::ports::StartFailed;
use tokio::time::{Instant, timeout_at};

use super::server::{self, NotUp, Server, free_port};
use super::start::Spec;
use crate::backend::acp::NotStarted;
use crate::backend::process::Spawner;
use crate::sync::lock;

/// Ports that are tried before a start is given up.
const PORTS_MAX: usize = 4;
/// Places beyond which those are forgotten in which nothing runs.
const SLOTS_MAX: usize = 256;
/// A server that was told to go is waited for so long, because the next one wants its port.
const PREDECESSOR_TIME_MAX: Duration = Duration::from_secs(15);

/// Who shares a server: those with the same name and the same launch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerKey {
    /// The host, or whose it is alone.
    pub host: String,
    /// The fingerprint of everything that is fixed when a process starts.
    pub launch_hash: String,
}

/// Every server that runs. Cheap to clone.
#[derive(Clone, Default)]
pub struct Servers(Arc<Inner>);

#[derive(Default)]
struct Inner {
    slots: Mutex<BTreeMap<ServerKey, Arc<Slot>>>,
    /// Two first starts of opencode on one home get in each other's way (docs/agents.md).
    starting: tokio::sync::Mutex<()>,
}

/// The place of one server, and of those that come after it.
#[derive(Default)]
struct Slot(tokio::sync::Mutex<Place>);

#[derive(Default)]
struct Place {
    server: Weak<Server>,
    /// The port of the last one: the next one takes it again if it can.
    port: Option<u16>,
}

/// The right to live in a server. Given back when it is dropped, too.
pub(super) struct Lease {
    pub(super) server: Arc<Server>,
    directory: PathBuf,
    held: bool,
}

impl Servers {
    /// A lease on the server of the key of `spec`, which is started if there is none. All of it is
    /// over soon after `until`.
    pub(super) async fn lease(
        &self,
        spawner: &Spawner,
        spec: &Spec,
        directory: &Path,
        until: Instant,
    ) -> Result<Lease, NotStarted> {
        let slot = self.slot(&spec.key);
        // Whoever comes meanwhile waits here, and finds what this one started.
        let mut place = timeout_at(until, slot.0.lock()).await.map_err(|_| kept_waiting(spec))?;
        let before = place.server.upgrade();
        if let Some(lease) = before.clone().and_then(|server| Lease::take(server, directory)) {
            return Ok(lease);
        }
        if let Some(before) = before.filter(|before| before.is_ending()) {
            let patience = until.min(Instant::now() + PREDECESSOR_TIME_MAX);
            timeout_at(patience, before.gone()).await.ok();
        }
        let server = self.start(spawner, spec, place.port, until).await?;
        (place.server, place.port) = (Arc::downgrade(&server), Some(server.port));
        Lease::take(server, directory)
            .ok_or_else(|| failed(format!("`{} serve` ended right after its start", spec.command)))
    }

    fn slot(&self, key: &ServerKey) -> Arc<Slot> {
        let mut slots = lock(&self.0.slots);
        // Those that nobody waits for and nothing runs in are only a port to remember.
        if slots.len() > SLOTS_MAX {
            let runs = |slot: &Slot| slot.0.try_lock().map_or(true, |place| place.server.strong_count() > 0);
            slots.retain(|_, slot| Arc::strong_count(slot) > 1 || runs(slot));
        }
        slots.entry(key.clone()).or_default().clone()
    }

    async fn start(
        &self,
        spawner: &Spawner,
        spec: &Spec,
        mut wanted: Option<u16>,
        until: Instant,
    ) -> Result<Arc<Server>, NotStarted> {
        let _alone = timeout_at(until, self.0.starting.lock()).await.map_err(|_| kept_waiting(spec))?;
        for _ in 0..PORTS_MAX {
            let port = free_port(wanted.take())
                .map_err(|error| failed(format!("there is no free port on 127.0.0.1: {error}")))?;
            match server::start(spawner, spec, port, until).await {
                Ok(server) => return Ok(server),
                // A stranger was faster. It keeps the port, and we take another.
                Err(NotUp::PortTaken) => tracing::info!(port, "the port was taken, another is tried"),
                Err(NotUp::Failed(failure)) => return Err(failure),
            }
        }
        Err(failed(format!("`{} serve`: {PORTS_MAX} ports were taken by others", spec.command)))
    }
}

fn kept_waiting(spec: &Spec) -> NotStarted {
    let within = spec.start_timeout;
    failed(format!("`{} serve`: other starts of opencode were not over within {within:?}", spec.command))
}

fn failed(message: String) -> NotStarted {
    NotStarted::Failed(StartFailed { cause: Cause::StartFailure, message, exit: None })
}

impl Lease {
    fn take(server: Arc<Server>, directory: &Path) -> Option<Self> {
        let held = server.lease(directory);
        held.then(|| Self { server, directory: directory.to_owned(), held })
    }

    /// The directory that the one who lives here works in.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Gives it back; the last one ends the server. Resolves when nothing of the directory's
    /// instance is left, which is before its worktree may be moved.
    pub(super) async fn end(mut self, now: bool) -> Exit {
        self.held = false;
        let (is_last_here, is_last) = self.server.release(&self.directory);
        if is_last {
            return self.server.stop(now).await;
        }
        if is_last_here {
            self.server.dispose(&self.directory).await;
        }
        Exit::default()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // The process ends with the last reference to its server.
        if self.held {
            self.server.release(&self.directory);
        }
    }
}
