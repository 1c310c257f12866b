//! Reloads under full load.

use std::time::{Duration, Instant};

use outrigger_tests::Kafka;

use super::modules;
use super::stage::Stage;

/// Of the throughput without reloads, what is left with them.
const SHARE: f64 = 0.9;
/// Generations after which memory is compared, and at which it ends: two minutes of them.
const FIRST_COUNT: u64 = 100;
const LAST: u64 = 1200;
/// Resident memory at the last count, of that at the first.
const MEMORY: f64 = 1.1;
/// Phases before the first count: without any reload, memory grows by a third in the first
/// of them and hardly afterwards.
const WARM_UP: u32 = 6;
/// Readings whose median is taken, two in each round of phases.
const READINGS: usize = 10;
/// One phase with reloads or without.
const PHASE: Duration = Duration::from_secs(5);
/// Events that are there at first, to see how fast they are handled.
const FIRST: f64 = 40_000.0;

/// How often a phase is begun at most: what it needs doubles each time.
const TRIES: usize = 4;

/// The bounds of `outrigger_handler_duration_seconds`, in seconds.
const BOUNDS: &[f64] = &[
    0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0,
    20.0, 60.0,
];

/// A stage that never runs out of events.
struct Full<'k> {
    stage: Stage<'k>,
    produced: f64,
    /// The most events per second that were handled so far.
    rate: f64,
}

