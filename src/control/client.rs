//! A client of the control socket: calls, and the events of subscriptions.
//!
//! Starts no daemon and gives up nothing silently: every failure says what kind it is, and what a
//! person can do where that is known.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;

use super::bind::SOCKET_PATH_BYTES_MAX;
use super::error::{FailureData, Kind};
use super::subscribe::EVENT_METHOD;
use crate::jsonrpc::{self, CallError, Inbox, Limits, Message, Oddities, Peer, RpcError};

/// The longest line that is taken from the daemon: its own limit can be configured, so a client
/// takes more than the default of 16 MiB.
const LINE_BYTES_MAX: usize = 256 << 20;
/// Events that were read and not yet asked for, in bytes; past it the daemon is not read on.
const INBOUND_BYTES_MAX: usize = 64 << 20;
/// Requests that wait to be written, in bytes.
const OUTBOUND_BYTES_MAX: usize = 256 << 20;

/// How long the daemon's last word may be on its way.
const LAST_WORD_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection to the daemon. Any number of calls may be in flight.
///
/// Answers and events share the connection: whoever subscribes must go on asking for events, or
/// calls will not be answered once [`INBOUND_BYTES_MAX`] of them wait.
/// Dropping it closes the connection, in both directions: a seat is left, a pin let go.
pub struct Client {
    peer: Peer,
    events: mpsc::UnboundedReceiver<Note>,
    end: Arc<End>,
    server_pid: Option<u32>,
    _reading: Reading,
}

/// Stops reading when it is dropped.
struct Reading(tokio::task::AbortHandle);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// How the connection ended.
#[derive(Default)]
struct End {
    /// What the daemon said before it closed the connection, if it said anything.
    last_word: OnceLock<RpcError>,
    /// Fires when nothing more will come.
    silent: CancellationToken,
}

/// One event of one subscription.
#[derive(Debug)]
pub struct EventNote {
    /// The subscription.
    pub subscription: String,
    /// The event, as it came.
    pub event: Box<RawValue>,
}

/// A notification with the room it takes.
struct Note(EventNote, OwnedSemaphorePermit);

/// Why a call was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ClientError {
    /// What kind of failure: the contract's, or one of the two that never cross the wire.
    pub kind: Kind,
    /// The code that came; 0 for what did not come over the wire.
    pub code: i64,
    /// A lower-case fragment.
    pub message: String,
    /// Something that a person can type.
    pub hint: Option<String>,
    /// What a guard objects to.
    pub reasons: Vec<String>,
    /// The parameter that is wrong.
    pub path: Option<String>,
}

impl ClientError {
    fn own(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, code: kind.code(), message: message.into(), hint: None, reasons: Vec::new(), path: None }
    }

    fn disconnected() -> Self {
        Self::own(Kind::Disconnected, "the daemon closed the connection")
    }

    fn not_reached(socket: &Path, error: &io::Error) -> Self {
        let place = socket.display();
        let absent = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused);
        if absent || error.kind() == io::ErrorKind::NotADirectory {
            let mut failure = Self::own(Kind::NoDaemon, format!("no daemon at {place}"));
            failure.hint = Some("hob up".to_owned());
            return failure;
        }
        if error.kind() == io::ErrorKind::PermissionDenied {
            let owner = std::fs::metadata(socket).ok().map(|found| found.uid());
            let why = match owner.filter(|uid| *uid != nix::unistd::geteuid().as_raw()) {
                Some(uid) => format!("the socket {place} belongs to somebody else (uid {uid})"),
                None => format!("no permission for {place}, or for a directory on the way to it"),
            };
            let mut failure = Self::own(Kind::Forbidden, why);
            failure.hint = Some(format!("ls -ld {} {place}", socket.parent().unwrap_or(socket).display()));
            return failure;
        }
        Self::own(Kind::Disconnected, format!("could not connect to {place}: {error}"))
    }
}

impl From<RpcError> for ClientError {
    fn from(error: RpcError) -> Self {
        let data = error.data.and_then(|data| serde_json::from_str::<FailureData>(data.get()).ok());
        let by_code = Kind::from_code(error.code).unwrap_or(Kind::Internal);
        let mut failure = Self::own(by_code, error.message);
        failure.code = error.code;
        if let Some(data) = data {
            failure.kind = data.kind;
            failure.hint = data.hint;
            failure.reasons = data.reasons;
            failure.path = data.path;
        }
        failure
    }
}

