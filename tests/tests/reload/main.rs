//! Reload on real Apache Kafka: what cannot be taken over, how long a change takes,
//! and what a change every 100 ms does to a sidecar under full load.
//!
//! ```text
//! cargo test --test reload                      the short cut
//! cargo test --test reload -- --full            with full counts
//! cargo test --test reload -- --only broken     one part: broken, topics, saved, warm, alternating, distinct
//! ```
//!
//! Each part prints its figures, and fails where they are not what docs/reload.md says.
// Helpers of tests fail tests: a panic with a message is their error.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod broken;
mod load;
mod modules;
mod saved;
mod stage;
mod topics;
mod warm;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use outrigger_tests::Kafka;

/// A part: its name, and what it does; `full` asks for the long run.
type Part = (&'static str, fn(&Kafka, bool));

const PARTS: [Part; 6] = [
    ("broken", |kafka, _| broken::run(kafka)),
    ("topics", |kafka, _| topics::run(kafka)),
    ("saved", saved::run),
    ("warm", warm::run),
    ("alternating", load::alternating),
    ("distinct", load::distinct),
];

fn main() -> ExitCode {
    let (mut full, mut only) = (false, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--full" => full = true,
            "--only" => only = arguments.next(),
            // `cargo test` passes what it was given to every test binary.
            "--test-threads" | "--skip" | "--format" | "--color" | "--logfile" => drop(arguments.next()),
            other if other.starts_with('-') => {}
            filter => only = Some(filter.to_owned()),
        }
    }
    let wanted: Vec<_> = PARTS.iter().filter(|(name, _)| only.as_deref().is_none_or(|only| only == *name)).collect();
    if wanted.is_empty() {
        println!("reload: no part is called {only:?}\n\ntest result: ok. 0 passed; 0 failed");
        return ExitCode::SUCCESS;
    }
    let kafka = Kafka::start();
    let mut failed = Vec::new();
    for (name, run) in &wanted {
        println!("\n== {name}");
        if catch_unwind(AssertUnwindSafe(|| run(&kafka, full))).is_err() {
            failed.push(*name);
        }
    }
    let verdict = if failed.is_empty() { "ok" } else { "FAILED" };
    println!("\ntest result: {verdict}. {} passed; {} failed {failed:?}", wanted.len() - failed.len(), failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
