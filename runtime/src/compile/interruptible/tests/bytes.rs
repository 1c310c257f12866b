//! What stands in the file afterwards.

use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest as _, Sha256};
use wasmparser::{FunctionBody, Operator, Parser, Payload};

use super::*;
use crate::compile::precompile;

/// What a binary is made of, in order, components and modules in each other included.
struct Parts<'a> {
    /// Every section that must stay as it is, by what it holds.
    kept: Vec<&'a [u8]>,
    /// For each core module, the bodies of its functions.
    code: Vec<Vec<FunctionBody<'a>>>,
}

fn parts(binary: &[u8]) -> Parts<'_> {
    let mut parts = Parts { kept: Vec::new(), code: Vec::new() };
    for payload in Parser::new(0).parse_all(binary) {
        match payload.unwrap() {
            Payload::TypeSection(_) | Payload::FunctionSection(_) => {}
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {}
            Payload::CodeSectionStart { .. } => parts.code.push(Vec::new()),
            Payload::CodeSectionEntry(body) => parts.code.last_mut().unwrap().push(body),
            payload => parts.kept.extend(payload.as_section().map(|(_, range)| &binary[range])),
        }
    }
    parts
}

/// How many bulk instructions of a length that may exceed a chunk a body has. `helpers`:
/// the index of the first function that may be called for what is longer.
fn unbounded(body: &FunctionBody<'_>, helpers: u32) -> usize {
    let operators: Result<Vec<_>, _> = body.get_operators_reader().unwrap().into_iter().collect();
    let operators = operators.unwrap();
    let is_bulk = |operator: &Operator<'_>| {
        matches!(
            operator,
            Operator::MemoryFill { .. }
                | Operator::MemoryCopy { .. }
                | Operator::MemoryInit { .. }
                | Operator::TableCopy { .. }
        )
    };
    let is_bounded = |before: &[Operator<'_>]| match before {
        [.., Operator::I32Const { value }] => (0..=65_536).contains(value),
        [.., Operator::I64Const { value }] => (0..=65_536).contains(value),
        [
            ..,
            Operator::LocalTee { local_index: one },
            Operator::LocalGet { local_index: other },
            Operator::I32Const { value: 65_536 | 1024 } | Operator::I64Const { value: 65_536 | 1024 },
            Operator::I32GtU | Operator::I64GtU,
            Operator::If { .. },
            Operator::Call { function_index },
            Operator::Else,
        ] => one == other && *function_index >= helpers,
        _ => false,
    };
    (0..operators.len()).filter(|&at| is_bulk(&operators[at]) && !is_bounded(&operators[..at])).count()
}

/// The operators of a body, without loops that do nothing.
fn without_looks(body: &FunctionBody<'_>) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for operator in body.get_operators_reader().unwrap() {
        let text = format!("{:?}", operator.unwrap());
        if text == "End" && out.last().is_some_and(|last| last == "Loop { blockty: Empty }") {
            out.pop();
        } else {
            out.push(text);
        }
    }
    out
}

/// Looks at a module in chunks beside what it was: how many instructions have got a choice.
#[track_caller]
fn compare(original: &[u8], chunked: &[u8]) -> usize {
    let (before, after) = (parts(original), parts(chunked));
    assert!(before.kept == after.kept, "another section than types, functions and code has changed");
    let mut replaced = 0;
    for (before, after) in before.code.iter().zip(&after.code) {
        // Imported functions, which come first, only make this lower than it could be.
        let first = before.len() as u32;
        for (body, body_after) in before.iter().zip(after) {
            let here = unbounded(body, first);
            assert_eq!(unbounded(body_after, first), 0);
            let is_same = without_looks(body) == without_looks(body_after);
            assert!(here > 0 || is_same, "a body in which nothing is replaced");
            replaced += here;
        }
        let helpers = &after[before.len()..];
        assert!(helpers.iter().all(|body| unbounded(body, first) == 1), "one, for what is left");
    }
    replaced
}

#[test]
fn lengths_that_are_known_to_be_short_stay() {
    let module = wat(r#"(module (memory 3) (memory i64 3) (data $d "x")
        (func (param i32 i64)
            (memory.fill (local.get 0) (local.get 0) (i32.const 65536))
            (memory.fill 1 (local.get 1) (local.get 0) (i64.const 65536)))
        (func (param i32 i64)
            (memory.copy (local.get 0) (local.get 0) (i32.const 0))
            (memory.copy 1 1 (local.get 1) (local.get 1) (i64.const 64))
            (memory.init $d (local.get 0) (local.get 0) (i32.const 1))))"#);
    assert!(matches!(make(&module).unwrap(), Cow::Borrowed(same) if same == module));
    for length in ["65537", "-1", "-2147483648"] {
        for (memory, ty) in [(0, "i32"), (1, "i64")] {
            let module = wat(&format!(
                r#"(module (memory 3) (memory i64 3)
                (func (param {ty}) (memory.fill {memory} (local.get 0) (i32.const 1) ({ty}.const {length}))))"#
            ));
            assert_eq!(compare(&module, &chunked(&module)), 1);
        }
    }
    // A constant that is not the length.
    for body in [
        "(local.get 0) (i32.const 1) (block (result i32) (i32.const 8)) memory.fill",
        "(local.get 0) (local.get 0) (local.get 0) (i32.const 8) drop memory.fill",
        "(local.get 0) (local.get 0) (if (result i32) (local.get 0) (then (local.get 0)) (else (i32.const 8))) memory.fill",
    ] {
        let module = wat(&format!("(module (memory 3) (func (param i32) {body}))"));
        assert_eq!(compare(&module, &chunked(&module)), 1, "{body}");
    }
}

