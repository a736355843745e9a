//! backend

pub mod process;
