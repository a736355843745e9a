//! Decides who may live, and who goes for it; performs nothing.
//!
//! An eviction that is decided here is a request: the session actor judges it again at the moment
//! of release.

use std::time::Duration;

use crate::event::Wait;
use crate::id::AgentKey;

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
    /// Who is to be let go.
    pub evict: Option<AgentKey>,
}

impl Facts<'_> {
    fn taken(&self) -> impl Iterator<Item = &Resident<'_>> {
        self.residents.iter().filter(|resident| resident.standing != Standing::Down)
    }

    fn n_leaving(&self) -> usize {
        self.residents.iter().filter(|resident| resident.standing == Standing::Leaving).count()
    }

    fn free(&self) -> impl Iterator<Item = &Resident<'_>> {
        self.residents.iter().filter(|resident| resident.standing == Standing::Free)
    }

    /// The least recently used one that has nothing to do.
    fn least_recent(&self) -> Option<AgentKey> {
        self.free().min_by_key(|resident| resident.used).map(|resident| resident.key.clone())
    }

    /// The largest one that has nothing to do; where sizes are not known, the least recently used.
    fn largest(&self) -> Option<AgentKey> {
        self.free()
            .max_by_key(|resident| (resident.bytes, std::cmp::Reverse(resident.used)))
            .map(|resident| resident.key.clone())
    }
}

/// Whether `key` may start a backend, or has one. `behind`: somebody older waits for a place, so
/// this one takes none before it, and gives its own up if it is the one to go.
pub fn admit(facts: &Facts<'_>, key: &AgentKey, behind: bool) -> Decision {
    let go = |evict| Decision { admission: Admission::Go, evict };
    let wait = |wait, evict| Decision { admission: Admission::Wait(wait), evict };
    let own = facts.residents.iter().find(|resident| resident.key == key).map(|own| own.standing);
    match own {
        Some(Standing::Leaving) => return wait(Wait::Slot, None),
        // Nobody goes yet for the older one: whoever is next to go does.
        Some(Standing::Free) if behind && facts.n_leaving() == 0 => {
            let evict = facts.least_recent();
            return if evict.as_ref() == Some(key) { wait(Wait::Slot, evict) } else { go(evict) };
        }
        Some(Standing::Free | Standing::Busy) => return go(None),
        Some(Standing::Down) | None => {}
    }
    let n_taken = facts.taken().count();
    if facts.memory.is_low() && n_taken > 0 {
        // Who goes for memory is for `relieve` to say: that needs to know how large they are.
        return wait(Wait::Memory, None);
    }
    if n_taken < facts.max_live && !behind {
        return go(None);
    }
    // One goes for each who waits, and no more.
    let is_enough = facts.n_leaving() > facts.n_waiting;
    wait(Wait::Slot, if is_enough { None } else { facts.least_recent() })
}

/// The decision as the one who asked hears it; `None` if there is a place.
pub fn refusal(facts: &Facts<'_>, decision: &Decision) -> Option<Refusal> {
    let Admission::Wait(wait) = decision.admission else { return None };
    let why = match wait {
        Wait::Memory => format!(
            "{} bytes of memory are available and pool.min_available is {}",
            facts.memory.available.unwrap_or_default(),
            facts.memory.min
        ),
        _ => {
            let n_taken = facts.taken().count();
            format!("{n_taken} agent sessions are live, and pool.max_live is {}", facts.max_live)
        }
    };
    Some(Refusal::NoPlace { wait, coming: decision.evict.is_some() || facts.n_leaving() > 0, why })
}

/// Who is to go though nobody asks for a place: the largest of the idle while memory is low, one at
/// a time.
pub fn relieve(facts: &Facts<'_>) -> Option<AgentKey> {
    if facts.memory.is_low() && facts.n_leaving() == 0 { facts.largest() } else { None }
}

