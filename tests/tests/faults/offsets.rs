//! Commits that are refused, metadata of others, and a process without descriptors.

use std::time::Duration;

use outrigger_tests::{Event, Expect, Kafka, PATIENCE, let_it_last};

use crate::row::{Load, Outcome, Row, Run, job, settle};

pub fn rows() -> Vec<Row> {
    let row = |name, fault, run| Row { name, fault, quick: false, run };
    vec![
        row("metadata-large", "commit with metadata too large for the broker", metadata_too_large),
        row("metadata-other", "metadata of other tools beside the committed offset", metadata_of_others),
        row("descriptors", "no file descriptors left", descriptors),
    ]
}

/// A group that starts at the latest record keeps the time of its start beside its
/// commits; this broker takes ten bytes.
fn metadata_too_large(_: &Run<'_>) -> Outcome {
    let kafka = Kafka::start_behind_proxy(&[("offset.metadata.max.bytes", "10")]);
    let job = job(&kafka, "metadata-large").kafka("startFrom: latest");
    let mut sidecar = job.sidecar().start();
    sidecar.wait_ready();
    let mut load = Load::default();
    load.produce(&kafka, &job, 2_000);
    let (audit, exit) = settle(&job, sidecar);
    let happened = exit.said("the broker takes only shorter metadata");
    Outcome { cycles: 1, happened, proof: "it said so once, and committed the positions without".to_owned(), audit }
}

fn metadata_of_others(run: &Run<'_>) -> Outcome {
    let job = job(run.kafka, "metadata-other");
    // Kafka Streams (its version and stream time in base64), MirrorMaker (none), a
    // person, something that looks like ours, the longest that a broker takes, and bytes that are
    // no text. Of these a broker makes U+FFFD each, three bytes long, and counts
    // characters: so 4,096 of them come back as 12,288 bytes.
    let long = "x".repeat(4_096);
    let others: [&[u8]; 8] = [
        b"AgAAAZLl5tIAAAAA",
        b"",
        "moved by hand; see the runbook – ünïcode".as_bytes(),
        b"outrigger/9 map=!!!",
        b"outrigger/1 began=",
        long.as_bytes(),
        b"outrigger/1 map=\xc3\x28\x00\xff",
        &[0xff; 4_096],
    ];
    let mut happened = 0;
    for (cycle, other) in others.iter().enumerate() {
        let ends = run.kafka.ends(&job.topic);
        for partition in 0..3 {
            let event = |n: u32| {
                let expect = if n < 10 { Expect::Nothing } else { Expect::Output };
                Event::new(format!("{cycle}-{partition}-{n}")).key(format!("{}", n % 7)).expect(expect).record()
            };
            run.kafka.produce(&job.topic, (0..30).map(|n| event(n).to_partition(partition)));
            run.kafka.commit_bytes(&job.group, &job.topic, partition, ends[&partition] + 10, other);
        }
        let mut sidecar = job.sidecar().start();
        sidecar.wait_for("all is committed", PATIENCE, |_| job.committed_all());
        sidecar.terminate().must_succeed();
        happened += 1;
    }
    let cycles = happened as u32;
    Outcome {
        cycles,
        happened,
        proof: format!("{happened} kinds of metadata; reading began at their offsets"),
        audit: job.audit(),
    }
}

/// No new connection can be made while all old ones are cut.
fn descriptors(run: &Run<'_>) -> Outcome {
    let (job, mut load) = (job(run.kafka, "descriptors"), Load::default());
    let (mut sidecar, proxy) = (job.proxied_sidecar().start(), run.kafka.proxy());
    sidecar.wait_ready();
    let (cycles, mut happened) = (run.count(1, 5), 0);
    for _ in 0..cycles {
        load.produce(run.kafka, &job, 1_000);
        sidecar.limit_files(3);
        proxy.cut();
        let_it_last(Duration::from_secs(5));
        sidecar.limit_files(u64::MAX);
        sidecar.wait_for("all is committed", PATIENCE, |_| job.committed_all());
        happened = sidecar.said("Too many open files");
    }
    let (audit, _) = settle(&job, sidecar);
    Outcome { cycles, happened, proof: format!("{happened} log lines say `Too many open files`"), audit }
}
