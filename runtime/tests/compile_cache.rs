//! The cache of compiled modules: what is found again, and what is not trusted.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod compiling;

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use compiling::*;
use outrigger::compile::{CompileError, Origin};

/// The length of what stands before the artefact; see `entry.rs`.
const HEAD: usize = 112;

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn is_root() -> bool {
    fs::read_to_string("/proc/self/status").unwrap().contains("\nUid:\t0\t0\t")
}

#[test]
fn what_was_compiled_once_is_found_by_the_next_process() {
    let bench = Bench::new();
    let module = bench.module("a.wasm", &component(10, 10, 1));
    assert!(is_stored(bench.origin(&module)));
    assert_eq!(bench.origin(&module), Origin::Cache);
    assert_eq!((mode(&bench.cache()), mode(&bench.entry())), (0o700, 0o600));
    // By its content, wherever it lies and whatever it is called.
    let copy = bench.module("copy.wasm", &fs::read(&module).unwrap());
    assert_eq!(bench.origin(&copy), Origin::Cache);
    // Another module is another entry.
    assert!(is_stored(bench.origin(&bench.module("b.wasm", &component(10, 10, 2)))));
    assert_eq!(bench.entries().len(), 2);
}

/// Each makes something of a good entry that must not be used, and says what the log is to say.
type Harm = (&'static str, Box<dyn Fn(&Path)>);

fn edit(change: impl Fn(&mut Vec<u8>) + 'static) -> Box<dyn Fn(&Path)> {
    Box::new(move |entry| {
        let mut bytes = fs::read(entry).unwrap();
        change(&mut bytes);
        fs::write(entry, bytes).unwrap();
    })
}

fn harms(other_entry: Vec<u8>) -> Vec<Harm> {
    let mut harms: Vec<Harm> = Vec::new();
    let parts = [
        (0, "not a compiled module"),
        (8, "another module"),
        (40, "another version"),
        (72, "bytes long"),
        (80, "digest"),
    ];
    for (at, says) in parts {
        harms.push((says, edit(move |bytes| bytes[at] ^= 1)));
        harms.push((says, edit(move |bytes| bytes[at + 7] ^= 0x80)));
    }
    // The artefact: its first bit, wasmtime's own header, the code, its last bit.
    for at in [HEAD, HEAD + 100] {
        harms.push(("digest", edit(move |bytes| bytes[at] ^= 1)));
    }
    harms.push((
        "digest",
        edit(|bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x10
        }),
    ));
    harms.push(("digest", edit(|bytes| *bytes.last_mut().unwrap() ^= 0x80)));
    for length in [0, 1, 8, HEAD - 1, HEAD, HEAD + 1, 5000] {
        harms.push(("bytes long", edit(move |bytes| bytes.truncate(length))));
    }
    harms.push((
        "bytes long",
        edit(|bytes| {
            bytes.pop();
        }),
    ));
    harms.push(("bytes long", edit(|bytes| bytes.push(0))));
    harms.push(("not a compiled module", edit(|bytes| bytes.fill(0))));
    harms.push(("not a compiled module", edit(|bytes| *bytes = b"\x7fELF".repeat(1000))));
    harms.push(("another module", edit(move |bytes| *bytes = other_entry.clone())));
    for rights in [0o660, 0o602, 0o622, 0o777] {
        harms.push(("can write it", Box::new(move |entry| set_mode(entry, rights))));
    }
    harms.push((
        "not a regular file",
        Box::new(|entry| {
            // To a good entry, in a place where somebody may change it.
            let elsewhere = entry.with_extension("elsewhere");
            fs::rename(entry, &elsewhere).unwrap();
            symlink(&elsewhere, entry).unwrap();
        }),
    ));
    harms.push((
        "not a regular file",
        Box::new(|entry| {
            fs::remove_file(entry).unwrap();
            assert!(Command::new("mkfifo").arg(entry).status().unwrap().success());
        }),
    ));
    if is_root() {
        harms.push(("belongs to user 12345", Box::new(|entry| chown(entry, Some(12345), None).unwrap())));
    }
    harms
}

