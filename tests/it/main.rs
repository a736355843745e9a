//! Integration tests: the real programs, the real agents, one module for each theme.
//!
//! Nothing in here reaches into the product: it is driven over its control socket and its command
//! line, like anybody would.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]
#![expect(clippy::disallowed_methods, reason = "tests start programs and look again, the product does not")]
#![expect(clippy::result_large_err, reason = "an error is read once and shown whole")]

#[path = "../support/mod.rs"]
mod support;

mod arena;
mod bad_input;
mod bridge_acp;
mod bridge_mcp;
mod changes;
mod choose;
mod cli;
mod daemon_clients;
mod daemon_clock;
mod daemon_container;
mod daemon_crash;
mod daemon_descriptors;
mod daemon_owners;
mod daemon_parts;
mod daemon_place;
mod daemon_signals;
mod delegation;
mod demo;
mod faults;
mod filters;
mod git_environment;
mod health;
mod hooks;
mod known_agents;
mod ladder;
mod meant;
mod odd_json;
mod odd_paths;
mod oneshot;
mod orphan_branch;
mod places;
mod pool;
mod questions;
mod real;
mod retention;
mod running_faults;
mod scripted_model;
mod sources;
mod start_faults;
mod storage_full;
mod storage_start;
mod systemd;
mod turn_faults;
mod watchdog;
mod worktrees;
