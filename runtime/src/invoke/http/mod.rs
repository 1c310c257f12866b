//! Outgoing HTTP: `wasi:http` with a sender of our own.
//!
//! In: a guest's request. Out: the response, or one of wasi:http's error codes.
//! The way: the request is checked and written anew (`request`), its origin is
//! looked for in the grant, a connection is taken from the pool (`connections`)
//! or made (`dial`, `resolve`, `address`, `tls`), and both bodies are counted
//! and timed on their way (`head`, `body`, `budget`, `send`). `bounds` says how long what a
//! guest says of a request may be. Redirects are answers like
//! others: the guest sees them, and what it then asks for is checked again.

mod address;
mod body;
mod bounds;
mod budget;
mod connections;
mod dial;
mod head;
mod request;
mod resolve;
mod send;
mod tls;

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use http::HeaderName;
use tokio_rustls::rustls::ClientConfig;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::{Error, ForbiddenHeaderFilter, RequestOptions, Result, WasiBody, WasiHttpHooks};

pub(super) use bounds::add_to_linker;
pub(super) use budget::Exceeded;
pub use resolve::{Addresses, Resolve, System};

use super::output_log::Log;
use crate::manifest::{Http, Limits, Scheme};
use budget::Attempt;
use connections::Connections;
use dial::Dialler;

/// Bytes of header fields that one map of a guest's may hold, the host's own
/// bookkeeping included.
pub(super) const FIELD_BYTES: usize = 16 * 1024;

/// Bytes that a guest hands over in one write to a body.
const WRITE: usize = 32 * 1024;

/// What a module's requests need, whichever worker sends them.
#[derive(Clone)]
pub(super) struct Grant {
    http: Arc<Http>,
    tls: Option<Arc<ClientConfig>>,
}

impl Grant {
    /// Reads the roots where an https origin is listed.
    ///
    /// # Errors
    /// There are none.
    pub(super) fn new(http: &Http) -> std::result::Result<Grant, String> {
        let secure = http.origins.iter().any(|origin| origin.scheme == Scheme::Https);
        let tls = secure.then(|| tls::config(http.ca.as_ref())).transpose()?;
        Ok(Grant { http: Arc::new(http.clone()), tls })
    }
}

/// Sends the requests of one handler on one worker.
pub(super) struct Client {
    dialler: Dialler,
    connections: Arc<Connections>,
}

impl Client {
    /// Without a connection.
    pub(super) fn new(grant: &Grant, resolver: Arc<dyn Resolve>) -> Arc<Client> {
        let Grant { http, tls } = grant.clone();
        Arc::new(Client { dialler: Dialler { grant: http, resolver, tls }, connections: Connections::new() })
    }

    /// Closes connections that have been idle for long.
    pub(super) fn trim(&self, now: Instant) {
        self.connections.trim(now);
    }
}

/// What an instance sends, and what its attempt may still send.
pub(super) struct Outgoing {
    client: Arc<Client>,
    limits: Limits,
    log: Arc<Log>,
    attempt: Arc<Attempt>,
}

impl Outgoing {
    /// Before the first attempt.
    pub(super) fn new(client: Arc<Client>, limits: &Limits, log: Arc<Log>) -> Outgoing {
        let attempt = Arc::new(Attempt::new(limits, Instant::now()));
        Outgoing { client, limits: *limits, log, attempt }
    }

    /// Begins an attempt that has to answer by `deadline`.
    pub(super) fn begin(&mut self, deadline: Instant) {
        self.attempt = Arc::new(Attempt::new(&self.limits, deadline));
    }

    /// Counts a request, whatever becomes of it. `false`: the attempt has made all it may.
    pub(super) fn may_send(&self) -> bool {
        self.attempt.take(Exceeded::Requests, 1)
    }

    /// The budget that the attempt exceeded first.
    pub(super) fn exceeded(&self) -> Option<Exceeded> {
        self.attempt.exceeded()
    }

    /// Whether a request of the attempt has not ended.
    pub(super) fn has_open_requests(&self) -> bool {
        budget::has_open_requests(&self.attempt)
    }

    fn refuse(&self, error: Error, why: &str) -> Sending {
        self.log.message(tracing::Level::WARN, "http", why);
        Box::new(async { Err(error) })
    }
}

/// Its requests are broken off before the handles of the guest are dropped:
/// those alone would look like complete bodies.
impl Drop for Outgoing {
    fn drop(&mut self) {
        self.attempt.give_up();
    }
}

type Finished = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sending = Box<dyn Future<Output = Result<(http::Response<WasiBody>, Finished)>> + Send>;

impl WasiHttpHooks for Outgoing {
    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        request::is_forbidden(name)
    }

    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        Arc::new(request::is_forbidden)
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Finished,
    ) -> Sending {
        let (head, body) = request.into_parts();
        let prepared = match request::prepare(head) {
            Ok(prepared) => prepared,
            Err((error, why)) => return self.refuse(error, &why),
        };
        let origin = &prepared.origin;
        if !self.client.dialler.grant.origins.contains(origin) {
            return self.refuse(Error::HttpRequestDenied, &format!("{origin} is not in `allow.http` of the manifest"));
        }
        let attempt = Arc::clone(&self.attempt);
        if !attempt.take(Exceeded::RequestBytes, prepared.size) {
            return Box::new(async { Err(Error::HttpRequestDenied) });
        }
        let (client, log) = (Arc::clone(&self.client), Arc::clone(&self.log));
        Box::new(async move {
            match send::send(client, attempt, prepared, body, options.unwrap_or_default()).await {
                Ok(response) => Ok((response, Box::new(std::future::ready(Ok(()))) as Finished)),
                Err(failed) => {
                    if let Some(refused) = failed.refused {
                        log.message(tracing::Level::WARN, "http", &refused);
                    }
                    Err(failed.error)
                }
            }
        })
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        WRITE
    }

    fn p2_error_from_hyper(&mut self, _: &hyper::Error) -> ErrorCode {
        ErrorCode::HttpProtocolError
    }
}

/// Sends nothing: for instances that are only tried, and those without a grant.
pub(super) struct Denied;

impl WasiHttpHooks for Denied {
    fn send_request(&mut self, _: http::Request<WasiBody>, _: Option<RequestOptions>, _: Finished) -> Sending {
        Box::new(async { Err(Error::HttpRequestDenied) })
    }
}
