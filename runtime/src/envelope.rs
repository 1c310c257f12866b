//! A record together with its event: decoded once, kept until it is settled.

use crate::decode::{Undecodable, decode, is_cloudevents_header};
use crate::event::Event;
use crate::record::Record;

/// A record and the CloudEvent in it, without a lifetime, so that it can wait in
/// a lane and be tried again.
///
/// The event is kept as positions in the record's bytes. What decoding had to
/// change (JSON escapes, base64) is in one buffer beside them, which most events
/// do not need; up to four extensions need no allocation either.
#[derive(Debug)]
pub struct Envelope {
    record: Record,
    /// What is not in the record as it stands. Its first byte has the position
    /// `record.bytes().len()`: the two are addressed as if they were one.
    side: Box<[u8]>,
    id: Span,
    source: Span,
    ty: Span,
    subject: Span,
    time: Span,
    datacontenttype: Span,
    dataschema: Span,
    data: Span,
    extensions: Extensions,
}

/// A part of the record's bytes followed by the side buffer.
///
/// `u32` suffices: Kafka keeps a record below 2 GiB, and what decoding changes is
/// never longer than what stood in the record.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    len: u32,
}

impl Span {
    const ABSENT: Span = Span { start: u32::MAX, len: 0 };
}

/// Names and values.
#[derive(Debug)]
enum Extensions {
    Few(u8, [(Span, Span); 4]),
    Many(Box<[(Span, Span)]>),
}

impl Extensions {
    fn as_slice(&self) -> &[(Span, Span)] {
        match self {
            Extensions::Few(len, spans) => spans.get(..usize::from(*len)).unwrap_or_default(),
            Extensions::Many(spans) => spans,
        }
    }
}

impl Envelope {
    /// Decodes a record and keeps it.
    ///
    /// # Errors
    /// The record, to be dead-lettered or dropped, and why it is not an event.
    pub fn decode(record: Record) -> Result<Envelope, Box<(Record, Undecodable)>> {
        let parts = match decode(&record) {
            Ok(event) => Ok(Parts::of(&event, record.bytes())),
            Err(reason) => Err(reason),
        };
        match parts {
            Ok(parts) => Ok(parts.with(record)),
            Err(reason) => Err(Box::new((record, reason))),
        }
    }

    /// The record as it was delivered.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Unique within `source`; not empty.
    pub fn id(&self) -> &str {
        self.text(self.id).unwrap_or_default()
    }

    /// A URI reference; not empty.
    pub fn source(&self) -> &str {
        self.text(self.source).unwrap_or_default()
    }

    /// The event type; not empty.
    pub fn ty(&self) -> &str {
        self.text(self.ty).unwrap_or_default()
    }

    /// What the event is about.
    pub fn subject(&self) -> Option<&str> {
        self.text(self.subject)
    }

    /// RFC 3339, as it was written.
    pub fn time(&self) -> Option<&str> {
        self.text(self.time)
    }

    /// The media type of `data`.
    pub fn datacontenttype(&self) -> Option<&str> {
        self.text(self.datacontenttype)
    }

    /// The schema of `data`.
    pub fn dataschema(&self) -> Option<&str> {
        self.text(self.dataschema)
    }

    /// Extension attributes in the order of the record: name and value.
    pub fn extensions(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        let text = |span| self.text(span).unwrap_or_default();
        self.extensions.as_slice().iter().map(move |(name, value)| (text(*name), text(*value)))
    }

    /// The payload; `None` where the event carries none.
    pub fn data(&self) -> Option<&[u8]> {
        self.bytes(self.data)
    }

