//! The event that a handler is given, or publishes.

use serde::Deserialize;

use crate::data::{self, DataError};

/// A CloudEvent 1.0.
///
/// Attribute values are in the canonical string form of the CloudEvents type
/// system: a boolean is `true` or `false`, an integer is decimal, binary is
/// base64, a timestamp is RFC 3339.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// Unique within `source`: the two together name the event.
    pub id: String,
    /// A URI reference that names where the event comes from.
    pub source: String,
    /// The event type, such as `shop.order.created`.
    pub type_: String,
    /// What the event is about, within its source.
    pub subject: Option<String>,
    /// When it happened, RFC 3339.
    pub time: Option<String>,
    /// The media type of `data`.
    pub datacontenttype: Option<String>,
    /// A URI that names the schema of `data`.
    pub dataschema: Option<String>,
    /// Extension attributes: name and value.
    pub extensions: Vec<(String, String)>,
    /// The payload, byte for byte as it was in the record; `None` where the event carries none.
    pub data: Option<Vec<u8>>,
}

impl Event {
    /// The data as JSON, whatever the content type says. `T` may borrow from the event.
    ///
    /// # Errors
    /// The event carries no data, it is not JSON, or it does not fit `T`; the
    /// error names the field and becomes a rejection with `?`.
    pub fn json<'e, T: Deserialize<'e>>(&'e self) -> Result<T, DataError> {
        data::parse(self)
    }

    /// The data as text.
    ///
    /// # Errors
    /// The event carries no data, or it is not UTF-8.
    pub fn text(&self) -> Result<&str, DataError> {
        let data = self.data.as_deref().ok_or_else(DataError::absent)?;
        std::str::from_utf8(data).map_err(|error| DataError::new(format!("data: {error}")))
    }

    /// The value of an extension attribute.
    pub fn extension(&self, name: &str) -> Option<&str> {
        self.extensions.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The value of any context attribute by its CloudEvents name, extensions
    /// included; `specversion` is always `1.0`.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        match name {
            "id" => Some(&self.id),
            "source" => Some(&self.source),
            "type" => Some(&self.type_),
            "specversion" => Some("1.0"),
            "subject" => self.subject.as_deref(),
            "time" => self.time.as_deref(),
            "datacontenttype" => self.datacontenttype.as_deref(),
            "dataschema" => self.dataschema.as_deref(),
            _ => self.extension(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing;

    #[test]
    fn attributes_are_found_by_their_cloudevents_names() {
        let event = testing::event("a.b").id("1").source("/s").subject("x").extension("tenant", "t-1").build();
        let named = |name| event.attribute(name);
        assert_eq!(
            [named("id"), named("source"), named("type"), named("subject"), named("tenant"), named("specversion")],
            [Some("1"), Some("/s"), Some("a.b"), Some("x"), Some("t-1"), Some("1.0")]
        );
        assert_eq!([named("time"), named("type_")], [None, None]);
    }

    #[test]
    fn text_is_refused_where_the_data_is_none() {
        assert_eq!(testing::event("t").data("text/plain", "hé").build().text(), Ok("hé"));
        let error = testing::event("t").data("text/plain", vec![b'a', 0xff]).build().text().unwrap_err();
        assert_eq!(error.to_string(), "data: invalid utf-8 sequence of 1 bytes from index 1");
        assert_eq!(testing::event("t").build().text().unwrap_err().to_string(), "data: the event carries none");
    }
}
