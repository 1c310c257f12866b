//! The modules of the attacks: a guest in Rust, and components made of the text in `wat/`
//! for what Rust cannot say.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use outrigger_tests::guest;
use tempfile::TempDir;

use crate::load::millis;

/// The shell around what the text files say.
const HANDLER: &str = include_str!("wat/handler.wat");

/// A handler that answers at once, without an output: it never comes to that.
const ANSWER: &str = "(func (export \"handle\") (param i32) (result i32) (i32.const 0))";

/// Long enough for a sidecar to start, on a machine that is busy too.
const LATE: Duration = Duration::from_secs(90);

/// The shell of a component with these imports, which its module is given.
fn importing(imports: &str, by_module: &str, arguments: &str) -> String {
    let shell = HANDLER.replace("COMPONENT-IMPORTS", imports).replace("MODULE-IMPORTS", by_module);
    shell.replace("MODULE-ARGUMENTS", arguments)
}

/// Modules in a folder of their own.
pub struct Modules {
    folder: TempDir,
    late: SystemTime,
}

impl Modules {
    /// None yet.
    pub fn new() -> Modules {
        let folder = tempfile::Builder::new().prefix("outrigger-hostile-").tempdir().expect("a folder");
        Modules { folder, late: SystemTime::now() + LATE }
    }

    /// The guest in Rust.
    pub fn guest(&self) -> PathBuf {
        guest("guest-hostile")
    }

    /// The one that is granted HTTP.
    pub fn http(&self) -> PathBuf {
        guest("guest-hostile-http")
    }

    /// A module whose start function traps at once.
    pub fn start_traps(&self) -> PathBuf {
        self.component("start-traps", HANDLER, &format!("(func $start (unreachable)) (start $start) {ANSWER}"))
    }

    /// A module whose start function does not end.
    pub fn start_loops(&self) -> PathBuf {
        let items = format!("(func $start (loop $on (br $on))) (start $start) {ANSWER}");
        self.component("start-loops", HANDLER, &items)
    }

    /// A module whose start function traps from [`Modules::late`] on: the host's trial as
    /// it loads finds nothing wrong with it.
    pub fn start_traps_late(&self) -> PathBuf {
        let shell = importing(
            include_str!("wat/clock.wat"),
            r#"(import "clock" "now" (func $now (param i32))) (import "told" "memory" (memory $told 1))"#,
            r#"(with "clock" (instance $clock)) (with "told" (instance $told))"#,
        );
        let items = format!(
            "(func $start (call $now (i32.const 0))
               (if (i64.ge_u (i64.load $told (i32.const 0)) (i64.const {})) (then (unreachable))))
             (start $start) {ANSWER}",
            millis(self.late) / 1000
        );
        self.component("start-traps-late", &shell, &items)
    }

    /// A module that says two megabytes to the log, so many times, in a straight line: a
    /// function without any loop.
    pub fn straight(&self, times: usize) -> PathBuf {
        let shell = importing(
            include_str!("wat/logging.wat"),
            r#"(import "logs" "log" (func $log (param i32 i32 i32 i32 i32))) (import "told" "memory" (memory $told 32))"#,
            r#"(with "logs" (instance $logs)) (with "told" (instance $told))"#,
        );
        const LOG: &str = "(call $log (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 2000000))";
        let items = format!("(func (export \"handle\") (param i32) (result i32) {} (i32.const 0))", LOG.repeat(times));
        self.component("straight", &shell, &items)
    }

    /// When that start function begins to trap.
    pub fn late(&self) -> SystemTime {
        self.late
    }

    /// The component of a text file.
    pub fn text(&self, name: &str) -> PathBuf {
        let attack = match name {
            "memories" => include_str!("wat/memories.wat"),
            "table" => include_str!("wat/table.wat"),
            "tables" => include_str!("wat/tables.wat"),
            other => panic!("no text is called {other}"),
        };
        self.component(name, HANDLER, attack)
    }

    /// A component whose module declares so many memories beside its own.
    pub fn many_memories(&self, count: usize) -> PathBuf {
        self.component("many-memories", HANDLER, &("(memory 1)".repeat(count) + ANSWER))
    }

    /// A component that consists of so many instances of a module.
    pub fn many_instances(&self, count: usize) -> PathBuf {
        const ONE: &str = "(core instance $core (instantiate $attack MODULE-ARGUMENTS))";
        let shell =
            HANDLER.replace(ONE, &(ONE.to_owned() + &"(core instance (instantiate $attack))".repeat(count - 1)));
        self.component("many-instances", &shell, ANSWER)
    }

    /// A component with so many elements in a segment, of which each instance has its own.
    pub fn many_elements(&self, count: usize) -> PathBuf {
        let items = format!("(func $element) (elem func{}) {ANSWER}", " $element".repeat(count));
        self.component("many-elements", HANDLER, &items)
    }

    fn component(&self, name: &str, shell: &str, items: &str) -> PathBuf {
        let none = ["COMPONENT-IMPORTS", "MODULE-IMPORTS", "MODULE-ARGUMENTS"];
        let text = none.into_iter().fold(shell.replace("MODULE-ITEMS", items), |text, place| text.replace(place, ""));
        let bytes = wat::parse_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        self.write(name, &bytes)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name).with_extension("wasm");
        fs::write(&path, bytes).expect("a module");
        path
    }

    /// The folder: a file in it is there for a guest to read, if it can.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}
