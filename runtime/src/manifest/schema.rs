//! The JSON Schema of the manifest, generated from the raw types.

use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use super::raw;

/// The JSON Schema (draft 2020-12) that editors check and complete manifests
/// with. It ends with a line break when written with [`schema_text`].
pub fn schema() -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<raw::Manifest>().to_value();
    allow_expressions(&mut schema);
    schema
}

/// What is not a text may be given as `${...}` all the same, which is one.
fn allow_expressions(schema: &mut Value) {
    let expression = json!({ "pattern": r"\$\{", "type": "string" });
    match schema {
        Value::Array(items) => items.iter_mut().for_each(allow_expressions),
        Value::Object(map) => {
            let kind = map.get("type").and_then(Value::as_str).map(str::to_owned);
            if let Some(kind @ ("integer" | "number" | "boolean")) = kind.as_deref()
                && !map.contains_key("const")
            {
                // The pattern says nothing about a number, and the range nothing about a text.
                map.insert("type".to_owned(), json!([kind, "string"]));
                map.insert("pattern".to_owned(), expression["pattern"].clone());
            }
            if let Some(Value::Array(choices)) = map.get_mut("oneOf") {
                choices.push(expression);
            }
            map.values_mut().for_each(allow_expressions);
        }
        _ => {}
    }
}

/// The schema as the text of a file.
pub fn schema_text() -> String {
    // `#` leaves serde_json's pretty form, which a JSON value always has.
    format!("{:#}\n", schema())
}
