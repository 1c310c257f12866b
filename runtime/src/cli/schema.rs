//! `outrigger schema`: prints the JSON Schema of the manifest.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Args;

use crate::manifest;

const EXAMPLES: &str = "\
Examples:
  outrigger schema > manifest.schema.json

An editor with a YAML language server uses it when the manifest begins with
  # yaml-language-server: $schema=manifest.schema.json";

/// Arguments of `outrigger schema`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct SchemaArgs {}

/// Prints the schema to stdout. Answers 0, or 1 where stdout cannot be written.
pub fn schema(_: SchemaArgs) -> ExitCode {
    match std::io::stdout().write_all(manifest::schema_text().as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
