//! Outputs and dead letters that cannot be written.

use std::time::{Duration, Instant};

use outrigger_tests::{Event, Expect, Job, PATIENCE};

use crate::row::{Load, Outcome, Row, Run, SESSION, job, settle};

pub fn rows() -> Vec<Row> {
    let row = |name, fault, run| Row { name, fault, quick: false, run };
    vec![
        Row { quick: true, ..row("poison", "every record is poison", poison) },
        row("dlq-missing", "dead-letter topic missing, then made", dead_letter_topic_missing),
        row("dlq-too-large", "dead letter too large for its topic, then not", dead_letter_too_large),
        row("too-large", "outputs too large for their topic", output_too_large),
        row("unknown-topic", "output topic unknown, then made", output_topic_unknown),
        row("queue-full", "producer's queue full", queue_full),
    ]
}

/// Quick events of many keys.
fn quick(n: u32) -> Event {
    Event::new(format!("event-{n}")).key(format!("key-{}", n % 997))
}

fn poison(run: &Run<'_>) -> Outcome {
    let job = job(run.kafka, "poison");
    run.kafka.produce(&job.topic, (0..run.count(5_000, 50_000)).map(|n| quick(n).rejected().record()));
    let (audit, _) = settle(&job, job.sidecar().start());
    let happened = audit.tally.dead_letters;
    Outcome { cycles: 1, happened, proof: format!("{happened} dead letters"), audit }
}

fn dead_letter_topic_missing(run: &Run<'_>) -> Outcome {
    let job = Job::named_on(run.kafka, "dlq-missing", 3).properties(SESSION);
    run.kafka.create_topic(&job.topic, 3);
    job.create_result(&job.output, &[]);
    let mut load = Load::default();
    load.produce(run.kafka, &job, 2_000);
    let mut sidecar = job.sidecar().start();
    sidecar.wait_not_ready(&job.dead_letter);
    let waiting = job.uncommitted();
    job.create_result(&job.dead_letter, &[]);
    sidecar.wait_ready();
    let (audit, _) = settle(&job, sidecar);
    let proof = format!("readiness named the topic; {waiting} records uncommitted until it was there");
    Outcome { cycles: 1, happened: waiting as usize, proof, audit }
}

/// Many small dead letters beside the large ones: they share batches.
fn dead_letter_too_large(run: &Run<'_>) -> Outcome {
    let job = Job::named_on(run.kafka, "dlq-too-large", 3).properties(SESSION);
    run.kafka.create_topic(&job.topic, 3);
    job.create_result(&job.output, &[]);
    job.create_result(&job.dead_letter, &[("max.message.bytes", "10000")]);
    // Keys of their own, since a large one holds back its key. The padding comes last:
    // what is to be done replaces the data.
    let event = |n: u32| {
        let event = quick(n).key(format!("key-{n}")).rejected();
        if n.is_multiple_of(500) { event.padded(50_000).record() } else { event.record() }
    };
    run.kafka.produce(&job.topic, (0..2_000).map(event));
    let mut sidecar = job.sidecar().start();
    sidecar.wait_not_ready(&job.dead_letter);
    sidecar.wait_for("the small ones are written", PATIENCE, |_| match run.kafka.read_all(&job.dead_letter).len() {
        1_996 => Ok(()),
        some => Err(format!("{some} dead letters")),
    });
    run.kafka.set_topic(&job.dead_letter, &[("message.timestamp.type", "LogAppendTime")]);
    let (audit, _) = settle(&job, sidecar);
    let proof = "readiness named the topic; 1996 small ones went past 4 large ones".to_owned();
    Outcome { cycles: 1, happened: 4, proof, audit }
}

/// The handler echoes the id, so a long id is a large output. The others are small
/// and many, so that a batch of them is larger than what the topic takes.
fn output_too_large(run: &Run<'_>) -> Outcome {
    let job = Job::named_on(run.kafka, "too-large", 3).properties(SESSION);
    run.kafka.create_topic(&job.topic, 3);
    job.create_result(&job.output, &[("max.message.bytes", "10000")]);
    job.create_result(&job.dead_letter, &[]);
    let event = |n: u32| match n % 500 {
        7 => {
            let id = format!("event-{n}-{}", "x".repeat(12_000));
            Event::new(id).key(format!("key-{}", n % 997)).expect(Expect::DeadLetter("output".to_owned())).record()
        }
        _ => quick(n).record(),
    };
    run.kafka.produce(&job.topic, (0..run.count(4_000, 20_000)).map(event));
    let (audit, _) = settle(&job, job.sidecar().start());
    let happened = audit.tally.dead_letters;
    Outcome { cycles: 1, happened, proof: format!("{happened} outputs refused and dead-lettered"), audit }
}

fn output_topic_unknown(run: &Run<'_>) -> Outcome {
    let job = Job::named_on(run.kafka, "unknown-topic", 3)
        .properties(SESSION)
        .retry("{ strategy: fixed, initialDelay: 20ms, jitter: 0, maxRetries: 1 }");
    run.kafka.create_topic(&job.topic, 3);
    job.create_result(&job.dead_letter, &[]);
    let refused = |n: u32| quick(n).expect(Expect::DeadLetter("output".to_owned())).record();
    run.kafka.produce(&job.topic, (0..20).map(refused));
    let mut sidecar = job.sidecar().start();
    sidecar.wait_for("all are dead letters", PATIENCE, |_| job.committed_all());
    let happened = run.kafka.read_all(&job.dead_letter).len();
    job.create_result(&job.output, &[]);
    run.kafka.produce(&job.topic, (1_000..2_000).map(|n| quick(n).record()));
    let (audit, _) = settle(&job, sidecar);
    Outcome { cycles: 1, happened, proof: format!("{happened} outputs refused and dead-lettered"), audit }
}

/// Each batch waits 100 ms, and only five messages may wait: so the queue is full
/// nearly all of the time, which the duration shows.
fn queue_full(run: &Run<'_>) -> Outcome {
    let job = job(run.kafka, "queue-full").properties(
        r#"session.timeout.ms: "6000", heartbeat.interval.ms: "1000", queue.buffering.max.messages: "5", linger.ms: "100""#,
    );
    let events = run.count(200, 1_000);
    run.kafka.produce(&job.topic, (0..events).map(|n| quick(n).record()));
    let mut sidecar = job.sidecar().start();
    sidecar.wait_ready();
    let began = Instant::now();
    sidecar.wait_for("all is committed", 2 * PATIENCE, |_| job.committed_all());
    let (took, least) = (began.elapsed(), Duration::from_millis(u64::from(events) / 5 * 100 / 2));
    let (audit, _) = settle(&job, sidecar);
    let proof = format!("{events} outputs took {took:.1?}: five at a time, 100 ms each");
    Outcome { cycles: 1, happened: usize::from(took > least), proof, audit }
}
