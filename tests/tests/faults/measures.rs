//! Rows that measure: how long a rebalance holds partitions up, and how much memory
//! a handler costs that does not answer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use outrigger_tests::{Event, Expect, Job, PATIENCE, Running, let_it_last};

use crate::crash::partitions;
use crate::row::{Outcome, Row, Run, SESSION, finish, job, settle};

pub fn rows() -> Vec<Row> {
    vec![
        Row {
            name: "rebalance-time",
            fault: "a member joins: how long partitions stand still",
            quick: false,
            run: rebalance_time,
        },
        Row {
            name: "stalled",
            fault: "a handler that never answers, and an endless producer",
            quick: true,
            run: stalled,
        },
    ]
}

/// What a revoke may take, 19 times of 20.
const REVOKE: Duration = Duration::from_millis(250);
/// The keys that wait for a retry in the second half of the row.
const WAITING: u32 = 1_000;

/// Times in their order, for what lies in the middle and what nearly all are below.
struct Times(Vec<Duration>);

impl Times {
    fn of(mut times: Vec<Duration>) -> Times {
        times.sort_unstable();
        Times(times)
    }

    /// The nearest rank: a time that was measured.
    fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100);
        self.0[rank.saturating_sub(1)]
    }

    fn said(&self) -> String {
        format!("{:.1?} / {:.1?}", self.percentile(50), self.percentile(95))
    }
}

/// What one half of the row came to.
struct Moves {
    revokes: Times,
    /// From the start of the process that joins to the first record that it has handled.
    joined: Times,
    /// From the revoke's line in the other one's log to the same.
    taken_over: Times,
}

/// A second member joins and leaves, under load: each time half of the partitions move.
fn rebalance_time(run: &Run<'_>) -> Outcome {
    let cycles = run.count(3, 20);
    let mut outcome = Outcome::default();
    let mut said = Vec::new();
    for waiting in [0, WAITING] {
        let job = Job::new_on(run.kafka, "rebalance-time", 6)
            .properties(SESSION)
            .handler("circuit: false")
            .retry("{ strategy: fixed, initialDelay: 1h, maxDelay: 1h, jitter: 0, maxRetries: 1000 }");
        let poison = |n: u32| {
            let event = Event::new(format!("waits-{n}")).key(format!("waits-{n}")).doing("fail:100000");
            event.expect(Expect::DeadLetter("failed".to_owned())).record()
        };
        run.kafka.produce(&job.topic, (0..waiting).map(poison));
        let moves = moves(run, &job, cycles, waiting);
        // One last attempt, and those that wait become dead letters.
        let job = job.retry("{ strategy: fixed, initialDelay: 20ms, jitter: 0, maxRetries: 1 }");
        outcome.add(Outcome { cycles, happened: moves.revokes.0.len(), audit: finish(&job), ..Outcome::default() });
        let Moves { revokes, joined, taken_over } = moves;
        said.push(format!(
            "{waiting} keys waiting: revoke {}, first record elsewhere {} after it, {} after that member's start",
            revokes.said(),
            taken_over.said(),
            joined.said()
        ));
        let p95 = revokes.percentile(95);
        assert!(p95 < REVOKE, "a revoke took {p95:?}: {said:?}");
    }
    outcome.proof = format!("median / p95 of {cycles}. {}", said.join("; "));
    outcome
}

fn moves(run: &Run<'_>, job: &Job<'_>, cycles: u32, waiting: u32) -> Moves {
    let mut stays = job.sidecar().start();
    stays.wait_metric("outrigger_retries_waiting", &[], f64::from(waiting));
    let ended = AtomicBool::new(false);
    let event = |n: u32| Event::new(format!("event-{n}")).key(format!("key-{}", n % 97)).doing("slow:20").record();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut batches = (0..).map(|n| n * 50..(n + 1) * 50);
            while !ended.load(Ordering::Relaxed) {
                run.kafka.produce(&job.topic, batches.next().expect("there is no last one").map(event));
                let_it_last(Duration::from_millis(200));
            }
        });
        let times: Vec<_> = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            (0..cycles).map(|_| one_move(job, &mut stays)).collect()
        }))
        .unwrap_or_else(|panic| {
            ended.store(true, Ordering::Relaxed);
            std::panic::resume_unwind(panic)
        });
        ended.store(true, Ordering::Relaxed);
        let revokes: Vec<_> = stays.log().iter().filter_map(|line| took(line)).collect();
        let (joined, taken_over) = times.into_iter().unzip();
        stays.terminate();
        Moves { revokes: Times::of(revokes), joined: Times::of(joined), taken_over: Times::of(taken_over) }
    })
}

