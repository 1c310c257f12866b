//! Texts that the checks read further.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

/// Declares a text with a schema of its own.
macro_rules! text {
    ($(#[$meta:meta])* $name:ident, $schema:tt) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Deserialize)]
        pub(in crate::manifest) struct $name(String);

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

text!(
    /// A duration, as written.
    Duration,
    {
        "description": "A number and a unit: ms, s, m or h, as in 500ms or 1.5s.",
        "type": "string",
        "pattern": r"^([0-9]+(\.[0-9]+)? ?(ms|s|m|h)|.*\$\{.+)$",
    }
);

text!(
    /// A size, as written.
    Size,
    {
        "description": "A number and a unit: B, KiB, MiB, GiB, TiB, PiB, KB, MB or GB; without a unit, bytes.",
        "type": ["string", "integer"],
        "pattern": r"^([0-9]+(\.[0-9]+)? ?(B|[KMGTP]iB|[KMG]B|kB)?|.*\$\{.+)$",
    }
);
