//! Drives any program that takes a prompt as an argument and answers on stdout: one process for
//! each prompt, none between them.
//!
//! ```text
//! template ─▶ run (spawn, exit, outcome) ─▶ settled
//!               └─ stdout ─▶ pieces ─▶ format ─▶ News ─▶ sink      (reading owns all of it)
//! agent: the handle;  beside: the handle of a kept agent with such runs beside it
//! ```
//! A run remembers nothing of the one before, so every turn is told as fresh. Agents cannot ask for
//! permission in such a run: what they may do is up to their own configuration.
//!
//! **Invariant:** nothing that a program writes ends more than its own line.

mod agent;
mod beside;
mod format;
mod outcome;
mod pieces;
mod reading;
mod run;
pub mod template;

pub use agent::OneshotAgent;
pub use beside::{Beside, Gate};

use hob_actors::event::Context;
use hob_actors::ports::{Launched, NewsSink};

use crate::backend::process::{SpawnRequest, Spawner};

/// Everything about a one-shot agent that its configuration decides.
#[derive(Debug, Clone)]
pub struct Spec {
    /// What to start, but for its arguments.
    pub request: SpawnRequest,
    /// The arguments, with their places.
    pub words: Vec<String>,
    /// The program, for a person.
    pub command: String,
    /// The model, if one is configured.
    pub model: Option<String>,
    /// The longest line that is read, in bytes.
    pub max_frame: usize,
    /// How much of the end of stderr is kept, in bytes.
    pub stderr_tail: usize,
    /// The fingerprint of all of this, in hex.
    pub config_hash: String,
}

/// What is wanted of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wish {
    /// That it goes on.
    None,
    /// TERM, the grace, KILL.
    Stop,
    /// KILL.
    StopNow,
}

/// An agent that is ready for a prompt: nothing is started before there is one.
pub fn launched(spec: Spec, spawner: Spawner, sink: NewsSink) -> Launched {
    let config_hash = spec.config_hash.clone();
    Launched {
        backend: crate::config::BackendKind::Oneshot.as_str(),
        agent: std::sync::Arc::new(OneshotAgent::new(spec, spawner, sink)),
        host: None,
        pid: None,
        backend_session: None,
        context: Context::Fresh,
        reset: None,
        config_hash,
    }
}
