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

use outrigger_tests::{Kafka, Options, conclude};
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

/// The rows that are run: the one that is named, or those of the short cut, or all.
fn is_chosen(row: &Row, options: &Options) -> bool {
    options.names(row.name) && (options.only.is_some() || options.full || row.quick)
}

fn main() -> ExitCode {
    let options = match Options::from_command_line() {
        Ok(options) => options,
        Err(code) => return code,
    };
    let chosen: Vec<Row> = rows().into_iter().filter(|row| is_chosen(row, &options)).collect();
    if options.list {
        chosen.iter().for_each(|row| println!("{:16} {}", row.name, row.fault));
        return ExitCode::SUCCESS;
    }
    if chosen.is_empty() {
        return options.nothing_chosen("faults", "row");
    }
    let lines = all(&chosen, &options);
    table::print(&lines);
    let failed = lines.iter().filter(|line| !line.holds());
    let failed: Vec<String> = failed.map(|line| format!("{}: {}", line.fault, line.verdict())).collect();
    conclude(lines.len(), &failed)
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
