//! The bound on what all partitions together hold in memory.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use outrigger_tests::{Event, Kafka};

use crate::job::{Job, PATIENCE};

/// One partition's records hold more than the whole bound and do not move; the others
/// are read all the same, a batch at a time.
#[test]
fn a_partition_that_stands_still_does_not_stop_the_others() {
    let kafka = Kafka::shared();
    let job = Job::new("total-bytes", 6)
        .retry("{ strategy: fixed, initialDelay: 200ms, jitter: 0, maxRetries: 1000 }")
        .handler("circuit: false")
        .rest("workers: 1\nbuffer: { totalBytes: 100KiB }");
    let until = SystemTime::now() + Duration::from_secs(20);
    let order = format!("down-until:{}", until.duration_since(UNIX_EPOCH).unwrap().as_millis());
    let still = |n: u32| {
        Event::new(format!("still-{n}")).key(format!("still-{n}")).doing(&*order).padded(1000).record().to_partition(0)
    };
    let moving = |n: u32| {
        let event = Event::new(format!("moving-{n}")).key(format!("moving-{}", n % 50)).padded(200);
        event.record().to_partition(1 + (n % 50 % 5) as i32)
    };
    kafka.produce(&job.topic, (0..200).map(still));
    let mut sidecar = job.sidecar().start();
    sidecar.wait_metric("outrigger_queue_records", &[], 200.0);
    kafka.produce(&job.topic, (0..10_000).map(moving));

    // The longest batch of each of the others, beside what stands still.
    let most = 200.0 + 5.0 * 256.0;
    let (mut highest, mut paused) = (0.0_f64, 0.0_f64);
    sidecar.wait_for("the others are handled", PATIENCE, |sidecar| {
        let metrics = sidecar.metrics()?;
        highest = highest.max(metrics.sum("outrigger_queue_records", &[]));
        paused = paused.max(metrics.sum("outrigger_paused_partitions", &[]));
        match metrics.sum("outrigger_events_total", &[("outcome", "handled")]) {
            10_000.0 => Ok(()),
            handled => Err(format!("{handled} handled")),
        }
    });
    assert!(SystemTime::now() < until, "they took so long that this shows nothing");
    assert!(highest <= most, "{highest} records in memory");
    assert!(paused > 0.0, "the bound was never reached");
    let metrics = sidecar.metrics().unwrap();
    assert_eq!(metrics.sum("outrigger_queue_limit_bytes", &[]), 102_400.0);
    assert!(metrics.sum("outrigger_queue_bytes", &[]) > 102_400.0, "what stands still is more than the bound");

    sidecar.wait_for("all is committed", PATIENCE, |_| job.committed_all());
    sidecar.terminate().must_succeed();
    assert_eq!(job.ledger().must_balance().outputs, 10_200);
}