    /// The value of a context attribute by its CloudEvents name, extensions
    /// included; `specversion` is always `1.0`.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        match name {
            "id" => Some(self.id()),
            "source" => Some(self.source()),
            "type" => Some(self.ty()),
            "specversion" => Some("1.0"),
            "subject" => self.subject(),
            "time" => self.time(),
            "datacontenttype" => self.datacontenttype(),
            "dataschema" => self.dataschema(),
            _ => self.extension(name.as_bytes()).and_then(|value| std::str::from_utf8(value).ok()),
        }
    }

    /// The record's headers that are not the event's own: neither `ce_*` nor
    /// `content-type`. In their order; names may repeat and need not be UTF-8.
    pub fn headers(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> + Clone {
        self.record.headers().filter(|(name, _)| !is_cloudevents_header(name))
    }

    /// Bytes of memory held, the record's included, for the budgets.
    pub fn size(&self) -> usize {
        let spans = match &self.extensions {
            Extensions::Few(..) => 0,
            Extensions::Many(spans) => size_of_val::<[_]>(spans),
        };
        self.record.size() - size_of::<Record>() + size_of::<Envelope>() + self.side.len() + spans
    }

    /// Bytes of all attributes, names of extensions included, and of the payload.
    pub fn event_size(&self) -> usize {
        let attributes =
            [self.id, self.source, self.ty, self.subject, self.time, self.datacontenttype, self.dataschema, self.data];
        let extensions = self.extensions.as_slice().iter().flat_map(|(name, value)| [*name, *value]);
        attributes.into_iter().chain(extensions).map(|span| span.len as usize).sum()
    }

    /// `type` as bytes, for the router's look-up.
    pub(crate) fn type_bytes(&self) -> &[u8] {
        self.bytes(self.ty).unwrap_or_default()
    }

    /// The value of an extension as bytes.
    pub(crate) fn extension(&self, name: &[u8]) -> Option<&[u8]> {
        let found = self.extensions.as_slice().iter().find(|(n, _)| self.bytes(*n) == Some(name))?;
        self.bytes(found.1)
    }

    fn bytes(&self, span: Span) -> Option<&[u8]> {
        if span.start == Span::ABSENT.start {
            return None;
        }
        let (start, len, record) = (span.start as usize, span.len as usize, self.record.bytes());
        match start.checked_sub(record.len()) {
            // A span never crosses from one into the other.
            None => record.get(start..start + len),
            Some(start) => self.side.get(start..start + len),
        }
    }

    /// Text was proven to be UTF-8 when it was decoded, so this never fails. It is
    /// proven again here because safe code cannot remember it: 12 ns for an attribute
    /// of 30 bytes, where a `String` of its own would have cost an allocation.
    fn text(&self, span: Span) -> Option<&str> {
        std::str::from_utf8(self.bytes(span)?).ok()
    }
}

/// An envelope without its record, while the event still borrows from it.
struct Parts {
    side: Vec<u8>,
    spans: [Span; 8],
    extensions: Extensions,
}

impl Parts {
    fn of(event: &Event<'_>, record: &[u8]) -> Parts {
        let mut side = Vec::new();
        let mut put = |part: &[u8]| {
            // Where a borrowed part stands is told by its address. One that lies elsewhere (owned, or a constant) is copied.
            let start = (part.as_ptr() as usize).wrapping_sub(record.as_ptr() as usize);
            let len = part.len() as u32;
            if start.checked_add(part.len()).is_some_and(|end| end <= record.len()) {
                return Span { start: start as u32, len };
            }
            let start = record.len() + side.len();
            side.extend_from_slice(part);
            Span { start: start as u32, len }
        };
        let spans = [
            Some(event.id.as_bytes()),
            Some(event.source.as_bytes()),
            Some(event.ty.as_bytes()),
            event.subject.as_deref().map(str::as_bytes),
            event.time.as_deref().map(str::as_bytes),
            event.datacontenttype.as_deref().map(str::as_bytes),
            event.dataschema.as_deref().map(str::as_bytes),
            event.data.as_deref(),
        ]
        .map(|part| part.map_or(Span::ABSENT, &mut put));
        let mut few = [(Span::ABSENT, Span::ABSENT); 4];
        let pairs = event.extensions.iter().map(|(name, value)| (put(name.as_bytes()), put(value.as_bytes())));
        let extensions = if pairs.len() <= few.len() {
            few.iter_mut().zip(pairs).for_each(|(place, pair)| *place = pair);
            Extensions::Few(event.extensions.len() as u8, few)
        } else {
            Extensions::Many(pairs.collect())
        };
        Parts { side, spans, extensions }
    }

