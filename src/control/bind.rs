//! Makes the listening socket: 0600 from birth, and in its place in one step.
//!
//! Does not decide whether a daemon may run here: the lock file beside the database does.

use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr};
use nix::sys::stat::Mode;
use tokio::net::UnixListener;

/// The longest path of a socket, in bytes: `sun_path` of unix(7) has 108 with its final zero.
pub const SOCKET_PATH_BYTES_MAX: usize = 107;
/// Only the owner may connect.
const SOCKET_MODE: u32 = 0o600;
/// The shortest name that a socket is given before it moves into its place.
const TEMPORARY_NAME_CHARS_MIN: usize = 8;
/// How many such names are tried.
const TEMPORARY_NAMES_MAX: u32 = 16;

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// No socket can have that path.
    #[error("the socket path has {bytes} bytes, at most {SOCKET_PATH_BYTES_MAX} work: {}", path.display())]
    TooLong {
        /// The path.
        path: PathBuf,
        /// Its length.
        bytes: usize,
    },
    /// Something else lies there; it is not ours to replace.
    #[error("{} is in the way and is no socket", .0.display())]
    InTheWay(PathBuf),
    /// Another program answers there.
    #[error("another program listens at {}", .0.display())]
    Taken(PathBuf),
    /// The system said no.
    #[error("could not {action} {}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl BindError {
    /// Something that a person can type.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::TooLong { .. } => Some("HOB_SOCKET=/tmp/hob.sock, or a shorter HOB_HOME".to_owned()),
            Self::InTheWay(path) => Some(format!("ls -l {}", path.display())),
            Self::Taken(_) => Some("HOB_SOCKET, or `--socket`, chooses another place".to_owned()),
            Self::Io { .. } => None,
        }
    }

    fn io(action: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Io { action, path: path.to_owned(), source: source.into() }
    }
}

/// Listens at `path`, replacing a socket that nobody listens at. Must be called inside a runtime.
pub fn bind(path: &Path) -> Result<UnixListener, BindError> {
    let bytes = path.as_os_str().len();
    if bytes > SOCKET_PATH_BYTES_MAX {
        return Err(BindError::TooLong { path: path.to_owned(), bytes });
    }
    check_place(path)?;
    let (listener, temporary) = listen_beside(path)?;
    if let Err(error) = std::fs::rename(&temporary, path) {
        // The error of the rename is the one worth telling.
        std::fs::remove_file(&temporary).ok();
        return Err(BindError::io("put the socket at", path, error));
    }
    UnixListener::from_std(listener).map_err(|error| BindError::io("listen at", path, error))
}

/// Listens at `path` once more where its file is gone, as after a clean-up of the runtime directory;
/// `None` while something lies there.
pub(super) async fn put_back(path: &Path) -> Result<Option<UnixListener>, BindError> {
    match tokio::fs::symlink_metadata(path).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        _ => return Ok(None),
    }
    if let Some(parent) = path.parent() {
        let made = tokio::fs::DirBuilder::new().recursive(true).mode(0o700).create(parent).await;
        made.map_err(|error| BindError::io("make the directory of", path, error))?;
    }
    bind(path).map(Some)
}

/// Takes a listener that somebody else made, as systemd does. Must be called inside a runtime.
pub fn adopt(listener: StdListener) -> io::Result<UnixListener> {
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

/// Only nothing, or a socket that nobody answers at, may be replaced.
fn check_place(path: &Path) -> Result<(), BindError> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(BindError::io("look at", path, error)),
        Ok(there) if !there.file_type().is_socket() => Err(BindError::InTheWay(path.to_owned())),
        Ok(_) if is_answered(path) => Err(BindError::Taken(path.to_owned())),
        Ok(_) => Ok(()),
    }
}

/// Whether somebody listens at a socket. Never waits: a full queue is an answer too.
fn is_answered(path: &Path) -> bool {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let connected = nix::sys::socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)
        .and_then(|socket| nix::sys::socket::connect(socket.as_raw_fd(), &UnixAddr::new(path)?));
    matches!(connected, Ok(()) | Err(Errno::EAGAIN))
}

