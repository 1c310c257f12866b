//! Why a record is not an event: what is wrong, where, and what was expected.

use std::fmt;
use std::str::Utf8Error;

use thiserror::Error;

/// Why a record could not be decoded. What is quoted from the record is escaped
/// and cut, so that a message is always one line of bounded length.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Undecodable {
    /// No sign of either mode.
    #[error("not a CloudEvent: expected `ce_` headers, or `content-type` application/cloudevents+json")]
    NotCloudEvent,
    /// An event format other than JSON.
    #[error("header `content-type` is {found}: of the event formats only application/cloudevents+json is read")]
    Format {
        /// The media type.
        found: Box<str>,
    },
    /// The JSON batch format, which the Kafka binding does not know.
    #[error("header `content-type` names a batch of events: expected one event per record")]
    Batch,
    /// Structured mode with a null value.
    #[error("the record's value is null: expected the event, as `content-type` is application/cloudevents+json")]
    NoValue,
    /// A required attribute is not there, or null.
    #[error("attribute `{attribute}` is missing: expected {place}")]
    Missing {
        /// Its CloudEvents name.
        attribute: &'static str,
        /// Where it would be.
        place: Place,
    },
    /// A required attribute is there and empty.
    #[error("{place} is empty: expected at least one character")]
    Empty {
        /// Where it is.
        place: Place,
    },
    /// Another version of CloudEvents.
    #[error("{place} is {found}: expected \"1.0\"")]
    SpecVersion {
        /// Where it is.
        place: Place,
        /// What it says.
        found: Box<str>,
    },
    /// A name that no attribute can have.
    #[error("{place} does not name an attribute: expected only the letters a to z and digits")]
    Name {
        /// Where it is.
        place: Place,
    },
    /// An attribute called `data`.
    #[error("{place} does not name an attribute: the name `data` is reserved for the payload")]
    Reserved {
        /// Where it is.
        place: Place,
    },
    /// Not a timestamp.
    #[error("{place} is {found}: expected an RFC 3339 timestamp such as 2018-04-05T17:31:00Z")]
    Time {
        /// Where it is.
        place: Place,
        /// What it says.
        found: Box<str>,
    },
    /// Text that is not text.
    #[error("{place} is not valid UTF-8 from byte {position} on")]
    Utf8 {
        /// Where it is.
        place: Place,
        /// Bytes that are valid.
        position: usize,
    },
    /// The same attribute twice: which one is meant cannot be known.
    #[error("{place} is there more than once: expected it once")]
    Repeated {
        /// Where it is.
        place: Place,
    },
    /// `content-type` and `ce_datacontenttype` contradict each other.
    #[error("headers `content-type` and `ce_datacontenttype` differ: expected only `content-type`")]
    ContentTypes,
    /// Not JSON, or not an object.
    #[error("the record's value is not a CloudEvent in JSON: {reason}")]
    Json {
        /// What the parser says, with line and column.
        reason: Box<str>,
    },
    /// Something other than a string for an attribute of the specification, or for base64.
    #[error("{place} is {found}: expected a string")]
    NotString {
        /// Where it is.
        place: Place,
        /// The JSON type.
        found: &'static str,
    },
    /// An array or an object for an extension.
    #[error("{place} is {found}: expected a string, an integer or a boolean")]
    NotScalar {
        /// Where it is.
        place: Place,
        /// The JSON type.
        found: &'static str,
    },
    /// An integer that CloudEvents does not know.
    #[error("{place} is {found}: expected an integer from -2147483648 to 2147483647")]
    Integer {
        /// Where it is.
        place: Place,
        /// The number.
        found: Box<str>,
    },
    /// A string with an escape that stands for no character.
    #[error("{place} is not a valid string: {reason}")]
    Escape {
        /// Where it is.
        place: Place,
        /// What the parser says.
        reason: Box<str>,
    },
    /// Two payloads.
    #[error("members `data` and `data_base64` are both there: expected at most one of them")]
    TwoPayloads,
    /// Not base64.
    #[error("member `data_base64` is not valid base64: {reason}")]
    Base64 {
        /// What the decoder says.
        reason: Box<str>,
    },
}

impl Undecodable {
    #[cold]
    pub(super) fn utf8(place: Place, error: &Utf8Error) -> Undecodable {
        Undecodable::Utf8 { place, position: error.valid_up_to() }
    }
}

/// A part of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The header of this name, escaped and cut.
    Header(Box<str>),
    /// The member of this name of the JSON object, escaped and cut.
    Member(Box<str>),
    /// The value as a whole.
    Value,
}

impl Place {
    pub(super) fn header(name: &[u8]) -> Place {
        Place::Header(cut(name, '`').into())
    }

    pub(super) fn member(name: &str) -> Place {
        Place::Member(cut(name.as_bytes(), '`').into())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Header(name) => write!(f, "header `{name}`"),
            Place::Member(name) => write!(f, "member `{name}`"),
            Place::Value => f.write_str("the record's value"),
        }
    }
}

/// Bytes of a record as a message may show them: quoted, escaped, cut.
pub(super) fn excerpt(bytes: &[u8]) -> Box<str> {
    format!("\"{}\"", cut(bytes, '"')).into()
}

/// The first 64 characters, escaped; a quote as well where it would end the quotation.
fn cut(bytes: &[u8], quote: char) -> String {
    const LONGEST: usize = 64;
    // A character has at most four bytes: what is beyond cannot be among the first 64.
    let start = bytes.get(..LONGEST * 4).unwrap_or(bytes);
    let mut shown = String::new();
    for c in String::from_utf8_lossy(start).chars().take(LONGEST) {
        match c {
            '\'' | '"' | '`' if c != quote => shown.push(c),
            '`' => shown.push_str("\\`"),
            c => shown.extend(c.escape_debug()),
        }
    }
    let more = start.len() < bytes.len() || String::from_utf8_lossy(start).chars().nth(LONGEST).is_some();
    if more {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotations_are_escaped_and_cut() {
        assert_eq!(&*excerpt(b"a\n\"b\" it's \xff"), "\"a\\n\\\"b\\\" it's \u{fffd}\"");
        assert_eq!(Place::member("a`b\u{1b}").to_string(), "member `a\\`b\\u{1b}`");
        assert_eq!(cut(&[b'x'; 64], '"').chars().count(), 64);
        let long = cut("ä".repeat(65).as_bytes(), '"');
        assert_eq!(long, format!("{}…", "ä".repeat(64)));
        assert_eq!(cut(&[b'x'; 1_000_000], '"').chars().count(), 65);
    }

    #[test]
    fn a_refusal_is_small_enough_to_return() {
        assert!(size_of::<Undecodable>() <= 48, "{}", size_of::<Undecodable>());
    }
}
