//! Who lives in a server, and in which of its rooms: the leases, and the instances that opencode
//! keeps of the directories that its sessions work in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::server::Server;
use crate::sync::lock;

/// For the answer to a request that is a courtesy.
pub(super) const COURTESY_TIME_MAX: Duration = Duration::from_secs(2);

/// Who lives in a server.
#[derive(Default)]
pub(super) struct House {
    n_leases: usize,
    /// Nobody is taken in any more.
    closed: bool,
    rooms: BTreeMap<PathBuf, Room>,
}

/// A directory that somebody works in, for which the server keeps an instance of its own.
struct Room {
    n_leases: usize,
    n_turns: usize,
    used: Instant,
    /// There is nothing to dispose of.
    bare: bool,
    /// Held while a prompt is sent, or the instance disposed of.
    door: Arc<tokio::sync::Mutex<()>>,
}

impl Server {
    /// Takes somebody in who works in that directory; false if nobody is taken in any more.
    pub(super) fn lease(&self, directory: &Path) -> bool {
        let mut house = lock(&self.house);
        if house.closed || self.exit.borrow().is_some() {
            return false;
        }
        house.n_leases += 1;
        let room = house.rooms.entry(directory.to_owned()).or_insert_with(|| Room {
            n_leases: 0,
            n_turns: 0,
            used: Instant::now(),
            bare: true,
            door: Arc::default(),
        });
        room.n_leases += 1;
        true
    }

    /// Gives a lease back. Whether it was the last of its directory, and of the server, which takes
    /// nobody in from then on.
    pub(super) fn release(&self, directory: &Path) -> (bool, bool) {
        let mut house = lock(&self.house);
        house.n_leases = house.n_leases.saturating_sub(1);
        house.closed |= house.n_leases == 0;
        let is_last = house.n_leases == 0;
        let Some(room) = house.rooms.get_mut(directory) else { return (false, is_last) };
        room.n_leases = room.n_leases.saturating_sub(1);
        let is_empty = room.n_leases == 0;
        if is_empty {
            house.rooms.remove(directory);
        }
        (is_empty, is_last)
    }

    /// Takes nobody in any more.
    pub(super) fn condemn(&self) {
        lock(&self.house).closed = true;
    }

    /// It goes, or is gone: nobody lives in it any more.
    pub(super) fn is_ending(&self) -> bool {
        lock(&self.house).n_leases == 0 || self.exit.borrow().is_some()
    }

    /// A turn begins or ends in that directory.
    pub(super) fn at_work(&self, directory: &Path, begins: bool) {
        if let Some(room) = lock(&self.house).rooms.get_mut(directory) {
            room.n_turns = if begins { room.n_turns + 1 } else { room.n_turns.saturating_sub(1) };
            room.used = Instant::now();
            room.bare &= !begins;
        }
    }

    /// What is held while a prompt is sent to that directory, or its instance disposed of.
    pub(super) fn door(&self, directory: &Path) -> Arc<tokio::sync::Mutex<()>> {
        lock(&self.house).rooms.get(directory).map(|room| room.door.clone()).unwrap_or_default()
    }

    /// Disposes of the instance of a directory in which nothing was done for so long. Its sessions
    /// are on the disk, and the next prompt makes another instance.
    pub(super) async fn dispose_if_idle(&self, directory: &Path, idle: Duration) {
        let door = self.door(directory);
        let _held = door.lock().await;
        let is_idle = {
            let mut house = lock(&self.house);
            let room = house.rooms.get_mut(directory);
            let idle_room =
                room.filter(|room| !room.bare && room.n_turns == 0 && room.used.elapsed() >= idle);
            idle_room.map(|room| room.bare = true).is_some()
        };
        if is_idle {
            tracing::info!(directory = %directory.display(), "an idle instance is disposed of");
            self.dispose(directory).await;
        }
    }

    /// Ends the instance of a directory: its watchers, language servers and MCP servers.
    pub(super) async fn dispose(&self, directory: &Path) {
        let Some(directory) = directory.to_str() else { return };
        let disposing = async {
            let nothing = json!({});
            self.client.post::<Value>("/instance/dispose", &[("directory", directory)], &nothing).await
        };
        match tokio::time::timeout(COURTESY_TIME_MAX, disposing).await {
            Ok(Ok(_)) => tracing::debug!(directory, "an instance was disposed of"),
            Ok(Err(error)) => tracing::debug!(directory, %error, "an instance could not be disposed of"),
            Err(_) => tracing::debug!(directory, "an instance took too long to be disposed of"),
        }
    }
}
