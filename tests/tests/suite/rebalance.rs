//! Several sidecars of one group.

use outrigger_tests::{Event, Kafka, Running, Sidecar};

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
    members_come_and_go(Job::new("rebalance", 6));
}

/// The same where each rebalance takes all partitions away from everybody.
#[test]
fn members_come_and_go_in_eager_rebalances() {
    let properties = "partition.assignment.strategy: \"range,roundrobin\", session.timeout.ms: 3000, \
                      heartbeat.interval.ms: 500";
    members_come_and_go(Job::new("rebalance-eager", 6).properties(properties));
}

/// The same where the brokers assign (KIP-848); the sessions are as short, as the brokers say.
#[test]
fn members_come_and_go_under_the_consumer_protocol() {
    members_come_and_go(Job::new("rebalance-848", 6).properties("group.protocol: consumer"));
}

fn members_come_and_go(job: Job) {
    let kafka = Kafka::shared();
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

/// A member with an instance id keeps its partitions while it is away for less than
/// a session: no rebalance when it stops, and none when it is back.
#[test]
fn a_static_member_that_comes_back_causes_no_rebalance() {
    let kafka = Kafka::shared();
    let job = Job::new("static-members", 6)
        .properties("group.instance.id: MEMBER, session.timeout.ms: 60000, heartbeat.interval.ms: 500");
    let member = |id: &str| Sidecar::with(job.manifest().replace("MEMBER", id)).on(kafka).start();
    let event = |n: u32| Event::new(format!("event-{n}")).key(format!("key-{}", n % 97)).record();
    let mut one = member("one");
    let mut two = member("two");
    wait_share(&mut one, &job);
    wait_share(&mut two, &job);
    kafka.produce(&job.topic, (0..500).map(event));
    one.wait_for("all is committed", PATIENCE, |_| job.committed_all());

    let rebalances = |member: &Running| member.log().iter().filter(|line| line.contains("partitions revoked")).count();
    let before = rebalances(&one);
    two.terminate().must_succeed();
    kafka.produce(&job.topic, (500..1000).map(event));
    let mut two = member("two");
    two.wait_for("all is committed", PATIENCE, |_| job.committed_all());
    wait_share(&mut one, &job);
    wait_share(&mut two, &job);
    assert_eq!(rebalances(&one), before, "nothing was taken from the one that stayed");
    one.terminate().must_succeed();
    two.terminate().must_succeed();
    assert_eq!(job.ledger().must_balance().outputs, 1000);
}
