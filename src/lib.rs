//! hob plugs the world into its core: store, worktrees, agents, control socket, command line.
//!
//! The core is the package `hob-actors`. The only place where all parts meet is [`daemon`].

#[macro_use]
mod crash;

pub mod arena;
pub mod backend;
pub mod bridge;
pub mod cli;
pub mod config;
pub mod control;
pub mod daemon;
pub mod jsonrpc;
mod legible;
mod path_text;
pub mod paths;
pub mod pending;
mod regular;
pub mod retire;
pub mod store;
mod sync;
pub mod sys;
pub mod trust;
pub mod worktree;
