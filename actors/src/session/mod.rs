//! An agent session: the pair (chat, agent), from the prompt it is given to the end of the turn.

pub mod actor;
pub mod busy;
pub mod choice;
pub mod comeback;
pub mod effects;
pub mod final_text;
mod job;
mod launch;
pub mod lifecycle;
mod looks;
pub mod messages;
pub mod news;
pub mod permission;
mod questions;
pub mod refused;
pub mod spending;
pub mod state;
pub mod turn;
mod view;
mod watch;
pub mod wish;
