//! The main job, whole: everything that a topic can hold, at some size.

use std::time::Duration;

use outrigger_tests::{Event, Expect, Kafka, Record, Tally};

use crate::harness::compacted;
use crate::job::{Job, PATIENCE};

const EVENTS: u32 = 100_000;

#[test]
fn a_hundred_thousand_events_end_exactly_where_they_must() {
    let kafka = Kafka::shared();
    let job = Job::new("main-job", 6);
    let records: Vec<Record> = (0..EVENTS).map(mixed).collect();
    let dead = |class: &str| records.iter().filter(|r| Expect::of(r) == Expect::DeadLetter(class.to_owned())).count();
    let (rejected, undecodable) = (dead("rejected"), dead("undecodable"));
    assert!(rejected >= 90 && undecodable >= 150, "the mixture is not what it was meant to be");
    let retries: u32 = (0..EVENTS).map(failures).sum();
    assert!(retries >= 1_900, "{retries}");
    kafka.produce(&job.topic, records);

    let mut sidecar = job.sidecar().start();
    sidecar.wait_ready();
    sidecar.wait_for("all is committed", Duration::from_secs(180), |_| job.committed_all());
    sidecar.wait_caught_up(&job.topic, 6);

    let inputs = EVENTS as usize;
    let outputs = inputs - rejected - undecodable;
    let tally = job.ledger().must_balance();
    assert_eq!(tally, Tally { inputs, outputs, dead_letters: rejected + undecodable, duplicates: 0 });

    sidecar.wait_metric("outrigger_records_total", &[("topic", &job.topic)], inputs as f64);
    sidecar.wait_metric("outrigger_events_total", &[("route", "all"), ("outcome", "handled")], outputs as f64);
    sidecar.wait_metric("outrigger_events_total", &[("route", "all"), ("outcome", "retried")], f64::from(retries));
    sidecar.wait_metric("outrigger_events_total", &[("route", "all"), ("outcome", "dead_lettered")], rejected as f64);
    sidecar.wait_metric("outrigger_dead_letters_total", &[("class", "rejected")], rejected as f64);
    sidecar.wait_metric("outrigger_dead_letters_total", &[("class", "undecodable")], undecodable as f64);
    sidecar.wait_metric("outrigger_retries_waiting", &[], 0.0);
    sidecar.wait_metric("outrigger_queue_bytes", &[], 0.0);
    let metrics = sidecar.metrics().unwrap();
    let calls = (outputs + rejected) as f64 + f64::from(retries);
    assert_eq!(metrics.sum("outrigger_handler_duration_seconds_count", &[("handler", "ledger")]), calls);
    assert!(metrics.sum("outrigger_commits_total", &[("result", "ok")]) >= 1.0);
    assert_eq!(metrics.sum("outrigger_commits_total", &[("result", "failed")]), 0.0);

    sidecar.terminate().must_succeed();
    job.committed_all().unwrap();
}

/// How often the n-th of them fails before it is handled.
fn failures(n: u32) -> u32 {
    let other = n % 997 == 5 || n % 983 == 6;
    if n % 100 == 7 && !other { 1 + n / 100 % 3 } else { 0 }
}

/// The n-th of them: 10,000 keys, binary and structured, 1 % that fail one to
/// three times, 0.1 % that are rejected, some that are no events, some without
/// data, some without a key.
fn mixed(n: u32) -> Record {
    let key = format!("key-{}", n % 10_000);
    if n % 997 == 5 {
        return Record::undecodable(&key);
    }
    if n % 983 == 6 {
        return Record::tombstone(&key);
    }
    let event = Event::new(format!("event-{n}"));
    let event = if n % 211 == 8 { event } else { event.key(key) };
    let event = match n {
        _ if n % 1_000 == 3 => event.rejected(),
        _ if failures(n) > 0 => event.doing(format!("fail:{}", failures(n))),
        _ if n % 991 == 9 => return event.without_data().record(),
        _ => event,
    };
    if n.is_multiple_of(2) { event.structured().record() } else { event.record() }
}

#[test]
fn a_compacted_topic_with_gaps_is_handled_to_its_end() {
    let kafka = Kafka::shared();
    let job = Job::named("compacted-job", 3).create_results();
    compacted(kafka, &job.topic, 3, 2_000);

    let mut sidecar = job.sidecar().start();
    sidecar.wait_for("all is committed", PATIENCE, |_| job.committed_all());
    sidecar.wait_caught_up(&job.topic, 3);
    // The log may be compacted once more meanwhile: what is left of it now was there all the time.
    let ledger = outrigger_tests::Ledger::read_after_deletions(kafka, &job.topic, &job.output, &job.dead_letter);
    assert!(ledger.must_balance().outputs > 0);
    sidecar.terminate().must_succeed();
}

#[test]
fn aborted_transactions_are_not_handled_and_their_traces_are_no_lag() {
    let kafka = Kafka::shared();
    let job = Job::new("transactions-job", 2);
    let batch = |name: &'static str, expect: Expect| {
        (0..100).map(move |n| {
            let event = Event::new(format!("{name}-{n}")).key(format!("key-{}", n % 7)).expect(expect.clone());
            event.record().to_partition(n % 2)
        })
    };
    kafka.produce_aborted(&job.topic, batch("aborted-first", Expect::Nothing));
    kafka.produce_in_transaction(&job.topic, batch("committed", Expect::Output));
    kafka.produce(&job.topic, batch("plain", Expect::Output));
    // The log ends with records that nobody may see and a control record.
    kafka.produce_aborted(&job.topic, batch("aborted-last", Expect::Nothing));

    let mut sidecar = job.sidecar().start();
    sidecar.wait_for("all 200 are handled", PATIENCE, |_| match kafka.read_all(&job.output).len() {
        200 => Ok(()),
        n => Err(format!("{n} outputs")),
    });
    sidecar.wait_caught_up(&job.topic, 2);
    assert_eq!(sidecar.metrics().unwrap().sum("outrigger_records_total", &[("topic", &job.topic)]), 200.0);
    sidecar.terminate().must_succeed();
    assert_eq!(job.ledger().must_balance(), Tally { inputs: 200, outputs: 200, ..Tally::default() });

    // Nothing is delivered again, and nothing is left over.
    let mut again = job.sidecar().start();
    again.wait_caught_up(&job.topic, 2);
    again.terminate().must_succeed();
    assert_eq!(job.ledger().must_balance().duplicates, 0);
}
