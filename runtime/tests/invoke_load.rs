//! What is refused at load, and what the message says.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::path::Path;

use outrigger::invoke::LoadError;
use outrigger::manifest::Handler;
use sha2::{Digest, Sha256};
use support::*;

fn refused(change: impl FnOnce(&mut Handler)) -> String {
    let mut spec = spec();
    change(&mut spec);
    match engine().load(&spec) {
        Ok(_) => panic!("loaded"),
        Err(error) => error.to_string(),
    }
}

fn refused_bytes(bytes: &[u8]) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    refused(|spec| spec.module = file.path().to_owned())
}

/// The probe with one name in it replaced by another of the same length.
fn renamed(from: &str, to: &str) -> String {
    assert_eq!(from.len(), to.len());
    let mut bytes = std::fs::read(probe()).unwrap();
    let names = bytes.windows(from.len()).enumerate().filter(|(_, window)| *window == from.as_bytes());
    let positions: Vec<usize> = names.map(|(at, _)| at).collect();
    assert!(!positions.is_empty(), "{from}");
    for at in positions {
        bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
    }
    refused_bytes(&bytes)
}

#[test]
fn a_file_that_is_missing_or_no_component() {
    let missing = refused(|spec| spec.module = Path::new("nowhere/handler.wasm").to_owned());
    assert!(missing.starts_with("cannot read nowhere/handler.wasm: No such file"), "{missing}");
    assert!(refused(|spec| spec.module = std::env::temp_dir()).starts_with("cannot read"));
    assert!(refused_bytes(b"").ends_with("is not a WebAssembly component"));
    assert!(refused_bytes(b"(module)").ends_with("is not a WebAssembly component"));
    assert!(refused_bytes(b"\0asm\x01\0\0\0").contains("is a core module, not a component"));
    assert!(refused_bytes(b"\0asm\x0d\0\x01\0\xFF\xFF\xFF").contains("cannot be compiled"));
}

#[test]
fn the_pinned_digest_must_match() {
    let digest = <[u8; 32]>::from(Sha256::digest(std::fs::read(probe()).unwrap()));
    let module = load(|spec| spec.sha256 = Some(digest));
    assert_eq!(module.digest(), hex(&digest));
    let refused = refused(|spec| spec.sha256 = Some([0xAB; 32]));
    assert!(refused.contains(&format!("has the SHA-256 {}", module.digest())), "{refused}");
    assert!(refused.contains("the manifest says abab"), "{refused}");
}

#[test]
fn another_content_than_was_seen_is_a_change_and_nothing_else_is_said_of_it() {
    let digest = |bytes: &[u8]| hex(&Sha256::digest(bytes));
    let file = tempfile::NamedTempFile::new().unwrap();
    let spec = Handler { module: file.path().to_owned(), sha256: Some([0xAB; 32]), ..spec() };
    std::fs::write(file.path(), b"half of a modu").unwrap();
    let load = |seen: &[u8]| engine().load_as(&spec, Some(&digest(seen))).err().unwrap();
    let changed = load(b"what was there");
    assert!(matches!(changed, LoadError::Changed(_)) && changed.may_pass(), "{changed}");
    assert!(changed.to_string().ends_with(" was replaced while it was loaded"), "{changed}");
    // What was seen is judged.
    assert!(matches!(load(b"half of a modu"), LoadError::Digest { .. }));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_handler_must_be_exported_at_a_version_that_the_host_runs() {
    let empty = refused_bytes(b"\0asm\x0d\0\x01\0");
    assert!(empty.contains("does not export outrigger:handler/handler@0.1.0; it exports nothing"), "{empty}");
    let handler = "outrigger:handler/handler@0.1.0";
    let newer = renamed(handler, "outrigger:handler/handler@0.9.0");
    assert!(newer.contains("built for outrigger:handler/handler@0.9.0"), "{newer}");
    let other = renamed(handler, "acmetower:handler/handler@0.1.0");
    assert!(other.contains("it exports acmetower:handler/handler@0.1.0"), "{other}");
}

#[test]
fn an_import_that_is_not_provided_is_named_with_the_reason() {
    let logging = "wasi:logging/logging@0.1.0-draft";
    let draft = renamed(logging, "wasi:logging/logging@0.2.0-draft");
    assert!(draft.contains("imports wasi:logging/logging@0.2.0-draft, which is not provided"), "{draft}");
    assert!(draft.contains("the host provides wasi:logging/logging@0.1.0-draft"), "{draft}");
    let foreign = renamed(logging, "acme:bigdata/hadoop@0.1.0-draft1");
    assert!(foreign.contains("imports acme:bigdata/hadoop@0.1.0-draft1"), "{foreign}");
    assert!(foreign.contains("nothing else"), "{foreign}");
}

#[test]
fn a_function_that_the_host_has_under_another_name_is_a_type_error() {
    let error = renamed("get-random-bytes", "get-random-bites");
    assert!(error.contains("does not fit the host") && error.contains("get-random-bites"), "{error}");
    let error = renamed("after-ms", "after-us");
    assert!(error.contains("does not fit the host") && error.contains("after-us"), "{error}");
}

#[test]
fn a_module_whose_first_instance_exceeds_its_limits_is_refused() {
    let memory = refused(|spec| spec.limits.memory = 128 << 10);
    assert!(memory.contains("does not start: memory budget of 128 KiB exceeded"), "{memory}");
}
