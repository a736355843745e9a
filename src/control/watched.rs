//! The reading half of a connection, watched for two things that a codec cannot see: a line that
//! does not end, and whether a client at the end of its stream is gone or only silent. One that is
//! only silent can still go away: [`StreamEnd::gone`] waits for that.

use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream as StdStream;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::io::Interest;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;

use crate::sync::lock;

/// What is known of a client whose stream has ended.
#[derive(Default)]
enum Ended {
    /// It has not ended, or nothing more can be learnt of it.
    #[default]
    Unknown,
    /// Both directions are shut.
    HungUp,
    /// The client only says nothing more. A second descriptor of the socket tells when that changes.
    Silent(StdStream),
}

/// How the stream of a client ended; shared between its reader and whoever waits for the client to
/// go away.
#[derive(Clone, Default)]
pub(super) struct StreamEnd(Arc<Mutex<Ended>>);

impl StreamEnd {
    /// Whether both directions were shut when the stream was read to its end.
    pub(super) fn is_hung_up(&self) -> bool {
        matches!(*lock(&self.0), Ended::HungUp)
    }

    /// Resolves when the client is gone. Where that cannot be learnt it never does, and a write that
    /// fails has to tell.
    pub(super) async fn gone(&self) {
        let ended = std::mem::take(&mut *lock(&self.0));
        let watched = match ended {
            Ended::HungUp => return,
            Ended::Silent(twin) => UnixStream::from_std(twin).ok(),
            Ended::Unknown => None,
        };
        match watched {
            Some(socket) => hang_up(&socket).await,
            None => std::future::pending().await,
        }
    }

    fn reached(&self, stream: &UnixStream) {
        let ended = if is_hung_up(stream) {
            Ended::HungUp
        } else {
            let twin = stream.as_fd().try_clone_to_owned();
            twin.map_or(Ended::Unknown, |twin| Ended::Silent(twin.into()))
        };
        *lock(&self.0) = ended;
    }
}

/// Waits until both directions of a socket are shut. Its input has ended already, so it is readable
/// for ever; a hang-up also makes it writable once more.
async fn hang_up(socket: &UnixStream) {
    // What would block is forgotten, unless something has happened since.
    let look = || if is_hung_up(socket) { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) };
    while socket.writable().await.is_ok() && socket.try_io(Interest::WRITABLE, look).is_err() {}
}

/// Reads from a socket.
pub(super) struct Watched {
    half: OwnedReadHalf,
    line_bytes: usize,
    line_bytes_max: usize,
    end: StreamEnd,
}

impl Watched {
    /// Reads until a line is longer than `line_bytes_max`, and then no more, as if the stream had
    /// ended there. `end` tells then whether the client is gone.
    pub(super) fn new(half: OwnedReadHalf, line_bytes_max: usize, end: StreamEnd) -> Self {
        Self { half, line_bytes: 0, line_bytes_max, end }
    }

    fn count(&mut self, read: &[u8]) {
        match memchr::memrchr(b'\n', read) {
            Some(end) => self.line_bytes = read.len() - end - 1,
            None => self.line_bytes += read.len(),
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.line_bytes > this.line_bytes_max {
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.half).poll_read(cx, buffer);
        this.count(&buffer.filled()[before..]);
        let ended = match &polled {
            Poll::Ready(Ok(())) => buffer.filled().len() == before && buffer.remaining() > 0,
            Poll::Ready(Err(_)) => true,
            Poll::Pending => false,
        };
        if ended {
            this.end.reached(this.half.as_ref());
        }
        polled
    }
}

/// Whether both directions are shut: a client that only said its last word still listens.
fn is_hung_up(stream: &UnixStream) -> bool {
    let mut fds = [PollFd::new(stream.as_fd(), PollFlags::empty())];
    let polled = poll(&mut fds, PollTimeout::ZERO);
    let seen = fds[0].revents().unwrap_or(PollFlags::POLLHUP);
    polled.is_err() || seen.intersects(PollFlags::POLLHUP | PollFlags::POLLERR)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use futures_util::FutureExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn a_client_that_is_gone_is_told_from_one_that_only_fell_silent() {
        for gone in [false, true] {
            let (ours, mut theirs) = UnixStream::pair().expect("a pair");
            let (half, _write) = ours.into_split();
            let mut read = Watched::new(half, 100, StreamEnd::default());
            theirs.shutdown().await.expect("shut");
            let theirs = (!gone).then_some(theirs);
            assert_eq!(read.read(&mut [0; 8]).await.expect("read"), 0);
            assert_eq!(read.end.is_hung_up(), gone);
            drop(theirs);
        }
    }

    #[tokio::test]
    async fn a_client_that_fell_silent_and_then_goes_is_noticed_whenever_that_is() {
        // Before it is waited for, and while it is.
        for goes_first in [true, false] {
            let (ours, mut theirs) = UnixStream::pair().expect("a pair");
            let (half, _write) = ours.into_split();
            let end = StreamEnd::default();
            let mut read = Watched::new(half, 100, end.clone());
            theirs.shutdown().await.expect("shut");
            assert_eq!(read.read(&mut [0; 8]).await.expect("read"), 0);
            assert!(!end.is_hung_up());
            let gone = end.gone();
            tokio::pin!(gone);
            if goes_first {
                drop(theirs);
            } else {
                assert!((&mut gone).now_or_never().is_none(), "it is there and may still listen");
                tokio::task::yield_now().await;
                drop(theirs);
            }
            tokio::time::timeout(Duration::from_secs(10), gone).await.expect("noticed");
        }
    }

    #[tokio::test]
    async fn a_line_that_does_not_end_is_read_no_further() {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        let (half, _write) = ours.into_split();
        let mut read = Watched::new(half, 10, StreamEnd::default());
        theirs.write_all(b"0123456789\n0123456789\nabcde").await.expect("written");
        assert_eq!(read.read(&mut [0; 64]).await.expect("read"), 27);
        theirs.write_all(b"fghijk").await.expect("written");
        assert_eq!(read.read(&mut [0; 64]).await.expect("read"), 6);
        theirs.write_all(b"l").await.expect("written");
        assert_eq!(read.read(&mut [0; 64]).await.expect("read"), 0, "the line had 11 bytes");
    }
}