impl From<CallError> for ClientError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Closed => Self::disconnected(),
            CallError::Rpc(error) => error.into(),
            CallError::Params(error) => Self::own(Kind::InvalidParams, error.to_string()),
        }
    }
}

/// How the place of a socket was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketPlace {
    /// The person named it.
    Named,
    /// It lies where sockets of hob's lie, or where a lock file says.
    Usual,
}

/// The user that root is.
const ROOT: u32 = 0;

/// Whether a client of `own_uid` says anything to a daemon of `server_uid`. Pure. Root may talk to
/// the daemon of any user, but only to one that was named: in an environment that `sudo` kept, the
/// usual place is somebody else's.
fn may_serve(server_uid: u32, own_uid: u32, place: SocketPlace) -> bool {
    let by_name = own_uid == ROOT && place == SocketPlace::Named;
    server_uid == own_uid || server_uid == ROOT || by_name
}

/// Checks who listens, before anything is said.
fn check_server(stream: &UnixStream, socket: &Path, place: SocketPlace) -> Result<(), ClientError> {
    let failed = |error: io::Error| ClientError::not_reached(socket, &error);
    let (server, own) = (stream.peer_cred().map_err(failed)?.uid(), nix::unistd::geteuid().as_raw());
    if may_serve(server, own, place) {
        return Ok(());
    }
    let message = format!("the daemon at {} runs as user {server}, you are user {own}", socket.display());
    let mut failure = ClientError::own(Kind::Refused, message);
    failure.hint = Some("set HOB_HOME to a directory of your own, or name a socket with --socket".to_owned());
    Err(failure)
}

impl Client {
    /// Connects to the socket of a daemon, if that daemon is ours or root's.
    pub async fn connect(socket: &Path, place: SocketPlace) -> Result<Self, ClientError> {
        if socket.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
            let message = format!(
                "the socket path has {} bytes, at most {SOCKET_PATH_BYTES_MAX} work: {}",
                socket.as_os_str().len(),
                socket.display()
            );
            return Err(ClientError::own(Kind::InvalidParams, message));
        }
        let stream = UnixStream::connect(socket).await.map_err(|e| ClientError::not_reached(socket, &e))?;
        check_server(&stream, socket, place)?;
        Ok(Self::over(stream))
    }

    /// Speaks over a stream that is connected already.
    pub fn over(stream: UnixStream) -> Self {
        let server_pid = stream.peer_cred().ok().and_then(|server| server.pid());
        let server_pid = server_pid.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0);
        let (read, write) = stream.into_split();
        let limits = Limits {
            max_frame: LINE_BYTES_MAX,
            inbound_bytes: INBOUND_BYTES_MAX,
            outbound_bytes: OUTBOUND_BYTES_MAX,
            // A daemon of before passes on what agents said as it came.
            oddities: Oddities::Replace,
        };
        let (peer, inbox) = jsonrpc::start(read, write, limits);
        let (sender, events) = mpsc::unbounded_channel();
        let end = Arc::new(End::default());
        let reading = tokio::spawn(receive(inbox, sender, end.clone())).abort_handle();
        Self { peer, events, end, server_pid, _reading: Reading(reading) }
    }

    /// Calls a method and reads its result.
    pub async fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        params: &impl Serialize,
    ) -> Result<T, ClientError> {
        let raw = self.call_raw(method, params).await?;
        serde_json::from_str(raw.get()).map_err(|error| {
            ClientError::own(Kind::Internal, format!("the answer to {method} was not understood: {error}"))
        })
    }

    /// Calls a method; its result as it came.
    pub async fn call_raw(
        &self,
        method: &str,
        params: &impl Serialize,
    ) -> Result<Box<RawValue>, ClientError> {
        match self.peer.call(method, params).await {
            Err(CallError::Closed) => Err(self.why_closed().await),
            answered => Ok(answered?),
        }
    }

    /// What the daemon said last, if it turned us away. It may still be on its way.
    async fn why_closed(&self) -> ClientError {
        tokio::time::timeout(LAST_WORD_TIMEOUT, self.end.silent.cancelled()).await.ok();
        self.end.last_word.get().map_or_else(ClientError::disconnected, |error| error.clone().into())
    }

    /// The next event of any subscription; `None` when the connection is gone. Safe to drop and
    /// ask again.
    pub async fn next_event(&mut self) -> Option<EventNote> {
        let Note(event, room) = self.events.recv().await?;
        drop(room);
        Some(event)
    }

    /// The process that listens, as the system knows it in our pid namespace; `None` if it has no
    /// number there.
    pub fn server_pid(&self) -> Option<u32> {
        self.server_pid
    }

    /// Whether the daemon will say nothing more: every call fails from now on.
    pub fn is_gone(&self) -> bool {
        self.end.silent.is_cancelled()
    }

    /// Resolves when the connection is gone.
    pub async fn closed(&self) {
        self.peer.closed().await;
    }
}

