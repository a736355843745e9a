//! What a collaborator says when it could not do what it was asked. Plain data; what follows from it
//! is the caller's business.

use std::error::Error;

/// A collaborator failed: what was attempted, and why it could not be done.
#[derive(Debug, thiserror::Error)]
#[error("could not {action}")]
pub struct PortError {
    /// What was attempted, as an infinitive: `record the turn`.
    pub action: &'static str,
    /// Nothing was done, and another try may succeed: a full disk, a database that is held.
    pub passing: bool,
    /// Why it failed.
    #[source]
    pub source: Box<dyn Error + Send + Sync>,
}

impl PortError {
    /// Says what was attempted when `source` happened, and that trying again will not help.
    pub fn new(action: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { action, passing: false, source: source.into() }
    }

    /// Says that another try may succeed, or may not.
    #[must_use]
    pub fn passing(self, passing: bool) -> Self {
        Self { passing, ..self }
    }

    /// The whole chain of causes, in one line.
    pub fn chain(&self) -> String {
        chain(self)
    }
}

/// An error and all its causes, in one line.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
