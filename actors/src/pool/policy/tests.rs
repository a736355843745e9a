//! The table of admissions, and that no history breaks the cap.

use proptest::prelude::*;

use super::*;
use Standing::{Busy, Down, Free, Leaving};

pub(super) fn key(n: usize) -> AgentKey {
    AgentKey::new(format!("c-{n}").as_str(), "demo")
}

/// Residents `c-0`, `c-1`, … used in that order; the later ones are larger.
pub(super) fn facts<'a>(keys: &'a [AgentKey], standings: &[Standing], max_live: usize) -> Facts<'a> {
    let residents = standings.iter().enumerate().map(|(n, standing)| Resident {
        key: &keys[n],
        host: None,
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
        ("who is free gives way to an older one", &[Free, Busy], 2, 0, true, false, slot.clone(), Some(0)),
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
        let expected = Decision { admission, evict: evict.map(|n| keys[n].clone()).into_iter().collect() };
        let claim = Claim { behind, n_lent: 0 };
        assert_eq!(admit(&facts, &keys[asked], None, claim), expected, "{name}");
    }
}

#[test]
fn a_second_who_waits_is_worth_a_second_eviction() {
    let keys: Vec<_> = (0..9).map(key).collect();
    let mut facts = facts(&keys, &[Leaving, Free], 2);
    assert_eq!(admit(&facts, &keys[8], None, Claim::default()).evict, []);
    facts.n_waiting = 1;
    assert_eq!(admit(&facts, &keys[8], None, Claim::default()).evict, [key(1)]);
}

#[test]
fn only_low_memory_needs_relief() {
    let keys: Vec<_> = (0..3).map(key).collect();
    let mut facts = facts(&keys, &[Free, Busy, Free], 9);
    assert_eq!(relieve(&facts), []);
    facts.memory = LOW;
    assert_eq!(relieve(&facts), [key(2)]);
    facts.residents[0].standing = Leaving;
    assert_eq!(relieve(&facts), [], "one at a time");
    facts.memory.available = None;
    assert_eq!(relieve(&facts), [], "unknown is not low");
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
        n_lent in 0usize..3,
    ) {
        let keys: Vec<_> = (0..9).map(key).collect();
        let mut facts = facts(&keys, &standings, max_live);
        facts.n_waiting = n_waiting;
        if low {
            facts.memory = LOW;
        }
        let decision = admit(&facts, &keys[asked], None, Claim { behind, n_lent });
        for evicted in &decision.evict {
            let own = facts.residents.iter().find(|resident| resident.key == evicted).expect("known");
            prop_assert_eq!(own.standing, Free);
            prop_assert!(evicted != &keys[asked] || decision.admission != Admission::Go);
        }
        let lives = standings.get(asked).is_some_and(|own| matches!(own, Free | Busy));
        let n_taken = standings.iter().filter(|own| **own != Down).count();
        if decision.admission == Admission::Go && !lives {
            prop_assert!(n_taken < max_live + n_lent, "over the cap");
            prop_assert!(!behind || n_lent > 0, "before an older one");
            prop_assert!(!low || n_taken == 0, "with too little memory");
        }
    }
}

fn host() -> HostId {
    HostId::from("opencode")
}

#[test]
fn those_who_share_a_process_take_one_place_and_go_together() {
    let keys: Vec<_> = (0..9).map(key).collect();
    let slot = Admission::Wait(Wait::Slot);
    // name, standings, the first who do not share, max, who asks and shares, admission, evicted
    type Case<'a> = (&'a str, &'a [Standing], usize, usize, bool, Admission, &'a [usize]);
    let cases: [Case<'_>; 7] = [
        ("one more moves in though the pool is full", &[Free, Free], 2, 1, true, Admission::Go, &[]),
        ("also while the process starts", &[Busy], 1, 1, true, Admission::Go, &[]),
        ("who does not share waits, and all of them go", &[Free, Free], 2, 1, false, slot.clone(), &[0, 1]),
        ("not while one of them is at work", &[Free, Busy], 2, 1, false, slot.clone(), &[]),
        ("three in one process leave room", &[Free, Busy, Free], 3, 2, false, Admission::Go, &[]),
        ("who used it last protects the others", &[Free, Free, Free], 1, 2, false, slot.clone(), &[1]),
        ("a process that goes away takes nobody in", &[Leaving, Leaving], 2, 2, true, slot.clone(), &[]),
    ];
    for (name, standings, n_sharing, max_live, shares, admission, evict) in cases {
        let mut facts = facts(&keys, standings, max_live);
        // The first of them is used last, and the others after those who are alone.
        facts.residents[0].used = 100;
        for resident in facts.residents.iter_mut().take(n_sharing) {
            resident.host = Some(host());
        }
        if n_sharing == 1 && standings.len() == 3 {
            facts.residents[2].used = 50;
        }
        let asked = host();
        let decision = admit(&facts, &keys[8], shares.then_some(&asked), Claim::default());
        let evict = evict.iter().map(|n| keys[*n].clone()).collect();
        assert_eq!(decision, Decision { admission, evict }, "{name}");
    }
}
