//! Where a group begins, and what follows when its offset is gone.

use std::collections::BTreeMap;

use outrigger_tests::{Event, Expect, Kafka, Ledger, Record};

use crate::job::{Job, PATIENCE};

fn events(range: std::ops::Range<u32>, expect: Expect) -> impl Iterator<Item = Record> {
    range.map(move |n| Event::new(format!("event-{n}")).key("k").expect(expect.clone()).record())
}

#[test]
fn a_new_group_starts_at_the_latest_record_once() {
    let kafka = Kafka::shared();
    let job = Job::new("latest", 1).kafka("startFrom: latest");
    kafka.produce(&job.topic, events(0..10, Expect::Nothing));
    let mut first = job.sidecar().start();
    // Committed before anything is handled, so that a crash skips nothing.
    first.wait_for("the start is committed", PATIENCE, |_| job.committed_all());
    first.kill();

    // What is produced meanwhile belongs to the group already.
    kafka.produce(&job.topic, events(10..15, Expect::Output));
    let mut second = job.sidecar().start();
    second.wait_for("all is committed", PATIENCE, |_| job.committed_all());
    second.terminate().must_succeed();
    assert_eq!(job.ledger().must_balance().outputs, 5);
}

#[test]
fn a_new_group_starts_at_the_earliest_record() {
    let kafka = Kafka::shared();
    let job = Job::new("earliest", 1).kafka("startFrom: earliest");
    kafka.produce(&job.topic, events(0..10, Expect::Output));
    kafka.delete_records_before(&job.topic, 0, 3);
    let mut sidecar = job.sidecar().start();
    sidecar.wait_for("all is committed", PATIENCE, |_| job.committed_all());
    sidecar.terminate().must_succeed();
    assert_eq!(job.ledger().must_balance().outputs, 7);
}

/// A group that has committed 10, on a topic that goes from 25 to 30.
fn lost(policy: &str) -> Job {
    let kafka = Kafka::shared();
    let job = Job::new(&format!("lost-{policy}"), 1).kafka(&format!("onOffsetLost: {policy}"));
    kafka.produce(&job.topic, events(0..10, Expect::Output));
    let mut sidecar = job.sidecar().start();
    sidecar.wait_for("all is committed", PATIENCE, |_| job.committed_all());
    sidecar.terminate().must_succeed();
    kafka.produce(&job.topic, events(10..30, if policy == "latest" { Expect::Nothing } else { Expect::Output }));
    kafka.delete_records_before(&job.topic, 0, 25);
    job
}

#[test]
fn a_lost_offset_stops_the_process_and_the_count_is_said() {
    let job = lost("stop");
    let exit = job.sidecar().start().wait_end();
    exit.must_be(1);
    let said = exit.must_say("15");
    assert!(said.contains(&job.topic), "{said}");
    assert_eq!(
        Kafka::shared().committed(&job.group, &job.topic),
        BTreeMap::from([(0, 10)]),
        "the commit is left alone"
    );
}

#[test]
fn a_lost_offset_goes_on_at_the_earliest_record_where_the_manifest_says_so() {
    let job = lost("earliest");
    let mut sidecar = job.sidecar().start();
    sidecar.wait_for("all is committed", PATIENCE, |_| job.committed_all());
    let exit = sidecar.terminate();
    exit.must_succeed().must_say("15");
    let ledger = Ledger::read_after_deletions(Kafka::shared(), &job.topic, &job.output, &job.dead_letter);
    assert_eq!(ledger.must_balance().outputs, 5);
    assert_eq!(ledger.outputs().len(), 15);
}

#[test]
fn a_lost_offset_goes_on_with_what_comes_where_the_manifest_says_so() {
    let kafka = Kafka::shared();
    let job = lost("latest");
    let mut sidecar = job.sidecar().start();
    sidecar.wait_for("the new start is committed", PATIENCE, |_| job.committed_all());
    kafka.produce(&job.topic, events(30..33, Expect::Output));
    sidecar.wait_for("all is committed", PATIENCE, |_| job.committed_all());
    sidecar.terminate().must_succeed();
    let ledger = Ledger::read_after_deletions(kafka, &job.topic, &job.output, &job.dead_letter);
    assert_eq!(ledger.must_balance().outputs, 3);
    assert_eq!(ledger.outputs().len(), 13);
}
