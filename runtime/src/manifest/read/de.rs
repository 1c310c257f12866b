//! Serde over the tree: reports what is wrong with a field and goes on.

use std::fmt;

use serde::de::value::{SeqDeserializer, StringDeserializer};
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};
use serde::forward_to_deserialize_any;

use super::field::FIELD;
use super::{Key, Kind, Node, Place, Problem, Problems, Scalar};
use crate::manifest::hints;

/// The name of an enum whose variants are shapes: `scalar`, `list` and `map`.
pub(in crate::manifest) const SHAPE: &str = "$shape";

/// Why a value could not be read; `None`: it was reported already.
#[derive(Debug)]
pub(in crate::manifest) struct Wrong(Option<Box<Problem>>);

impl Wrong {
    fn at(place: Place, message: impl Into<String>) -> Wrong {
        Wrong(Some(Box::new(Problem::error(place, message))))
    }

    fn help(self, help: impl Into<String>) -> Wrong {
        Wrong(self.0.map(|problem| Box::new(problem.help(help))))
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_ref().map_or("already reported", |problem| &problem.message))
    }
}

impl std::error::Error for Wrong {}

impl serde::de::Error for Wrong {
    /// Only reached where a raw type and this deserializer do not fit each
    /// other. The text may hold a value, so it is not kept.
    fn custom<T: fmt::Display>(_: T) -> Wrong {
        Wrong::at(Place::default(), "this value is of the wrong kind")
    }
}

/// Reads `root` as `T`, a type whose fields are all [`super::Field`]s.
pub(in crate::manifest) fn read<'de, T: serde::Deserialize<'de>>(
    root: &'de Node,
    problems: &'de Problems,
) -> Option<T> {
    let read = T::deserialize(De { node: root, key: root.place, problems });
    read.map_err(|wrong| report(problems, wrong, root.place)).ok()
}

fn report(problems: &Problems, wrong: Wrong, place: Place) {
    if let Some(mut problem) = wrong.0 {
        if problem.place == Some(Place::default()) {
            problem.place = Some(place);
        }
        problems.add(*problem);
    }
}

#[derive(Clone, Copy)]
struct De<'de> {
    node: &'de Node,
    key: Place,
    problems: &'de Problems,
}

impl<'de> De<'de> {
    fn wrong(self, expected: &str) -> Wrong {
        let place = self.node.place;
        match &self.node.kind {
            Kind::Broken => Wrong(None),
            Kind::List(_) => Wrong::at(place, format!("this must be {expected}, not a list")),
            Kind::Map(_) => Wrong::at(place, format!("this must be {expected}, not a mapping")),
            Kind::Scalar(scalar) if scalar.is_null() => Wrong::at(place, format!("the value is missing: {expected}")),
            Kind::Scalar(scalar) => {
                Wrong::at(place, format!("this must be {expected}, not `{}`", brief(scalar.shown())))
            }
        }
    }

