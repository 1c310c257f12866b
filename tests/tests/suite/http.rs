//! Handlers that ask other services.

use outrigger_tests::{Kafka, Manner, PATIENCE, Record, Server, Sidecar, guest};

/// Orders whose handler asks for something of its own each, in the words of `guest-reach`.
fn asking(server: &Server, count: u32) -> impl Iterator<Item = Record> {
    (0..count).map(move |n| {
        let request = format!("GET http {} /price/{n}", server.address());
        Record::new(Some(format!("key-{}", n % 7).as_bytes()), Some(request.as_bytes()))
            .header("ce_specversion", Some(b"1.0"))
            .header("ce_id", Some(format!("order-{n}").as_bytes()))
            .header("ce_source", Some(b"/tests"))
            .header("ce_type", Some(b"send"))
            .header("content-type", Some(b"text/plain"))
    })
}

#[test]
fn a_handler_asks_another_service() {
    let kafka = Kafka::shared();
    let name = Kafka::unique("asks");
    let (output, dead_letter, group) = (format!("{name}.out"), format!("{name}.dlq"), format!("{name}.group"));
    [&name, &output, &dead_letter].iter().for_each(|topic| kafka.create_topic(topic, 2));
    let server = Server::start(Manner::Answers);
    kafka.produce(&name, asking(&server, 100));
    let manifest = format!(
        r#"apiVersion: outrigger/v1
kafka: {{ bootstrapServers: "${{KAFKA_BOOTSTRAP_SERVERS}}", groupId: {group}, topics: [{name}] }}
handlers:
  reach:
    module: {module}
    allow: {{ http: ["{origin}"], keyValue: {{}} }}
    config: {{}}
routes:
  - {{ name: all, match: {{ type: send }}, handler: reach, output: {output} }}
defaults:
  deadLetter: {{ topic: {dead_letter} }}
commitInterval: 250ms
"#,
        module = guest("guest-reach").display(),
        origin = server.origin(),
    );
    let mut sidecar = Sidecar::with(manifest).on(kafka).start();
    sidecar.wait_for("all is committed", PATIENCE, |_| kafka.committed_all(&group, &name));
    sidecar.terminate().must_succeed();
    let text = |record: &Record| String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned();
    let dead: Vec<String> = kafka.read_all(&dead_letter).iter().map(text).collect();
    assert_eq!(dead, Vec::<String>::new());
    let mut answers: Vec<(String, String)> = kafka
        .read_all(&output)
        .iter()
        .map(|output| (output.text("ce_id").unwrap_or_default().to_owned(), text(output)))
        .collect();
    answers.sort_unstable();
    let mut expected: Vec<_> = (0..100).map(|n| (format!("order-{n}"), format!("200 /price/{n}"))).collect();
    expected.sort_unstable();
    assert_eq!(answers, expected, "each output has the answer to its own event");
    assert_eq!(server.requests(), 100, "each asked once");
}