/// Counts and indices on both sides of the numbers that take a byte more.
#[test]
fn modules_of_many_functions_and_types() {
    for functions in [0, 120, 121, 122, 123, 124, 125, 126, 127, 128, 16_376, 16_378, 16_380, 16_382, 16_384] {
        let types: String = (0..functions.min(130)).map(|_| "(type (func (param f32)))").collect();
        let more = "(func)".repeat(functions);
        let original = wat(&format!(
            r#"(module {types} (import "" "f" (func)) (import "" "m" (memory 1)) (import "" "g" (func)) (memory i64 1)
            {more}
            (func (param i32 i64) (memory.fill (local.get 0) (local.get 0) (local.get 0))
                (memory.copy (local.get 0) (local.get 0) (local.get 0))
                (memory.fill 1 (local.get 1) (local.get 0) (local.get 1)))
            (func) (@custom "after" "x"))"#
        ));
        let chunked = chunked(&original);
        assert_eq!(compare(&original, &chunked), 3, "{functions}");
        assert_eq!(parts(&chunked).code[0].len(), functions + 2 + 3);
        wasmtime::Module::validate(&engine(), &chunked).unwrap();
    }
}

/// A number may be written in more bytes than it needs.
#[test]
fn long_forms_of_an_instruction_are_recognised() {
    for fill in [&[0xfc, 0x8b, 0, 0][..], &[0xfc, 0x8b, 0x80, 0x80, 0x80, 0, 0x80, 0x80, 0x80, 0x80, 0]] {
        let body = [&[0, 0x20, 0, 0x20, 0, 0x20, 0][..], fill, &[11]].concat();
        let length = body.len() as u8;
        let short = [1, 5, 1, 0x60, 1, 0x7f, 0, 3, 2, 1, 0, 5, 3, 1, 0, 1, 10, length + 2, 1, length];
        // Lengths and counts too, as linkers write them that fill them in afterwards.
        let long = [
            &[1, 0x87, 0x80, 0, 0x81, 0x80, 0, 0x60, 1, 0x7f, 0, 3, 0x84, 0, 0x81, 0x80, 0, 0, 5, 3, 1, 0, 1, 10][..],
            &[(length + 10) | 0x80, 0x80, 0x80, 0x80, 0, 0x81, 0x80, 0x80, 0x80, 0, length | 0x80, 0x80, 0x80, 0x80, 0],
        ];
        for sections in [&short[..], &long.concat()] {
            let module = [&b"\0asm\x01\0\0\0"[..], sections, &body].concat();
            wasmtime::Module::validate(&engine(), &module).unwrap();
            let chunked = chunked(&module);
            wasmtime::Module::validate(&engine(), &chunked).unwrap();
            assert_eq!(compare(&module, &chunked), 1);
        }
    }
}

const EVERY: &str = r#"(module (import "" "f" (func)) (memory 1) (memory i64 1) (data $d "x")
    (table 1 funcref) (table i64 1 funcref)
    (func (param i32) (table.copy (local.get 0) (local.get 0) (local.get 0)))
    (func (param i64) (table.copy 1 1 (local.get 0) (local.get 0) (local.get 0)))
    (func (param i32) (memory.fill (local.get 0) (local.get 0) (local.get 0))
        (memory.init $d (local.get 0) (local.get 0) (local.get 0)))
    (func (param i64) (memory.copy 1 1 (local.get 0) (local.get 0) (local.get 0))))"#;

const STRAIGHT: &str = r#"(module (import "" "f" (func $f)) (func $g)
    (func (call $f) (call $f) (call $f) (call $f) (call $f) (call $g) (if (i32.const 1) (then (call $f)) (else (loop)))))"#;

const COMPOSED: &str = r#"(component
    (core module $m (memory (export "m") 1)
        (func (export "f") (param i32) (memory.fill (local.get 0) (local.get 0) (local.get 0))))
    (component $inner (component
        (core module (import "" "m" (memory 1)) (func (param i32) (memory.copy (local.get 0) (local.get 0) (local.get 0))))
        (core module (func))))
    (core instance $i (instantiate $m))
    (func (export "f") (param "a" u32) (canon lift (core func $i "f")))
    (@custom "note" "what somebody wrote"))"#;

