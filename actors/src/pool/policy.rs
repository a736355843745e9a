//! Decides who may live, and who goes for it; performs nothing.
//!
//! An eviction that is decided here is a request: the session actor judges it again at the moment
//! of release.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::event::Wait;
use crate::id::{AgentKey, HostId};

/// Why an agent session cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no place for it now.
    #[error("{why}")]
    NoPlace {
        /// What it has to wait for.
        wait: Wait,
        /// A place is on its way: waiting is short.
        coming: bool,
        /// Why, in words.
        why: String,
    },
    /// Its circuit is open.
    #[error("{0}")]
    CircuitOpen(String),
    /// Its actor failed too often.
    #[error("the supervisor of this agent session failed {0}; it is left alone for a while")]
    FailedTooOften(String),
    /// The daemon is stopping.
    #[error("the daemon is stopping")]
    Stopping,
}

/// What stands in the place of an agent session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// No process, and none promised: it takes no place.
    Down,
    /// A live backend with nothing to do.
    Free,
    /// A live backend that is at work, pinned, or about to be.
    Busy,
    /// It is being let go, and takes its place until it is gone.
    Leaving,
}

/// One agent session that the pool knows.
#[derive(Debug, Clone)]
pub struct Resident<'a> {
    /// Which one.
    pub key: &'a AgentKey,
    /// The process that it shares with others, if it does: together they take one place.
    pub host: Option<HostId>,
    /// What it does.
    pub standing: Standing,
    /// When it was used last, by a counter: the lowest goes first.
    pub used: u64,
    /// How long it has been out of use.
    pub idle: Duration,
    /// What its process tree holds, in bytes, where that was looked at.
    pub bytes: Option<u64>,
}

/// Memory of the machine, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// What is left; `None` where the machine does not tell.
    pub available: Option<u64>,
    /// `pool.min_available`.
    pub min: u64,
}

impl Memory {
    /// Whether too little is left. Where the machine does not tell, nothing is wrong.
    pub fn is_low(&self) -> bool {
        self.available.is_some_and(|available| available < self.min)
    }
}

/// Everybody, and the limits.
#[derive(Debug, Clone, Default)]
pub struct Facts<'a> {
    /// The agent sessions that the pool knows.
    pub residents: Vec<Resident<'a>>,
    /// `pool.max_live`.
    pub max_live: usize,
    /// The memory that is left.
    pub memory: Memory,
    /// How many wait for a place, besides the one that asks.
    pub n_waiting: usize,
}

/// What somebody who asks for a place has to say for itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Claim {
    /// Somebody older waits for a place.
    pub behind: bool,
    /// A turn waits for this one, and keeps its place so long: how many such turns there are. They
    /// do nothing meanwhile, so as many places more may be taken, or they would wait for ever.
    pub n_lent: usize,
}

/// What becomes of somebody who asks for a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// It may start, or is there already.
    Go,
    /// It has to wait for this.
    Wait(Wait),
}

/// The decision, and who is to be asked to go for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What becomes of the one who asks.
    pub admission: Admission,
    /// Who is to be let go: nobody, one, or all that live in one process.
    pub evict: Vec<AgentKey>,
}

/// What takes one place of the cap: an agent session by itself, or all that live in one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place<'a> {
    Own(&'a AgentKey),
    Host(&'a HostId),
}

/// How those who share a place stand together.
#[derive(Debug, Clone)]
struct Tenants {
    standing: Standing,
    used: u64,
    bytes: Option<u64>,
    keys: Vec<AgentKey>,
}

impl Tenants {
    fn none() -> Self {
        Self { standing: Standing::Leaving, used: 0, bytes: None, keys: Vec::new() }
    }

    /// One more. They are at work if one is, and leave when all do.
    fn take_in(&mut self, resident: &Resident<'_>) {
        self.standing = match (self.standing, resident.standing) {
            (Standing::Busy, _) | (_, Standing::Busy) => Standing::Busy,
            (Standing::Free, _) | (_, Standing::Free) => Standing::Free,
            _ => Standing::Leaving,
        };
        self.used = self.used.max(resident.used);
        self.bytes = self.bytes.max(resident.bytes);
        self.keys.push(resident.key.clone());
    }
}

impl Facts<'_> {
    /// The places that are taken, and by whom.
    fn places(&self) -> BTreeMap<Place<'_>, Tenants> {
        let mut places = BTreeMap::new();
        for resident in self.residents.iter().filter(|resident| resident.standing != Standing::Down) {
            let place = resident.host.as_ref().map_or(Place::Own(resident.key), Place::Host);
            places.entry(place).or_insert_with(Tenants::none).take_in(resident);
        }
        places
    }
}

fn n_leaving(places: &BTreeMap<Place<'_>, Tenants>) -> usize {
    places.values().filter(|tenants| tenants.standing == Standing::Leaving).count()
}

