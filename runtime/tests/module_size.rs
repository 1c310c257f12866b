//! How large a module may be, from generation to generation.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use outrigger::compile::{CompileError, Compiler};
use outrigger::invoke::LoadError;
use outrigger::manifest::{Manifest, load_str};
use outrigger::reload::{BuildError, Builder, Current};
use support::*;

fn manifest(folder: &Path, module: &str, kib: usize) -> Arc<Manifest> {
    let text = format!(
        "\
apiVersion: outrigger/v1
kafka: {{ bootstrapServers: 'localhost:9092', groupId: group, topics: [t] }}
handlers:
  h: {{ module: {module} }}
routes:
  - {{ name: r, match: {{ type: t }}, handler: h }}
compile: {{ moduleSize: {kib}KiB }}
"
    );
    Arc::new(load_str("outrigger.yaml", &text, folder, &|_| None).unwrap().0)
}

#[test]
fn each_generation_is_bounded_by_its_own_manifest() {
    let folder = tempfile::tempdir().unwrap();
    let small = std::fs::read(probe()).unwrap();
    // A custom section: its id, its length in three bytes, the length of its name.
    let section = [&[0, 0x80, 0x80, 0x04][..], &[0; 64 << 10]].concat();
    std::fs::write(folder.path().join("small.wasm"), &small).unwrap();
    std::fs::write(folder.path().join("large.wasm"), [&small[..], &section].concat()).unwrap();
    let kib = small.len().div_ceil(1024);

    let first = manifest(folder.path(), "small.wasm", kib);
    let mut builder = Builder::new(&first, 1, Compiler::default()).unwrap();
    let mut build = |module: &str, kib: usize, current: Option<&Current>| {
        builder.build(&manifest(folder.path(), module, kib), &BTreeMap::new(), current)
    };
    let is_too_large = |built: Result<Current, BuildError>| {
        let Err(BuildError::Handler(_, LoadError::Compile { error, .. })) = built else { return false };
        matches!(error, CompileError::TooLarge { .. })
    };
    let current = build("small.wasm", kib, None).unwrap();
    assert!(is_too_large(build("large.wasm", kib, Some(&current))));
    let current = build("large.wasm", kib + 65, Some(&current)).unwrap();
    let guest = (current.built.guests)(0);
    handled(block_on(guest.call(call("nothing", b""))));
    assert!(is_too_large(build("large.wasm", kib, Some(&current))));
}
