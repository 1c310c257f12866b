//! Reloads under full load.

use std::time::{Duration, Instant};

use outrigger_tests::Kafka;

use super::modules;
use super::stage::Stage;

/// Of the throughput without reloads, what is left with them.
const SHARE: f64 = 0.9;
/// Resident memory at the last count, of that at the first.
const MEMORY: f64 = 1.1;
/// One phase with reloads or without.
const PHASE: Duration = Duration::from_secs(5);
/// Events that are produced whenever fewer than half of them are left.
const BACKLOG: u32 = 40_000;

/// A stage that never runs out of events.
struct Full<'k> {
    stage: Stage<'k>,
    produced: f64,
}

impl<'k> Full<'k> {
    fn start(kafka: &'k Kafka, name: &str) -> Full<'k> {
        let mut full = Full { stage: Stage::start(kafka, name, 4), produced: 0.0 };
        full.feed();
        full.stage.sidecar.wait_handled(100);
        full
    }

    fn feed(&mut self) {
        if self.produced - self.stage.handled() < f64::from(BACKLOG / 2) {
            self.stage.produce(BACKLOG);
            self.produced += f64::from(BACKLOG);
        }
    }

    /// Events per second of a phase in which `each` is done every so often.
    fn phase(&mut self, length: Duration, every: Duration, mut each: impl FnMut(&mut Stage<'k>)) -> f64 {
        self.feed();
        let (began, from) = (Instant::now(), self.stage.handled());
        let mut next = began;
        while began.elapsed() < length {
            each(&mut self.stage);
            next += every;
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        (self.stage.handled() - from) / began.elapsed().as_secs_f64()
    }
}

/// Two modules in turns, every 100 ms, counted in generations.
pub fn alternating(kafka: &Kafka, full: bool) {
    let (first_count, last_count) = if full { (100, 1000) } else { (20, 60) };
    let both = [modules::numbered(1), modules::numbered(2)];
    let mut load = Full::start(kafka, "alternating");
    let (mut with, mut without, mut memory) = (Vec::new(), Vec::new(), Vec::new());
    let mut turn = 0;
    while load.stage.generation() < last_count {
        without.push(load.phase(PHASE, Duration::from_millis(100), |_| {}));
        with.push(load.phase(PHASE, Duration::from_millis(100), |stage| {
            turn += 1;
            stage.save("module.wasm", &both[turn % 2]);
        }));
        memory.push((load.stage.generation(), load.stage.sidecar.resident_kib()));
        assert!(turn < 20 * last_count as usize, "generations come too slowly: {memory:?}");
    }
    let generations = load.stage.generation();
    let mean = |rates: &[f64]| rates.iter().sum::<f64>() / rates.len() as f64;
    let share = mean(&with) / mean(&without);
    // What is in flight goes up and down: the median of three readings from there on.
    let at = |count| {
        let from = memory.iter().position(|(generation, _)| *generation >= count).unwrap_or_default();
        let mut readings: Vec<u64> = memory[from..].iter().take(3).map(|(_, kib)| *kib).collect();
        readings.sort_unstable();
        readings[readings.len() / 2]
    };
    let grown = at(last_count) as f64 / at(first_count) as f64;
    let failed = load.stage.finish();
    println!("{generations} generations of {turn} saves: lost 0, out of order 0, failed attempts {failed}");
    println!("events per second: {:.0} with reloads, {:.0} without: {share:.2}", mean(&with), mean(&without));
    println!(
        "resident KiB at generation {first_count}: {}, at {last_count}: {}: {grown:.2}",
        at(first_count),
        at(last_count)
    );
    println!("all readings: {memory:?}");
    assert_eq!(failed, 0.0);
    assert!(share >= SHARE, "{share:.2} of the throughput");
    assert!(grown <= MEMORY, "memory grew: {memory:?}");
}

/// Modules that are new each time, one every 2 s, each compiled.
pub fn distinct(kafka: &Kafka, full: bool) {
    let count = if full { 60 } else { 5 };
    let mut load = Full::start(kafka, "distinct");
    let mut number = 0;
    let without = load.phase(PHASE, Duration::from_secs(1), |_| {});
    let mut rates = Vec::new();
    while number < count {
        rates.push(load.phase(Duration::from_secs(2), Duration::from_secs(2), |stage| {
            number += 1;
            stage.save("module.wasm", modules::numbered(number));
        }));
    }
    load.stage.wait_generation(u64::from(count) + 1);
    let failed = load.stage.finish();
    rates.sort_by(f64::total_cmp);
    let (median, least) = (rates[rates.len() / 2], rates[0]);
    println!("{count} modules compiled under full load: lost 0, out of order 0, failed attempts {failed}");
    println!(
        "events per second: {without:.0} without; in phases of 2 s with a compilation {median:.0} (median), {least:.0} (least)"
    );
    assert_eq!(failed, 0.0);
}
