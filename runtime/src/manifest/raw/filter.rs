//! What a route matches.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use crate::manifest::read::Field;

/// Conditions on the context attributes of an event: the CloudEvents
/// subscription dialects. A key that is no dialect is an attribute, and its
/// value the exact one.
#[derive(Debug, Default, JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub(in crate::manifest) struct Match {
    /// Attributes with exactly these values; for attributes that are called like a dialect.
    #[schemars(default)]
    pub exact: Field<BTreeMap<String, Field<String>>>,
    /// Attributes that begin with these values.
    #[schemars(default)]
    pub prefix: Field<BTreeMap<String, Field<String>>>,
    /// Attributes that end with these values.
    #[schemars(default)]
    pub suffix: Field<BTreeMap<String, Field<String>>>,
    /// Every one of these.
    #[schemars(default)]
    pub all: Field<Vec<Field<Match>>>,
    /// At least one of these.
    #[schemars(default)]
    pub any: Field<Vec<Field<Match>>>,
    /// Not this.
    #[schemars(default)]
    pub not: Box<Field<Match>>,
    /// Attributes by name.
    #[schemars(flatten)]
    pub attributes: BTreeMap<String, Field<String>>,
}

impl<'de> Deserialize<'de> for Match {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Match, D::Error> {
        deserializer.deserialize_map(MatchVisitor)
    }
}

struct MatchVisitor;

impl<'de> Visitor<'de> for MatchVisitor {
    type Value = Match;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("conditions on attributes")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Match, A::Error> {
        let mut found = Match::default();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "exact" => found.exact = map.next_value()?,
                "prefix" => found.prefix = map.next_value()?,
                "suffix" => found.suffix = map.next_value()?,
                "all" => found.all = map.next_value()?,
                "any" => found.any = map.next_value()?,
                "not" => found.not = map.next_value()?,
                _ => {
                    let value = map.next_value()?;
                    found.attributes.insert(key, value);
                }
            }
        }
        Ok(found)
    }
}
