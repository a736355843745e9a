//! Integration tests: the real programs, the real agents, one module for each theme.
//!
//! Nothing in here reaches into the product: it is driven over its control socket and its command
//! line, like anybody would.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "../support/mod.rs"]
mod support;

mod bad_input;
mod cli;
mod daemon_crash;
mod demo;
mod faults;
mod real;
mod scripted_model;
mod sources;
