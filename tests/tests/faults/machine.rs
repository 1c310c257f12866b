//! The machine under the sidecar: a clock that jumps, disks that are full.

use std::fs;
use std::time::{Duration, Instant};

use outrigger_tests::{Event, Job, PATIENCE, Record, Running, Sidecar, WallClock, guest, let_it_last};

use crate::row::{Load, Outcome, Row, Run, SESSION, job, settle};

pub fn rows() -> Vec<Row> {
    let row = |name, fault, run| Row { name, fault, quick: false, run };
    vec![
        row("clock", "wall clock jumps by 1 to 24 hours, forwards and backwards", clock),
        Row { quick: true, ..row("log-full", "no space left for the log", log_full) },
        row("cache-full", "no space left for compiled modules", cache_full),
    ]
}

/// The wait before a retry in the row about the clock.
const DELAY: Duration = Duration::from_secs(3);

/// Keys wait for a retry when the clock jumps. None may be tried early, none late, and
/// whatever waits with a time-out of the client library must go on as well.
fn clock(run: &Run<'_>) -> Outcome {
    let clock = WallClock::new();
    let job = Job::new_on(run.kafka, "clock", 3)
        .properties(SESSION)
        .handler("circuit: false")
        .retry("{ strategy: fixed, initialDelay: 3s, maxDelay: 3s, jitter: 0, maxRetries: 5 }");
    let mut sidecar = clock.of(job.sidecar()).start();
    sidecar.wait_ready();
    let mut load = Load::default();
    let (mut shortest, mut longest) = (Duration::MAX, Duration::ZERO);
    let hour = 3_600;
    let jumps: &[i64] = if run.full { &[hour, 0, -hour, 0, 12 * hour, -12 * hour, 0] } else { &[hour, -hour] };
    let retried = |sidecar: &Running| {
        sidecar.metrics().map_or(0.0, |m| m.sum("outrigger_events_total", &[("outcome", "handled")]))
    };
    for (cycle, &jump) in jumps.iter().enumerate() {
        let before = retried(&sidecar);
        let waits =
            |n: u32| Event::new(format!("waits-{cycle}-{n}")).key(format!("waits-{n}")).doing("fail:1").record();
        let began = Instant::now();
        run.kafka.produce(&job.topic, (0..30).map(waits));
        sidecar.wait_for("the keys wait", PATIENCE, |sidecar| {
            match sidecar.metrics()?.sum("outrigger_retries_waiting", &[]) {
                30.0 => Ok(()),
                some => Err(format!("{some} keys")),
            }
        });
        let all_wait = Instant::now();
        clock.set(jump);
        sidecar.wait_for("one was tried again", PATIENCE, |sidecar| match retried(sidecar) > before {
            true => Ok(()),
            false => Err("none".to_owned()),
        });
        shortest = shortest.min(began.elapsed());
        sidecar.wait_for("all were tried again", PATIENCE, |sidecar| match retried(sidecar) - before {
            30.0 => Ok(()),
            some => Err(format!("{some}")),
        });
        longest = longest.max(all_wait.elapsed());
        load.produce(run.kafka, &job, 600);
        sidecar.wait_for("all is committed", PATIENCE, |_| job.committed_all());
    }
    assert!(shortest >= DELAY, "a retry came {:?} after its event", shortest);
    assert!(longest < DELAY + Duration::from_secs(3), "a retry came {longest:?} after all waited");
    let (audit, _) = settle(&job, sidecar);
    let astray = run.kafka.read_all(&job.dead_letter).iter().filter(|letter| is_astray(letter)).count();
    let proof = format!(
        "{} jumps, by which the times in {astray} dead letters are off; of the retries, due after 3 s, none came early, and all within {longest:.1?}",
        jumps.len()
    );
    Outcome { cycles: jumps.len() as u32, happened: astray, proof, audit }
}

/// Whether the sidecar's time of day in a dead letter is not the broker's.
fn is_astray(letter: &Record) -> bool {
    let said = letter.failure("first-attempt").expect("the time of the first attempt");
    let number = |range| said.get::<std::ops::Range<usize>>(range).and_then(|text| text.parse::<i64>().ok());
    let minutes = number(11..13).zip(number(14..16)).map(|(hours, minutes)| 60 * hours + minutes);
    let brokers = letter.timestamp_ms.expect("the broker's time") / 60_000;
    let off = (minutes.expect("a time of day") - brokers).rem_euclid(24 * 60);
    (30..=24 * 60 - 30).contains(&off)
}

/// Every write to the log fails, as on a full disk: `/dev/full`.
fn log_full(run: &Run<'_>) -> Outcome {
    let (job, mut load, cycles) = (job(run.kafka, "log-full"), Load::default(), run.count(1, 5));
    let mut happened = 0;
    for _ in 0..cycles {
        load.produce(run.kafka, &job, 600);
        // Through the proxy, whose connections are cut so that there is something to say.
        let mut sidecar = job.proxied_sidecar().logging_to("/dev/full").start();
        sidecar.wait_handled(100);
        run.kafka.proxy().cut();
        let_it_last(Duration::from_secs(1));
        sidecar.wait_for("all is committed", PATIENCE, |_| job.committed_all());
        let exit = sidecar.terminate();
        exit.must_succeed();
        happened += usize::from(exit.log.is_empty());
    }
    let audit = job.audit();
    let proof = format!("{happened} lives without a line of log, each ended with exit code 0");
    Outcome { cycles, happened, proof, audit }
}

/// The cache lies on a file system without room for one entry. The module is compiled, is
/// not kept, and handles events; so is the one that takes its place while it runs.
fn cache_full(run: &Run<'_>) -> Outcome {
    let (job, mut load, cycles) = (job(run.kafka, "cache-full"), Load::default(), run.count(1, 5));
    let folder = tempfile::tempdir().expect("a folder");
    let (cache, module) = (folder.path().join("cache"), folder.path().join("ledger.wasm"));
    fs::create_dir(&cache).expect("the cache's folder");
    let of_tests = guest("guest-ledger");
    let manifest = job.manifest().replace(&of_tests.display().to_string(), &module.display().to_string());
    let mut happened = 0;
    for _ in 0..cycles {
        let mut bytes = fs::read(&of_tests).expect("the module");
        fs::write(&module, &bytes).expect("a copy of it");
        load.produce(run.kafka, &job, 600);
        let mut sidecar = Sidecar::with(&manifest).on(run.kafka).cache(&cache).full_disk(&cache).start();
        sidecar.wait_handled(100);
        // A custom section of the name "n": the same handler with another digest.
        bytes.extend([0, 2, 1, b'n']);
        fs::write(&module, &bytes).expect("another module");
        sidecar.wait_metric("outrigger_generation", &[], 2.0);
        sidecar.wait_for("all is committed", PATIENCE, |_| job.committed_all());
        assert_eq!(sidecar.sees(&cache), [""; 0].map(std::path::PathBuf::from), "what is half written is removed");
        let exit = sidecar.terminate();
        exit.must_succeed();
        assert_eq!(exit.said("No space left on device"), 1, "once a life, and not at every module");
        happened += exit.said("stored=false");
    }
    let audit = job.audit();
    let proof = format!("{happened} modules compiled and not kept, with `No space left on device` in the log");
    Outcome { cycles, happened, proof, audit }
}
