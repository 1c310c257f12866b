//! From saving a changed module to the first event that it handles.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use outrigger_tests::{Event, Kafka, PATIENCE};

use super::modules;
use super::stage::{Ends, Stage};

/// The interval between events.
const EVERY: Duration = Duration::from_millis(5);
/// The median has to be below this, in milliseconds.
const MEDIAN: u64 = 1000;

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// Rejected events flow all the while: their dead letters name the module that saw
/// them, and the broker stamps them.
pub fn run(kafka: &Kafka, full: bool) {
    let mut stage = Stage::start(kafka, "saved", 1);
    let stop = AtomicBool::new(false);
    let topic = stage.job.topic.clone();
    let saves = if full { 20 } else { 5 };
    let mut saved = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let event = |n| {
                std::thread::sleep(EVERY);
                let event = || Event::new(format!("r{n}")).key("k").rejected().record();
                (!stop.load(Ordering::Relaxed)).then(event)
            };
            kafka.produce(&topic, (0..).map_while(event));
        });
        let _ends = Ends(&stop);
        for number in 0..saves {
            let generation = stage.generation();
            saved.push(now_ms());
            stage.save("module.wasm", modules::numbered(number));
            stage.wait_generation(generation + 1);
        }
        stage.sidecar.wait_for("a dead letter of the last generation", PATIENCE, |_| {
            let letters = kafka.read_all(&stage.job.dead_letter);
            let last = letters.iter().filter_map(|letter| letter.text("outrigger-generation")).next_back();
            if last == Some(&format!("{}", saves + 1)) { Ok(()) } else { Err(format!("{last:?}")) }
        });
    });
    let mut first: BTreeMap<u32, u64> = BTreeMap::new();
    for letter in kafka.read_all(&stage.job.dead_letter) {
        let generation = letter.text("outrigger-generation").unwrap().parse().unwrap();
        first.entry(generation).or_insert(letter.timestamp_ms.unwrap() as u64);
    }
    // Generation 1 is the start's.
    let mut took: Vec<u64> =
        saved.iter().zip(2..).map(|(at, generation)| first[&generation].saturating_sub(*at)).collect();
    took.sort_unstable();
    let (median, longest) = (took[took.len() / 2], took[took.len() - 1]);
    let size = modules::good().len() / 1024;
    println!(
        "{} saves of a module of {size} KiB: to the first event, median {median} ms, longest {longest} ms",
        took.len()
    );
    assert!(median < MEDIAN, "median {median} ms");
    stage.finish();
}
