//! Why a request was not done: the kinds, codes and shape of the contract's errors.
//!
//! Failures of the other parts are turned into these here; nothing here decides anything.

use std::borrow::Cow;

use hob_actors::event::Wait;
use hob_actors::ports::{PortError, chain};
use hob_actors::tree::{NotRestarted, Refusal, TreeError, Unchanged, Unwilling};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::jsonrpc::RpcError;
use crate::store::StoreError;

mod worktrees;

/// What kind of failure it was: the contract's word and code for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The line was not JSON.
    Parse,
    /// The line was JSON, and no request.
    InvalidRequest,
    /// There is no such method.
    UnknownMethod,
    /// A parameter is missing, mistyped or not known.
    InvalidParams,
    /// A fault of the daemon.
    Internal,
    /// A limit is reached; try again later.
    Overloaded,
    /// No such session, chat, task, …
    NotFound,
    /// It stands against what is there.
    Conflict,
    /// A guard says no.
    Refused,
    /// The agent cannot be used.
    Unavailable,
    /// The request's own client cancelled it.
    Cancelled,
    /// The daemon is stopping; try again later.
    ShuttingDown,
    /// The peer may not do that.
    Forbidden,
    /// Client only, never on the wire: no daemon answers at the socket.
    NoDaemon,
    /// Client only, never on the wire: the connection broke.
    Disconnected,
}

impl Kind {
    /// Every kind that crosses the wire.
    const WIRE: [Self; 13] = [
        Self::Parse,
        Self::InvalidRequest,
        Self::UnknownMethod,
        Self::InvalidParams,
        Self::Internal,
        Self::Overloaded,
        Self::NotFound,
        Self::Conflict,
        Self::Refused,
        Self::Unavailable,
        Self::Cancelled,
        Self::ShuttingDown,
        Self::Forbidden,
    ];

    /// The code of the contract; 0 for the two kinds that never cross the wire.
    pub fn code(self) -> i64 {
        match self {
            Self::Parse => -32700,
            Self::InvalidRequest => -32600,
            Self::UnknownMethod => -32601,
            Self::InvalidParams => -32602,
            Self::Internal => -32603,
            Self::Overloaded => -32001,
            Self::NotFound => -32002,
            Self::Conflict => -32003,
            Self::Refused => -32004,
            Self::Unavailable => -32005,
            Self::Cancelled => -32006,
            Self::ShuttingDown => -32007,
            Self::Forbidden => -32008,
            Self::NoDaemon | Self::Disconnected => 0,
        }
    }

    /// The kind that a code stands for.
    pub fn from_code(code: i64) -> Option<Self> {
        Self::WIRE.into_iter().find(|kind| kind.code() == code)
    }

    /// The contract's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Parse => "parse",
            Self::InvalidRequest => "invalid_request",
            Self::UnknownMethod => "unknown_method",
            Self::InvalidParams => "invalid_params",
            Self::Internal => "internal",
            Self::Overloaded => "overloaded",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
            Self::Cancelled => "cancelled",
            Self::ShuttingDown => "shutting_down",
            Self::Forbidden => "forbidden",
            Self::NoDaemon => "no_daemon",
            Self::Disconnected => "disconnected",
        }
    }

    /// Whether the same request may succeed later without anyone changing anything.
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::Overloaded | Self::ShuttingDown)
    }
}

/// `data` of an error object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureData {
    /// The kind.
    pub kind: Kind,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// What a guard objects to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// Something that a person can type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The field that is wrong: `options[2].id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RpcFailure {
    /// A lower-case fragment that a person understands.
    pub message: String,
    /// The rest.
    pub data: FailureData,
}

impl RpcFailure {
    /// A failure of `kind`.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        let data =
            FailureData { kind, retryable: kind.is_retryable(), reasons: Vec::new(), hint: None, path: None };
        Self { message: message.into(), data }
    }

    /// There is no `what` called `id`.
    pub fn not_found(what: &str, id: &str) -> Self {
        Self::new(Kind::NotFound, format!("no {what} `{}`", shorten(id)))
    }

    /// It stands against what is there.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(Kind::Conflict, message)
    }

    /// A guard says no.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(Kind::Refused, message)
    }

    /// The agent cannot be used.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Kind::Unavailable, message)
    }

    /// A limit is reached.
    pub fn overloaded(message: impl Into<String>) -> Self {
        Self::new(Kind::Overloaded, message)
    }

    /// The peer may not do that.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(Kind::Forbidden, message)
    }

    /// The daemon is stopping.
    pub fn shutting_down() -> Self {
        Self::new(Kind::ShuttingDown, "the daemon is stopping")
    }

    /// A fault of the daemon.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }

    /// The parameter at `path` is wrong.
    pub fn invalid_params(path: impl Into<String>, message: impl Into<String>) -> Self {
        let mut failure = Self::new(Kind::InvalidParams, message);
        failure.data.path = Some(path.into());
        failure
    }

    /// Adds something that a person can type.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.data.hint = Some(hint.into());
        self
    }

    /// Adds a hint if there is one.
    #[must_use]
    pub fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.data.hint = hint.or(self.data.hint);
        self
    }

    /// Adds one reason.
    #[must_use]
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.data.reasons.push(reason.into());
        self
    }

    /// The kind.
    pub fn kind(&self) -> Kind {
        self.data.kind
    }
}

