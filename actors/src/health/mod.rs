//! Health of server processes: probes, and the stale grace of the busy; and the watchdog of turns
//! that are alive but stuck.

pub mod actor;
pub mod messages;
mod pace;
pub mod policy;
mod records;
pub mod watchdog;

pub use records::shown;
