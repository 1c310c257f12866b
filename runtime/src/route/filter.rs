//! Filters, compiled: attribute names resolved, the type's part decided where the type is known.

use std::collections::BTreeSet;

use crate::envelope::Envelope;
use crate::manifest::Filter;

/// The types that an event can have to pass the filter: no other type passes,
/// these may. `None`: any type may pass.
pub(super) fn possible_types(filter: &Filter) -> Option<BTreeSet<&str>> {
    match filter {
        Filter::Exact(pairs) => {
            let ty = pairs.iter().find(|(name, _)| name == "type");
            ty.map(|(_, value)| BTreeSet::from([value.as_str()]))
        }
        // One part's set is enough: the other parts are tested.
        Filter::All(parts) => parts.iter().filter_map(possible_types).min_by_key(BTreeSet::len),
        Filter::Any(parts) => parts.iter().map(possible_types).try_fold(BTreeSet::new(), |mut types, of_part| {
            types.append(&mut of_part?);
            Some(types)
        }),
        Filter::Prefix(_) | Filter::Suffix(_) | Filter::Not(_) => None,
    }
}

/// A compiled filter.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Test {
    Always,
    Never,
    /// The attribute is there, and its value compares so. Bytes, because values
    /// compare case-sensitively and parts of UTF-8 compare like their bytes.
    Value(Attribute, Comparison, Box<[u8]>),
    All(Box<[Test]>),
    Any(Box<[Test]>),
    Not(Box<Test>),
}

/// An attribute by its place in the envelope.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Attribute {
    Id,
    Source,
    Type,
    Subject,
    Time,
    DataContentType,
    DataSchema,
    Extension(Box<[u8]>),
}

/// How a value compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Exact,
    Prefix,
    Suffix,
}

impl Comparison {
    fn holds(self, value: &[u8], expected: &[u8]) -> bool {
        match self {
            Comparison::Exact => value == expected,
            Comparison::Prefix => value.starts_with(expected),
            Comparison::Suffix => value.ends_with(expected),
        }
    }
}

impl Test {
    /// Compiles a filter; with `ty`, for events of that type only.
    pub(super) fn new(filter: &Filter, ty: Option<&str>) -> Test {
        let values = |pairs: &[(String, String)], comparison| {
            Test::all(pairs.iter().map(|(name, expected)| Test::value(name, comparison, expected, ty)))
        };
        match filter {
            Filter::Exact(pairs) => values(pairs, Comparison::Exact),
            Filter::Prefix(pairs) => values(pairs, Comparison::Prefix),
            Filter::Suffix(pairs) => values(pairs, Comparison::Suffix),
            Filter::All(parts) => Test::all(parts.iter().map(|part| Test::new(part, ty))),
            Filter::Any(parts) => Test::any(parts.iter().map(|part| Test::new(part, ty))),
            Filter::Not(part) => match Test::new(part, ty) {
                Test::Always => Test::Never,
                Test::Never => Test::Always,
                test => Test::Not(Box::new(test)),
            },
        }
    }

    fn value(name: &str, comparison: Comparison, expected: &str, ty: Option<&str>) -> Test {
        // `specversion` is always 1.0, and a known type is as certain.
        let known = match name {
            "specversion" => Some("1.0"),
            "type" => ty,
            _ => None,
        };
        let expected = expected.as_bytes();
        match known {
            Some(value) if comparison.holds(value.as_bytes(), expected) => Test::Always,
            Some(_) => Test::Never,
            None => Test::Value(Attribute::named(name), comparison, expected.into()),
        }
    }

    fn all(parts: impl Iterator<Item = Test>) -> Test {
        let mut parts: Vec<Test> = parts.filter(|part| *part != Test::Always).collect();
        match parts.len() {
            _ if parts.contains(&Test::Never) => Test::Never,
            0 => Test::Always,
            1 => parts.remove(0),
            _ => Test::All(parts.into()),
        }
    }

    fn any(parts: impl Iterator<Item = Test>) -> Test {
        let mut parts: Vec<Test> = parts.filter(|part| *part != Test::Never).collect();
        match parts.len() {
            _ if parts.contains(&Test::Always) => Test::Always,
            0 => Test::Never,
            1 => parts.remove(0),
            _ => Test::Any(parts.into()),
        }
    }

    /// Whether the event passes.
    pub(super) fn takes(&self, event: &Envelope) -> bool {
        match self {
            Test::Always => true,
            Test::Never => false,
            Test::Value(attribute, comparison, expected) => {
                attribute.of(event).is_some_and(|value| comparison.holds(value, expected))
            }
            Test::All(parts) => parts.iter().all(|part| part.takes(event)),
            Test::Any(parts) => parts.iter().any(|part| part.takes(event)),
            Test::Not(part) => !part.takes(event),
        }
    }
}

impl Attribute {
    fn named(name: &str) -> Attribute {
        match name {
            "id" => Attribute::Id,
            "source" => Attribute::Source,
            "type" => Attribute::Type,
            "subject" => Attribute::Subject,
            "time" => Attribute::Time,
            "datacontenttype" => Attribute::DataContentType,
            "dataschema" => Attribute::DataSchema,
            _ => Attribute::Extension(name.as_bytes().into()),
        }
    }

    fn of<'e>(&self, event: &'e Envelope) -> Option<&'e [u8]> {
        match self {
            Attribute::Id => Some(event.id().as_bytes()),
            Attribute::Source => Some(event.source().as_bytes()),
            Attribute::Type => Some(event.type_bytes()),
            Attribute::Subject => event.subject().map(str::as_bytes),
            Attribute::Time => event.time().map(str::as_bytes),
            Attribute::DataContentType => event.datacontenttype().map(str::as_bytes),
            Attribute::DataSchema => event.dataschema().map(str::as_bytes),
            Attribute::Extension(name) => event.extension(name),
        }
    }
}
