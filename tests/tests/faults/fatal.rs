//! Errors after which a client is of no use any more: the consumer's ends the process,
//! the producer's brings a new producer.

use std::time::Duration;

use outrigger_tests::{Job, Kafka, PATIENCE, eventually, let_it_last};

use crate::row::{Load, Outcome, Row, Run, SESSION, finish, settle};

pub fn rows() -> Vec<Row> {
    let row = |name, fault, run| Row { name, fault, quick: false, run };
    vec![
        Row { quick: true, ..row("fenced", "fatal consumer error: a second static member of the same id", fenced) },
        row("producer-expired", "idempotent producer forgotten by the broker", producer_expired),
        row(
            "producer-fatal",
            "fatal producer error: the broker's state of the producer is an older one",
            producer_state_lost,
        ),
    ]
}

/// What is said when a producer ended with a fatal error.
pub const RENEWED: &str = "the producer ended with a fatal error; a new one takes over";

/// The group gives the partitions to whoever came last under an id; the one before
/// has to end, and what it had under way comes again.
fn fenced(run: &Run<'_>) -> Outcome {
    let properties = format!("{SESSION}, group.instance.id: one-of-a-kind");
    let job = Job::new_on(run.kafka, "fenced", 3).properties(&properties);
    let (mut load, cycles, mut happened) = (Load::default(), run.count(3, 20), 0);
    let mut first = job.sidecar().start();
    first.wait_ready();
    for _ in 0..cycles {
        load.produce(run.kafka, &job, 600);
        let so_far = first.metrics().map_or(0.0, |m| m.sum("outrigger_events_total", &[("outcome", "handled")]));
        first.wait_handled(so_far as u32 + 50);
        let second = job.sidecar().start();
        let exit = first.wait_end();
        exit.must_be(1).must_say("the consumer ended with a fatal error");
        happened += usize::from(exit.said("fenced") > 0);
        first = second;
    }
    first.terminate();
    let proof = format!("{happened} times exit code 1 and `fenced` in the log");
    // One that leaves the group in order, so that the partitions need not wait for a session's end.
    Outcome { cycles, happened, proof, audit: finish(&job) }
}

/// What a broker knows of its producers lies beside each partition's log in a file
/// that is written when the broker ends in order. An earlier such file in the place of the
/// last one, as after a restore from a backup, makes the next sequence number one too
/// high: librdkafka gives the producer up. No record is harmed.
fn producer_state_lost(run: &Run<'_>) -> Outcome {
    let kafka = Kafka::start_behind_proxy(&[]);
    let job = Job::new_on(&kafka, "producer-fatal", 1).properties(SESSION);
    let (mut load, mut sidecar, cycles) = (Load::default(), job.sidecar().start(), run.count(1, 3));
    let mut all_committed = |load: &mut Load, count| {
        load.produce(&kafka, &job, count);
        sidecar.wait_for("all is committed", Duration::from_secs(180), |_| job.committed_all());
    };
    for _ in 0..cycles {
        all_committed(&mut load, 300);
        kafka.stop();
        let earlier = kafka.producer_state(&job.output);
        kafka.start_again();
        all_committed(&mut load, 300);
        kafka.stop();
        kafka.set_producer_state(&job.output, &earlier);
        kafka.start_again();
        // A moment in which the producer connects again with the state that it has.
        let_it_last(Duration::from_secs(1));
        all_committed(&mut load, 300);
    }
    let (audit, exit) = settle(&job, sidecar);
    let happened = exit.said(RENEWED);
    let proof = format!("{happened} times a new producer took over");
    Outcome { cycles, happened, proof, audit }
}

/// A producer that is quiet for longer than `producer.id.expiration.ms` is forgotten,
/// and its next sequence number is in the middle of nothing.
fn producer_expired(run: &Run<'_>) -> Outcome {
    let kafka = Kafka::start_with(&[
        ("producer.id.expiration.ms", "1000"),
        ("producer.id.expiration.check.interval.ms", "500"),
    ]);
    let job = Job::new_on(&kafka, "producer-expired", 1).properties(SESSION);
    let (mut load, mut sidecar, cycles) = (Load::default(), job.sidecar().start(), run.count(1, 5));
    let mut happened = 0;
    for _ in 0..cycles {
        for _ in 0..2 {
            load.produce(&kafka, &job, 300);
            sidecar.wait_for("all is committed", PATIENCE, |_| job.committed_all());
        }
        eventually("the producer is forgotten", PATIENCE, || match kafka.known_producers(&job.output, 0) {
            0 => Ok(()),
            some => Err(format!("{some} producers")),
        });
        happened += 1;
        load.produce(&kafka, &job, 300);
        sidecar.wait_for("all is committed", PATIENCE, |_| job.committed_all());
    }
    let (audit, exit) = settle(&job, sidecar);
    let renewed = exit.said(RENEWED);
    let proof =
        format!("{happened} times the broker knew no producer of the output; {renewed} times a new one took over");
    Outcome { cycles, happened, proof, audit }
}
