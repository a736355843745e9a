//! control
pub mod wire;
