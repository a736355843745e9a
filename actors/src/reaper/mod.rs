//! The reaper: retires worktrees that nobody needs any more, and keeps every other.

pub mod actor;
pub mod messages;
pub mod policy;
pub mod time;
