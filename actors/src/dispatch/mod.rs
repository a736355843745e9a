//! The dispatcher: which task runs next.

pub mod actor;
pub mod loans;
pub mod messages;
pub mod queue;
pub mod route;