impl<'k> Full<'k> {
    fn start(kafka: &'k Kafka, name: &str) -> Full<'k> {
        let mut full = Full { stage: Stage::start(kafka, name, 4), produced: 0.0, rate: 0.0 };
        full.feed(FIRST);
        full.stage.sidecar.wait_handled(100);
        let (began, from) = (Instant::now(), full.stage.handled());
        full.stage.sidecar.wait_handled(FIRST as u32 / 2);
        full.rate = (full.stage.handled() - from) / began.elapsed().as_secs_f64();
        full
    }

    /// Sees to it that at least so many events wait.
    fn feed(&mut self, events: f64) {
        let missing = events - (self.produced - self.stage.handled());
        if missing > 0.0 {
            self.stage.produce(missing as u32);
            self.produced += missing.floor();
        }
    }

    /// Events per second of a phase in which `each` is done every so often. A phase whose
    /// events ran out measured nothing: it is done again with more of them.
    fn phase(&mut self, length: Duration, every: Duration, mut each: impl FnMut(&mut Stage<'k>)) -> f64 {
        for _ in 0..TRIES {
            if let Some(rate) = self.try_phase(length, every, &mut each) {
                self.rate = self.rate.max(rate);
                return rate;
            }
            self.rate *= 2.0;
        }
        panic!("the events ran out {TRIES} times: nothing is measured");
    }

    fn try_phase(&mut self, length: Duration, every: Duration, each: &mut impl FnMut(&mut Stage<'k>)) -> Option<f64> {
        self.feed(2.0 * self.rate * length.as_secs_f64());
        let (began, from) = (Instant::now(), self.stage.handled());
        let mut next = began;
        while began.elapsed() < length {
            each(&mut self.stage);
            next += every;
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        let (handled, took) = (self.stage.handled(), began.elapsed().as_secs_f64());
        (handled < self.produced).then_some((handled - from) / took)
    }

    /// How many calls took at most so many seconds, for each bound that is counted.
    fn durations(&self) -> Vec<(f64, f64)> {
        let name = "outrigger_handler_duration_seconds_bucket";
        BOUNDS.iter().map(|bound| (*bound, self.stage.metric(name, &[("le", &bound.to_string())]))).collect()
    }
}

/// The bound, in seconds, that 99 of 100 calls between two counts did not exceed.
fn p99(before: &[(f64, f64)], after: &[(f64, f64)]) -> f64 {
    let counts: Vec<(f64, f64)> =
        after.iter().zip(before).map(|((le, after), (_, before))| (*le, after - before)).collect();
    let all = counts.last().map_or(0.0, |(_, count)| *count);
    assert!(all > 0.0, "no call was counted");
    counts.iter().find(|(_, count)| *count >= 0.99 * all).map_or(f64::INFINITY, |(le, _)| *le)
}

/// Two modules in turns, every 100 ms, counted in generations.
pub fn alternating(kafka: &Kafka, full: bool) {
    let last_count = if full { LAST } else { 60 };
    let both = [modules::numbered(1), modules::numbered(2)];
    let mut load = Full::start(kafka, "alternating");
    let quiet = Duration::from_millis(100);
    for _ in 0..if full { WARM_UP } else { 0 } {
        load.phase(PHASE, quiet, |_| {});
    }
    let (mut with, mut without, mut memory) = (Vec::new(), Vec::new(), Vec::new());
    let mut turn = 0;
    while load.stage.generation() < last_count {
        without.push(load.phase(PHASE, quiet, |_| {}));
        memory.push((load.stage.generation(), load.stage.sidecar.resident_kib()));
        with.push(load.phase(PHASE, quiet, |stage| {
            turn += 1;
            stage.save("module.wasm", &both[turn % 2]);
        }));
        memory.push((load.stage.generation(), load.stage.sidecar.resident_kib()));
        assert!(turn < 20 * last_count as usize, "generations come too slowly: {memory:?}");
    }
    let generations = load.stage.generation();
    let mean = |rates: &[f64]| rates.iter().sum::<f64>() / rates.len() as f64;
    let share = mean(&with) / mean(&without);
    let failed = load.stage.finish();
    println!("{generations} generations of {turn} saves: lost 0, out of order 0, failed attempts {failed}");
    println!("events per second: {:.0} with reloads, {:.0} without: {share:.2}", mean(&with), mean(&without));
    assert_eq!(failed, 0.0);
    // The short cut has too few phases, on a machine that does much else, and is over before
    // the allocator has come to rest.
    if full {
        assert!(share >= SHARE, "{share:.2} of the throughput");
        judge_memory(&memory);
    }
}

/// Compares what was resident from the first count on with what was up to the last. What is
/// in flight goes up and down by more than what is judged, so medians are compared.
fn judge_memory(readings: &[(u64, u64)]) {
    let median = |readings: &mut dyn Iterator<Item = &(u64, u64)>| {
        let mut kib: Vec<u64> = readings.take(READINGS).map(|(_, kib)| *kib).collect();
        kib.sort_unstable();
        kib[kib.len() / 2]
    };
    let first = median(&mut readings.iter().filter(|(generation, _)| *generation >= FIRST_COUNT));
    let last = median(&mut readings.iter().rev());
    let grown = last as f64 / first as f64;
    println!(
        "resident KiB, medians of {READINGS} readings: from generation {FIRST_COUNT} on {first}, at the end {last}: {grown:.2}"
    );
    println!("all readings: {readings:?}");
    assert!(grown <= MEMORY, "memory grew: {readings:?}");
}

/// Modules that are new each time, one every 2 s, each compiled.
pub fn distinct(kafka: &Kafka, full: bool) {
    let count = if full { 60 } else { 5 };
    let mut load = Full::start(kafka, "distinct");
    let mut number = 0;
    let counted = load.durations();
    // As long as half of what follows, and not less than one phase.
    let length = PHASE.max(Duration::from_secs(u64::from(count)));
    let without = load.phase(length, Duration::from_secs(1), |_| {});
    let counted_without = load.durations();
    let mut rates = Vec::new();
    while number < count {
        rates.push(load.phase(Duration::from_secs(2), Duration::from_secs(2), |stage| {
            number += 1;
            stage.save("module.wasm", modules::numbered(number));
        }));
    }
    load.stage.wait_generation(u64::from(number) + 1);
    let quantiles = (p99(&counted, &counted_without), p99(&counted_without, &load.durations()));
    let failed = load.stage.finish();
    rates.sort_by(f64::total_cmp);
    let (median, least) = (rates[rates.len() / 2], rates[0]);
    println!("{number} modules compiled under full load: lost 0, out of order 0, failed attempts {failed}");
    println!(
        "events per second: {without:.0} without; in phases of 2 s with a compilation {median:.0} (median), {least:.0} (least)"
    );
    println!("99 of 100 calls took at most {} s without, {} s with compilations", quantiles.0, quantiles.1);
    assert_eq!(failed, 0.0);
}
