//! Input topics that change under the sidecar.

use std::time::{SystemTime, UNIX_EPOCH};

use outrigger_tests::{Audit, Event, Ledger, PATIENCE, Record};

use crate::row::{Load, Outcome, Row, Run, job, settle};

pub fn rows() -> Vec<Row> {
    let row = |name, fault, run| Row { name, fault, quick: false, run };
    vec![
        row("recreated", "topic deleted and created again", recreated),
        row("grown", "partitions added while running", grown),
        row("out-of-range", "committed offset out of range", out_of_range),
    ]
}

/// A session as in the other rows, and a look at the topics every second.
const LOOKING: &str =
    r#"session.timeout.ms: "6000", heartbeat.interval.ms: "1000", topic.metadata.refresh.interval.ms: "1000""#;

fn events(name: &str, count: u32) -> Vec<Record> {
    (0..count).map(|n| Event::new(format!("{name}-{n}")).key(format!("key-{}", n % 97)).record()).collect()
}

/// The second topic of the name has more records than the first: an offset of the
/// first one is in its range.
fn recreated(run: &Run<'_>) -> Outcome {
    let job = job(run.kafka, "recreated").properties(LOOKING).kafka("onOffsetLost: earliest");
    let mut sidecar = job.sidecar().start();
    let mut audit = Audit::default();
    let (cycles, mut happened) = (run.count(2, 4), 0);
    for cycle in 0..cycles {
        let name = format!("life-{cycle}");
        let born = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_millis() as i64;
        run.kafka.produce(&job.topic, events(&name, 300 * (cycle + 1)));
        sidecar.wait_for("all is committed", PATIENCE, |_| job.committed_all());
        let mut ledger = job.ledger();
        ledger.retain_outputs(|output| output.json()["id"].as_str().is_some_and(|id| id.starts_with(&name)));
        let mut commits = run.kafka.commits(&job.group, &job.topic);
        commits.retain(|commit| commit.at_ms >= born);
        audit.add(Audit::of(&ledger, &commits));
        run.kafka.delete_topic(&job.topic);
        run.kafka.create_topic(&job.topic, 3);
        happened += 1;
    }
    sidecar.terminate();
    Outcome { cycles, happened, proof: format!("{happened} times deleted and created"), audit }
}

fn grown(run: &Run<'_>) -> Outcome {
    let job = job(run.kafka, "grown").properties(LOOKING);
    let (mut load, mut sidecar) = (Load::default(), job.sidecar().start());
    let (cycles, mut happened) = (run.count(1, 3), 0);
    for cycle in 0..cycles {
        load.produce(run.kafka, &job, 1_000);
        let partitions = 3 + 2 * (cycle as usize + 1);
        run.kafka.grow_topic(&job.topic, partitions);
        // Keys are spread over more partitions from here on: their order begins anew.
        load.produce(run.kafka, &job, 1_000);
        sidecar.wait_for("all is committed", PATIENCE, |_| job.committed_all());
        happened += run.kafka.committed(&job.group, &job.topic).len().saturating_sub(partitions - 2);
    }
    let (audit, _) = settle(&job, sidecar);
    Outcome { cycles, happened, proof: format!("{happened} new partitions committed"), audit }
}

/// Retention takes records before they were read: they are lost by the log, which the
/// sidecar says, and everything else must be there.
fn out_of_range(run: &Run<'_>) -> Outcome {
    let job = job(run.kafka, "out-of-range").kafka("onOffsetLost: earliest");
    let (cycles, mut happened) = (run.count(1, 5), 0);
    // The first round only makes the group commit.
    for cycle in 0..=cycles {
        run.kafka.produce(&job.topic, events(&format!("cycle-{cycle}"), 900));
        for (partition, end) in run.kafka.ends(&job.topic) {
            if cycle > 0 {
                run.kafka.delete_records_before(&job.topic, partition, end - 50);
            }
        }
        let mut sidecar = job.sidecar().start();
        sidecar.wait_for("all is committed", PATIENCE, |_| job.committed_all());
        let exit = sidecar.terminate();
        exit.must_succeed();
        happened += exit.said("records are gone");
    }
    let ledger = Ledger::read_after_deletions(run.kafka, &job.topic, &job.output, &job.dead_letter);
    let audit = Audit::of(&ledger, &run.kafka.commits(&job.group, &job.topic));
    let proof = format!("{happened} partitions whose offset was gone, each reported with its count");
    Outcome { cycles, happened, proof, audit }
}
