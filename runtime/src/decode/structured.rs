//! Structured mode: the value is the whole event in the CloudEvents JSON format.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::attributes::{Draft, Mode};
use super::error::{Place, Undecodable, excerpt};
use super::essence;
use crate::event::Event;

pub(super) fn decode(value: &[u8]) -> Result<Event<'_>, Undecodable> {
    // Once for the whole value: the parser then borrows every string without looking again.
    let text = match std::str::from_utf8(value) {
        Ok(text) => text,
        Err(error) => return Err(Undecodable::utf8(Place::Value, &error)),
    };
    // What the parser says of a text in the object's place has all of it in it, six times as
    // long at worst.
    if text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('"') {
        return Err(Undecodable::Json { reason: "invalid type: string, expected an object".into() });
    }
    let mut members = Members { draft: Draft::new(Mode::Structured), data: None, data_base64: None, refused: None };
    let mut json = serde_json::Deserializer::from_str(text);
    let parsed = json.deserialize_map(&mut members).and_then(|()| json.end());
    match (parsed, members.refused.take()) {
        (Ok(()), _) => members.finish(),
        (Err(_), Some(refused)) => Err(refused),
        (Err(error), None) => Err(Undecodable::Json { reason: error.to_string().into() }),
    }
}

/// The members of the event's object.
struct Members<'r> {
    draft: Draft<'r>,
    /// The JSON text of `data`. Null is a payload like any other.
    data: Option<&'r str>,
    /// The JSON text of `data_base64`. Null is as absent, as the format's schema has it.
    data_base64: Option<&'r str>,
    /// Why the parser was stopped: serde's errors carry text only.
    refused: Option<Undecodable>,
}

impl<'r> Members<'r> {
    /// `value` is the text of one JSON value without the space around it, as the parser found it.
    fn put(&mut self, name: Cow<'r, str>, value: &'r str) -> Result<(), Undecodable> {
        let payload = match &*name {
            "data" => &mut self.data,
            "data_base64" => &mut self.data_base64,
            _ => {
                let value = self.attribute(&name, value)?;
                return self.draft.put(name, value);
            }
        };
        match payload.replace(value) {
            None => Ok(()),
            Some(_) => Err(Undecodable::Repeated { place: Place::member(&name) }),
        }
    }

    /// An attribute's value in canonical string form.
    fn attribute(&self, name: &str, value: &'r str) -> Result<Option<Cow<'r, str>>, Undecodable> {
        let known = Draft::is_known(name);
        let kind = Kind::of(value);
        match kind {
            Kind::Null => Ok(None),
            Kind::String => string(value)
                .map(Some)
                .map_err(|error| Undecodable::Escape { place: Place::member(name), reason: error.to_string().into() }),
            // `true`, `false` and a JSON integer are spelled like their canonical form.
            Kind::Boolean if !known => Ok(Some(Cow::Borrowed(value))),
            Kind::Number if !known => match value.parse::<i32>() {
                Ok(0) => Ok(Some(Cow::Borrowed("0"))), // not -0
                Ok(_) => Ok(Some(Cow::Borrowed(value))),
                Err(_) => Err(Undecodable::Integer { place: Place::member(name), found: excerpt(value.as_bytes()) }),
            },
            _ if known => Err(Undecodable::NotString { place: Place::member(name), found: kind.name() }),
            _ => Err(Undecodable::NotScalar { place: Place::member(name), found: kind.name() }),
        }
    }

    fn finish(mut self) -> Result<Event<'r>, Undecodable> {
        let data_base64 = self.data_base64.filter(|value| Kind::of(value) != Kind::Null);
        self.draft.event.data = match (self.data, data_base64) {
            (None, None) => None,
            (Some(_), Some(_)) => return Err(Undecodable::TwoPayloads),
            (Some(json), None) => Some(self.payload(json)?),
            (None, Some(base64)) => Some(Cow::Owned(decode_base64(base64)?)),
        };
        self.draft.finish()
    }

