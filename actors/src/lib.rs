//! The core of hob: what is true of chats, agents and tasks, whatever the world is made of.
//!
//! Read in this order: [`id`] and [`event`] for the vocabulary, [`ports`] for what the tree asks
//! of the world, [`session::lifecycle`] and the other policies, and last the actors that carry
//! them out, from [`root`] downwards. [`tree`] is the door for everybody outside.
//!
//! **Invariant:** nothing here names SQLite, git, a socket, a file, a process or an agent
//! protocol, and no policy reads a clock. `Cargo.toml`, `clippy.toml` and hob's tidy test enforce
//! it.

mod backend_ports;
pub mod backoff;
pub mod dispatch;
pub mod event;
#[cfg(feature = "fake")]
pub mod fake;
pub mod health;
pub mod id;
pub mod links;
pub mod machine;
pub mod mutant;
mod persist;
pub mod pool;
mod port_error;
pub mod ports;
mod probe;
pub mod reaper;
pub mod restart;
pub mod root;
pub mod session;
pub mod sessions;
pub mod settings;
pub mod states;
pub mod tree;
mod words;
pub mod worktree;
mod worktree_ports;
