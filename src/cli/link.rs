//! The CLI's end of the control socket: finding it, greeting the daemon, errors as exit codes.
//!
//! It starts no daemon; that is the business of [`super::start`].

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::error::{CliError, Exit};
use crate::control::client::Client;
use crate::control::wire::Moment;
use crate::paths::Paths;

/// How long a daemon may take to answer the greeting.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// The version of the protocol that the CLI speaks.
const PROTOCOL: u32 = 1;

/// Who answered.
#[derive(Debug, Clone, Deserialize)]
pub struct Hello {
    /// Its process.
    pub pid: u32,
    /// The version of the program.
    pub version: String,
    /// The directory of its database.
    pub home: String,
    /// When it was started.
    pub started_at: Moment,
}

/// A connection to a daemon that answered the greeting.
pub struct Link {
    client: Client,
    /// Who answered.
    pub hello: Hello,
    /// Where it was reached.
    pub socket: PathBuf,
}

impl Link {
    /// Connects. Where no socket was told and none answers at the usual place, the lock file
    /// says where the daemon of this home listens.
    pub async fn open(paths: &Paths) -> Result<Self, CliError> {
        match Self::to(&paths.socket).await {
            Err(error) if error.is_no_daemon() && !paths.socket_is_given => match socket_in_lock(&paths.lock)
            {
                Some(socket) if socket != paths.socket => Self::to(&socket).await.map_err(|_| error),
                _ => Err(error),
            },
            linked => linked,
        }
    }

    /// Connects to this socket and no other.
    pub async fn to(socket: &Path) -> Result<Self, CliError> {
        let greet = async {
            let client = Client::connect(socket).await.map_err(CliError::from)?;
            let hello = client.call("daemon/hello", &json!({"client": "hob", "protocol": PROTOCOL})).await;
            Ok::<_, CliError>((client, hello?))
        };
        let (client, hello) = tokio::time::timeout(HELLO_TIMEOUT, greet).await.map_err(|_| {
            let message = format!("the daemon at {} does not answer", socket.display());
            CliError::new(Exit::TryAgain, message)
        })??;
        Ok(Self { client, hello, socket: socket.to_owned() })
    }

    /// Calls a method and understands its result.
    pub async fn call<T: DeserializeOwned>(&self, method: &str, params: Value) -> Result<T, CliError> {
        let answer = self.raw(method, params).await?;
        Ok(serde_json::from_str(answer.get())?)
    }

    /// Calls a method; the result as it came.
    pub async fn raw(&self, method: &str, params: Value) -> Result<Box<RawValue>, CliError> {
        Ok(self.client.call_raw(method, &params).await?)
    }

    /// The next event of any subscription, as it came. Fails when the connection is gone.
    pub async fn event(&mut self) -> Result<Box<RawValue>, CliError> {
        match self.client.next_event().await {
            Some(note) => Ok(note.event),
            None => Err(lost()),
        }
    }
}

/// The socket that the lock file of a home names, after the pid.
pub fn socket_in_lock(lock: &Path) -> Option<PathBuf> {
    let text = std::fs::read_to_string(lock).ok()?;
    let (_pid, socket) = text.trim().split_once(char::is_whitespace)?;
    Some(PathBuf::from(socket.trim()))
}

fn lost() -> CliError {
    CliError::new(Exit::NoDaemon, "the daemon closed the connection")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_file_names_the_socket_after_the_pid() {
        let dir = tempfile::tempdir().unwrap();
        let lock = dir.path().join("hob.lock");
        assert_eq!(socket_in_lock(&lock), None);
        std::fs::write(&lock, "4242\n/run/user/1000/my hob/hob.sock\n").unwrap();
        assert_eq!(socket_in_lock(&lock), Some(PathBuf::from("/run/user/1000/my hob/hob.sock")));
        std::fs::write(&lock, "").unwrap();
        assert_eq!(socket_in_lock(&lock), None);
    }
}
