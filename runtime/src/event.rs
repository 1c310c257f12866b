//! A CloudEvent as the handlers see it, borrowed from its record.

use std::borrow::Cow;

/// A CloudEvent 1.0. Values are borrowed from the record where its bytes stand
/// for themselves, and owned where they had to be changed (JSON escapes, base64).
/// Attribute values are in their canonical string form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event<'r> {
    /// Unique within `source`; not empty.
    pub id: Cow<'r, str>,
    /// A URI reference; not empty.
    pub source: Cow<'r, str>,
    /// The event type; not empty.
    pub ty: Cow<'r, str>,
    /// What the event is about.
    pub subject: Option<Cow<'r, str>>,
    /// RFC 3339.
    pub time: Option<Cow<'r, str>>,
    /// The media type of `data`.
    pub datacontenttype: Option<Cow<'r, str>>,
    /// The schema of `data`.
    pub dataschema: Option<Cow<'r, str>>,
    /// Extension attributes in the order of the record: name and value.
    pub extensions: Vec<(Cow<'r, str>, Cow<'r, str>)>,
    /// The payload; `None` where the event carries none.
    pub data: Option<Cow<'r, [u8]>>,
}

impl<'r> Event<'r> {
    /// The value of a context attribute by its CloudEvents name, extensions
    /// included; `specversion` is always `1.0`.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        match name {
            "id" => Some(&self.id),
            "source" => Some(&self.source),
            "type" => Some(&self.ty),
            "specversion" => Some("1.0"),
            "subject" => self.subject.as_deref(),
            "time" => self.time.as_deref(),
            "datacontenttype" => self.datacontenttype.as_deref(),
            "dataschema" => self.dataschema.as_deref(),
            _ => self.extensions.iter().find(|(n, _)| n == name).map(|(_, value)| &**value),
        }
    }
}
