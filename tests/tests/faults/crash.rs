//! Sidecars that are killed, told to end, or hang.

use std::time::Duration;

use outrigger_tests::{Job, PATIENCE, Running, let_it_last};

use crate::row::{Load, Outcome, Row, Run, finish, job, settle};

pub fn rows() -> Vec<Row> {
    vec![
        Row { name: "kill", fault: "kill -9 mid-batch", quick: true, run: kill },
        Row { name: "sigterm", fault: "SIGTERM under load", quick: true, run: sigterm },
        Row {
            name: "kill-45s",
            fault: "kill -9, session timeout left at 45 s",
            quick: false,
            run: kill_default_session,
        },
        Row { name: "hang", fault: "sidecar hangs past its session, then goes on", quick: false, run: hang },
    ]
}

/// Events for one cycle; a cycle ends before it has handled more than two thirds of them.
const BATCH: u32 = 600;

/// Produces a batch, starts a sidecar and lets it handle some of it.
fn amid_a_batch(run: &Run<'_>, job: &Job<'_>, load: &mut Load) -> Running {
    load.produce(run.kafka, job, BATCH);
    let mut sidecar = job.sidecar().start();
    sidecar.wait_handled(fastrand::u32(1..BATCH * 2 / 3));
    sidecar
}

/// A dead member is noticed at its session's end, so several groups die side by side.
fn kill_in_lanes<'k>(run: &Run<'k>, lanes: u32, cycles: u32, job: impl Fn() -> Job<'k> + Sync) -> Outcome {
    let lane = || {
        let (job, mut load) = (job(), Load::default());
        let mut outcome = Outcome { cycles, ..Outcome::default() };
        for _ in 0..cycles {
            amid_a_batch(run, &job, &mut load).kill();
            outcome.happened += usize::from(job.uncommitted() > 0);
        }
        outcome.audit = finish(&job);
        outcome
    };
    let mut all = Outcome::default();
    std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..lanes).map(|_| scope.spawn(lane)).collect();
        for lane in lanes {
            all.add(lane.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
    });
    all.proof = format!("{} kills with records uncommitted", all.happened);
    all
}

fn kill(run: &Run<'_>) -> Outcome {
    kill_in_lanes(run, 4, run.count(5, 50), || job(run.kafka, "kill"))
}

fn kill_default_session(run: &Run<'_>) -> Outcome {
    kill_in_lanes(run, run.count(1, 5), 1, || job(run.kafka, "kill-45s").properties(""))
}

fn sigterm(run: &Run<'_>) -> Outcome {
    let (job, mut load, cycles) = (job(run.kafka, "sigterm"), Load::default(), run.count(5, 100));
    let (mut happened, mut longest) = (0, Duration::ZERO);
    for _ in 0..cycles {
        let exit = amid_a_batch(run, &job, &mut load).terminate();
        exit.must_succeed();
        longest = longest.max(exit.took);
        happened += usize::from(job.uncommitted() > 0);
    }
    let proof = format!("{happened} ends with records uncommitted, the slowest after {longest:.1?}");
    Outcome { cycles, happened, proof, audit: finish(&job) }
}

/// One member of two is stopped for longer than its session, so that the other takes
/// its partitions; then it goes on and must notice before it does anything for them.
fn hang(run: &Run<'_>) -> Outcome {
    let (job, mut load, cycles) = (job(run.kafka, "hang"), Load::default(), run.count(1, 5));
    let mut other = job.sidecar().start();
    other.wait_ready();
    let mut happened = 0;
    for _ in 0..cycles {
        let mut hanging = job.sidecar().start();
        hanging.wait_for("it has a share of the partitions", PATIENCE, |member| match partitions(member)? {
            0 => Err("none".to_owned()),
            _ => Ok(()),
        });
        load.produce(run.kafka, &job, 5 * BATCH);
        hanging.wait_handled(50);
        hanging.freeze();
        other.wait_for("it has all partitions", PATIENCE, |member| match partitions(member)? {
            3 => Ok(()),
            some => Err(format!("{some} partitions")),
        });
        // A moment in which the other publishes what this one had under way.
        let_it_last(Duration::from_secs(1));
        hanging.thaw();
        hanging.wait_for_line("lost=true");
        happened += 1;
        hanging.terminate();
    }
    let (audit, _) = settle(&job, other);
    Outcome { cycles, happened, proof: format!("{happened} assignments lost by a member that still ran"), audit }
}

/// The partitions that a member has.
pub fn partitions(member: &Running) -> Result<usize, String> {
    Ok(member.metrics()?.values("outrigger_consumer_lag_records", &[]).len())
}