/// Listens at a new name in the directory of `path`.
fn listen_beside(path: &Path) -> Result<(StdListener, PathBuf), BindError> {
    let mut tries = 0;
    loop {
        let temporary = temporary_name(path);
        tries += 1;
        match listen(&temporary) {
            Ok(listener) => return Ok((listener, temporary)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries < TEMPORARY_NAMES_MAX => {}
            Err(error) => return Err(BindError::io("make a socket beside", path, error)),
        }
    }
}

/// A name beside `path`, no longer than its own where that is long enough, so that it fits too.
fn temporary_name(path: &Path) -> PathBuf {
    let n_chars = path.file_name().map_or(0, |name| name.as_bytes().len()).max(TEMPORARY_NAME_CHARS_MIN);
    let random = std::iter::repeat_with(fastrand::alphanumeric).take(n_chars.min(16) - 1);
    path.with_file_name(std::iter::once('.').chain(random).collect::<String>())
}

fn listen(path: &Path) -> io::Result<StdListener> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = nix::sys::socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    // On Linux the file of a socket gets the mode that the socket has when it is bound, so there
    // is no moment in which somebody else could connect.
    nix::sys::stat::fchmod(&socket, Mode::from_bits_truncate(SOCKET_MODE))?;
    nix::sys::socket::bind(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    // For systems where it does not: nobody is answered before `listen`.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(SOCKET_MODE))?;
    nix::sys::socket::listen(&socket, Backlog::MAXALLOWABLE)?;
    Ok(StdListener::from(socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir).expect("a directory");
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name")).collect()
    }

    #[tokio::test]
    async fn the_socket_is_for_its_owner_alone_and_nothing_lies_beside_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("hob.sock");
        let listener = bind(&path).expect("bound");
        let mode = std::fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(names(dir.path()), ["hob.sock"]);
        let (client, server) = tokio::join!(tokio::net::UnixStream::connect(&path), listener.accept());
        client.expect("connected");
        server.expect("accepted");
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("hob.sock");
        drop(bind(&path).expect("bound"));
        assert!(path.exists(), "a dropped listener leaves its file");
        // A child that a neighbour forks listens, too, until it is executed.
        let replaced = async {
            loop {
                match bind(&path) {
                    Ok(listener) => return listener,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        };
        let limit = std::time::Duration::from_secs(20);
        let alive = tokio::time::timeout(limit, replaced).await.expect("replaced");
        let error = bind(&path).expect_err("taken");
        assert!(matches!(error, BindError::Taken(_)), "{error}");
        drop(alive);
    }

    #[tokio::test]
    async fn a_socket_whose_file_is_gone_is_put_back_with_its_directory() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("run").join("hob.sock");
        let back = put_back(&path).await.expect("bound").expect("it was gone");
        assert!(put_back(&path).await.expect("nothing to do").is_none(), "it is there");
        std::fs::remove_dir_all(dir.path().join("run")).expect("removed");
        let again = put_back(&path).await.expect("bound").expect("it was gone");
        let (client, server) = tokio::join!(tokio::net::UnixStream::connect(&path), again.accept());
        client.expect("connected");
        server.expect("accepted");
        drop(back);
    }

    #[tokio::test]
    async fn a_file_in_the_way_is_left_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("hob.sock");
        std::fs::write(&path, "precious").expect("written");
        assert!(matches!(bind(&path), Err(BindError::InTheWay(_))));
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "precious");
        assert_eq!(names(dir.path()), ["hob.sock"]);
    }

    #[tokio::test]
    async fn the_longest_path_works_and_a_longer_one_is_refused_with_a_hint() {
        let dir = tempfile::tempdir().expect("a directory");
        let room = SOCKET_PATH_BYTES_MAX - dir.path().as_os_str().len() - 1;
        bind(&dir.path().join("x".repeat(room))).expect("107 bytes fit");
        let error = bind(&dir.path().join("x".repeat(room + 1))).expect_err("108 bytes do not");
        assert!(matches!(error, BindError::TooLong { bytes: 108, .. }), "{error}");
        assert!(error.hint().is_some());
    }
}
