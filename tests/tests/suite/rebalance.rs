//! Several sidecars of one group.

use outrigger_tests::{Event, Kafka, Running};

use crate::job::{Job, PATIENCE};

/// Whether this member has some of the partitions, but not all.
fn share(member: &Running, job: &Job) -> Result<(), String> {
    match member.metrics()?.values("outrigger_consumer_lag_records", &[("topic", &job.topic)]).len() {
        1..6 => Ok(()),
        n => Err(format!("{n} partitions")),
    }
}

fn wait_share(member: &mut Running, job: &Job) {
    member.wait_for("it has a share of the partitions", PATIENCE, |member| share(member, job));
}

#[test]
fn members_come_and_go_and_nothing_is_lost_or_out_of_order() {
    let kafka = Kafka::shared();
    let job = Job::new("rebalance", 6);
    let event = |n: u32| {
        let event = Event::new(format!("event-{n}")).key(format!("key-{}", n % 499));
        match n % 40 {
            0 => event.doing("fail:2").record(),
            1 => event.rejected().record(),
            _ => event.doing("slow:20").record(),
        }
    };
    kafka.produce(&job.topic, (0..20_000).map(event));

    let mut first = job.sidecar().start();
    first.wait_handled(300);
    let mut second = job.sidecar().start();
    wait_share(&mut second, &job);
    wait_share(&mut first, &job);
    second.wait_handled(300);
    first.terminate().must_succeed();
    // One that is killed leaves its partitions without a word.
    let mut third = job.sidecar().start();
    wait_share(&mut third, &job);
    third.kill();
    second.wait_for("all is committed", PATIENCE, |_| job.committed_all());
    second.terminate().must_succeed();
    let tally = job.ledger().must_balance();
    assert_eq!((tally.outputs, tally.dead_letters), (19_500, 500));
}

/// A read of librdkafka that counted the end of a partition as a record moved the
/// position behind it, and the next rebalance fetched from there: past a record
/// that had been produced meanwhile, or out of range.
#[test]
fn a_rebalance_at_the_end_of_the_log_skips_nothing() {
    let kafka = Kafka::shared();
    let job = Job::new("rebalance-at-end", 6);
    let mut n: u32 = 0;
    let mut produce = || {
        n += 6;
        kafka.produce(
            &job.topic,
            (n - 6..n).map(|n| Event::new(format!("{n}")).key("k").record().to_partition(n as i32 % 6)),
        );
        n
    };
    produce();
    let mut first = job.sidecar().start();
    first.wait_caught_up(&job.topic, 6);
    for _ in 0..3 {
        // With records that come while the partitions move, and with none.
        let mut second = job.sidecar().start();
        second.wait_for("it has a share of the partitions", PATIENCE, |second| {
            produce();
            share(second, &job)
        });
        first.wait_for("all is committed", PATIENCE, |_| job.committed_all());
        second.terminate().must_succeed();
        first.wait_caught_up(&job.topic, 6);
    }
    let produced = produce() as usize;
    first.wait_for("all is committed", PATIENCE, |_| job.committed_all());
    first.terminate().must_succeed();
    assert_eq!(job.ledger().must_balance().outputs, produced);
}
