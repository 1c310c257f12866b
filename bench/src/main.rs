//! `outrigger-bench`: what the host and the sandbox cost beside a plain Kafka
//! client on the same job. `bench/README.md` says what is measured and how.

mod bare;
mod events;
mod hosted;
mod job;
mod report;
mod rounds;
mod start;
mod steps;
mod usage;
mod worker;

use std::process::ExitCode;

use clap::Parser;

/// What the `outrigger` command has too, so that all contenders allocate alike.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Measure Outrigger beside a bare rdkafka loop, on a Kafka broker of its own.
#[derive(Debug, Parser)]
#[command(name = "outrigger-bench", args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    plan: rounds::Plan,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// One run in this process; the benchmark starts these itself.
    #[command(hide = true)]
    Worker(worker::Task),
    /// Single steps in one thread, without Kafka.
    Steps(steps::Steps),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match &cli.command {
        Some(Command::Worker(task)) => worker::run(task),
        Some(Command::Steps(steps)) => steps::run(steps),
        None => rounds::run(&cli.plan),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
