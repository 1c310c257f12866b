//! The commands. Exit codes: 0 done, 1 failed while running, 2 unusable
//! arguments, manifest or modules.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use crate::compile::{Compiler, Place, Program};
use crate::manifest::{self, Diagnostic, Manifest};

mod check;
mod compile;
mod dev;
mod run;
mod schema;

/// A Kafka sidecar that runs sandboxed WebAssembly event handlers.
#[derive(Debug, clap::Parser)]
#[command(
    name = "outrigger",
    version,
    about,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Run the sidecar: consume, handle, publish, commit, until it is told to stop.
    Run(run::RunArgs),
    /// Run a manifest with an embedded broker and sample events; no Kafka needed.
    Dev(crate::dev::DevArgs),
    /// Check a manifest offline: every problem at once, with its place and what to write instead.
    Check(check::CheckArgs),
    /// Compile the handlers' modules ahead of time, into a cache that `run` starts from.
    Compile(compile::CompileArgs),
    /// Print the JSON Schema of the manifest, for editors.
    Schema(schema::SchemaArgs),
    /// What a process that compiles for another one does; the others start it themselves.
    #[command(hide = true)]
    CompileModule(crate::compile::Task),
}

/// Runs what the command line asks for.
pub fn main(cli: Cli) -> ExitCode {
    match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Dev(args) => dev::dev(&args),
        Command::Check(args) => check::check(args),
        Command::Compile(args) => compile::compile(&args),
        Command::Schema(args) => schema::schema(args),
        Command::CompileModule(task) => std::process::exit(crate::compile::run(&task)),
    }
}

/// How a command prints data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum OutputFormat {
    /// For people.
    #[default]
    Human,
    /// For programs.
    Json,
}

/// Reads a manifest for a command that runs it; what is wrong with it goes to stderr.
fn load(path: &Path) -> Result<Manifest, ExitCode> {
    let colour = std::io::stderr().is_terminal() && !crate::logging::no_colour();
    let show = |diagnostics: &[Diagnostic]| diagnostics.iter().for_each(|found| say(found.render(colour)));
    match manifest::load(path) {
        Ok((manifest, warnings)) => {
            show(&warnings);
            Ok(manifest)
        }
        Err(problems) => {
            show(&problems);
            Err(UNUSABLE.into())
        }
    }
}

/// What compiles this manifest's modules: children of this program.
///
/// # Errors
/// The system does not say which program that is.
fn compiler(manifest: &Manifest) -> std::io::Result<Compiler> {
    Ok(Compiler::new(Place::Child(Program::itself()?), &manifest.compile, |name| std::env::var(name).ok()))
}

/// Writes a line to stderr. Where that cannot be written to, the line is lost and the
/// exit code remains: `eprintln!` would panic.
fn say(line: impl Display) {
    _ = writeln!(std::io::stderr(), "{line}");
}

/// The exit code of arguments, manifests and modules that cannot be used.
const UNUSABLE: u8 = 2;
