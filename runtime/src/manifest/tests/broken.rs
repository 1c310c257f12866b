//! Manifests that do not hold, and what a person is told.

use proptest::prelude::*;

use super::*;

/// The smallest manifest with `from` replaced by `to`, checked; what is said.
fn minimal_with(replacements: &[(&str, &str)]) -> String {
    let mut text = MINIMAL.to_owned();
    for (from, to) in replacements {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    let loaded = load(&text);
    assert!(!rendered(&loaded).is_empty(), "nothing is wrong with\n{text}");
    rendered(&loaded)
}

/// Each line is a snapshot's name and what is replaced in the smallest manifest.
const BROKEN: &[(&str, &[(&str, &str)])] = &[
    ("unknown_key", &[("handler: h", "handler: h, retires: 3")]),
    ("unknown_key_without_a_near_one", &[("groupId: g", "groupId: g\n  colour: red")]),
    (
        "origins",
        &[(
            "enrich.wasm }",
            "enrich.wasm, allow: { http: [api.example.com, \"ftp://h\", \"https://h/v1\", \"https://*.h\",\n    \
             \"http://u:p@h\", \"http://H\", \"http://h:\", \"http://0x7f.1\", \"http://[::ffff:10.0.0.1]\",\n    \
             \"http://localhost:8080\", \"https://h\", \"https://h:443\", \"http://0.0.0.0\", \"https://\"] } }",
        )],
    ),
    ("ca_without_http", &[("enrich.wasm }", "enrich.wasm, allow: { httpCa: certs/ca.pem } }")]),
    ("ca_missing", &[("enrich.wasm }", "enrich.wasm, allow: { http: [], httpCa: certs/no.pem } }")]),
    ("ca_empty", &[("enrich.wasm }", "enrich.wasm, allow: { http: [], httpCa: secret } }")]),
    ("capabilities_elsewhere", &[("enrich.wasm }", "enrich.wasm, http: [], allow: { config: {}, key_value: {} } }")]),
    (
        "settings",
        &[(
            "enrich.wasm }",
            "enrich.wasm, config: { a: 1, \"\": 2 }, secrets: { a: 3 }, env: { 1A: x, A-B: y, C: [] } }",
        )],
    ),
    (
        "capability_bounds",
        &[(
            "enrich.wasm }",
            "enrich.wasm, limits: { httpRequests: 100000, httpResponseBytes: 0 }, allow: { keyValue: { bytes: 2GiB, \
             entries: 0 } } }",
        )],
    ),
    ("missing_keys", &[("{ name: r, match: { type: t }, handler: h }", "{ ordering: key }")]),
    ("missing_sections", &[(MINIMAL, "apiVersion: outrigger/v1\n")]),
    ("wrong_version", &[("outrigger/v1", "outrigger/v2")]),
    ("wrong_kinds", &[("[orders]", "orders"), ("{ type: t }", "t"), ("{ module: handlers/enrich.wasm }", "[]")]),
    ("nothing_written", &[("groupId: g", "groupId:")]),
    ("drain_longer_than_a_poll", &[("kafka:", "drainTimeout: 5m\nshutdownTimeout: 10m\nkafka:")]),
    ("poll_shorter_than_the_drain", &[("groupId: g", "groupId: g\n  properties: { max.poll.interval.ms: 8000 }")]),
    ("bad_units", &[("kafka:", "commitInterval: 5\ndrainTimeout: 5 sec\nbuffer: { bytes: 16MX }\nkafka:")]),
    (
        "out_of_range",
        &[("enrich.wasm }", "enrich.wasm, concurrency: 0, limits: { memory: 8GiB, timeout: 0s, input: 0 } }")],
    ),
    ("warm_up_of_fresh_ones", &[("enrich.wasm }", "enrich.wasm, instance: fresh, warmUp: 1 }")]),
    ("warm_up_above_the_concurrency", &[("enrich.wasm }", "enrich.wasm, concurrency: 2, warmUp: 3 }")]),
    ("not_a_number", &[("kafka:", "workers: many\nkafka:")]),
    ("twice_the_same_key", &[("groupId: g", "groupId: g\n  groupId: h")]),
    ("twice_the_same_route", &[("handler: h }", "handler: h }\n  - { name: r, match: { type: u }, handler: h }")]),
    ("undefined_handler", &[("handler: h }", "handler: hh }")]),
    ("unrouted_handler", &[("routes:", "  spare: { module: handlers/audit.wasm }\nroutes:")]),
    ("missing_module", &[("enrich.wasm", "enirch.wasm")]),
    ("bad_digest", &[("enrich.wasm }", "enrich.wasm, sha256: abc }")]),
    ("contradiction", &[("{ type: t }", "{ type: t, prefix: { type: u } }")]),
    ("other_specversion", &[("{ type: t }", "{ type: t, specversion: \"0.3\" }")]),
    ("empty_conditions", &[("{ type: t }", "{ any: [], not: {} }")]),
    ("attribute_names", &[("{ type: t }", "{ Type: t, my_ext: x, data: y, subject: \"\" }")]),
    ("star_in_a_value", &[("{ type: t }", "{ type: shop.order.* }")]),
    ("probably_meant_type", &[("{ type: t }", "{ tpye: t }")]),
    ("dead_letters_consumed", &[("[orders]", "[orders, orders.dlq]")]),
    ("dead_letters_match_a_pattern", &[("[orders]", "[\"^audit\\\\..*\"]")]),
    ("dead_letters_of_a_route_consumed", &[("handler: h }", "handler: h, deadLetter: { topic: orders } }")]),
    ("bad_dead_letter_topic", &[("handler: h }", "handler: h, deadLetter: { topic: \"{tpoic}.dlq\" } }")]),
    ("dead_letter_off_without_an_end", &[("handler: h }", "handler: h, deadLetter: false }")]),
    ("dead_letter_on", &[("handler: h }", "handler: h, deadLetter: true }")]),
    ("exhausted_beside_a_dead_letter", &[("handler: h }", "handler: h, exhausted: drop }")]),
    ("defaults_without_dead_letter", &[("routes:", "defaults: { deadLetter: false, exhausted: drop }\nroutes:")]),
    ("output_comes_back", &[("handler: h }", "handler: h, output: orders }")]),
    (
        "allowed_topic_comes_back",
        &[("enrich.wasm }", "enrich.wasm, allow: { topics: [orders.x] } }"), ("[orders]", "[\"^orders\\\\.[a-z]$\"]")],
    ),
    (
        "owned_properties",
        &[("groupId: g", "groupId: g\n  properties:\n    enable.auto.commit: true\n    acks: 1\n    sasl.pasword: x")],
    ),
    (
        "group_protocol_consumer",
        &[(
            "groupId: g",
            "groupId: g\n  properties:\n    group.protocol: consumer\n    session.timeout.ms: 6000\n    \
             heartbeat.interval.ms: 500\n    partition.assignment.strategy: range",
        )],
    ),
    ("group_protocol_unknown", &[("groupId: g", "groupId: g\n  properties: { group.protocol: streams }")]),
    ("strategy_unknown", &[("groupId: g", "groupId: g\n  properties: { partition.assignment.strategy: sticky }")]),
    (
        "strategies_mixed",
        &[("groupId: g", "groupId: g\n  properties: { partition.assignment.strategy: \"cooperative-sticky, range\" }")],
    ),
    ("assignor_unused", &[("groupId: g", "groupId: g\n  properties: { group.remote.assignor: uniform }")]),
    ("bad_topics", &[("[orders]", "[\"a b\", \"orders.*\", \"^a(\", \"^a\\\\d\", ok, ok]")]),
    ("bad_servers", &[("localhost:9092", "localhost:99999")]),
    ("bad_retry", &[("handler: h }", "handler: h, retry: { multiplier: 0.5, jitter: 2, maxRetries: 100000 } }")]),
    ("delays_crossed", &[("handler: h }", "handler: h, retry: { maxDelay: 500ms } }")]),
    ("unknown_reaction", &[("handler: h }", "handler: h, onFailure: { trap: deadletter, timeout: { x: 1 } } }")]),
    ("classes_without_a_route", &[("handler: h }", "handler: h, onFailure: { undecodable: drop, unrouted: drop } }")]),
    (
        "bad_circuit",
        &[(
            "enrich.wasm }",
            "enrich.wasm, circuit: { consecutiveFailures: 0, failureRatio: 2, openFor: 10s, maxOpenFor: 5s } }",
        )],
    ),
    ("circuit_on", &[("enrich.wasm }", "enrich.wasm, circuit: true }")]),
    (
        "circuit_ratio_unused",
        &[("enrich.wasm }", "enrich.wasm, circuit: { consecutiveFailures: 1, failureRatio: 0.2 } }")],
    ),
    (
        "memory_above_the_budget",
        &[
            ("kafka:", "workers: 2\nmemoryBudget: 512MiB\nkafka:"),
            ("routes:", "  small: { module: handlers/audit.wasm, concurrency: 4, limits: { memory: 1MiB } }\nroutes:"),
            ("handler: h }", "handler: h }\n  - { name: s, match: { type: s }, handler: small }"),
        ],
    ),
    ("buffer_above_the_total", &[("kafka:", "buffer: { bytes: 64MiB, totalBytes: 32MiB }\nkafka:")]),
    ("shutdown_shorter_than_drain", &[("kafka:", "shutdownTimeout: 3s\nkafka:")]),
    ("bad_listen", &[("kafka:", "probes: { listen: localhost }\nkafka:")]),
    ("bad_admin", &[("kafka:", "admin: { listen: localhost, token: short }\nkafka:")]),
    ("admin_without_a_token", &[("kafka:", "admin: { listen: 127.0.0.1:9465 }\nkafka:")]),
    ("missing_variable", &[("groupId: g", "groupId: ${GROUP}")]),
    ("missing_file", &[("groupId: g", "groupId: ${file:none/such}")]),
    ("malformed_expression", &[("groupId: g", "groupId: ${GROUP ID}")]),
    ("unquoted_expression", &[("{ type: t }", "{ type: ${TYPE} }")]),
    ("not_yaml", &[("groupId: g", "groupId: [g")]),
    ("tab", &[("  groupId: g", "\tgroupId: g")]),
    ("second_document", &[("routes:", "---\nroutes:")]),
    ("merge_key", &[("handler: h }", "handler: h, <<: { ordering: key } }")]),
    ("tag", &[("groupId: g", "groupId: !secret g")]),
    ("unknown_alias", &[("groupId: g", "groupId: *g")]),
    ("bad_names", &[("name: r,", "name: \"a b\",")]),
];

#[test]
fn what_a_person_is_told() {
    for (name, replacements) in BROKEN {
        insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(*name, minimal_with(replacements));
        });
    }
}

