//! A listener that bounds what clients can take: connections at a time, the
//! time each may last, and the bytes each may send.
//!
//! A client that has not said what it wants has little time to say it, and makes room for the
//! next one where there is none: so connections that are kept silent keep nobody out.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Sleep;

/// What clients can take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Connections at a time; the next ones wait.
    pub connections: usize,
    /// From accepting to the end of the request's head.
    pub head: Duration,
    /// From accepting to closing.
    pub lifetime: Duration,
    /// Bytes of a request.
    pub request: usize,
}

/// See the module.
pub(super) struct Bounded {
    listener: TcpListener,
    limits: Limits,
    places: Arc<Semaphore>,
    /// For each connection without a whole head, the oldest first: what closes it.
    silent: VecDeque<oneshot::Sender<()>>,
}

impl Bounded {
    pub(super) fn new(listener: TcpListener, limits: Limits) -> Bounded {
        Bounded { listener, limits, places: Arc::new(Semaphore::new(limits.connections)), silent: VecDeque::new() }
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let (stream, addr) = Listener::accept(&mut self.listener).await;
        self.silent.retain(|silent| !silent.is_closed());
        if self.places.available_permits() == 0 {
            // It may have gone meanwhile.
            self.silent.pop_front().into_iter().for_each(|oldest| _ = oldest.send(()));
        }
        // Nobody closes the semaphore, so there is always a permit in the end.
        let place = self.places.clone().acquire_owned().await.ok();
        let (close, closed) = oneshot::channel();
        self.silent.push_back(close);
        let head = Some(Head { closed, deadline: Box::pin(tokio::time::sleep(self.limits.head)), line_ends: None });
        let deadline = Box::pin(tokio::time::sleep(self.limits.lifetime));
        (Connection { stream, deadline, head, left: self.limits.request, _place: place }, addr)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that fails once it is too old or has sent too much.
pub(super) struct Connection {
    stream: TcpStream,
    deadline: Pin<Box<Sleep>>,
    /// While the head of its request is not whole.
    head: Option<Head>,
    left: usize,
    _place: Option<OwnedSemaphorePermit>,
}

/// What a client has time for until it has said what it wants.
struct Head {
    closed: oneshot::Receiver<()>,
    deadline: Pin<Box<Sleep>>,
    /// How many stand last: two end a head. `None`: no line has begun, and empty ones before
    /// it are skipped by HTTP.
    line_ends: Option<u8>,
}

impl Head {
    /// Whether it is whole with these bytes.
    fn is_whole(&mut self, bytes: &[u8]) -> bool {
        bytes.iter().any(|byte| {
            self.line_ends = match (byte, self.line_ends) {
                (b'\n', ends) => ends.map(|ends| ends + 1),
                (b'\r', ends) => ends,
                _ => Some(0),
            };
            self.line_ends == Some(2)
        })
    }
}

impl Connection {
    /// Ready with an error when the time is up; otherwise wakes the task then.
    fn expired(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if let Some(Head { closed, deadline, .. }) = &mut self.head
            && (deadline.as_mut().poll(cx).is_ready() || Pin::new(closed).poll(cx).is_ready())
        {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match self.deadline.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.expired(cx)?;
        if self.left == 0 {
            return Poll::Ready(Err(io::Error::other("request too large")));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let read = &buf.filled()[before..];
        self.left = self.left.saturating_sub(read.len());
        if self.head.as_mut().is_some_and(|head| head.is_whole(read)) {
            self.head = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.expired(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.expired(cx)?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.expired(cx)?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
