//! The child that compiles: its bounds, and what becomes of its failures.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod compiling;

use std::fs;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use compiling::*;
use outrigger::compile::{CompileError, Origin};

/// One function that takes seconds: 7 bytes an addition, and a function has at most 7.6 MB.
fn slow() -> Vec<u8> {
    component(12, 100_000, 1)
}

#[test]
fn the_peak_of_its_memory_and_the_time_are_told() {
    let bench = Bench::new();
    let module = bench.module("a.wasm", &component(1000, 10, 1));
    let Origin::Now { took, peak, .. } = bench.origin(&module) else { panic!("compiled") };
    assert!(took > Duration::ZERO);
    assert!((4 << 20..1 << 30).contains(&peak.unwrap()), "{peak:?}");
}

#[test]
fn a_module_that_is_not_valid_is_told_in_wasmtimes_words() {
    let bench = Bench::new();
    let CompileError::Invalid(reason) = bench.error(&bench.module("a.wasm", b"\0asm\x0d\0\x01\0\xff\xff\xff")) else {
        panic!("another error")
    };
    assert!(reason.contains("offset") && !reason.contains("panic"), "{reason}");
    assert!(bench.entries().is_empty());
}

#[test]
fn more_memory_than_allowed_is_an_error_that_names_the_way_out() {
    let mut bench = Bench::new();
    let module = bench.module("a.wasm", &slow());
    // It ends while it reads the module, while it validates it, and in the compiler, where
    // Rust aborts: each is told alike.
    for mib in [16, 24, 48, 96] {
        bench.settings.memory = mib << 20;
        let error = bench.error(&module);
        assert!(matches!(error, CompileError::Memory(_)), "{mib} MiB: {error}");
        let error = error.to_string();
        let says = format!("{mib}MiB of `compile.memory`");
        assert!(error.contains(&says) && error.contains("`outrigger compile MANIFEST`"), "{error}");
    }
}

#[test]
fn a_child_that_is_killed_is_told_as_memory_of_the_container() {
    let bench = Bench::with(script("kill -KILL $$"));
    let error = bench.error(&bench.module("a.wasm", &component(1, 1, 1)));
    assert!(matches!(error, CompileError::Killed), "{error}");
    assert!(error.to_string().contains("`outrigger compile MANIFEST`"), "{error}");
}

#[test]
fn processor_time_is_bounded() {
    let mut bench = Bench::new();
    bench.settings.cpu_time = Duration::from_secs(1);
    let error = bench.error(&bench.module("a.wasm", &component(60, 100_000, 1)));
    assert!(matches!(error, CompileError::CpuTime(_)), "{error}");
}

#[test]
fn time_is_bounded_however_long_compiling_would_take() {
    let mut bench = Bench::new();
    bench.settings.timeout = Duration::from_millis(300);
    let began = Instant::now();
    let error = bench.error(&bench.module("a.wasm", &component(60, 100_000, 1)));
    assert!(matches!(error, CompileError::Timeout(_)), "{error}");
    assert!(began.elapsed() < PATIENCE, "it waited for the end");
    // One that has closed its pipes and stays, and one whose own child holds them.
    for text in ["exec >&- 2>&- <&-; sleep 600", "sleep 600 & sleep 600"] {
        let mut bench = Bench::with(script(text));
        bench.settings.timeout = Duration::from_millis(300);
        let began = Instant::now();
        let error = bench.error(&bench.module("a.wasm", &component(1, 1, 1)));
        assert!(matches!(error, CompileError::Timeout(_)), "{text}: {error}");
        assert!(began.elapsed() < PATIENCE, "{text}");
    }
}

#[test]
fn a_crash_is_an_error_with_the_last_line() {
    let crash = |text: &str| {
        let bench = Bench::with(script(text));
        match bench.error(&bench.module("a.wasm", &component(1, 1, 1))) {
            CompileError::Crashed { status, last_line } => (status, last_line),
            error => panic!("{text}: {error}"),
        }
    };
    let (status, line) = crash("echo first >&2; echo 'has overflowed its stack' >&2; kill -SEGV $$");
    assert!(status.contains("SIGSEGV"), "{status}");
    assert_eq!(line, "has overflowed its stack");
    assert_eq!(crash("exit 5").1, "");
    // Success without an artefact, or with a part of one.
    assert!(crash("echo done").0.contains('0'));
    assert!(
        crash("cat >/dev/null; printf 'OUTRGOUT\\0\\0\\0\\0\\0\\0\\0\\0\\5\\0\\0\\0\\0\\0\\0\\0abcd'").0.contains('0')
    );
    // A flood of messages is not kept.
    assert_eq!(crash("yes | head -c 3000000 >&2; echo last >&2; exit 7").1, "last");
}

