//! A handler whose dependency is down for a while.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use outrigger_tests::{Event, Expect, Kafka, Running, Sidecar};

use crate::job::{Job, PATIENCE};

/// Without a circuit each record would be a dead letter after 100 ms.
const RETRY: &str = "{ strategy: fixed, initialDelay: 100ms, jitter: 0, maxRetries: 1 }";

fn held(sidecar: &Running) -> Result<bool, String> {
    Ok(sidecar.metrics()?.sum("outrigger_circuits_open", &[("handler", "ledger")]) > 0.0)
}

#[test]
fn a_dependency_that_is_down_dead_letters_nothing_and_stops_nobody_else() {
    let kafka = Kafka::shared();
    let job = Job::new("circuit", 2)
        .retry(RETRY)
        // One call at a time, so that none is under way when the circuit opens.
        .handler("concurrency: 1")
        .handler("circuit: { consecutiveFailures: 10, failingFor: 0s, openFor: 500ms, maxOpenFor: 1s }")
        .rest("workers: 1");
    let others = format!("{}.others", job.topic);
    kafka.create_topic(&others, 2);
    let manifest = job
        .manifest()
        .replace(
            "routes:",
            "  other: { module: MODULE }\nroutes:\n  - name: other\n    match: { type: test.other }\n    \
             handler: other\n    output: OTHERS",
        )
        .replace("MODULE", &outrigger_tests::guest("guest-ledger").display().to_string())
        .replace("OTHERS", &others);

    // Long enough to see that the others go on; the rest of the test waits for conditions.
    let until = SystemTime::now() + Duration::from_secs(12);
    let order = format!("down-until:{}", until.duration_since(UNIX_EPOCH).unwrap().as_millis());
    let down = |n: u32| Event::new(format!("down-{n}")).key(format!("key-{}", n % 40)).doing(&*order).record();
    let other = |n: u32| {
        let event = Event::new(format!("other-{n}")).ty("test.other").key(format!("other-{n}"));
        event.expect(Expect::Nothing).record()
    };
    kafka.produce(&job.topic, (0..200).map(down));
    kafka.produce(&job.topic, (0..300).map(other));

    let mut sidecar = Sidecar::with(manifest).on(kafka).start();
    sidecar.wait_for("the circuit opens", PATIENCE, |sidecar| match held(sidecar)? {
        true => Ok(()),
        false => Err("it is closed".to_owned()),
    });
    sidecar.wait_metric("outrigger_events_total", &[("route", "other"), ("outcome", "handled")], 300.0);
    assert!(SystemTime::now() < until, "the others took so long that this shows nothing");
    let (status, body) = sidecar.get("/readyz").unwrap();
    assert!(status == 200 && body.contains("\"circuits\":{\"ledger\":{\"heldOnWorkers\":1"), "{status} {body}");
    assert!(sidecar.metrics().unwrap().sum("outrigger_queue_records", &[]) >= 200.0, "they are held, not given up");

    sidecar.wait_for("all is committed", PATIENCE, |_| job.committed_all());
    assert!(!held(&sidecar).unwrap());
    let metrics = sidecar.metrics().unwrap();
    let changes = |state| metrics.sum("outrigger_circuit_changes_total", &[("handler", "ledger"), ("state", state)]);
    assert_eq!(changes("closed"), 1.0);
    assert!(changes("open") >= 3.0 && changes("open") == changes("half-open"), "each probe but the last failed");
    // Those that opened it, and one for each probe in vain.
    let failures = metrics.sum("outrigger_failures_total", &[("class", "dependency")]);
    assert_eq!(failures, 10.0 + changes("open") - 1.0);
    let exit = sidecar.terminate();
    exit.must_succeed().must_say("circuit open: 10 attempts in a row failed; its calls are held");
    exit.must_say("circuit half-open");
    exit.must_say("circuit closed");
    let tally = job.ledger().must_balance();
    assert_eq!((tally.outputs, tally.dead_letters, tally.duplicates), (200, 0, 0));
    assert_eq!(kafka.read_all(&others).len(), 300);
}
