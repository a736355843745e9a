//! Standard input that tells when it has ended: a client that goes away is not one that cancels.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Reads, and fires a token at the end of what it reads.
pub(super) struct Ears<R> {
    inner: R,
    gone: Option<DropGuard>,
}

impl<R> Ears<R> {
    /// Reads from `inner`.
    pub(super) fn new(inner: R, gone: CancellationToken) -> Self {
        Self { inner, gone: Some(gone.drop_guard()) }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Ears<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buffer);
        let ended = match &polled {
            Poll::Ready(Ok(())) => buffer.filled().len() == before && buffer.remaining() > 0,
            Poll::Ready(Err(_)) => true,
            Poll::Pending => false,
        };
        if ended {
            self.gone = None;
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn the_end_is_told_and_not_before() {
        let gone = CancellationToken::new();
        let mut ears = Ears::new(&b"word"[..], gone.clone());
        let mut word = [0; 4];
        ears.read_exact(&mut word).await.expect("read");
        assert!(!gone.is_cancelled());
        assert_eq!(ears.read(&mut word).await.expect("read"), 0);
        assert!(gone.is_cancelled());
    }
}
