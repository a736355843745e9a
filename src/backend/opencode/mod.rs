//! Drives opencode through its server: HTTP for what is asked, one event stream for what it says.
//!
//! ```text
//! launch ─▶ servers: one process per share, started once ─▶ lease
//!    └────▶ session: taken up, else made ─▶ conversation (a task) ─▶ a live agent
//! live:  /global/event ─▶ stream ─▶ hub ─▶ conversation ─▶ turn ─▶ News ─▶ sink
//!        prompt, cancel, answer ─▶ conversation ─▶ HTTP
//! ```
//! The stream has neither numbers nor replay. So it is read before anything is asked, and after
//! every gap in it, and after silence, what the server has written down is read and put beside what
//! was heard ([`turn`] does that, purely).
//!
//! **Invariant:** what arrives is read with small types of our own, and nothing that is not
//! understood ends more than itself. Only `servers` and `server` hold processes, and they start
//! them through `process` alone.

mod agent;
mod catch_up;
mod conversation;
mod ears;
mod house;
mod http;
mod hub;
mod ids;
mod offers;
mod questions;
mod record;
mod server;
mod servers;
mod start;
mod stream;
mod tools;
mod turn;
mod version;
mod wire;

/// Where opencode reads configuration from besides its files.
pub const CONFIG: &str = "OPENCODE_CONFIG_CONTENT";

pub use servers::{ServerKey, Servers};
pub use start::{Spec, start};
pub(super) use turn::stop_reason;
pub(super) use wire::Tokens;
