//! How much a server may send on a connection: before the head of its response, and after it.
//!
//! hyper reads past any number of informational responses (1xx), and of blanks in the length of
//! a chunk, in one poll as long as there are more: without a bound a server could keep the
//! worker's thread busy with them, and no budget would count it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes from the request to the head of its response, what is read of the body with it
/// included: several times what hyper buffers.
const MOST: usize = 256 * 1024;

/// Bytes that a body may have beside its data, where that is short: lengths of chunks, trailers.
const FRAMING: usize = 64 * 1024;

/// A connection's allowance. Used on one thread; atomic because tasks have to be `Send`.
#[derive(Debug)]
pub(super) struct Allowance(AtomicUsize);

/// A server sent more than its connection's allowance.
#[derive(Debug, thiserror::Error)]
#[error("the server sent more than it may")]
pub(super) struct Exhausted;

impl Allowance {
    /// For a connection without a request.
    pub(super) fn new() -> Arc<Allowance> {
        Arc::new(Allowance(AtomicUsize::new(usize::MAX)))
    }

    /// A request is sent: from now on every byte counts.
    pub(super) fn begin(&self) {
        self.0.store(MOST, Ordering::Relaxed);
    }

    /// The head is there. The data of the body is counted as what it is, and may be `data`
    /// bytes; with what is around it, it may be twice that.
    pub(super) fn end(&self, data: usize) {
        self.0.store(data.saturating_mul(2).saturating_add(FRAMING), Ordering::Relaxed);
    }

    fn take(&self, bytes: usize) -> bool {
        let left = self.0.load(Ordering::Relaxed);
        self.0.store(left.saturating_sub(bytes), Ordering::Relaxed);
        bytes <= left
    }
}

/// A stream whose reading counts.
pub(super) struct Counted<S> {
    pub stream: S,
    pub allowance: Arc<Allowance>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let read = buffer.filled().len() - before;
        Poll::Ready(if self.allowance.take(read) { Ok(()) } else { Err(io::Error::other(Exhausted)) })
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
