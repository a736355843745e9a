//! The pool of live agent sessions: who may live, and who is let go for whom.

pub mod actor;
mod entry;
mod evict;
pub mod messages;
pub mod policy;
