//! Requests that have more patience than is good for anybody.

use crate::bindings::wasi::http::outgoing_handler::handle;
use crate::bindings::wasi::http::types::{
    Fields, FutureIncomingResponse, IncomingBody, IncomingResponse, Method, OutgoingBody, OutgoingRequest,
    RequestOptions, Scheme,
};
use crate::bindings::wasi::io::streams::{InputStream, OutputStream, StreamError};

/// An hour, in nanoseconds, for each phase of a request.
const PATIENCE: u64 = 3_600_000_000_000;

/// Bytes written to a body in one go.
const CHUNK: usize = 4096;

/// A request that was begun.
pub struct Request {
    response: FutureIncomingResponse,
    /// Of one whose body is not finished.
    _body: Option<(OutputStream, OutgoingBody)>,
}

impl Request {
    /// A request without a body.
    pub fn get(port: u64) -> Result<Request, String> {
        let response = begin(outgoing(&Method::Get, port)?)?;
        Ok(Request { response, _body: None })
    }

    /// A request of whose body so many bytes are sent, and the end never.
    pub fn post(port: u64, bytes: usize) -> Result<Request, String> {
        let request = outgoing(&Method::Post, port)?;
        let body = request.body().map_err(|()| "no body")?;
        let response = begin(request)?;
        let stream = body.write().map_err(|()| "no stream")?;
        for _ in 0..bytes / CHUNK {
            stream.blocking_write_and_flush(&[b'x'; CHUNK]).map_err(|error| format!("{error:?}"))?;
        }
        Ok(Request { response, _body: Some((stream, body)) })
    }

    /// Waits for the fields of the response.
    pub fn wait(self) -> Result<Response, String> {
        self.response.subscribe().block();
        let response = self.response.get().ok_or("no response")?.map_err(|()| "taken twice")?;
        let response = response.map_err(|code| format!("{code:?}"))?;
        let body = response.consume().map_err(|()| "no body")?;
        let stream = body.stream().map_err(|()| "no stream")?;
        Ok(Response { stream, _body: body, _response: response })
    }
}

/// A response whose fields are read. Its parts are dropped in their order: what belongs to
/// another first.
pub struct Response {
    stream: InputStream,
    _body: IncomingBody,
    _response: IncomingResponse,
}

impl Response {
    /// Waits for some of the body.
    pub fn read_some(&self) -> Result<(), String> {
        self.stream.blocking_read(1).map(drop).map_err(|error| format!("{error:?}"))
    }

    /// Reads all of the body.
    pub fn read_to_end(&self) -> Result<(), String> {
        loop {
            match self.stream.blocking_read(64 * 1024) {
                Ok(_) => {}
                Err(StreamError::Closed) => return Ok(()),
                Err(error) => return Err(format!("{error:?}")),
            }
        }
    }
}

fn outgoing(method: &Method, port: u64) -> Result<OutgoingRequest, String> {
    let request = OutgoingRequest::new(Fields::new());
    request.set_method(method).map_err(|()| "method refused")?;
    request.set_scheme(Some(&Scheme::Http)).map_err(|()| "scheme refused")?;
    request.set_authority(Some(&format!("127.0.0.1:{port}"))).map_err(|()| "authority refused")?;
    request.set_path_with_query(Some("/")).map_err(|()| "path refused")?;
    Ok(request)
}

fn begin(request: OutgoingRequest) -> Result<FutureIncomingResponse, String> {
    let options = RequestOptions::new();
    let patient = [
        options.set_connect_timeout(Some(PATIENCE)),
        options.set_first_byte_timeout(Some(PATIENCE)),
        options.set_between_bytes_timeout(Some(PATIENCE)),
    ];
    if patient.contains(&Err(())) {
        return Err("patience refused".to_owned());
    }
    handle(request, Some(options)).map_err(|code| format!("{code:?}"))
}
