//! Writes messages of ours as lines of JSON.

use bytes::Bytes;
use serde::Serialize;

use super::message::{RequestId, RpcError};

/// A request, or a notification where there is no id.
#[derive(Serialize)]
pub(super) struct Outgoing<'a, P> {
    pub(super) jsonrpc: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<u64>,
    pub(super) method: &'a str,
    pub(super) params: &'a P,
}

/// A response; exactly one of result and error is there.
#[derive(Serialize)]
pub(super) struct Answering<'a, R> {
    pub(super) jsonrpc: &'static str,
    pub(super) id: &'a RequestId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) result: Option<&'a R>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<RpcError>,
}

/// One line of JSON. Raw values that came from elsewhere may hold newlines between their tokens
/// (inside strings JSON has none), which would cut the line.
pub(super) fn encode(message: &impl Serialize) -> Result<Bytes, serde_json::Error> {
    let mut line = serde_json::to_vec(message)?;
    for end in [b'\n', b'\r'] {
        if memchr::memchr(end, &line).is_some() {
            line.iter_mut().filter(|byte| **byte == end).for_each(|byte| *byte = b' ');
        }
    }
    Ok(line.into())
}
