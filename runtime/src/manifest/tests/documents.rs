//! The schema and the reference stay in step with the types.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::Value;

use super::*;

fn document(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name)
}

/// Every key that the schema knows, wherever it stands.
fn keys(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| keys(item, found)),
        Value::Object(map) => {
            for (name, value) in map {
                match value {
                    // Not to be walked as a schema itself: one of its keys is called `properties`.
                    Value::Object(properties) if name == "properties" => {
                        found.extend(properties.keys().cloned());
                        properties.values().for_each(|value| keys(value, found));
                    }
                    _ => keys(value, found),
                }
            }
        }
        _ => {}
    }
}

fn all_keys() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    keys(&schema(), &mut found);
    found
}

#[test]
fn the_committed_schema_is_the_generated_one() {
    let path = document("manifest.schema.json");
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&path, schema_text()).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == schema_text(),
        "docs/manifest.schema.json is out of step: run `outrigger schema > docs/manifest.schema.json`, \
         or this test with UPDATE_SCHEMA=1"
    );
}

#[test]
fn the_full_example_has_every_key_of_the_schema() {
    for key in all_keys() {
        assert!(FULL.contains(&format!("{key}:")), "`{key}` is not in full.yaml");
    }
}

#[test]
fn the_reference_names_every_key() {
    let reference = std::fs::read_to_string(document("manifest.md")).unwrap();
    for key in all_keys() {
        assert!(reference.contains(&format!("`{key}`")), "`{key}` is not in docs/manifest.md");
    }
}

#[test]
fn the_examples_of_the_reference_hold() {
    let reference = std::fs::read_to_string(document("manifest.md")).unwrap();
    let mut examples = 0;
    for block in reference.split("```yaml\n").skip(1) {
        let example = block.split("```").next().unwrap();
        if example.starts_with("apiVersion") {
            examples += 1;
            let loaded = load(example);
            assert!(loaded.is_ok(), "{}", rendered(&loaded));
        }
    }
    assert!(examples >= 2, "a smallest and a full one");
}

#[test]
fn what_the_schema_requires_is_required() {
    let schema = schema();
    let required = |name: &str| -> Vec<String> {
        let object = if name.is_empty() { &schema } else { &schema["$defs"][name] };
        object["required"].as_array().unwrap().iter().map(|key| key.as_str().unwrap().to_owned()).collect()
    };
    let sections = ["", "Kafka", "TopicTable", "Handler", "Route", "RetryReaction", "Probes", "Admin"];
    let with_table = MINIMAL
        .replace("[orders]", "[{ name: orders }]")
        .replace("handler: h }", "handler: h, onFailure: { trap: { retry: { maxRetries: 1 } } } }")
        + "probes: { listen: 127.0.0.1:0 }\nadmin: { listen: 127.0.0.1:0, token: 0123456789abcdef }\n";
    assert!(load(&with_table).is_ok(), "{}", rendered(&load(&with_table)));
    for key in sections.iter().flat_map(|section| required(section)) {
        // Another key in its place: the one that is required is missing then.
        let text = with_table.replace(&format!("{key}:"), "other:");
        let text = rendered(&load(&text));
        assert!(text.contains(&format!("the key `{key}` is missing")), "{key}: {text}");
    }
}
