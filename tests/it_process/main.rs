//! Process ownership with real processes: what an agent gets, and that nothing of it outlives the
//! will of the daemon, whoever is killed.

#![expect(clippy::disallowed_methods, reason = "tests start programs of their own beside the product's")]
#![expect(clippy::disallowed_macros, reason = "a daemon to be killed tells its test what it started")]

mod ending;
mod keeper;
mod remembering;
mod stage;
mod starting;
mod sweeping;
