//! What of a guest's request goes on the wire.
//!
//! The guest says method, target and fields. How the message is framed and whom
//! it is for is said by the host alone: `Host` is written from the origin that
//! was checked, and fields that frame messages or concern the connection are
//! refused, so that no two readers of the request can disagree on where it ends.

use http::header::{CONTENT_LENGTH, EXPECT, HOST, TE, TRAILER};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};
use wasmtime_wasi_http::{DEFAULT_FORBIDDEN_HEADERS, Error};

use crate::manifest::{Origin, Scheme};

/// Fields of a request.
const FIELDS: usize = 100;

/// Bytes of all field names and values of a request.
const FIELD_BYTES: usize = 16 * 1024;

/// Bytes of path and query.
pub(super) const TARGET: usize = 8 * 1024;

/// A request that may be sent, once its address is checked.
#[derive(Debug)]
pub(super) struct Prepared {
    /// Where to.
    pub origin: Origin,
    /// In origin form, with the only `Host` field.
    pub head: Request<()>,
    /// Bytes of its line and fields.
    pub size: usize,
}

/// Whether guests may neither set nor see a field: it belongs to a connection.
pub(super) fn is_forbidden(name: &HeaderName) -> bool {
    DEFAULT_FORBIDDEN_HEADERS.contains(name) || [TE, TRAILER, EXPECT].contains(name)
}

/// Checks what a guest asks for, as far as that needs no network.
///
/// # Errors
/// What to tell the guest, and what to tell people.
pub(super) fn prepare(head: http::request::Parts) -> Result<Prepared, (Error, String)> {
    let refused = |error: Error, why: &str| (error, format!("request refused: {why}"));
    let method = head.method;
    let word = method.as_str();
    // Some servers compare methods regardless of case; PRI begins HTTP/2.
    if ["CONNECT", "TRACE", "PRI"].iter().any(|refused| word.eq_ignore_ascii_case(refused)) {
        return Err(refused(Error::HttpRequestMethodInvalid, &format!("the method {word} is never sent")));
    }
    let scheme = match head.uri.scheme_str() {
        Some("http") => Scheme::Http,
        Some("https") => Scheme::Https,
        _ => return Err(refused(Error::HttpRequestUriInvalid, "the scheme must be http or https")),
    };
    let authority = head.uri.authority().map_or("", |authority| authority.as_str());
    let origin = Origin::new(scheme, authority)
        .map_err(|wrong| refused(Error::HttpRequestUriInvalid, &format!("the authority {authority:?}: {wrong}")))?;
    let target = target(head.uri.path_and_query())?;
    let mut fields = head.headers;
    fields.remove(HOST);
    let size = check_fields(&fields).map_err(|(error, why)| refused(error, &why))?;
    let host = HeaderValue::try_from(origin.authority())
        .map_err(|_| refused(Error::HttpRequestUriInvalid, "the authority cannot be written"))?;
    let path = target.path_and_query().map_or(0, |path| path.as_str().len());
    let size = size + method.as_str().len() + path + host.len();
    fields.insert(HOST, host);
    let mut head = Request::new(());
    (*head.method_mut(), *head.uri_mut(), *head.headers_mut()) = (method, target, fields);
    Ok(Prepared { origin, head, size })
}

/// In origin form: an absolute one would name another server than that dialled.
fn target(given: Option<&PathAndQuery>) -> Result<Uri, (Error, String)> {
    let text = given.map_or("/", PathAndQuery::as_str);
    let text = match text.as_bytes().first() {
        Some(b'/') => text.to_owned(),
        None | Some(b'?') => format!("/{text}"),
        Some(_) => {
            return Err((Error::HttpRequestUriInvalid, "request refused: the path does not begin with /".to_owned()));
        }
    };
    if text.len() > TARGET {
        return Err((Error::HttpRequestUriTooLong, format!("request refused: the path is longer than {TARGET} bytes")));
    }
    PathAndQuery::try_from(text)
        .map(Uri::from)
        .map_err(|_| (Error::HttpRequestUriInvalid, "request refused: the path is malformed".to_owned()))
}

