//! What came from a variable, a file or `kafka.properties` is shown nowhere.

use proptest::prelude::*;

use super::*;

/// Everything that leaves the module about a manifest, as text.
fn everything(loaded: &Loaded) -> String {
    let (Ok((_, diagnostics)) | Err(diagnostics)) = loaded;
    let json: Vec<_> = diagnostics.iter().map(|diagnostic| diagnostic.to_json().to_string()).collect();
    format!("{}\n{json:?}\n{loaded:?}", rendered(loaded))
}

/// A manifest with a value in place of each of these, one after the other.
const PLACES: [&str; 29] = [
    "localhost:9092",
    "order-handlers",
    "- shop.orders",
    "earliest",
    "stop",
    "handlers/enrich.wasm",
    "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "warm",
    "concurrency: 32",
    "memory: 64MiB",
    "cpuTime: 500ms",
    "outputs: 100",
    "[shop.orders.enriched]",
    "httpRequests: 16",
    "httpResponseBytes: 4MiB",
    "httpCa: certs/ca.pem",
    "{ bytes: 1MiB",
    "httpRequestBytes: 1MiB",
    "- name: order-created",
    "handler: enrich",
    "output: shop.orders.enriched",
    "outputMode: binary",
    "strategy: exponential",
    "multiplier: 2",
    "trap: deadLetter",
    "topic: \"{topic}.dlq\"",
    "omitLargeValues: false",
    "exhausted: drop",
    "listen: 0.0.0.0:9464",
];

#[test]
fn a_value_from_outside_is_shown_as_its_expression() {
    for place in PLACES {
        assert!(FULL.contains(place), "{place}");
        for (expression, variables) in [("${SECRET}", true), ("${file:secret}", false)] {
            let kept = &place[..place.rfind([' ', '[']).map_or(0, |at| at + 1)];
            let end = if place.ends_with(']') { "]" } else { "" };
            let text = FULL.replace(place, &format!("{kept}\"{expression}\"{end}"));
            let secret = [("SECRET", "hunter2"), ("WORKERS", "2"), ("KAFKA_PASSWORD", "pw")];
            let loaded = load_with(&text, if variables { &secret } else { &secret[1..] });
            let Err(_) = &loaded else { continue };
            let text = everything(&loaded);
            assert!(!text.contains("hunter2"), "{place}: {text}");
            assert!(text.contains(expression), "{place}: {text}");
        }
    }
}

#[test]
fn properties_are_hidden_even_where_they_are_written_out() {
    let with = |properties: &str| MINIMAL.replace("  topics:", &format!("  {properties}\n  topics:"));
    for properties in [
        "properties: { sasl.password: hunter2, group.id: hunter2, x.y: hunter2, linger.ms: hunter2 }",
        "properties: { sasl.password: [hunter2] }",
        "properties: hunter2",
        "properties: { sasl.password: \"${KAFKA-PASSWORD:-hunter2}\" }",
        "properties: { sasl.password: \"abc${hunter2 }def\" }",
        "properties: \"hunter2${NONE:-x}\"",
        "properties:\n    ssl.key.pem: |\n      hunter2\n      hunter2\n    acks: \"hun\\\n      ter2\"",
        "propertys: { a: hunter2 }",
        "properties: { sasl.password hunter2 }",
        "properties: { \"sasl.password:hunter2\": x }",
        "properties:\n    sasl.password:hunter2",
        "sasl.password hunter2: x",
        "sasl.password: hunter2",
        "ssl.key.password: hunter2",
        "properties: { sasl.password: hunter2, sasl.password: hunter2 }",
        "properties: { sasl.password: &p hunter2 }\n  startFrom: *p",
    ] {
        let loaded = load(&with(properties));
        assert!(loaded.is_err(), "{properties}");
        assert!(!everything(&loaded).contains("hunter2"), "{properties}: {}", everything(&loaded));
        assert!(!everything(&loaded).contains("ter2"), "{properties}: {}", everything(&loaded));
    }
}

#[test]
fn properties_are_hidden_where_the_text_is_not_yaml() {
    for broken in [
        "properties: { sasl.password: \"hunter2 }",
        "properties:\n    sasl.password: hunter2: x",
        "properties:\n    sasl.password: 'hunter2\n",
        "properties:\n    sasl.password: @hunter2",
        "properties:\n    a: b\n\t  sasl.password: hunter2",
        "sasl.password: *hunter2",
        "properties: [hunter2\n",
    ] {
        let loaded = load(&MINIMAL.replace("  topics:", &format!("  {broken}\n  topics:")));
        assert!(loaded.is_err(), "{broken}");
        assert!(!everything(&loaded).contains("hunter2"), "{broken}: {}", everything(&loaded));
    }
}

#[test]
fn settings_and_variables_are_hidden_even_where_they_are_written_out() {
    for given in [
        "secrets: { key: hunter2, key: hunter2 }",
        "secrets: { key: [hunter2] }",
        "secrets: hunter2",
        "secrets: \"hunter2${NONE:-x}\"",
        "secrets: { key: \"${A-B:-hunter2}\" }",
        "secrets: { \"\": hunter2 }",
        "secret: { key: hunter2 }",
        "env: { KEY: hunter2, 1A: hunter2, A-B: hunter2 }",
        "env: { KEY: \"hunter2\\0\" }",
        "env: hunter2",
        "config: { a: \"${file:secret}\", b: [\"${file:secret}\"] }",
        "allow: { http: [\"${file:secret}\"], httpCa: \"${file:secret}\" }",
    ] {
        let loaded = load(&MINIMAL.replace("enrich.wasm }", &format!("enrich.wasm, {given} }}")));
        assert!(loaded.is_err(), "{given}");
        assert!(!everything(&loaded).contains("hunter2"), "{given}: {}", everything(&loaded));
    }
}

#[test]
fn settings_are_hidden_in_a_manifest_that_holds() {
    let given = "config: { a: hunter2 }, secrets: { b: hunter2 }, env: { C: hunter2 }";
    let loaded = load(&MINIMAL.replace("enrich.wasm }", &format!("enrich.wasm, {given} }}")));
    assert!(loaded.is_ok(), "{}", rendered(&loaded));
    assert!(!everything(&loaded).contains("hunter2"));
}

#[test]
fn the_checked_manifest_hides_them_too() {
    let loaded = load(FULL);
    assert!(loaded.is_ok(), "{}", rendered(&loaded));
    assert!(!everything(&loaded).contains("hunter2"));
}

#[test]
fn a_value_cannot_become_yaml() {
    let text = MINIMAL.replace("groupId: g", "groupId: ${G}");
    let trick = "g\nhandlers: {}\n# ${OTHER} {[";
    let (manifest, _) = load_with(&text, &[("G", trick)]).unwrap_or_else(|e| panic!("{}", rendered(&Err(e))));
    assert_eq!(manifest.kafka.group_id, trick);
    assert_eq!(manifest.handlers.len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// A manifest that is damaged anywhere shows no property's value.
    #[test]
    fn no_damage_shows_a_property(at in 0..FULL.len(), length in 0..4_usize, damage in "[\\[\\]{}\"':,&*#|>\t\n -]{0,2}") {
        let mut text = FULL.replace("${KAFKA_PASSWORD}", "hunter2");
        text.replace_range(at.min(text.len())..(at + length).min(text.len()), &damage);
        prop_assume!(text.contains("hunter2"));
        let loaded = load(&text);
        if loaded.is_err() {
            prop_assert!(!everything(&loaded).contains("hunter2"), "{}", everything(&loaded));
        }
    }
}
