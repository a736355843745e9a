//! What the integration tests are written with; no test is in here.
//!
//! - [`home`]: a private home and the `hob` command line in it; [`daemon`]: the real `hobd` in it.
//! - [`client`]: a control socket client of our own, so that bad input can be sent too.
//! - [`model`]: the scripted model server that real agents talk to.
//! - [`agents`]: the real agents, pinned, and how each is started against that server.
//! - [`editor`]: a client of `hob acp`, of our own for the same reason.
//! - [`fault`]: the agent that misbehaves on demand.
//! - [`stage`]: that one beside a good one.
//! - [`ends`]: what must hold of every home at its end.
//! - [`machine`]: another clock, another disk below the daemon.
//! - [`mcp`]: the official client of the Model Context Protocol.
//! - [`namespace`]: small disks, each in a mount namespace of its own.
//! - [`leftovers`]: finds processes that should be gone.
//!
//! **Invariant:** everything here waits for a condition under a deadline; nothing sleeps to show
//! that something does not happen.

#![expect(unreachable_pub, reason = "a library to the test binaries that include it")]

pub mod agents;
pub mod client;
pub mod daemon;
pub mod demo;
pub mod editor;
pub mod ends;
pub mod fault;
pub mod growth;
pub mod home;
pub mod leftovers;
pub mod machine;
pub mod mcp;
pub mod model;
pub mod namespace;
pub mod repo;
pub mod stage;
pub mod wait;