    /// The bytes that the member `data` stands for. Where the content type is not JSON and the
    /// member is not a string, the specification leaves open what it means: its text is kept.
    fn payload(&self, json: &'r str) -> Result<Cow<'r, [u8]>, Undecodable> {
        let is_json = self.draft.event.datacontenttype.as_deref().is_none_or(is_json);
        if is_json || Kind::of(json) != Kind::String {
            return Ok(Cow::Borrowed(json.as_bytes()));
        }
        match string(json) {
            Ok(Cow::Borrowed(text)) => Ok(Cow::Borrowed(text.as_bytes())),
            Ok(Cow::Owned(text)) => Ok(Cow::Owned(text.into_bytes())),
            Err(error) => Err(Undecodable::Escape { place: Place::member("data"), reason: error.to_string().into() }),
        }
    }
}

fn decode_base64(json: &str) -> Result<Vec<u8>, Undecodable> {
    let kind = Kind::of(json);
    if kind != Kind::String {
        return Err(Undecodable::NotString { place: Place::member("data_base64"), found: kind.name() });
    }
    // Unescaped first: some writers escape the slash, which is a base64 digit.
    let refused = |reason: String| Undecodable::Base64 { reason: reason.into() };
    let text = string(json).map_err(|error| refused(error.to_string()))?;
    BASE64_STANDARD.decode(text.as_bytes()).map_err(|error| refused(error.to_string()))
}

/// The JSON format's rule: `*/json` or `*/*+json`, without parameters.
fn is_json(media_type: &str) -> bool {
    let subtype = essence(media_type).split_once('/').map(|(_, subtype)| subtype.as_bytes());
    subtype.is_some_and(|subtype| {
        subtype.eq_ignore_ascii_case(b"json")
            || subtype.last_chunk().is_some_and(|end: &[u8; 5]| end.eq_ignore_ascii_case(b"+json"))
    })
}

/// The text that a JSON string stands for; its syntax is known to be right.
fn string(json: &str) -> Result<Cow<'_, str>, serde_json::Error> {
    let inner = json.get(1..json.len().saturating_sub(1)).unwrap_or_default();
    if inner.as_bytes().contains(&b'\\') {
        // Escapes may still be wrong: half a surrogate pair stands for no character.
        serde_json::from_str::<String>(json).map(Cow::Owned)
    } else {
        Ok(Cow::Borrowed(inner))
    }
}

/// A JSON type.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Null,
    Boolean,
    Number,
    String,
    Array,
    Object,
}

impl Kind {
    /// Told by the first character, as the value is known to be valid.
    fn of(json: &str) -> Kind {
        match json.as_bytes().first() {
            Some(b'"') => Kind::String,
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b't' | b'f') => Kind::Boolean,
            Some(b'n') => Kind::Null,
            _ => Kind::Number,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Null => "null",
            Kind::Boolean => "a boolean",
            Kind::Number => "a number",
            Kind::String => "a string",
            Kind::Array => "an array",
            Kind::Object => "an object",
        }
    }
}

impl<'r> Visitor<'r> for &mut Members<'r> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'r>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key_seed(Name)? {
            let value: &RawValue = map.next_value()?;
            if let Err(refused) = self.put(name, value.get()) {
                self.refused = Some(refused);
                return Err(A::Error::custom("refused"));
            }
        }
        Ok(())
    }
}

/// A member's name, borrowed where it has no escapes; serde's own `Cow` never borrows.
struct Name;

impl<'r> DeserializeSeed<'r> for Name {
    type Value = Cow<'r, str>;

    fn deserialize<D: Deserializer<'r>>(self, deserializer: D) -> Result<Cow<'r, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'r> Visitor<'r> for Name {
    type Value = Cow<'r, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E: Error>(self, name: &'r str) -> Result<Cow<'r, str>, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Cow<'r, str>, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

#[cfg(test)]
#[path = "structured_tests.rs"]
mod tests;
