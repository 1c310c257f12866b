//! A field of a raw type: a value that knows where it stands.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};

use super::Place;

/// The name by which [`super::de`] knows that a field asks for its place.
pub(in crate::manifest) const FIELD: &str = "$field";

/// A field that may be missing, and that may be wrong without making the rest
/// of its type unreadable.
#[derive(Clone, Debug, Default)]
pub(in crate::manifest) enum Field<T> {
    /// The key is not there.
    #[default]
    Absent,
    /// It is there, and what is wrong with it is reported.
    Broken,
    /// It is there.
    Given(Given<T>),
}

/// A value of the manifest.
#[derive(Clone, Debug)]
pub(in crate::manifest) struct Given<T> {
    pub value: T,
    /// Where the value stands.
    pub at: Place,
    /// Where its key stands; for an item of a list, where the item stands.
    pub key: Place,
    /// What messages show where the value must not be shown.
    pub written: Option<String>,
}

impl<T> Field<T> {
    pub fn given(&self) -> Option<&Given<T>> {
        match self {
            Field::Given(given) => Some(given),
            Field::Absent | Field::Broken => None,
        }
    }

    pub fn value(&self) -> Option<&T> {
        self.given().map(|given| &given.value)
    }

    pub fn is_absent(&self) -> bool {
        matches!(self, Field::Absent)
    }

    /// This one, or the other where this one is not there.
    pub fn or<'a>(&'a self, other: &'a Field<T>) -> &'a Field<T> {
        if self.is_absent() { other } else { self }
    }
}

impl<T: AsRef<str>> Given<T> {
    /// What a message may show of the value.
    pub fn shown(&self) -> &str {
        self.written.as_deref().unwrap_or(self.value.as_ref())
    }

    pub fn text(&self) -> &str {
        self.value.as_ref()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // As an option, because that is what serde makes of a key that is not there.
        deserializer.deserialize_option(OptionVisitor(PhantomData))
    }
}

struct OptionVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OptionVisitor<T> {
    type Value = Field<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_none<E>(self) -> Result<Field<T>, E> {
        Ok(Field::Absent)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Field<T>, D::Error> {
        deserializer.deserialize_newtype_struct(FIELD, FieldVisitor(PhantomData))
    }
}

struct FieldVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for FieldVisitor<T> {
    type Value = Field<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    /// Places, text as written (or nothing), value; no value where it is wrong.
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Field<T>, A::Error> {
        let places: Option<[[u32; 4]; 2]> = seq.next_element()?;
        let written: Option<String> = seq.next_element()?;
        let value: Option<T> = seq.next_element()?;
        let place = |[line, column, end_line, end_column]: [u32; 4]| Place { line, column, end_line, end_column };
        Ok(match (places, value) {
            (Some([at, key]), Some(value)) => {
                let written = written.filter(|text| !text.is_empty());
                Field::Given(Given { value, at: place(at), key: place(key), written })
            }
            _ => Field::Broken,
        })
    }
}

impl<T: JsonSchema> JsonSchema for Field<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}
