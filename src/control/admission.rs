//! Who is let in: the places of the clients, counted for each kind of peer.
//!
//! [`decide`] is the rule and pure. The owner's half of the places is never an agent's, one agent has
//! only a few, and when all are taken the owner can still stop the daemon.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use super::error::RpcFailure;
use super::peer_check::Standing;
use crate::jsonrpc::Peer;
use crate::sync::lock;

/// Connections of the processes of one agent. An agent needs one for each `hob` that it runs at once.
const TREE_CLIENTS_MAX: usize = 16;

/// Whose a place is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holder {
    /// The owner of the daemon, or root.
    Owner,
    /// A process of an agent: of the start whose keeper stands above it, since a mark can be changed.
    /// All that stand below none share.
    Agent(Option<u32>),
    /// The owner, beyond the limit.
    Reserve,
}

impl Holder {
    fn of(standing: Standing) -> Self {
        match standing {
            Standing::Full => Self::Owner,
            Standing::Agent(peer) => Self::Agent(peer.attempt),
        }
    }
}

/// How many places are taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Taken {
    owner: usize,
    agents: usize,
    /// Of `agents`, by the one who asks.
    tree: usize,
    reserve: usize,
}

/// What a connection may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    /// Everything that its peer may do.
    Whole,
    /// All places are taken: to look at the daemon and to stop it.
    StopOnly,
}

/// Why a peer is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Full {
    Tree,
    Agents,
    All,
}

/// Whether one more fits, and for what. Agents have half of the places and at least one; what they
/// leave is the owner's as well.
fn decide(holder: Holder, taken: Taken, clients_max: usize) -> Result<Service, Full> {
    let owners_half = clients_max - clients_max / 2;
    let agents_max = (clients_max / 2).max(1);
    let is_full = taken.owner + taken.agents >= clients_max;
    match holder {
        Holder::Agent(_) if taken.tree >= TREE_CLIENTS_MAX => Err(Full::Tree),
        Holder::Agent(_) if taken.agents >= agents_max => Err(Full::Agents),
        Holder::Agent(_) if is_full => Err(Full::All),
        Holder::Agent(_) => Ok(Service::Whole),
        Holder::Owner | Holder::Reserve if !is_full || taken.owner < owners_half => Ok(Service::Whole),
        Holder::Owner | Holder::Reserve if taken.reserve == 0 => Ok(Service::StopOnly),
        Holder::Owner | Holder::Reserve => Err(Full::All),
    }
}

/// One connected client, as the others see it.
pub(super) struct Client {
    holder: Holder,
    /// Set as soon as there is one.
    peer: OnceLock<Peer>,
    since: Instant,
    /// Whether it ever said anything.
    pub spoke: AtomicBool,
}

impl Client {
    fn is_stale(&self, silence_max: Duration) -> bool {
        // Who has the reserve may hold it no longer than another may be silent.
        let held = self.holder == Holder::Reserve || !self.spoke.load(Ordering::Relaxed);
        held && self.since.elapsed() > silence_max
    }

    /// Ends its connection.
    fn cut_off(&self) {
        if let Some(peer) = self.peer.get() {
            peer.abort();
        }
    }
}

/// All places.
#[derive(Default)]
pub(super) struct Clients(Mutex<Places>);

#[derive(Default)]
struct Places {
    connected: BTreeMap<u64, Arc<Client>>,
    next: u64,
}

impl Places {
    fn taken(&self, holder: Holder) -> Taken {
        let mut taken = Taken::default();
        for client in self.connected.values() {
            match client.holder {
                Holder::Owner => taken.owner += 1,
                Holder::Reserve => taken.reserve += 1,
                Holder::Agent(_) => {
                    taken.agents += 1;
                    taken.tree += usize::from(client.holder == holder);
                }
            }
        }
        taken
    }

    /// Takes the place of somebody who has one without using it, if that helps: of the same agent,
    /// of any agent, of anybody.
    fn make_room(&mut self, full: Full, holder: Holder, silence_max: Duration) -> bool {
        let helps = |client: &Client| match full {
            Full::Tree => client.holder == holder,
            Full::Agents => matches!(client.holder, Holder::Agent(_)),
            Full::All => true,
        };
        let stale = |client: &Client| helps(client) && client.is_stale(silence_max);
        let Some(id) = self.connected.iter().find(|(_, client)| stale(client)).map(|(id, _)| *id) else {
            return false;
        };
        if let Some(client) = self.connected.remove(&id) {
            client.cut_off();
        }
        true
    }

    fn admit(&mut self, holder: Holder, clients_max: usize, silence_max: Duration) -> Result<Service, Full> {
        let decided = decide(holder, self.taken(holder), clients_max);
        let full = match decided {
            Ok(Service::Whole) => return decided,
            // Somebody silent is worth less than a whole place for the owner.
            Ok(Service::StopOnly) => Full::All,
            Err(full) => full,
        };
        if self.make_room(full, holder, silence_max) {
            return decide(holder, self.taken(holder), clients_max);
        }
        decided
    }
}

impl Clients {
    /// How many are connected.
    pub(super) fn count(&self) -> usize {
        lock(&self.0).connected.len()
    }

    /// Gives a place to a new client. Where none is left, a client that never said anything for
    /// longer than `silence_max` makes room.
    ///
    /// # Errors
    /// There is no place for it.
    pub(super) fn admit(
        self: &Arc<Self>,
        standing: Standing,
        clients_max: usize,
        silence_max: Duration,
    ) -> Result<Place, RpcFailure> {
        let mut holder = Holder::of(standing);
        let mut places = lock(&self.0);
        let service =
            places.admit(holder, clients_max, silence_max).map_err(|full| refusal(full, clients_max))?;
        if service == Service::StopOnly {
            holder = Holder::Reserve;
        }
        let id = places.next;
        places.next += 1;
        let client =
            Client { holder, peer: OnceLock::new(), since: Instant::now(), spoke: AtomicBool::new(false) };
        let client = Arc::new(client);
        places.connected.insert(id, client.clone());
        drop(places);
        Ok(Place { clients: self.clone(), id, client, service })
    }
}

fn refusal(full: Full, clients_max: usize) -> RpcFailure {
    let hint = "control.max_clients in the configuration";
    match full {
        Full::Tree => {
            let message = format!("an agent may have at most {TREE_CLIENTS_MAX} connections at once");
            RpcFailure::overloaded(message)
        }
        Full::Agents => {
            let message =
                format!("agents have {} connections, which is their limit", (clients_max / 2).max(1));
            RpcFailure::overloaded(message).hint(hint)
        }
        Full::All => all_taken(clients_max),
    }
}

/// What somebody is told for whom there is no place.
pub(super) fn all_taken(clients_max: usize) -> RpcFailure {
    let message = format!("{clients_max} clients are connected, which is the limit");
    RpcFailure::overloaded(message).hint("control.max_clients in the configuration")
}

/// A place among the clients, given back when dropped.
pub(super) struct Place {
    clients: Arc<Clients>,
    id: u64,
    /// The client in it.
    pub client: Arc<Client>,
    /// What it is good for.
    pub service: Service,
}

impl Place {
    /// Says how the client can be cut off.
    pub(super) fn belongs_to(&self, peer: Peer) {
        // There is one for each place.
        self.client.peer.set(peer).ok();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.clients.0).connected.remove(&self.id);
    }
}

#[cfg(test)]
mod tests;
