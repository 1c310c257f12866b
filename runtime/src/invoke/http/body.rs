//! Bodies on their way: counted, timed, and broken off when the guest is gone.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};
use wasmtime_wasi_http::{Error, WasiBody};

use super::budget::{Attempt, Exceeded};
use super::connections::Lease;
use super::send::is_exhausted;

/// A request's body, as the connection sends it.
pub(super) struct RequestBody {
    inner: WasiBody,
    attempt: Arc<Attempt>,
}

impl RequestBody {
    /// Takes its bytes from the attempt's budget as they are sent.
    pub(super) fn new(inner: WasiBody, attempt: Arc<Attempt>) -> RequestBody {
        RequestBody { inner, attempt }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        // A guest that is gone drops its end, which looks like the end of the
        // body. An error makes the connection break off instead.
        if self.attempt.is_over() {
            return Poll::Ready(Some(Err(Error::ConnectionTerminated)));
        }
        Poll::Ready(match frame {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if self.attempt.take(Exceeded::RequestBytes, data.len()) => Some(Ok(Frame::data(data))),
                Ok(_) => Some(Err(Error::HttpRequestBodySize(None))),
                // Trailers would have to be announced in a field that guests cannot set.
                Err(_) => None,
            },
            other => other,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A response's body, as the guest reads it.
pub(super) struct ResponseBody {
    inner: Incoming,
    /// The longest silence.
    between: Duration,
    silence: Option<Pin<Box<Sleep>>>,
    /// What the request is open for; `None` once the body has ended.
    open: Option<Open>,
}

/// A response that has not ended.
pub(super) struct Open {
    pub attempt: Arc<Attempt>,
    /// To be used again when the body was read to its end; dropping it closes.
    pub lease: Lease,
}

impl ResponseBody {
    /// The rest of a response whose fields are read.
    pub(super) fn new(inner: Incoming, between: Duration, open: Open) -> ResponseBody {
        let mut body = ResponseBody { inner, between, silence: None, open: Some(open) };
        if body.inner.is_end_stream() {
            body.end();
        }
        body
    }

    fn end(&mut self) {
        self.silence = None;
        if let Some(open) = self.open.take() {
            open.lease.give_back();
        }
    }

    fn fail(&mut self, error: Error) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.silence = None;
        self.open = None;
        Poll::Ready(Some(Err(error)))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Some(open) = &self.open else { return Poll::Ready(None) };
        let attempt = Arc::clone(&open.attempt);
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(None) => {
                self.end();
                Poll::Ready(None)
            }
            // What stands between the data of a response, lengths and fields, is the server's too.
            Poll::Ready(Some(Err(error))) if is_exhausted(&error) => {
                attempt.exceed(Exceeded::ResponseBytes);
                self.fail(Error::HttpResponseBodySize(None))
            }
            Poll::Ready(Some(Err(_))) => self.fail(Error::HttpResponseIncomplete),
            Poll::Ready(Some(Ok(frame))) => {
                let size = match (frame.data_ref(), frame.trailers_ref()) {
                    (Some(data), _) => data.len(),
                    (_, Some(trailers)) => super::request::size_of(trailers),
                    _ => 0,
                };
                if !attempt.take(Exceeded::ResponseBytes, size) {
                    return self.fail(Error::HttpResponseBodySize(None));
                }
                self.silence = None;
                if self.inner.is_end_stream() {
                    self.end();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Pending => {
                let until = Instant::now() + self.between;
                let silence = self.silence.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
                match silence.as_mut().poll(cx) {
                    Poll::Ready(()) => self.fail(Error::ConnectionReadTimeout),
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.open.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
