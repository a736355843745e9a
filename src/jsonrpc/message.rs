//! What one line says: a request, a notification, a response, or why it is none of them.
//!
//! Parsed in one pass over borrowed text; what belongs to a method stays raw. A missing `jsonrpc`
//! member is forgiven, since agents forget it. Batches are not understood, on purpose.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::frame::Frame;
use crate::legible::legible_bytes;

/// How much of a bad line is kept to be shown, in characters.
const EXCERPT_CHARS_MAX: usize = 200;

/// The request was not JSON.
pub const PARSE_ERROR: i64 = -32700;
/// The request was JSON and no request.
pub const INVALID_REQUEST: i64 = -32600;
/// There is no such method.
pub const METHOD_NOT_FOUND: i64 = -32601;
/// The parameters are wrong.
pub const INVALID_PARAMS: i64 = -32602;
/// The other end failed.
pub const INTERNAL_ERROR: i64 = -32603;

/// The id of a request: a number or a string, kept as it came.
#[derive(Clone, Serialize)]
#[serde(transparent)]
pub struct RequestId(Box<RawValue>);

impl RequestId {
    /// The id as a number, if it is one that we could have given.
    pub fn number(&self) -> Option<u64> {
        self.0.get().parse().ok()
    }

    /// The id as JSON text.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// Of an answer that does not say what it answers.
    pub fn null() -> Self {
        Self(RawValue::NULL.to_owned())
    }
}

impl From<Box<RawValue>> for RequestId {
    fn from(id: Box<RawValue>) -> Self {
        Self(id)
    }
}

impl PartialEq for RequestId {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for RequestId {}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The error of a response.
#[derive(Debug, Clone, Serialize, Deserialize, thiserror::Error)]
#[error("{message} ({code})")]
pub struct RpcError {
    /// What kind of error.
    #[serde(default)]
    pub code: i64,
    /// In words.
    #[serde(default)]
    pub message: String,
    /// What more there is to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
}

impl RpcError {
    /// An error without data.
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    /// "There is no such method."
    pub fn method_not_found(method: &str) -> Self {
        Self::new(METHOD_NOT_FOUND, format!("unknown method {method}"))
    }
}

/// Why a line is no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// It is not a JSON object.
    Parse,
    /// It is a batch.
    Batch,
    /// It is a JSON object and neither request, notification nor response.
    Invalid,
    /// It was this many bytes long.
    TooLong(u64),
    /// It was not UTF-8.
    NotUtf8,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parse => f.write_str("a line that is not a JSON object"),
            Self::Batch => f.write_str("a JSON-RPC batch"),
            Self::Invalid => f.write_str("a JSON object that is no JSON-RPC message"),
            Self::TooLong(bytes) => write!(f, "a line of {bytes} bytes"),
            Self::NotUtf8 => f.write_str("a line that is not UTF-8"),
        }
    }
}

/// What one line says.
#[derive(Debug, Clone)]
pub enum Message {
    /// The other end wants an answer.
    Request {
        /// To be answered with.
        id: RequestId,
        /// What it wants.
        method: String,
        /// With what.
        params: Option<Box<RawValue>>,
    },
    /// The other end tells.
    Notification {
        /// What about.
        method: String,
        /// What.
        params: Option<Box<RawValue>>,
    },
    /// The other end answers.
    Response {
        /// What it answers; null where it did not say.
        id: RequestId,
        /// The answer.
        result: Result<Box<RawValue>, RpcError>,
    },
    /// The line cannot be used.
    Bad {
        /// Why.
        problem: Problem,
        /// How it begins; empty where nothing of it was held.
        excerpt: String,
    },
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(default)]
    method: Option<String>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    error: Option<&'a RawValue>,
}

/// A member that is there, `null` or not: `"result": null` is an answer.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl Message {
    /// Reads one frame.
    pub fn from_frame(frame: &Frame) -> Self {
        match frame {
            Frame::Line(line) => match std::str::from_utf8(line) {
                Ok(text) => Self::from_line(text),
                Err(_) => Self::Bad { problem: Problem::NotUtf8, excerpt: String::new() },
            },
            Frame::TooLong { bytes } => {
                Self::Bad { problem: Problem::TooLong(*bytes), excerpt: String::new() }
            }
            Frame::Invalid { .. } => Self::Bad { problem: Problem::NotUtf8, excerpt: String::new() },
        }
    }

    /// Reads one frame of somebody who may write what no reader takes; says whether it was replaced.
    pub fn from_odd_frame(frame: &Frame) -> (Self, bool) {
        let (Frame::Line(line) | Frame::Invalid { line }) = frame else {
            return (Self::from_frame(frame), false);
        };
        let text = legible_bytes(line);
        (Self::from_line(&text), matches!(text, Cow::Owned(_)))
    }

    /// Reads one line.
    pub fn from_line(line: &str) -> Self {
        let line = line.trim_ascii();
        let bad = |problem| Self::Bad { problem, excerpt: excerpt(line) };
        // A derived struct whose fields all have defaults would accept an array, too.
        match line.as_bytes().first() {
            Some(b'{') => {}
            // A line of a log may begin so, too.
            Some(b'[') if is_json(line) => return bad(Problem::Batch),
            _ => return bad(Problem::Parse),
        }
        match serde_json::from_str::<Wire<'_>>(line) {
            Ok(wire) => wire.sort().unwrap_or_else(|| bad(Problem::Invalid)),
            Err(error) if error.is_data() => bad(Problem::Invalid),
            Err(_) => bad(Problem::Parse),
        }
    }
}

