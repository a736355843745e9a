//! Why nothing was sent, or no result came.

use super::message::RpcError;

/// Nothing can be sent any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection is closed")]
pub struct Closed;

/// A call was not answered with a result.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The connection ended first.
    #[error("the connection closed before the answer")]
    Closed,
    /// The other end said no.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// The parameters cannot be written as JSON.
    #[error("the parameters cannot be written as JSON")]
    Params(#[source] serde_json::Error),
}

impl From<Closed> for CallError {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}
