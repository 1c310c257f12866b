//! A wall clock that jumps, for one process.
//!
//! The clock of the machine is everyone's, and a time namespace has only the
//! monotonic clocks: so a small library, preloaded into the process, answers for the
//! C library (`clock.c`). What builds the sidecar builds it: a C compiler.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::install::run;
use crate::sidecar::Sidecar;

/// The wall clock of the sidecars that are started with it.
pub struct WallClock {
    library: PathBuf,
    shift: File,
    folder: TempDir,
}

impl WallClock {
    /// A clock that goes right.
    pub fn new() -> WallClock {
        let folder = tempfile::Builder::new().prefix("outrigger-clock-").tempdir().expect("a folder for the clock");
        let (source, library) = (folder.path().join("clock.c"), folder.path().join("clock.so"));
        std::fs::write(&source, include_str!("clock.c")).expect("the clock's source");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-pthread", "-o"]).arg(&library).arg(&source);
        run(compiler, "cc", "gcc");
        let shift = File::options().read(true).write(true).create(true).truncate(true).open(folder.path().join(SHIFT));
        let clock = WallClock { library, shift: shift.expect("the clock's shift"), folder };
        clock.set(0);
        clock
    }

    /// Makes the clock jump to so many seconds before (negative) or after the time of day.
    pub fn set(&self, seconds: i64) {
        self.shift.write_all_at(&seconds.to_ne_bytes(), 0).expect("the clock's shift");
    }

    /// Gives this clock to a sidecar.
    pub fn of(&self, sidecar: Sidecar) -> Sidecar {
        let file = self.folder.path().join(SHIFT);
        sidecar.env("LD_PRELOAD", &self.library).env("OUTRIGGER_TEST_CLOCK", &file)
    }
}

impl Default for WallClock {
    fn default() -> WallClock {
        WallClock::new()
    }
}

const SHIFT: &str = "shift";
