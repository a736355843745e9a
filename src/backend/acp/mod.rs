//! Drives an agent that speaks the Agent Client Protocol over its stdin and stdout.
//!
//! ```text
//! start: spawn ─▶ initialize ─▶ ladder (resume, load or new) ─▶ model, mode ─▶ a live agent
//! live:  stdout ─▶ Inbox ─▶ router ─▶ update ─▶ News ─▶ sink     (life owns the inbox)
//!        prompt, cancel, answer ─▶ Peer ─▶ stdin
//! ```
//! The published schema's types are used for what is sent. What arrives is read with small types of
//! our own that keep unknown words as they came: the schema's enums have no fallback, and an agent
//! is free to say more than it knows.
//!
//! **Invariant:** capabilities are hints, and nothing that an agent writes ends more than its own
//! line. Nothing here starts a process or knows a store.

mod choose;
mod errors;
mod handshake;
mod in_flight;
mod ladder;
mod life;
mod login;
mod noise;
mod offers;

mod router;
mod start;
pub(in crate::backend) mod stderr;
mod update;
mod wire;

pub(in crate::backend) use errors::told_in_words;
pub use life::AcpAgent;
pub(in crate::backend) use life::{beside, end};
pub(super) use start::ended;
pub(in crate::backend) use start::{NotStarted, not_spawned, shown, what_it_lacks};
pub use start::{Spec, start};
pub use stderr::secrets;
pub(super) use stderr::{Tail, drain};
pub(super) use wire::lenient;