/// A member joins, handles a record, and leaves: how long until that record, from its
/// start and from the other's revoke.
fn one_move(job: &Job<'_>, stays: &mut Running) -> (Duration, Duration) {
    let before = stays.said(REVOKED);
    let mut joins = job.sidecar().start();
    let (began, mut revoked) = (Instant::now(), None);
    joins.wait_for("it handles a record", PATIENCE, |member| {
        if revoked.is_none() && stays.said(REVOKED) > before {
            revoked = Some(Instant::now());
        }
        match member.metrics()?.sum("outrigger_events_total", &[("outcome", "handled")]) {
            0.0 => Err("none".to_owned()),
            _ => Ok(()),
        }
    });
    let now = Instant::now();
    let times = (now - began, now - revoked.unwrap_or(now));
    // Killed members would hold their partitions until their session ends.
    joins.terminate();
    stays.wait_for("it has all partitions", PATIENCE, |member| match partitions(member)? {
        6 => Ok(()),
        some => Err(format!("{some} partitions")),
    });
    times
}

const REVOKED: &str = "partitions revoked";

/// How long a revoke took, by the line that the sidecar writes about it.
fn took(line: &str) -> Option<Duration> {
    let text = line.split_once(REVOKED)?.1.split_once("took=")?.1.split_whitespace().next()?;
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match &text[digits.len()..] {
        "s" => 1.0,
        "ms" => 1e-3,
        "µs" => 1e-6,
        "ns" => 1e-9,
        other => panic!("what unit is `{other}`?"),
    };
    Some(Duration::from_secs_f64(digits.parse::<f64>().ok()? * unit))
}

/// Calls hang until their time-out and are tried again, while records come faster than
/// any is settled: once the buffers are full, memory stays as it is.
fn stalled(run: &Run<'_>) -> Outcome {
    // In the long run, from the end of the first minute on; in both, everything is full by then.
    let (fill, watch) = if run.full { (60, 600) } else { (20, 40) };
    let job = job(run.kafka, "stalled")
        .handler("limits: { timeout: 2s }")
        .handler("circuit: false")
        .retry("{ strategy: fixed, initialDelay: 500ms, jitter: 0, maxRetries: 1000 }")
        .rest("buffer: { records: 4000, bytes: 4MiB }");
    let mut sidecar = job.sidecar().start();
    sidecar.wait_ready();
    let (began, mut made) = (Instant::now(), 0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    // Later than the last look: the first answers would be measured too.
    let end = (now + Duration::from_secs(fill + watch + 15)).as_millis();
    let mut produce = |count: u32| {
        let event = |n: u32| {
            let event = Event::new(format!("event-{n}")).key(format!("key-{}", n % 997));
            event.doing(format!("stuck-until:{end}")).padded(1_000).record()
        };
        run.kafka.produce(&job.topic, (made..made + count).map(event));
        made += count;
    };
    // More than the buffers and the client's own queues hold.
    produce(30_000);
    let mut sizes: Vec<u64> = Vec::new();
    for second in 1..=fill + watch {
        produce(50);
        if second >= fill {
            sizes.push(sidecar.resident_kib());
        }
        let_it_last((began + Duration::from_secs(second)).saturating_duration_since(Instant::now()));
    }
    let settled = sidecar.metrics().expect("metrics").sum("outrigger_events_total", &[("outcome", "handled")]);
    let [first, last, most] = [sizes[0], sizes[sizes.len() - 1], sizes.iter().copied().max().unwrap_or_default()];
    let waiting = job.uncommitted();
    sidecar.wait_for("all is committed", 4 * PATIENCE, |_| job.committed_all());
    let (audit, _) = settle(&job, sidecar);
    let proof = format!(
        "{waiting} records wait, {settled} settled; resident memory over {watch} s: {first} KiB at first, {last} at last, {most} at most"
    );
    assert!(most * 10 <= first * 11, "memory grew: {proof}");
    Outcome { cycles: 1, happened: usize::from(settled == 0.0) * waiting as usize, proof, audit }
}
