//! The modules of the attacks: a guest in Rust, the same with another start function,
//! and components made of the text in `wat/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use outrigger_tests::guest;
use tempfile::TempDir;

use crate::load::millis;

/// What stands in the guest where its start function is told what to do.
const MODE: &str = "outrigger-hostile-start-mode=";

/// The shell around what the text files say.
const HANDLER: &str = include_str!("wat/handler.wat");

/// A handler that answers at once, without an output: it never comes to that.
const ANSWER: &str = "(func (export \"handle\") (param i32) (result i32) (i32.const 0))";

/// Long enough for a sidecar to start, on a machine that is busy too.
const LATE: Duration = Duration::from_secs(30);

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

    /// The guest with a start function that does what `mode` says: `trap` or `loop`.
    pub fn starting(&self, mode: &str) -> PathBuf {
        self.with_mode(mode, &format!("{mode}:0000000000000"))
    }

    /// The guest with a start function that traps from [`Modules::late`] on: the host's
    /// trial at the start finds nothing wrong with it.
    pub fn trapping_late(&self) -> PathBuf {
        self.with_mode("late", &format!("late:{:013}", millis(self.late)))
    }

    /// When that start function begins to trap.
    pub fn late(&self) -> SystemTime {
        self.late
    }

    fn with_mode(&self, name: &str, mode: &str) -> PathBuf {
        let mut bytes = fs::read(self.guest()).expect("the guest");
        let found = bytes.windows(MODE.len()).position(|window| window == MODE.as_bytes());
        let at = found.expect("a place for the mode") + MODE.len();
        bytes[at..at + mode.len()].copy_from_slice(mode.as_bytes());
        self.write(&format!("start-{name}"), &bytes)
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
        const ONE: &str = "(core instance $core (instantiate $attack))";
        let shell =
            HANDLER.replace(ONE, &(ONE.to_owned() + &"(core instance (instantiate $attack))".repeat(count - 1)));
        self.component("many-instances", &shell, ANSWER)
    }

    fn component(&self, name: &str, shell: &str, attack: &str) -> PathBuf {
        let text = shell.replace("ATTACK\n", attack);
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