/// The bytes of the fields.
fn check_fields(fields: &HeaderMap) -> Result<usize, (Error, String)> {
    if let Some(name) = fields.keys().find(|name| is_forbidden(name)) {
        return Err((Error::HttpProtocolError, format!("the field {name} is the host's to set")));
    }
    let lengths = fields.get_all(CONTENT_LENGTH);
    let well_formed = |value: &HeaderValue| !value.is_empty() && value.as_bytes().iter().all(u8::is_ascii_digit);
    if lengths.iter().count() > 1 || !lengths.iter().all(well_formed) {
        return Err((Error::HttpProtocolError, "content-length must be one number".to_owned()));
    }
    let size = fields.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>();
    if fields.len() > FIELDS || size > FIELD_BYTES {
        let why = format!("its fields are more than {FIELDS}, or longer than {FIELD_BYTES} bytes");
        return Err((Error::HttpRequestHeaderSectionSize(u32::try_from(size).ok()), why));
    }
    Ok(size)
}

/// The bytes of a response's fields.
pub(super) fn size_of(fields: &HeaderMap) -> usize {
    fields.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(method: &str, uri: &str, fields: &[(&str, &str)]) -> http::request::Parts {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn prepared(method: &str, uri: &str, fields: &[(&str, &str)]) -> Result<Prepared, String> {
        prepare(parts(method, uri, fields)).map_err(|(error, why)| format!("{error:?}: {why}"))
    }

    #[test]
    fn host_is_written_from_what_is_checked() {
        for (uri, host, target) in [
            ("http://h:8080/a?b=c", "h:8080", "/a?b=c"),
            ("http://h:80/", "h", "/"),
            ("https://h", "h", "/"),
            ("https://h:443?q", "h", "/?q"),
            ("http://[::1]:8080/x", "[::1]:8080", "/x"),
        ] {
            let request = prepared("GET", uri, &[("host", "evil"), ("x", "y")]).unwrap();
            let hosts: Vec<_> = request.head.headers().get_all(HOST).iter().collect();
            assert_eq!(hosts, [host], "{uri}");
            assert_eq!(request.head.uri().to_string(), target, "{uri}");
            assert!(request.head.uri().authority().is_none(), "origin form");
        }
    }

    #[test]
    fn what_frames_or_tunnels_is_refused() {
        for method in ["CONNECT", "TRACE", "trace", "Connect", "PRI"] {
            assert!(prepared(method, "http://h/", &[]).is_err(), "{method}");
        }
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "QUERY"] {
            assert!(prepared(method, "http://h/", &[]).is_ok(), "{method}");
        }
        for name in [
            "connection",
            "keep-alive",
            "proxy-connection",
            "proxy-authorization",
            "transfer-encoding",
            "te",
            "trailer",
            "upgrade",
            "expect",
            "http2-settings",
        ] {
            assert!(prepared("POST", "http://h/", &[(name, "x")]).unwrap_err().contains(name), "{name}");
        }
    }

    #[test]
    fn lengths_are_one_number() {
        let with = |lengths: &[&str]| {
            let fields: Vec<_> = lengths.iter().map(|length| ("content-length", *length)).collect();
            prepared("POST", "http://h/", &fields)
        };
        assert!(with(&["5"]).is_ok());
        for wrong in [&["5", "6"][..], &["5", "5"], &["+5"], &["5, 5"], &["-1"], &["0x5"], &[""]] {
            assert!(with(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn fields_and_target_are_bounded() {
        let many: Vec<String> = (0..101).map(|n| format!("x-{n}")).collect();
        let many: Vec<_> = many.iter().map(|name| (name.as_str(), "v")).collect();
        assert!(prepared("GET", "http://h/", &many).is_err());
        assert!(prepared("GET", "http://h/", &many[..100]).is_ok());
        assert!(prepared("GET", "http://h/", &[("x", &"v".repeat(FIELD_BYTES))]).is_err());
        assert!(prepared("GET", &format!("http://h/{}", "x".repeat(TARGET)), &[]).unwrap_err().contains("TooLong"));
    }

    #[test]
    fn tricks_of_the_authority_are_refused() {
        for uri in [
            "http://user@h/",
            "http://h:80@evil/",
            "http://H/",
            "http://h./",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0177.0.0.1/",
            "http://127.1/",
            "http://h:0/",
            "http://[::ffff:127.0.0.1]/",
            "ftp://h/",
        ] {
            assert!(prepared("GET", uri, &[]).is_err(), "{uri}");
        }
    }
}
