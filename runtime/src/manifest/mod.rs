//! The routing manifest: read, substituted, checked.
//!
//! In: the text of an `outrigger.yaml`. Out: a [`Manifest`] that holds, or every
//! problem of the text at once, each with its place and what to write instead.
//! The way: text → tree with places → `${...}` put in → raw types → checked
//! types. Only the checked ones leave this module.

mod capabilities;
mod check;
mod diagnostic;
mod handler;
mod hints;
mod memory;
mod model;
mod origin;
mod raw;
mod read;
mod schema;
mod units;

use std::path::Path;

pub use diagnostic::{Diagnostic, Location, Severity};
pub use memory::GuestMemory;
pub use model::*;
pub(crate) use origin::hides_ipv4;
pub use origin::{Host, Origin, OriginError, Scheme};
pub use schema::{schema, schema_text};
pub(crate) use units::{show_duration, show_size};

use read::{Lookup, Problem, Problems, Source};

/// Reads and checks the manifest at `path`, with the variables of the process's
/// environment. Beside the manifest it opens the files that `${file:...}` names
/// and looks whether the modules are there; nothing connects.
///
/// The second part of the result are warnings.
///
/// # Errors
/// Every problem that was found, warnings included, in the order of the text.
pub fn load(path: &Path) -> Result<(Manifest, Vec<Diagnostic>), Vec<Diagnostic>> {
    let name = path.display().to_string();
    let unreadable = |why: String| {
        let problem = Problem::of_file(format!("the manifest cannot be read: {why}"));
        vec![Source::new(&name, "").diagnostic(problem)]
    };
    let bytes = std::fs::read(path).map_err(|error| unreadable(read::io_reason(&error)))?;
    let text = String::from_utf8(bytes).map_err(|_| unreadable("it is not UTF-8".to_owned()))?;
    let base = path.parent().unwrap_or(Path::new(""));
    load_str(&name, &text, base, &|name| std::env::var(name).ok())
}

/// Reads and checks a manifest from memory: `name` is what diagnostics call it,
/// `base` the folder that its relative paths are relative to, `env` the
/// variables.
///
/// # Errors
/// Like [`load`].
pub fn load_str(
    name: &str,
    text: &str,
    base: &Path,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<(Manifest, Vec<Diagnostic>), Vec<Diagnostic>> {
    let problems = Problems::default();
    let mut source = Source::new(name, text);
    let checked = match read::parse(text, &problems) {
        Err(problem) => {
            source.hide_secret_lines();
            problems.add(problem);
            None
        }
        Ok(mut root) => {
            source.hide_secrets(&mut root);
            read::substitute(&mut root, &Lookup { env, base }, &problems);
            read::de::read(&root, &problems).and_then(|raw| check::check(&raw, root.place, base, &problems))
        }
    };
    let failed = problems.has_errors();
    let diagnostics = problems.into_sorted().into_iter().map(|problem| source.diagnostic(problem)).collect();
    match checked {
        Some(manifest) if !failed => Ok((manifest, diagnostics)),
        _ => Err(diagnostics),
    }
}

#[cfg(test)]
mod tests;
