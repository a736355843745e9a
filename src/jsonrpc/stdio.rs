//! The standard input and output of this process, as one end of a connection.

use std::os::fd::AsFd;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::unix::pipe;

/// Where is read from.
type Reading = Box<dyn AsyncRead + Send + Unpin>;
/// Where is written to.
type Writing = Box<dyn AsyncWrite + Send + Unpin>;

/// Pipes are read without a thread; anything else (a file, a socket, a terminal) with one. Must be
/// called inside a runtime.
pub fn stdio() -> (Reading, Writing) {
    let read = std::io::stdin().as_fd().try_clone_to_owned().and_then(pipe::Receiver::from_owned_fd);
    let write = std::io::stdout().as_fd().try_clone_to_owned().and_then(pipe::Sender::from_owned_fd);
    (
        read.map_or_else(|_| Box::new(tokio::io::stdin()) as _, |read| Box::new(read) as _),
        write.map_or_else(|_| Box::new(tokio::io::stdout()) as _, |write| Box::new(write) as _),
    )
}
