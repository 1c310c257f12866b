//! Three brokers, of which one goes away, or two.

use std::time::Duration;

use outrigger_tests::{Job, Kafka, PATIENCE, Running, eventually, let_it_last};

use crate::row::{Load, Outcome, Row, Run, SESSION, settle};

pub fn rows() -> Vec<Row> {
    let row = |name, fault, run| Row { name, fault, quick: false, run };
    vec![
        row("coordinator", "coordinator moved: it is stopped and killed in turn (three brokers)", coordinator),
        row("leaders", "leaders moved: each of three brokers is killed in turn", leaders),
        row("majority", "two of three brokers killed, then back", majority),
    ]
}

/// The topic that commits are kept in.
const OFFSETS: &str = "__consumer_offsets";

fn handled(sidecar: &Running) -> u32 {
    sidecar.metrics().map_or(0.0, |m| m.sum("outrigger_events_total", &[("outcome", "handled")])) as u32
}

/// All topics that matter have their copies everywhere again.
fn wait_in_sync(kafka: &Kafka, job: &Job<'_>) {
    [&*job.topic, &job.output, &job.dead_letter, OFFSETS].into_iter().for_each(|topic| kafka.wait_in_sync(topic));
}

/// The group goes on with another coordinator while the first one is away.
fn coordinator(run: &Run<'_>) -> Outcome {
    let kafka = Kafka::start_cluster();
    let job = Job::new_on(&kafka, "coordinator", 6).properties(SESSION);
    let (mut load, cycles) = (Load::default(), run.count(2, 20));
    let (mut sidecar, mut other) = (job.sidecar().start(), job.sidecar().start());
    sidecar.wait_ready();
    other.wait_ready();
    let mut happened = 0;
    for cycle in 0..cycles {
        wait_in_sync(&kafka, &job);
        load.produce(&kafka, &job, 1_000);
        let so_far = handled(&sidecar);
        sidecar.wait_handled(so_far + 50);
        let first = kafka.coordinator(&job.group);
        if cycle % 2 == 0 {
            kafka.crash_node(first);
        } else {
            kafka.stop_node(first);
        }
        // These can be committed with another one only.
        load.produce(&kafka, &job, 500);
        eventually("another broker coordinates the group", PATIENCE, || match kafka.coordinator(&job.group) {
            node if node >= 0 && node != first => Ok(()),
            node => Err(format!("{node}, after {first}")),
        });
        sidecar.wait_for("all is committed", 2 * PATIENCE, |_| job.committed_all());
        happened += usize::from(kafka.coordinator(&job.group) != first);
        kafka.start_node_again(first);
    }
    other.terminate().must_succeed();
    let (audit, _) = settle(&job, sidecar);
    let proof = format!("{happened} times another broker coordinated, to which the rest was committed");
    Outcome { cycles, happened, proof, audit }
}

/// Events come without a pause, and leaders move when a broker dies and again when it
/// is back.
fn leaders(run: &Run<'_>) -> Outcome {
    let kafka = Kafka::start_cluster();
    let job = Job::new_on(&kafka, "leaders", 6).properties(SESSION);
    let (mut load, cycles) = (Load::default(), run.count(3, 9));
    let mut sidecar = job.sidecar().start();
    sidecar.wait_ready();
    let (mut happened, mut led) = (0, kafka.leaders_of(&job.topic));
    let mut moved = |happened: &mut usize| {
        let now = kafka.leaders_of(&job.topic);
        *happened += now.iter().filter(|&(partition, leader)| led[partition] != *leader).count();
        led = now;
    };
    for cycle in 0..cycles {
        wait_in_sync(&kafka, &job);
        moved(&mut happened);
        load.produce(&kafka, &job, 1_000);
        let so_far = handled(&sidecar);
        sidecar.wait_handled(so_far + 50);
        let node = kafka.nodes()[cycle as usize % 3];
        kafka.crash_node(node);
        load.produce(&kafka, &job, 500);
        moved(&mut happened);
        kafka.start_node_again(node);
        load.produce(&kafka, &job, 500);
        sidecar.wait_for("all is committed", 2 * PATIENCE, |_| job.committed_all());
    }
    let (audit, _) = settle(&job, sidecar);
    let proof = format!("{happened} times a partition of the input had another leader");
    Outcome { cycles, happened, proof, audit }
}

/// The one broker that is left answers, and can neither write nor commit.
fn majority(run: &Run<'_>) -> Outcome {
    let kafka = Kafka::start_cluster();
    let job = Job::new_on(&kafka, "majority", 6).properties(SESSION);
    let (mut load, cycles) = (Load::default(), run.count(1, 3));
    let mut sidecar = job.sidecar().start();
    sidecar.wait_ready();
    let mut happened = 0;
    for cycle in 0..cycles {
        wait_in_sync(&kafka, &job);
        load.produce(&kafka, &job, 2_000);
        let so_far = handled(&sidecar);
        sidecar.wait_handled(so_far + 50);
        let stays = kafka.nodes()[cycle as usize % 3];
        let away: Vec<i32> = kafka.nodes().into_iter().filter(|&node| node != stays).collect();
        away.iter().for_each(|&node| kafka.crash_node(node));
        let_it_last(Duration::from_secs(20));
        assert_eq!(sidecar.get("/livez").expect("an answer").0, 200);
        sidecar.wait_not_ready("");
        happened += 1;
        // Side by side: neither comes up without the other where both had voted.
        std::thread::scope(|scope| {
            for &node in &away {
                let kafka = &kafka;
                scope.spawn(move || kafka.start_node_again(node));
            }
        });
        sidecar.wait_for("all is committed", 2 * PATIENCE, |_| job.committed_all());
    }
    let (audit, _) = settle(&job, sidecar);
    let proof = format!("{happened} times not ready for want of two brokers, alive all the while");
    Outcome { cycles, happened, proof, audit }
}
