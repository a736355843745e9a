//! The core of hob: what is true of chats, agents and tasks, whatever the world is made of.
//!
//! Read in this order: [`id`] and [`event`] for the vocabulary, [`ports`] for what the tree asks
//! of the world, then the policies and, last, the actors that carry them out.
//!
//! **Invariant:** nothing here names SQLite, git, a socket, a file, a process or an agent
//! protocol, and no policy reads a clock. `Cargo.toml`, `clippy.toml` and hob's tidy test enforce
//! it.

pub mod event;
pub mod id;
pub mod ports;
