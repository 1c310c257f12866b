//! The `outrigger` command: parses and calls.

use std::process::ExitCode;

use clap::Parser;

/// jemalloc, for librdkafka's C code as well: a record is allocated by the thread that
/// reads and freed by the worker, which the system's allocator is slow at.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    outrigger::cli::main(outrigger::cli::Cli::parse())
}
