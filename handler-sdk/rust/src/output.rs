//! An event to publish.

use serde::Serialize;

use crate::{DataError, Event, Header};

/// An event to publish.
///
/// ```
/// # use outrigger_handler::prelude::*;
/// # fn output() -> Result<Output, Failure> {
/// let output = Output::event("shop.order.shipped").subject("o-17").json(&serde_json::json!({ "parcels": 2 }))?;
/// # Ok(output) }
/// # assert!(output().is_ok());
/// ```
///
/// What is left out:
/// - **topic**: the route's `output`. Any other topic must stand in the handler's `allow.topics`.
/// - **key**: the key of the input, so that what follows from one key stays in order.
/// - **id**: the host makes one from the input's topic, partition and offset, the
///   route and the output's position. A second attempt at the same input gives
///   the same ids, so whoever reads the outputs can recognise repetitions.
/// - **source**: `/outrigger/{route}`. The input's source is not inherited: it
///   names another producer, which vouches for its own ids only.
/// - **time**, and every other attribute: absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Output {
    /// The event. An empty `id` or `source` is filled in as described above.
    pub event: Event,
    /// `None`: the route's output topic.
    pub topic: Option<String>,
    /// `None`: the input's key.
    pub key: Option<Vec<u8>>,
    /// Further headers. Names that begin with `ce_`, and `content-type`, belong
    /// to the event; an output with one of them fails.
    pub headers: Vec<Header>,
}

impl Output {
    /// An event of this type, without data.
    pub fn event(type_: impl Into<String>) -> Output {
        Output { event: Event { type_: type_.into(), ..Event::default() }, ..Output::default() }
    }

    /// Sets the data to `value` as JSON and the content type to `application/json`.
    ///
    /// # Errors
    /// `value` has no form in JSON, as a map whose keys are not strings.
    pub fn json<T: Serialize + ?Sized>(self, value: &T) -> Result<Output, DataError> {
        match serde_json::to_vec(value) {
            Ok(json) => Ok(self.raw("application/json", json)),
            Err(error) => Err(DataError::new(format!("output {}: {error}", self.event.type_))),
        }
    }

    /// Sets the data and its media type.
    #[must_use]
    pub fn raw(mut self, content_type: impl Into<String>, data: impl Into<Vec<u8>>) -> Output {
        self.event.datacontenttype = Some(content_type.into());
        self.event.data = Some(data.into());
        self
    }

    /// Sets the topic.
    #[must_use]
    pub fn to(mut self, topic: impl Into<String>) -> Output {
        self.topic = Some(topic.into());
        self
    }

    /// Sets the record's key.
    #[must_use]
    pub fn key(mut self, key: impl Into<Vec<u8>>) -> Output {
        self.key = Some(key.into());
        self
    }

    /// Adds a header beside the event's own.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Output {
        self.headers.push(Header { name: name.into(), value: Some(value.into()) });
        self
    }

    /// Sets `id`: unique within the source, and the same for every attempt.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Output {
        self.event.id = id.into();
        self
    }

    /// Sets `source`: a URI reference.
    #[must_use]
    pub fn source(mut self, source: impl Into<String>) -> Output {
        self.event.source = source.into();
        self
    }

    /// Sets `subject`.
    #[must_use]
    pub fn subject(mut self, subject: impl Into<String>) -> Output {
        self.event.subject = Some(subject.into());
        self
    }

    /// Sets `time`: RFC 3339, as `2026-03-01T12:00:00Z`.
    #[must_use]
    pub fn time(mut self, time: impl Into<String>) -> Output {
        self.event.time = Some(time.into());
        self
    }

    /// Sets `dataschema`: a URI.
    #[must_use]
    pub fn dataschema(mut self, uri: impl Into<String>) -> Output {
        self.event.dataschema = Some(uri.into());
        self
    }

    /// Sets an extension attribute. Names are lower-case letters and digits; an
    /// output with any other fails.
    #[must_use]
    pub fn extension(mut self, name: impl Into<String>, value: impl Into<String>) -> Output {
        let (name, value) = (name.into(), value.into());
        match self.event.extensions.iter_mut().find(|(n, _)| *n == name) {
            Some(slot) => slot.1 = value,
            None => self.event.extensions.push((name, value)),
        }
        self
    }
}

/// The event as it is, id and source included: to pass an input on.
impl From<Event> for Output {
    fn from(event: Event) -> Output {
        Output { event, ..Output::default() }
    }
}

/// Gives outputs without a source the route's.
pub(crate) fn fill_source(outputs: &mut [Output], route: &str) {
    for output in outputs.iter_mut().filter(|output| output.event.source.is_empty()) {
        output.event.source = default_source(route);
    }
}

/// A URI reference whatever the route is called: all but the unreserved
/// characters of RFC 3986 are percent-encoded.
fn default_source(route: &str) -> String {
    const BASE: &str = "/outrigger/";
    let mut source = String::with_capacity(BASE.len() + route.len());
    source.push_str(BASE);
    for byte in route.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => source.push(byte.into()),
            _ => {
                let hex = |nibble: u8| char::from(b"0123456789ABCDEF"[usize::from(nibble & 0xf)]);
                source.extend(['%', hex(byte >> 4), hex(byte)]);
            }
        }
    }
    source
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_builder_sets_what_it_names_and_nothing_else() {
        let built = Output::event("a.b")
            .to("topic")
            .key("k")
            .header("h", "v")
            .subject("s")
            .time("2026-03-01T12:00:00Z")
            .extension("tenant", "1")
            .extension("tenant", "2")
            .raw("text/plain", "x");
        let event = Event {
            type_: "a.b".into(),
            subject: Some("s".into()),
            time: Some("2026-03-01T12:00:00Z".into()),
            datacontenttype: Some("text/plain".into()),
            extensions: vec![("tenant".into(), "2".into())],
            data: Some(b"x".to_vec()),
            ..Event::default()
        };
        let headers = vec![Header { name: "h".into(), value: Some(b"v".to_vec()) }];
        assert_eq!(built, Output { event, topic: Some("topic".into()), key: Some(b"k".to_vec()), headers });
    }

    #[test]
    fn json_that_cannot_be_written_is_an_error() {
        let map = std::collections::BTreeMap::from([(vec![1], 1)]);
        let error = Output::event("a.b").json(&map).unwrap_err();
        assert_eq!(error.to_string(), "output a.b: key must be a string");
    }

    #[test]
    fn only_an_empty_source_is_filled() {
        let mut outputs = [Output::event("a"), Output::event("a").source("/mine")];
        fill_source(&mut outputs, "orders / ä%");
        let sources = outputs.map(|output| output.event.source);
        assert_eq!(sources, ["/outrigger/orders%20%2F%20%C3%A4%25", "/mine"]);
    }
}