#[test]
fn an_artefact_that_wasmtime_refuses_is_an_error_and_not_stored() {
    let bench = Bench::with(script("printf 'OUTRGOUT\\0\\0\\0\\0\\0\\0\\0\\0\\4\\0\\0\\0\\0\\0\\0\\0abcd'"));
    let error = bench.error(&bench.module("a.wasm", &component(1, 1, 1)));
    assert!(matches!(error, CompileError::Load(_)), "{error}");
    assert!(bench.entries().is_empty());
}

#[test]
fn another_build_in_its_place_is_refused_by_the_child() {
    // The last argument names the parent's engine: this child is told of another one.
    let real = env!("CARGO_BIN_EXE_outrigger");
    let bench = Bench::with(script(&format!("exec {real} $0 $1 $2 --engine=00")));
    let error = bench.error(&bench.module("a.wasm", &component(1, 1, 1)));
    assert!(error.to_string().contains("another build of Outrigger"), "{error}");
}

#[test]
fn a_program_that_is_not_there_is_an_error() {
    let bench = Bench::with(outrigger::compile::Program::new("/nowhere/outrigger"));
    let error = bench.error(&bench.module("a.wasm", &component(1, 1, 1)));
    assert!(matches!(error, CompileError::Start(_)), "{error}");
}

#[test]
fn a_module_that_is_too_large_does_not_reach_a_child() {
    let mut bench = Bench::with(script("exit 99"));
    let module = component(100, 10, 1);
    bench.settings.module_size = module.len() as u64 - 1;
    let error = bench.error(&bench.module("a.wasm", &module));
    assert!(matches!(error, CompileError::TooLarge { .. }), "{error}");
    assert!(error.to_string().contains("compile.moduleSize"), "{error}");
}

#[test]
fn it_gets_no_variables_and_with_them_no_secrets() {
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some(), "this process has variables");
    let bench = Bench::with(script("echo \"[$CARGO_MANIFEST_DIR][$HOME]\" >&2; exit 5"));
    let CompileError::Crashed { last_line, .. } = bench.error(&bench.module("a.wasm", &component(1, 1, 1))) else {
        panic!("another error")
    };
    assert_eq!(last_line, "[][]");
}

#[test]
fn one_is_compiled_at_a_time() {
    let bench = Bench::new();
    let log = bench.folder.path().join("log");
    let text = format!("echo begin >>{0}; sleep 0.05; echo end >>{0}; exit 5", log.display());
    let bench = Bench { program: script(&text), ..bench };
    let module = bench.module("a.wasm", &component(1, 1, 1));
    std::thread::scope(|scope| (0..4).for_each(|_| _ = scope.spawn(|| bench.compile(&module).is_err())));
    assert_eq!(fs::read_to_string(log).unwrap(), "begin\nend\n".repeat(4));
}

/// The child itself, waiting for its module: what it has set for itself by then.
#[test]
fn it_stands_back_and_bounds_itself() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_outrigger"))
        .args(["compile-module", "--memory=200000000", "--cpu-seconds=7", "--engine=00"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let id = child.id();
    let of_child = |name: &str| fs::read_to_string(format!("/proc/{id}/{name}")).unwrap();
    let began = Instant::now();
    // The score is what it sets last.
    while of_child("oom_score_adj").trim() != "1000" {
        assert!(began.elapsed() < PATIENCE && child.try_wait().unwrap().is_none(), "it did not stand back");
        std::thread::yield_now();
    }
    let stat = of_child("stat");
    let nice = stat.rsplit(") ").next().unwrap().split(' ').nth(16).unwrap();
    assert!(nice.parse::<i32>().unwrap() >= 5, "{stat}");
    let limits = of_child("limits");
    let limit = |name: &str| {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        line[name.len()..].split_whitespace().take(2).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(limit("Max data size"), ["200000000", "200000000"]);
    assert_eq!(limit("Max cpu time"), ["7", "9"]);
    assert_eq!(limit("Max core file size"), ["0", "0"]);
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(5));
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("another build"), "{said}");
}
