//! Ends and beginnings: where a sidecar goes on, and how it stops.

use std::collections::HashSet;
use std::time::Duration;

use outrigger_tests::{Event, Kafka, Record, Running};

use crate::job::{Job, PATIENCE};

fn events(range: std::ops::Range<u32>) -> impl Iterator<Item = Record> {
    range.map(|n| Event::new(format!("event-{n}")).key(format!("key-{}", n % 97)).record())
}

#[test]
fn a_restart_goes_on_where_the_commit_says() {
    let kafka = Kafka::shared();
    let job = Job::new("restart", 3);
    kafka.produce(&job.topic, events(0..2_000));
    let mut first = job.sidecar().start();
    first.wait_for("all is committed", PATIENCE, |_| job.committed_all());
    first.terminate().must_succeed();
    job.committed_all().unwrap();

    kafka.produce(&job.topic, events(2_000..3_000));
    let mut second = job.sidecar().start();
    second.wait_for("all is committed", PATIENCE, |_| job.committed_all());
    let records = second.metrics().unwrap().sum("outrigger_records_total", &[("topic", &job.topic)]);
    assert_eq!(records, 1_000.0, "only what came since is delivered");
    second.terminate().must_succeed();
    let tally = job.ledger().must_balance();
    assert_eq!((tally.outputs, tally.duplicates), (3_000, 0));
}

#[test]
fn a_killed_sidecar_loses_nothing() {
    let kafka = Kafka::shared();
    let job = Job::new("killed", 3);
    // Slow enough to be killed in the middle.
    let slow = |n: u32| Event::new(format!("event-{n}")).key(format!("key-{}", n % 97)).doing("slow:20").record();
    kafka.produce(&job.topic, (0..6_000).map(slow));
    let mut first = job.sidecar().start();
    first.wait_handled(500);
    first.kill();
    let committed: i64 = kafka.committed(&job.group, &job.topic).values().sum();
    assert!(committed < 6_000, "killed too late to show anything");

    let mut second = job.sidecar().start();
    second.wait_for("all is committed", PATIENCE, |_| job.committed_all());
    second.terminate().must_succeed();
    assert_eq!(job.ledger().must_balance().outputs, 6_000);
}

#[test]
fn sigterm_under_load_loses_nothing_and_ends_in_time() {
    let kafka = Kafka::shared();
    let job = Job::new("sigterm", 3).rest("shutdownTimeout: 15s");
    let event = |n: u32| {
        let event = Event::new(format!("event-{n}")).key(format!("key-{}", n % 997));
        match n % 50 {
            0 => event.doing("slow:100"),
            1 => event.doing("fail:2"),
            2 => event.rejected(),
            _ => event.doing("slow:5"),
        }
    };
    kafka.produce(&job.topic, (0..20_000).map(|n| event(n).record()));
    let mut first = job.sidecar().start();
    first.wait_handled(1_000);
    let exit = first.terminate();
    exit.must_succeed();
    assert!(exit.took < Duration::from_secs(15), "it took {:?}", exit.took);

    // No skip: whatever is below the committed offset is settled already.
    let committed = kafka.committed(&job.group, &job.topic);
    assert!(committed.values().sum::<i64>() < 20_000, "ended too late to show anything");
    let ledger = job.ledger();
    let settled: HashSet<(i64, i64)> = ledger
        .outputs()
        .iter()
        .map(Record::json)
        .map(|echo| (echo["partition"].as_i64().unwrap(), echo["offset"].as_i64().unwrap()))
        .chain(ledger.dead_letters().iter().map(|letter| {
            let number = |name| letter.failure(name).unwrap().parse().unwrap();
            (number("partition"), number("offset"))
        }))
        .collect();
    for (&partition, &end) in &committed {
        let missing = (0..end).find(|&offset| !settled.contains(&(partition.into(), offset)));
        assert_eq!(missing, None, "partition {partition} is committed up to {end}");
    }

    let mut second = job.sidecar().start();
    second.wait_for("all is committed", PATIENCE, |_| job.committed_all());
    second.terminate().must_succeed();
    let tally = job.ledger().must_balance();
    assert_eq!((tally.outputs, tally.dead_letters), (19_600, 400));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let kafka = Kafka::shared();
    let job = Job::new("second-signal", 1)
        .handler("limits: { timeout: 60s }")
        .rest("shutdownTimeout: 60s\ndrainTimeout: 50s");
    kafka.produce(&job.topic, [Event::new("slow").doing("slow:55000").record(), Event::new("quick").record()]);
    let mut sidecar = job.sidecar().start();
    // The slow one came first, so its call is under way.
    sidecar.wait_handled(1);
    sidecar.signal_to_end();
    // It is on its way out, and waits for the call.
    sidecar.wait_for("it stops being ready", PATIENCE, |sidecar| match sidecar.get("/readyz") {
        Ok((200, body)) => Err(body),
        _ => Ok(()),
    });
    let exit = sidecar.terminate();
    assert!(exit.took < Duration::from_secs(2), "it took {:?}", exit.took);
    assert!(!exit.status.success(), "a record is left, so this is no success");
}

#[test]
fn a_member_without_partitions_is_ready_again_after_its_broker_was_away() {
    let kafka = Kafka::start_with(&[]);
    let job = outrigger_tests::Job::new_on(&kafka, "standby", 1).properties("session.timeout.ms: 45000");
    let mut sidecars = [job.sidecar().start(), job.sidecar().start()];
    sidecars.iter_mut().for_each(|sidecar| _ = sidecar.wait_ready());
    let assigned = |sidecars: &[Running; 2]| sidecars.each_ref().map(|sidecar| sidecar.said("partitions assigned"));
    kafka.crash();
    sidecars.iter_mut().for_each(|sidecar| _ = sidecar.wait_not_ready("no broker can be reached"));
    let before = assigned(&sidecars);
    kafka.start_again();
    // Their session goes on: no rebalance, and nothing for one of them to read or to commit.
    sidecars.iter_mut().for_each(|sidecar| _ = sidecar.wait_ready());
    assert_eq!(assigned(&sidecars), before, "a rebalance makes both ready: then this shows nothing");
    for sidecar in sidecars {
        sidecar.terminate().must_succeed();
    }
}
