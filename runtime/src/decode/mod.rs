//! `decode`: a record comes in, a CloudEvent 1.0 that borrows from it goes out.
//!
//! This is the CloudEvents Kafka protocol binding. A record whose `content-type`
//! begins with `application/cloudevents` is in structured mode, and its value is
//! the whole event as JSON; every other record is in binary mode, its attributes
//! are `ce_` headers and its value is `data`.
//!
//! Checked, because what follows relies on it: the required attributes, the
//! version, attribute names, that every attribute is UTF-8 and given once, that
//! `time` is RFC 3339, integers and base64. Passed on as it stands, because
//! nothing here depends on it: the syntax of `source`, `dataschema` and
//! `datacontenttype`, an empty optional attribute, control characters in a
//! value, and whether `data` is what its content type says.

mod attributes;
mod binary;
mod error;
#[cfg(test)]
mod oracle;
mod structured;
mod timestamp;

pub use error::{Place, Undecodable};
pub(crate) use timestamp::is_rfc3339;

use crate::event::Event;
use crate::record::Record;

/// Reads a record as a CloudEvent.
///
/// Values are borrowed from the record unless JSON escapes or base64 had to be
/// undone. In structured mode `data` is the JSON text as it stands, never
/// parsed; where the content type is not JSON and the member is a string, it is
/// that string's text.
///
/// # Errors
/// The first reason found why the record is not an event that this version reads.
pub fn decode(record: &Record) -> Result<Event<'_>, Undecodable> {
    match content_type(record)? {
        Some(media_type) if names_cloudevents(media_type) => match essence(media_type) {
            format if format.eq_ignore_ascii_case("application/cloudevents+json") => {
                structured::decode(record.value().ok_or(Undecodable::NoValue)?)
            }
            format if starts_with_ignoring_case(format, "application/cloudevents-batch") => Err(Undecodable::Batch),
            format => Err(Undecodable::Format { found: error::excerpt(format.as_bytes()) }),
        },
        datacontenttype => binary::decode(record, datacontenttype),
    }
}

/// Whether a header belongs to the event rather than to the application:
/// `content-type`, in any case, or one that begins with `ce_`.
pub fn is_cloudevents_header(name: &[u8]) -> bool {
    name.starts_with(PREFIX) || is_content_type(name)
}

/// What stands before an attribute's name in a header. Attribute names are
/// lower-case, so `CE_id` is not the binding's spelling of anything.
const PREFIX: &[u8] = b"ce_";

fn is_content_type(header: &[u8]) -> bool {
    header.eq_ignore_ascii_case(b"content-type")
}

/// The `content-type` header. A null value is as no header; two of them are
/// refused, because they could mean two different modes.
fn content_type(record: &Record) -> Result<Option<&str>, Undecodable> {
    let mut found = record.headers().filter(|(name, _)| is_content_type(name));
    let Some((name, value)) = found.next() else { return Ok(None) };
    if found.next().is_some() {
        return Err(Undecodable::Repeated { place: Place::header(name) });
    }
    match value {
        None => Ok(None),
        Some(value) => match std::str::from_utf8(value) {
            Ok(text) => Ok(Some(text)),
            Err(error) => Err(Undecodable::utf8(Place::header(name), &error)),
        },
    }
}

/// The binding's test for structured mode: a prefix, so that an event format
/// that is not known is recognised as one.
fn names_cloudevents(media_type: &str) -> bool {
    starts_with_ignoring_case(media_type.trim_start(), "application/cloudevents")
}

/// A media type without its parameters.
fn essence(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}

fn starts_with_ignoring_case(text: &str, prefix: &str) -> bool {
    text.as_bytes().get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Header = (&'static str, Option<&'static str>);

    fn record(headers: &[Header], value: Option<&str>) -> Record {
        let headers = headers.iter().map(|(name, value)| (name.as_bytes(), value.map(str::as_bytes)));
        Record::new(0, None, None, value.map(str::as_bytes), headers)
    }

    fn refusal(headers: &[Header], value: Option<&str>) -> String {
        decode(&record(headers, value)).unwrap_err().to_string()
    }

    const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;

    #[test]
    fn the_content_type_chooses_the_mode_whatever_its_case_and_parameters() {
        for (name, value) in [
            ("content-type", "application/cloudevents+json"),
            ("Content-Type", "Application/CloudEvents+JSON"),
            ("CONTENT-TYPE", " application/cloudevents+json ; charset=\"UTF-8\"; x=y"),
        ] {
            let record = record(&[(name, Some(value))], Some(EVENT));
            assert_eq!(decode(&record).unwrap().id, "1", "{name}: {value}");
        }
    }

    #[test]
    fn structured_mode_ignores_the_headers_of_binary_mode() {
        let headers =
            [("ce_id", Some("other")), ("content-type", Some("application/cloudevents+json")), ("ce_!", None)];
        assert_eq!(decode(&record(&headers, Some(EVENT))).unwrap().id, "1");
    }

    #[test]
    fn formats_that_are_not_read_are_named() {
        let refused = |value| refusal(&[("content-type", Some(value))], Some(EVENT));
        assert_eq!(
            refused("application/cloudevents+avro; x=y"),
            "header `content-type` is \"application/cloudevents+avro\": of the event formats only \
             application/cloudevents+json is read"
        );
        assert!(refused("application/cloudevents").contains("only application/cloudevents+json"));
        assert!(refused("application/cloudevents+jsonx").contains("only application/cloudevents+json"));
        assert_eq!(
            refused("application/CloudEvents-Batch+json"),
            "header `content-type` names a batch of events: expected one event per record"
        );
    }

    #[test]
    fn a_tombstone_is_no_structured_event() {
        assert_eq!(
            refusal(&[("content-type", Some("application/cloudevents+json"))], None),
            "the record's value is null: expected the event, as `content-type` is application/cloudevents+json"
        );
    }

    #[test]
    fn two_content_types_are_refused() {
        let headers = [("content-type", Some("text/plain")), ("Content-Type", Some("application/cloudevents+json"))];
        assert_eq!(refusal(&headers, Some(EVENT)), "header `content-type` is there more than once: expected it once");
    }

    #[test]
    fn a_content_type_that_is_not_utf8_is_refused() {
        let headers: [(&[u8], Option<&[u8]>); 1] = [(b"content-type", Some(b"text/\xff"))];
        let record = Record::new(0, None, None, None, headers.into_iter());
        assert_eq!(decode(&record).unwrap_err().to_string(), "header `content-type` is not valid UTF-8 from byte 5 on");
    }

    #[test]
    fn a_record_without_any_sign_of_cloudevents_says_so() {
        for headers in [&[][..], &[("content-type", Some("application/json"))], &[("content-type", None)]] {
            assert!(refusal(headers, Some(EVENT)).starts_with("not a CloudEvent: "), "{headers:?}");
        }
    }

    #[test]
    fn headers_of_the_event_are_told_from_others() {
        for name in ["ce_id", "ce_", "content-type", "Content-Type"] {
            assert!(is_cloudevents_header(name.as_bytes()), "{name}");
        }
        for name in ["ce-id", "CE_id", "ce", "content_type", "traceparent", ""] {
            assert!(!is_cloudevents_header(name.as_bytes()), "{name}");
        }
    }
}
