//! What is kept of each agent session's server process: how it is, and what went wrong before.
//!
//! What went wrong stays readable after a good restart, until the chat is closed.

use std::collections::BTreeMap;

use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::messages::{EndCause, HealthView, LastEnd, LastFailure, Patient};
use super::policy::Machine;
use crate::event::Exit;
use crate::id::{AgentKey, Generation};
use crate::ports::ProbeFailed;

/// Records of processes that are gone, and may come back, that are kept; the oldest go first.
const GONE_MAX: usize = 256;
/// The end of the complaints that a list shows of each process. All that is kept of them is in the
/// record of the exit.
const STDERR_SHOWN_BYTES: usize = 4 * 1024;

/// What is known of one agent session's server process.
pub(super) struct Record {
    pub(super) generation: Generation,
    /// The process, while there is one.
    pub(super) patient: Option<Patient>,
    pub(super) machine: Machine,
    /// A turn is in flight.
    pub(super) busy: bool,
    /// The pulse at the last look.
    beats: u64,
    /// The probe that waits for its moment, or for its answer.
    pub(super) probe: Option<AbortHandle>,
    last_failure: Option<LastFailure>,
    last_end: Option<LastEnd>,
    restarts: u64,
    touched: Instant,
}

impl Record {
    /// Of somebody who has no process yet.
    pub(super) fn new(machine: Machine, now: Instant) -> Self {
        Self {
            generation: Generation::default(),
            patient: None,
            machine,
            busy: false,
            beats: 0,
            probe: None,
            last_failure: None,
            last_end: None,
            restarts: 0,
            touched: now,
        }
    }

    /// A process is up.
    pub(super) fn begin(&mut self, patient: Patient, now: Instant) {
        self.generation = patient.generation;
        self.beats = patient.pulse.beats();
        self.patient = Some(patient);
        self.touched = now;
    }

    /// Whether it said something since the last look.
    pub(super) fn has_progressed(&mut self) -> bool {
        let beats = self.patient.as_ref().map_or(self.beats, |patient| patient.pulse.beats());
        std::mem::replace(&mut self.beats, beats) != beats
    }

    /// A probe failed.
    pub(super) fn failed(&mut self, failure: &ProbeFailed, at: Instant) {
        self.last_failure = Some(LastFailure { class: failure.class, message: failure.message.clone(), at });
    }

    /// The process is gone, nobody said how.
    pub(super) fn lose(&mut self, now: Instant) {
        if let Some(probe) = self.probe.take() {
            probe.abort();
        }
        self.patient = None;
        self.busy = false;
        self.touched = now;
    }

    /// The process is gone. An end on purpose hides nothing that went wrong before.
    pub(super) fn end(&mut self, cause: EndCause, exit: Option<Exit>, why: String, now: Instant) {
        self.lose(now);
        if cause == EndCause::Ill {
            self.restarts += 1;
        }
        if cause != EndCause::Ordered {
            self.last_end = Some(LastEnd { cause, exit, why, at: now });
        }
    }

    fn view(&self, key: &AgentKey) -> HealthView {
        let agent = self.patient.as_ref().and_then(|patient| patient.agent.upgrade());
        let complaints = agent.map(|agent| agent.stderr_tail()).filter(|text| !text.is_empty());
        let exit = self.last_end.as_ref().and_then(|end| end.exit.as_ref());
        let complaints = complaints.or_else(|| exit.map(|exit| exit.stderr_tail.clone())).unwrap_or_default();
        HealthView {
            key: key.clone(),
            generation: self.generation,
            pid: self.patient.as_ref().and_then(|patient| patient.pid),
            state: self.machine.state(),
            since: self.machine.since(),
            failures: self.machine.failures(),
            last_failure: self.last_failure.clone(),
            restarts: self.restarts,
            last_end: self.last_end.clone(),
            stderr_tail: shown(&complaints).to_owned(),
        }
    }
}

/// The end of complaints, as long as a list shows it.
pub fn shown(complaints: &str) -> &str {
    last_bytes(complaints, STDERR_SHOWN_BYTES)
}

/// The end of a text, from a whole line if there is one.
fn last_bytes(text: &str, max: usize) -> &str {
    let Some(mut from) = text.len().checked_sub(max).filter(|from| *from > 0) else { return text };
    while !text.is_char_boundary(from) {
        from += 1;
    }
    let cut = &text[from..];
    match cut.split_once('\n') {
        Some((_, rest)) if !rest.is_empty() => rest,
        _ => cut,
    }
}

/// Those who live in the same process as `key`, itself included; nobody if it has none.
pub(super) fn tenants(records: &BTreeMap<AgentKey, Record>, key: &AgentKey) -> Vec<AgentKey> {
    let process = |record: &Record| {
        let patient = record.patient.as_ref()?;
        Some((patient.host.clone()?, patient.pid))
    };
    let Some(own) = records.get(key).filter(|record| record.patient.is_some()) else { return Vec::new() };
    match process(own) {
        None => vec![key.clone()],
        shared => {
            let lives_there = |(_, record): &(&AgentKey, &Record)| process(record) == shared;
            records.iter().filter(lives_there).map(|(key, _)| key.clone()).collect()
        }
    }
}

/// How everybody is.
pub(super) fn views(records: &BTreeMap<AgentKey, Record>) -> Vec<HealthView> {
    records.iter().map(|(key, record)| record.view(key)).collect()
}

/// Forgets those who have been gone for the longest, beyond what is kept.
pub(super) fn forget_oldest(records: &mut BTreeMap<AgentKey, Record>) {
    let gone = |(_, record): &(&AgentKey, &Record)| record.patient.is_none();
    while records.iter().filter(gone).count() > GONE_MAX {
        let oldest = records.iter().filter(gone).min_by_key(|(_, record)| record.touched);
        let Some(key) = oldest.map(|(key, _)| key.clone()) else { return };
        records.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_text_begins_with_a_whole_line_or_letter() {
        let cases = [("", ""), ("short", "short"), ("one\ntwo\nthree", "three"), ("0123456789", "23456789")];
        for (text, end) in cases {
            assert_eq!(last_bytes(text, 8), end);
        }
        assert_eq!(last_bytes("aäääää", 8), "ääää");
        assert_eq!(last_bytes("aääää\n", 6), "ää\n");
    }

    #[test]
    fn only_so_many_of_the_gone_are_kept_and_the_newest_of_them() {
        let start = Instant::now();
        let mut records = BTreeMap::new();
        for n in 0..GONE_MAX as u64 + 10 {
            let at = start + std::time::Duration::from_secs(n);
            records.insert(
                AgentKey::new(format!("c-{n}").as_str(), "demo"),
                Record::new(Machine::new(false, at), at),
            );
            forget_oldest(&mut records);
        }
        assert_eq!(records.len(), GONE_MAX);
        assert!(!records.contains_key(&AgentKey::new("c-9", "demo")));
        assert!(records.contains_key(&AgentKey::new("c-10", "demo")));
    }
}
