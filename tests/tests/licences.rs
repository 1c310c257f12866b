//! What the project is made of: licences that it may be shipped under, and no
//! second copy of what is large or must be one.
// Helpers of tests fail tests: a panic with a message is their error.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Licences a dependency may have. Of an OR, one of them is enough.
const ALLOWED: [&str; 12] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Crates without a licence field, and what their licence file says.
const WITHOUT_FIELD: [(&str, &str); 1] = [("cloudevents-sdk", "Apache-2.0")];

/// Two versions of these would be two engines, two clients, two runtimes, or two worlds of types.
const ONCE: [&str; 9] =
    ["axum", "hyper", "prometheus", "rdkafka", "rdkafka-sys", "serde_json", "tokio", "tracing", "wasmtime"];

/// The packages that a build for this host uses, dev-dependencies included.
fn packages() -> Vec<Value> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let rustc = Command::new("rustc").arg("-vV").output().unwrap();
    let rustc = String::from_utf8(rustc.stdout).unwrap();
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let mut metadata = Command::new(env!("CARGO"));
    metadata.args(["metadata", "--locked", "--offline", "--format-version", "1", "--filter-platform", host]);
    let output = metadata.current_dir(workspace).output().unwrap();
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

/// Whether an SPDX expression can be satisfied with the allowed licences.
fn allowed(expression: &str) -> bool {
    // Old manifests write the OR as a slash.
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    let answer = any_of(&mut words);
    answer && words.next().is_none()
}

type Words<'a, 'b> = &'a mut std::iter::Peekable<std::str::SplitWhitespace<'b>>;

fn any_of(words: Words) -> bool {
    let mut answer = all_of(words);
    while words.next_if_eq(&"OR").is_some() {
        answer |= all_of(words);
    }
    answer
}

fn all_of(words: Words) -> bool {
    let mut answer = one(words);
    while words.next_if_eq(&"AND").is_some() {
        answer &= one(words);
    }
    answer
}

fn one(words: Words) -> bool {
    if words.next_if_eq(&"(").is_some() {
        let answer = any_of(words);
        return words.next() == Some(")") && answer;
    }
    let Some(licence) = words.next() else { return false };
    match words.next_if_eq(&"WITH").and_then(|_| words.next()) {
        Some(exception) => ALLOWED.contains(&format!("{licence} WITH {exception}").as_str()),
        None => ALLOWED.contains(&licence),
    }
}

#[test]
fn every_dependency_has_an_allowed_licence() {
    let refused: Vec<String> = packages()
        .iter()
        .filter_map(|package| {
            let name = package["name"].as_str().unwrap();
            let known = WITHOUT_FIELD.iter().find(|(of, _)| *of == name).map(|(_, licence)| *licence);
            let licence = package["license"].as_str().or(known).unwrap_or("none");
            (!allowed(licence)).then(|| format!("{name}: {licence}"))
        })
        .collect();
    assert!(refused.is_empty(), "not allowed: {refused:#?}");
}

#[test]
fn what_must_be_one_is_there_once() {
    let packages = packages();
    for name in ONCE {
        let versions: Vec<&str> = packages
            .iter()
            .filter(|package| package["name"] == name)
            .map(|package| package["version"].as_str().unwrap())
            .collect();
        assert_eq!(versions.len(), 1, "{name}: {versions:?}");
    }
}

#[test]
fn expressions_are_understood() {
    for yes in ["MIT", "GPL-3.0-only OR MIT", "MIT/Apache-2.0", "(MIT OR GPL-3.0-only) AND Unicode-3.0"] {
        assert!(allowed(yes), "{yes}");
    }
    for no in ["", "none", "GPL-3.0-only", "MIT AND GPL-3.0-only", "Apache-2.0 WITH Other-exception", "MIT MIT", "(MIT"]
    {
        assert!(!allowed(no), "{no}");
    }
}
