//! The commands: each takes its parsed arguments and answers with an exit code.

pub mod check;
pub mod schema;

use clap::ValueEnum;

/// How a command prints what it found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people.
    #[default]
    Human,
    /// For programs.
    Json,
}