#[test]
fn everything_is_reported_at_once_in_the_order_of_the_text() {
    let text = "\
apiVersion: outrigger/v1
kafka: { bootstrapServers: \"\", topics: [\"a b\"] }
handlers:
  h: { modul: x, concurrency: zero }
routes:
  - { name: r, match: { type: t }, handler: g, retry: { jitter: 7 } }
workers: -1
";
    let Err(found) = load(text) else { panic!("this must not hold") };
    let lines: Vec<u32> =
        found.iter().filter_map(|diagnostic| diagnostic.location.as_ref()).map(|at| at.line).collect();
    assert_eq!(lines, [2, 2, 2, 4, 4, 4, 6, 6, 7], "{}", rendered(&Err(found)));
}

#[test]
fn a_billion_laughs_are_refused() {
    let mut text = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (from, to) in "abcdefgh".chars().zip("bcdefghi".chars()) {
        text += &format!("{to}: &{to} [{}]\n", vec![format!("*{from}"); 10].join(", "));
    }
    assert!(rendered(&load(&text)).contains("more than 50000 nodes"), "{}", rendered(&load(&text)));
}

#[test]
fn deep_nesting_is_refused() {
    for text in ["[".repeat(100_000), "a: ".to_owned() + &"{ not: ".repeat(10_000), "- ".repeat(10_000) + "x"] {
        assert!(load(&text).is_err());
    }
}

#[test]
fn what_a_terminal_would_obey_is_shown_as_what_it_is() {
    let text =
        "apiVersion: outrigger/v1\nroutes: [{ name: a, handler: \"pr\\e[31m\\u202eice\", match: { type: b } }]\n";
    let shown = rendered(&load(text));
    assert!(shown.contains("pr") && !shown.contains(['\u{1b}', '\u{202e}']), "{shown:?}");
}

#[test]
fn a_missing_manifest_is_said_so() {
    let Err(found) = super::super::load(Path::new("no/such/outrigger.yaml")) else { panic!("there is none") };
    let expected = "error: the manifest cannot be read: there is no such file\n --> no/such/outrigger.yaml";
    assert_eq!(rendered(&Err(found)), expected);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever the text: no panic, and what is refused is refused with a reason.
    #[test]
    fn nothing_panics(text in "([a-z]{1,4}: |[\\[\\]{}\"':,&*#|>!%@`~?-]|[a-z0-9\\$é]{1,3}|\n {0,4}|\t){0,40}") {
        if let Err(found) = load(&text) {
            prop_assert!(found.iter().any(|diagnostic| diagnostic.severity == Severity::Error), "{text}");
        }
    }

    /// The same near a manifest that holds: one stretch of it is replaced.
    #[test]
    fn a_damaged_manifest_does_not_panic(
        at in 0..FULL.len(),
        length in 0..40_usize,
        damage in "[\\[\\]{}\"':,&*#|>\n a0-]{0,6}",
    ) {
        let end = (at + length).min(FULL.len());
        prop_assume!(FULL.is_char_boundary(at) && FULL.is_char_boundary(end));
        let text = format!("{}{damage}{}", &FULL[..at], &FULL[end..]);
        if let Err(found) = load(&text) {
            prop_assert!(found.iter().any(|diagnostic| diagnostic.severity == Severity::Error), "{text}");
        }
    }
}