#[test]
fn an_entry_with_any_damage_is_found_out_and_built_anew() {
    let mut bench = Bench::new();
    let other = bench.module("other.wasm", &component(20, 10, 1));
    assert!(is_stored(bench.origin(&other)));
    let other_entry = fs::read(bench.entry()).unwrap();
    fs::remove_file(bench.entry()).unwrap();

    let module = bench.module("a.wasm", &component(10, 10, 1));
    assert!(is_stored(bench.origin(&module)));
    let good = bench.entry();
    let bytes = fs::read(&good).unwrap();
    for (number, (says, harm)) in harms(other_entry).into_iter().enumerate() {
        harm(&good);
        // What may not compile says what it found, and leaves it.
        bench.settings.compiled_only = true;
        match bench.error(&module) {
            CompileError::NotCompiled { why, .. } => assert!(why.contains(says), "{number}: {says}: {why}"),
            error => panic!("{number}: {says}: {error}"),
        }
        bench.settings.compiled_only = false;
        assert!(is_stored(bench.origin(&module)), "{number}: {says}");
        assert_eq!(bench.origin(&module), Origin::Cache, "{number}: {says}: built anew");
        assert_eq!(fs::read(&good).unwrap(), bytes, "{number}: {says}: the same as before");
        assert_eq!(mode(&good), 0o600, "{number}: {says}");
    }
}

#[test]
fn a_folder_in_an_entrys_place_costs_the_cache_and_nothing_else() {
    let bench = Bench::new();
    let module = bench.module("a.wasm", &component(10, 10, 1));
    bench.origin(&module);
    let entry = bench.entry();
    fs::remove_file(&entry).unwrap();
    fs::create_dir(&entry).unwrap();
    assert!(is_not_stored(bench.origin(&module)));
    assert_eq!(bench.entries(), [entry], "nothing is left behind");
}

#[test]
fn a_folder_that_others_can_write_is_not_used() {
    let mut bench = Bench::new();
    let module = bench.module("a.wasm", &component(10, 10, 1));
    assert!(is_stored(bench.origin(&module)));
    let refused = |bench: &mut Bench, says: &str| {
        assert!(is_not_stored(bench.origin(&module)), "{says}");
        bench.settings.compiled_only = true;
        let error = bench.error(&module).to_string();
        assert!(error.contains(says) && error.contains("is not used"), "{error}");
        bench.settings.compiled_only = false;
    };
    for rights in [0o770, 0o707, 0o1777] {
        set_mode(&bench.cache(), rights);
        refused(&mut bench, "others than its owner can write it");
    }
    set_mode(&bench.cache(), 0o755);
    assert_eq!(bench.origin(&module), Origin::Cache, "others may read");
    if is_root() {
        chown(bench.cache(), Some(12345), None).unwrap();
        refused(&mut bench, "belongs to user 12345");
        chown(bench.cache(), Some(0), None).unwrap();
    }
    let elsewhere = bench.folder.path().join("elsewhere");
    fs::rename(bench.cache(), &elsewhere).unwrap();
    symlink(&elsewhere, bench.cache()).unwrap();
    refused(&mut bench, "symbolic link");
    fs::remove_file(bench.cache()).unwrap();
    fs::write(bench.cache(), b"").unwrap();
    // Creating a folder there fails already, in the words of the system.
    assert!(is_not_stored(bench.origin(&module)));
}

/// A cache in an image: made by root, read by somebody who cannot write it.
#[test]
fn a_cache_that_cannot_be_written_can_be_read() {
    if !is_root() {
        return; // Nobody else can play both parts.
    }
    let bench = Bench::new();
    let (a, b) = (bench.module("a.wasm", &component(10, 10, 1)), bench.module("b.wasm", &component(10, 10, 2)));
    assert!(is_stored(bench.origin(&a)));
    for path in [bench.folder.path(), &bench.cache()] {
        set_mode(path, 0o755);
    }
    for path in [&bench.entry(), &a, &b] {
        set_mode(path, 0o644);
    }
    // The binary may lie where only root can read it.
    let binary = bench.folder.path().join("outrigger");
    fs::copy(env!("CARGO_BIN_EXE_outrigger"), &binary).unwrap();
    set_mode(&binary, 0o755);
    let compile = |module: &Path| {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new(&binary);
        command.args(["compile", "--output", "json", "--cache"]).arg(bench.cache()).arg("--module").arg(module);
        let output = command.uid(65534).gid(65534).env_clear().output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, out) = compile(&a);
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("\"fromCache\": true"), "{out}");
    let (code, out) = compile(&b);
    assert_eq!(code, Some(1), "it says that it could not store: {out}");
    assert!(out.contains("\"stored\": false"), "{out}");
    assert_eq!(bench.entries().len(), 1);
}

