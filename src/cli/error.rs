//! What a command can fail with: a kind that decides the exit code, a message, and a hint.
//!
//! Messages are lower-case fragments, hints are something that a person can type. Printing them
//! and ending the program is the business of [`super::main`].

use std::fmt;
use std::io;

use crate::control::client::ClientError;
use crate::control::error::Kind;
use crate::control::wire::Fault;

/// The reason of a refusal that is about the configuration.
const BAD_CONFIG: &str = "bad_config";

/// How a command ended. The number of each is the exit code of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// It failed: an agent, a check, or hob itself.
    Failed = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// No daemon answers.
    NoDaemon = 3,
    /// Refused for safety.
    Refused = 4,
    /// Nothing of that name.
    NotFound = 5,
    /// Taken, closed already, or in progress.
    Conflict = 6,
    /// The agent cannot be used (`EX_UNAVAILABLE`).
    Unavailable = 69,
    /// Try again (`EX_TEMPFAIL`): overloaded, shutting down, timed out.
    TryAgain = 75,
    /// Bad configuration (`EX_CONFIG`).
    Config = 78,
    /// Cancelled (128 + SIGINT).
    Cancelled = 130,
}

impl Exit {
    /// The exit that stands for a kind of failure of the control socket.
    pub fn of_kind(kind: Kind) -> Self {
        match kind {
            Kind::InvalidParams => Self::Usage,
            Kind::NoDaemon | Kind::Disconnected => Self::NoDaemon,
            Kind::Refused => Self::Refused,
            Kind::NotFound => Self::NotFound,
            Kind::Conflict => Self::Conflict,
            Kind::Unavailable => Self::Unavailable,
            Kind::Overloaded | Kind::ShuttingDown => Self::TryAgain,
            Kind::Cancelled => Self::Cancelled,
            Kind::Parse | Kind::InvalidRequest | Kind::UnknownMethod | Kind::Internal | Kind::Forbidden => {
                Self::Failed
            }
        }
    }

    /// The exit that stands for a terminal state of a task.
    pub fn of_task(state: &str, fault: Option<Fault>) -> Self {
        match (state, fault) {
            ("completed", _) => Self::Done,
            ("cancelled", _) => Self::Cancelled,
            (_, Some(Fault::Unavailable | Fault::LogIn)) => Self::Unavailable,
            (_, None) => Self::Failed,
        }
    }
}

/// Why a command did not do what was asked.
#[derive(Debug)]
pub struct CliError {
    /// Decides the exit code.
    pub exit: ExitCode,
    /// A lower-case fragment; empty where all was said already.
    pub message: String,
    /// What the person can type.
    pub hint: Option<String>,
}

/// An exit of ours, or one that is passed on from a daemon that would not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitCode {
    /// One of ours.
    Own(Exit),
    /// The daemon's, whatever it was.
    Relayed(u8),
    /// The reader of our output went away: end quietly, with 0.
    ClosedPipe,
}

impl From<ExitCode> for u8 {
    fn from(code: ExitCode) -> Self {
        match code {
            ExitCode::Own(exit) => exit as Self,
            ExitCode::Relayed(code) => code,
            ExitCode::ClosedPipe => 0,
        }
    }
}

impl CliError {
    /// An error without a hint.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit: ExitCode::Own(exit), message: message.into(), hint: None }
    }

    /// The command line makes no sense.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Something of hob's own failed.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// Adds what the person can type.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Whether nothing of that name was found.
    pub fn is_not_found(&self) -> bool {
        self.exit == ExitCode::Own(Exit::NotFound)
    }

    /// Whether no daemon answered.
    pub fn is_no_daemon(&self) -> bool {
        self.exit == ExitCode::Own(Exit::NoDaemon)
    }
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        let mut message = error.message;
        if let Some(path) = error.path.filter(|path| !path.is_empty() && !message.contains(path)) {
            message = format!("{message} (at `{path}`)");
        }
        let is_config = error.reasons == [BAD_CONFIG];
        for reason in error.reasons.iter().filter(|_| !is_config) {
            message.push_str("\n  - ");
            message.push_str(reason);
        }
        let exit = if is_config { Exit::Config } else { Exit::of_kind(error.kind) };
        Self { exit: ExitCode::Own(exit), message, hint: error.hint }
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CliError {}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self { exit: ExitCode::ClosedPipe, message: String::new(), hint: None };
        }
        Self::failed(error.to_string())
    }
}

impl From<serde_json::Error> for CliError {
    fn from(error: serde_json::Error) -> Self {
        match error.io_error_kind() {
            Some(kind) => io::Error::from(kind).into(),
            None => Self::failed(format!("unexpected JSON from the daemon: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(kind: Kind, message: &str) -> ClientError {
        ClientError {
            kind,
            code: kind.code(),
            message: message.into(),
            hint: None,
            reasons: vec![],
            path: None,
        }
    }

    #[test]
    fn a_kind_of_the_socket_decides_the_exit_code() {
        let cases = [
            (Kind::Internal, 1),
            (Kind::InvalidParams, 2),
            (Kind::NoDaemon, 3),
            (Kind::Disconnected, 3),
            (Kind::Refused, 4),
            (Kind::NotFound, 5),
            (Kind::Conflict, 6),
            (Kind::Unavailable, 69),
            (Kind::Overloaded, 75),
            (Kind::ShuttingDown, 75),
            (Kind::Cancelled, 130),
        ];
        for (kind, code) in cases {
            assert_eq!(u8::from(CliError::from(failure(kind, "no")).exit), code, "{kind:?}");
        }
    }

    #[test]
    fn an_error_of_the_socket_keeps_its_reasons_and_its_hint() {
        let came = ClientError {
            reasons: vec!["dirty: 2 files".into()],
            hint: Some("hob diff".into()),
            ..failure(Kind::Refused, "session has work in it")
        };
        let error = CliError::from(came);
        assert_eq!(error.message, "session has work in it\n  - dirty: 2 files");
        assert_eq!(error.hint.as_deref(), Some("hob diff"));
    }

    #[test]
    fn a_reload_of_a_bad_configuration_is_told_from_other_refusals() {
        let came = ClientError { reasons: vec![BAD_CONFIG.into()], ..failure(Kind::Refused, "c.toml:1: no") };
        let error = CliError::from(came);
        assert_eq!((u8::from(error.exit), error.message.as_str()), (78, "c.toml:1: no"));
    }

    #[test]
    fn a_wrong_parameter_is_named_once() {
        let at =
            |message| ClientError { path: Some("limit".into()), ..failure(Kind::InvalidParams, message) };
        assert_eq!(CliError::from(at("not a number")).message, "not a number (at `limit`)");
        assert_eq!(CliError::from(at("limit is no number")).message, "limit is no number");
    }

    #[test]
    fn a_closed_pipe_ends_quietly_and_well() {
        let error = CliError::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((u8::from(error.exit), error.message.as_str()), (0, ""));
    }
}
