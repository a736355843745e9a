//! backend
#![allow(missing_docs)]
pub mod known;
pub mod process;
pub struct Agents;
