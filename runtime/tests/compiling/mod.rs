//! What the tests of compiling share: modules of any size, and compilers.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use outrigger::compile::{CompileError, Compiled, Compiler, Origin, Place, Program};
use outrigger::invoke::{Engine, LoadError, Sizing};
use outrigger::manifest::{CacheFolder, Compile};
use tempfile::TempDir;

/// The real binary, as a child that compiles.
pub fn outrigger() -> Program {
    Program::new(env!("CARGO_BIN_EXE_outrigger"))
}

/// A shell script in the place of a child that compiles.
pub fn script(text: &str) -> Program {
    Program::new("/bin/sh").argument("-c").argument(text)
}

fn leb(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id], &leb(content.len() as u64)[..], content].concat()
}

/// A component with a core module of so many functions of so many additions each. `salt`
/// tells modules of one size apart. It exports nothing: it can be compiled and not loaded.
pub fn component(functions: u32, additions: usize, salt: u8) -> Vec<u8> {
    let add = [0x20, 0, 0x41, salt & 0x3f, 0x6a, 0x21, 0];
    let body = [&[0][..], &add.repeat(additions), &[0x20, 0, 0x0b]].concat();
    let body = [leb(body.len() as u64), body].concat();
    let count = leb(functions.into());
    let module = [
        b"\0asm\x01\0\0\0".to_vec(),
        section(1, &[1, 0x60, 1, 0x7f, 1, 0x7f]),
        section(3, &[&count[..], &vec![0; functions as usize]].concat()),
        section(10, &[&count[..], &body.repeat(functions as usize)].concat()),
    ];
    [&b"\0asm\x0d\0\x01\0"[..], &section(1, &module.concat())].concat()
}

/// A folder with modules and, beside them, the cache.
pub struct Bench {
    pub folder: TempDir,
    pub settings: Compile,
    pub program: Program,
}

impl Bench {
    pub fn new() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let settings = Compile { cache: CacheFolder::At(folder.path().join("cache")), ..Compile::default() };
        Bench { folder, settings, program: outrigger() }
    }

    pub fn with(program: Program) -> Bench {
        Bench { program, ..Bench::new() }
    }

    pub fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    /// Writes a module and gives its path.
    pub fn module(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Compiles as a process that has just started does.
    pub fn compile(&self, module: &Path) -> Result<Compiled, LoadError> {
        let compiler = Compiler::new(Place::Child(self.program.clone()), &self.settings, |_| None);
        let engine = Engine::with(Sizing { instances: 1 }, compiler).unwrap();
        engine.compile(module, None).map(|(_, compiled)| compiled)
    }

    #[track_caller]
    pub fn origin(&self, module: &Path) -> Origin {
        self.compile(module).unwrap_or_else(|error| panic!("{error}")).origin
    }

    #[track_caller]
    pub fn error(&self, module: &Path) -> CompileError {
        match self.compile(module) {
            Err(LoadError::Compile { error, .. }) => error,
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("compiled"),
        }
    }

    /// The entries, by name.
    pub fn entries(&self) -> Vec<PathBuf> {
        let Ok(folder) = std::fs::read_dir(self.cache()) else { return Vec::new() };
        let mut entries: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        entries
    }

    /// The only entry.
    #[track_caller]
    pub fn entry(&self) -> PathBuf {
        let entries = self.entries();
        assert_eq!(entries.len(), 1, "{entries:?}");
        entries[0].clone()
    }
}

/// Compiled now, and in the cache from now on.
pub fn is_stored(origin: Origin) -> bool {
    matches!(origin, Origin::Now { stored: true, .. })
}

/// Compiled now, and not kept.
pub fn is_not_stored(origin: Origin) -> bool {
    matches!(origin, Origin::Now { stored: false, .. })
}

/// Long enough for anything on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
