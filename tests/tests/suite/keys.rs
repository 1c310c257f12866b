//! Order per key: a key that fails holds back itself and nothing else.

use std::collections::HashMap;

use outrigger_tests::{Event, Kafka};

use crate::job::{Job, PATIENCE};

#[test]
fn a_failing_key_holds_back_only_itself() {
    let kafka = Kafka::shared();
    let job = Job::new("failing-key", 1).retry("{ strategy: fixed, initialDelay: 1s, jitter: 0, maxRetries: 5 }");
    let bad = |n: u32| Event::new(format!("bad-{n}")).key("bad");
    let good = |n: u32| Event::new(format!("good-{n}")).key(format!("good-{}", n % 10)).record();
    kafka.produce(&job.topic, [bad(0).doing("fail:2").record(), bad(1).record()]);
    kafka.produce(&job.topic, (0..300).map(good).chain([bad(2).record()]));

    let mut sidecar = job.sidecar().start();
    sidecar.wait_metric("outrigger_retries_waiting", &[], 1.0);
    sidecar.wait_for("all is committed", PATIENCE, |_| job.committed_all());
    sidecar.terminate().must_succeed();

    let ledger = job.ledger();
    assert_eq!(ledger.must_balance().outputs, 303);
    let order: Vec<String> = ledger.outputs().iter().map(|o| o.json()["id"].as_str().unwrap().to_owned()).collect();
    // One partition: the order of the outputs is the order in which they were settled.
    assert!(order[..300].iter().all(|id| id.starts_with("good-")), "{:?}", &order[..300]);
    assert_eq!(order[300..], ["bad-0", "bad-1", "bad-2"]);
    assert_eq!(ledger.outputs()[300].json()["attempt"], 3);
}

#[test]
fn order_is_kept_across_many_retries() {
    let kafka = Kafka::shared();
    let job = Job::new("retries", 2)
        .retry("{ strategy: exponential, initialDelay: 5ms, multiplier: 2, maxDelay: 20ms, maxRetries: 5 }");
    let event = |n: u32| {
        let event = Event::new(format!("event-{n}")).key(format!("key-{}", n % 40));
        match n % 3 {
            0 => event.doing(format!("fail:{}", n % 4)).record(),
            1 => event.doing(format!("slow:{}", n % 5)).record(),
            _ => event.record(),
        }
    };
    kafka.produce(&job.topic, (0..2_000).map(event));
    let mut sidecar = job.sidecar().start();
    sidecar.wait_for("all is committed", PATIENCE, |_| job.committed_all());
    sidecar.terminate().must_succeed();
    let ledger = job.ledger();
    let tally = ledger.must_balance();
    assert_eq!((tally.outputs, tally.duplicates), (2_000, 0));
    // No attempt was made too often or left out.
    let attempts: HashMap<String, u64> = ledger
        .outputs()
        .iter()
        .map(|o| (o.json()["id"].as_str().unwrap().to_owned(), o.json()["attempt"].as_u64().unwrap()))
        .collect();
    for n in 0..2_000 {
        let failures = if n % 3 == 0 { n % 4 } else { 0 };
        assert_eq!(attempts[&format!("event-{n}")], failures + 1, "event-{n}");
    }
}

#[test]
fn partition_order_lets_nothing_overtake() {
    let kafka = Kafka::shared();
    let job = Job::new("partition-order", 1).route("ordering: partition");
    let event = |n: u32| {
        let event = Event::new(format!("{n}")).key(format!("key-{n}"));
        if n.is_multiple_of(20) { event.doing("fail:1").record() } else { event.record() }
    };
    kafka.produce(&job.topic, (0..200).map(event));
    let mut sidecar = job.sidecar().start();
    sidecar.wait_for("all is committed", PATIENCE, |_| job.committed_all());
    sidecar.terminate().must_succeed();
    let ledger = job.ledger();
    ledger.must_balance();
    let order: Vec<i64> = ledger.outputs().iter().map(|o| o.json()["offset"].as_i64().unwrap()).collect();
    assert_eq!(order, (0..200).collect::<Vec<i64>>());
}
