//! Hostile handlers against the real sidecar on real Apache Kafka: how each attack ends,
//! and what a well-behaved neighbour on the same worker notices of it.
//!
//! ```text
//! cargo test --test hostile                      the short cut
//! cargo test --test hostile -- --full            long measurements, and the bound is judged
//! cargo test --test hostile -- --only loop       one attack
//! cargo test --test hostile -- --list            the attacks
//! ```
//!
//! It ends with one table. A row whose attack did not happen is void, and fails. The short
//! cut shares its machine with other tests, so it judges a bound that is wider.
// Helpers of tests fail tests: a panic with a message is their error.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod attack;
mod load;
mod modules;
mod outside;
mod refused;
mod row;
mod stage;
mod table;

use std::process::ExitCode;

use outrigger_tests::{Kafka, Options};
use table::Verdicts;

fn main() -> ExitCode {
    let options = match Options::from_command_line() {
        Ok(options) => options,
        Err(code) => return code,
    };
    let attacks: Vec<_> = attack::all().into_iter().filter(|attack| options.names(attack.name)).collect();
    if options.list {
        attacks.iter().for_each(|attack| println!("{:14} {}", attack.name, attack.what));
        return ExitCode::SUCCESS;
    }
    if attacks.is_empty() {
        return options.nothing_chosen("hostile", "attack");
    }
    let kafka = if options.full { Kafka::start_for_latencies() } else { Kafka::start() };
    let mut verdicts = Verdicts::default();
    if options.only.is_none() {
        refused::rows(&mut verdicts);
        outside::rows(&kafka, &mut verdicts);
    }
    stage::rows(&kafka, &attacks, options.full, &mut verdicts);
    verdicts.print()
}
