//! Routes and outputs: who takes an event, and where results may go.

use std::collections::BTreeSet;

use outrigger_tests::{Event, Expect, Kafka, Record};

use crate::job::{Job, PATIENCE};

fn dead(class: &str) -> Expect {
    Expect::DeadLetter(class.to_owned())
}

#[test]
fn every_matching_route_takes_the_event() {
    let kafka = Kafka::shared();
    let job = Job::new("fan-out", 2);
    let second = format!("{}.second", job.topic);
    kafka.create_topic(&second, 2);
    let route = format!(
        "  - name: second\n    match: {{ prefix: {{ type: test. }} }}\n    handler: ledger\n    output: {second}"
    );
    let manifest = job.manifest().replace("defaults:", &format!("{route}\ndefaults:"));
    kafka.produce(&job.topic, (0..100).map(|n| Event::new(format!("event-{n}")).key(format!("{n}")).record()));
    kafka.produce(&job.topic, [Event::new("other").ty("test.other").key("o").expect(Expect::Nothing).record()]);

    let mut sidecar = outrigger_tests::Sidecar::with(manifest).on(kafka).start();
    sidecar.wait_for("all is committed", PATIENCE, |_| job.committed_all());
    sidecar.terminate().must_succeed();
    assert_eq!(job.ledger().must_balance().outputs, 100);
    let ids = |topic: &str| kafka.read_all(topic).iter().map(|o| o.json()["id"].to_string()).collect::<BTreeSet<_>>();
    let mut wanted = ids(&job.output);
    wanted.insert("\"other\"".to_owned());
    assert_eq!(ids(&second), wanted);
    let routes: BTreeSet<String> = kafka.read_all(&second).iter().map(|o| o.json()["route"].to_string()).collect();
    assert_eq!(routes, BTreeSet::from(["\"second\"".to_owned()]));
}

#[test]
fn what_no_route_takes_goes_where_the_manifest_says() {
    let kafka = Kafka::shared();
    let drop = Job::new("unmatched-drop", 1).rest("unmatched: drop\nundecodable: drop");
    let keep = Job::new("unmatched-dlq", 1).rest("unmatched: deadLetter\nundecodable: deadLetter");
    for (job, unrouted, undecodable) in
        [(&drop, Expect::Nothing, Expect::Nothing), (&keep, dead("unrouted"), dead("undecodable"))]
    {
        kafka.produce(
            &job.topic,
            [
                Event::new("unrouted").ty("test.nobody").key("k").expect(unrouted).record(),
                Record::new(Some(b"k"), Some(b"{")).expect(undecodable),
                Event::new("routed").key("k").record(),
            ],
        );
        let mut sidecar = job.sidecar().start();
        sidecar.wait_for("all is committed", PATIENCE, |_| job.committed_all());
        sidecar.terminate().must_succeed();
        assert_eq!(job.ledger().must_balance().outputs, 1);
    }
}

#[test]
fn outputs_go_where_they_are_allowed_to_and_nowhere_else() {
    let kafka = Kafka::shared();
    let (allowed, forbidden) = (Kafka::unique("allowed"), Kafka::unique("forbidden"));
    let job = Job::new("outputs", 1).handler(&format!("allow: {{ topics: [{allowed}] }}"));
    kafka.create_topic(&allowed, 1);
    kafka.create_topic(&forbidden, 1);
    let event = |id: &str, what: &str, expect: Expect| Event::new(id).key("k").doing(what).expect(expect).record();
    kafka.produce(
        &job.topic,
        [
            event("to-the-route", "ok", Expect::Output),
            event("to-allowed", &format!("to:{allowed}"), Expect::Nothing),
            event("to-forbidden", &format!("to:{forbidden}"), dead("output")),
            event("nothing", "none", Expect::Nothing),
        ],
    );
    let mut sidecar = job.sidecar().start();
    sidecar.wait_for("all is committed", PATIENCE, |_| job.committed_all());
    sidecar.terminate().must_succeed();
    job.ledger().must_balance();
    let there: Vec<String> = kafka.read_all(&allowed).iter().map(|o| o.json()["id"].to_string()).collect();
    assert_eq!(there, ["\"to-allowed\""]);
    assert!(kafka.read_all(&forbidden).is_empty());
}

#[test]
fn outputs_are_events_with_ids_that_tell_doubles() {
    let kafka = Kafka::shared();
    let job = Job::new("output-ids", 1);
    let event = |id: &str, what: &str| Event::new(id).key("k").doing(what).record();
    kafka.produce(&job.topic, [event("two", "many:2"), event("named", "named:my-own-id")]);
    let mut sidecar = job.sidecar().start();
    sidecar.wait_for("all is committed", PATIENCE, |_| job.committed_all());
    sidecar.terminate().must_succeed();
    let outputs = kafka.read_all(&job.output);
    let said = |name: &str| outputs.iter().map(|o| o.text(name).unwrap_or("-").to_owned()).collect::<Vec<_>>();
    let id = |rest: &str| format!("{}/{}/0/{rest}", job.group, job.topic);
    assert_eq!(said("outrigger-id"), [id("0/all/0"), id("0/all/1"), id("1/all/0")]);
    assert_eq!(said("ce_id"), [id("0/all/0"), id("0/all/1"), "my-own-id".to_owned()]);
    assert_eq!(said("ce_specversion"), ["1.0"; 3]);
    assert_eq!(said("ce_type"), ["test.echo"; 3]);
    assert_eq!(said("ce_source"), ["/tests/ledger"; 3]);
    assert_eq!(said("ce_subject"), ["two", "two", "named"]);
    assert_eq!(said("content-type"), ["application/json"; 3]);
}

#[test]
fn outputs_are_written_structured_where_the_manifest_says_so() {
    let kafka = Kafka::shared();
    let job = Job::new("structured-outputs", 1).route("outputMode: structured");
    kafka.produce(&job.topic, [Event::new("one").key("k").record()]);
    let mut sidecar = job.sidecar().start();
    sidecar.wait_for("all is committed", PATIENCE, |_| job.committed_all());
    sidecar.terminate().must_succeed();
    let [output] = &kafka.read_all(&job.output)[..] else { panic!("not one output") };
    assert!(output.text("content-type").unwrap().starts_with("application/cloudevents+json"));
    let event = output.json();
    assert_eq!((&event["type"], &event["data"]["id"]), (&"test.echo".into(), &"one".into()));
    assert_eq!(output.key.as_deref(), Some(&b"k"[..]));
}
