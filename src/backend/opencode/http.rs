//! Asks an opencode server: one method for reading, one for telling, every answer bounded in time
//! and size, every failure of a kind that its reader can act on.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{RequestBuilder, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::legible::legible_bytes;

/// The name that the server knows its one user by.
pub(super) const USER: &str = "opencode";
/// An answer of a healthy server takes milliseconds, the first one of a directory a few seconds.
pub(super) const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);
/// The longest answer that is read, in bytes: a page of messages with the output of tools.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// How much of an answer that is not understood is told, in characters.
const EXCERPT_CHARS_MAX: usize = 120;
/// The server says something on its stream every ten seconds.
const STREAM_SILENCE_MAX: Duration = Duration::from_secs(30);

/// Why a request came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum HttpError {
    /// Nobody took the connection, or it was cut before there was an answer.
    #[error("the connection failed: {0}")]
    Refused(String),
    /// No answer in time.
    #[error("no answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// The server said no.
    #[error("answered {status}{}", said(.text))]
    Status {
        /// The HTTP status.
        status: u16,
        /// The beginning of what it said.
        text: String,
    },
    /// The answer is not what was asked for.
    #[error("answered something else than JSON as it was expected ({why}){}", said(.text))]
    NotUnderstood {
        /// What is wrong with it.
        why: String,
        /// The beginning of what it said.
        text: String,
    },
}

fn said(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

impl HttpError {
    /// Whether the very thing that was asked for is not there.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::Status { status: 404, .. })
    }

    /// Whether the same request may come through later.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Refused(_) | Self::TimedOut(_) => true,
            Self::Status { status, .. } => *status >= 500 || *status == 429,
            Self::NotUnderstood { .. } => false,
        }
    }
}

/// Where a server is, and how it knows us. Cheap to clone.
#[derive(Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    streams: reqwest::Client,
    base: Arc<str>,
    password: Arc<str>,
}

impl Client {
    /// A client of the server on that port of this machine.
    pub(super) fn new(port: u16, password: &str) -> Result<Self, HttpError> {
        // A proxy of the environment is for the world outside. And every request has a connection of
        // its own: one that rests may be closed by the server at the moment it is used, and whether
        // what was asked on it was done would then be unknown. On this machine one costs next to
        // nothing.
        let builder = || reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0);
        let made = |built: reqwest::Result<_>| built.map_err(|error| failed(&error, Duration::ZERO));
        Ok(Self {
            http: made(builder().build())?,
            streams: made(builder().read_timeout(STREAM_SILENCE_MAX).build())?,
            base: format!("http://127.0.0.1:{port}").into(),
            password: password.into(),
        })
    }

    /// Reads.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, HttpError> {
        self.read(self.http.get(format!("{}{path}", self.base)).query(query), ANSWER_TIME_MAX).await
    }

    /// The same, for at most `limit`.
    pub(super) async fn get_within<T: DeserializeOwned>(
        &self,
        path: &str,
        limit: Duration,
    ) -> Result<T, HttpError> {
        self.read(self.http.get(format!("{}{path}", self.base)), limit).await
    }

    /// Tells, and reads the answer.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
        body: &impl Serialize,
    ) -> Result<T, HttpError> {
        self.read(self.http.post(format!("{}{path}", self.base)).query(query).json(body), ANSWER_TIME_MAX)
            .await
    }

    /// Tells, and only sees whether it was taken.
    pub(super) async fn tell(
        &self,
        path: &str,
        query: &[(&str, &str)],
        body: &impl Serialize,
    ) -> Result<(), HttpError> {
        let request = self.http.post(format!("{}{path}", self.base)).query(query).json(body);
        self.send(request, ANSWER_TIME_MAX).await.map(drop)
    }

    /// Opens a stream that ends when the server is silent for too long.
    pub(super) async fn stream(&self, path: &str) -> Result<Response, HttpError> {
        let request = self.streams.get(format!("{}{path}", self.base));
        let opened = request.basic_auth(USER, Some(&*self.password)).send();
        match tokio::time::timeout(ANSWER_TIME_MAX, opened).await {
            Ok(Ok(response)) => checked(response).await,
            Ok(Err(error)) => Err(failed(&error, ANSWER_TIME_MAX)),
            Err(_) => Err(HttpError::TimedOut(ANSWER_TIME_MAX)),
        }
    }

    async fn send(&self, request: RequestBuilder, limit: Duration) -> Result<Response, HttpError> {
        let sent = request.basic_auth(USER, Some(&*self.password)).timeout(limit).send().await;
        checked(sent.map_err(|error| failed(&error, limit))?).await
    }

    async fn read<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
        limit: Duration,
    ) -> Result<T, HttpError> {
        let response = self.send(request, limit).await?;
        let body = body(response).await.map_err(|error| failed(&error, limit))?;
        serde_json::from_str(&legible_bytes(&body)).map_err(|error| HttpError::NotUnderstood {
            why: error.to_string(),
            text: excerpt(&String::from_utf8_lossy(&body)),
        })
    }
}

/// The whole body, up to the limit; what is longer is cut, and not understood for that.
async fn body(mut response: Response) -> reqwest::Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_BYTES_MAX {
            break;
        }
    }
    Ok(body)
}

async fn checked(response: Response) -> Result<Response, HttpError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    // What an error says of itself is told where it can be had.
    let text = body(response).await.unwrap_or_default();
    Err(HttpError::Status { status: status.as_u16(), text: excerpt(&String::from_utf8_lossy(&text)) })
}

fn failed(error: &reqwest::Error, limit: Duration) -> HttpError {
    if error.is_timeout() {
        return HttpError::TimedOut(limit);
    }
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        // Writing to a text cannot fail.
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    HttpError::Refused(text)
}

/// The beginning of a text, on one line.
fn excerpt(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut shown: String = line.chars().take(EXCERPT_CHARS_MAX).collect();
    if shown.len() < line.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_that_pass_and_those_that_do_not() {
        let status = |status| HttpError::Status { status, text: String::new() };
        assert!(status(500).may_pass() && status(503).may_pass() && status(429).may_pass());
        assert!(!status(400).may_pass() && !status(401).may_pass() && !status(404).may_pass());
        assert!(HttpError::TimedOut(Duration::from_secs(1)).may_pass());
        assert!(status(404).is_not_found() && !status(400).is_not_found());
    }

    #[test]
    fn what_is_told_of_an_answer_is_one_short_line() {
        assert_eq!(excerpt("<!doctype html>\n  <html>"), "<!doctype html> <html>");
        assert_eq!(excerpt(&"x ".repeat(500)).chars().count(), EXCERPT_CHARS_MAX + 1);
    }
}
