//! The guest components that the tests run, and the binary itself: built once
//! per test process, which costs nothing where cargo finds them fresh.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::install::{run, workspace};

const TARGET: &str = "wasm32-wasip2";

/// The component of a guest crate such as `guest-ledger`.
pub fn guest(package: &str) -> PathBuf {
    static BUILT: Mutex<Option<HashMap<String, PathBuf>>> = Mutex::new(None);
    // Held while building: two tests that need the same guest build it once.
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let built = built.get_or_insert_default();
    if let Some(path) = built.get(package) {
        return path.clone();
    }
    add_target();
    let mut build = cargo();
    build.args(["build", "--quiet", "--profile", "guest", "--target", TARGET, "--package", package]);
    run(build, "cargo", "rustup (https://rustup.rs)");
    let path = target_folder().join(TARGET).join("guest").join(package.replace('-', "_")).with_extension("wasm");
    assert!(path.exists(), "cargo built {package}, but there is no {}", path.display());
    built.insert(package.to_owned(), path.clone());
    path
}

/// The `outrigger` binary: `OUTRIGGER_BIN`, or the one of this workspace.
pub(crate) fn outrigger() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(given) = std::env::var_os("OUTRIGGER_BIN") {
            return given.into();
        }
        // Cargo does not build another package's binary for a test, so a stale
        // one might be lying there. The whole workspace is named because the
        // features of dependencies follow from what is named: with the package
        // alone, wasmtime would be compiled a second time.
        let mut build = cargo();
        build.args(["build", "--quiet", "--workspace", "--bin", "outrigger"]);
        run(build, "cargo", "rustup (https://rustup.rs)");
        target_folder().join("debug/outrigger")
    })
}

fn add_target() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        let mut rustc = Command::new("rustc");
        rustc.args(["--print", "target-libdir", "--target", TARGET]).current_dir(workspace());
        let printed = rustc.output().map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        if !printed.is_ok_and(|folder| Path::new(&folder).exists()) {
            let mut rustup = Command::new("rustup");
            rustup.args(["target", "add", TARGET]).current_dir(workspace());
            run(rustup, "rustup", "rustup (https://rustup.rs)");
        }
    });
}

/// A cargo that builds as from the command line: without what the cargo that
/// runs the tests has set for them.
fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let of_cargo =
            name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"));
        if of_cargo {
            cargo.env_remove(name);
        }
    }
    cargo.current_dir(workspace());
    cargo
}

pub(crate) fn target_folder() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => workspace().join(folder),
        None => workspace().join("target"),
    }
}
