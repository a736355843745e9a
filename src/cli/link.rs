//! The CLI's end of the control socket: finding it, greeting the daemon, errors as exit codes.
//!
//! It starts no daemon; that is the business of [`super::start`].

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::error::{CliError, Exit};
use crate::control::PROTOCOL;
use crate::control::client::{Client, SocketPlace};
use crate::control::wire::Moment;
use crate::paths::Paths;

/// How long a daemon may take to answer the greeting.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

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
    /// What it lets us do: `full`, or `agent` for a process of one of its agents.
    #[serde(default)]
    pub scope: String,
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
        let place = if paths.socket_is_given { SocketPlace::Named } else { SocketPlace::Usual };
        match Self::to(&paths.socket, place).await {
            Err(error) if error.is_no_daemon() && !paths.socket_is_given => match socket_in_lock(&paths.lock)
            {
                Some(socket) if socket != paths.socket => Self::to(&socket, place).await.map_err(|_| error),
                _ => Err(error),
            },
            linked => linked,
        }
    }

    /// Connects to this socket and no other.
    pub async fn to(socket: &Path, place: SocketPlace) -> Result<Self, CliError> {
        let greet = async {
            let client = Client::connect(socket, place).await.map_err(CliError::from)?;
            let hello = client.call("daemon/hello", &json!({"client": "hob", "protocol": PROTOCOL})).await;
            Ok::<_, CliError>((client, hello?))
        };
        let (client, hello) = tokio::time::timeout(HELLO_TIMEOUT, greet).await.map_err(|_| {
            let message = format!("the daemon at {} does not answer", socket.display());
            CliError::new(Exit::TryAgain, message)
        })??;
        Ok(Self { client, hello, socket: socket.to_owned() })
    }

    /// The process that listens, by its number here; `None` if it has none.
    pub fn server_pid(&self) -> Option<u32> {
        self.client.server_pid()
    }

    /// The bare connection.
    pub fn into_client(self) -> Client {
        self.client
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

    /// Whether the connection is of no more use.
    pub fn is_gone(&self) -> bool {
        self.client.is_gone()
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

/// What to say of a daemon that holds the lock of a home but does not answer at its socket.
pub fn unreachable_holder(paths: &Paths) -> Option<CliError> {
    let pid = holder(&paths.lock)?;
    let message = format!("hobd (pid {pid}) runs here, but nothing answers at {}", paths.socket.display());
    Some(CliError::new(Exit::TryAgain, message).hint(format!("try again in a moment, else `kill {pid}`")))
}

/// The process that holds the lock. Looks only: a lock of our own, however short, would be in the
/// way of a daemon that starts just now.
fn holder(lock: &Path) -> Option<u32> {
    let inode = std::fs::metadata(lock).ok()?.ino();
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    // `1: FLOCK  ADVISORY  WRITE 708 fd:01:3954371 0 EOF`
    locks.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (kind, pid) = (words.next()?, words.nth(2)?);
        let of = words.next()?.rsplit(':').next()?.parse::<u64>().ok()?;
        (kind == "FLOCK" && of == inode).then(|| pid.parse().ok())?
    })
}

fn lost() -> CliError {
    CliError::new(Exit::NoDaemon, "the daemon closed the connection")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_a_lock_is_found_without_taking_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hob.lock");
        assert_eq!(holder(&path), None);
        let held = crate::daemon::HomeLock::take(&path, Path::new("/run/hob.sock")).unwrap();
        assert_eq!(holder(&path), Some(std::process::id()));
        let env = [("HOB_HOME".to_owned(), dir.path().display().to_string())].into();
        let paths = Paths::resolve(&crate::paths::PathOverrides::default(), &env).unwrap();
        let error = unreachable_holder(&paths).unwrap();
        assert!(error.message.contains(&format!("pid {}", std::process::id())), "{}", error.message);
        drop(held);
        assert!(unreachable_holder(&paths).is_none());
        assert_eq!(holder(&path), None);
    }

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
