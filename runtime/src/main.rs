//! The `outrigger` command: parses and calls.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    outrigger::cli::main(outrigger::cli::Cli::parse())
}
