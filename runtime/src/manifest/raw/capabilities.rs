//! What a handler may reach beyond its arguments.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Size;
use crate::manifest::read::Field;

/// What a handler may reach beyond its arguments. What is not here it cannot even import.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::manifest) struct Allow {
    /// Topics that outputs may name, beside the route's `output`.
    #[serde(default)]
    #[schemars(extend("default" = []))]
    pub topics: Field<Vec<Field<String>>>,
    /// Servers that it may send HTTP requests to, as `https://host` or `http://host:port`. An empty list lets the
    /// module be loaded and refuses every request. Default: not granted.
    #[serde(default)]
    pub http: Field<Vec<Field<String>>>,
    /// A PEM file with the certificates that servers are vouched for by, in place of the system's; relative to the
    /// manifest.
    #[serde(default)]
    pub http_ca: Field<String>,
    /// A key-value store in memory, for each worker one. It is lost at a restart and when a partition moves. Default:
    /// not granted.
    #[serde(default)]
    pub key_value: Field<KeyValue>,
}

/// The bounds of a key-value store.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::manifest) struct KeyValue {
    /// Keys and values together.
    #[serde(default)]
    #[schemars(extend("default" = "1MiB"))]
    pub bytes: Field<Size>,
    /// The number of keys.
    #[serde(default)]
    #[schemars(range(min = 1, max = 10_000_000), extend("default" = 10_000))]
    pub entries: Field<u64>,
}

/// A setting's value; text, number and boolean are the same to the handler.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[allow(dead_code, reason = "only its schema is used")]
pub(in crate::manifest) enum Setting {
    /// As it is.
    Text(String),
    /// As it is written.
    Number(f64),
    /// As it is written.
    Boolean(bool),
}
