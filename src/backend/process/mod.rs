//! Owns processes: no process of an agent outlives the daemon's will, whatever the agent or the
//! daemon does.
//!
//! One *keeper* per agent (a small process of this same program, see `keeper`) holds the agent's
//! tree; a *mark* on every process of the tree finds what a lost keeper left; a *ledger* in the
//! store knows every start before it happens. [`Spawner`] starts and sweeps, [`Process`] and
//! [`ProcessHandle`] are what the rest of the daemon holds.
//!
//! **Invariant:** nothing else in hob starts a program that an agent's work depends on, and nothing
//! outside of here signals a process. Nothing here knows a protocol of agents, SQL or a session.
//!
//! Reading order: `mark`, `kin`, `talk`, `keeper`, `spawner`, `supervise`, `sweep`.

mod cgroup;
pub mod descriptors;
mod environment;
mod error;
mod ground;
mod handle;
mod inside;
mod keeper;
mod kin;
mod leader;
mod ledger;
pub mod mark;
mod memory;
mod procfs;
mod spawner;
mod store_ledger;
mod supervise;
mod sweep;
mod talk;

pub use environment::agent_environment;
pub use error::SpawnError;
pub(crate) use ground::{mounted_elsewhere, unescaped};
pub use handle::{Process, ProcessHandle, RawExit, SpawnRequest};
pub use inside::{Inside, Occupant, inside};
pub use keeper::keeper_main;
pub use kin::{Kin, Kinship};
pub use leader::Leader;
pub use ledger::{Ledger, LedgerError, MemoryLedger, NewAttempt, ProcessRow, Written};
pub use memory::{ThisMachine, trees_of};
pub use procfs::{boot_id, has_ended};
pub use spawner::{KeeperProgram, Spawner, SpawnerOptions};
pub use store_ledger::StoreLedger;
pub use sweep::{Found, SweepReport};
