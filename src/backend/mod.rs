//! backend

pub mod known;
pub mod process;
