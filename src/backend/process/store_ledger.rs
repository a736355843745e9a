//! The store as the ledger of processes. Translates; decides nothing.

use std::future::Future;

use super::ledger::{Ledger, NewAttempt, ProcessRow, Written};
use crate::store::{self, Store, StoreError};

/// The store's calls are in line when they return, so the future only waits.
fn written<T: Send + 'static>(
    reply: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Written<T> {
    Box::pin(async move { Ok(reply.await?) })
}

/// Keeps the ledger in the store.
#[derive(Clone)]
pub struct StoreLedger(Store);

impl StoreLedger {
    /// The ledger of a store.
    pub fn new(store: Store) -> Self {
        Self(store)
    }
}

impl Ledger for StoreLedger {
    fn installation(&self) -> Written<u32> {
        written(self.0.installation())
    }

    fn attempt(&self, attempt: NewAttempt) -> Written<u32> {
        let NewAttempt { label, agent, chat } = attempt;
        written(self.0.process_attempt(store::NewAttempt { label, agent, chat }))
    }

    fn spawned(&self, attempt: u32, pid: u32, start_time: u64, boot_id: String) -> Written<()> {
        written(self.0.process_spawned(attempt, pid, start_time, &boot_id))
    }

    fn agent(&self, attempt: u32, pid: u32, start_time: u64) -> Written<()> {
        written(self.0.process_agent(attempt, pid, start_time))
    }

    fn ended(&self, attempt: u32, detail: String) -> Written<()> {
        written(self.0.process_ended(attempt, &detail))
    }

    fn open(&self) -> Written<Vec<ProcessRow>> {
        let rows = self.0.open_processes();
        Box::pin(async move { Ok(rows.await?.into_iter().map(ProcessRow::from).collect()) })
    }
}

impl From<store::ProcessRow> for ProcessRow {
    fn from(row: store::ProcessRow) -> Self {
        let store::ProcessRow { attempt, label, pid, start_time, boot_id, agent_pid, agent_start_time } = row;
        Self { attempt, pid, start_time, boot_id, agent_pid, agent_start_time, label }
    }
}