#[derive(serde::Deserialize)]
struct EventParams {
    subscription: String,
    event: Box<RawValue>,
}

/// Takes what comes, until the stream ends: answers wake their callers inside `next`.
async fn receive(mut inbox: Inbox, events: mpsc::UnboundedSender<Note>, end: Arc<End>) {
    let _silent = end.silent.clone().drop_guard();
    while let Some(delivery) = inbox.next().await {
        match delivery.message {
            Message::Notification { method, params: Some(params) } if method == EVENT_METHOD => {
                let Ok(EventParams { subscription, event }) = serde_json::from_str(params.get()) else {
                    continue;
                };
                let note = Note(EventNote { subscription, event }, delivery.permit);
                if events.send(note).is_err() {
                    return;
                }
            }
            // An error that answers nothing: the daemon is full, or we are not welcome. The first
            // says it all.
            Message::Response { result: Err(error), .. } => {
                end.last_word.set(error).ok();
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::error::RpcFailure;
    use tokio::io::AsyncWriteExt as _;

    #[test]
    fn an_error_of_the_daemon_comes_back_whole() {
        let sent = RpcFailure::refused("worktree has work in it").reason("dirty").hint("hob diff");
        let came = ClientError::from(RpcError::from(sent));
        assert_eq!((came.kind, came.code), (Kind::Refused, -32004));
        assert_eq!(came.reasons, ["dirty"]);
        assert_eq!(came.hint.as_deref(), Some("hob diff"));
    }

    #[test]
    fn an_error_without_data_is_known_by_its_code() {
        let came = ClientError::from(RpcError { code: -32001, message: "full".into(), data: None });
        assert_eq!(came.kind, Kind::Overloaded);
        let came = ClientError::from(RpcError { code: -1, message: "odd".into(), data: None });
        assert_eq!((came.kind, came.code), (Kind::Internal, -1));
    }

    #[tokio::test]
    async fn a_socket_that_is_not_there_means_no_daemon() {
        let dir = tempfile::tempdir().expect("a directory");
        let error = Client::connect(&dir.path().join("hob.sock"), SocketPlace::Named)
            .await
            .err()
            .expect("nothing listens");
        assert_eq!(error.kind, Kind::NoDaemon);
        assert_eq!(error.hint.as_deref(), Some("hob up"));
    }

    #[test]
    fn nothing_is_said_to_a_daemon_of_somebody_elses() {
        use SocketPlace::{Named, Usual};
        for (server, own, place, expected) in [
            (1000, 1000, Usual, true),
            (1000, 1000, Named, true),
            // systemd may listen for us.
            (0, 1000, Usual, true),
            (1001, 1000, Usual, false),
            (1001, 1000, Named, false),
            (1000, 0, Usual, false),
            (1000, 0, Named, true),
            (0, 0, Usual, true),
        ] {
            assert_eq!(may_serve(server, own, place), expected, "{server} {own} {place:?}");
        }
    }

    #[tokio::test]
    async fn a_daemon_that_goes_away_fails_the_calls_in_flight() {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let client = Client::over(ours);
        let params = serde_json::json!({});
        let call = client.call_raw("daemon/status", &params);
        let gone = async { drop(theirs) };
        let (answer, ()) = tokio::join!(call, gone);
        assert_eq!(answer.expect_err("gone").kind, Kind::Disconnected);
    }

    #[tokio::test]
    async fn a_dropped_client_neither_writes_nor_reads_any_more() {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        drop(Client::over(ours));
        let refused = async {
            while theirs.write_all(b"{}\n").await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), refused).await.expect("the connection is closed");
    }

    #[tokio::test]
    async fn whoever_is_turned_away_hears_why() {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        let client = Client::over(ours);
        let failure = RpcError::from(RpcFailure::forbidden("not you"));
        let line = serde_json::json!({"jsonrpc": "2.0", "id": null, "error": failure}).to_string() + "\n";
        theirs.write_all(line.as_bytes()).await.expect("told");
        drop(theirs);
        let params = serde_json::json!({});
        let error = client.call_raw("daemon/status", &params).await.expect_err("turned away");
        assert_eq!((error.kind, error.message.as_str()), (Kind::Forbidden, "not you"));
    }
}
