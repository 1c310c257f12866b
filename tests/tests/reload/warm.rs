//! What events notice of a reload whose module takes long to start, with `warmUp` and without.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use outrigger_tests::{Event, Kafka, PATIENCE};

use super::modules;
use super::stage::{Ends, Stage};

/// The interval between events.
const EVERY: Duration = Duration::from_millis(5);
/// Events of each generation that are waited for: a second of them.
const EVENTS: f64 = 200.0;
/// Instances that calls may use, and those that are ready: enough for events at this pace.
const INSTANCES: usize = 2;
/// Generations before the first one that is measured.
const BEFORE: u64 = 3;
/// Far more than stopping takes, and far less than making the instances would.
const STOPPED: Duration = Duration::from_secs(5);

/// Milliseconds from an event's production to its dead letter.
struct Latencies {
    sorted: Vec<i64>,
    /// What making the instances took, for each.
    start: Duration,
}

impl Latencies {
    fn at(&self, share: f64) -> i64 {
        self.sorted[((self.sorted.len() - 1) as f64 * share) as usize]
    }

    fn longest(&self) -> i64 {
        self.at(1.0)
    }
}

pub fn run(kafka: &Kafka, full: bool) {
    let reloads = if full { 10 } else { 3 };
    let [without, with] = [0, INSTANCES].map(|warm_up| over_reloads(kafka, warm_up, reloads));
    println!("{reloads} reloads of a module that starts in {} ms, an event every {EVERY:?}:", with.start.as_millis());
    for (name, latencies) in [("without warmUp", &without), ("with warmUp", &with)] {
        let (median, p99, longest) = (latencies.at(0.5), latencies.at(0.99), latencies.longest());
        println!("  {name:14} median {median} ms, p99 {p99} ms, longest {longest} ms");
    }
    assert!(with.longest() < without.longest());
    stop_meanwhile(kafka);
}

fn terms(stage: &Stage<'_>, concurrency: usize, warm_up: usize) {
    let terms = format!(
        "module.wasm\n    concurrency: {concurrency}\n    warmUp: {warm_up}\n    limits: {{ cpuTime: 5s, timeout: 10s }}"
    );
    stage.save("outrigger.yaml", stage.manifest.replacen("module.wasm", &terms, 1));
}

/// Events flow while modules that take long to start replace each other.
fn over_reloads(kafka: &Kafka, warm_up: usize, reloads: u64) -> Latencies {
    let mut stage = Stage::start(kafka, &format!("warm{warm_up}"), 1);
    terms(&stage, INSTANCES, warm_up);
    stage.wait_generation(2);
    stage.save("module.wasm", modules::slow(0));
    stage.wait_generation(BEFORE);
    let (stop, topic) = (AtomicBool::new(false), stage.job.topic.clone());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let began = Instant::now();
            let event = |n| {
                std::thread::sleep((began + EVERY * n).saturating_duration_since(Instant::now()));
                let event = || Event::new(format!("r{n}")).key(format!("k{n}")).rejected().record();
                (!stop.load(Ordering::Relaxed)).then(event)
            };
            kafka.produce(&topic, (0..).map_while(event));
        });
        let _ends = Ends(&stop);
        for number in 0..=reloads {
            if number > 0 {
                stage.save("module.wasm", modules::slow(number as u32));
                stage.wait_generation(BEFORE + number);
            }
            let until = stage.metric("outrigger_failures_total", &[]) + EVENTS;
            stage.sidecar.wait_for("events", PATIENCE, |sidecar| {
                let now = sidecar.metrics()?.sum("outrigger_failures_total", &[]);
                if now >= until { Ok(()) } else { Err(format!("{now} of {until}")) }
            });
        }
    });
    let instances = INSTANCES * std::thread::available_parallelism().unwrap().get();
    let start = Duration::from_secs_f64(stage.metric("outrigger_warm_up_seconds", &[]) / instances as f64);
    let (topic, dead_letter) = (stage.job.topic.clone(), stage.job.dead_letter.clone());
    stage.finish();
    let produced: HashMap<i64, i64> =
        kafka.read_all(&topic).iter().map(|record| (record.offset, record.timestamp_ms.unwrap())).collect();
    let letters = kafka.read_all(&dead_letter);
    let number = |text: Option<&str>| text.unwrap().parse::<i64>().unwrap();
    let measured = letters.iter().filter(|letter| number(letter.failure("generation")) > BEFORE as i64);
    let latency =
        |letter: &outrigger_tests::Record| letter.timestamp_ms.unwrap() - produced[&number(letter.failure("offset"))];
    let mut sorted: Vec<i64> = measured.map(latency).collect();
    sorted.sort_unstable();
    Latencies { sorted, start }
}

/// Events are handled while instances are made, and the process does not wait for those to end.
fn stop_meanwhile(kafka: &Kafka) {
    let mut stage = Stage::start(kafka, "warm-stop", 1);
    terms(&stage, 64, 64);
    stage.wait_generation(2);
    stage.save("module.wasm", modules::slow(0));
    // Once for generation 2.
    stage.sidecar.wait_for("instances are made", PATIENCE, |sidecar| {
        if sidecar.said("making 64 instances") >= 2 { Ok(()) } else { Err("not yet".to_owned()) }
    });
    stage.produce(500);
    stage.sidecar.wait_handled(500);
    assert_eq!(stage.generation(), 2, "the module that starts slowly is not current yet");
    let began = Instant::now();
    stage.start_again();
    let took = began.elapsed();
    println!("stopped in {} ms while instances were being made", took.as_millis());
    assert!(took < STOPPED, "{took:?}");
    // The same before anything runs: these instances are made at the start.
    stage.sidecar.wait_for_line("making 64 instances");
    let began = Instant::now();
    stage.sidecar.terminate().must_succeed();
    let took = began.elapsed();
    println!("stopped in {} ms while it was starting", took.as_millis());
    assert!(took < STOPPED, "{took:?}");
}
