//! The offset map: what is settled beyond a commit is not called again.

use std::ops::Range;

use outrigger::commit::map::{Identity, OffsetMap};
use outrigger::commit::metadata::{MAX, Metadata, map_limit};
use outrigger_tests::{Event, Expect, Job, Kafka, Record};

use crate::job::PATIENCE;

/// The parked ones are tried again after a restart, long before this.
const RETRY: &str = "{ strategy: fixed, initialDelay: 10m, maxDelay: 10m, jitter: 0, maxRetries: 5 }";

fn map_of(metadata: &str, job: &Job<'_>) -> Option<OffsetMap> {
    let identity = Identity { group: &job.group, topic: &job.topic, partition: 0 };
    let text = Metadata::parse(metadata.as_bytes()).unwrap().map?;
    Some(OffsetMap::decode(&text, identity).unwrap())
}

fn covered(kafka: &Kafka, job: &Job<'_>) -> usize {
    let metadata = kafka.metadata(&job.group, &job.topic);
    let map = metadata.get(&0).and_then(|metadata| map_of(metadata, job));
    map.map_or(0, |map| map.settled.into_iter().flatten().count())
}

/// So many events, of which those at these offsets fail once and are parked then.
fn events(count: usize, parked: &[usize]) -> impl Iterator<Item = Record> {
    (0..count).map(move |n| {
        let event = Event::new(format!("event-{n}")).key(format!("key-{n}"));
        if parked.contains(&n) { event.doing("fail:1").record() } else { event.record() }
    })
}

/// The first record, and others at random.
fn at_random(count: usize, among: usize) -> Vec<usize> {
    let mut all: Vec<usize> = (1..among).collect();
    fastrand::shuffle(&mut all);
    all.truncate(count - 1);
    all.push(0);
    all
}

#[test]
fn a_killed_sidecar_calls_again_only_what_its_map_did_not_cover() {
    let (kafka, parked, settled) = (Kafka::shared(), 100, 10_000);
    let job = Job::new("map", 1).retry(RETRY);
    kafka.produce(&job.topic, events(parked + settled, &at_random(parked, parked + settled)));
    let mut first = job.sidecar().start();
    first.wait_for("all that is settled is in the map", PATIENCE, |_| match covered(kafka, &job) {
        covered if covered == settled => Ok(()),
        covered => Err(format!("{covered} of {settled}")),
    });
    first.kill();
    assert_eq!(kafka.committed(&job.group, &job.topic)[&0], 0);

    let mut second = job.sidecar().start();
    second.wait_for("all is committed", PATIENCE, |_| job.committed_all());
    let handled = second.metrics().unwrap().sum("outrigger_events_total", &[("outcome", "handled")]);
    let retried = second.metrics().unwrap().sum("outrigger_events_total", &[("outcome", "retried")]);
    println!("{settled} settled and {parked} parked, killed: {handled} called again");
    assert_eq!((handled, retried), (parked as f64, 0.0), "an attempt that failed before counts");
    second.terminate().must_succeed().must_say("settled=10000");
    let tally = job.ledger().must_balance();
    assert_eq!((tally.outputs, tally.duplicates), (parked + settled, 0));
}