    fn with(self, record: Record) -> Envelope {
        let Parts { side, spans, extensions } = self;
        let [id, source, ty, subject, time, datacontenttype, dataschema, data] = spans;
        let side = side.into_boxed_slice();
        Envelope { record, side, id, source, ty, subject, time, datacontenttype, dataschema, data, extensions }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn structured(value: &str) -> Envelope {
        let headers: [(&[u8], Option<&[u8]>); 4] = [
            (b"Content-Type", Some(b"application/cloudevents+json")),
            (b"trace", Some(b"1")),
            (b"ce_id", Some(b"not this")),
            (b"trace", None),
        ];
        Envelope::decode(Record::new(7, None, Some(b"k"), Some(value.as_bytes()), headers.into_iter())).unwrap()
    }

    const PLAIN: &str = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","a":"1","b":true,"data":{"x":1}}"#;

    #[test]
    fn an_event_that_was_borrowed_takes_no_further_memory() {
        let envelope = structured(PLAIN);
        assert_eq!(envelope.side.len(), 0);
        assert!(matches!(envelope.extensions, Extensions::Few(2, _)));
        assert_eq!(envelope.size(), envelope.record.size() - size_of::<Record>() + size_of::<Envelope>());
        assert_eq!(envelope.data(), Some(&br#"{"x":1}"#[..]));
        assert_eq!(envelope.extensions().collect::<Vec<_>>(), [("a", "1"), ("b", "true")]);
        assert_eq!(
            envelope.event_size(),
            "1".len() + "/s".len() + "t".len() + "a1".len() + "btrue".len() + r#"{"x":1}"#.len()
        );
        assert_eq!(envelope.record().offset(), 7);
    }

    #[test]
    fn what_was_changed_is_beside_the_record() {
        let envelope = structured(
            r#"{"specversion":"1.0","\u0069d":"\"1\"","source":"/s","type":"\u0074","subject":"","z":-0,"data_base64":"AAH/"}"#,
        );
        assert_eq!((envelope.id(), envelope.ty(), envelope.subject()), ("\"1\"", "t", Some("")));
        assert_eq!(envelope.attribute("z"), Some("0"));
        assert_eq!(envelope.data(), Some(&b"\0\x01\xff"[..]));
        assert_eq!(envelope.side.len(), 3 + 1 + 1 + 3);
        assert_eq!(envelope.size(), envelope.record.size() - size_of::<Record>() + size_of::<Envelope>() + 8);
    }

    #[test]
    fn absent_is_not_empty() {
        let envelope = structured(PLAIN);
        assert_eq!((envelope.subject(), envelope.time(), envelope.attribute("nothing")), (None, None, None));
        assert_eq!(envelope.attribute("specversion"), Some("1.0"));
        let envelope = structured(r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#);
        assert_eq!((envelope.data(), envelope.extensions().len()), (None, 0));
    }

    #[test]
    fn many_extensions_are_kept_in_order() {
        for count in [4, 5, 9] {
            let members: String = (0..count).map(|i| format!(",\"x{i}\":{i}")).collect();
            let envelope =
                structured(&format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t"{members}}}"#));
            let expected: Vec<(String, String)> = (0..count).map(|i| (format!("x{i}"), i.to_string())).collect();
            assert!(envelope.extensions().eq(expected.iter().map(|(n, v)| (n.as_str(), v.as_str()))));
            assert_eq!(matches!(envelope.extensions, Extensions::Many(_)), count > 4);
        }
    }

    #[test]
    fn the_headers_are_those_of_the_application() {
        let envelope = structured(PLAIN);
        assert!(envelope.headers().eq([(&b"trace"[..], Some(&b"1"[..])), (b"trace", None)]));
    }

    #[test]
    fn a_record_that_is_no_event_is_given_back() {
        let refused = Envelope::decode(Record::new(7, None, None, Some(b"x"), [].into_iter()));
        let (record, reason) = *refused.unwrap_err();
        assert_eq!((record.value(), reason), (Some(&b"x"[..]), Undecodable::NotCloudEvent));
    }
}
