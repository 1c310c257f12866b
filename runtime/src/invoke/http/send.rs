//! One request, from the guest's word to the response's body.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::timeout;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use super::Client;
use super::body::{Open, RequestBody, ResponseBody};
use super::budget::{Attempt, Exceeded};
use super::connections::Lease;
use super::dial::{NotDialled, patience};
use super::head::Exhausted;
use super::request::{Prepared, size_of};

/// Sends a request whose origin is listed, and reads the response's head.
///
/// # Errors
/// What to tell the guest, and what to tell people.
pub(super) async fn send(
    client: Arc<Client>,
    attempt: Arc<Attempt>,
    prepared: Prepared,
    body: WasiBody,
    options: RequestOptions,
) -> Result<Response<WasiBody>, NotDialled> {
    let left = || attempt.deadline().saturating_duration_since(Instant::now());
    let deadline = tokio::time::Instant::now() + patience(options.connect_timeout, left());
    let Prepared { origin, head, .. } = prepared;
    let mut request = head.map(|()| RequestBody::new(body, Arc::clone(&attempt)));
    let mut idle = client.connections.take(&origin, Instant::now());
    if idle.is_some() {
        // First the runtime looks at its sockets: a server may have closed this one while
        // the thread was busy, and a request that is sent into it is lost.
        tokio::task::yield_now().await;
    }
    let (response, lease) = loop {
        let used_before = idle.is_some();
        let mut lease = match idle.take() {
            Some(lease) => lease,
            None => {
                let slot = tokio::time::timeout_at(deadline, client.connections.slot()).await;
                let slot = slot.ok().flatten().ok_or(Error::ConnectionLimitReached)?;
                let connection = client.dialler.dial(&origin, slot, deadline).await?;
                Lease { origin: origin.clone(), connection, pool: Arc::clone(&client.connections) }
            }
        };
        lease.connection.allowance.begin();
        let sent = lease.connection.sender.try_send_request(request);
        match timeout(patience(options.first_byte_timeout, left()), sent).await {
            Ok(Ok(response)) => {
                lease.connection.allowance.end(attempt.left(Exceeded::ResponseBytes));
                break (response, lease);
            }
            Err(_) => return Err(Error::HttpResponseTimeout.into()),
            Ok(Err(mut failed)) => match failed.take_message() {
                // The server had closed an idle connection, and not a byte was sent.
                Some(unsent) if used_before => request = unsent,
                _ => return Err(of_hyper(failed.error()).into()),
            },
        }
    };
    let between = patience(options.between_bytes_timeout, left());
    received(response, lease, attempt, between).map_err(NotDialled::from)
}

fn received(
    response: Response<Incoming>,
    lease: Lease,
    attempt: Arc<Attempt>,
    between: Duration,
) -> Result<Response<WasiBody>, Error> {
    // What follows on the connection is no HTTP any more; no guest asked for that.
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Error::HttpUpgradeFailed);
    }
    if !attempt.take(Exceeded::ResponseBytes, size_of(response.headers())) {
        return Err(Error::HttpResponseHeaderSectionSize(None));
    }
    Ok(response.map(|body| ResponseBody::new(body, between, Open { attempt, lease }).boxed_unsync()))
}

/// Whether the server sent more than its connection's allowance.
pub(super) fn is_exhausted(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error);
    let io = source.and_then(|source| source.downcast_ref::<std::io::Error>());
    io.and_then(std::io::Error::get_ref).is_some_and(|inner| inner.is::<Exhausted>())
}

fn of_hyper(error: &hyper::Error) -> Error {
    // A body of ours that ended in an error: the guest gave it up, or it was too large.
    let source = std::error::Error::source(error);
    let io = source.and_then(|source| source.downcast_ref::<std::io::Error>());
    if is_exhausted(error) {
        return Error::HttpResponseHeaderSectionSize(None);
    }
    match source.and_then(|source| source.downcast_ref::<Error>()) {
        Some(Error::HttpRequestBodySize(size)) => Error::HttpRequestBodySize(*size),
        Some(_) => Error::ConnectionTerminated,
        None if error.is_parse_too_large() => Error::HttpResponseHeaderSectionSize(None),
        None if error.is_parse() => Error::HttpProtocolError,
        None if io.is_some() || error.is_incomplete_message() || error.is_closed() || error.is_canceled() => {
            Error::ConnectionTerminated
        }
        None => Error::HttpProtocolError,
    }
}
