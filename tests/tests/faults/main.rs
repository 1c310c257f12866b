//! Faults against real Apache Kafka: each row does one kind of harm while events
//! flow, lets the sidecar come back, and has every record and every commit judged.
//!
//! ```text
//! cargo test --test faults                      the short cut
//! cargo test --test faults -- --full            all rows with full counts
//! cargo test --test faults -- --only kill       one row, short; with --full, long
//! cargo test --test faults -- --jobs 2          two rows at a time, each on a broker of its own
//! cargo test --test faults -- --list            the rows
//! ```
//!
//! It ends with one table. A row whose fault did not happen is void, and fails.
// Helpers of tests fail tests: a panic with a message is their error.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod access;
mod broker;
mod cluster;
mod crash;
mod fatal;
mod group;
mod machine;
mod measures;
mod network;
mod offsets;
mod results;
mod row;
mod security;
mod table;
mod topics;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use outrigger_tests::Kafka;
use row::{Row, Run};
use table::Line;

/// All rows, the most important first.
fn rows() -> Vec<Row> {
    [
        crash::rows(),
        group::rows(),
        measures::rows(),
        broker::rows(),
        cluster::rows(),
        fatal::rows(),
        network::rows(),
        security::rows(),
        access::rows(),
        results::rows(),
        topics::rows(),
        offsets::rows(),
        machine::rows(),
    ]
    .concat()
}

/// Rows that a machine may be asked to run at a time: each has a broker, a client and sidecars.
const MOST_JOBS: usize = 16;

/// What the command line asks for.
#[derive(Debug, Default)]
struct Options {
    full: bool,
    list: bool,
    only: Option<String>,
    jobs: usize,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut options = Options { jobs: 1, ..Options::default() };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--full" => options.full = true,
                "--quick" => options.full = false,
                "--list" => options.list = true,
                "--only" => options.only = Some(arguments.next().ok_or("--only needs the name of a row")?),
                "--jobs" => {
                    let jobs = arguments.next().and_then(|jobs| jobs.parse().ok());
                    options.jobs = jobs.filter(|jobs| (1..=MOST_JOBS).contains(jobs)).ok_or_else(|| {
                        format!("--jobs needs the number of rows that run at a time, from 1 to {MOST_JOBS}")
                    })?;
                }
                // `cargo test` passes what it was given to every test binary: options of
                // the usual harness are nothing to this one, and a filter is a row's name.
                "--test-threads" | "--skip" | "--format" | "--color" | "--logfile" => drop(arguments.next()),
                other if other.starts_with('-') => {}
                filter => options.only = Some(filter.to_owned()),
            }
        }
        Ok(options)
    }

    fn wants(&self, row: &Row) -> bool {
        match &self.only {
            Some(only) => row.name == only,
            None => self.full || row.quick,
        }
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
    let chosen: Vec<Row> = rows().into_iter().filter(|row| options.wants(row)).collect();
    if options.list {
        chosen.iter().for_each(|row| println!("{:16} {}", row.name, row.fault));
        return ExitCode::SUCCESS;
    }
    if chosen.is_empty() {
        println!("faults: no row is called {:?}", options.only.unwrap_or_default());
        println!("\ntest result: ok. 0 passed; 0 failed");
        return ExitCode::SUCCESS;
    }
    let lines = all(&chosen, &options);
    table::print(&lines);
    let failed = lines.iter().filter(|line| !line.holds()).count();
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {verdict}. {} passed; {failed} failed", lines.len() - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Every row's line, in their order. Rows that run at a time share the machine and nothing else.
fn all(chosen: &[Row], options: &Options) -> Vec<Line> {
    let next = AtomicUsize::new(0);
    let job = || {
        let kafka = Kafka::start_behind_proxy(&[]);
        let run = Run { full: options.full, kafka: &kafka };
        let mine = std::iter::from_fn(|| {
            let at = next.fetch_add(1, Ordering::Relaxed);
            chosen.get(at).map(|row| (at, one(row, &run)))
        });
        mine.collect::<Vec<_>>()
    };
    let mut lines = std::thread::scope(|scope| {
        let jobs: Vec<_> = (0..options.jobs.min(chosen.len())).map(|_| scope.spawn(job)).collect();
        jobs.into_iter().flat_map(|job| job.join().expect("a row's panic is its line")).collect::<Vec<_>>()
    });
    lines.sort_by_key(|(at, _)| *at);
    lines.into_iter().map(|(_, line)| line).collect()
}

fn one(row: &Row, run: &Run<'_>) -> Line {
    println!("{}: {} ...", row.name, row.fault);
    let began = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| (row.run)(run)));
    let line = Line::new(row, outcome.map_err(|panic| row::said(&*panic)), began.elapsed());
    println!("{}: {} in {:.0?}", row.name, line.verdict(), line.took);
    line
}
