//! What a sign of life that did not come looks like. Plain data.

/// Why a probe failed, by the class that decides how often it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureClass {
    /// No answer in time.
    TimedOut,
    /// The connection was refused, or the pipe is closed, while the process lives.
    Refused,
}

/// A probe had no good answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ProbeFailed {
    /// What kind of failure.
    pub class: FailureClass,
    /// What was seen, in words.
    pub message: String,
}