impl Wire<'_> {
    /// Decides what it is; `None` if it is nothing.
    fn sort(self) -> Option<Message> {
        let params = self.params.filter(|raw| raw.get() != "null").map(ToOwned::to_owned);
        match (self.method, self.id) {
            (Some(method), None) => Some(Message::Notification { method, params }),
            (Some(method), Some(id)) => Some(Message::Request { id: request_id(id)?, method, params }),
            (None, id) => {
                let result = answer(self.result, self.error)?;
                let id = id.and_then(request_id).unwrap_or_else(RequestId::null);
                Some(Message::Response { id, result })
            }
        }
    }
}

fn is_json(line: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(line).is_ok()
}

/// `None` unless it is a number or a string.
fn request_id(raw: &RawValue) -> Option<RequestId> {
    let first = *raw.get().as_bytes().first()?;
    (first == b'"' || first == b'-' || first.is_ascii_digit()).then(|| RequestId(raw.to_owned()))
}

/// An error that says something wins over a result; some agents send both, one of them null.
fn answer(result: Option<&RawValue>, error: Option<&RawValue>) -> Option<Result<Box<RawValue>, RpcError>> {
    match (result, error.filter(|raw| raw.get() != "null")) {
        (_, Some(error)) => Some(Err(serde_json::from_str(error.get())
            .unwrap_or_else(|_| RpcError::new(INTERNAL_ERROR, excerpt(error.get()))))),
        (Some(result), None) => Some(Ok(result.to_owned())),
        (None, None) => None,
    }
}

/// The beginning of a line, without control characters, to be shown to a person.
pub fn excerpt(line: &str) -> String {
    let mut kept: String =
        line.chars().take(EXCERPT_CHARS_MAX).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if line.chars().nth(EXCERPT_CHARS_MAX).is_some() {
        kept.push('…');
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(line: &str) -> Problem {
        match Message::from_line(line) {
            Message::Bad { problem, .. } => problem,
            other => panic!("{line} was taken for {other:?}"),
        }
    }

    #[test]
    fn a_line_without_the_version_is_taken() {
        let Message::Notification { method, params } =
            Message::from_line(r#"{"method":"m","params":{"a": 1}}"#)
        else {
            panic!("no notification");
        };
        assert_eq!((method.as_str(), params.unwrap().get()), ("m", r#"{"a": 1}"#));
    }

    #[test]
    fn ids_are_kept_as_they_came() {
        for id in ["7", "\"7\"", "\"a b\"", "-1", "1.5"] {
            let line = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"m"}}"#);
            let Message::Request { id: read, .. } = Message::from_line(&line) else { panic!("{line}") };
            assert_eq!(read.as_str(), id);
        }
    }

    #[test]
    fn a_null_result_is_an_answer() {
        let Message::Response { result, .. } = Message::from_line(r#"{"id":1,"result":null}"#) else {
            panic!()
        };
        assert_eq!(result.unwrap().get(), "null");
    }

    #[test]
    fn an_error_wins_over_a_null_result_and_a_null_error_loses() {
        let Message::Response { result, .. } = Message::from_line(
            r#"{"id":1,"result":null,"error":{"code":-32000,"message":"auth","data":[1]}}"#,
        ) else {
            panic!()
        };
        let error = result.unwrap_err();
        assert_eq!((error.code, error.message.as_str(), error.data.unwrap().get()), (-32000, "auth", "[1]"));
        let Message::Response { result, .. } = Message::from_line(r#"{"id":1,"result":2,"error":null}"#)
        else {
            panic!()
        };
        assert_eq!(result.unwrap().get(), "2");
    }

    #[test]
    fn an_error_of_a_strange_shape_is_still_an_error() {
        let Message::Response { result, .. } = Message::from_line(r#"{"id":1,"error":"boom"}"#) else {
            panic!()
        };
        assert_eq!(result.unwrap_err().message, "\"boom\"");
    }

    #[test]
    fn an_answer_without_an_id_is_an_answer_to_nothing() {
        let Message::Response { id, result } =
            Message::from_line(r#"{"jsonrpc":"2.0","error":{"code":-32700,"message":"parse"}}"#)
        else {
            panic!()
        };
        assert_eq!((id.as_str(), result.unwrap_err().code), ("null", -32700));
    }

    #[test]
    fn what_is_no_message_says_why() {
        for (line, expected) in [
            ("hello", Problem::Parse),
            ("42", Problem::Parse),
            ("[12:00] INFO ready", Problem::Parse),
            ("{\"half\":", Problem::Parse),
            ("{} trailing", Problem::Parse),
            ("[{\"method\":\"m\"}]", Problem::Batch),
            ("{}", Problem::Invalid),
            ("{\"method\":1}", Problem::Invalid),
            ("{\"id\":{},\"method\":\"m\"}", Problem::Invalid),
            ("{\"id\":null,\"method\":\"m\"}", Problem::Invalid),
            ("{\"id\":1}", Problem::Invalid),
            ("{\"id\":1,\"error\":null}", Problem::Invalid),
        ] {
            assert_eq!(problem(line), expected, "{line}");
        }
    }

    #[test]
    fn an_excerpt_is_short_and_printable() {
        let shown = excerpt(&format!("\u{1b}[31m{}", "é".repeat(1000)));
        assert_eq!(shown.chars().count(), EXCERPT_CHARS_MAX + 1);
        assert!(!shown.chars().any(char::is_control));
    }
}