#[test]
fn several_processes_fill_one_cache_at_once() {
    let bench = Bench::new();
    let modules: Vec<_> = (0..3).map(|n| bench.module(&format!("{n}.wasm"), &component(50, 50, n))).collect();
    let children: Vec<_> = (0..6)
        .map(|n: usize| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
            command.arg("compile").arg("--cache").arg(bench.cache());
            // Each has them in another order, so that the same one is written twice at a time.
            (0..3).for_each(|m| _ = command.arg("--module").arg(&modules[(n + m) % 3]));
            command.stdout(Stdio::null()).spawn().unwrap()
        })
        .collect();
    for mut child in children {
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
    assert_eq!(bench.entries().len(), 3, "{:?}", bench.entries());
    for module in &modules {
        assert_eq!(bench.origin(module), Origin::Cache);
    }
}

#[test]
fn the_least_recently_used_entry_makes_room() {
    let mut bench = Bench::new();
    let modules: Vec<_> = (0..4).map(|n| bench.module(&format!("{n}.wasm"), &component(10, 10, n))).collect();
    assert!(is_stored(bench.origin(&modules[0])));
    let size = fs::metadata(bench.entry()).unwrap().len();
    bench.settings.cache_size = 3 * size + size / 2;
    let entry_of = |n: usize| {
        let before = bench.entries();
        bench.origin(&modules[n]);
        bench.entries().into_iter().find(|entry| !before.contains(entry)).unwrap()
    };
    let first = bench.entry();
    let (second, third) = (entry_of(1), entry_of(2));
    for (age, entry) in [(300, &first), (200, &second), (100, &third)] {
        let file = File::options().write(true).open(entry).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
    }
    // Used now, so that the second is the oldest.
    assert_eq!(bench.origin(&modules[0]), Origin::Cache);
    let left_behind = bench.cache().join(".tmp-1-1");
    fs::write(&left_behind, b"half").unwrap();
    let written = File::options().write(true).open(&left_behind).unwrap();
    written.set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
    let fourth = entry_of(3);
    let mut expected = vec![first, third, fourth];
    expected.sort();
    assert_eq!(bench.entries(), expected);
}

#[test]
fn an_entry_larger_than_the_cache_is_not_stored() {
    let mut bench = Bench::new();
    bench.settings.cache_size = 1000;
    let module = bench.module("a.wasm", &component(10, 10, 1));
    assert!(is_not_stored(bench.origin(&module)));
    assert_eq!(bench.entries(), [""; 0].map(std::path::PathBuf::from));
}

#[test]
fn without_a_cache_nothing_may_be_asked_of_it() {
    let mut bench = Bench::new();
    bench.settings.cache = outrigger::manifest::CacheFolder::None;
    let module = bench.module("a.wasm", &component(10, 10, 1));
    assert!(is_not_stored(bench.origin(&module)));
    bench.settings.compiled_only = true;
    assert!(matches!(bench.error(&module), CompileError::NoCache));
}

#[test]
fn what_may_not_be_compiled_names_the_command_that_would() {
    let mut bench = Bench::with(script("exit 99"));
    bench.settings.compiled_only = true;
    let module = bench.module("a.wasm", &component(10, 10, 1));
    let error = bench.error(&module).to_string();
    let command = format!("outrigger compile MANIFEST --cache {}", bench.cache().display());
    assert!(error.contains(&command) && error.contains("does not have it"), "{error}");
    assert!(!bench.cache().exists(), "looking makes no folder");
}
