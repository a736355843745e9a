//! What the tree asks of the machine that all of this runs on.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;

/// A process and everything below it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProcessTree {
    /// Resident memory of all of it, in bytes; what two processes share is counted twice.
    pub rss_bytes: u64,
    /// The same with what several processes share counted in parts (proportional set size).
    pub pss_bytes: u64,
    /// The processes below the agent's own, by pid.
    pub descendants: BTreeSet<u32>,
}

/// The machine that all of this runs on.
pub trait Machine: Send + Sync + 'static {
    /// Memory that could be had without swapping, in bytes (`MemAvailable`); `None` where the
    /// machine does not tell. Cheap.
    fn available_bytes(&self) -> Option<u64>;

    /// A number from 0 to 1, another each time: for waits that must not all end together.
    fn roll(&self) -> f64;

    /// Looks at the trees of agents, in one look; `None` for a process that is gone.
    fn trees(&self, pids: Vec<u32>) -> Pin<Box<dyn Future<Output = Vec<Option<ProcessTree>>> + Send>>;
}
