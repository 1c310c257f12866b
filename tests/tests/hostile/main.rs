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

use outrigger_tests::Kafka;
use table::Verdicts;

/// What the command line asks for.
#[derive(Debug, Default)]
struct Options {
    full: bool,
    list: bool,
    only: Option<String>,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut options = Options::default();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--full" => options.full = true,
                "--list" => options.list = true,
                "--only" => options.only = Some(arguments.next().ok_or("--only needs the name of an attack")?),
                // `cargo test` passes what it was given to every test binary: options of
                // the usual harness are nothing to this one, and a filter is a row's name.
                "--test-threads" | "--skip" | "--format" | "--color" | "--logfile" => drop(arguments.next()),
                other if other.starts_with('-') => {}
                filter => options.only = Some(filter.to_owned()),
            }
        }
        Ok(options)
    }
}

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    let wanted = |name: &str| options.only.as_deref().is_none_or(|only| only == name);
    let attacks: Vec<_> = attack::all().into_iter().filter(|attack| wanted(attack.name)).collect();
    if options.list {
        attacks.iter().for_each(|attack| println!("{:12} {}", attack.name, attack.what));
        return ExitCode::SUCCESS;
    }
    if attacks.is_empty() {
        println!("hostile: no attack is called {:?}", options.only.unwrap_or_default());
        println!("\ntest result: ok. 0 passed; 0 failed");
        return ExitCode::SUCCESS;
    }
    let kafka = Kafka::start();
    let mut verdicts = Verdicts::default();
    if options.only.is_none() {
        refused::rows(&mut verdicts);
        outside::rows(&kafka, &mut verdicts);
    }
    stage::rows(&kafka, &attacks, options.full, &mut verdicts);
    verdicts.print()
}
