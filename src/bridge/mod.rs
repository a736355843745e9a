//! Programs between hob and others: each speaks a protocol of theirs on its standard input and
//! output, and is a client of the control socket like any other.
//!
//! **Invariant:** nothing in here opens the database, a worktree or an agent.

pub mod acp;
pub mod mcp;
