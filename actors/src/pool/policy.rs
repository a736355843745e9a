//! Decides who may live; performs nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::AgentKey;

/// Why a start is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// `pool.max_live` backends are alive.
    #[error("{live} agent sessions are live and pool.max_live is {max}")]
    Overloaded {
        /// Live or promised ones.
        live: usize,
        /// The limit.
        max: usize,
    },
    /// Its actor failed too often.
    #[error("the supervisor of this agent session failed {0}; it is left alone for a while")]
    FailedTooOften(String),
    /// The daemon is stopping.
    #[error("the daemon is stopping")]
    Stopping,
}

/// What the pool knows of everybody who has a backend, or was promised one.
#[derive(Debug, Default)]
pub struct Facts<'a> {
    /// Keys with a backend that may be alive.
    pub live: BTreeSet<&'a AgentKey>,
    /// Keys that were promised one and have not started.
    pub promised: BTreeSet<&'a AgentKey>,
    /// `pool.max_live`.
    pub max_live: usize,
}

/// Whether `key` may start a backend, or already has one.
pub fn admit(facts: &Facts<'_>, key: &AgentKey) -> Result<(), Refusal> {
    if facts.live.contains(key) || facts.promised.contains(key) {
        return Ok(());
    }
    let taken = facts.live.union(&facts.promised).count();
    if taken >= facts.max_live {
        return Err(Refusal::Overloaded { live: taken, max: facts.max_live });
    }
    Ok(())
}

/// The least recently used order: who was used when, by a counter.
#[derive(Debug, Default)]
pub struct Lru {
    clock: u64,
    used: BTreeMap<AgentKey, u64>,
}

impl Lru {
    /// `key` was used now.
    pub fn touch(&mut self, key: &AgentKey) {
        self.clock += 1;
        self.used.insert(key.clone(), self.clock);
    }

    /// `key` is gone.
    pub fn forget(&mut self, key: &AgentKey) {
        self.used.remove(key);
    }

    /// Everybody, the least recently used first.
    pub fn order(&self) -> Vec<AgentKey> {
        let mut keys: Vec<_> = self.used.iter().collect();
        keys.sort_by_key(|(_, at)| **at);
        keys.into_iter().map(|(key, _)| key.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(n: u8) -> AgentKey {
        AgentKey::new(format!("c-{n}").as_str(), "demo")
    }

    #[test]
    fn the_table() {
        let keys: Vec<_> = (0..5).map(key).collect();
        // name, live, promised, max, asked, admitted
        type Case = (&'static str, &'static [usize], &'static [usize], usize, usize, bool);
        let cases: [Case; 6] = [
            ("an empty pool", &[], &[], 1, 0, true),
            ("room left", &[1, 2], &[3], 4, 0, true),
            ("a full pool", &[1, 2], &[], 2, 0, false),
            ("promises count", &[1], &[2], 2, 0, false),
            ("who lives is never refused", &[0, 1], &[], 2, 0, true),
            ("who was promised is not counted twice", &[1], &[0, 1], 2, 0, true),
        ];
        for (name, live, promised, max_live, asked, admitted) in cases {
            let facts = Facts {
                live: live.iter().map(|n| &keys[*n]).collect(),
                promised: promised.iter().map(|n| &keys[*n]).collect(),
                max_live,
            };
            assert_eq!(admit(&facts, &keys[asked]).is_ok(), admitted, "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_history_of_admissions_exceeds_the_cap(asks in prop::collection::vec((0u8..12, any::<bool>()), 1..60), max_live in 1usize..6) {
            let keys: Vec<_> = (0..12).map(key).collect();
            let mut live = BTreeSet::new();
            for (n, goes) in asks {
                let asked = &keys[usize::from(n)];
                if goes {
                    live.remove(asked);
                    continue;
                }
                let facts = Facts { live: live.clone(), promised: BTreeSet::new(), max_live };
                if admit(&facts, asked).is_ok() {
                    live.insert(asked);
                }
                prop_assert!(live.len() <= max_live);
            }
        }

        #[test]
        fn the_last_touched_is_last(touches in prop::collection::vec(0u8..6, 1..40)) {
            let mut lru = Lru::default();
            for n in &touches {
                lru.touch(&key(*n));
            }
            let mut expected = Vec::new();
            for n in touches.iter().rev() {
                if !expected.contains(&key(*n)) {
                    expected.push(key(*n));
                }
            }
            expected.reverse();
            prop_assert_eq!(lru.order(), expected);
        }
    }
}
