//! Several sidecars of one group.

use outrigger_tests::{Event, Kafka, Running};

use crate::job::{Job, PATIENCE};

/// Waits until this member has some of the partitions, but not all.
fn wait_share(member: &mut Running, job: &Job) {
    member.wait_for("it has a share of the partitions", PATIENCE, |member| {
        let lag = member.metrics()?.values("outrigger_consumer_lag_records", &[("topic", &job.topic)]);
        match lag.len() {
            1..6 => Ok(()),
            n => Err(format!("{n} partitions")),
        }
    });
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
