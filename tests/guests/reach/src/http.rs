//! One request by `wasi:http`, as a guest's library would send it.

use crate::guest::bindings::wasi::http::outgoing_handler::handle;
use crate::guest::bindings::wasi::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingBody, Method, OutgoingBody, OutgoingRequest, RequestOptions,
    Scheme,
};
use crate::guest::bindings::wasi::io::streams::StreamError;

/// A request in lines: `METHOD scheme authority path`, then fields, then an
/// empty line and the body. `body: 70000` stands for so many bytes.
pub struct Request {
    method: String,
    scheme: String,
    authority: String,
    path: String,
    fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Time-outs in milliseconds: connect, first byte, between bytes.
    timeouts: [Option<u64>; 3],
}

impl Request {
    pub fn parse(text: &str) -> Request {
        let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
        let mut word = || words.next().unwrap_or_default();
        let mut request = Request {
            method: word(),
            scheme: word(),
            authority: word(),
            path: word(),
            fields: Vec::new(),
            body: body.as_bytes().to_vec(),
            timeouts: [None; 3],
        };
        for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
            let number = value.parse().ok();
            match name {
                "connect-timeout" => request.timeouts[0] = number,
                "first-byte-timeout" => request.timeouts[1] = number,
                "between-bytes-timeout" => request.timeouts[2] = number,
                "body" => request.body = vec![b'x'; number.unwrap_or(0) as usize],
                _ => request.fields.push((name.to_owned(), value.to_owned())),
            }
        }
        request
    }

    fn outgoing(&self) -> Result<OutgoingRequest, String> {
        let fields = Fields::new();
        for (name, value) in &self.fields {
            fields.append(name, value.as_bytes()).map_err(|error| format!("field {name}: {error:?}"))?;
        }
        let request = OutgoingRequest::new(fields);
        let method = match self.method.as_str() {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "POST" => Method::Post,
            "CONNECT" => Method::Connect,
            "TRACE" => Method::Trace,
            other => Method::Other(other.to_owned()),
        };
        let scheme = match self.scheme.as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            other => Scheme::Other(other.to_owned()),
        };
        request.set_method(&method).map_err(|()| "method refused".to_owned())?;
        request.set_scheme(Some(&scheme)).map_err(|()| "scheme refused".to_owned())?;
        request.set_authority(Some(&self.authority)).map_err(|()| "authority refused".to_owned())?;
        request.set_path_with_query(Some(&self.path)).map_err(|()| "path refused".to_owned())?;
        Ok(request)
    }

    fn options(&self) -> RequestOptions {
        let options = RequestOptions::new();
        let nanoseconds = self.timeouts.map(|ms| ms.map(|ms| ms * 1_000_000));
        let _ = options.set_connect_timeout(nanoseconds[0]);
        let _ = options.set_first_byte_timeout(nanoseconds[1]);
        let _ = options.set_between_bytes_timeout(nanoseconds[2]);
        options
    }

    /// Begins it; what is written of the body is written, and the body left open.
    pub fn begin(&self) -> Result<(FutureIncomingResponse, OutgoingBody), String> {
        let request = self.outgoing()?;
        let body = request.body().map_err(|()| "no body")?;
        let response = handle(request, Some(self.options())).map_err(|code| format!("refused: {code:?}"))?;
        let stream = body.write().map_err(|()| "no stream")?;
        for chunk in self.body.chunks(4096) {
            // The server may have answered, or the host refused, before all was written.
            if stream.blocking_write_and_flush(chunk).is_err() {
                break;
            }
        }
        drop(stream);
        Ok((response, body))
    }

    /// Sends it and reads the whole response: `status body`, or what went wrong.
    pub fn send(&self) -> Result<String, String> {
        let response = if self.body.is_empty() {
            handle(self.outgoing()?, Some(self.options())).map_err(|code| format!("refused: {code:?}"))?
        } else {
            let (response, body) = self.begin()?;
            // Where the host broke the request off, the response says why.
            let _ = OutgoingBody::finish(body, None);
            response
        };
        response.subscribe().block();
        let response = response.get().ok_or("no response")?.map_err(|()| "taken twice")?.map_err(|code| said(&code))?;
        let status = response.status();
        let body = response.consume().map_err(|()| "no body")?;
        let text = read(&body)?;
        drop(IncomingBody::finish(body));
        Ok(format!("{status} {}", String::from_utf8_lossy(&text)))
    }
}

fn read(body: &IncomingBody) -> Result<Vec<u8>, String> {
    let stream = body.stream().map_err(|()| "no stream")?;
    let mut text = Vec::new();
    loop {
        match stream.blocking_read(64 * 1024) {
            Ok(bytes) => text.extend(bytes),
            Err(StreamError::Closed) => return Ok(text),
            Err(StreamError::LastOperationFailed(error)) => {
                let code = crate::guest::bindings::wasi::http::types::http_error_code(&error);
                return Err(code.map_or_else(|| error.to_debug_string(), |code| said(&code)));
            }
        }
    }
}

fn said(code: &ErrorCode) -> String {
    format!("{code:?}")
}
