//! The reading half of a connection, watched for two things that a codec cannot see: a line that
//! does not end, and whether a client at the end of its stream is gone or only silent.

use std::io;
use std::os::fd::AsFd as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;

/// Reads from a socket.
pub(super) struct Watched {
    half: OwnedReadHalf,
    line_bytes: usize,
    line_bytes_max: usize,
    hung_up: Arc<AtomicBool>,
}

impl Watched {
    /// Reads until a line is longer than `line_bytes_max`, and then no more, as if the stream had
    /// ended there. `hung_up` tells at the end whether the client is gone.
    pub(super) fn new(half: OwnedReadHalf, line_bytes_max: usize, hung_up: Arc<AtomicBool>) -> Self {
        Self { half, line_bytes: 0, line_bytes_max, hung_up }
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
        if ended && is_hung_up(this.half.as_ref()) {
            this.hung_up.store(true, Ordering::Release);
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
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn a_client_that_is_gone_is_told_from_one_that_only_fell_silent() {
        for gone in [false, true] {
            let (ours, mut theirs) = UnixStream::pair().expect("a pair");
            let (half, _write) = ours.into_split();
            let mut read = Watched::new(half, 100, Arc::default());
            theirs.shutdown().await.expect("shut");
            let theirs = (!gone).then_some(theirs);
            assert_eq!(read.read(&mut [0; 8]).await.expect("read"), 0);
            assert_eq!(read.hung_up.load(Ordering::Acquire), gone);
            drop(theirs);
        }
    }

    #[tokio::test]
    async fn a_line_that_does_not_end_is_read_no_further() {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        let (half, _write) = ours.into_split();
        let mut read = Watched::new(half, 10, Arc::default());
        theirs.write_all(b"0123456789\n0123456789\nabcde").await.expect("written");
        assert_eq!(read.read(&mut [0; 64]).await.expect("read"), 27);
        theirs.write_all(b"fghijk").await.expect("written");
        assert_eq!(read.read(&mut [0; 64]).await.expect("read"), 6);
        theirs.write_all(b"l").await.expect("written");
        assert_eq!(read.read(&mut [0; 64]).await.expect("read"), 0, "the line had 11 bytes");
    }
}
