//! Why an agent could not be started, and whether trying again could help.

use std::io;
use std::path::{Path, PathBuf};

use hob_actors::backoff::Cause;

use super::talk::Stage;

/// Why an agent could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// There is no such program.
    #[error("no such program: {}", .0.display())]
    NotFound(PathBuf),
    /// The program is there, and what its first line or its header names as interpreter is not.
    #[error("the interpreter of {} is missing", .0.display())]
    NoInterpreter(PathBuf),
    /// It may not be executed: no permission, or it is a directory.
    #[error("not executable: {}", .0.display())]
    NotExecutable(PathBuf),
    /// It is no program for this machine.
    #[error("not a program for this machine: {}", .0.display())]
    WrongFormat(PathBuf),
    /// The working directory cannot be entered.
    #[error("cannot enter the directory {}", .0.display())]
    Cwd(PathBuf, #[source] io::Error),
    /// A limit of the system stands in the way.
    #[error("a limit of the system is reached")]
    Limit(#[source] io::Error),
    /// Something else failed: what was attempted, and why.
    #[error("could not {0}")]
    Other(&'static str, #[source] Box<dyn std::error::Error + Send + Sync>),
}

impl SpawnError {
    /// What kind of failure it is: whether another attempt with the same request can help.
    pub fn cause(&self) -> Cause {
        match self {
            Self::NotFound(_)
            | Self::NoInterpreter(_)
            | Self::NotExecutable(_)
            | Self::WrongFormat(_)
            | Self::Cwd(..) => Cause::Configuration,
            // Too long a command or environment stays too long; processes and memory come back.
            Self::Limit(error) if error.raw_os_error() == Some(libc::E2BIG) => Cause::Configuration,
            Self::Limit(_) => Cause::NoRoom,
            Self::Other(..) => Cause::StartFailure,
        }
    }

    /// Says what was attempted when `source` happened.
    pub(super) fn other(
        action: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Other(action, source.into())
    }

    /// What an error number of the keeper means.
    pub(super) fn from_keeper(stage: Stage, errno: i32, program: &Path, cwd: &Path) -> Self {
        let error = io::Error::from_raw_os_error(errno);
        let program = program.to_owned();
        match (stage, errno) {
            (_, libc::E2BIG | libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE) => {
                Self::Limit(error)
            }
            (Stage::Cwd, _) => Self::Cwd(cwd.to_owned(), error),
            (Stage::Setup, _) => Self::other("prepare the start of the agent", error),
            // The kernel answers the same whether the program or its interpreter is missing.
            (Stage::Program, libc::ENOENT) if program.exists() => Self::NoInterpreter(program),
            (Stage::Program, libc::ENOENT | libc::ENOTDIR) => Self::NotFound(program),
            (Stage::Program, libc::EACCES | libc::EPERM | libc::EISDIR) => Self::NotExecutable(program),
            (Stage::Program, libc::ENOEXEC) => Self::WrongFormat(program),
            (Stage::Program, _) => Self::other("execute the agent's program", error),
        }
    }
}
