//! backend

pub mod known;
