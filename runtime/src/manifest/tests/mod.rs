//! The module as a whole: from text to a checked manifest or its problems.

mod broken;
mod documents;
mod secrets;
mod valid;

use std::path::Path;
use std::sync::OnceLock;

use super::*;

pub(super) const FULL: &str = include_str!("full.yaml");

/// The smallest manifest that holds.
pub(super) const MINIMAL: &str = "\
apiVersion: outrigger/v1
kafka:
  bootstrapServers: localhost:9092
  groupId: g
  topics: [orders]
handlers:
  h: { module: handlers/enrich.wasm }
routes:
  - { name: r, match: { type: t }, handler: h }
";

pub(super) type Loaded = Result<(Manifest, Vec<Diagnostic>), Vec<Diagnostic>>;

/// Loads a manifest beside two modules and a file with a secret.
pub(super) fn load_with(text: &str, env: &[(&str, &str)]) -> Loaded {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("handlers")).unwrap();
    std::fs::write(folder.path().join("handlers/enrich.wasm"), b"").unwrap();
    std::fs::write(folder.path().join("handlers/audit.wasm"), b"").unwrap();
    std::fs::write(folder.path().join("secret"), "hunter2\n").unwrap();
    std::fs::create_dir(folder.path().join("certs")).unwrap();
    std::fs::write(folder.path().join("certs/ca.pem"), certificate()).unwrap();
    load_in(folder.path(), text, env)
}

/// A certificate in PEM, the same for the whole run.
fn certificate() -> &'static str {
    static PEM: OnceLock<String> = OnceLock::new();
    PEM.get_or_init(|| rcgen::generate_simple_self_signed(["ca.example".to_owned()]).unwrap().cert.pem())
}

pub(super) fn load_in(base: &Path, text: &str, env: &[(&str, &str)]) -> Loaded {
    let lookup = |name: &str| env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    load_str("outrigger.yaml", text, base, &lookup)
}

pub(super) fn load(text: &str) -> Loaded {
    load_with(text, &[("WORKERS", "2"), ("KAFKA_PASSWORD", "hunter2")])
}

/// Every diagnostic as a person reads it, for a manifest that does not hold or has warnings.
pub(super) fn rendered(loaded: &Loaded) -> String {
    let (Ok((_, diagnostics)) | Err(diagnostics)) = loaded;
    diagnostics.iter().map(|diagnostic| diagnostic.render(false)).collect::<Vec<_>>().join("\n\n")
}