impl From<RpcFailure> for RpcError {
    fn from(failure: RpcFailure) -> Self {
        // Serialising a struct of strings cannot fail; without data the code still tells.
        let data: Option<Box<RawValue>> = serde_json::value::to_raw_value(&failure.data).ok();
        Self { code: failure.data.kind.code(), message: failure.message, data }
    }
}

impl From<StoreError> for RpcFailure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound { what, id } => Self::not_found(what, &id),
            StoreError::Conflict(why) => Self::conflict(why),
            StoreError::Closed => Self::shutting_down(),
            full @ StoreError::Full(_) => Self::overloaded(full.to_string()).hint("df -h"),
            passing @ (StoreError::Busy(_) | StoreError::ReadOnly(_)) => {
                Self::overloaded(passing.to_string())
            }
            other => Self::internal(chain(&other)),
        }
    }
}

impl From<TreeError> for RpcFailure {
    fn from(error: TreeError) -> Self {
        Self::overloaded(error.to_string())
    }
}

impl From<PortError> for RpcFailure {
    fn from(error: PortError) -> Self {
        match error.source.downcast::<StoreError>() {
            Ok(store) => (*store).into(),
            Err(other) => Self::internal(format!("could not {}: {}", error.action, chain(&*other))),
        }
    }
}

impl From<Refusal> for RpcFailure {
    fn from(refusal: Refusal) -> Self {
        match &refusal {
            Refusal::Stopping => Self::shutting_down(),
            Refusal::NoPlace { wait: Wait::Memory, .. } => {
                Self::overloaded(refusal.to_string()).hint("hob ps; hob evict CHAT AGENT; pool.min_available")
            }
            Refusal::NoPlace { .. } => {
                Self::overloaded(refusal.to_string()).hint("hob ps; hob evict CHAT AGENT; pool.max_live")
            }
            Refusal::CircuitOpen(_) => {
                Self::unavailable(refusal.to_string()).hint("hob health; hob restart CHAT AGENT")
            }
            Refusal::FailedTooOften(_) => Self::unavailable(refusal.to_string()),
        }
    }
}

impl From<Unwilling> for RpcFailure {
    fn from(unwilling: Unwilling) -> Self {
        let message = unwilling.to_string();
        match unwilling {
            Unwilling::Busy(with) => {
                let refused = Self::refused(message).hint("wait for it, or insist with --force");
                with.into_iter().fold(refused, Self::reason)
            }
            Unwilling::Leaving => Self::conflict(message),
            Unwilling::Failed(_) => Self::unavailable(message).hint("hob health"),
        }
    }
}

impl From<Unchanged> for RpcFailure {
    fn from(unchanged: Unchanged) -> Self {
        Self::unavailable(unchanged.to_string())
    }
}

impl From<NotRestarted> for RpcFailure {
    fn from(error: NotRestarted) -> Self {
        match error {
            NotRestarted::Refused(refusal) => refusal.into(),
            NotRestarted::Unwilling(unwilling) => unwilling.into(),
        }
    }
}

/// The longest piece of a client's text that an error repeats, in characters.
const ECHO_MAX: usize = 128;

/// `text`, cut where an error message would become unreadable.
pub fn shorten(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(ECHO_MAX) {
        Some((cut, _)) => Cow::Owned(format!("{}…", &text[..cut])),
        None => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_of_the_contract_names_one_kind() {
        for kind in Kind::WIRE {
            assert_eq!(Kind::from_code(kind.code()), Some(kind));
            let word = serde_json::to_value(kind).expect("a word");
            assert_eq!(word, kind.name());
        }
        assert_eq!(Kind::from_code(0), None);
        assert_eq!(Kind::from_code(-32000), None);
    }

    #[test]
    fn an_error_carries_kind_path_and_hint_and_leaves_out_what_it_has_not() {
        let failure = RpcFailure::invalid_params("chat", "missing field `chat`").hint("hob chat ls");
        let error = RpcError::from(failure);
        assert_eq!(error.code, -32602);
        assert_eq!(
            error.data.expect("data").get(),
            r#"{"kind":"invalid_params","retryable":false,"hint":"hob chat ls","path":"chat"}"#
        );
    }

    #[test]
    fn a_long_id_is_not_repeated_whole() {
        let failure = RpcFailure::not_found("chat", &"é".repeat(100_000));
        assert!(failure.message.chars().count() < 200);
    }
}
