//! JSON-RPC 2.0 over lines of JSON: for agents, the control socket and everything like them.
//!
//! ```text
//!            frame            message             peer
//!  bytes ──▶ one line, or ──▶ request, response ──▶ Inbox::next: one ordered queue
//!            why not          notification, Bad     (answers to `Peer::call` taken out on the way)
//!  bytes ◀──────────────────────────────────────── Peer: call, notify, respond; a counted queue
//! ```
//!
//! **Invariant:** a bad line is an item and never the end of a connection; a line too long is never
//! held; nothing here knows what a method means.

mod encode;
mod error;
pub mod frame;
mod limits;
pub mod message;
pub mod peer;
mod stdio;

pub use error::{CallError, Closed};
pub use frame::Frame;
pub use limits::{Limits, Oddities};
pub use message::{Message, Problem, RequestId, RpcError};
pub use peer::{Delivery, Inbox, Peer, start};
pub use stdio::stdio;