    /// The scalar, unless nothing is written there.
    fn scalar(self, expected: &str) -> Result<&'de Scalar, Wrong> {
        match &self.node.kind {
            Kind::Scalar(scalar) if !scalar.is_null() => Ok(scalar),
            _ => Err(self.wrong(expected)),
        }
    }

    fn map(self, fields: Option<(&'static str, &'static [&'static str])>) -> Result<Entries<'de>, Wrong> {
        let Kind::Map(entries) = &self.node.kind else { return Err(self.wrong("a mapping (keys with values)")) };
        let known = |key: &Key| fields.is_none_or(|(_, names)| names.contains(&key.name.as_str()));
        for (key, _) in entries.iter().filter(|(key, _)| !known(key) && !key.ignored) {
            let (section, names) = fields.unwrap_or_default();
            self.problems.add(hints::unknown_key(section, key, names));
        }
        let entries: Vec<_> = entries.iter().filter(|(key, _)| known(key) && !key.ignored).collect();
        Ok(Entries { rest: entries.into_iter(), value: None, problems: self.problems })
    }
}

/// A value cut to what fits into a message.
fn brief(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut brief: String = text.chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(LONGEST).is_some() {
        brief.push('…');
    }
    brief
}

impl<'de> Deserializer<'de> for De<'de> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match &self.node.kind {
            Kind::Broken => Err(Wrong(None)),
            Kind::Scalar(_) => self.deserialize_str(visitor),
            Kind::List(_) => self.deserialize_seq(visitor),
            Kind::Map(_) => self.deserialize_map(visitor),
        }
    }

    /// Any scalar is a text, as it is written.
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_borrowed_str(&self.scalar("a text")?.text)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        let scalar = self.scalar("true or false")?;
        match scalar.text.as_str() {
            "true" => visitor.visit_bool(true),
            "false" => visitor.visit_bool(false),
            _ => Err(self.wrong("true or false")),
        }
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        let scalar = self.scalar("a whole number")?;
        let digits = !scalar.text.is_empty() && scalar.text.bytes().all(|b| b.is_ascii_digit());
        match scalar.text.parse() {
            Ok(number) if digits => visitor.visit_u64(number),
            _ => Err(self.wrong("a whole number")),
        }
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        let scalar = self.scalar("a number")?;
        match scalar.text.parse::<f64>() {
            Ok(number) if number.is_finite() => visitor.visit_f64(number),
            _ => Err(self.wrong("a number")),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Wrong> {
        if name == FIELD {
            visitor.visit_seq(FieldParts { de: self, next: 0 })
        } else {
            visitor.visit_newtype_struct(self)
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        let Kind::List(items) = &self.node.kind else {
            let wrong = self.wrong("a list");
            return Err(match &self.node.kind {
                Kind::Scalar(scalar) if !scalar.is_null() => wrong.help("put it between [ and ]"),
                _ => wrong,
            });
        };
        visitor.visit_seq(Items { rest: items.iter(), problems: self.problems })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_map(self.map(None)?)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        visitor.visit_map(self.map(Some((name, fields)))?)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        if name == SHAPE {
            let shape = match &self.node.kind {
                Kind::Scalar(_) | Kind::Broken => "scalar",
                Kind::List(_) => "list",
                Kind::Map(_) => "map",
            };
            // Where the shape does not fit, the first one says what is expected.
            let variant = variants.iter().find(|name| **name == shape).or(variants.first()).copied().unwrap_or(shape);
            return visitor.visit_enum(Variant { name: variant, de: self });
        }
        let scalar = self.scalar(&hints::one_of(variants))?;
        match variants.iter().find(|name| **name == scalar.text) {
            Some(variant) => visitor.visit_enum(Variant { name: variant, de: self }),
            None => {
                let wrong = self.wrong(&hints::one_of(variants));
                // A suggestion would tell something about a value that is not to be shown.
                let near = scalar.written.is_none().then(|| hints::nearest(&scalar.text, variants)).flatten();
                Err(match near {
                    Some(near) => wrong.help(format!("did you mean `{near}`?")),
                    None => wrong,
                })
            }
        }
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u128 f32 char bytes byte_buf unit unit_struct tuple tuple_struct identifier
        ignored_any
    }
}

/// What a [`super::Field`] asks for: places, text as written, value.
struct FieldParts<'de> {
    de: De<'de>,
    next: u8,
}

impl<'de> SeqAccess<'de> for FieldParts<'de> {
    type Error = Wrong;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Wrong> {
        self.next += 1;
        match (self.next, &self.de.node.kind) {
            (1, _) => {
                let numbers = |p: Place| vec![p.line, p.column, p.end_line, p.end_column];
                let places = vec![numbers(self.de.node.place), numbers(self.de.key)];
                seed.deserialize(SeqDeserializer::new(places.into_iter())).map(Some)
            }
            (2, kind) => {
                let written = match kind {
                    Kind::Scalar(scalar) => scalar.written.clone().unwrap_or_default(),
                    _ => String::new(),
                };
                let written: StringDeserializer<Wrong> = written.into_deserializer();
                seed.deserialize(written).map(Some)
            }
            (3, _) => match seed.deserialize(self.de) {
                Ok(value) => Ok(Some(value)),
                Err(wrong) => {
                    report(self.de.problems, wrong, self.de.node.place);
                    Ok(None)
                }
            },
            _ => Ok(None),
        }
    }
}

struct Items<'de> {
    rest: std::slice::Iter<'de, Node>,
    problems: &'de Problems,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Wrong;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Wrong> {
        let Some(node) = self.rest.next() else { return Ok(None) };
        seed.deserialize(De { node, key: node.place, problems: self.problems }).map(Some)
    }
}

struct Entries<'de> {
    rest: std::vec::IntoIter<&'de (Key, Node)>,
    value: Option<&'de (Key, Node)>,
    problems: &'de Problems,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Wrong;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Wrong> {
        self.value = self.rest.next();
        match self.value {
            Some((key, _)) => seed.deserialize(key.name.as_str().into_deserializer()).map(Some),
            None => Ok(None),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Wrong> {
        let Some((key, node)) = self.value.take() else { return Err(Wrong::custom("a value without its key")) };
        seed.deserialize(De { node, key: key.place, problems: self.problems })
    }
}

struct Variant<'de> {
    name: &'static str,
    de: De<'de>,
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = Wrong;
    type Variant = De<'de>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, De<'de>), Wrong> {
        Ok((seed.deserialize(self.name.into_deserializer())?, self.de))
    }
}

impl<'de> VariantAccess<'de> for De<'de> {
    type Error = Wrong;

    fn unit_variant(self) -> Result<(), Wrong> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Wrong> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_map(visitor)
    }
}