#[test]
fn modules_in_components_in_components() {
    let component = wat(COMPOSED);
    let chunked = chunked(&component);
    assert_eq!(compare(&component, &chunked), 2);
    assert_eq!(parts(&chunked).code.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
    engine().precompile_component(&chunked).unwrap();
}

/// The guests that the tests use, built if they are not there.
fn guests() -> Vec<PathBuf> {
    let build = [
        "build",
        "--quiet",
        "--profile",
        "guest",
        "--target",
        "wasm32-wasip2",
        "-p",
        "guest-probe",
        "-p",
        "guest-reach",
    ];
    let built = Command::new(env!("CARGO")).args(build).current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap();
    assert!(built.success(), "the guests do not build");
    let target = std::env::current_exe().unwrap().ancestors().nth(3).unwrap().join("wasm32-wasip2/guest");
    let is_guest = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "wasm");
    std::fs::read_dir(target).unwrap().map(|entry| entry.unwrap().path()).filter(is_guest).collect()
}

#[test]
fn guests_are_valid_and_bounded_and_otherwise_as_they_were() {
    let guests = guests();
    assert!(guests.len() >= 2, "{guests:?}");
    for guest in guests {
        let original = std::fs::read(&guest).unwrap();
        let name = guest.file_name().map(Path::new).unwrap().display();
        let chunked = chunked(&original);
        let replaced = compare(&original, &chunked);
        assert!(replaced > 0, "{name}: every guest of Rust copies");
        crate::invoke::engine_that_compiles().unwrap().precompile_component(&chunked).unwrap();
        assert!(matches!(make(&chunked).unwrap(), Cow::Owned(_)), "what is left in helpers is bulk memory again");
    }
}

/// Anything may be read, and whatever wasmtime takes of it must still be taken afterwards.
#[test]
fn damaged_files_do_no_harm() {
    let engine = engine();
    let takes = |bytes: &[u8]| match bytes.get(4) {
        Some(1) => wasmtime::Module::validate(&engine, bytes).is_ok(),
        _ => engine.precompile_component(bytes).is_ok(),
    };
    let (mut random, mut valid, mut rewritten) = (fastrand::Rng::with_seed(5), 0, 0);
    for (original, times) in [(wat(EVERY), 4000), (wat(COMPOSED), 1000)] {
        for _ in 0..times {
            let mut bytes = original.clone();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..bytes.len());
                match random.u8(..5) {
                    0 => bytes[at] = random.u8(..),
                    1 => bytes[at] ^= 1 << random.u8(..8),
                    2 => bytes[at] = *random.choice([&0, &1, &0x7f, &0x80, &0xff, &0xfc]).unwrap(),
                    3 => bytes.truncate(at.max(1)),
                    _ => bytes.insert(at, random.u8(..)),
                }
            }
            let made = make(&bytes);
            rewritten += usize::from(matches!(made, Ok(Cow::Owned(_))));
            if takes(&bytes) {
                valid += 1;
                let made = match made {
                    Ok(made) => made,
                    // wasmtime takes a file that was cut off in a component in a component,
                    // between two sections; refusing that is as well.
                    Err(Unreadable::Malformed(error)) if error.message().contains("unexpected end") => continue,
                    Err(error) => panic!("wasmtime takes it: {error}: {bytes:02x?}"),
                };
                assert!(takes(&made), "{bytes:02x?}");
                compare(&bytes, &made);
            }
        }
    }
    assert!(valid > 100 && rewritten > valid, "{valid} valid, {rewritten} rewritten");
}

#[test]
fn what_is_no_module_is_refused() {
    for bytes in [&b""[..], b"\0asm", b"\0asm\x02\0\0\0", b"\0asm\x01\0\x01\0", b"(module)", &[0xff; 100]] {
        assert!(make(bytes).is_err(), "{bytes:?}");
    }
    assert!(matches!(make(b"\0asm\x01\0\0\0"), Ok(Cow::Borrowed(_))));
    // Counts and lengths that nothing follows.
    for section in [1, 2, 3, 5, 10] {
        let bytes = [b"\0asm\x01\0\0\0", &[section, 0xff, 0xff, 0xff, 0xff, 0x0f][..]].concat();
        assert!(make(&bytes).is_err());
    }
    // A bulk instruction in a module without the sections that it needs.
    let code = [10, 8, 1, 6, 0, 0xfc, 11, 0, 0, 11];
    assert!(make(&[b"\0asm\x01\0\0\0", &code[..]].concat()).is_err());
}

/// A guard: what is compiled must not be found under the version before.
#[test]
fn what_is_written_changes_with_the_version_only() {
    let digest = <[u8; 32]>::from(Sha256::digest([EVERY, COMPOSED, STRAIGHT].map(|text| chunked(&wat(text))).concat()));
    let start = u64::from_be_bytes(*digest.first_chunk().unwrap());
    assert_eq!((precompile::VERSION, start), (2, 4_338_192_741_175_665_626), "raise VERSION, then change this");
}