/// Whether an agent session that is out of use for `idle` has been so for long enough to go. A
/// limit of zero is never.
pub fn is_expired(idle: Duration, idle_ttl: Duration, keep_warm: bool) -> bool {
    !keep_warm && !idle_ttl.is_zero() && idle >= idle_ttl
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use Standing::{Busy, Down, Free, Leaving};

    fn key(n: usize) -> AgentKey {
        AgentKey::new(format!("c-{n}").as_str(), "demo")
    }

    /// Residents `c-0`, `c-1`, … used in that order; the later ones are larger.
    fn facts<'a>(keys: &'a [AgentKey], standings: &[Standing], max_live: usize) -> Facts<'a> {
        let residents = standings.iter().enumerate().map(|(n, standing)| Resident {
            key: &keys[n],
            standing: *standing,
            used: n as u64,
            idle: Duration::ZERO,
            bytes: Some(n as u64),
        });
        Facts { residents: residents.collect(), max_live, memory: Memory::default(), n_waiting: 0 }
    }

    const LOW: Memory = Memory { available: Some(1), min: 2 };

    #[test]
    fn the_table() {
        let keys: Vec<_> = (0..9).map(key).collect();
        let slot = Admission::Wait(Wait::Slot);
        let memory = Admission::Wait(Wait::Memory);
        // name, standings of c-0…, max, who asks, behind, memory is low, admission, evicted
        type Case<'a> = (&'a str, &'a [Standing], usize, usize, bool, bool, Admission, Option<usize>);
        let cases: [Case<'_>; 19] = [
            ("an empty pool", &[], 1, 0, false, false, Admission::Go, None),
            ("room left", &[Busy, Free], 3, 8, false, false, Admission::Go, None),
            ("who has no process takes no place", &[Down, Down], 1, 8, false, false, Admission::Go, None),
            (
                "a full pool lets the least recent go",
                &[Busy, Free, Free],
                3,
                8,
                false,
                false,
                slot.clone(),
                Some(1),
            ),
            ("all busy", &[Busy, Busy], 2, 8, false, false, slot.clone(), None),
            ("one that leaves is enough for one", &[Leaving, Free], 2, 8, false, false, slot.clone(), None),
            ("who lives goes on", &[Free, Busy], 2, 0, false, false, Admission::Go, None),
            ("who is busy goes on", &[Busy, Busy], 1, 0, false, false, Admission::Go, None),
            ("who is down needs a place", &[Down, Busy], 1, 0, false, false, slot.clone(), None),
            ("who leaves waits until it is gone", &[Leaving], 9, 0, false, false, slot.clone(), None),
            ("nobody new goes before an older one", &[Busy], 9, 8, true, false, slot.clone(), None),
            (
                "who is free gives way to an older one",
                &[Free, Busy],
                2,
                0,
                true,
                false,
                slot.clone(),
                Some(0),
            ),
            ("unless another goes first", &[Free, Free], 2, 1, true, false, Admission::Go, Some(0)),
            ("or goes already", &[Free, Leaving], 2, 0, true, false, Admission::Go, None),
            ("who is busy does not give way", &[Busy, Busy], 2, 0, true, false, Admission::Go, None),
            ("low memory starts nobody", &[Free, Free], 9, 8, false, true, memory.clone(), None),
            ("never refused when nothing is live", &[Down], 9, 8, false, true, Admission::Go, None),
            ("low memory and all busy", &[Busy], 9, 8, false, true, memory, None),
            ("who lives works on though memory is low", &[Free], 9, 0, false, true, Admission::Go, None),
        ];
        for (name, standings, max_live, asked, behind, low, admission, evict) in cases {
            let mut facts = facts(&keys, standings, max_live);
            if low {
                facts.memory = LOW;
            }
            let expected = Decision { admission, evict: evict.map(|n| keys[n].clone()) };
            assert_eq!(admit(&facts, &keys[asked], behind), expected, "{name}");
        }
    }

    #[test]
    fn a_second_who_waits_is_worth_a_second_eviction() {
        let keys: Vec<_> = (0..9).map(key).collect();
        let mut facts = facts(&keys, &[Leaving, Free], 2);
        assert_eq!(admit(&facts, &keys[8], false).evict, None);
        facts.n_waiting = 1;
        assert_eq!(admit(&facts, &keys[8], false).evict, Some(key(1)));
    }

    #[test]
    fn only_low_memory_needs_relief() {
        let keys: Vec<_> = (0..3).map(key).collect();
        let mut facts = facts(&keys, &[Free, Busy, Free], 9);
        assert_eq!(relieve(&facts), None);
        facts.memory = LOW;
        assert_eq!(relieve(&facts), Some(key(2)));
        facts.residents[0].standing = Leaving;
        assert_eq!(relieve(&facts), None, "one at a time");
        facts.memory.available = None;
        assert_eq!(relieve(&facts), None, "unknown is not low");
    }

    #[test]
    fn idle_long_enough_is_expired() {
        let secs = Duration::from_secs;
        let cases = [
            ("not yet", 59, 60, false, false),
            ("at the limit", 60, 60, false, true),
            ("zero is never", 1 << 30, 0, false, false),
            ("kept warm", 1 << 30, 60, true, false),
        ];
        for (name, idle, ttl, keep_warm, expired) in cases {
            assert_eq!(is_expired(secs(idle), secs(ttl), keep_warm), expired, "{name}");
        }
    }

    fn standing() -> impl Strategy<Value = Standing> {
        prop_oneof![Just(Down), Just(Free), Just(Busy), Just(Leaving)]
    }

    proptest! {
        #[test]
        fn only_the_free_are_ever_asked_to_go_and_the_cap_holds(
            standings in prop::collection::vec(standing(), 0..9),
            max_live in 1usize..6,
            asked in 0usize..9,
            behind in any::<bool>(),
            low in any::<bool>(),
            n_waiting in 0usize..4,
        ) {
            let keys: Vec<_> = (0..9).map(key).collect();
            let mut facts = facts(&keys, &standings, max_live);
            facts.n_waiting = n_waiting;
            if low {
                facts.memory = LOW;
            }
            let decision = admit(&facts, &keys[asked], behind);
            if let Some(evicted) = &decision.evict {
                let own = facts.residents.iter().find(|resident| resident.key == evicted).expect("known");
                prop_assert_eq!(own.standing, Free);
                prop_assert!(evicted != &keys[asked] || decision.admission != Admission::Go);
            }
            let lives = standings.get(asked).is_some_and(|own| matches!(own, Free | Busy));
            let n_taken = standings.iter().filter(|own| **own != Down).count();
            if decision.admission == Admission::Go && !lives {
                prop_assert!(n_taken < max_live, "over the cap");
                prop_assert!(!behind, "before an older one");
                prop_assert!(!low || n_taken == 0, "with too little memory");
            }
        }
    }
}
