//! How the pool lets backends go: for somebody who waits, for being idle, for memory.
//!
//! Each eviction is asked of the session actor, which judges it again.

use ractor::{ActorId, ActorRef};
use tokio::time::Instant;

use super::actor::Kept;
use super::messages::PoolMsg;
use super::policy::{self, Facts, Memory, Resident, Standing};
use crate::dispatch::actor::DispatchMsg;
use crate::id::{AgentKey, HostId};
use crate::links::{request, tell};
use crate::session::actor::{EvictRequest, SessionMsg, Wish};

/// Between two looks at who is idle and at the memory that is left.
const TICK: std::time::Duration = std::time::Duration::from_secs(1);

impl Kept {
    /// What the policies need to know.
    pub(super) fn facts(&self, now: Instant) -> Facts<'_> {
        let audience = &self.ports.audience;
        let residents = self.entries.iter().map(|(key, entry)| Resident {
            key,
            host: entry.host(|| self.host_of(key)),
            standing: entry.standing(audience.pinned(key), now),
            used: entry.used,
            idle: now.duration_since(entry.used_at),
            bytes: entry.bytes,
        });
        let limits = self.ports.settings.limits();
        Facts {
            residents: residents.collect(),
            max_live: limits.max_live,
            memory: Memory { available: self.ports.machine.available_bytes(), min: limits.min_available },
            n_waiting: self.waiting.len(),
        }
    }

    /// The process that an agent session would share, by the configuration.
    pub(super) fn host_of(&self, key: &AgentKey) -> Option<HostId> {
        self.ports.settings.agent(&key.agent).host
    }

    /// Asks an agent session to let its backend go.
    pub(super) fn ask_to_go(&mut self, me: &ActorRef<PoolMsg>, key: &AgentKey, why: String) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let Some(actor) = entry.actor.clone() else { return };
        entry.ask_to_go();
        let (key, me) = (key.clone(), me.clone());
        self.effects.spawn(async move {
            let asked = crate::links::ask_actor(
                "session",
                &actor,
                |judged| {
                    SessionMsg::Wish(Wish::Evict(EvictRequest { force: false, why, judged, gone: None }))
                },
                crate::links::CALL_TIMEOUT,
            );
            let willing = matches!(asked.await, Ok(Ok(())));
            me.cast(PoolMsg::Judged(key, actor.get_id(), willing)).ok();
        });
    }

    /// The session actor said whether it goes.
    pub(super) fn judged(&mut self, key: &AgentKey, actor: ActorId, willing: bool) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if willing || entry.actor.as_ref().is_none_or(|own| own.get_id() != actor) {
            return;
        }
        entry.stays(Instant::now());
        // It was to make room: somebody else may.
        self.retry_waiting();
    }

    /// Whoever waits for a place asks again.
    pub(super) fn place_freed(&mut self) {
        self.waiting.clear();
        self.waits_for_memory = false;
        tell(&self.links.dispatcher, DispatchMsg::PlaceFreed);
    }

    /// The same, where anybody waits.
    pub(super) fn retry_waiting(&mut self) {
        if !self.waiting.is_empty() {
            self.place_freed();
        }
    }

    /// Looks again in a while, as long as there is anything to look at.
    pub(super) fn keep_ticking(&mut self, me: &ActorRef<PoolMsg>) {
        if self.is_ticking || self.stopping || (self.entries.is_empty() && !self.waits_for_memory) {
            return;
        }
        self.is_ticking = true;
        let me = me.clone();
        self.effects.spawn(async move {
            tokio::time::sleep(TICK).await;
            me.cast(PoolMsg::Tick).ok();
        });
    }

    /// Looks at who is idle, at the memory that is left, and at who still waits.
    pub(super) fn tick(&mut self, me: &ActorRef<PoolMsg>) {
        self.is_ticking = false;
        if self.stopping {
            return;
        }
        let facts = self.facts(Instant::now());
        let expired = self.expired(&facts);
        let has_free = facts.residents.iter().any(|resident| resident.standing == Standing::Free);
        let is_low = facts.memory.is_low();
        for key in policy::shed(&facts) {
            self.ask_to_go(me, &key, "more are live than pool.max_live".to_owned());
        }
        if !expired.is_empty() {
            self.check_queue(me, expired);
        }
        if is_low && has_free {
            self.weigh(me);
        } else if !is_low && self.waits_for_memory {
            self.place_freed();
        }
        if has_free {
            // A pin that ended, a task that never came: nobody told of those.
            self.retry_waiting();
        }
    }

    fn expired(&self, facts: &Facts<'_>) -> Vec<AgentKey> {
        let is_expired = |resident: &&Resident<'_>| {
            let settings = self.ports.settings.agent(&resident.key.agent);
            let is_out_of_use = match resident.standing {
                Standing::Free => true,
                // Nothing but an actor that remembers a failure which is over.
                Standing::Down => self.is_quiet(resident.key),
                Standing::Busy | Standing::Leaving => false,
            };
            is_out_of_use && policy::is_expired(resident.idle, settings.idle_ttl, settings.keep_warm)
        };
        facts.residents.iter().filter(is_expired).map(|resident| resident.key.clone()).collect()
    }

    fn is_quiet(&self, key: &AgentKey) -> bool {
        let view = self.entries.get(key).and_then(|entry| entry.view.as_ref());
        view.is_some_and(|view| view.retry_at.is_none())
    }

    /// What has something queued is not idle: asks who has.
    fn check_queue(&mut self, me: &ActorRef<PoolMsg>, mut expired: Vec<AgentKey>) {
        let (asked, me) = (request("dispatcher", &self.links.dispatcher, DispatchMsg::Wanted), me.clone());
        self.effects.spawn(async move {
            // Without an answer nobody goes: there is another tick.
            let Ok(wanted) = asked.await else { return };
            expired.retain(|key| !wanted.contains(key));
            me.cast(PoolMsg::Expired(expired)).ok();
        });
    }

    /// Lets those go that were idle for too long.
    pub(super) fn let_expired_go(&mut self, me: &ActorRef<PoolMsg>, expired: &[AgentKey]) {
        // Judged again: a prompt may have come meanwhile.
        let still = self.expired(&self.facts(Instant::now()));
        for key in expired.iter().filter(|key| still.contains(key)) {
            let ttl = self.ports.settings.agent(&key.agent).idle_ttl;
            self.ask_to_go(me, key, format!("idle for {} s", ttl.as_secs_f64()));
        }
    }

    /// Looks how large those are who could go for memory.
    pub(super) fn weigh(&mut self, me: &ActorRef<PoolMsg>) {
        let pids: Vec<_> = self
            .entries
            .iter()
            .filter_map(|(key, entry)| Some((key.clone(), entry.view.as_ref()?.pid?)))
            .collect();
        let (machine, me) = (self.ports.machine.clone(), me.clone());
        self.effects.spawn(async move {
            let trees = machine.trees(pids.iter().map(|(_, pid)| *pid).collect()).await;
            let bytes = trees.into_iter().map(|tree| tree.map(|tree| tree.pss_bytes));
            me.cast(PoolMsg::Weighed(pids.into_iter().map(|(key, _)| key).zip(bytes).collect())).ok();
        });
    }

    /// Lets the largest go, if memory is still low.
    pub(super) fn weighed(&mut self, me: &ActorRef<PoolMsg>, weights: Vec<(AgentKey, Option<u64>)>) {
        for (key, bytes) in weights {
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.bytes = bytes;
            }
        }
        for key in policy::relieve(&self.facts(Instant::now())) {
            self.ask_to_go(me, &key, "memory is low".to_owned());
        }
    }
}