#[test]
fn a_map_that_the_broker_finds_too_large_is_cut_to_its_lowest_offsets() {
    let (parked, settled) = (100, 10_000);
    let kafka = Kafka::start_with(&[("offset.metadata.max.bytes", "256")]);
    // After the restart most calls are of those that fail: a circuit would hold them.
    let job = Job::new_on(&kafka, "map-cut", 1).retry(RETRY).handler("circuit: false");
    kafka.produce(&job.topic, events(parked + settled, &at_random(parked, parked + settled)));
    let mut first = job.sidecar().start();
    first.wait_handled(settled as u32);
    first.wait_for("a part of the map is committed", PATIENCE, |_| match covered(&kafka, &job) {
        0 => Err(format!("{:?}", kafka.metadata(&job.group, &job.topic))),
        _ => Ok(()),
    });
    first.kill().must_say("the broker takes only shorter metadata");
    let metadata = kafka.metadata(&job.group, &job.topic)[&0].clone();
    let runs = map_of(&metadata, &job).unwrap().settled;
    let covered: i64 = runs.iter().map(|run| run.end - run.start).sum();
    assert!(metadata.len() <= 256 && runs[0].start < 1_000, "{} bytes: {runs:?}", metadata.len());

    // There is no room for the attempts, so the parked ones fail once more.
    let job = job.retry("{ strategy: fixed, initialDelay: 20ms, jitter: 0, maxRetries: 5 }");
    let mut second = job.sidecar().start();
    second.wait_for("all is committed", PATIENCE, |_| job.committed_all());
    let handled = second.metrics().unwrap().sum("outrigger_events_total", &[("outcome", "handled")]);
    let beyond = settled - covered as usize;
    println!("{settled} settled and {parked} parked, {covered} in a map of 256 bytes, killed: {handled} called again");
    assert_eq!(handled, (parked + beyond) as f64);
    second.terminate().must_succeed();
    let tally = job.ledger().must_balance();
    assert_eq!((tally.outputs, tally.duplicates), (parked + settled, beyond));
}

#[test]
fn metadata_that_does_not_belong_to_the_offset_skips_nothing() {
    const COMMITTED: i64 = 3;
    const TIME: i64 = 1_700_000_000_000;
    let kafka = Kafka::shared();
    let reasons = [
        r#"it is not Outrigger's: "AgAAAXw2fVvQ""#,
        r#"it is not Outrigger's: "offset=7""#,
        "it was made for offset 2, and 3 is committed",
        "it was made for another group, topic or partition",
        "it reaches up to offset 20, and the log ends at 10",
        "the record at offset 3, of time 1700000000999, was expected first",
        "the checksum does not hold",
    ];
    let good = reasons.len() as i32;
    let job = Job::new("map-foreign", good + 1);
    let events = (0..good + 1).flat_map(|partition| {
        (0..10).map(move |n| {
            let is_called = n >= COMMITTED && !(partition == good && n == 4);
            let expect = if is_called { Expect::Output } else { Expect::Nothing };
            let event = Event::new(format!("event-{partition}-{n}")).key(format!("key-{n}")).expect(expect);
            Record { timestamp_ms: Some(TIME + n), ..event.record().to_partition(partition) }
        })
    });
    kafka.produce(&job.topic, events);

    let map = |partition, base, head_ms, settled: Range<i64>| {
        let map = OffsetMap { base, head_ms, settled: vec![settled], attempts: Vec::new() };
        let identity = Identity { group: &job.group, topic: &job.topic, partition };
        let map = map.encode(identity, map_limit(MAX)).map(|text| text.text);
        Metadata { began_ms: None, map }.to_string()
    };
    let head = TIME + COMMITTED;
    let damaged = {
        let mut text = map(6, COMMITTED, head, 4..10);
        let last = text.pop().unwrap();
        // One bit of the checksum's last byte that counts.
        text + if last == 'A' { "E" } else { "A" }
    };
    for (partition, metadata) in (0..).zip([
        "AgAAAXw2fVvQ".to_owned(),
        "offset=7".to_owned(),
        map(2, COMMITTED - 1, head - 1, 4..10),
        map(2, COMMITTED, head, 4..10),
        map(4, COMMITTED, head, 4..20),
        map(5, COMMITTED, TIME + 999, 4..10),
        damaged,
        map(good, COMMITTED, head, 4..5),
    ]) {
        kafka.commit(&job.group, &job.topic, partition, COMMITTED, &metadata);
    }
    let mut sidecar = job.sidecar().start();
    sidecar.wait_for("all is committed", PATIENCE, |_| job.committed_all());
    let exit = sidecar.terminate();
    for (partition, reason) in reasons.iter().enumerate() {
        let line = exit.must_succeed().must_say(reason);
        assert!(line.contains("WARN") && line.contains(&job.topic), "partition {partition}: {line}");
    }
    let tally = job.ledger().must_balance();
    assert_eq!((tally.outputs, tally.duplicates), (7 * reasons.len() + 6, 0));
}
