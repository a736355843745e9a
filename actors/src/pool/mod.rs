//! The pool: which agent sessions may have a live backend.

pub mod actor;
pub mod messages;
pub mod policy;
