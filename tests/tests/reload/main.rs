//! Reload on real Apache Kafka: what cannot be taken over, how long a change takes,
//! and what a change every 100 ms does to a sidecar under full load.
//!
//! ```text
//! cargo test --test reload                      the short cut
//! cargo test --test reload -- --full            with full counts
//! cargo test --test reload -- --only broken     one part
//! cargo test --test reload -- --list            the parts: broken, topics, saved, warm, alternating, distinct
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

use outrigger_tests::{Kafka, Options, conclude};

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
    let options = match Options::from_command_line() {
        Ok(options) => options,
        Err(code) => return code,
    };
    let wanted: Vec<_> = PARTS.iter().filter(|(name, _)| options.names(name)).collect();
    if options.list {
        wanted.iter().for_each(|(name, _)| println!("{name}"));
        return ExitCode::SUCCESS;
    }
    if wanted.is_empty() {
        return options.nothing_chosen("reload", "part");
    }
    let kafka = Kafka::start();
    let mut failed = Vec::new();
    for (name, run) in &wanted {
        println!("\n== {name}");
        if catch_unwind(AssertUnwindSafe(|| run(&kafka, options.full))).is_err() {
            failed.push((*name).to_owned());
        }
    }
    conclude(wanted.len(), &failed)
}
