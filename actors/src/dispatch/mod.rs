//! The dispatcher: which task runs next.

pub mod actor;
pub mod messages;
pub mod queue;