fn free<'a>(places: &'a BTreeMap<Place<'_>, Tenants>) -> impl Iterator<Item = &'a Tenants> {
    places.values().filter(|tenants| tenants.standing == Standing::Free)
}

/// The least recently used place where nobody has anything to do.
fn least_recent(places: &BTreeMap<Place<'_>, Tenants>) -> Vec<AgentKey> {
    let found = free(places).min_by_key(|tenants| tenants.used);
    found.map(|tenants| tenants.keys.clone()).unwrap_or_default()
}

/// The largest one; where sizes are not known, the least recently used.
fn largest(places: &BTreeMap<Place<'_>, Tenants>) -> Vec<AgentKey> {
    let found = free(places).max_by_key(|tenants| (tenants.bytes, std::cmp::Reverse(tenants.used)));
    found.map(|tenants| tenants.keys.clone()).unwrap_or_default()
}

/// Whether `key` may start a backend, or has one. `host`: the process that it would share.
/// Behind somebody older it takes no place before that one, and gives its own up if it is the one
/// to go; for whom a turn waits is behind nobody.
pub fn admit(facts: &Facts<'_>, key: &AgentKey, host: Option<&HostId>, claim: Claim) -> Decision {
    let behind = claim.behind && claim.n_lent == 0;
    let go = |evict| Decision { admission: Admission::Go, evict };
    let wait = |wait, evict| Decision { admission: Admission::Wait(wait), evict };
    let places = facts.places();
    let n_leaving = n_leaving(&places);
    let own = facts.residents.iter().find(|resident| resident.key == key).map(|own| own.standing);
    match own {
        Some(Standing::Leaving) => return wait(Wait::Slot, Vec::new()),
        // Nobody goes yet for the older one: whoever is next to go does.
        Some(Standing::Free) if behind && n_leaving == 0 => {
            let evict = least_recent(&places);
            return if evict.contains(key) { wait(Wait::Slot, evict) } else { go(evict) };
        }
        Some(Standing::Free | Standing::Busy) => return go(Vec::new()),
        Some(Standing::Down) | None => {}
    }
    match host.and_then(|host| places.get(&Place::Host(host))).map(|tenants| tenants.standing) {
        // Its process is going away, and the next one has to wait for that.
        Some(Standing::Leaving) => return wait(Wait::Slot, Vec::new()),
        // It moves in with others, and takes no place more.
        Some(_) => return go(Vec::new()),
        None => {}
    }
    if facts.memory.is_low() && !places.is_empty() {
        // Who goes for memory is for `relieve` to say: that needs to know how large they are.
        return wait(Wait::Memory, Vec::new());
    }
    if places.len() < facts.max_live && !behind {
        return go(Vec::new());
    }
    let all_at_work = n_leaving == 0 && free(&places).next().is_none();
    if claim.n_lent > 0 && all_at_work && places.len() < facts.max_live + claim.n_lent {
        return go(Vec::new());
    }
    // One goes for each who waits, and no more.
    let is_enough = n_leaving > facts.n_waiting;
    wait(Wait::Slot, if is_enough { Vec::new() } else { least_recent(&places) })
}

/// The decision as the one who asked hears it; `None` if there is a place.
pub fn refusal(facts: &Facts<'_>, decision: &Decision) -> Option<Refusal> {
    let Admission::Wait(wait) = decision.admission else { return None };
    let places = facts.places();
    let why = match wait {
        Wait::Memory => format!(
            "{} bytes of memory are available and pool.min_available is {}",
            facts.memory.available.unwrap_or_default(),
            facts.memory.min
        ),
        _ => {
            format!("{} agent sessions are live, and pool.max_live is {}", places.len(), facts.max_live)
        }
    };
    Some(Refusal::NoPlace { wait, coming: !decision.evict.is_empty() || n_leaving(&places) > 0, why })
}

/// Who is to go though nobody asks for a place: the largest of the idle while memory is low, one
/// process at a time.
pub fn relieve(facts: &Facts<'_>) -> Vec<AgentKey> {
    let places = facts.places();
    if facts.memory.is_low() && n_leaving(&places) == 0 { largest(&places) } else { Vec::new() }
}

/// Who is to go because there are more than allowed, as there may be while turns wait for others.
pub fn shed(facts: &Facts<'_>) -> Vec<AgentKey> {
    let places = facts.places();
    let is_over = places.len() - n_leaving(&places) > facts.max_live;
    if is_over { least_recent(&places) } else { Vec::new() }
}

/// Whether an agent session that is out of use for `idle` has been so for long enough to go. A
/// limit of zero is never.
pub fn is_expired(idle: Duration, idle_ttl: Duration, keep_warm: bool) -> bool {
    !keep_warm && !idle_ttl.is_zero() && idle >= idle_ttl
}

#[cfg(test)]
mod lent;
#[cfg(test)]
mod tests;
