//! Process ownership with real processes: what an agent gets, and that nothing of it outlives the
//! will of the daemon, whoever is killed.

mod ending;
mod keeper;
mod remembering;
mod stage;
mod starting;
mod sweeping;
